"""Bodies of requests on their way in: how long they may take, and how much of them is in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from memtrace_server import problems
from memtrace_server.deadlines import DeadlineExceeded
from memtrace_server.shares import Share

if TYPE_CHECKING:
    from starlette.types import Receive

    from memtrace_server.connections import Connection

LARGE = 64 << 10
"""Bytes from which on a body counts for its organisation's share, and is validated in a thread."""

HUGE = 1 << 20
"""Bytes from which on a body waits for its organisation's turn."""

_MAX_BODY = 80 << 20  # bytes; the contract's largest batch, 1,000 memories of 64 KiB, fits
_STEP = 1 << 20  # bytes that are received between two reservations
_MESSAGE = 128 << 10  # bytes that a connection has read at most when it is asked for some


class ClientLeft(Exception):  # noqa: N818 - a signal, as no client is left for a response
    """The client closed the connection before it had sent the whole request."""


class Bodies:
    """What the bodies of a server have in common.

    Args:
        client_timeout: Seconds for a client to send a body.
        request_timeout: Seconds that a body waits for room, and for its turn.
    """

    def __init__(self, client_timeout: float, request_timeout: float) -> None:
        self.client_timeout = client_timeout
        self.request_timeout = request_timeout
        self._shares: WeakValueDictionary[int, Share] = WeakValueDictionary()  # by organisation

    def share(self, org: int) -> Share:
        """Return an organisation's share of memory, which its large bodies have in common."""
        return self._shares.setdefault(org, Share(2 * _MAX_BODY))


class Body:
    """The body of one request.

    Args:
        bodies: The server's bodies.
        receive: Returns the next ASGI message.
        connection: The connection that carries the request; None in another server than ours.

    Attributes:
        data: What has come of the body. It grows in place: to join chunks would hold it twice.
        has_turn: Whether other huge bodies of the organisation wait until `leave`.
    """

    def __init__(self, bodies: Bodies, receive: Receive, connection: Connection | None) -> None:
        self.data = bytearray()
        self.has_turn = False
        self._bodies = bodies
        self._receive = receive
        self._connection = connection
        self._is_whole = False
        self._left = bodies.client_timeout
        self._share: Share | None = None

    async def read(self, headers: Mapping[str, str], org: int) -> None:
        """Read the body; return from a huge one when it is its organisation's turn.

        Args:
            headers: The request's headers.
            org: The organisation that sends the request.

        Raises:
            Problem: 408 or 413, or what is wrong with the body as HTTP.
            DeadlineExceeded: Room for the body, or its turn, did not come in time.
            ClientLeft: The client left.
        """
        announced = headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else _MAX_BODY
        if size > _MAX_BODY:
            raise problems.too_large(_MAX_BODY)
        if size <= LARGE or not announced:  # most bodies without a size are small
            await self._read_on(LARGE)
        if not self._is_whole:
            await self._read_large(size, self._bodies.share(org))

    def leave(self) -> None:
        """Let the next body have the room and the turn."""
        if self._share is None:
            return
        if self.has_turn:
            self._share.turn.release()
        self._share.drop(self)
        self._share, self.has_turn = None, False

    async def _read_large(self, size: int, share: Share) -> None:
        self._share = share
        before = len(self.data)
        share.join(self, size - before)
        while not self._is_whole:
            await self._in_time(share.reserve(self, _STEP + _MESSAGE))
            await self._read_on(_STEP)
            share.settle(self, len(self.data) - before)
        if len(self.data) > HUGE:
            await self._in_time(share.turn.acquire())
            self.has_turn = True

    async def _read_on(self, most: int) -> None:
        """Read to the end of the body, or `most` bytes of it and a little more."""
        if self._connection:
            self._connection.accept_body()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                await self._read_messages(most + len(self.data))
        except TimeoutError:
            raise problems.timed_out(self._bodies.client_timeout) from None
        self._left -= time.monotonic() - started

    async def _read_messages(self, most: int) -> None:
        while not self._is_whole and len(self.data) <= most:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            if self._connection and self._connection.body_problem:
                raise self._connection.body_problem
            self.data += message.get("body", b"")
            self._is_whole = not message.get("more_body", False)
            if len(self.data) > _MAX_BODY:
                raise problems.too_large(_MAX_BODY)

    async def _in_time(self, wait: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(self._bodies.request_timeout):
                await wait
        except TimeoutError:
            raise DeadlineExceeded from None
