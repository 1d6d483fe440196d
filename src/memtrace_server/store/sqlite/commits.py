"""Write transactions: committed at the end, rolled back after an error."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TypeVar

from memtrace_server.store.protocol import StoreBusy
from memtrace_server.store.sqlite.failures import Translated
from memtrace_server.store.writing import DELAYS

T = TypeVar("T")


class RolledBack:
    """Roll back after an error. A class, as `contextmanager` takes 2 µs, and a write enters many.

    Args:
        connection: The connection.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        # When the disk is full, SQLite has rolled back itself.
        if kind is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


@contextmanager
def immediate(connection: sqlite3.Connection, ends_at: float | None = None) -> Iterator[None]:
    """Write in a transaction that holds SQLite's write lock from the start.

    Args:
        connection: The connection.
        ends_at: The end of attempts to take the lock; None for one attempt.

    Raises:
        StoreBusy: The lock was not free until `ends_at`.
    """
    if ends_at is None:
        connection.execute("BEGIN IMMEDIATE")
    else:
        begin(connection, ends_at)
    with RolledBack(connection):
        yield
        connection.execute("COMMIT")


def begin(connection: sqlite3.Connection, ends_at: float) -> None:
    """Begin a write transaction."""

    def attempt() -> None:
        with Translated():
            connection.execute("BEGIN IMMEDIATE")

    patiently(attempt, ends_at)


def patiently(attempt: Callable[[], T], ends_at: float) -> T:
    """Repeat an attempt while another process holds the lock, and return its result.

    Raises:
        StoreBusy: The lock was not free until `ends_at`.
    """
    for delay in chain(DELAYS, repeat(DELAYS[-1])):
        try:
            return attempt()
        except StoreBusy:
            if time.monotonic() + delay > ends_at:
                raise
        time.sleep(delay)
    raise AssertionError("delays have no end")
