"""A buffer in front of a client: what it stores, when, in which order, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import pickle
import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
import pytest
import trio
from sdk_harness import URL, MakeClient, error, page

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
    _retries,
)
from memtrace import _leftovers as leftovers
from memtrace._background import Background

if TYPE_CHECKING:
    from pathlib import Path

    from live import LiveServer

BACKENDS = ["asyncio", "trio"]

Answer = Callable[[httpx.Request], httpx.Response]


class BatchServer:
    """Stores each batch once, as a server does, unless it was told what to answer instead.

    Attributes:
        batches: The batches that were sent: the contents of their memories.
        keys: The idempotency key of each.
        memories: What is stored.
        answers: What to answer first.
        sent: Is released for each batch that was sent.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.keys: list[str] = []
        self.memories: list[dict[str, Any]] = []
        self.answers: deque[Answer] = deque()
        self.sent = threading.Semaphore(0)

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self.answers.popleft()(request)
        memories = json.loads(request.content)["memories"]
        key = request.headers["idempotency-key"]
        is_new = key not in self.keys
        self.batches.append([memory["content"] for memory in memories])
        self.keys.append(key)
        self.sent.release()
        if self.answers:
            return self.answers.popleft()(request)
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
    memories = json.loads(request.content)["memories"]
    return httpx.Response(201, json={"memories": [], "count": len(memories), "duplicates": []})


def says(status: int, body: Any = None, **headers: str) -> Answer:
    return lambda _: httpx.Response(status, json=body, headers=headers)


def refuses(*places: str) -> Answer:
    details = [{"field": place, "location": "body", "message": "wrong"} for place in places]
    return says(400, error("No", "invalid_request", details=details))


def is_gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.fixture
def server() -> BatchServer:
    return BatchServer()


@pytest.fixture
def client(make_client: MakeClient, server: BatchServer) -> Memtrace:
    """A client of the batch server that tries nothing twice."""
    return make_client(http_client=make_client.http_client(server.handle), max_retries=0)


def failed(caught: pytest.ExceptionInfo[BufferedWriteError] | BufferedWriteError) -> list[str]:
    error = caught if isinstance(caught, BufferedWriteError) else caught.value
    return [request.content for request, _ in error.failed]


def test_all_is_stored_in_order_at_the_end_of_the_block(client: Memtrace, server: BatchServer) -> None:
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


def test_a_time_that_was_given_stays(client: Memtrace, server: BatchServer) -> None:
    with client.buffered() as log:
        log.remember("a", "then", time=datetime(2026, 1, 2, tzinfo=UTC))

    assert server.memories[0]["time"] == "2026-01-02T00:00:00Z"


def test_full_batches_are_sent_at_once_and_the_rest_by_a_flush(client: Memtrace, server: BatchServer) -> None:
    log = client.buffered(max_batch=3, max_delay=60)
    for text in "abcdefgh":
        log.remember("a", text)
    log.flush()

    assert server.batches == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert len(set(server.keys)) == 3
    log.close()


def test_a_memory_stays_as_it_was_when_it_was_given(client: Memtrace, server: BatchServer) -> None:
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
        (lambda log: log.add_memories([{"agent_id": "a", "text": "b"}]), ValueError, r"memories\[0\]"),
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
def test_what_is_certainly_wrong_is_an_error_of_the_call_which_takes_nothing(
    client: Memtrace, call: Callable[[WriteBuffer], None], kind: type[Exception], problem: str
) -> None:
    with client.buffered(max_batch=10, max_pending=10) as log:
        with pytest.raises(kind, match=problem):
            call(log)
        assert log.pending == 0


def test_limits_that_cannot_work_are_refused(client: Memtrace) -> None:
    async def later(_: BufferedWriteError) -> None:
        """It would have to be awaited."""

    with pytest.raises(ValueError, match="max_batch"):
        client.buffered(max_batch=1001)
    with pytest.raises(TypeError, match="on_failure"):
        client.buffered(on_failure=cast("Any", later))


def test_a_memory_that_is_refused_fails_alone(client: Memtrace, server: BatchServer) -> None:
    server.answers.append(refuses("memories.1.tags.0", "memories.3.content"))
    log = client.buffered(max_delay=60)
    for text in "abcde":
        log.remember("agent_1", text)

    with pytest.raises(BufferedWriteError, match=r"^2 memories could not be stored: tags.0: wrong") as caught:
        log.flush()

    assert failed(caught) == ["b", "d"]
    reasons = [reason for _, reason in caught.value.failed]
    assert [type(reason) for reason in reasons] == [BadRequestError] * 2
    assert [reason.message for reason in reasons] == ["tags.0: wrong", "content: wrong"]
    assert caught.value.__cause__ is reasons[0]
    assert (caught.value.status_code, caught.value.code) == (400, "invalid_request")
    assert server.batches == [list("abcde"), list("ace")]
    assert (server.contents, len(set(server.keys))) == (list("ace"), 2)
    log.close()


def test_each_failure_is_logged_once(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers += [refuses("memories.0"), server.store, refuses("memories.0"), server.store]
    log = client.buffered(max_batch=2, max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcd"])
    with pytest.raises(BufferedWriteError) as caught:
        log.flush()

    assert failed(caught) == ["a", "c"]
    said = "1 memory could not be stored: wrong (HTTP 400, invalid_request, request req_body)"
    assert [record.getMessage() for record in caplog.records] == [said, said]
    log.close()


def test_a_body_that_a_proxy_finds_too_large_is_sent_in_halves(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(413), says(413)]
    with client.buffered(max_delay=60) as log:
        for text in "abcd":
            log.remember("agent_1", text)

    assert server.batches == [list("abcd"), list("ab"), ["a"], ["b"], list("cd")]
    assert server.contents == list("abcd")


def test_a_retried_batch_is_stored_once(
    make_client: MakeClient, server: BatchServer, waits: list[float]
) -> None:
    server.answers += [server.store_and_lose, says(503)]
    client = make_client(http_client=make_client.http_client(server.handle))
    with client.buffered(max_delay=60) as log:
        log.remember("a", "b")

    assert (server.contents, len(server.keys), len(set(server.keys)), len(waits)) == (["b"], 3, 1, 2)


def test_when_the_server_is_gone_all_fails_in_order_and_the_next_call_says_so(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")
    server.answers += [is_gone]
    log = client.buffered(max_batch=2, max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "abcde"])
    with pytest.raises(BufferedWriteError, match=r"5 memories .* cannot connect") as caught:
        log.flush()

    assert failed(caught) == list("abcde")
    assert {type(reason) for _, reason in caught.value.failed} == {APIConnectionError}
    assert server.batches == [["a", "b"]]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "5 memories could not be stored" in caplog.text

    log.add_memories([request for request, _ in caught.value.failed])
    log.close()
    assert server.contents == list("abcde")
    assert "time" in server.memories[0]


def test_a_call_that_raises_what_failed_before_takes_nothing(
    make_client: MakeClient, server: BatchServer
) -> None:
    server.answers += [says(500)]
    client = make_client(http_client=make_client.http_client(server.handle), max_retries=0)
    log = client.buffered(max_batch=1, max_pending=1)
    log.remember("a", "first")
    # There is no room before the first has failed.
    with pytest.raises(BufferedWriteError) as caught:
        log.remember("a", "second")

    assert failed(caught) == ["first"]
    assert (log.pending, log.failed) == (0, [])
    log.remember("a", "third")
    log.close()
    assert server.contents == ["third"]


def test_what_failed_is_in_hand_before_it_is_raised(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(500)]
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


def test_the_block_is_flushed_after_an_exception_too_which_is_not_hidden(
    client: Memtrace, server: BatchServer
) -> None:
    with pytest.raises(ZeroDivisionError) as caught, client.buffered(max_delay=60) as log:  # noqa: PT012
        log.remember("a", "first")
        _ = 1 / 0

    assert server.contents == ["first"]
    assert not hasattr(caught.value, "__notes__")


def test_what_fails_at_the_end_joins_what_had_failed_before(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(500), says(503)]
    with pytest.raises(BufferedWriteError) as caught, client.buffered() as log:  # noqa: PT012
        log.remember("a", "first")
        try:
            log.flush()
        except BufferedWriteError:
            log.remember("a", "second")
            raise

    assert failed(caught) == ["first", "second"]
    assert [reason.status_code for _, reason in caught.value.failed] == [500, 503]
    assert "And since then, 1 memory could not be stored" in caught.value.__notes__[0]
    assert log.failed == []


def test_the_end_of_the_block_raises_what_failed(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(401, error("Unknown key"))]
    with pytest.raises(BufferedWriteError, match="Unknown key") as caught, client.buffered() as log:
        log.remember("a", "first")

    assert failed(caught) == ["first"]
    assert failed(pickle.loads(pickle.dumps(caught.value))) == ["first"]  # noqa: S301  # our own


def test_on_failure_is_told_instead(client: Memtrace, server: BatchServer) -> None:
    told: list[BufferedWriteError] = []
    server.answers += [refuses("memories.0.content"), says(201, {"count": 1}), says(500)]
    with client.buffered(max_delay=60, on_failure=told.append) as log:
        log.remember("a", "first")
        log.remember("a", "second")
        log.flush()
        log.remember("a", "third")
        log.remember("a", "fourth")

    assert [failed(error) for error in told] == [["first"], ["third", "fourth"]]
    assert log.failed == []


def test_what_on_failure_could_not_handle_is_raised(
    client: Memtrace, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: BufferedWriteError) -> None:
        raise OSError("disk full")

    server.answers += [says(500)]
    log = client.buffered(on_failure=fails)
    log.remember("a", "first")
    with pytest.raises(BufferedWriteError) as caught:
        log.flush()

    assert failed(caught) == ["first"]
    assert "disk full" in caplog.text
    log.close()


def test_on_failure_may_use_the_buffer(make_client: MakeClient, server: BatchServer) -> None:
    server.answers += [says(500)]
    client = make_client(http_client=make_client.http_client(server.handle), max_retries=0)
    again: list[AddMemoryRequest] = []
    log = client.buffered(on_failure=lambda error: again.extend(request for request, _ in error.failed))
    log.remember("a", "first")
    log.flush()
    log.add_memories(again)
    log.close()

    assert server.contents == ["first"]


def test_a_closed_buffer_takes_nothing_and_can_be_closed_again(client: Memtrace) -> None:
    log = client.buffered()
    log.close()
    log.close()
    log.flush()
    with pytest.raises(BufferedWriteError, match="is closed; make a new one") as caught:
        log.remember("a", "too late")

    assert (caught.value.failed, log.pending) == ([], 0)


@pytest.mark.parametrize("ends", ["by hand", "as a block"])
def test_it_is_closed_on_any_event_loop(server: BatchServer, ends: str) -> None:
    async def end() -> None:
        if ends == "by hand":
            await log.close()
        else:
            async with log:
                await log.remember("a", "in time")

    log = AsyncMemtrace(
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle))
    ).buffered()
    asyncio.run(end())

    with pytest.raises(BufferedWriteError, match="is closed"):
        asyncio.run(log.remember("a", "too late"))


def test_closing_the_client_closes_its_buffers(make_client: MakeClient, server: BatchServer) -> None:
    with make_client(http_client=make_client.http_client(server.handle)) as client:
        log = client.with_options(max_retries=0).buffered(max_delay=60)
        log.remember("a", "first")
        client.buffered(max_delay=60).remember("b", "second")

    assert sorted(server.contents) == ["first", "second"]
    with pytest.raises(BufferedWriteError, match="is closed"):
        log.remember("a", "third")


def test_closing_the_client_raises_what_its_buffers_could_not_store(
    client: Memtrace, server: BatchServer
) -> None:
    server.answers += [is_gone, is_gone]
    logs = [client.buffered(max_delay=60), client.buffered(max_delay=60)]
    for log in logs:
        log.remember("a", "first")

    with pytest.raises(BufferedWriteError) as caught:
        client.close()

    assert failed(caught) == ["first", "first"]


def test_and_does_not_hide_what_ended_the_block_of_the_client(client: Memtrace, server: BatchServer) -> None:
    server.answers += [is_gone]
    with pytest.raises(ZeroDivisionError) as caught, client:  # noqa: PT012
        log = client.buffered(max_delay=60)
        log.remember("a", "first")
        _ = 1 / 0

    assert "1 memory could not be stored" in caught.value.__notes__[0]
    assert [request.content for request, _ in log.failed] == ["first"]
    with pytest.raises(BufferedWriteError, match="cannot connect"):
        client.close()
    client.close()


def test_an_answer_that_speaks_of_fewer_memories_is_a_failure(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(201, {"memories": [], "count": 1})]
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": "b"}, {"agent_id": "a", "content": "c"}])
    with pytest.raises(BufferedWriteError, match="speaks of 1 memories, and 2 were sent") as caught:
        log.flush()

    assert failed(caught) == ["b", "c"]
    assert type(caught.value.__cause__) is ResponseValidationError
    log.close()


def test_a_page_of_a_portal_is_no_receipt(client: Memtrace, server: BatchServer) -> None:
    server.answers += [lambda _: httpx.Response(200, text="<html>Log in</html>")]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="not what the contract says"):
        log.close()


def test_whatever_the_http_client_raises_the_memories_are_in_hand(
    client: Memtrace, server: BatchServer
) -> None:
    def hook(_: httpx.Request) -> httpx.Response:
        raise LookupError("a hook of yours")

    server.answers += [hook]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="a hook of yours") as caught:
        log.flush()

    assert failed(caught) == ["b"]
    assert isinstance(caught.value.__cause__, MemtraceError)
    assert isinstance(caught.value.__cause__.__cause__, LookupError)
    log.close()


def test_a_batch_that_was_stored_and_forgotten_since_has_not_failed(
    client: Memtrace, server: BatchServer
) -> None:
    server.answers += [says(409, error("Forgotten", "answer_forgotten"))]
    with client.buffered() as log:
        log.remember("a", "b")

    assert server.batches == [["b"]]


def test_any_other_conflict_is_a_failure_of_the_one_memory(client: Memtrace, server: BatchServer) -> None:
    conflict = says(409, error("Conflict", "another"))
    server.answers += [conflict, conflict]
    log = client.buffered(max_delay=60)
    log.add_memories([{"agent_id": "a", "content": text} for text in "bc"])
    with pytest.raises(BufferedWriteError, match="Conflict") as caught:
        log.close()

    assert (failed(caught), server.contents) == (["b"], ["c"])
    assert type(caught.value.__cause__) is ConflictError


def test_an_old_server_that_refuses_a_duplicate_is_asked_what_it_has(
    client: Memtrace, server: BatchServer
) -> None:
    # It has stored what came before "c", which it takes for a duplicate, though it has none that is equal.
    refusal = says(409, {"error": "duplicate memory detected"})
    has = page(*({"time": "2026-11-01T09:30:00Z", "org_id": "", "agent_id": "a", "memory_type": "episodic",
                  "event_type": "general", "content": text} for text in "ab"))  # fmt: skip

    def lists(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"agent_id": "a", "order": "desc", "limit": "1000"}
        return httpx.Response(200, json=has)

    server.answers += [refusal, lists, refusal, lists, refusal, lists]
    log = client.buffered(max_delay=60)
    for text in "abcd":
        log.remember("a", text)
    with pytest.raises(BufferedWriteError, match="duplicate") as caught:
        log.close()

    assert server.batches == [list("abcd"), list("cd"), ["c"], ["d"]]
    assert failed(caught) == ["c"]


def test_an_old_server_that_cannot_be_asked_is_gone(client: Memtrace, server: BatchServer) -> None:
    server.answers += [says(409, {"error": "duplicate memory detected"}), is_gone]
    log = client.buffered()
    log.remember("a", "b")
    with pytest.raises(BufferedWriteError, match="cannot connect") as caught:
        log.close()

    assert failed(caught) == ["b"]


def test_the_repr_shows_no_key(make_client: MakeClient) -> None:
    assert repr(make_client().buffered()).endswith(f"WriteBuffer('{URL}')")


def test_a_memory_that_waited_is_sent_in_the_background(server: BatchServer) -> None:
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
def test_so_it_is_in_a_task(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        sent = anyio.Event()

        async def handle(request: httpx.Request) -> httpx.Response:
            sent.set()
            return server.handle(request)

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        log = client.buffered(max_batch=2, max_delay=3600)
        with anyio.fail_after(30):
            await log.remember("a", "first")
            # What is not due yet keeps nobody busy.
            await anyio.wait_all_tasks_blocked()
            await log.remember("a", "second")
            await sent.wait()

        sent = anyio.Event()
        late = client.buffered(max_delay=0.001)
        await late.remember("a", "third")
        with anyio.fail_after(30):
            await sent.wait()
        await client.aclose()

    anyio.run(run, backend=backend)
    assert server.batches == [["first", "second"], ["third"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_waits_keeps_nobody_busy(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
        async with client.buffered(max_delay=1) as log:
            await log.remember("a", "first")
            await anyio.wait_all_tasks_blocked()
            assert server.batches == []

    anyio.run(run, backend=backend)


def test_one_task_sends_all_that_comes_and_has_no_part_in_what_its_callers_do(server: BatchServer) -> None:
    caller = contextvars.ContextVar("caller", default="nobody")
    callers = []

    def handle(request: httpx.Request) -> httpx.Response:
        callers.append(caller.get())
        return server.handle(request)

    async def run() -> None:
        caller.set("the first")
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        log = client.buffered(max_batch=4, max_delay=3600)
        for text in "abc":
            await log.remember("a", text)
            await anyio.wait_all_tasks_blocked()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert [task.get_name() for task in others] == ["memtrace-buffer"]
        await log.remember("a", "d")
        await anyio.wait_all_tasks_blocked()
        await log.close()

    asyncio.run(run())
    assert (server.batches, callers) == ([list("abcd")], ["nobody"])


def test_a_thread_waits_as_long_as_it_is_told() -> None:
    background = Background()
    background.wake()
    background.wait(3600)
    started = monotonic()
    background.wait(0.05)

    assert monotonic() - started >= 0.05


@pytest.fixture
def stalled() -> Iterator[tuple[BatchServer, threading.Event]]:
    """A server that answers nothing until the event is set."""
    server, go_on = BatchServer(), threading.Event()

    def stall(request: httpx.Request) -> httpx.Response:
        assert go_on.wait(30)
        return server.store(request)

    server.answers += [stall] * 3
    yield server, go_on
    go_on.set()


def test_who_finds_the_buffer_full_waits_for_room(stalled: tuple[BatchServer, threading.Event]) -> None:
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_so_does_a_task_while_others_go_on(backend: str, server: BatchServer) -> None:
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
def test_who_is_cancelled_while_it_sends_loses_nothing(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        async def handle(request: httpx.Request) -> httpx.Response:
            answer = server.handle(request)
            if len(server.batches) == 1:
                cancelled.cancel()
                await anyio.sleep_forever()
            return answer

        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        async with client.buffered(max_delay=3600) as log:
            await log.remember("a", "first")
            with anyio.CancelScope() as cancelled:
                await log.flush()
            assert cancelled.cancelled_caught
            assert log.pending == 1

    anyio.run(run, backend=backend)
    assert (server.batches, len(set(server.keys))) == ([["first"], ["first"]], 1)
    assert server.contents == ["first"]


def test_who_is_interrupted_while_it_sends_loses_nothing(server: BatchServer) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    server.answers += [interrupt]
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
def test_a_block_that_is_cancelled_is_flushed(backend: str, server: BatchServer) -> None:
    async def run() -> None:
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
        with anyio.CancelScope() as scope:
            async with client.buffered(max_delay=3600) as log:
                await log.remember("a", "first")
                scope.cancel()
                await anyio.sleep_forever()

    anyio.run(run, backend=backend)
    assert server.contents == ["first"]


def test_another_event_loop_sends_what_one_that_ended_has_left(server: BatchServer) -> None:
    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    asyncio.run(log.remember("a", "first"))
    assert log.pending == 1

    async def more() -> None:
        await log.remember("a", "second")
        await log.flush()

    asyncio.run(more())
    assert server.batches == [["first", "second"]]
    assert log.pending == 0


def test_a_trio_that_ended_does_not_keep_another_from_sending_in_the_background(server: BatchServer) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        sent.set()
        return server.handle(request)

    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
    log = client.buffered(max_batch=2, max_delay=3600)
    sent = trio.Event()

    async def second() -> None:
        await log.remember("a", "second")
        with trio.fail_after(30):
            await sent.wait()
        await log.close()

    trio.run(log.remember, "a", "first")
    trio.run(second)

    assert server.batches == [["first", "second"]]


def test_a_buffer_that_is_closed_leaves_no_thread(server: BatchServer) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    before = set(threading.enumerate())
    first = threading.Thread(target=log.remember, args=["a", "first"], daemon=True)
    first.start()
    first.join(30)
    [thread] = set(threading.enumerate()) - before
    # The interpreter waits for it, whoever came first.
    assert (thread.name, thread.daemon) == ("memtrace-buffer", False)
    log.close()
    thread.join(30)

    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hook_that_ends_the_thread_loses_nothing(server: BatchServer) -> None:
    def leave(_: httpx.Request) -> httpx.Response:
        raise SystemExit

    server.answers += [leave]
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_batch=1, max_delay=3600)
    before = set(threading.enumerate())
    log.remember("a", "first")
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert server.sent.acquire(timeout=30)
    log.remember("a", "second")
    assert server.sent.acquire(timeout=30)
    log.close()

    assert server.batches == [["first"], ["first"], ["second"]]
    assert server.keys[0] == server.keys[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_task_to_be_had_it_sends_at_once(
    backend: str, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("Nursery is closed to new arrivals")

    async def run() -> None:
        client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
        log = client.buffered(max_delay=3600)
        await log.remember("a", "first")
        assert server.contents == ["first"]
        await log.remember("a", "second")
        assert server.contents == ["first", "second"]
        await log.aclose()

    monkeypatch.setattr("memtrace._background.AsyncBackground.start", start)
    anyio.run(run, backend=backend)


def test_a_loop_leaves_what_another_one_that_runs_holds_to_that(server: BatchServer) -> None:
    async def begin() -> None:
        await log.remember("a", "first")

    async def more() -> None:
        await log.remember("a", "second")
        await log.flush()

    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    with asyncio.Runner() as runner:
        runner.run(begin())
        other = threading.Thread(target=asyncio.run, args=[more()])
        other.start()
        other.join(30)
        assert server.batches == [["second"]]
        runner.run(log.close())

    assert server.batches == [["second"], ["first"]]


def test_a_client_leaves_the_buffers_of_another_loop_to_that(server: BatchServer) -> None:
    async def begin() -> None:
        await log.remember("a", "first")

    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    with asyncio.Runner() as runner:
        runner.run(begin())
        asyncio_thread = threading.Thread(target=asyncio.run, args=[client.close()])
        asyncio_thread.start()
        asyncio_thread.join(30)
        with pytest.raises(BufferedWriteError, match="this client is closed") as caught:
            runner.run(log.flush())

    assert (failed(caught), server.batches) == (["first"], [])


def test_a_forked_process_leaves_the_buffers_of_its_parent_to_that(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    log.remember("a", "first")
    with monkeypatch.context() as forked:
        forked.setattr("os.getpid", lambda: 0)
        assert log.pending == 0
        client.close()
        assert server.batches == []
    with pytest.raises(BufferedWriteError, match="this client is closed"):
        log.close()


def test_what_is_left_at_the_end_is_sent_without_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    log = AsyncMemtrace(url).buffered(max_delay=3600)
    asyncio.run(log.remember("a", "first"))

    leftovers.finish()

    with Memtrace(url) as client:
        assert [memory.content for memory in client.recall("a").memories] == ["first"]
    assert "Sending 1 memory as the interpreter ends" in caplog.text
    caplog.clear()
    leftovers.finish()
    assert caplog.text == ""


def test_on_failure_is_told_of_that_too(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    told: list[BufferedWriteError] = []
    log = AsyncMemtrace(url, max_retries=0).buffered(max_delay=3600, on_failure=told.append)
    asyncio.run(log.remember("a", "first"))

    leftovers.finish()

    assert [failed(error) for error in told] == [["first"]]
    assert "Lost" not in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_told", [True, False])
def test_what_failed_in_a_task_is_said_to_be_lost(
    backend: str, server: BatchServer, caplog: pytest.LogCaptureFixture, *, is_told: bool
) -> None:
    def fails(_: BufferedWriteError) -> None:
        raise OSError("disk full")

    async def run() -> None:
        await log.remember("a", "first")
        await anyio.wait_all_tasks_blocked()

    server.answers += [is_gone]
    http_client = httpx.AsyncClient(transport=httpx.MockTransport(server.handle))
    client = AsyncMemtrace(http_client=http_client, max_retries=0)
    log = client.buffered(max_batch=1, on_failure=fails if is_told else None)
    anyio.run(run, backend=backend)
    assert server.batches == [["first"]]
    caplog.clear()

    leftovers.finish()

    assert "Lost: 1 memory" in caplog.text
    # What is held here would be said again at the end of the tests.
    with pytest.raises(BufferedWriteError):
        anyio.run(log.flush, backend=backend)


def test_what_still_waits_when_others_have_failed_is_said_to_be_lost(
    server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        answer = server.handle(request)
        if len(server.batches) == 2:
            await anyio.sleep_forever()
        return answer

    async def run() -> None:
        await log.remember("a", "first")
        await log.remember("a", "second")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BufferedWriteError) as caught:
            await log.remember("a", "third")
        assert failed(caught) == ["first"]

    server.answers += [refuses("memories.0")]
    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
    log = client.buffered(max_batch=2, max_delay=3600)
    asyncio.run(run())
    assert server.batches == [["first", "second"], ["second"]]
    caplog.clear()

    leftovers.finish()

    assert "Lost: 1 memory, because a buffer was not closed" in caplog.text
    server.batches.clear()
    asyncio.run(log.close())


def test_or_it_is_said_to_be_lost(server: BatchServer, caplog: pytest.LogCaptureFixture) -> None:
    log = AsyncMemtrace(http_client=httpx.AsyncClient(transport=httpx.MockTransport(server.handle))).buffered(
        max_delay=3600
    )
    asyncio.run(log.remember("a", "first"))

    leftovers.finish()

    assert "Lost: 1 memory, because a buffer was not closed" in caplog.text
    asyncio.run(log.close())
    assert server.contents == ["first"]


def test_what_failed_and_nobody_asked_for_is_said_to_be_lost(
    server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers += [is_gone]
    http_client = httpx.Client(transport=httpx.MockTransport(server.handle))
    log = Memtrace(http_client=http_client, max_retries=0).buffered(max_batch=1)
    log.remember("a", "first")
    assert server.sent.acquire(timeout=30)

    leftovers.finish()

    assert "Lost: 1 memory could not be stored" in caplog.text
    assert log.failed == []


def test_without_a_thread_to_be_had_it_sends_at_once(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("memtrace._background.threading.Thread", NoThread)
    client = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(server.handle)))
    log = client.buffered(max_delay=3600)
    log.remember("a", "first")
    assert server.contents == ["first"]
    log.remember("a", "second")
    assert server.contents == ["first", "second"]
    log.close()


class FaultyServer(BatchServer):
    """Spoils a third of all exchanges, before or after it has acted; knows a memory by all it has."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311  # no secret

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
def test_whatever_happens_on_the_way_each_memory_is_stored_once_or_in_hand(
    seed: int, max_retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retries, "FIRST_WAIT", 0.0)
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
    # What was lost after it was stored is in both, and is not stored again: it has the time of its call.
    while spool.requests:
        again = client.buffered(on_failure=spool)
        again.add_memories(spool.taken())
        again.close()
    by_agent = sorted(server.memories, key=lambda memory: (memory["agent_id"], memory["time"]))
    assert [(memory["agent_id"], memory["content"]) for memory in by_agent] == wanted
    if max_retries == 40:
        in_order = sorted(server.memories, key=lambda memory: memory["agent_id"])
        assert in_order == by_agent


class Spool:
    """Keeps what failed, to give it again."""

    def __init__(self) -> None:
        self.requests: list[AddMemoryRequest] = []

    def __call__(self, error: BufferedWriteError) -> None:
        self.requests += [request for request, _ in error.failed]

    def taken(self) -> list[AddMemoryRequest]:
        requests, self.requests = self.requests, []
        return requests


@pytest.mark.parametrize("kind", ["http", "sqlite"])
def test_many_threads_share_a_buffer_and_each_keeps_its_order(
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


def test_many_tasks_too(live_server: LiveServer, tenant_key: str) -> None:
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


def test_what_is_logged_twice_is_stored_twice_unless_it_has_a_key(
    live_server: LiveServer, tenant_key: str
) -> None:
    with Memtrace(live_server.url, tenant_key) as client:
        with client.buffered() as log:
            for _ in range(3):
                log.remember("agent_1", "Polled the queue")
                log.remember("agent_1", "Started", dedup_key="start")
            log.remember("agent_1", "x" * 70_000)
            with pytest.raises(BufferedWriteError, match="longer than 65536 characters") as caught:
                log.flush()
        contents = [memory.content for memory in client.recall("agent_1").memories]

    assert sorted(contents) == ["Polled the queue"] * 3 + ["Started"]
    assert [len(content) for content in failed(caught)] == [70_000]
