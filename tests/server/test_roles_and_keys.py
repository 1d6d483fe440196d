"""Keys, roles and tenants: what each may do, for every operation of the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import evolve
from server.operations import OPERATIONS, Operation

from memtrace_server import auth, tenants
from memtrace_server.service import HANDLERS, STORELESS

if TYPE_CHECKING:
    from live import LiveServer
    from server.conftest import Api

    from memtrace_server.store import Store

ROLES = ("reader", "writer", "admin")
GUARDED = [operation for operation in OPERATIONS.values() if operation.role]
every_guarded_operation = pytest.mark.parametrize("operation", GUARDED, ids=lambda o: o.id)


@pytest.fixture(scope="module")
def by_role(shared_api: Api) -> dict[str, Api]:
    return {role: shared_api.as_role(role) for role in ROLES}


def test_roles_of_the_contract_are_those_of_the_server() -> None:
    assert {operation.role for operation in GUARDED} <= set(ROLES) == set(auth.ROLES)


def test_every_operation_has_a_handler_and_every_handler_an_operation() -> None:
    assert HANDLERS.keys() | STORELESS.keys() == OPERATIONS.keys()


OF_THE_OPERATOR = {"vacuumStore"}  # affects all organisations


@pytest.mark.both_stores
@pytest.mark.parametrize("role", ROLES)
@every_guarded_operation
def test_role_may_call_the_operations_of_the_contract_alone(
    operation: Operation, role: str, by_role: dict[str, Api]
) -> None:
    assert operation.role is not None
    may = ROLES.index(role) >= ROLES.index(operation.role)

    response = by_role[role](**operation.request())

    if may and operation.id in OF_THE_OPERATOR:
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert "org_default" in response.json()["error"]
    elif may:
        assert response.status_code in {200, 201, 204, 404, 409}
    else:
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert f"role {operation.role}" in response.json()["error"]


@pytest.mark.both_stores
@pytest.mark.parametrize("role", ROLES)
def test_access_names_the_operations_that_the_role_may_call(role: str, by_role: dict[str, Api]) -> None:
    access = by_role[role].get("/api/v1/access")

    assert (access["role"], access["org_id"]) == (role, by_role[role].org_id)
    refused = {o.id for o in GUARDED if by_role[role](**o.request()).status_code == 403}
    assert set(access["operations"]) == OPERATIONS.keys() - refused


@pytest.mark.both_stores
def test_access_of_a_key_names_the_agent_that_it_is_limited_to(api: Api) -> None:
    key = tenants.create_key(api.store, api.org_id, "admin", "a test", agent_id="a/b")
    access = evolve(api, key=key).get("/api/v1/access")

    assert access["agent_id"] == "a/b"
    assert not {"importRecords", "vacuumStore"} & set(access["operations"])
    assert "forgetMatching" in access["operations"]


@pytest.mark.both_stores
def test_forbidden_requests_change_nothing(api: Api) -> None:
    memory = api.add(agent_id="support-bot", content="Kept")
    for operation in GUARDED:
        if operation.role == "writer":
            api.as_role("reader")(**operation.request(memory_id=memory["id"]))
        elif operation.role == "admin":
            api.as_role("writer")(**operation.request(memory_id=memory["id"]))

    assert api.contents() == ["Kept"]
    assert [agent["id"] for agent in api.get("/api/v1/agents")["agents"]] == ["support-bot"]
    assert api.get("/api/v1/sessions")["count"] == 0


@pytest.mark.both_stores
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "mtk_" + "0" * 64},
        {"x-api-key": "mtk_" + "é" * 64},
        {"x-api-key": "'; DROP TABLE keys; --"},
        {"x-api-key": "mtk_" + "0" * 8_000},
        {"authorization": "Bearer"},
        {"authorization": "Bearer mtk_" + "0" * 64},
        {"authorization": "Basic bXRrXzA6"},
    ],
    ids=lambda headers: " ".join(headers.values())[:20] or "none",
)
def test_request_without_a_known_key_is_401(http: httpx.Client, headers: dict[str, str]) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}

    response = http.get("/api/v1/memories", headers=encoded)

    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.both_stores
@every_guarded_operation
def test_every_operation_checks_the_key_before_the_request(operation: Operation, http: httpx.Client) -> None:
    valid = operation.request()
    wrong = {**valid, "params": {"unknown": "1"}, "json": ["wrong"] if valid["json"] else None}

    assert http.request(**valid).status_code == 401
    assert http.request(**wrong).status_code == 401


@pytest.mark.both_stores
@every_guarded_operation
def test_role_is_checked_before_the_request(operation: Operation, by_role: dict[str, Api]) -> None:
    request = {**operation.request(), "params": {"unknown": "1"}}
    lower = [role for role in ROLES if ROLES.index(role) < ROLES.index(operation.role or "")]

    assert [by_role[role](**request).status_code for role in lower] == [403] * len(lower)
    assert by_role["admin"](**request).status_code == 400


@pytest.mark.both_stores
def test_key_is_accepted_as_a_bearer_token(api: Api, http: httpx.Client) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = http.get("/api/v1/memories", headers={"authorization": f"{scheme} {api.key}"})
        assert response.status_code == 200


@pytest.mark.both_stores
def test_public_pages_need_no_key_and_name_no_tenant(http: httpx.Client, api: Api) -> None:
    for path in ("/health", "/ready"):
        response = http.get(path)
        assert (response.status_code, response.json()["status"]) == (200, "ok")
        assert response.json().keys() == {"status", "service", "version", "uptime"}
        assert "org_" not in response.text
        assert http.get(path, headers={"x-api-key": "wrong"}).status_code == 200
    for path, kind in (("/docs", "text/html; charset=utf-8"), ("/openapi.json", "application/json")):
        response = http.get(path)
        assert (response.status_code, response.headers["content-type"]) == (200, kind)
        assert api.key not in response.text


@pytest.mark.both_stores
def test_a_revoked_key_stops_at_once(api: Api, live_store: Store) -> None:
    other = api.as_role("writer")
    other.add(content="Before")
    (key_id,) = (
        key.id for key in tenants.list_keys(live_store) if (key.org_id, key.role) == (api.org_id, "writer")
    )

    tenants.revoke_key(live_store, key_id)

    refused = other("GET", "/api/v1/memories")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert other("POST", "/api/v1/memories", json={"agent_id": "a", "content": "After"}).status_code == 401
    assert api.contents() == ["Before"]


def test_no_file_of_the_store_has_a_key_in_it(api: Api, live_server: LiveServer) -> None:
    assert api.get("/api/v1/agents")["count"] == 0

    stored = [p.read_bytes() for p in Path(live_server.store_url[10:]).parent.iterdir() if p.is_file()]

    assert len(stored) >= 1
    for key in (api.key, live_server.key):
        assert not any(key.encode() in content or key[4:].encode() in content for content in stored)
    with closing(sqlite3.connect(live_server.store_url[10:])) as database:
        digests = [digest for (digest,) in database.execute("SELECT digest FROM keys")]
    assert auth.digest(api.key) in digests


@pytest.fixture
def victim(api: Api) -> Any:
    """Return a tenant with one record of each kind, equal to those of the contract's examples."""
    api("POST", "/api/v1/agents", json={"name": "support-bot", "config": {"secret": "victim's"}})
    session = api(
        "POST", "/api/v1/sessions", json={"agent_id": "support-bot", "metadata": {"secret": "victim's"}}
    ).json()
    memory = api.add(
        agent_id="support-bot",
        session_id=session["id"],
        content="User prefers dark mode",
        tags=["ui", "preference"],
        importance=0.7,
        metadata={"secret": "victim's"},
        time="2020-01-01T00:00:00Z",
    )
    return {"memory_id": memory["id"], "session_id": session["id"], "agent_id": "support-bot"}


@pytest.mark.both_stores
@every_guarded_operation
def test_ids_of_another_organisation_are_unknown_and_unchanged(
    operation: Operation, api: Api, victim: Any, new_api: Callable[[str], Api], request: pytest.FixtureRequest
) -> None:
    thief = new_api(f"thief: {request.node.nodeid}")
    before = everything(api, victim)

    response = thief(**operation.request(**victim))

    if operation.names:
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    elif operation.id in OF_THE_OPERATOR:
        assert response.status_code == 403
    else:
        # Another test may have imported the example already.
        assert response.is_success or response.json()["code"] == "id_taken", response.text
        for secret in (victim["memory_id"], api.org_id, "victim's"):
            assert secret not in response.text
        if operation.id == "getAccess":
            assert response.json()["org_id"] == thief.org_id
        elif operation.method == "GET" or operation.id == "searchMemories":
            assert response.json()["count"] == 0
        if operation.id == "forgetMemories":
            assert response.json() == {"deleted": 0}
    assert everything(api, victim) == before


def everything(api: Api, ids: dict[str, str]) -> list[Any]:
    """Return all that an organisation can read of itself."""
    reads = [
        operation
        for operation in GUARDED
        if operation.method == "GET" or operation.id in {"getSessionContext", "getAgentContext"}
    ]
    responses = [api(**operation.request(**ids)).json() for operation in reads]
    for one in responses:
        one.pop("next_cursor", None)  # a tail encrypts its position with a new nonce each time
    return responses
