"""The server in the client's own process, as a transport for httpx."""

from __future__ import annotations

import anyio.to_thread
import httpx

from memtrace_server.embedded import ConnectError, EmbeddedServer
from memtrace_server.messages import Request


class EmbeddedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Responds to a client's requests from a store of its own.

    Args:
        url: The store, as `open_store` takes it. It is opened at the first request.
        org: The organisation that requests are made as, by its id or name; the default one if None.

    Raises:
        ValueError: The URL names no store.
    """

    def __init__(self, url: str, org: str | None = None) -> None:
        self._server = EmbeddedServer(url, org)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request; blocks until a write is committed."""
        return self._handle(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, with the work done in a thread."""
        body = await request.aread()
        return await anyio.to_thread.run_sync(self._handle, request, body)

    def close(self) -> None:
        """Close the store."""
        self._server.close()

    async def aclose(self) -> None:
        """Close the store, in a thread."""
        await anyio.to_thread.run_sync(self._server.close)

    def _handle(self, request: httpx.Request, body: bytes) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(method=request.method, path=path, query=query, headers=headers, body=body)
        try:
            response = self._server.handle(asked)
        except ConnectError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return httpx.Response(
            response.status, headers=dict(response.headers), content=response.body, request=request
        )
