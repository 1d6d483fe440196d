"""A load of HTTP requests from its own process, light enough to leave the machine to the server."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop
from attrs import define, field, frozen

from benchmarks import samples

WARM_UP = 0.3  # seconds that do not count
AGENTS = 100


@frozen(kw_only=True)
class Load:
    """The requests of a load: each client sends one after the other.

    Attributes:
        url: The server's.
        key: An API key.
        seconds: The duration.
        writers: Clients that store one memory a request.
        readers: Clients that recall the newest 100 of an agent.
        batch: Memories a request; a single one without a batch if 1.
        with_idempotency_key: Whether a write carries an Idempotency-Key, as the SDK's do.
    """

    url: str
    key: str
    seconds: float
    writers: int = 0
    readers: int = 0
    batch: int = 1
    with_idempotency_key: bool = False


@frozen
class Outcome:
    """The result of a load: the seconds that count, and the latency of each response, in seconds."""

    seconds: float
    writes: list[float]
    reads: list[float]

    @property
    def rate(self) -> float:
        """Return the acknowledged write requests a second."""
        return len(self.writes) / self.seconds


def apply(load: Load) -> Outcome:
    """Put a load on a server."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_apply, load).result()


def _apply(load: Load) -> Outcome:
    return uvloop.run(_run(load))


async def _run(load: Load) -> Outcome:
    host, _, port = urlsplit(load.url).netloc.partition(":")
    reads = _reads(load)
    run = os.urandom(6).hex()  # distinguishes the memories of this load from all others
    contents = samples.contents(1_000, seed=run)
    writers = [_Client(_writes(load, contents, f"{run}{n:04d}")) for n in range(load.writers)]
    readers = [_Client(reads) for _ in range(load.readers)]
    clients = writers + readers
    loop = asyncio.get_running_loop()
    for client in clients:
        await loop.create_connection(partial(_same, client), host, int(port))
    now = time.perf_counter()
    clock = _Clock(now + WARM_UP, now + WARM_UP + load.seconds)
    for client in clients:
        client.start(clock)
    await asyncio.gather(*[client.done for client in clients])
    return Outcome(
        load.seconds,
        [latency for client in writers for latency in client.latencies],
        [latency for client in readers for latency in client.latencies],
    )


def _same(client: _Client) -> _Client:
    return client


@frozen
class _Clock:
    starts: float
    ends: float


@define(eq=False)
class _Client(asyncio.Protocol):
    """A connection that sends a request as soon as the last response is complete."""

    requests: Iterator[bytes]
    latencies: list[float] = field(factory=list)
    done: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())
    _clock: _Clock = field(init=False)
    _sent_at: float = 0.0
    _answer: bytes = b""
    _length: int = -1
    _send: Callable[[bytes], None] = field(init=False)
    _close: Callable[[], None] = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        socket = cast("asyncio.Transport", transport)  # create_connection makes no others
        self._send, self._close = socket.write, socket.close

    def start(self, clock: _Clock) -> None:
        """Send the first request."""
        self._clock = clock
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._length < 0:
            head, found, _ = self._answer.partition(b"\r\n\r\n")
            if not found:
                return
            if head[9:12] not in {b"200", b"201"}:
                self.done.set_exception(RuntimeError(f"the server answered {self._answer!r}"))
                self._close()
                return
            length = head.lower().partition(b"\r\ncontent-length: ")[2]
            self._length = len(head) + 4 + int(length.partition(b"\r\n")[0])
        if len(self._answer) >= self._length:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _finish(self) -> None:
        now = time.perf_counter()
        if self._clock.starts <= now < self._clock.ends:
            self.latencies.append(now - self._sent_at)
        self._answer, self._length = b"", -1
        if now < self._clock.ends:
            self._next()
        else:
            self.done.set_result(None)
            self._close()

    def _next(self) -> None:
        request = next(self.requests)
        self._sent_at = time.perf_counter()
        self._send(request)


def memory(number: int, content: str) -> str:
    """Return a memory to store, as JSON."""
    return (
        f'{{"agent_id":"agent_{number % AGENTS}","session_id":"sess_{number % AGENTS}","event_type":"action",'
        f'"tags":["load"],"importance":0.5,"content":"{content}"}}'
    )


def _writes(load: Load, contents: Iterator[str], client: str) -> Iterator[bytes]:
    """Yield requests that store new memories."""
    numbers = itertools.count()
    head = f"POST /api/v1/memories HTTP/1.1\r\nhost: bench\r\nx-api-key: {load.key}\r\n"
    head += "content-type: application/json\r\n"
    while True:
        memories = [memory(n, f"{next(contents)} {client}{n}") for n in itertools.islice(numbers, load.batch)]
        body = memories[0] if load.batch == 1 else f'{{"memories":[{",".join(memories)}]}}'
        key = f"idempotency-key: {client}{next(numbers)}\r\n" if load.with_idempotency_key else ""
        yield f"{head}{key}content-length: {len(body)}\r\n\r\n{body}".encode()


def _reads(load: Load) -> Iterator[bytes]:
    """Yield requests for the newest 100 memories, of one agent after the other."""
    for n in itertools.count():
        path = f"/api/v1/memories?agent_id=agent_{n % AGENTS}&since=24h&limit=100"
        yield f"GET {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {load.key}\r\n\r\n".encode()
