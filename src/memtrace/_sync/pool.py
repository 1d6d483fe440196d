# Derived from src/memtrace/_async/pool.py by scripts/unasync.py: edit that, then run `make regen`.
"""Connections of our own to one server."""

from __future__ import annotations

import collections

import httpcore

from memtrace._answers import Answer
from memtrace._calls import Calls, Slots
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._network import FAILURES, Network, certificates
from memtrace._requests import Call

# Connections at once. Who comes when all are in use waits for one, and that counts as time of its call.
MOST = 100


class Pool:
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
        self._network = Network()
        self._calls = Calls()
        self._slots = Slots(MOST)
        # What was used last is used first, so that what is not needed expires.
        self._idle: collections.deque[httpcore.HTTPConnection] = collections.deque()
        self._is_closed = False

    def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
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
            self._slots.acquire(deadline.wait())
            try:
                connection = progress.connection = self._taken()
                try:
                    return self._exchange(connection, request, call, config)
                finally:
                    self._put_back(connection)
            finally:
                self._slots.release()

    def close(self) -> None:
        """Close all connections, and end the calls that run."""
        self._is_closed = True
        self._calls.end()
        self._network.take_down()
        self._drop_idle()

    def _exchange(
        self, connection: httpcore.HTTPConnection, request: httpcore.Request, call: Call, config: Config
    ) -> Answer:
        response = connection.handle_request(request)
        answer = Answer(call, config, response.status, response.headers, dict(response.extensions))
        try:
            for piece in response.iter_stream():
                answer.add(piece)
        finally:
            response.close()
        answer.finish()
        return answer

    def _taken(self) -> httpcore.HTTPConnection:
        while (connection := self._popped()) is not None:
            # That is also what the server has closed.
            if not connection.has_expired():
                return connection
            connection.close()
        return self._network.dial(self._origin, self._certificates)

    def _put_back(self, connection: httpcore.HTTPConnection) -> None:
        if not connection.is_available():
            # What failed has closed itself.
            return
        self._idle.append(connection)
        if self._is_closed:
            self._drop_idle()
        # Those that are not needed any more are at the other end.
        elif len(self._idle) > 1 and self._idle[0].has_expired():
            self._drop_expired()

    def _drop_idle(self) -> None:
        while (connection := self._popped()) is not None:
            connection.close()

    def _drop_expired(self) -> None:
        kept = []
        while (connection := self._popped()) is not None:
            if connection.has_expired():
                connection.close()
            else:
                kept.append(connection)
        self._idle.extend(reversed(kept))

    def _popped(self) -> httpcore.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            # Not asked for before, as another thread may take the last one in between.
            return None
