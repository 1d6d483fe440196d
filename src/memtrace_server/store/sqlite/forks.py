"""What becomes of open files when their process forks.

SQLite keeps in memory which locks its process has on a file. A forked process inherits what is kept there,
but not the locks: whatever it writes, through new connections too, its parent may remove with the write-ahead
log (https://sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork"). So before a
fork, each store closes its connections once nobody uses them; both processes open new ones at their next use.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

_PATIENCE = 5.0  # seconds that a fork waits for those who use a store


class Forkable(Protocol):
    """What has files open."""

    def suspend(self, ends_at: float) -> None:
        """Close all files once nobody uses them, and let nobody open one before `resume`.

        If they are in use until then, they stay open, and `begin_anew` sees to it that none is opened.
        """

    def resume(self) -> None:
        """Go on after a fork."""

    def begin_anew(self) -> None:
        """Go on in the forked process, which has no threads but this one."""


class Users:
    """Lets many use something together, until it is shut."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: list[int] = []  # their threads
        self._is_shut = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Use it, as soon as it is open."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_shut)
            thread = threading.get_ident()  # another one may close a generator that uses it
            self._inside.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._inside.remove(thread)
                self._changed.notify_all()

    def shut(self, ends_at: float) -> bool:
        """Let nobody begin to use it; return whether the last one has left before a moment."""
        with self._changed:
            self._is_shut = True
            if threading.get_ident() in self._inside:
                return False
            return self._changed.wait_for(lambda: not self._inside, max(0.0, ends_at - time.monotonic()))

    def open(self) -> None:
        """Let everybody use it again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()


_forking = threading.RLock()
_watched: WeakSet[Forkable] = WeakSet()


def watch(store: Forkable) -> None:
    """Have a store close its files before each fork."""
    with _forking:
        _watched.add(store)


def _before() -> None:
    _forking.acquire()
    ends_at = time.monotonic() + _PATIENCE
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


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
