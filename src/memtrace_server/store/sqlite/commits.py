"""Transactions that write: committed at the end, and rolled back if they fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


class RolledBack:
    """Roll back what fails. Not made by `contextmanager`, as each of those takes 2 µs, and a write has many.

    Args:
        connection: The connection.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        # SQLite has rolled back by itself when the disk is full.
        if kind is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """Write in a transaction that holds SQLite's lock of writers from the start."""
    connection.execute("BEGIN IMMEDIATE")
    with RolledBack(connection):
        yield
        connection.execute("COMMIT")
