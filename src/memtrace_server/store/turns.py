"""A lock whose next owner is whoever waited first."""

from __future__ import annotations

import threading
import time
from typing import Self


class Turns:
    """A lock for which callers queue.

    With a plain lock, a thread that releases it and wants it again usually gets it, and others wait for
    seconds. Here it queues behind them. Another thread than its owner may release it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = threading.Lock()  # held by the one that waits for the lock

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, within a time (s) if one is given; without blocking only if nobody waits for it."""
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
        """Let the next one have the lock."""
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
