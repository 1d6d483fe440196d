"""The server's core in the client's own process, behind an httpx transport."""

from __future__ import annotations

import threading

import anyio.to_thread
import httpx

from memtrace_server import tenants
from memtrace_server.core import Core
from memtrace_server.messages import Request
from memtrace_server.store import open_store
from memtrace_server.store.protocol import StoreUnavailable


class EmbeddedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers a client's requests from a store of its own, without a key: the client has the file.

    Args:
        url: The store, as `open_store` takes it. It is opened at the first request.

    Raises:
        ValueError: The URL names no store.
    """

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        self._core: Core | None = None
        self._opening = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; blocks until a write is committed."""
        return self._handle(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, with the work done in a thread."""
        body = await request.aread()
        return await anyio.to_thread.run_sync(self._handle, request, body)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    async def aclose(self) -> None:
        """Let go of the store, in a thread."""
        await anyio.to_thread.run_sync(self._store.close)

    def _handle(self, request: httpx.Request, body: bytes) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        try:
            core = self._open()
        except (StoreUnavailable, ValueError) as error:  # ValueError: a newer Memtrace wrote the file
            raise httpx.ConnectError(str(error), request=request) from error
        response = core.handle(
            Request(
                method=request.method,
                path=path,
                query=query,
                headers={name.lower(): value for name, value in request.headers.items()},
                body=body,
            )
        )
        return httpx.Response(
            response.status, headers=dict(response.headers), content=response.body, request=request
        )

    def _open(self) -> Core:
        with self._opening:
            if self._core is None:
                self._core = Core(self._store, local=self._store.write(tenants.default_principal))
            return self._core
