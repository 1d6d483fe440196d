"""A proxy that breaks a fifth of the exchanges between clients and a server, each in a random way.

It runs in its own process, so that its CPU time is not the clients'. `FaultProxy` starts it. Faults are dealt
from shuffled decks, so that `DECK` exchanges have every fault, in any order of requests.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from email.utils import formatdate
from time import time
from typing import IO, Self, cast

import uvloop
from attrs import frozen

SHARE = 0.2
# The frequency of each fault in a deck.
FAULTS = {
    "refused": 8,  # reset before a byte was read
    "away": 2,  # the proxy does not listen for a moment
    "request reset": 10,  # after any number of bytes
    "request cut": 12,  # the server gets a part of it
    "response cut": 24,  # after any number of bytes, once the server has acted
    "late request": 9,
    "late response": 9,
    "lost request": 1,  # the server gets it after the client has stopped waiting
    "lost response": 1,
    "status before": 12,  # the server does not get the request
    "status after": 12,
}
DECK = round(sum(FAULTS.values()) / SHARE)  # exchanges
STATUSES = (429, 500, 502, 503)
WAITS = ("none", "seconds", "date")  # the form of Retry-After

_LATE = 0.02  # seconds, at most
_AWAY = 0.03
_PATIENCE = 60.0
_BODIES = {
    "application/json": b'{"error": "Not now", "code": "not_now", "request_id": "req_proxy"}',
    "text/html": b"<html><head><title>Bad Gateway</title></head><body></body></html>",
    "text/plain": b"",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SMALL = (
    16 << 10
)  # bytes of a request that wait in the kernel, so that a client is still sending when it is cut


class FaultProxy:
    """Stand between clients and a server in a `with` block.

    Attributes:
        url: The URL for clients.
        counts: The number of exchanges, and of each fault among them; set at the end.
    """

    def __init__(self, server: str, *, seed: int, impatience: float) -> None:
        """Prepare a proxy.

        Args:
            server: The server's URL.
            seed: Determines the faults, as far as the order of requests does not.
            impatience: Seconds that clients wait for a response; lost messages take longer.
        """
        self.url = ""
        self.counts: Counter[str] = Counter()
        self._command = [sys.executable, __file__, server, str(seed), str(impatience)]

    def __enter__(self) -> Self:
        """Start the proxy."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.url = cast("IO[str]", self._process.stdout).readline().strip()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the proxy once all delayed requests have reached the server."""
        try:
            printed, _ = self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        self.counts = Counter(json.loads(printed))


class _Broken(Exception):  # noqa: N818 - an expected end, not an error
    """The exchange and its connection have ended."""


@frozen
class _Peer:
    """A client or the server, at the other end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def hang_up(self) -> None:
        """End the connection like a process that has nothing more to send."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection like a process that dies."""
        if self.writer.is_closing():  # the other side was faster
            return
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class _Deck:
    """Deals cards in a random order, all of them before the first again."""

    def __init__(self, dice: random.Random, cards: Iterable[str | None]) -> None:
        self._dice = dice
        self._cards = list(cards)
        self._left: list[str | None] = []

    def deal(self) -> str | None:
        """Return the next card."""
        if not self._left:
            self._left = self._dice.sample(self._cards, len(self._cards))
        return self._left.pop()


class _Proxy:
    """The proxy, in its own process."""

    def __init__(self, server: str, seed: int, impatience: float) -> None:
        host, _, port = server.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._dice = random.Random(seed)  # noqa: S311 - not a secret
        self._impatience = impatience
        faults = list(Counter(FAULTS).elements())
        self._faults = _Deck(self._dice, [*faults, *[None] * (DECK - len(faults))])
        self._statuses = {when: _Deck(self._dice, map(str, STATUSES)) for when in ("before", "after")}
        self._waits = _Deck(self._dice, WAITS)
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        # This socket keeps the port while nobody listens.
        self._holder = _bound(("127.0.0.1", 0))
        self._listener: asyncio.Server | None = None

    async def run(self) -> None:
        """Serve until standard input ends."""
        await self._listen()
        host, port = self._holder.getsockname()
        print(f"http://{host}:{port}", flush=True)  # noqa: T201 - for the process that started this one
        await asyncio.to_thread(sys.stdin.read)
        while self._tasks:
            await asyncio.wait(self._tasks)
        print(json.dumps(self._counts))  # noqa: T201

    async def _listen(self) -> None:
        listener = _bound(self._holder.getsockname())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        self._listener = await asyncio.start_server(self._serve, sock=listener, backlog=1024)

    async def _go_away(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(_AWAY)
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        client = _Peer(reader, writer)
        try:
            server = _Peer(*await asyncio.open_connection(*self._server))
        except OSError:
            client.reset()
            return
        try:
            while first := await reader.read(1):
                await self._exchange(first, client, server)
        except (_Broken, OSError, asyncio.IncompleteReadError):
            for peer in (server, client):
                self._dice.choice((peer.reset, peer.hang_up))()
        else:
            server.hang_up()
            client.hang_up()

    async def _exchange(self, first: bytes, client: _Peer, server: _Peer) -> None:
        fault = self._draw()
        if fault == "away":
            self._keep(asyncio.create_task(self._go_away()))
        if fault in {"refused", "away"}:
            client.reset()
            raise _Broken
        request = await self._request(first, client, fault)
        if fault == "request cut":
            await server.send(request[: self._dice.randrange(len(request))])
            raise _Broken
        if fault == "status before":
            await client.send(self._error_response("before"))
            return
        await self._delay(fault, "request")
        await server.send(request)
        head, length = await _head(b"", server.reader)
        response = head + await server.reader.readexactly(length)
        await self._delay(fault, "response")
        if fault == "response cut":
            await client.send(response[: self._dice.randint(0, len(response))])
            raise _Broken
        await client.send(self._error_response("after") if fault == "status after" else response)

    async def _request(self, first: bytes, client: _Peer, fault: str | None) -> bytes:
        head, length = await _head(first, client.reader)
        if fault == "request reset":
            await client.reader.readexactly(self._dice.randint(0, length))
            client.reset()
            raise _Broken
        return head + await client.reader.readexactly(length)

    async def _delay(self, fault: str | None, what: str) -> None:
        if fault == f"late {what}":
            await asyncio.sleep(self._dice.uniform(0, _LATE))
        elif fault == f"lost {what}":
            await asyncio.sleep(self._impatience * self._dice.uniform(1.05, 1.3))

    def _draw(self) -> str | None:
        self._counts["exchanges"] += 1
        fault = self._faults.deal()
        if fault is not None:
            self._counts[fault] += 1
        return fault

    def _error_response(self, when: str) -> bytes:
        status = self._statuses[when].deal()
        self._counts[f"{status} {when}"] += 1
        kind, body = self._dice.choice(list(_BODIES.items()))
        lines = [f"HTTP/1.1 {status} Not Now", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        wait = self._waits.deal()
        self._counts[f"Retry-After: {wait}"] += 1
        if wait == "seconds":
            lines.append("Retry-After: 0")
        elif wait == "date":
            lines.append(f"Retry-After: {formatdate(time() + self._dice.randrange(2), usegmt=True)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        """Keep the proxy running until a task has ended."""
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _bound(address: tuple[str, int]) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


async def _head(first: bytes, reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Read a message's head; return it, and the length of the body that follows."""
    head = first + await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head, int(length[1]) if length else 0


if __name__ == "__main__":
    uvloop.run(_Proxy(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])).run())
