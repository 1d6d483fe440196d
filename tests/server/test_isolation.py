"""Deletions of one organisation leave another one alone, though it has the same ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

pytestmark = pytest.mark.both_stores

if TYPE_CHECKING:
    from server.conftest import Api

KEY = {"idempotency-key": "the same in both"}


@pytest.fixture
def other(new_api: Callable[[str], Api], request: pytest.FixtureRequest) -> Api:
    """Return an admin of a second organisation."""
    return new_api(f"{request.node.nodeid} other")


def delete_agent(api: Api, agent_id: str = "a") -> None:
    response = api("DELETE", f"/api/v1/agents/{agent_id}", params={"delete_memories": "true"})
    assert response.status_code == 204


def begin_session(api: Api, agent_id: str) -> str:
    response = api("POST", "/api/v1/sessions", json={"agent_id": agent_id})
    assert response.status_code == 201
    return str(response.json()["id"])


def session_ids(api: Api) -> list[str]:
    return [session["id"] for session in api.get("/api/v1/sessions")["sessions"]]


def test_deletion_of_an_agent_leaves_other_sessions(api: Api, other: Api) -> None:
    begin_session(api, "a")
    same_org, same_agent = begin_session(api, "b"), begin_session(other, "a")

    delete_agent(api)

    assert session_ids(api) == [same_org]
    assert session_ids(other) == [same_agent]


WRITES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "memory": ("/api/v1/memories", "agent_id", {"content": "Kept"}),
    "session": ("/api/v1/sessions", "agent_id", {"metadata": {"x": 1}}),
    "agent": ("/api/v1/agents", "name", {"description": "Kept"}),
}


@pytest.mark.parametrize("kind", WRITES)
def test_deletion_of_an_agent_leaves_other_kept_responses(api: Api, other: Api, kind: str) -> None:
    path, field, body = WRITES[kind]

    def write(target: Api, agent_id: str, key: str) -> Any:
        return target("POST", path, json={field: agent_id, **body}, headers={"idempotency-key": key})

    def write_all() -> list[Any]:
        return [write(api, "a", "one"), write(api, "b", "two"), write(other, "a", "one")]

    first = write_all()
    assert [response.status_code for response in first] == [201, 201, 201]

    delete_agent(api)

    own, *others = write_all()
    assert (own.status_code, own.json()["code"]) == (409, "answer_forgotten")
    assert [response.status_code for response in others] == [201, 201]
    assert [response.json() for response in others] == [response.json() for response in first[1:]]
