"""Sending a request to the server's core in this process."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread  # unasync: remove

from memtrace._config import Config
from memtrace._request import Call, OwnKey
from memtrace._response import RawResponse
from memtrace._retry import Deadline


class AsyncEmbeddedTransport:
    """Answers each request from a store in this process.

    Args:
        store: The store's URL.

    Raises:
        ImportError: If the server is not installed.
    """

    proxy: str | None = None

    def __init__(self, store: str) -> None:
        try:
            # Here, as those who send over HTTP need none of it.
            from memtrace_server.embedded import EmbeddedServer  # noqa: PLC0415
            from memtrace_server.messages import Request  # noqa: PLC0415
        except ImportError as error:
            from memtrace_server.store_url import StoreUrl  # noqa: PLC0415  # it needs nothing of an extra

            url = StoreUrl.parse(store)
            extra = "server" if url.dsn is None else "postgres"
            raise ImportError(
                f"{url}: an embedded store needs the server: {error}; pip install 'memtrace-sdk[{extra}]'"
            ) from error
        self._server, self._request = EmbeddedServer(store), Request

    async def send(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Answer a request; returns when a write is committed.

        Raises:
            Exception: If the store cannot be opened, or the deadline passed while another
                process wrote, or until a thread became free.
        """
        handle: Any = self._server.handle
        handle = partial(  # unasync: remove
            anyio.to_thread.run_sync,
            handle,
            abandon_on_cancel="wait=" in call.query,  # a tail may wait for long after its caller has left
        )
        # No response is lost on this way, and to keep a key would take a tenth of a write's time.
        headers = {n.lower(): value for n, value in call.headers.items() if not isinstance(value, OwnKey)}
        request = self._request(
            method=call.method, path=call.path, query=call.query, headers=headers, body=call.content or b""
        )
        response = await handle(request, deadline.left())
        received = {name.lower(): value for name, value in response.headers.items()}
        return RawResponse(call, config, response.status, received, response.body)

    async def aclose(self) -> None:
        """Close the store."""
        close: Any = self._server.close
        close = partial(anyio.to_thread.run_sync, close)  # unasync: remove
        await close()
