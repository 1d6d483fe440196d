"""What is tried again, how often, after how long, and that it is the same write each time."""

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
def test_a_status_that_may_pass_is_tried_again(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float], status: int
) -> None:
    fake_server.answer(status).answer(status).answer(200, page(MEMORY))

    assert sdk.recall("a").count == 1

    assert len(waits) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 409, 413, 415, 422, 501, 505, 529])
def test_any_other_status_is_not(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float], status: int
) -> None:
    fake_server.answer(status)

    with pytest.raises(APIStatusError):
        sdk.recall("a")

    assert waits == []


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
def test_a_connection_that_fails_is_tried_again(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float], failure: Exception
) -> None:
    fake_server.fail(failure).fail(failure).answer(200, page(MEMORY))

    assert sdk.recall("a").count == 1

    assert len(waits) == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.LocalProtocolError(""),
        httpx.UnsupportedProtocol(""),
        RuntimeError(""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_would_fail_again_is_not(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float], failure: Exception
) -> None:
    fake_server.fail(failure)

    with pytest.raises(MemtraceError):
        sdk.recall("a")

    assert waits == []


@pytest.mark.parametrize(
    ("failure", "tries"),
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
@pytest.mark.usefixtures("waits")
def test_a_given_http_client_is_tried_again_like_that(
    make_client: MakeClient, failure: Exception, tries: int
) -> None:
    server = FakeServer().fail(failure).fail(failure).fail(failure)

    with pytest.raises(MemtraceError):
        make_client(http_client=make_client.http_client(server.handle)).recall("a")

    assert len(server.requests) == tries


def test_an_answer_that_cannot_be_read_is_not_asked_for_again(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.answer(200, text="<html>")

    with pytest.raises(ResponseValidationError):
        sdk.recall("a")

    assert waits == []


def test_the_last_error_is_raised_when_all_tries_have_failed(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    lost = httpx.ReadTimeout("lost")
    fake_server.answer(500).answer(502).fail(lost)

    with pytest.raises(APITimeoutError) as caught:
        sdk.recall("a")

    assert caught.value.__cause__ is lost
    assert len(waits) == 2


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_max_retries_is_how_many_more_tries_there_are(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float], max_retries: int
) -> None:
    for _ in range(max_retries + 1):
        fake_server.answer(503)

    with pytest.raises(ServerError):
        make_client(max_retries=max_retries).recall("a")

    assert len(waits) == max_retries


def test_the_pauses_are_random_and_grow_up_to_a_limit(
    make_client: MakeClient,
    fake_server: FakeServer,
    waits: list[float],
    longest_delays: None,  # noqa: ARG001
) -> None:
    for _ in range(8):
        fake_server.answer(503)

    with pytest.raises(ServerError):
        make_client(max_retries=7).recall("a")

    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_no_two_clients_pause_for_the_same_time(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float]
) -> None:
    for _ in range(20):
        fake_server.answer(503).answer(200, page())

    for _ in range(20):
        make_client().recall("a")

    assert len(set(waits)) == 20
    assert all(0 <= wait <= 0.5 for wait in waits)
    assert max(waits) > 0.25  # once in a million times, it is not


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked_for", [3, 60])
def test_retry_after_is_obeyed_with_a_random_delay_on_top(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float], status: int, asked_for: int
) -> None:
    client = make_client(timeout=100)
    for _ in range(20):
        fake_server.answer(status, headers={"retry-after": str(asked_for)}).answer(200, page())
        client.recall("a")

    assert all(asked_for <= wait <= asked_for + 0.5 for wait in waits)
    assert len(set(waits)) == 20


def test_retry_after_is_obeyed_as_a_date(sdk: Memtrace, fake_server: FakeServer, waits: list[float]) -> None:
    import time  # noqa: PLC0415  # only here is it needed

    later = formatdate(time.time() + 20, usegmt=True)
    fake_server.answer(503, headers={"retry-after": later}).answer(200, page())

    sdk.recall("a")

    assert 18 <= waits[0] <= 20.5


def test_a_pause_of_zero_still_backs_off(
    sdk: Memtrace,
    fake_server: FakeServer,
    waits: list[float],
    longest_delays: None,  # noqa: ARG001
) -> None:
    fake_server.answer(429, headers={"retry-after": "0"}).answer(200, page())

    sdk.recall("a")

    assert waits == [0.5]


def test_a_longer_pause_than_a_minute_is_left_to_the_caller(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.answer(429, error("Slow down"), headers={"retry-after": "61"})

    with pytest.raises(RateLimitError) as caught:
        sdk.recall("a")

    assert caught.value.retry_after == 61
    assert waits == []


def test_health_and_readiness_are_told_not_waited_for(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.answer(503, {"status": "not ready"}, headers={"retry-after": "1"}).answer(503)

    for call in (sdk.ready, sdk.health):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.status_code == 503

    assert waits == []


def test_but_a_lost_connection_is_tried_again_there_too(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.fail(httpx.ReadError("")).answer(200, {"status": "ok"})

    assert sdk.ready().status == "ok"

    assert len(waits) == 1


def test_a_write_is_the_same_on_each_try(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).answer(503).answer(201, MEMORY)

    sdk.remember("a", "b")

    tries = fake_server.requests
    assert len({request.headers["idempotency-key"] for request in tries}) == 1
    assert len({(request.method, request.url, request.content) for request in tries}) == 1


def test_a_conflict_that_our_server_tells_after_a_lost_answer_is_one(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    # Had the first try been stored, its Idempotency-Key would have brought back the first answer.
    fake_server.fail(httpx.ReadError("")).answer(
        409, error("stored already", "duplicate_memory", existing_id="mem_1")
    )

    with pytest.raises(ConflictError) as caught:
        sdk.remember("a", "b")

    assert caught.value.existing_id == "mem_1"


# A 0.x server ignores the key. What it says after an answer was lost is about our own first try.

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
def test_a_memory_that_had_landed_is_found_on_a_0_x_server(
    sdk: Memtrace, fake_server: FakeServer, first: Any
) -> None:
    if isinstance(first, int):
        fake_server.answer(first)
    else:
        fake_server.fail(first)
    fake_server.answer(409, OLD_CONFLICT).answer(200, page({**OLD_MEMORY, "content": "else"}, OLD_MEMORY))

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


def test_one_that_it_does_not_show_yet_is_made_of_the_request(sdk: Memtrace, fake_server: FakeServer) -> None:
    # The same words in another session, or with other metadata, are not the memory that was sent.
    others = [{**OLD_MEMORY, "metadata": {"k": 1}, "session_id": "other"}, OLD_MEMORY]
    fake_server.fail(httpx.ReadError("")).answer(409, OLD_CONFLICT).answer(200, page(*others))

    memory = sdk.remember("agent_1", "User prefers light mode", tags=["ui"], metadata={"k": 1})

    assert (memory.id, memory.org_id, memory.agent_id) == (None, "", "agent_1")
    assert (memory.content, memory.memory_type, memory.event_type) == (
        "User prefers light mode",
        "episodic",
        "general",
    )
    assert (memory.session_id, memory.tags, memory.metadata) == (None, ["ui"], {"k": 1})
    assert memory.time.tzinfo is not None


def test_it_is_stored_even_if_it_cannot_be_looked_up(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).answer(409, OLD_CONFLICT).answer(400, {"error": "broken"})

    assert sdk.remember("agent_1", "User prefers light mode").org_id == ""


@pytest.mark.parametrize(
    "first",
    [None, 429, httpx.ConnectError(""), httpx.ConnectTimeout(""), httpx.PoolTimeout("")],
    ids=str,
)
def test_a_conflict_is_one_when_nothing_can_have_landed_before(
    sdk: Memtrace, fake_server: FakeServer, first: Any
) -> None:
    if isinstance(first, int):
        fake_server.answer(first)
    elif first is not None:
        fake_server.fail(first)
    fake_server.answer(409, OLD_CONFLICT)

    with pytest.raises(ConflictError, match="duplicate memory detected"):
        sdk.remember("a", "b")


def test_a_batch_that_had_landed_is_found(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).answer(409, OLD_CONFLICT)
    fake_server.answer(200, page({**OLD_MEMORY, "content": "Second"}, {**OLD_MEMORY, "content": "First"}))

    stored = sdk.add_memories(
        [{"agent_id": "agent_1", "content": "First"}, {"agent_id": "agent_1", "content": "Second"}]
    )

    assert [memory.content for memory in stored] == ["First", "Second"]


def test_a_batch_that_had_landed_in_part_is_an_error_that_says_which(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.fail(httpx.ReadError("")).answer(409, OLD_CONFLICT)
    fake_server.answer(200, page({**OLD_MEMORY, "content": "First"}))

    with pytest.raises(ConflictError, match=r"1 of its 2 memories are missing: \[1\]"):
        sdk.add_memories(
            [{"agent_id": "agent_1", "content": "First"}, {"agent_id": "agent_1", "content": "Second"}]
        )


@pytest.mark.parametrize("status", [400, 409])
def test_an_agent_that_had_landed_is_found(sdk: Memtrace, fake_server: FakeServer, status: int) -> None:
    agent = {
        "id": "uuid",
        "org_id": "o",
        "name": "n",
        "description": "d",
        "created_at": MEMORY["time"],
    }
    fake_server.fail(httpx.ReadError("")).answer(status, {"error": "agent name taken"})
    fake_server.answer(200, {"agents": [agent], "count": 1})

    assert sdk.register_agent(name="n", description="d").id == "uuid"


def test_another_agent_of_that_name_is_not_taken_for_it(sdk: Memtrace, fake_server: FakeServer) -> None:
    agent = {"id": "uuid", "org_id": "o", "name": "n", "created_at": MEMORY["time"]}
    fake_server.fail(httpx.ReadError("")).answer(400, {"error": "agent name taken"})
    fake_server.answer(200, {"agents": [agent], "count": 1})

    with pytest.raises(BadRequestError, match="taken"):
        sdk.register_agent(name="n", description="mine")


def test_an_agent_that_is_gone_after_a_lost_answer_was_deleted(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.fail(httpx.ReadError("")).answer(404, {"error": "agent not found"})

    sdk.delete_agent("a")


def test_a_session_is_updated_again_as_that_does_no_harm(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("")).answer(200, SESSION)

    assert sdk.close_session("s").id == "sess_1"


def test_what_interrupts_the_program_is_not_an_error_of_ours(
    sdk: Memtrace, fake_server: FakeServer, waits: list[float]
) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    fake_server.stand_in = interrupt

    with pytest.raises(KeyboardInterrupt):
        sdk.recall("a")

    assert waits == []


def test_connection_errors_have_no_status(sdk: Memtrace, fake_server: FakeServer) -> None:
    for _ in range(3):
        fake_server.fail(httpx.ConnectError("refused"))

    with pytest.raises(APIConnectionError) as caught:
        sdk.recall("a")

    assert (caught.value.status_code, caught.value.code, caught.value.body) == (0, None, None)
