"""The server's core in the client's own process."""

from __future__ import annotations

import threading

from memtrace_server import tenants
from memtrace_server.core import Core
from memtrace_server.messages import Request, Response
from memtrace_server.store import open_store
from memtrace_server.store.protocol import StoreUnavailable


class ConnectError(Exception):
    """The store cannot be opened."""


class EmbeddedServer:
    """Answers requests from a store of its own, without a key: who asks has the file.

    Args:
        url: The store, as `open_store` takes it. It is opened at the first request.

    Raises:
        ValueError: The URL names no store.
    """

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        self._core: Core | None = None
        self._opening = threading.Lock()

    def handle(self, request: Request) -> Response:
        """Answer a request; blocks until a write is committed.

        Raises:
            ConnectError: The store cannot be opened.
        """
        return (self._core or self._open()).handle(request)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _open(self) -> Core:
        with self._opening:
            if self._core is None:
                try:
                    principal = self._store.write(tenants.default_principal)
                except (StoreUnavailable, ValueError) as error:  # ValueError: a newer Memtrace wrote the file
                    raise ConnectError(str(error)) from error
                self._core = Core(self._store, local=principal)
            return self._core
