"""Retries: which failures, how often, after which delay, and with the same request."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import httpx
import pytest
from helpers.clients import MEMORY, SESSION, FakeServer, MakeClient, error, page

from memtrace import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConflictError,
    Memtrace,
    MemtraceError,
    RateLimitError,
    ResponseValidationError,
    ServerError,
)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_status_is_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], status: int
) -> None:
    fake_server.respond(status).respond(status).respond(200, page(MEMORY))

    assert sdk.recall("a").count == 1

    assert len(delays) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 409, 413, 415, 422, 501, 505, 529])
def test_other_status_is_not_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], status: int
) -> None:
    fake_server.respond(status)

    with pytest.raises(APIStatusError):
        sdk.recall("a")

    assert delays == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError(""),
        httpx.ConnectTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.RemoteProtocolError(""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_failed_connection_is_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], failure: Exception
) -> None:
    fake_server.fail(failure).fail(failure).respond(200, page(MEMORY))

    assert sdk.recall("a").count == 1

    assert len(delays) == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.LocalProtocolError(""),
        httpx.UnsupportedProtocol(""),
        RuntimeError(""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_permanent_failure_is_not_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], failure: Exception
) -> None:
    fake_server.fail(failure)

    with pytest.raises(MemtraceError):
        sdk.recall("a")

    assert delays == []


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (httpx.ProxyError(""), 3),
        (httpx.ConnectError(""), 3),
        (httpx.RemoteProtocolError(""), 3),
        (httpx.WriteTimeout(""), 3),
        (httpx.CloseError(""), 3),
        (httpx.LocalProtocolError(""), 1),
        (httpx.UnsupportedProtocol(""), 1),
        (httpx.InvalidURL(""), 1),
        (httpx.DecodingError(""), 1),
        (RuntimeError(""), 1),
    ],
    ids=str,
)
@pytest.mark.usefixtures("delays")
def test_calls_over_a_supplied_http_client_are_retried_alike(
    make_client: MakeClient, failure: Exception, attempts: int
) -> None:
    server = FakeServer().fail(failure).fail(failure).fail(failure)

    with pytest.raises(MemtraceError):
        make_client(http_client=make_client.http_client(server.handle)).recall("a")

    assert len(server.requests) == attempts


def test_unreadable_response_is_not_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.respond(200, text="<html>")

    with pytest.raises(ResponseValidationError):
        sdk.recall("a")

    assert delays == []


def test_last_error_is_raised_when_all_attempts_have_failed(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    lost = httpx.ReadTimeout("lost")
    fake_server.respond(500).respond(502).fail(lost)

    with pytest.raises(APITimeoutError) as caught:
        sdk.recall("a")

    assert caught.value.__cause__ is lost
    assert len(delays) == 2


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_max_retries_bounds_the_attempts_after_the_first(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float], max_retries: int
) -> None:
    for _ in range(max_retries + 1):
        fake_server.respond(503)

    with pytest.raises(ServerError):
        make_client(max_retries=max_retries).recall("a")

    assert len(delays) == max_retries


def test_delays_grow_up_to_a_limit(
    make_client: MakeClient,
    fake_server: FakeServer,
    delays: list[float],
    longest_delays: None,  # noqa: ARG001
) -> None:
    for _ in range(8):
        fake_server.respond(503)

    with pytest.raises(ServerError):
        make_client(max_retries=7).recall("a")

    assert delays == [0.5, 1, 2, 4, 8, 8, 8]


def test_delays_of_clients_are_random(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float]
) -> None:
    for _ in range(20):
        fake_server.respond(503).respond(200, page())

    for _ in range(20):
        make_client().recall("a")

    assert len(set(delays)) == 20
    assert all(0 <= delay <= 0.5 for delay in delays)
    assert max(delays) > 0.25  # fails once in a million runs


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", [3, 60])
def test_retry_after_is_obeyed_with_a_random_delay_on_top(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float], status: int, retry_after: int
) -> None:
    client = make_client(timeout=100)
    for _ in range(20):
        fake_server.respond(status, headers={"retry-after": str(retry_after)}).respond(200, page())
        client.recall("a")

    assert all(retry_after <= delay <= retry_after + 0.5 for delay in delays)
    assert len(set(delays)) == 20


def test_retry_after_is_obeyed_as_a_date(sdk: Memtrace, fake_server: FakeServer, delays: list[float]) -> None:
    import time  # noqa: PLC0415  # for this test alone

    later = formatdate(time.time() + 20, usegmt=True)
    fake_server.respond(503, headers={"retry-after": later}).respond(200, page())

    sdk.recall("a")

    assert 18 <= delays[0] <= 20.5


def test_retry_after_of_zero_still_backs_off(
    sdk: Memtrace,
    fake_server: FakeServer,
    delays: list[float],
    longest_delays: None,  # noqa: ARG001
) -> None:
    fake_server.respond(429, headers={"retry-after": "0"}).respond(200, page())

    sdk.recall("a")

    assert delays == [0.5]


def test_retry_after_above_a_minute_is_left_to_the_caller(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.respond(429, error("Slow down"), headers={"retry-after": "61"})

    with pytest.raises(RateLimitError) as caught:
        sdk.recall("a")

    assert caught.value.retry_after == 61
    assert delays == []


def test_error_status_of_health_and_ready_is_not_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.respond(503, {"status": "not ready"}, headers={"retry-after": "1"}).respond(503)

    for call in (sdk.ready, sdk.health):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.status_code == 503

    assert delays == []


def test_lost_connection_of_ready_is_retried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.fail(httpx.ReadError("")).respond(200, {"status": "ok"})

    assert sdk.ready().status == "ok"

    assert len(delays) == 1


def test_write_is_the_same_request_at_each_attempt(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).respond(503).respond(201, MEMORY)

    sdk.remember("a", "b")

    attempts = fake_server.requests
    assert len({request.headers["idempotency-key"] for request in attempts}) == 1
    assert len({(request.method, request.url, request.content) for request in attempts}) == 1


def test_conflict_with_an_existing_id_after_a_lost_response_is_raised(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    # Had the first attempt been stored, its Idempotency-Key would have returned the first response.
    fake_server.fail(httpx.ReadError("")).respond(
        409, error("stored already", "duplicate_memory", existing_id="mem_1")
    )

    with pytest.raises(ConflictError) as caught:
        sdk.remember("a", "b")

    assert caught.value.existing_id == "mem_1"


# A 0.x server ignores the key. Its conflict after a lost response is about the client's own first attempt.

OLD_CONFLICT: dict[str, Any] = {"error": "duplicate memory detected"}
OLD_MEMORY: dict[str, Any] = {
    **{name: value for name, value in MEMORY.items() if name != "id"},
    "time": "2026-11-01T09:30:00.123456789Z",
    "content": "User prefers light mode",
}


@pytest.mark.parametrize(
    "first",
    [
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError(""),
        500,
        502,
        503,
        504,
        408,
    ],
    ids=str,
)
def test_memory_already_stored_on_a_0_x_server_is_found(
    sdk: Memtrace, fake_server: FakeServer, first: Any
) -> None:
    if isinstance(first, int):
        fake_server.respond(first)
    else:
        fake_server.fail(first)
    fake_server.respond(409, OLD_CONFLICT).respond(200, page({**OLD_MEMORY, "content": "else"}, OLD_MEMORY))

    memory = sdk.remember("agent_1", "User prefers light mode")

    assert (memory.content, memory.org_id, memory.time.microsecond) == (
        "User prefers light mode",
        "org_default",
        123456,
    )
    assert dict(fake_server.requests[-1].url.params) == {
        "agent_id": "agent_1",
        "order": "desc",
        "limit": "1000",
    }


def test_memory_not_listed_yet_is_made_from_the_request(sdk: Memtrace, fake_server: FakeServer) -> None:
    # The same words in another session, or with other metadata, are not the memory that was sent.
    others = [{**OLD_MEMORY, "metadata": {"k": 1}, "session_id": "other"}, OLD_MEMORY]
    fake_server.fail(httpx.ReadError("")).respond(409, OLD_CONFLICT).respond(200, page(*others))

    memory = sdk.remember("agent_1", "User prefers light mode", tags=["ui"], metadata={"k": 1})

    assert (memory.id, memory.org_id, memory.agent_id) == (None, "", "agent_1")
    assert (memory.content, memory.memory_type, memory.event_type) == (
        "User prefers light mode",
        "episodic",
        "general",
    )
    assert (memory.session_id, memory.tags, memory.metadata) == (None, ["ui"], {"k": 1})
    assert memory.time.tzinfo is not None


def test_memory_that_cannot_be_looked_up_counts_as_stored(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).respond(409, OLD_CONFLICT).respond(400, {"error": "broken"})

    assert sdk.remember("agent_1", "User prefers light mode").org_id == ""


@pytest.mark.parametrize(
    "first",
    [None, 429, httpx.ConnectError(""), httpx.ConnectTimeout(""), httpx.PoolTimeout("")],
    ids=str,
)
def test_conflict_is_raised_if_no_earlier_attempt_can_have_been_applied(
    sdk: Memtrace, fake_server: FakeServer, first: Any
) -> None:
    if isinstance(first, int):
        fake_server.respond(first)
    elif first is not None:
        fake_server.fail(first)
    fake_server.respond(409, OLD_CONFLICT)

    with pytest.raises(ConflictError, match="duplicate memory detected"):
        sdk.remember("a", "b")


def test_batch_already_stored_is_found(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).respond(409, OLD_CONFLICT)
    fake_server.respond(200, page({**OLD_MEMORY, "content": "Second"}, {**OLD_MEMORY, "content": "First"}))

    stored = sdk.add_memories(
        [{"agent_id": "agent_1", "content": "First"}, {"agent_id": "agent_1", "content": "Second"}]
    )

    assert [memory.content for memory in stored] == ["First", "Second"]


def test_batch_stored_in_part_is_a_conflict_that_names_the_rest(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.fail(httpx.ReadError("")).respond(409, OLD_CONFLICT)
    fake_server.respond(200, page({**OLD_MEMORY, "content": "First"}))

    with pytest.raises(ConflictError, match=r"1 of its 2 memories are missing: \[1\]"):
        sdk.add_memories(
            [{"agent_id": "agent_1", "content": "First"}, {"agent_id": "agent_1", "content": "Second"}]
        )


@pytest.mark.parametrize("status", [400, 409])
def test_agent_already_registered_is_found(sdk: Memtrace, fake_server: FakeServer, status: int) -> None:
    agent = {
        "id": "uuid",
        "org_id": "o",
        "name": "n",
        "description": "d",
        "created_at": MEMORY["time"],
    }
    fake_server.fail(httpx.ReadError("")).respond(status, {"error": "agent name taken"})
    fake_server.respond(200, {"agents": [agent], "count": 1})

    assert sdk.register_agent(name="n", description="d").id == "uuid"


def test_another_agent_of_the_same_name_is_a_bad_request(sdk: Memtrace, fake_server: FakeServer) -> None:
    agent = {"id": "uuid", "org_id": "o", "name": "n", "created_at": MEMORY["time"]}
    fake_server.fail(httpx.ReadError("")).respond(400, {"error": "agent name taken"})
    fake_server.respond(200, {"agents": [agent], "count": 1})

    with pytest.raises(BadRequestError, match="taken"):
        sdk.register_agent(name="n", description="mine")


def test_not_found_after_a_lost_response_of_a_deletion_is_a_success(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.fail(httpx.ReadError("")).respond(404, {"error": "agent not found"})

    sdk.delete_agent("a")


def test_update_of_a_session_is_retried(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).respond(200, SESSION)

    assert sdk.close_session("s").id == "sess_1"


def test_keyboard_interrupt_passes_through_unretried(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    fake_server.stand_in = interrupt

    with pytest.raises(KeyboardInterrupt):
        sdk.recall("a")

    assert delays == []


def test_connection_error_has_no_status(sdk: Memtrace, fake_server: FakeServer) -> None:
    for _ in range(3):
        fake_server.fail(httpx.ConnectError("refused"))

    with pytest.raises(APIConnectionError) as caught:
        sdk.recall("a")

    assert (caught.value.status_code, caught.value.code, caught.value.body) == (0, None, None)
