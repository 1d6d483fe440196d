"""Connections of our own to one server."""

from __future__ import annotations

import collections

import httpcore

from memtrace._answers import Answer
from memtrace._calls import AsyncCalls, AsyncSlots
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._network import FAILURES, AsyncNetwork, certificates
from memtrace._requests import Call

# Connections at once. Who comes when all are in use waits for one, and that counts as time of its call.
MOST = 100


class AsyncPool:
    """Sends each request on a connection that is free, or a new one, up to MOST of them.

    httpcore's own pool is for many servers: it looks through all that is open, and all that waits, for each
    request, which takes most of the time once a thousand tasks share a client.

    Args:
        root: Where the server is.

    Raises:
        OSError: If the certificates to trust cannot be read.
    """

    failures = FAILURES

    def __init__(self, root: str) -> None:
        url = httpcore.URL(root)
        self._origin = url.origin
        self._prefix = url.target.rstrip(b"/")
        self._certificates = certificates() if url.scheme == b"https" else None
        self._network = AsyncNetwork()
        self._calls = AsyncCalls()
        self._slots = AsyncSlots(MOST)
        # What was used last is used first, so that what is not needed expires.
        self._idle: collections.deque[httpcore.AsyncHTTPConnection] = collections.deque()
        self._is_closed = False

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer.

        Raises:
            ResponseValidationError: If the answer cannot be read.
            Exception: One of `failures`, if there was no answer.
        """
        request = httpcore.Request(
            call.method,
            httpcore.URL(
                scheme=self._origin.scheme,
                host=self._origin.host,
                port=self._origin.port,
                target=self._prefix + call.target,
            ),
            headers=[*config.raw_headers, *call.raw_headers],
            content=call.content,
            extensions={"timeout": self._network.timeouts(deadline)},
        )
        with self._calls.until(deadline) as progress:
            await self._slots.acquire(deadline.wait())
            try:
                connection = progress.connection = await self._taken()
                try:
                    return await self._exchange(connection, request, call, config)
                finally:
                    await self._put_back(connection)
            finally:
                self._slots.release()

    async def aclose(self) -> None:
        """Close all connections, and end the calls that run."""
        self._is_closed = True
        self._calls.end()
        self._network.take_down()
        await self._drop_idle()

    async def _exchange(
        self, connection: httpcore.AsyncHTTPConnection, request: httpcore.Request, call: Call, config: Config
    ) -> Answer:
        response = await connection.handle_async_request(request)
        answer = Answer(call, config, response.status, response.headers, dict(response.extensions))
        try:
            async for piece in response.aiter_stream():
                answer.add(piece)
        finally:
            await response.aclose()
        answer.finish()
        return answer

    async def _taken(self) -> httpcore.AsyncHTTPConnection:
        while (connection := self._popped()) is not None:
            # That is also what the server has closed.
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return self._network.dial(self._origin, self._certificates)

    async def _put_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        if not connection.is_available():
            # What failed has closed itself.
            return
        self._idle.append(connection)
        if self._is_closed:
            await self._drop_idle()
        # Those that are not needed any more are at the other end.
        elif len(self._idle) > 1 and self._idle[0].has_expired():
            await self._drop_expired()

    async def _drop_idle(self) -> None:
        while (connection := self._popped()) is not None:
            await connection.aclose()

    async def _drop_expired(self) -> None:
        kept = []
        while (connection := self._popped()) is not None:
            if connection.has_expired():
                await connection.aclose()
            else:
                kept.append(connection)
        self._idle.extend(reversed(kept))

    def _popped(self) -> httpcore.AsyncHTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            # Not asked for before, as another thread may take the last one in between.
            return None
