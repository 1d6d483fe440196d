"""Work that goes on while its caller does something else: in a thread, or in a task of the event loop.

The two classes do the same for a client that blocks and for one that awaits, and cannot be derived from each
other: a thread outlives the main thread if it is told to, and a task never outlives its event loop.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from time import monotonic
from typing import TYPE_CHECKING, Any

from memtrace import _running as running

if TYPE_CHECKING:
    import asyncio

# Seconds. Nothing wakes a thread when the main thread ends, so it has to look.
_LOOK = 0.1
_NAME = "memtrace-buffer"


class Background:
    """A thread that works in the background, one at a time.

    Attributes:
        turn: A lock for what only one thread may do at a time.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._wake = threading.Event()

    @property
    def is_ending(self) -> bool:
        """Whether the interpreter waits for nothing but threads such as this one."""
        return not threading.main_thread().is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Start to work. The interpreter does not end before the work does.

        Raises:
            RuntimeError: If there is no thread to be had, as when the interpreter is about to end.
        """
        # A daemon would be stopped in mid-request, and a function of atexit does not run in processes that
        # multiprocessing forks. The work ends by itself as soon as there is nothing left to do.
        threading.Thread(target=work, name=_NAME, daemon=False).start()

    def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, or the interpreter ends, but not longer than this."""
        deadline = monotonic() + seconds
        while not self.is_ending and (left := deadline - monotonic()) > 0:
            if self._wake.wait(min(left, _LOOK)):
                break
        self._wake.clear()

    def wake(self) -> None:
        """End the waiting."""
        self._wake.set()

    def shield(self) -> AbstractContextManager[object]:
        """Keep a cancellation out, of which threads know nothing."""
        return contextlib.nullcontext()


class AsyncBackground:
    """A task that works in the background, one at a time, on asyncio or trio.

    Attributes:
        turn: A lock for what only one task may do at a time.
        is_ending: Whether the interpreter is about to end; a task never sees that.
    """

    is_ending = False

    def __init__(self) -> None:
        # Here, as who blocks needs none of it.
        import anyio  # noqa: PLC0415

        self._anyio = anyio
        self.turn = anyio.Lock()
        self._wake = anyio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start to work, outside of any task group or cancel scope of the caller."""
        loop: Any = running.loop()
        if loop is None:
            sys.modules["trio"].lowlevel.spawn_system_task(work, name=_NAME)
        else:
            # A loop does not hold on to its tasks. And what the first caller traces has no part in this.
            self._task = loop.create_task(work(), name=_NAME, context=contextvars.Context())

    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, but not longer than this."""
        with self._anyio.move_on_after(seconds):
            await self._wake.wait()
        self._wake = self._anyio.Event()

    def wake(self) -> None:
        """End the waiting."""
        self._wake.set()

    def shield(self) -> AbstractContextManager[object]:
        """Keep a cancellation of the scope around out."""
        return self._anyio.CancelScope(shield=True)
