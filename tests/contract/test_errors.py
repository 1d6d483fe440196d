"""Each failure raises one error class, the same for every client."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from memtrace import (
    AddMemoryRequest,
    AsyncMemtrace,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MemtraceError,
    NotFoundError,
    PermissionDeniedError,
)
from memtrace_server import tenants

if TYPE_CHECKING:
    from contract.conftest import Place
    from live import LiveServer

    from memtrace_server.store import Store

pytestmark = pytest.mark.anyio

HTTP = pytest.mark.parametrize("place", ["http"], indirect=True)


async def test_error_has_a_message_a_status_a_code_and_a_request_id(client: AsyncMemtrace) -> None:
    with pytest.raises(NotFoundError) as refused:
        await client.get_agent("nonexistent")

    error = refused.value
    assert (error.status_code, error.code) == (404, "not_found")
    assert error.message == "No agent nonexistent"
    assert (error.request_id or "").startswith("req_")
    assert error.body == {"error": error.message, "code": error.code, "request_id": error.request_id}
    assert error.request_id
    assert error.request_id in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled in this line
    assert (again.status_code, again.code, again.body) == (404, "not_found", error.body)
    assert str(again) == str(error)


async def test_a_bad_request_names_every_field_and_why(client: AsyncMemtrace) -> None:
    with pytest.raises(BadRequestError) as refused:
        await client.add_memory(
            AddMemoryRequest(agent_id=" a", content="x" * 65_537, importance=2, tags=["ok", "a\n"], ttl=0)
        )

    error = refused.value
    assert (error.status_code, error.code) == (400, "invalid_request")
    assert {d.field for d in error.details} == {"agent_id", "content", "importance", "tags.1", "ttl"}
    assert {d.location for d in error.details} == {"body"}
    assert all(detail.message for detail in error.details)
    assert "xxx" not in str(error)
    assert (await client.list_memories()).count == 0


async def test_conflict_names_the_existing_memory(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "Once")

    with pytest.raises(ConflictError) as refused:
        await client.remember("agent_1", "Once", on_duplicate="reject")

    assert (refused.value.status_code, refused.value.existing_id) == (409, memory.id)


async def test_every_error_is_a_memtrace_error(client: AsyncMemtrace) -> None:
    for failing in (client.get_agent("nobody"), client.get_memory("no id"), client.get_session("")):
        with pytest.raises(MemtraceError):
            await failing


@HTTP
async def test_missing_or_invalid_key_is_an_authentication_error(
    connect: Callable[..., AsyncMemtrace], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMTRACE_API_KEY", raising=False)
    for key in (None, "mtk_" + "0" * 64, "nonsense"):
        with pytest.raises(AuthenticationError) as refused:
            await connect(place.url, key).list_memories()
        assert (refused.value.status_code, refused.value.code) == (401, "unauthorized")


@HTTP
async def test_write_with_a_readers_key_is_a_permission_denied_error(
    connect: Callable[..., AsyncMemtrace], place: Place, live_store: Store, live_server: LiveServer
) -> None:
    admin = connect(place.url, place.key)
    org_id = (await admin.remember("agent_1", "Hello")).org_id
    reader = connect(live_server.url, tenants.create_key(live_store, org_id, "reader", ""))

    assert (await reader.recall("agent_1")).count == 1
    with pytest.raises(PermissionDeniedError) as refused:
        await reader.remember("agent_1", "Hello again")

    assert (refused.value.status_code, refused.value.code) == (403, "forbidden")
    assert (await admin.list_memories()).count == 1


async def test_health_and_ready_report_ok_and_an_uptime(client: AsyncMemtrace) -> None:
    for health in (await client.health(), await client.ready()):
        assert (health.status, health.service) == ("ok", "memtrace")
        assert isinstance(health.uptime, float)
        assert health.uptime >= 0
