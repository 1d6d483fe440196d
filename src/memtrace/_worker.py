"""Work in the background: a thread, or a task of an event loop.

Neither class can be derived from the other: the interpreter waits for threads; tasks end with their loop.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any
from weakref import WeakSet

_NAME = "memtrace-buffer"
# Seconds. The end of the main thread wakes no other thread, so a thread has to look.
_POLL = 0.1

# Seconds for which a buffer that is closed waits for what tells of failures: that may wait for the caller.
_TELLING = 5.0
# Threads that tell of failures, of any buffer.
_telling: list[int] = []
_told = threading.Condition()

# All buffers, and those that hold memories, which must not vanish with the last reference.
BUFFERS: WeakSet[Any] = WeakSet()
HOLDING: set[Any] = set()


class Worker:
    """A thread. `turn` is for what one thread at a time may do; `wake` ends a wait."""

    is_here = True

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.wake = threading.Event()
        self._telling = 0  # threads

    @property
    def is_ending(self) -> bool:
        """Whether the interpreter waits only for threads like this one."""
        return not threading.main_thread().is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Start the work; RuntimeError if no thread can be started, as when the interpreter ends."""
        # A daemon would be stopped in mid-request, and forks of multiprocessing call no function of atexit.
        threading.Thread(target=work, name=_NAME, daemon=False).start()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the interpreter ends."""
        deadline = monotonic() + seconds
        while not self.is_ending and (left := deadline - monotonic()) > 0:
            if self.wake.wait(min(left, _POLL)):
                break
        self.wake.clear()

    def begin_to_tell(self) -> None:
        """Say that this thread is about to tell of failures, until `end_telling`."""
        with _told:
            self._telling += 1
            _telling.append(threading.get_ident())

    def end_telling(self) -> None:
        """Say that they are told."""
        with _told:
            self._telling -= 1
            _telling.remove(threading.get_ident())
            _told.notify_all()

    def wait_until_told(self) -> None:
        """Wait a while until no thread tells of failures any more; one that does so waits for no other."""
        with _told:
            if threading.get_ident() not in _telling:
                _told.wait_for(lambda: not self._telling, _TELLING)

    def shield(self) -> AbstractContextManager[object]:
        """Do nothing, as threads are not cancelled."""
        return contextlib.nullcontext()


class AsyncWorker:
    """A task on asyncio or trio. `turn` is for what one task at a time may do; `wake` ends a wait."""

    is_ending = False  # no task sees that

    def __init__(self) -> None:
        import anyio  # noqa: PLC0415  # the blocking client needs none of it

        self._anyio = anyio
        self._loop = _event_loop()
        self._task: object = None
        self.turn = anyio.Lock()
        self.wake = anyio.Event()

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
        """Wait so long."""
        with self._anyio.move_on_after(seconds):
            await self.wake.wait()
        self.wake = self._anyio.Event()

    def begin_to_tell(self) -> None:
        """Do nothing, as no other task runs while failures are told of."""

    end_telling = wait_until_told = begin_to_tell

    def shield(self) -> AbstractContextManager[object]:
        """Keep out the cancellation of surrounding scopes."""
        return self._anyio.CancelScope(shield=True)


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
    """Finish the buffers that still hold memories; threads and event loops have ended by then."""
    for buffer in list(HOLDING):
        buffer._finish_at_exit()  # noqa: SLF001  # no method for users


def after_fork() -> None:
    """Empty the buffers in a forked process; its parent stores what they hold."""
    HOLDING.clear()
    _telling.clear()
    for buffer in list(BUFFERS):
        buffer._empty()  # noqa: SLF001  # the same


# Windows has no forks.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=after_fork)
