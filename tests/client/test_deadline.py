"""How long a call takes at the most: all of it if the timeout is a number; else each step, as with httpx."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from helpers.clients import MEMORY, FakeServer, MakeClient, error, page
from helpers.peers import Serve, Silent

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    Memtrace,
    ServerError,
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
@pytest.mark.parametrize("is_supplied", [False, True], ids=["own client", "caller's client"])
def test_a_response_that_drips_ends_at_the_timeout_of_tasks(
    serve: Any, part: str, *, is_supplied: bool
) -> None:
    async def run() -> None:
        url = serve(drip(DRIPS[part])).url
        async with httpx.AsyncClient() as http_client:
            client = AsyncMemtrace(url, timeout=0.2, http_client=http_client if is_supplied else None)
            with at_most(0.2), pytest.raises(APITimeoutError, match="in time"):
                await client.recall("agent_1")
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("is_supplied", [False, True], ids=["own client", "caller's client"])
def test_a_body_that_drips_ends_at_the_timeout_of_threads(serve: Any, *, is_supplied: bool) -> None:
    url = serve(drip(DRIPS["body"])).url
    with httpx.Client() as http_client, at_most(0.2), pytest.raises(APITimeoutError):
        Memtrace(url, timeout=0.2, http_client=http_client if is_supplied else None).recall("agent_1")


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


@pytest.mark.parametrize(
    ("timeout", "said"),
    [
        # The time of the call and that to connect end at once, and a busy event loop sees either first.
        pytest.param(0.5, "(cannot connect|no response) in time", id="call"),
        pytest.param(httpx.Timeout(30, connect=0.5), "cannot connect in time", id="connect"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_nobody_accepts_is_given_up(
    make_client: MakeClient, full: int, scheme: str, timeout: Any, said: str
) -> None:
    client = make_client(f"{scheme}://127.0.0.1:{full}", timeout=timeout, max_retries=0)

    with at_most(0.5), pytest.raises(APITimeoutError, match=said):
        client.recall("agent_1")


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


def test_a_pause_that_would_end_after_the_deadline_is_not_made(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float]
) -> None:
    fake_server.answer(503, error("Busy"), headers={"retry-after": "5"})

    with pytest.raises(ServerError, match="Busy"):
        make_client(timeout=5).recall("agent_1")

    assert waits == []


def test_time_that_has_passed_is_no_longer_there_for_pauses(
    make_client: MakeClient, fake_server: FakeServer, waits: list[float], call_clock: list[float]
) -> None:
    def pass_time(_: httpx.Request) -> httpx.Response:
        call_clock[0] += 6
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


OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'


def test_waiting_for_a_connection_counts(serve: Any) -> None:
    asked, may_respond = threading.Event(), threading.Event()

    def hold(connection: socket.socket, is_over: threading.Event) -> None:  # noqa: ARG001
        connection.recv(65536)
        asked.set()
        may_respond.wait()
        connection.sendall(OK)

    with httpx.Client(limits=httpx.Limits(max_connections=1)) as http_client:
        client = Memtrace(serve(hold).url, http_client=http_client, max_retries=0)
        thread = threading.Thread(target=client.ready)
        thread.start()
        assert asked.wait(10)

        with at_most(0.1), pytest.raises(APITimeoutError, match="no connection of the pool became free"):
            client.with_options(timeout=0.1).ready()
        may_respond.set()
        thread.join()


def test_closing_a_client_ends_the_calls_of_its_tasks(serve: Any) -> None:
    async def run() -> None:
        silent = Silent()
        client = AsyncMemtrace(serve(silent).url)
        calls = [asyncio.create_task(client.recall("agent_1")) for _ in range(3)]
        for _ in calls:
            await asyncio.to_thread(silent.wait)
        with at_most(0):
            await client.close()
            for call in calls:
                with pytest.raises(APIConnectionError, match="closed while the call ran"):
                    await call

    asyncio.run(run())


def test_the_second_address_of_a_host_is_reached_within_the_timeout(
    make_client: MakeClient, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first address swallows what is sent to it, as behind a firewall that drops packets.
    with socket.create_server(("127.0.0.2", full)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        resolve = socket.getaddrinfo

        def two(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host in {"two.test", b"two.test"}:
                return [
                    *resolve("127.0.0.1", port, *rest, **more),
                    *resolve("127.0.0.2", port, *rest, **more),
                ]
            return resolve(host, port, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", two)

        assert make_client(f"http://two.test:{full}", timeout=2.0).ready().status == "ok"
        thread.join()


class Slow(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body between whose chunks a minute passes."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        yield b"{"
        self._clock[0] += 60
        yield b"}"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def test_a_body_is_read_no_further_when_the_time_is_over(
    make_client: MakeClient, call_clock: list[float]
) -> None:
    http_client = make_client.http_client(lambda _: httpx.Response(200, stream=Slow(call_clock)))
    client = make_client(http_client=http_client, max_retries=0)

    with pytest.raises(APITimeoutError, match="no response in time"):
        client.health()
