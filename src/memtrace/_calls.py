"""The calls that are being sent: so many at once, each until its deadline or until the client is closed."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import anyio
import httpcore

from memtrace._deadlines import Deadline


class Slots:
    """So many calls at once; more wait for their turn."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = threading.Semaphore(number)

    def acquire(self, seconds: float | None) -> None:
        """Wait for a slot, so many seconds at the most.

        Raises:
            httpcore.PoolTimeout: If none became free.
        """
        if not self._free.acquire(timeout=seconds):
            raise httpcore.PoolTimeout(f"all {self._number} were in use")

    def release(self) -> None:
        """Give a slot back."""
        self._free.release()


class AsyncSlots:
    """The same for tasks of an event loop."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = anyio.Semaphore(number, fast_acquire=True)

    async def acquire(self, seconds: float | None) -> None:
        """Wait for a slot, so many seconds at the most.

        Raises:
            httpcore.PoolTimeout: If none became free.
        """
        with anyio.move_on_after(seconds):
            await self._free.acquire()
            return
        raise httpcore.PoolTimeout(f"all {self._number} were in use")

    def release(self) -> None:
        """Give a slot back."""
        self._free.release()


class Progress:
    """A call that runs.

    Attributes:
        connection: What it is sent on; None as long as it waits for one, or if nobody knows.
    """

    connection: httpcore.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: who reads and writes keeps the deadline."""


class Calls:
    """The calls of threads. Their connections end them."""

    def until(self, deadline: Deadline) -> Progress:  # noqa: ARG002  # as its counterpart
        """Run a call, in a `with` block."""
        return Progress()

    def end(self) -> None:
        """Do nothing: that is done by ending the connections."""


class AsyncProgress:
    """A call that runs in a task, which is cancelled at the deadline.

    Attributes:
        connection: What it is sent on; None as long as it waits for one, or if nobody knows.
    """

    def __init__(self, scopes: set[anyio.CancelScope], seconds: float | None) -> None:
        self.connection: httpcore.AsyncHTTPConnection | None = None
        self._scopes = scopes
        self._scope = anyio.move_on_after(seconds)

    def __enter__(self) -> Self:
        self._scopes.add(self._scope)
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._scopes.discard(self._scope)
        self._scope.__exit__(exc_type, exc_value, traceback)
        if self._scope.cancelled_caught:
            raise self._late()

    def _late(self) -> Exception:
        # What a connection tells of itself begins with a quoted URL once it is one.
        if self.connection is not None and self.connection.info().startswith("CONNECTI"):
            return httpcore.ConnectTimeout("timed out")
        return TimeoutError("timed out")


class AsyncCalls:
    """The calls of tasks."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()

    def until(self, deadline: Deadline) -> AsyncProgress:
        """Run a call, in a `with` block, which raises TimeoutError or ConnectTimeout at the deadline."""
        return AsyncProgress(self._scopes, deadline.left())

    def end(self) -> None:
        """End all calls that run: each raises TimeoutError."""
        for scope in list(self._scopes):
            scope.cancel()
