"""The server's core in the client's own process."""

from __future__ import annotations

import threading

from memtrace_server import tenants
from memtrace_server.core import Core
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.messages import Request, Response
from memtrace_server.store import open_store
from memtrace_server.store.protocol import StoreBusy, StoreUnavailable


class ConnectError(Exception):
    """The store cannot be opened."""


class EmbeddedServer:
    """Responds to requests from a store of its own, without a key: its caller has the file.

    Args:
        url: The store, as `open_store` takes it. It is opened at the first request.
        org: The organisation that requests are made as, by its id or name; the default one if None.

    Raises:
        ValueError: The URL names no store.
    """

    def __init__(self, url: str, org: str | None = None) -> None:
        self._store = open_store(url)
        self._org = org
        self._core: Core | None = None
        self._opening = threading.Lock()

    def handle(self, request: Request, deadline: Deadline | None = None) -> Response:
        """Return the response to a request; blocks until a write is committed.

        Args:
            request: The request.
            deadline: Until when to wait for other processes that hold the store's lock, or to read; a cancel
                by another thread ends both.

        Raises:
            ConnectError: The store cannot be opened.
            TimeoutError: It was not done until then, and nothing was written.
        """
        deadline = deadline or Deadline()
        try:
            return (self._core or self._open(deadline)).handle(request, deadline)
        except (StoreBusy, DeadlineExceeded) as error:
            raise TimeoutError(str(error)) from error

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _open(self, deadline: Deadline) -> Core:
        if not self._opening.acquire(timeout=deadline.left()):
            raise TimeoutError("another thread opens the store")
        try:
            if self._core is None:
                local = tenants.local_principal(self._store, deadline, self._org)
                self._core = Core(self._store, local=local)
        except StoreBusy:
            raise
        except (StoreUnavailable, ValueError) as error:
            raise ConnectError(str(error)) from error
        finally:
            self._opening.release()
        return self._core
