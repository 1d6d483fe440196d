"""Work in the background: a thread, or a task of an event loop.

Neither class can be derived from the other: the interpreter waits for threads; tasks end with their loop.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import Any
from weakref import WeakSet

import attrs

from memtrace.exceptions import BufferedWriteError

_NAME = "memtrace-buffer"
# Seconds. The end of the main thread wakes no other thread, so a thread has to look.
_POLL = 0.1
# Seconds to wait for a thread, as its `on_failure` may wait for the caller.
_JOIN = 5.0

logger = logging.getLogger("memtrace")

# All buffers; and those with memories that are not stored, which must not vanish with the last reference.
BUFFERS: WeakSet[Any] = WeakSet()
HOLDING: set[Any] = set()


class Worker:
    """A thread. `turn` is for what one thread at a time may do; `wake` ends a wait."""

    is_here = True
    shield = nullcontext  # threads are not cancelled

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.wake = threading.Event()
        self.is_working = False
        self._thread = threading.Thread()

    def now(self) -> float:
        """Return the time; infinity, by which all is due, if the interpreter waits only for such threads."""
        return monotonic() if threading.main_thread().is_alive() else math.inf

    def start(self, work: Callable[[], None]) -> None:
        """Start the work; RuntimeError if no thread can be started, as when the interpreter ends."""
        # A daemon would be stopped in mid-request, and forks of multiprocessing call no function of atexit.
        self._thread = threading.Thread(target=work, name=_NAME, daemon=False)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait so long, or less."""
        self.wake.wait(min(seconds, _POLL))
        self.wake.clear()

    def join(self) -> None:
        """Wait a while until the work has ended; threads that work in the background wait for no other."""
        if self._thread.is_alive() and threading.current_thread().name != _NAME:
            self._thread.join(_JOIN)


class AsyncWorker:
    """A task on asyncio or trio. `turn` is for what one task at a time may do; `wake` ends a wait."""

    now = staticmethod(monotonic)  # no task sees the interpreter end

    def __init__(self) -> None:
        import anyio  # noqa: PLC0415  # the blocking client needs none of it

        self._anyio = anyio
        self._loop = _event_loop()
        self.is_working = False
        self.turn = anyio.Lock()
        self.wake = anyio.Event()
        self.shield = partial(anyio.CancelScope, shield=True)

    @property
    def is_here(self) -> bool:
        """Whether its event loop is the running one. RuntimeError if it is another, which has not ended."""
        if self._loop is _event_loop():
            return True
        call_soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
        try:
            call_soon(int)
        except RuntimeError:
            return False
        raise RuntimeError("this buffer is in use on another event loop; make one for each event loop")

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the work; RuntimeError if the event loop takes no more tasks."""
        # Outside the caller's task groups, cancel scopes and context.
        if running_loop() is None:
            sys.modules["trio"].lowlevel.spawn_system_task(work, name=_NAME)
        else:
            # asyncio keeps no reference to its tasks.
            self._task = self._loop.create_task(work(), name=_NAME, context=contextvars.Context())

    async def wait(self, seconds: float) -> None:
        """Wait so long, or less."""
        with self._anyio.move_on_after(seconds):
            await self.wake.wait()
        self.wake = self._anyio.Event()

    def join(self) -> None:
        """Do nothing, as no other task runs while failures are reported."""


def running_loop() -> object:
    """Return asyncio's event loop that runs this code; None if there is none, as with trio."""
    try:
        # Code that runs on asyncio has imported it.
        running: object = sys.modules["asyncio"].get_running_loop()
    except (KeyError, RuntimeError):
        return None
    return running


def _event_loop() -> Any:  # noqa: ANN401  # neither asyncio nor trio need be installed or imported
    return running_loop() or sys.modules["trio"].lowlevel.current_trio_token()


@atexit.register
def finish_at_exit() -> None:
    """Store what buffers still hold, or log that it is lost; threads and event loops have ended by then."""
    for buffer in list(HOLDING):
        try:
            buffer._finish_at_exit()  # noqa: SLF001  # no method for users
        except BufferedWriteError as error:
            logger.error("Lost: %s", error)  # noqa: TRY400  # the traceback ends here


def after_fork() -> None:
    """Empty the buffers in a forked process; its parent stores what they hold."""
    HOLDING.clear()
    for buffer in list(BUFFERS):
        buffer._start_with(attrs.evolve(buffer._queue))  # noqa: SLF001  # the same


# Windows has no forks.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=after_fork)
