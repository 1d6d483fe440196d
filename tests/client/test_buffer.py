"""Write buffers: what they store, when, in which order, and how they report the rest."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import pickle
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
import httpx
import pytest
import trio
from helpers.clients import KEY, MEMORY, URL, FakeServer, MakeClient, error, page
from helpers.files import opened, opened_below
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrace import (
    AddMemoryRequest,
    APIConnectionError,
    AsyncMemtrace,
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    Memtrace,
    MemtraceError,
    ResponseValidationError,
    ServerError,
    WriteBuffer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from helpers.clock import WallClock
    from live import LiveServer

BACKENDS = ["asyncio", "trio"]
BODY = 1_000_000  # bytes of the largest body that a buffer sends
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ONE = b'{"agent_id":"a","content":"b","on_duplicate":"store","time":"2026-11-01T12:00:00Z"}'

Respond = Callable[[httpx.Request], httpx.Response]


class BatchServer:
    """Store each batch once, as a server does, unless a queued response comes first.

    Attributes:
        batches: The batches that were sent: the contents of their memories.
        keys: The idempotency key of each.
        memories: The stored memories.
        bad: The contents that get an error response.
        responses: The queued responses.
        sent: Released for each batch that was sent.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.keys: list[str] = []
        self.memories: list[dict[str, Any]] = []
        self.bad: set[str] = set()
        self.responses: deque[Respond] = deque()
        self.sent = threading.Semaphore(0)

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self.responses.popleft()(request)
        memories = json.loads(request.content)["memories"]
        key = request.headers["idempotency-key"]
        is_new = key not in self.keys
        self.batches.append([memory["content"] for memory in memories])
        self.keys.append(key)
        self.sent.release()
        if self.responses:
            return self.responses.popleft()(request)
        bad = [f"memories.{index}.content" for index, text in enumerate(self.batches[-1]) if text in self.bad]
        if bad:
            return rejects(*bad)(request)
        return self.store(request) if is_new else stored(request)

    def store(self, request: httpx.Request) -> httpx.Response:
        self.memories += json.loads(request.content)["memories"]
        return stored(request)

    def store_and_lose(self, request: httpx.Request) -> httpx.Response:
        self.store(request)
        raise httpx.ReadError("lost", request=request)

    @property
    def contents(self) -> list[str]:
        return [memory["content"] for memory in self.memories]


def stored(request: httpx.Request) -> httpx.Response:
    given = {"org_id": "org_default", "memory_type": "episodic", "event_type": "general"}
    memories = [given | memory for memory in json.loads(request.content)["memories"]]
    return httpx.Response(201, json={"memories": memories, "count": len(memories)})


def responds(status: int, body: Any = None, **headers: str) -> Respond:
    return lambda _: httpx.Response(status, json=body, headers=headers)


def rejects(*fields: str) -> Respond:
    details = [{"field": field, "location": "body", "message": "wrong"} for field in fields]
    return responds(400, error("No", "invalid_request", details=details))


def is_gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.fixture
def server() -> BatchServer:
    return BatchServer()


@pytest.fixture
def client(make_client: MakeClient, server: BatchServer) -> Memtrace:
    """Return a client of the batch server that does not retry."""
    return make_client(http_client=make_client.http_client(server.handle), max_retries=0)


def async_client(handle: Callable[[httpx.Request], Any]) -> AsyncMemtrace:
    """Return an AsyncMemtrace, for tests of tasks."""
    return AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))


def failed(caught: pytest.ExceptionInfo[BufferedWriteError] | BufferedWriteError) -> list[str]:
    error = caught if isinstance(caught, BufferedWriteError) else caught.value
    return [request.content for request, _ in error.failed]


def test_block_end_stores_all_in_order(client: Memtrace, server: BatchServer) -> None:
    before = datetime.now(UTC)
    with client.buffered(max_delay=60) as log:
        assert log.remember("agent_1", "one", tags=["ui"], session_id="sess_1") is None  # type: ignore[func-returns-value]
        log.decide("agent_2", "two", "because", metadata={"x": 1}, ttl=60)
        log.add_memory(AddMemoryRequest(agent_id="agent_1", content="three"))
        log.add_memory(agent_id="agent_1", content="four", importance=0.5)
        log.add_memories([{"agent_id": "agent_1", "content": "five"}])
        assert (log.pending, server.batches) == (5, [])

    assert (log.pending, server.batches) == (0, [["one", "two", "three", "four", "five"]])
    times = [datetime.fromisoformat(memory.pop("time")) for memory in server.memories]
    assert before < times[0] < times[1] < times[2] < times[3] < times[4] < datetime.now(UTC)
    assert {memory.pop("on_duplicate") for memory in server.memories} == {"store"}
    assert server.memories == [
        {
            "agent_id": "agent_1",
            "content": "one",
            "session_id": "sess_1",
            "tags": ["ui"],
        },
        {
            "agent_id": "agent_2",
            "content": "two",
            "memory_type": "decision",
            "event_type": "decision",
            "metadata": {"x": 1, "reasoning": "because"},
            "ttl": 60,
        },
        {"agent_id": "agent_1", "content": "three"},
        {"agent_id": "agent_1", "content": "four", "importance": 0.5},
        {"agent_id": "agent_1", "content": "five"},
    ]


def test_memory_with_a_time_keeps_it(client: Memtrace, server: BatchServer) -> None:
    with client.buffered() as log:
        log.remember("a", "then", time=datetime(2026, 1, 2, tzinfo=UTC))

    assert server.memories[0]["time"] == "2026-01-02T00:00:00Z"


def test_flush_sends_full_batches_and_the_rest(client: Memtrace, server: BatchServer) -> None:
    log = client.buffered(max_batch=3, max_delay=60)
    for text in "abcdefgh":
        log.remember("a", text)
    log.flush()

    assert server.batches == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert len(set(server.keys)) == 3
    log.close()


@pytest.mark.parametrize(("more", "batches"), [(-1, 1), (0, 1), (1, 2)], ids=["below", "at", "above"])
def test_batch_is_filled_to_the_last_byte_of_a_body(make_client: MakeClient, more: int, batches: int) -> None:
    bodies: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return stored(request)

    client = make_client(http_client=make_client.http_client(handle))
    log = client.buffered(max_delay=60)
    log.add_memories(
        [{"agent_id": "a", "content": text, "time": "2026-11-01T12:00:00Z"} for text in ("x", "y")]
    )
    log.flush()
    room = BODY - len(bodies.pop())
    log.add_memories(
        [
            {"agent_id": "a", "content": "x", "time": "2026-11-01T12:00:00Z"},
            {"agent_id": "a", "content": "y" * (1 + room + more), "time": "2026-11-01T12:00:00Z"},
        ]
    )
    log.close()

    assert len(bodies) == batches
    assert more > 0 or len(bodies[0]) == BODY + more


def test_memory_larger_than_a_body_is_sent_alone(client: Memtrace, server: BatchServer) -> None:
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in ("b", "x" * 2 * BODY, "c")])
    log.close()

    assert [len(batch) for batch in server.batches] == [1, 1, 1]


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)], ids=["below", "at", "above"])
def test_memories_beyond_max_pending_or_max_bytes_are_refused(
    client: Memtrace, more: int, *, fits: bool
) -> None:
    by_count = client.buffered(max_batch=3, max_pending=3)
    by_size = client.buffered(max_bytes=len(ONE))
    with (
        contextlib.nullcontext() if fits else pytest.raises(BadRequestError, match="max_pending=3") as caught
    ):
        by_count.add_memories([{"agent_id": "a", "content": "b"}] * (3 + more))
    with contextlib.nullcontext() if fits else pytest.raises(BadRequestError, match="max_bytes="):
        by_size.remember("a", "b" * (1 + more), time=NOON)

    if caught is not None:
        assert (caught.value.status_code, caught.value.code) == (0, "invalid_request")


def test_buffer_has_room_again_after_memories_are_sent_or_failed(
    client: Memtrace, server: BatchServer
) -> None:
    full = {"agent_id": "a", "content": "b", "time": NOON}
    with client.buffered(max_bytes=2 * len(ONE), max_delay=3600) as log:
        for batches in range(1, 4):
            log.add_memories([full, full])
            log.flush()
            assert len(server.batches) == batches
        server.responses.append(is_gone)
        log.add_memory(full)
        with pytest.raises(BufferedWriteError):
            log.flush()
        log.add_memories([full, full])

    assert server.batches[3:] == [["b"], ["b", "b"]]


@pytest.mark.parametrize("limits", [{"max_batch": 3}, {"max_bytes": 3 * BODY}], ids=["count", "bytes"])
def test_batch_is_due_when_it_is_full(server: BatchServer, limits: dict[str, Any]) -> None:
    with Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle))) as client:
        log = client.buffered(max_delay=3600, **limits)
        size = 1 if "max_batch" in limits else BODY // 3
        for text in "ab":
            log.remember("a", text * size)
        assert log.pending == 2
        log.remember("a", "c" * size)
        assert server.sent.acquire(timeout=60)
    assert [text[0] for batch in server.batches for text in batch] == list("abc")


def test_times_increase_even_if_the_clock_is_set_back(
    client: Memtrace, server: BatchServer, wall_clock: WallClock
) -> None:
    with client.buffered(max_delay=60) as log:
        for seconds in (0, 0, -3600, 1):
            wall_clock.move(seconds)
            log.remember("a", "b")

    times = [datetime.fromisoformat(memory["time"]) for memory in server.memories]
    assert sorted(set(times)) == times
    assert times[2] - times[0] == timedelta(microseconds=2)


def test_memory_without_a_time_gets_that_of_the_call(
    client: Memtrace, server: BatchServer, wall_clock: WallClock
) -> None:
    with client.buffered(max_delay=60) as log:
        for seconds in (0, 3600):
            wall_clock.move(seconds)
            log.remember("a", "b")

    first, second = (datetime.fromisoformat(memory["time"]) for memory in server.memories)
    assert second - first == timedelta(hours=1)


def test_memory_changed_after_the_call_is_stored_as_it_was(client: Memtrace, server: BatchServer) -> None:
    metadata = {"step": 1}
    request = AddMemoryRequest(agent_id="a", content="before")
    with client.buffered(max_delay=60) as log:
        log.remember("a", "one", metadata=metadata)
        log.add_memory(request)
        metadata["step"] = 2
        request.content = "after"

    assert server.memories[0]["metadata"] == {"step": 1}
    assert server.contents == ["one", "before"]
    assert request.time is None


@pytest.mark.parametrize(
    ("call", "kind", "problem"),
    [
        (lambda log: log.remember("a", "b", time=datetime(2026, 1, 1)), ValueError, "time zone"),  # noqa: DTZ001
        (lambda log: log.remember("a", "b", metadata={"x": float("nan")}), BadRequestError, "JSON"),
        (lambda log: log.remember("a", "b", metadata={"x": object()}), BadRequestError, "JSON"),
        (lambda log: log.add_memory(content="b"), TypeError, "agent_id"),
        (
            lambda log: log.add_memory(AddMemoryRequest(agent_id="a", content="b"), content="c"),
            TypeError,
            "not both",
        ),
        (lambda log: log.add_memories([{"agent_id": "a", "text": "b"}]), TypeError, r"memories\.0"),
        (
            lambda log: log.add_memories(
                [{"agent_id": "a", "content": "b"}, {"agent_id": "a", "content": "\ud800"}]
            ),
            BadRequestError,
            "surrogates",
        ),
        (
            lambda log: log.add_memories([{"agent_id": "a", "content": "b"}] * 11),
            BadRequestError,
            "11 memories",
        ),
    ],
)
def test_invalid_call_raises_and_queues_nothing(
    client: Memtrace, call: Callable[[WriteBuffer], None], kind: type[Exception], problem: str
) -> None:
    with client.buffered(max_batch=10, max_pending=10) as log:
        with pytest.raises(kind, match=problem):
            call(log)
        assert log.pending == 0


def test_buffered_with_something_else_as_on_failure_raises(client: Memtrace) -> None:
    with pytest.raises(TypeError, match=r"^on_failure: 5 cannot be called"):
        client.buffered(on_failure=cast("Any", 5))


def test_buffered_with_an_async_on_failure_raises(client: Memtrace) -> None:
    async def later(_: BufferedWriteError) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"on_failure: .* cannot be called; give a function without async"):
        client.buffered(on_failure=cast("Any", later))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"max_batch": 0}, "max_batch: 0 is out of range; give from 1 to 1000"),
        ({"max_batch": 1001}, "max_batch: 1001 is out of range"),
        ({"max_delay": -0.1}, "max_delay: -0.1 is out of range; give from 0 to"),
        ({"max_delay": float("nan")}, "max_delay: nan"),
        ({"max_delay": float("inf")}, "max_delay: inf"),
        ({"max_batch": 10, "max_pending": 9}, "max_pending: 9 is out of range; give 10 or more"),
        ({"max_bytes": 0}, "max_bytes: 0 is out of range; give 1 or more"),
    ],
    ids=str,
)
def test_buffered_with_limits_out_of_range_raises(
    client: Memtrace, limits: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        client.buffered(**limits)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"max_batch": 2.5}, "max_batch: 2.5 is not a whole number"),
        ({"max_pending": "9"}, "max_pending: '9' is not a number"),
    ],
    ids=str,
)
def test_buffered_with_limits_that_are_no_numbers_raises(
    client: Memtrace, limits: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        client.buffered(**limits)


def test_buffered_takes_the_smallest_limits_and_the_largest_batch(client: Memtrace) -> None:
    client.buffered(max_batch=1, max_delay=0, max_pending=1, max_bytes=1)
    client.buffered(max_batch=1000, max_pending=1000)


def test_refused_memory_fails_alone(client: Memtrace, server: BatchServer) -> None:
    server.bad = {"b", "d"}
    log = client.buffered(max_delay=60)
    for text in "abcde":
        log.remember("agent_1", text)

    with pytest.raises(BufferedWriteError, match=r"^2 memories could not be stored: No") as caught:
        log.flush()

    assert failed(caught) == ["b", "d"]
    reasons = [reason for _, reason in caught.value.failed]
    assert [type(reason) for reason in reasons] == [BadRequestError] * 2
    assert [[detail.field for detail in reason.details] for reason in reasons] == [["memories.0.content"]] * 2
    assert caught.value.__cause__ is reasons[0]
    assert (caught.value.status_code, caught.value.code) == (400, "invalid_request")
    assert server.batches == [list("abcde"), ["a"], ["b"], ["c"], ["d"], ["e"]]
    assert (server.contents, len(set(server.keys))) == (list("ace"), 6)
    log.close()


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("memories[0]", ["a", "bcd"]),
        ("memories.2.content", ["ab", "c", "d"]),
        ("memories[3].tags[0]", ["abc", "d"]),
    ],
    ids=["first", "middle", "last"],
)
def test_memory_named_by_an_error_is_sent_alone_in_its_order(
    client: Memtrace, server: BatchServer, field: str, parts: list[str]
) -> None:
    server.responses.append(rejects(field))
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcd"])
    log.flush()

    assert server.batches == [list("abcd"), *map(list, parts)]
    assert (server.contents, log.pending) == (list("abcd"), 0)
    log.close()


def test_parts_of_a_refused_batch_are_sent_at_once(server: BatchServer) -> None:
    server.responses.append(responds(413))
    with Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle))) as client:
        log = client.buffered(max_batch=2, max_delay=3600)
        log.add_memories([{"agent_id": "a", "content": text} for text in "ab"])
        for _ in range(3):
            assert server.sent.acquire(timeout=60)

    assert server.batches == [["a", "b"], ["a"], ["b"]]


@pytest.mark.parametrize(
    "fields", [[], ["agent_id"], ["memories"], ["memories.7.content"]], ids=["none", "other", "all", "beyond"]
)
def test_batch_is_halved_if_an_error_names_none_of_its_memories(
    client: Memtrace, server: BatchServer, fields: list[str]
) -> None:
    def refuse_bad(request: httpx.Request) -> httpx.Response:
        return rejects(*fields)(request) if "e" in server.batches[-1] else server.store(request)

    server.responses += [refuse_bad] * 7
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcdefg"])
    with pytest.raises(BufferedWriteError) as caught:
        log.close()

    assert (failed(caught), server.contents, len(server.batches)) == (["e"], list("abcdfg"), 7)


def test_failure_is_logged_once(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")  # another test may have lowered the root's
    server.bad = {"a", "c"}
    log = client.buffered(max_batch=2, max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcd"])
    with pytest.raises(BufferedWriteError) as caught:
        log.close()

    assert failed(caught) == ["a", "c"]
    logged = "1 memory could not be stored: No (HTTP 400, invalid_request, request req_body)"
    assert [record.getMessage() for record in caplog.records] == [logged, logged]


def test_batch_too_large_for_a_proxy_is_sent_in_halves(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(413), responds(413)]
    with client.buffered(max_delay=60) as log:
        for text in "abcd":
            log.remember("agent_1", text)

    assert server.batches == [list("abcd"), list("ab"), ["a"], ["b"], list("cd")]
    assert server.contents == list("abcd")


def test_retried_batch_is_stored_once(
    make_client: MakeClient, server: BatchServer, delays: list[float]
) -> None:
    server.responses += [server.store_and_lose, responds(503)]
    client = make_client(http_client=make_client.http_client(server.handle))
    with client.buffered(max_delay=60) as log:
        log.remember("a", "b")

    assert (server.contents, len(server.keys), len(set(server.keys)), len(delays)) == (["b"], 3, 1, 2)


def test_unreachable_server_fails_all_in_order(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")
    server.responses += [is_gone]
    log = client.buffered(max_batch=2, max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcde"])
    with pytest.raises(BufferedWriteError, match=r"5 memories .* cannot connect") as caught:
        log.flush()

    assert failed(caught) == list("abcde")
    assert {type(reason) for _, reason in caught.value.failed} == {APIConnectionError}
    assert server.batches == [["a", "b"]]

    log.add_memories([request for request, _ in caught.value.failed])
    log.close()
    assert server.contents == list("abcde")
    assert "time" in server.memories[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "5 memories could not be stored" in caplog.text


def test_call_that_raises_earlier_failures_queues_nothing(
    make_client: MakeClient, server: BatchServer
) -> None:
    server.responses += [responds(500)]
    client = make_client(http_client=make_client.http_client(server.handle), max_retries=0)
    log = client.buffered(max_batch=1, max_pending=1)
    log.remember("a", "first")
    # Nothing fits before the first has failed.
    with pytest.raises(BufferedWriteError) as caught:
        log.remember("a", "second")

    assert failed(caught) == ["first"]
    assert (log.pending, log.failed) == (0, [])
    log.remember("a", "third")
    log.close()
    assert server.contents == ["third"]


def test_exception_in_the_block_keeps_the_failures(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(500)]
    with pytest.raises(ZeroDivisionError) as caught, client.buffered() as log:  # noqa: PT012
        log.remember("a", "first")
        _ = 1 / 0

    assert ["1 memory could not be stored" in note for note in caught.value.__notes__] == [True]
    [(request, reason)] = log.failed
    assert (request.content, type(reason)) == ("first", ServerError)
    with pytest.raises(BufferedWriteError) as handed:
        log.flush()
    assert failed(handed) == ["first"]
    assert log.failed == []


def test_exception_in_the_block_is_raised_after_the_flush(client: Memtrace, server: BatchServer) -> None:
    with pytest.raises(ZeroDivisionError) as caught, client.buffered(max_delay=60) as log:  # noqa: PT012
        log.remember("a", "first")
        _ = 1 / 0

    assert server.contents == ["first"]
    assert not hasattr(caught.value, "__notes__")


def test_block_end_raises_failures(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(401, error("Unknown key"))]
    with pytest.raises(BufferedWriteError, match="Unknown key") as caught, client.buffered() as log:
        log.remember("a", "first")

    assert failed(caught) == ["first"]
    assert failed(pickle.loads(pickle.dumps(caught.value))) == ["first"]  # noqa: S301  # our own


def test_on_failure_receives_failures_instead_of_the_caller(client: Memtrace, server: BatchServer) -> None:
    received: list[BufferedWriteError] = []
    server.bad = {"first"}
    with client.buffered(max_delay=60, on_failure=received.append) as log:
        log.remember("a", "first")
        log.remember("a", "second")
        log.flush()
        server.responses.append(responds(500))
        log.remember("a", "third")
        log.remember("a", "fourth")

    assert [failed(error) for error in received] == [["first"], ["third", "fourth"]]
    assert log.failed == []


def test_on_failure_that_raises_leaves_failures_to_the_caller(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: BufferedWriteError) -> None:
        raise OSError("disk full")

    server.responses += [responds(500)]
    log = client.buffered(on_failure=fails)
    log.remember("a", "first")
    with pytest.raises(BufferedWriteError) as caught:
        log.flush()

    assert failed(caught) == ["first"]
    [message] = [record.message for record in caplog.records if record.exc_info]
    assert message == "on_failure: it raised an error; what it was given is raised instead"
    assert "disk full" in caplog.text
    log.close()


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_failures_are_kept_if_on_failure_is_interrupted(
    client: Memtrace, server: BatchServer, ending: type[BaseException]
) -> None:
    def ends(_: BufferedWriteError) -> None:
        raise ending

    server.responses += [responds(500)]
    log = client.buffered(max_delay=60, on_failure=ends)
    log.remember("a", "first")
    with pytest.raises(ending):
        log.flush()

    with pytest.raises(BufferedWriteError) as caught:
        log.close()
    assert failed(caught) == ["first"]


def test_closing_waits_until_on_failure_has_returned(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    server.bad = {"bad"}
    has_begun, may_end = threading.Event(), threading.Event()
    reported, reported_at_the_end = list[BufferedWriteError](), list[int]()

    def report(error: BufferedWriteError) -> None:
        has_begun.set()
        assert may_end.wait(60)
        reported.append(error)

    def close() -> None:
        log.close()
        reported_at_the_end.append(len(reported))

    log = client.buffered(max_batch=1, on_failure=report)
    log.remember("a", "bad")
    assert has_begun.wait(60)
    closing = threading.Thread(target=close)
    closing.start()
    closing.join(0.1)  # time to return, if it did not wait
    may_end.set()
    closing.join(60)

    assert reported_at_the_end == [1]


def test_on_failure_can_close_the_buffer(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    server.bad = {"bad 1", "bad 2"}
    reported = list[str]()

    def report(error: BufferedWriteError) -> None:
        reported.extend(failed(error))
        log.close()

    log = client.buffered(max_batch=1, on_failure=report)
    log.add_memories([AddMemoryRequest(agent_id="a", content=text) for text in ("bad 1", "bad 2", "good")])
    log.close()

    assert sorted(reported) == ["bad 1", "bad 2"]
    assert server.contents == ["good"]


def test_on_failure_of_two_buffers_can_close_their_client(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    server.bad = {"bad"}
    both, closed = threading.Barrier(2, timeout=60), threading.Semaphore(0)

    def close(_: BufferedWriteError) -> None:
        both.wait()
        client.close()
        closed.release()

    for log in [client.buffered(max_batch=1, on_failure=close) for _ in range(2)]:
        log.remember("a", "bad")

    assert closed.acquire(timeout=60)
    assert closed.acquire(timeout=60)


def test_closing_ends_though_on_failure_waits_for_the_caller(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    server.bad = {"bad"}
    mine, is_reported = threading.Lock(), threading.Event()

    def report(_: BufferedWriteError) -> None:
        with mine:
            is_reported.set()

    log = client.buffered(max_batch=1, on_failure=report)
    with mine:
        log.remember("a", "bad")
        assert server.sent.acquire(timeout=60)  # so that the thread reports
        log.close()

    assert is_reported.wait(60)


def test_on_failure_can_use_the_buffer(make_client: MakeClient, server: BatchServer) -> None:
    server.responses += [responds(500)]
    client = make_client(http_client=make_client.http_client(server.handle), max_retries=0)
    again: list[AddMemoryRequest] = []
    log = client.buffered(on_failure=lambda error: again.extend(request for request, _ in error.failed))
    log.remember("a", "first")
    log.flush()
    log.add_memories(again)
    log.close()

    assert server.contents == ["first"]


class RememberingHandler(logging.Handler):
    """Add each log record to a buffer, like an agent that remembers its log."""

    def __init__(self, log: WriteBuffer) -> None:
        super().__init__(logging.DEBUG)
        self.log = log
        self.errors: list[BufferedWriteError] = []

    def emit(self, _: logging.LogRecord) -> None:
        try:
            self.log.remember("a", "logged")
        except BufferedWriteError as error:
            self.errors.append(error)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        logger = logging.getLogger("httpx")  # logs each request
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(self)


def test_log_handler_cannot_add_to_a_full_buffer_that_waits_for_it(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_batch=2, max_pending=2, max_delay=3600)
    handler = RememberingHandler(log)
    with handler.attached():
        log.remember("a", "first")
        log.remember("a", "second")
        log.flush()

    assert server.batches == [["first", "second"]]
    assert len(handler.errors) == 1
    assert "log handler" in str(handler.errors[0])
    log.remember("a", "third")
    log.close()
    assert server.contents == ["first", "second", "third"]


def test_memory_of_a_log_handler_is_kept_without_threads(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    handler = RememberingHandler(log)
    with monkeypatch.context() as patched, handler.attached():
        patched.setattr(threading.Thread, "start", refuse)
        log.remember("a", "first")
    assert log.pending == 1
    log.close()
    assert server.contents == ["first", "logged"]
    assert not handler.errors


def test_closed_buffer_refuses_memories(client: Memtrace) -> None:
    log = client.buffered()
    log.close()
    log.close()
    log.flush()
    with pytest.raises(BufferedWriteError, match="is closed; make a new one") as caught:
        log.remember("a", "too late")

    assert (list(caught.value.failed), log.pending) == ([], 0)


def test_client_close_closes_its_buffers(make_client: MakeClient, server: BatchServer) -> None:
    with make_client(http_client=make_client.http_client(server.handle)) as client:
        log = client.with_options(max_retries=0).buffered(max_delay=60)
        log.remember("a", "first")
        client.buffered(max_delay=60).remember("b", "second")

    assert sorted(server.contents) == ["first", "second"]
    with pytest.raises(BufferedWriteError, match="is closed"):
        log.remember("a", "third")


def test_client_close_raises_failures_of_all_buffers(client: Memtrace, server: BatchServer) -> None:
    server.responses += [is_gone, is_gone]
    logs = [client.buffered(max_delay=60), client.buffered(max_delay=60)]
    for log in logs:
        log.remember("a", "first")

    with pytest.raises(BufferedWriteError) as caught:
        client.close()

    assert failed(caught) == ["first", "first"]


def test_client_block_that_fails_keeps_its_exception(client: Memtrace, server: BatchServer) -> None:
    server.responses += [is_gone]
    with pytest.raises(ZeroDivisionError) as caught, client:  # noqa: PT012
        log = client.buffered(max_delay=60)
        log.remember("a", "first")
        _ = 1 / 0

    assert "1 memory could not be stored" in caught.value.__notes__[0]
    assert [request.content for request, _ in log.failed] == ["first"]
    with pytest.raises(BufferedWriteError, match="cannot connect"):
        client.close()
    client.close()


def test_response_with_fewer_memories_is_a_failure(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(201, {"memories": [MEMORY], "count": 1})]
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": "b"}, {"agent_id": "a", "content": "c"}])
    with pytest.raises(BufferedWriteError, match="has 1 memories; 2 were sent") as caught:
        log.flush()

    assert failed(caught) == ["b", "c"]
    assert type(caught.value.__cause__) is ResponseValidationError
    log.close()


def test_response_of_a_captive_portal_is_a_failure(client: Memtrace, server: BatchServer) -> None:
    server.responses += [lambda _: httpx.Response(200, text="<html>Log in</html>")]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="does not match the contract"):
        log.close()


def test_http_client_that_raises_fails_its_memories(client: Memtrace, server: BatchServer) -> None:
    def hook(_: httpx.Request) -> httpx.Response:
        raise LookupError("a hook of yours")

    server.responses += [hook]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="a hook of yours") as caught:
        log.flush()

    assert failed(caught) == ["b"]
    assert isinstance(caught.value.__cause__, MemtraceError)
    assert isinstance(caught.value.__cause__.__cause__, LookupError)
    log.close()


def test_batch_stored_before_is_no_failure(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(409, error("Forgotten", "answer_forgotten"))]
    with client.buffered() as log:
        log.remember("a", "b")

    assert server.batches == [["b"]]


def test_conflict_fails_one_memory_alone(client: Memtrace, server: BatchServer) -> None:
    conflict = responds(409, error("Conflict", "another"))
    server.responses += [conflict, conflict]
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "bc"])
    with pytest.raises(BufferedWriteError, match="Conflict") as caught:
        log.close()

    assert (failed(caught), server.contents) == (["b"], ["c"])
    assert type(caught.value.__cause__) is ConflictError


def test_duplicate_on_a_0x_server_fails_alone(client: Memtrace, server: BatchServer) -> None:
    # It has stored the memories before "c", which it takes for a duplicate.
    conflict = responds(409, {"error": "duplicate memory detected"})
    has = page(*({"time": "2026-11-01T09:30:00Z", "org_id": "", "agent_id": "a", "memory_type": "episodic",
                  "event_type": "general", "content": text} for text in "ab"))  # fmt: skip

    def lists(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"agent_id": "a", "order": "desc", "limit": "1000"}
        return httpx.Response(200, json=has)

    server.responses += [conflict, lists, conflict, lists, conflict, lists]
    log = client.buffered(max_delay=60)
    for text in "abcd":
        log.remember("a", text)
    with pytest.raises(BufferedWriteError, match="duplicate") as caught:
        log.close()

    assert server.batches == [list("abcd"), list("cd"), ["c"], ["d"]]
    assert failed(caught) == ["c"]


def test_failed_lookup_on_a_0x_server_fails_all(client: Memtrace, server: BatchServer) -> None:
    server.responses += [responds(409, {"error": "duplicate memory detected"}), is_gone]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="cannot connect") as caught:
        log.close()

    assert failed(caught) == ["b"]


def test_repr_shows_no_key(make_client: MakeClient) -> None:
    assert repr(make_client().buffered()).endswith(f"WriteBuffer('{URL}')")


def test_thread_sends_a_batch_that_is_due(server: BatchServer) -> None:
    with Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle))) as client:
        log = client.buffered(max_delay=0.001)
        log.remember("a", "first")
        assert server.sent.acquire(timeout=30)
        # The thread has ended, or is about to: another one begins.
        log.remember("a", "second")
        assert server.sent.acquire(timeout=30)

        full = client.buffered(max_batch=2, max_delay=3600)
        full.remember("a", "third")
        full.remember("a", "fourth")
        assert server.sent.acquire(timeout=30)

    assert server.batches == [["first"], ["second"], ["third", "fourth"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_task_sends_a_batch_that_is_due(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        sent = anyio.Event()

        async def handle(request: httpx.Request) -> httpx.Response:
            sent.set()
            return server.handle(request)

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        log = client.buffered(max_batch=2, max_delay=3600)
        with anyio.fail_after(30):
            await log.remember("a", "first")
            # The buffer sleeps until the memory is due.
            await anyio.wait_all_tasks_blocked()
            await log.remember("a", "second")
            await sent.wait()

        sent = anyio.Event()
        late = client.buffered(max_delay=0.001)
        await late.remember("a", "third")
        with anyio.fail_after(30):
            await sent.wait()
            # The task has ended: another one begins.
            await anyio.wait_all_tasks_blocked()
            sent = anyio.Event()
            await late.remember("a", "fourth")
            await sent.wait()
        await client.aclose()

    anyio.run(run, backend=backend)
    assert server.batches == [["first", "second"], ["third"], ["fourth"]]


def test_thread_that_waited_for_a_flush_sends_only_what_is_due(
    stalled: tuple[BatchServer, threading.Event],
) -> None:
    server, go_on = stalled
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    with client.buffered(max_batch=2, max_delay=3600) as log, ThreadPoolExecutor() as pool:
        log.remember("a", "first")
        flushing = pool.submit(log.flush)
        assert server.sent.acquire(timeout=60)
        # Two memories are a batch, which is due; the buffer's thread waits for its turn.
        log.remember("a", "second")
        go_on.set()
        flushing.result(timeout=60)
        assert (server.batches, log.pending) == ([["first"]], 1)

    assert server.batches == [["first"], ["second"]]


def test_buffer_has_one_thread_with_its_own_context(server: BatchServer) -> None:
    caller = contextvars.ContextVar("caller", default="nobody")
    callers, threads = list[str](), list[threading.Thread]()

    def handle(request: httpx.Request) -> httpx.Response:
        callers.append(caller.get())
        threads.extend(set(threading.enumerate()) - before)
        return server.handle(request)

    def log_all() -> None:
        caller.set("the first")
        log.add_memories([{"agent_id": "a", "content": text} for text in "abc"])
        log.remember("a", "d")

    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(handle)))
    log = client.buffered(max_batch=4, max_delay=3600)
    before = set(threading.enumerate())
    contextvars.copy_context().run(log_all)
    assert server.sent.acquire(timeout=60)
    log.close()

    assert (server.batches, callers) == ([list("abcd")], ["nobody"])
    assert [thread.name for thread in threads] == ["memtrace-buffer"]


@pytest.fixture
def stalled() -> Iterator[tuple[BatchServer, threading.Event]]:
    """Return a server that does not respond until the event is set."""
    server, go_on = BatchServer(), threading.Event()

    def stall(request: httpx.Request) -> httpx.Response:
        assert go_on.wait(30)
        return server.store(request)

    server.responses += [stall] * 3
    yield server, go_on
    go_on.set()


def test_thread_waits_while_the_buffer_is_full(stalled: tuple[BatchServer, threading.Event]) -> None:
    server, go_on = stalled
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    with client.buffered(max_batch=2, max_pending=4) as log, ThreadPoolExecutor() as pool:
        for text in "abcd":
            log.remember("a", text)
        assert server.sent.acquire(timeout=30)
        waiting = pool.submit(log.remember, "a", "e")
        assert (log.pending, waiting.done()) == (4, False)

        go_on.set()
        waiting.result(timeout=30)

    assert server.contents == list("abcde")


def test_flush_waits_for_a_memory_of_a_refused_batch(
    stalled: tuple[BatchServer, threading.Event],
) -> None:
    server, go_on = stalled
    stall = server.responses.popleft()
    server.responses.clear()
    server.responses += [stall, rejects("memories.0"), server.store, server.store]
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    with client.buffered(max_batch=2, max_delay=3600) as log, ThreadPoolExecutor() as pool:
        log.add_memories([{"agent_id": "a", "content": text} for text in "xy"])
        assert server.sent.acquire(timeout=60)
        log.remember("a", "first")
        flushing = pool.submit(log.flush)
        while not flushing.running():
            threading.Event().wait(0.001)
        log.remember("a", "second")
        go_on.set()
        flushing.result(timeout=60)
        assert "first" in server.contents

    assert server.contents == ["x", "y", "first", "second"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_task_waits_while_the_buffer_is_full(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        go_on = anyio.Event()
        taken: list[str] = []

        async def handle(request: httpx.Request) -> httpx.Response:
            await go_on.wait()
            return server.handle(request)

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))

        async def fill() -> None:
            for text in "abcde":
                await log.remember("a", text)
                taken.append(text)

        async with client.buffered(max_batch=2, max_pending=4) as log, anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            await anyio.wait_all_tasks_blocked()
            assert (taken, log.pending) == (list("abcd"), 4)
            go_on.set()

    anyio.run(run, backend=backend)
    assert server.contents == list("abcde")


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelled_flush_leaves_the_request_to_go_on(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        go_on = anyio.Event()

        async def handle(request: httpx.Request) -> httpx.Response:
            cancelled.cancel()
            await go_on.wait()
            return server.handle(request)

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        async with client.buffered(max_delay=3600) as log:
            await log.remember("a", "first")
            with anyio.CancelScope() as cancelled:
                await log.flush()
            assert cancelled.cancelled_caught
            assert log.pending == 1
            go_on.set()

    anyio.run(run, backend=backend)
    assert server.batches == [["first"]]


def test_interrupted_flush_loses_nothing(server: BatchServer) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    server.responses += [interrupt]
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    log.remember("a", "first")
    with pytest.raises(KeyboardInterrupt):
        log.flush()
    log.remember("a", "second")
    log.close()

    assert server.batches == [["first"], ["first"], ["second"]]
    assert len(set(server.keys)) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelled_block_is_flushed(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
        with anyio.CancelScope() as scope:
            async with client.buffered(max_delay=3600) as log:
                await log.remember("a", "first")
                scope.cancel()
                await anyio.sleep_forever()

    anyio.run(run, backend=backend)
    assert server.contents == ["first"]


def test_closed_buffer_leaves_no_thread(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    before = set(threading.enumerate())
    first = threading.Thread(target=log.remember, args=["a", "first"], daemon=True)
    first.start()
    first.join(30)
    [thread] = set(threading.enumerate()) - before
    # The interpreter waits for the thread, in either order.
    assert (thread.name, thread.daemon) == ("memtrace-buffer", False)
    log.close()
    thread.join(30)

    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_hook_that_ends_the_thread_loses_nothing(server: BatchServer) -> None:
    def leave(_: httpx.Request) -> httpx.Response:
        raise SystemExit

    server.responses += [leave]
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_batch=1, max_delay=3600)
    before = set(threading.enumerate())
    log.remember("a", "first")
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    for _ in range(2):
        assert server.sent.acquire(timeout=30)
    log.remember("a", "second")
    assert server.sent.acquire(timeout=30)
    log.close()

    assert server.batches == [["first"], ["first"], ["second"]]
    assert server.keys[0] == server.keys[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_task_without_threads_raises_and_queues_nothing(
    backend: str, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        log = async_client(server.handle).buffered(max_delay=3600)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await log.remember("a", "first")
            assert log.pending == 0
        await log.remember("a", "second")
        await log.close()

    anyio.run(run, backend=backend)
    assert server.contents == ["second"]


def test_event_loop_sends_memories_of_an_earlier_event_loop(server: BatchServer) -> None:
    async def second() -> None:
        await log.remember("a", "second")
        await log.flush()

    log = async_client(server.handle).buffered(max_delay=3600)
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(log.remember("a", "first"))  # its tasks are dropped, not cancelled
    assert (log.pending, server.batches) == (1, [])
    asyncio.run(second())

    assert (log.pending, server.batches) == (0, [["first", "second"]])


def left_by_a_loop(client: AsyncMemtrace, **options: Any) -> Any:
    """Return a buffer with a memory, whose event loop is closed."""
    log = client.buffered(max_delay=3600, **options)
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(log.remember("a", "left"))
    return log


def test_exit_stores_memories_of_an_ended_event_loop(
    fake_server: FakeServer, end_interpreter: Callable[[object], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")
    fake_server.respond(201, {"memories": [MEMORY], "count": 1})
    log = left_by_a_loop(AsyncMemtrace(URL, KEY))

    end_interpreter(log)

    assert [memory["content"] for memory in fake_server.sent["memories"]] == ["left"]
    assert fake_server.request.url.host == httpx.URL(URL).host
    assert fake_server.request.headers["x-api-key"] == KEY
    assert (log.pending, log.failed, caplog.messages) == (0, [], [])


def test_exit_stores_memories_of_an_ended_event_loop_embedded(
    tmp_path: Path, end_interpreter: Callable[[object], None]
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    client = AsyncMemtrace(url)
    log = left_by_a_loop(client)

    end_interpreter(log)

    with Memtrace(url) as reader:
        assert [memory.content for memory in reader.recall("a").memories] == ["left"]
    assert log.pending == 0
    asyncio.run(client.close())
    assert opened_below(tmp_path) == []


def test_exit_calls_on_failure_with_what_it_cannot_store(
    fake_server: FakeServer, end_interpreter: Callable[[object], None]
) -> None:
    fake_server.respond(400, error("No"))
    received: list[BufferedWriteError] = []
    log = left_by_a_loop(AsyncMemtrace(URL, KEY), on_failure=received.append)

    end_interpreter(log)

    assert [failed(error) for error in received] == [["left"]]
    assert (log.pending, log.failed) == (0, [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_exit_reports_memories_that_need_an_ended_event_loop(
    backend: str,
    server: BatchServer,
    end_interpreter: Callable[[object], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")
    received: list[BufferedWriteError] = []
    raised = async_client(server.handle).buffered(max_delay=3600)
    handed = async_client(server.handle).buffered(max_delay=3600, on_failure=received.append)
    for log in (raised, handed):
        anyio.run(log.remember, "a", "left", backend=backend)

        end_interpreter(log)

    problem = "1 memory could not be stored: http_client: its event loop has ended; close the buffer before"
    assert caplog.messages == [problem, f"Lost: {problem}", problem]
    assert [failed(error) for error in received] == [["left"]]
    assert [type(reason) for _, reason in received[0].failed] == [MemtraceError]
    assert (server.batches, raised.pending, raised.failed, handed.failed) == ([], 0, [], [])


def test_exit_with_failures_alone_logs_them_and_sends_nothing(
    fake_server: FakeServer, end_interpreter: Callable[[object], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        async with log:
            await log.remember("a", "first")
            raise LookupError

    fake_server.respond(400, error("No"))
    log = AsyncMemtrace(URL, KEY).buffered(max_delay=3600)
    with pytest.raises(LookupError):
        asyncio.run(fail())
    caplog.clear()

    end_interpreter(log)

    (lost,) = caplog.messages
    assert lost.startswith("Lost: 1 memory could not be stored: No")
    assert (len(fake_server.requests), log.pending, log.failed) == (1, 0, [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_thread_stores_memories_of_an_ended_event_loop(
    backend: str, server: BatchServer, fake_server: FakeServer
) -> None:
    fake_server.stand_in = server.handle
    log = AsyncMemtrace(URL, KEY).buffered(max_batch=2, max_delay=3600)
    anyio.run(log.remember, "a", "first", backend=backend)
    assert (log.pending, server.batches) == (1, [])
    anyio.run(log.remember, "a", "second", backend=backend)
    assert server.sent.acquire(timeout=60)
    anyio.run(log.close, backend=backend)

    assert (server.batches, log.pending) == ([["first", "second"]], 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_store_in_memory_has_memories_of_an_ended_event_loop(backend: str) -> None:
    async def read() -> list[str]:
        await log.flush()
        return [memory.content for memory in (await client.recall("a")).memories]

    client = AsyncMemtrace("sqlite://")
    log = client.buffered(max_delay=3600)
    anyio.run(log.remember, "a", "first", backend=backend)

    assert anyio.run(read, backend=backend) == ["first"]
    anyio.run(client.close, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_request_that_an_ending_event_loop_cancels_fails_its_memories(backend: str) -> None:
    async def run() -> None:
        sent = anyio.Event()

        async def handle(_: httpx.Request) -> httpx.Response:
            sent.set()
            await anyio.sleep_forever()
            raise AssertionError

        log = async_client(handle).buffered(max_batch=1, on_failure=reported.put)
        await log.remember("a", "first")
        with anyio.fail_after(60):
            await sent.wait()

    reported = SimpleQueue[BufferedWriteError]()
    anyio.run(run, backend=backend)

    error = reported.get(timeout=60)
    assert (failed(error), "its event loop has ended" in error.message) == (["first"], True)


def test_request_that_is_cancelled_on_its_event_loop_fails_its_memories() -> None:
    async def run() -> None:
        async def handle(_: httpx.Request) -> httpx.Response:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        log = async_client(handle).buffered(max_delay=3600)
        await log.remember("a", "first")
        with anyio.fail_after(60), pytest.raises(BufferedWriteError) as caught:
            await log.flush()
        assert failed(caught) == ["first"]

    asyncio.run(run())


def test_http_client_waits_for_an_event_loop_that_has_stopped(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = async_client(server.handle).buffered(max_batch=1)
    looks = threading.Semaphore(0)
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(log.remember("a", "first"))
        with monkeypatch.context() as patched:
            patched.setattr(loop, "is_running", looks.release)
            for _ in range(3):  # until the thread has looked for the loop, and waits
                assert looks.acquire(timeout=60)
        assert (log.pending, server.batches) == (1, [])
        loop.run_until_complete(log.close())

    assert server.batches == [["first"]]


def test_http_client_does_not_wait_for_a_replaced_event_loop(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = async_client(server.handle).buffered(max_batch=1)
    is_asked = threading.Event()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        ask = loop.call_soon_threadsafe

        def call_soon_threadsafe(work: Callable[[], object]) -> None:
            ask(work)
            is_asked.set()

        monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
        loop.run_until_complete(log.remember("a", "first"))
        assert is_asked.wait(60)
        with pytest.raises(BufferedWriteError, match="its event loop has ended") as caught:
            asyncio.run(log.flush())
        loop.run_until_complete(anyio.wait_all_tasks_blocked())

    assert (failed(caught), server.batches) == (["first"], [])


def test_event_loop_that_goes_on_with_a_request_given_up_raises_nothing(server: BatchServer) -> None:
    with contextlib.closing(asyncio.new_event_loop()) as loop:

        async def stop_first(request: httpx.Request) -> httpx.Response:
            loop.stop()
            await asyncio.sleep(0)
            return server.handle(request)

        log = async_client(stop_first).buffered(max_batch=1)
        loop.run_until_complete(log.remember("a", "first"))
        loop.run_forever()
        with pytest.raises(BufferedWriteError, match="its event loop has ended"):
            asyncio.run(log.flush())
        (task,) = asyncio.all_tasks(loop)
        loop.run_until_complete(task)

    assert server.batches == [["first"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_tasks_that_wait_leave_threads_to_an_http_client(backend: str, server: BatchServer) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        return await anyio.to_thread.run_sync(server.handle, request)

    async def run() -> None:
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        with anyio.fail_after(60):
            async with client.buffered(max_batch=1, max_pending=1) as log, anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(log.remember, "a", str(number))

    anyio.run(run, backend=backend)
    assert sorted(server.contents, key=int) == [str(number) for number in range(100)]


def test_tasks_that_waited_for_room_send_no_batch_once_it_is_free(server: BatchServer) -> None:
    async def run() -> None:
        go_on = anyio.Event()

        async def handle(request: httpx.Request) -> httpx.Response:
            await go_on.wait()
            return server.handle(request)

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        async with client.buffered(max_batch=10, max_delay=3600, max_pending=10) as log:
            async with anyio.create_task_group() as tasks:
                for number in range(15):
                    tasks.start_soon(log.remember, "a", str(number))
                await anyio.wait_all_tasks_blocked()
                go_on.set()
            assert len(server.batches) == 1

    anyio.run(run)
    assert [len(batch) for batch in server.batches] == [10, 5]


def test_copy_of_a_client_has_a_buffer_with_its_own_key(server: BatchServer, fake_server: FakeServer) -> None:
    async def run() -> None:
        async with AsyncMemtrace(URL, KEY) as client:
            for made in (client, client.with_options(api_key="mtk_another")):
                async with made.buffered() as log:
                    await log.remember("a", "b")

    fake_server.stand_in = server.handle
    asyncio.run(run())

    assert [request.headers["x-api-key"] for request in fake_server.requests] == [KEY, "mtk_another"]


def test_buffer_of_a_closed_client_fails_its_memories(make_client: MakeClient) -> None:
    client = make_client()
    client.close()
    log = client.buffered(max_delay=3600)
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="this client is closed") as caught:
        log.close()

    assert failed(caught) == ["b"]


def test_closed_client_leaves_no_connection_of_its_buffers(live_server: LiveServer, tenant_key: str) -> None:
    def sockets() -> int:
        return sum(str(path).startswith("socket:") for path in opened())

    async def run() -> None:
        async with AsyncMemtrace(live_server.url, tenant_key) as client:
            before = sockets()
            async with client.buffered() as log:
                await log.remember("a", "b")
            assert sockets() == before + 1
        assert sockets() == before

    asyncio.run(run())


def test_event_loops_share_a_buffer(server: BatchServer, fake_server: FakeServer) -> None:
    fake_server.stand_in = server.handle
    log = AsyncMemtrace(URL, KEY).buffered(max_delay=3600)
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as pool:
        runner.run(log.remember("a", "first"))
        pool.submit(asyncio.run, log.remember("a", "elsewhere")).result(timeout=60)
        pool.submit(partial(trio.run, log.remember, "a", "on trio")).result(timeout=60)
        runner.run(log.close())

    assert server.batches == [["first", "elsewhere", "on trio"]]


def test_process_without_threads_sends_at_once(server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        log.remember("a", "first")
        assert server.contents == ["first"]
        log.remember("a", "second")
        assert server.contents == ["first", "second"]
    log.close()


def test_ctrl_c_while_the_thread_starts_queues_nothing(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.remember("a", "first")
    log.remember("a", "second")
    log.close()
    assert server.contents == ["second"]


class FaultyServer(BatchServer):
    """Break a third of all exchanges, before or after they take effect; compare memories by all fields."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311  # not a secret

    def handle(self, request: httpx.Request) -> httpx.Response:
        fault = self._random.randrange(12)
        if fault == 0:
            return is_gone(request)
        if fault == 1:
            return httpx.Response(503)
        key = request.headers["idempotency-key"]
        if key not in self.keys:
            self.keys.append(key)
            self.memories += [
                memory for memory in json.loads(request.content)["memories"] if memory not in self.memories
            ]
        if fault == 2:
            raise httpx.ReadError("lost", request=request)
        if fault == 3:
            return httpx.Response(500)
        return stored(request)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_retries", [0, 1, 40])
def test_faults_leave_each_memory_stored_once_or_reported_as_failed(
    seed: int, max_retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # retries are not delayed
    server, spool = FaultyServer(seed), Spool()
    client = Memtrace(
        http_client=httpx.Client(transport=httpx.MockTransport(server.handle)), max_retries=max_retries
    )

    def write(agent: str) -> None:
        for step in range(50):
            log.remember(agent, f"step {step}")

    agents = [f"agent_{number}" for number in range(8)]
    with (
        client.buffered(max_batch=7, max_pending=40, max_delay=0, on_failure=spool) as log,
        ThreadPoolExecutor(len(agents)) as pool,
    ):
        list(pool.map(write, agents))

    wanted = [(agent, f"step {step}") for agent in agents for step in range(50)]
    assert spool.requests or max_retries
    assert not spool.requests or max_retries < 40
    there = {(memory["agent_id"], memory["content"]) for memory in server.memories}
    in_hand = {(request.agent_id, request.content) for request in spool.requests}
    assert there | in_hand == set(wanted)
    # A memory whose response was lost is in both, and is not stored again: it has the time of its call.
    while spool.requests:
        again = client.buffered(on_failure=spool)
        again.add_memories(spool.taken())
        again.close()
    # As text, a whole second would come after its fractions.
    moments = {memory["time"]: datetime.fromisoformat(memory["time"]) for memory in server.memories}
    by_agent = sorted(server.memories, key=lambda memory: (memory["agent_id"], moments[memory["time"]]))
    assert [(memory["agent_id"], memory["content"]) for memory in by_agent] == wanted
    if max_retries == 40:
        in_order = sorted(server.memories, key=lambda memory: memory["agent_id"])
        assert in_order == by_agent


@settings(max_examples=60, deadline=None)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=25),
    outcomes=st.lists(st.sampled_from(["store", "name", "halve", "gone", "lose"]), max_size=12),
    max_batch=st.integers(1, 6),
    room=st.integers(0, 6),
)
def test_every_memory_is_either_stored_or_failed_and_never_both(
    bad: list[bool], outcomes: list[str], max_batch: int, room: int
) -> None:
    server, reported = BatchServer(), list[BufferedWriteError]()
    texts = [f"{number}{' bad' * is_bad}" for number, is_bad in enumerate(bad)]
    server.bad = {text for text in texts if "bad" in text}
    left = iter(outcomes)

    def handle(request: httpx.Request) -> httpx.Response:
        outcome = next(left, "name")
        server.batches.append([memory["content"] for memory in json.loads(request.content)["memories"]])
        assert len(server.batches[-1]) <= max_batch
        if outcome == "gone":
            return is_gone(request)
        if server.bad & set(server.batches[-1]):
            indexes = [index for index, text in enumerate(server.batches[-1]) if text in server.bad]
            return rejects(*([] if outcome == "halve" else [f"memories.{i}" for i in indexes]))(request)
        if outcome == "lose":
            return server.store_and_lose(request)
        return server.store(request)

    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(handle)), max_retries=0)
    limits = {"max_batch": max_batch, "max_pending": max_batch + room}
    with client.buffered(**limits, max_delay=3600, on_failure=reported.append) as log:
        for text in texts:
            log.remember("a", text)
            assert log.pending <= max_batch + room

    in_hand = [text for error in reported for text in failed(error)]
    assert sorted(in_hand) == sorted(set(in_hand))
    assert server.contents == [text for text in texts if text in set(server.contents)]
    assert set(server.contents) | set(in_hand) == set(texts)
    assert set(server.contents) & set(in_hand) == set() or "lose" in outcomes
    assert not server.bad & set(server.contents)


class Spool:
    """Keep failed memories, to queue them again."""

    def __init__(self) -> None:
        self.requests: list[AddMemoryRequest] = []

    def __call__(self, error: BufferedWriteError) -> None:
        self.requests += [request for request, _ in error.failed]

    def taken(self) -> list[AddMemoryRequest]:
        requests, self.requests = self.requests, []
        return requests


@pytest.mark.parametrize("kind", ["http", "sqlite"])
def test_threads_share_a_buffer_and_keep_their_order(
    kind: str, live_server: LiveServer, tenant_key: str
) -> None:
    agents = [f"agent_{number}" for number in range(16)]
    client = Memtrace(live_server.url, tenant_key) if kind == "http" else Memtrace("sqlite://")

    def write(agent: str) -> None:
        for step in range(200):
            log.remember(agent, f"step {step}")

    with client:
        with (
            client.buffered(max_batch=100, max_pending=300, max_delay=0.01) as log,
            ThreadPoolExecutor(len(agents)) as pool,
        ):
            list(pool.map(write, agents))
        for agent in agents:
            order = [memory.content for memory in client.iter_memories(agent_id=agent, order="asc")]
            assert order == [f"step {step}" for step in range(200)]


def test_tasks_share_a_buffer_and_keep_their_order(live_server: LiveServer, tenant_key: str) -> None:
    agents = [f"agent_{number}" for number in range(16)]

    async def run() -> None:
        async def write(agent: str) -> None:
            for step in range(50):
                await log.remember(agent, f"step {step}")
                await anyio.lowlevel.checkpoint()

        async with AsyncMemtrace(live_server.url, tenant_key) as client:
            async with (
                client.buffered(max_batch=50, max_pending=100, max_delay=0.01) as log,
                anyio.create_task_group() as tasks,
            ):
                for agent in agents:
                    tasks.start_soon(write, agent)
            for agent in agents:
                order = [memory.content async for memory in client.iter_memories(agent_id=agent, order="asc")]
                assert order == [f"step {step}" for step in range(50)]

    asyncio.run(run())


def test_duplicates_and_unknown_superseded_memories_fail_alone(
    live_server: LiveServer, tenant_key: str
) -> None:
    with Memtrace(live_server.url, tenant_key) as client:
        older = client.remember("agent_1", "Dark mode")
        log = client.buffered(max_delay=60)
        log.remember("agent_1", "Started", dedup_key="start")
        log.remember("agent_1", "Started again", dedup_key="start")
        log.remember("agent_1", "Light mode", supersedes=older.id or "")
        log.remember("agent_1", "No mode", supersedes=older.id or "")
        log.remember("agent_1", "Nothing", supersedes="mem_01JD5P8E6W3M9V2QXA7RKB4TNC")
        log.remember("agent_1", "Ended")
        with pytest.raises(BufferedWriteError) as caught:
            log.close()
        contents = [memory.content for memory in client.recall("agent_1").memories]

    assert sorted(contents) == ["Ended", "Light mode", "Started"]
    assert {request.content: error.code for request, error in caught.value.failed} == {
        "Started again": "duplicate_memory",
        "No mode": "already_superseded",
        "Nothing": "not_found",
    }


def test_equal_memories_are_stored_unless_they_share_a_key(live_server: LiveServer, tenant_key: str) -> None:
    with Memtrace(live_server.url, tenant_key) as client:
        with client.buffered() as log:
            for _ in range(3):
                log.remember("agent_1", "Polled the queue")
                log.remember("agent_1", "Started", dedup_key="start", on_duplicate="return")
            log.remember("agent_1", "x" * 70_000)
            with pytest.raises(BufferedWriteError, match="65536 characters") as caught:
                log.flush()
        contents = [memory.content for memory in client.recall("agent_1").memories]

    assert sorted(contents) == ["Polled the queue"] * 3 + ["Started"]
    assert [len(content) for content in failed(caught)] == [70_000]
