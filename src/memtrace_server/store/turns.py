"""A fair lock."""

from __future__ import annotations

import threading
import time
from typing import Self


class Turns:
    """A lock with a queue of callers.

    A thread that releases a plain lock and acquires it again usually gets it at once, and others wait for
    seconds. With this lock, it queues behind them. Any thread may release the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = threading.Lock()  # held by the thread that waits for the lock

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock within a time (s); without blocking, only if no thread waits for it."""
        ends_at = time.monotonic() + timeout
        if not self._next.acquire(blocking, timeout):
            return False
        try:
            return self._lock.acquire(
                blocking, max(0.0, ends_at - time.monotonic()) if timeout > 0 else timeout
            )
        finally:
            self._next.release()

    def release(self) -> None:
        """Release the lock to the next thread."""
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
