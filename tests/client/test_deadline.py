"""The time that a call takes: the whole call if the timeout is a number, else each step, as in httpx."""

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
# Seconds that a busy machine may take to schedule a thread that can go on.
SLACK = 2.0


def drip(response: bytes) -> Serve:
    """Send a response a byte at a time, so that each read gets something and none the end."""

    def serve(connection: socket.socket, is_over: threading.Event) -> None:
        connection.recv(65536)
        for index in range(len(response)):
            connection.sendall(response[index : index + 1])
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
def test_dripping_response_ends_at_the_timeout_in_tasks(serve: Any, part: str, *, is_supplied: bool) -> None:
    async def run() -> None:
        url = serve(drip(DRIPS[part])).url
        async with httpx.AsyncClient() as http_client:
            client = AsyncMemtrace(url, timeout=0.2, http_client=http_client if is_supplied else None)
            with at_most(0.2), pytest.raises(APITimeoutError, match="in time"):
                await client.recall("agent_1")
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("is_supplied", [False, True], ids=["own client", "caller's client"])
def test_dripping_body_ends_at_the_timeout_in_threads(serve: Any, *, is_supplied: bool) -> None:
    url = serve(drip(DRIPS["body"])).url
    with httpx.Client() as http_client, at_most(0.2), pytest.raises(APITimeoutError):
        Memtrace(url, timeout=0.2, http_client=http_client if is_supplied else None).recall("agent_1")


def test_request_that_is_read_slowly_ends_at_the_timeout(make_client: MakeClient, serve: Any) -> None:
    def read_slowly(connection: socket.socket, is_over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        while not is_over.wait(0.01) and connection.recv(100):
            pass

    client = make_client(serve(read_slowly).url, timeout=0.3)

    with at_most(0.3), pytest.raises(APITimeoutError):
        client.remember("agent_1", "x" * 20_000_000)


def test_httpx_timeout_does_not_bound_the_whole_call(make_client: MakeClient, serve: Any) -> None:
    response = json.dumps(page(MEMORY)).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(response)}\r\n\r\n".encode()

    client = make_client(serve(drip(head + response)).url, timeout=httpx.Timeout(1.0))

    started = time.monotonic()
    assert client.recall("agent_1").count == 1
    assert time.monotonic() - started > 1.0


def test_httpx_timeout_bounds_each_step(make_client: MakeClient, serve: Any) -> None:
    client = make_client(serve(Silent()).url, timeout=httpx.Timeout(5, read=0.1), max_retries=0)

    with at_most(0.1), pytest.raises(APITimeoutError):
        client.recall("agent_1")


@pytest.fixture
def full() -> Iterator[int]:
    """Return a port where nobody accepts connections, and whose queue of them is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):  # more than the queue takes; the system drops packets for any more
            waiting.append(socket.socket())
            waiting[-1].settimeout(0)
            waiting[-1].connect_ex(full.getsockname())
        yield full.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("timeout", "said"),
    [
        # The timeouts of the call and of the connection end together, and a busy event loop sees either
        # first.
        pytest.param(0.5, "(cannot connect|no response) in time", id="call"),
        pytest.param(httpx.Timeout(30, connect=0.5), "cannot connect in time", id="connect"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connection_that_nobody_accepts_is_a_timeout_error(
    make_client: MakeClient, full: int, scheme: str, timeout: Any, said: str
) -> None:
    client = make_client(f"{scheme}://127.0.0.1:{full}", timeout=timeout, max_retries=0)

    with at_most(0.5), pytest.raises(APITimeoutError, match=said):
        client.recall("agent_1")


def test_timeout_includes_all_attempts_and_delays(make_client: MakeClient, serve: Any) -> None:
    # The first attempt gets a response at once, and the second never.
    attempts = []

    def respond(connection: socket.socket, is_over: threading.Event) -> None:
        attempts.append(connection.recv(65536))
        if len(attempts) == 1:
            connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            is_over.wait()

    client = make_client(serve(respond).url, timeout=1.0, max_retries=10)

    with at_most(1.0), pytest.raises(APITimeoutError):
        client.recall("agent_1")
    assert len(attempts) == 2


def test_delay_that_would_end_after_the_timeout_is_not_begun(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float]
) -> None:
    fake_server.respond(503, error("Busy"), headers={"retry-after": "5"})

    with pytest.raises(ServerError, match="Busy"):
        make_client(timeout=5).recall("agent_1")

    assert delays == []


def test_delays_must_fit_into_the_rest_of_the_timeout(
    make_client: MakeClient, fake_server: FakeServer, delays: list[float], call_clock: list[float]
) -> None:
    def pass_time(_: httpx.Request) -> httpx.Response:
        call_clock[0] += 6
        return httpx.Response(503, json=error("Busy"), headers={"retry-after": "5"})

    fake_server.stand_in = pass_time

    with pytest.raises(ServerError, match="Busy"):
        make_client(timeout=20, max_retries=10).recall("agent_1")

    # The delays are not slept here, so only the attempts move the clock.
    assert len(delays) == 2
    assert len(fake_server.requests) == 3


def test_with_options_changes_the_timeout(make_client: MakeClient, serve: Any) -> None:
    client = make_client(serve(Silent()).url, timeout=60)

    with at_most(0.1), pytest.raises(APITimeoutError):
        client.with_options(timeout=0.1).recall("agent_1")


OK = b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'


def test_waiting_for_a_connection_counts_towards_the_timeout(serve: Any) -> None:
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
    # The first address drops what is sent to it, as behind a firewall.
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
    """A body with a minute between its chunks."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        yield b"{"
        self._clock[0] += 60
        yield b"}"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def test_body_is_not_read_after_the_timeout(make_client: MakeClient, call_clock: list[float]) -> None:
    http_client = make_client.http_client(lambda _: httpx.Response(200, stream=Slow(call_clock)))
    client = make_client(http_client=http_client, max_retries=0)

    with pytest.raises(APITimeoutError, match="no response in time"):
        client.health()
