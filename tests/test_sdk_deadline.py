"""How long a call takes at the most: all of it if the timeout is a number; else each step, as with httpx."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from sdk_harness import MEMORY, FakeServer, MakeClient, error, page
from socket_server import Serve, Silent

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    Memtrace,
    MemtraceError,
    ServerError,
    _deadlines,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"
DRIPS = {"head": HEAD + b"x-drip: " + b"y" * 10_000, "body": HEAD + b"\r\n" + b" " * 10_000}
# What may pass on a busy machine until a thread that could go on does so; seconds.
SLACK = 2.0


def drip(answer: bytes) -> Serve:
    """Send an answer a byte at a time: each read gets something, and none the end."""

    def serve(connection: socket.socket, is_over: threading.Event) -> None:
        connection.recv(65536)
        for place in range(len(answer)):
            connection.sendall(answer[place : place + 1])
            if is_over.wait(0.01):
                return

    return serve


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds + SLACK


@pytest.mark.parametrize("part", DRIPS)
def test_a_server_that_sends_a_byte_now_and_then_does_not_outlive_the_timeout(
    make_client: MakeClient, serve: Any, part: str
) -> None:
    client = make_client(serve(drip(DRIPS[part])).url, timeout=0.2)

    with at_most(0.2), pytest.raises(APITimeoutError, match="no answer in time"):
        client.recall("agent_1")


@pytest.mark.parametrize("part", DRIPS)
def test_nor_with_an_http_client_for_tasks(serve: Any, part: str) -> None:
    async def run() -> None:
        url = serve(drip(DRIPS[part])).url
        async with httpx.AsyncClient() as given, aiohttp.ClientSession() as session:
            for http_client in (given, session):
                client = AsyncMemtrace(url, timeout=0.2, http_client=http_client)
                with at_most(0.2), pytest.raises(APITimeoutError, match="no answer in time"):
                    await client.recall("agent_1")

    asyncio.run(run())


def test_a_body_that_drips_ends_with_an_http_client_for_threads_too(serve: Any) -> None:
    url = serve(drip(DRIPS["body"])).url
    with httpx.Client() as http_client, at_most(0.2), pytest.raises(APITimeoutError):
        Memtrace(url, timeout=0.2, http_client=http_client).recall("agent_1")


def test_a_server_that_takes_a_request_slowly_does_not_outlive_it_either(
    make_client: MakeClient, serve: Any
) -> None:
    def read_slowly(connection: socket.socket, is_over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        while not is_over.wait(0.01) and connection.recv(100):
            pass

    client = make_client(serve(read_slowly).url, timeout=0.3)

    with at_most(0.3), pytest.raises(APITimeoutError):
        client.remember("agent_1", "x" * 20_000_000)


def test_a_timeout_of_httpx_bounds_the_steps_and_not_the_call(make_client: MakeClient, serve: Any) -> None:
    answer = json.dumps(page(MEMORY)).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n".encode()

    client = make_client(serve(drip(head + answer)).url, timeout=httpx.Timeout(1.0))

    started = time.monotonic()
    assert client.recall("agent_1").count == 1
    assert time.monotonic() - started > 1.0


def test_and_each_step_is_bounded(make_client: MakeClient, serve: Any) -> None:
    client = make_client(serve(Silent()).url, timeout=httpx.Timeout(5, read=0.1), max_retries=0)

    with at_most(0.1), pytest.raises(APITimeoutError):
        client.recall("agent_1")


@pytest.fixture
def full() -> Iterator[int]:
    """A port where nobody accepts connections, and no more can wait for that."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):  # more than wait to be accepted; what is sent to more is dropped
            waiting.append(socket.socket())
            waiting[-1].settimeout(0)
            waiting[-1].connect_ex(full.getsockname())
        yield full.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.mark.parametrize("timeout", [0.5, httpx.Timeout(30, connect=0.5)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_nobody_accepts_is_given_up(
    make_client: MakeClient, full: int, scheme: str, timeout: Any
) -> None:
    client = make_client(f"{scheme}://127.0.0.1:{full}", timeout=timeout, max_retries=0)

    with at_most(0.5), pytest.raises(APITimeoutError, match="cannot connect in time"):
        client.recall("agent_1")


def test_so_it_is_with_a_session_of_aiohttp(full: int) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            timeout = httpx.Timeout(30, connect=0.2)
            client = AsyncMemtrace(
                f"http://127.0.0.1:{full}", http_client=session, timeout=timeout, max_retries=0
            )
            with at_most(0.2), pytest.raises(APITimeoutError, match="cannot connect in time"):
                await client.recall("agent_1")

    asyncio.run(run())


def test_all_tries_and_pauses_count(make_client: MakeClient, serve: Any) -> None:
    # The first try is answered at once, and the second never.
    tries = []

    def answer(connection: socket.socket, is_over: threading.Event) -> None:
        tries.append(connection.recv(65536))
        if len(tries) == 1:
            connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            is_over.wait()

    client = make_client(serve(answer).url, timeout=1.0, max_retries=10)

    with at_most(1.0), pytest.raises(APITimeoutError):
        client.recall("agent_1")
    assert len(tries) == 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which deadlines go, in seconds; it goes when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(_deadlines, "monotonic", lambda: now[0])
    return now


def test_a_pause_that_would_end_after_the_deadline_is_not_made(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.answer(503, error("Busy"), headers={"retry-after": "5"})

    with pytest.raises(ServerError, match="Busy"):
        make_client(timeout=5).recall("agent_1")

    assert waits == []


def test_time_that_has_passed_is_no_longer_there_for_pauses(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float], clock: list[float]
) -> None:
    def pass_time(_: httpx.Request) -> httpx.Response:
        clock[0] += 6
        return httpx.Response(503, json=error("Busy"), headers={"retry-after": "5"})

    fake_server.stand_in = pass_time

    with pytest.raises(ServerError, match="Busy"):
        make_client(timeout=20, max_retries=10).recall("agent_1")

    # The waits are not made here, so the clock goes on by the tries alone.
    assert len(waits) == 2
    assert len(fake_server.requests) == 3


def test_with_options_gives_calls_another_time(make_client: MakeClient, serve: Any) -> None:
    client = make_client(serve(Silent()).url, timeout=60)

    with at_most(0.1), pytest.raises(APITimeoutError):
        client.with_options(timeout=0.1).recall("agent_1")


def test_looking_up_what_a_0_x_server_has_stored_takes_from_the_same_time(
    make_client: MakeClient, fake_server: FakeServer, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    make = _deadlines.Deadline.__init__

    def recorded(deadline: _deadlines.Deadline, timeout: Any) -> None:
        given.append(timeout)
        make(deadline, timeout)

    def answer(request: httpx.Request) -> httpx.Response:
        clock[0] += 4
        if len(fake_server.requests) == 1:
            raise httpx.ReadError("lost", request=request)
        if request.method == "POST":
            return httpx.Response(409, json={"error": "duplicate memory detected"})
        return httpx.Response(200, json=page(MEMORY))

    monkeypatch.setattr(_deadlines.Deadline, "__init__", recorded)
    fake_server.stand_in = answer

    make_client(timeout=30).with_options(max_retries=1).remember("agent_1", MEMORY["content"])

    assert given == [30, 22]


def raised_by(call: Callable[[], object]) -> tuple[threading.Thread, list[MemtraceError]]:
    """Call in a thread; what it raises is in the list when the thread has ended."""
    raised: list[MemtraceError] = []

    def run() -> None:
        try:
            call()
        except MemtraceError as caught:
            raised.append(caught)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_waiting_for_a_connection_counts(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtrace._sync.pool.MOST", 1)
    silent = Silent()
    client = Memtrace(serve(silent).url)
    thread, _ = raised_by(lambda: client.recall("agent_1"))
    silent.wait()

    with at_most(0.1), pytest.raises(APITimeoutError, match="no connection of the pool became free in time"):
        client.with_options(timeout=0.1).recall("agent_1")
    client.close()
    thread.join()


def test_so_it_does_for_tasks(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        silent = Silent()
        client = AsyncMemtrace(serve(silent).url)
        call = asyncio.create_task(client.recall("agent_1"))
        await asyncio.to_thread(silent.wait)
        for timeout in (0.1, httpx.Timeout(5, pool=0.1)):
            with at_most(0.1), pytest.raises(APITimeoutError):
                await client.with_options(timeout=timeout, max_retries=0).recall("agent_1")
        await client.close()
        with pytest.raises(APIConnectionError, match="closed"):
            await call

    monkeypatch.setattr("memtrace._async.pool.MOST", 1)
    asyncio.run(run())


def test_who_waits_for_a_connection_of_a_client_that_is_closed_waits_no_more(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memtrace._sync.pool.MOST", 1)
    silent = Silent()
    client = Memtrace(serve(silent).url)
    threads = [raised_by(lambda: client.recall("agent_1")) for _ in range(4)]
    silent.wait()

    with at_most(0):
        client.close()
        for thread, raised in threads:
            thread.join()
            assert "closed" in str(raised[0])


def test_a_client_that_is_closed_while_a_thread_calls_says_so_at_once(serve: Any) -> None:
    silent = Silent()
    client = Memtrace(serve(silent).url)
    thread, raised = raised_by(lambda: client.recall("agent_1"))
    silent.wait()

    with at_most(0):
        client.close()
        thread.join()

    assert "this client was closed while the call ran" in str(raised[0])
    assert raised[0].__cause__ is None


def test_so_does_one_that_is_closed_while_tasks_call(serve: Any) -> None:
    async def run() -> None:
        silent = Silent()
        url = serve(silent).url
        async with httpx.AsyncClient() as given, aiohttp.ClientSession() as session:
            for http_client in (None, given, session):
                client = AsyncMemtrace(url, http_client=http_client)
                calls = [asyncio.create_task(client.recall("agent_1")) for _ in range(3)]
                for _ in calls:
                    await asyncio.to_thread(silent.wait)
                with at_most(0):
                    await client.close()
                    for call in calls:
                        with pytest.raises(APIConnectionError, match="closed while the call ran"):
                            await call

    asyncio.run(run())
