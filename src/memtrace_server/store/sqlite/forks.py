"""Open files when their process forks.

SQLite keeps a list of its process's locks in memory. A forked process inherits the list, but not the locks.
The parent may then remove the child's writes with the write-ahead log, even writes through new connections
(https://sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork"). So before a
fork, each store closes its connections as soon as no thread uses them; both processes open new ones at their
next use.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

_TIMEOUT = 5.0  # seconds that a fork waits for threads that use a store


class Forkable(Protocol):
    """An object with open files."""

    def suspend(self, ends_at: float) -> None:
        """Close all files when no thread uses them, and prevent opening until `resume`.

        Files that are in use until `ends_at` stay open, and `begin_anew` prevents opening files in the child.
        """

    def resume(self) -> None:
        """Continue after a fork."""

    def begin_anew(self) -> None:
        """Continue in the forked process, which has only this thread."""


class Users:
    """A gate through which many threads use a resource until it is shut."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: list[int] = []  # the ids of their threads
        self._is_shut = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Use the resource as soon as the gate is open."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_shut)
            thread = threading.get_ident()  # another thread may close a generator that uses the resource
            self._inside.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._inside.remove(thread)
                self._changed.notify_all()

    def shut(self, ends_at: float) -> bool:
        """Shut the gate; return whether the last user left before a moment."""
        with self._changed:
            self._is_shut = True
            if threading.get_ident() in self._inside:
                return False
            return self._changed.wait_for(lambda: not self._inside, max(0.0, ends_at - time.monotonic()))

    def open(self) -> None:
        """Open the gate again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()


_forking = threading.RLock()
_watched: WeakSet[Forkable] = WeakSet()


def watch(store: Forkable) -> None:
    """Let a store close its files before each fork."""
    with _forking:
        _watched.add(store)


def _before() -> None:
    _forking.acquire()
    ends_at = time.monotonic() + _TIMEOUT
    for store in tuple(_watched):
        store.suspend(ends_at)


def _after_in_parent() -> None:
    for store in tuple(_watched):
        store.resume()
    _forking.release()


def _after_in_child() -> None:
    for store in tuple(_watched):
        store.begin_anew()
    _forking.release()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
