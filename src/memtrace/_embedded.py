"""The ways to the server's core in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from memtrace._answers import Answer
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call, OwnKey

if TYPE_CHECKING:
    from memtrace_server.embedded import EmbeddedServer
    from memtrace_server.messages import Request, Response
    from memtrace_server.transport import EmbeddedTransport


class Embedded:
    """Answers each request from a store in this process.

    Args:
        store: The store's URL.

    Attributes:
        failures: What `send` raises when there was no answer.

    Raises:
        ImportError: If the server is not installed.
    """

    def __init__(self, store: str) -> None:
        self._server, self.failures = _server(store)

    def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Answer a request; blocks until a write is committed.

        Raises:
            Exception: One of `failures`, if the store cannot be opened, or another process wrote until the
                deadline.
        """
        return _answer(call, config, self._server.handle(_request(call), deadline.left()))

    def close(self) -> None:
        """Let go of the store."""
        self._server.close()


class AsyncEmbedded:
    """The same for tasks, with the work done in threads.

    Args:
        store: The store's URL.

    Attributes:
        failures: What `send` raises when there was no answer.

    Raises:
        ImportError: If the server is not installed.
    """

    def __init__(self, store: str) -> None:
        self._server, self.failures = _server(store)

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Answer a request.

        Raises:
            Exception: One of `failures`, if the store cannot be opened, or no thread became free in time.
        """
        with anyio.move_on_after(deadline.left()):
            response = await anyio.to_thread.run_sync(self._server.handle, _request(call), deadline.left())
            return _answer(call, config, response)
        raise TimeoutError("timed out")

    async def aclose(self) -> None:
        """Let go of the store, in a thread."""
        await anyio.to_thread.run_sync(self._server.close)


def embedded_transport(store: str, org: str | None = None) -> EmbeddedTransport:
    """Open the store of a URL, behind a transport for httpx.

    Args:
        store: The store's URL.
        org: The organisation that requests are made as, by its id or name; the default one if None.

    Raises:
        ImportError: If the server is not installed.
    """
    try:
        from memtrace_server.transport import EmbeddedTransport  # noqa: PLC0415  # see _server
    except ImportError as error:
        raise _missing(store, error) from error
    return EmbeddedTransport(store, org)


def _server(store: str) -> tuple[EmbeddedServer, tuple[type[Exception], ...]]:
    try:
        # Here, as who talks to a server over HTTP needs none of it.
        from memtrace_server.embedded import ConnectError, EmbeddedServer  # noqa: PLC0415
    except ImportError as error:
        raise _missing(store, error) from error
    return EmbeddedServer(store), (ConnectError, TimeoutError)


def _missing(store: str, error: ImportError) -> ImportError:
    return ImportError(
        f"an embedded store needs the server: pip install 'memtrace-sdk[server]' ({store}: {error})"
    )


def _request(call: Call) -> Request:
    from memtrace_server.messages import Request  # noqa: PLC0415  # see _server

    return Request(
        method=call.method,
        path=call.path,
        query=call.query,
        # On the way from here no answer is lost, and to keep a key would take a tenth of a write's time.
        headers={n.lower(): value for n, value in call.headers.items() if not isinstance(value, OwnKey)},
        body=call.content or b"",
    )


def _answer(call: Call, config: Config, response: Response) -> Answer:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    answer = Answer(call, config, response.status, headers, {})
    answer.take(response.body)
    return answer
