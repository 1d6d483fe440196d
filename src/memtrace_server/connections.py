"""Connections: uvicorn's HTTP/1.1, but every stage ends in time, and nothing is read before its turn."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, cast

from attrs import field, frozen
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from memtrace_server import ids, logs, problems, times
from memtrace_server.messages import Response, refusal
from memtrace_server.problems import Problem

CONNECTION = "memtrace.connection"
"""Among a scope's extensions, the `Connection` that carries the request."""

_LOG = logging.getLogger("memtrace_server.requests")
_MAX_HEAD = 64 << 10  # bytes
_MAX_READ = 64 << 10  # bytes
_MAX_HEADERS = 100
_MAX_PATH = 4 << 10  # bytes; the contract's longest is 1,600, and to decode 64 KiB costs 30 requests
_END_OF_HEAD = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_MAX_SKIPPED = 64 << 10  # bytes of an unwanted body that are read so that the connection can be used again
_LINGER = 1.0  # seconds for a client to read a response whose request was not read to its end
_MAX_LEAVING = 100  # connections beyond the limit, or that only read their last response


class Slots:
    """The connections of a server: those that are served, and those that are about to be closed.

    Connections that are about to be closed do not count: clients that are refused and retry would otherwise
    take the room that they retry for.

    Attributes:
        limit: Connections that are served at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._served: set[Connection] = set()
        self._leaving: set[Connection] = set()

    def serve(self, connection: Connection) -> bool:
        """Return whether a connection is served, as it is from now on if there is room."""
        if connection not in self._served and len(self._served) < self.limit:
            self.remove(connection)
            self._served.add(connection)
        return connection in self._served

    def let_go(self, connection: Connection) -> bool:
        """Free a connection's slot, and return whether the connection may stay open for a moment."""
        self.remove(connection)
        if len(self._leaving) >= _MAX_LEAVING:
            return False
        self._leaving.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._served.discard(connection)
        self._leaving.discard(connection)


@frozen(kw_only=True)
class Limits:
    """Limits of a server's connections.

    Attributes:
        client_timeout: Seconds that a client may take in each stage of its connection.
        slots: The connections that are served.
        buffer: Receives what the event loop reads, for one connection at a time.
    """

    client_timeout: float
    slots: Slots
    buffer: bytearray = field(factory=lambda: bytearray(_MAX_READ), repr=False)


class Reader(asyncio.BufferedProtocol):
    """The protocol of a transport, which passes at most 64 KiB at once to a connection.

    A transport asks this kind of protocol for a buffer. To any other kind, uvloop passes up to 256 KiB at
    once, which a client without a key could make the server hold.

    Args:
        connection: The connection.
        buffer: Receives what is read.
    """

    def __init__(self, connection: Connection, buffer: bytearray) -> None:
        self._connection = connection
        self._buffer = buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.connection_made(cast("asyncio.Transport", transport))

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - a larger one is of no use
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(memoryview(self._buffer)[:nbytes]))

    def eof_received(self) -> None:
        self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)


class _Output:
    """The transport as uvicorn writes a response to it: to close it ends the connection in order."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class _Stage(Enum):
    """The stage of a connection."""

    HEAD = auto()
    """A request's head is read, or awaited."""

    BODY = auto()
    """The head was read, and the body is incomplete. The body is read when the application asks for it."""

    RESPONSE = auto()
    """The request is complete, and its response is being made. The next request has to wait."""

    END = auto()
    """Nothing is read any more; the client may read its last response."""


def accept(*, limits: Limits, **given: Any) -> Reader:  # noqa: ANN401 - as uvicorn calls it
    """Return the protocol of a new connection, given what uvicorn passes."""
    return Reader(Connection(**given, limits=limits), limits.buffer)


class Connection(HttpToolsProtocol):
    """A connection that waits for its client at most `client_timeout` seconds in each stage.

    One request is read at a time. Its body is read when the application asks for it (`accept_body`), or is
    skipped after the response. The application limits the time for a body and for the response.

    Attributes:
        body_problem: What is wrong with the body as HTTP, once the application waits for the body in vain.
        is_stopping: Whether the server is about to stop.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._stage = _Stage.HEAD
        self._unread = b""
        self._head = bytearray()  # as it was received so far
        self._ignores_upgrade = False
        self._left = 0  # bytes of the body that were not read yet; endless for chunks
        self._wants_body = False
        self._problem: Problem | None = None  # raised through the parser
        self._waits_since: float | None = None  # the loop's time; None while the client waits for the server
        self._patience = limits.client_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._on_lost: Callable[[], None] | None = None
        self.body_problem: Problem | None = None
        self.is_stopping = False

    @property
    def ends_after_response(self) -> bool:
        """Whether too much of the request is unread for another request to follow it.

        A client that waits to be asked for its body may send the body after the response, or not.
        """
        is_unread = self._left > _MAX_SKIPPED or self.cycle.waiting_for_100_continue
        return self._stage is _Stage.BODY and is_unread

    def accept_body(self) -> None:
        """Read the body of the request; called before the first `receive`."""
        self._wants_body = True
        self._read()

    def when_lost(self, call: Callable[[], None]) -> None:
        """Set the function that is called when the client leaves before its response."""
        self._on_lost = call

    def shutdown(self) -> None:
        """Close the connection after the response that is being made, which should come soon."""
        self.is_stopping = True
        super().shutdown()

    # --- what the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._output = _Output(transport, self._end)
        if not self._limits.slots.serve(self) and not self._limits.slots.let_go(self):
            transport.abort()
            return
        self._wait()
        self._look()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._read()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.client_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.slots.remove(self)
        self._unread = b""
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._on_lost is not None:
            self._on_lost()

    # --- what the parser calls

    def on_message_begin(self) -> None:
        if self._stage is not _Stage.HEAD:  # behind chunks, whose end only the parser finds
            raise self._refused(
                problems.malformed("Send no request behind a chunked body before its response")
            )
        self._wait()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= _MAX_HEADERS:
            raise self._refused(problems.head_too_large(f"more than {_MAX_HEADERS} headers"))
        super().on_header(name, value.rstrip(b" \t"))  # which the parser leaves, and which mean nothing

    def on_headers_complete(self) -> None:
        self._waits_since = None
        headers = dict(self.headers)
        names = [name for name, _ in self.headers]
        version = self.parser.get_http_version()
        if version != "1.0" and names.count(b"host") != 1:
            raise self._refused(problems.malformed("Send one Host header"))
        self.url, _, query = self.url.partition(b"?")
        if len(self.url) > _MAX_PATH:
            raise self._refused(problems.head_too_large(f"a path of more than {_MAX_PATH >> 10} KiB"))
        if not self._limits.slots.serve(self):  # connections that came before it stay served
            raise self._refused(problems.unavailable("Too many connections are open; retry later"))
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or names.count(b"transfer-encoding") > 1):
            raise self._refused(problems.malformed("Transfer-Encoding must be chunked"))
        self._left = sys.maxsize if coding else int(headers.get(b"content-length", 0))
        if self._left and self.parser.should_upgrade():  # the parser would take the body for a request
            self._ignores_upgrade = True
            raise self._refused(problems.malformed("A request with a body cannot ask for an upgrade"))
        self.expect_100_continue &= version != "1.0"  # which knows no response that is not the last
        self._stage = _Stage.BODY
        self._wants_body = False
        self.body_problem = None
        self.scope["extensions"] = cast("Any", {CONNECTION: self})
        super().on_headers_complete()  # parses the URL, which takes longer for 60 KiB than all of /health
        self.cycle.transport = cast("asyncio.Transport", self._output)
        self.scope["query_string"] = query

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._begin_head()
        else:
            self._stage = _Stage.RESPONSE

    # --- what the application calls, through uvicorn

    def on_response_complete(self) -> None:
        """Go on with the next request. Not as uvicorn does, which sets a timer of its own each time."""
        self._on_lost = None
        if self._stage is _Stage.END or self.transport.is_closing():
            return
        self.cycle.body = bytearray()  # bytes in older versions of uvicorn
        self._wait()
        if self._stage is _Stage.RESPONSE:
            self._begin_head()
        self._wants_body = True
        self.flow.resume_reading()
        self._read()

    # --- what these lean on

    def _end(self) -> None:
        """Close the connection after a response, which is written."""
        if self._stage is _Stage.RESPONSE:
            self.transport.close()
        else:
            self._linger()

    def _read(self) -> None:
        """Parse what was received, as far as it is wanted now.

        A head and a body are parsed up to their end and no further, so that what follows can wait.
        """
        while self._unread and not self.transport.is_closing():
            if self._stage is _Stage.HEAD:
                if not self._head:
                    self._unread = self._unread.lstrip(b"\r\n")  # or each empty line would count as a head
                size = self._rest_of_head()
                self._head += self._unread[:size]
                if len(self._head) > _MAX_HEAD:
                    self._refuse(problems.head_too_large(f"more than {_MAX_HEAD >> 10} KiB"))
                    return
            elif self._stage is _Stage.BODY and self._wants_body:
                size = min(self._left, len(self._unread))
                self._left -= size
            else:
                self.flow.pause_reading()
                return
            part, self._unread = self._unread[:size], self._unread[size:]
            self._parse(part)

    def _parse(self, part: bytes) -> None:
        try:
            self.parser.feed_data(part)
        except HttpParserUpgrade:  # a request to speak another protocol, which may be ignored
            pass
        except HttpParserError:
            head = bytearray(_UPGRADE.sub(b"\r\nx-upgrade:", self._head))
            if not self._ignores_upgrade or head == self._head:
                self._refuse(self._problem or problems.malformed("This is not HTTP/1.1"))
            else:  # as clients of Java send it, which would rather speak HTTP/2
                self._head, self._problem = head, None
                self.parser = HttpRequestParser(self)
                self._parse(bytes(head))

    def _rest_of_head(self) -> int:
        """Return the number of unread bytes up to the end of the head, or of all of them."""
        before = self._head[1 - len(_END_OF_HEAD) :]  # as the end may come in parts
        end = (before + self._unread).find(_END_OF_HEAD)
        return len(self._unread) if end < 0 else end + len(_END_OF_HEAD) - len(before)

    def _begin_head(self) -> None:
        self._stage = _Stage.HEAD
        self._head.clear()
        self._ignores_upgrade = False

    def _wait(self) -> None:
        """Measure the time of the client from now on."""
        self._waits_since = self.loop.time()

    def _look(self) -> None:
        """Close the connection if its client took too long; otherwise set the timer for then.

        One timer serves all stages: to set one for each of them would cost every request a tenth.
        """
        patience = self._patience
        if self._waits_since is not None:
            patience += self._waits_since - self.loop.time()
        if patience <= 0:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(patience, self._look)

    def _refused(self, problem: Problem) -> Problem:
        """Record and return a problem to raise through the parser, which reports an error of its own."""
        self._problem = problem
        return problem

    def _refuse(self, problem: Problem) -> None:
        """Respond to what cannot be given to the application, and close the connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the request before this one gets its response first
            if self._stage is _Stage.BODY:  # what is wrong is the body of that very request
                self.body_problem = problem
                self.cycle.message_event.set()
            self._stage = _Stage.END
            return
        request_id = ids.new_id("req_", times.now())
        response = refusal(problem, request_id)
        self.transport.write(self._rendered(response, request_id))
        logs.request(_LOG, request_id, status=response.status, client=self.client and self.client[0])
        self._linger()

    def _rendered(self, response: Response, request_id: str) -> bytes:
        headers = {
            **{name.decode(): value.decode() for name, value in self.server_state.default_headers},
            **response.headers,
            "content-type": "application/json",
            "content-length": str(len(response.body)),
            "x-request-id": request_id,
            "connection": "close",
        }
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body

    def _linger(self) -> None:
        """Close the connection, but leave the client the time to read its response.

        To close at once while there is something unread makes the system reset the connection, and the client
        may lose the response (https://www.rfc-editor.org/rfc/rfc9112#section-9.6).
        """
        if not self._limits.slots.let_go(self):
            self.transport.close()
            return
        self._stage = _Stage.END
        self._unread = b""
        self.flow.pause_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if not self.transport.get_write_buffer_size():
            self._patience = min(_LINGER, self._limits.client_timeout)
        self._wait()
        if self._timer is not None:
            self._timer.cancel()
        self._look()
