"""Many rows in one call."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_MOST, _ANY = 64, 32  # rows in a statement: so many, or any number up to this


def insert(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], conflict: str = ""
) -> None:
    """Insert rows of the same length.

    One statement for all rows spares the threads beside it the interpreter's lock, which sqlite3 releases at
    each row; but it was measured to take twice the time for memories, and the lock was not missed.

    Args:
        connection: The connection.
        statement: All before VALUES.
        rows: The rows.
        conflict: All after VALUES.
    """
    if rows:
        connection.executemany(_insertion(statement, len(rows[0]), conflict), rows)


@functools.cache
def _insertion(statement: str, columns: int, conflict: str) -> str:
    return f"{statement} VALUES ({', '.join('?' * columns)}) {conflict}"


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut rows up, for one statement each; a small group needs but one, and there are 33 to compile."""
    at, end = 0, len(rows)
    while at < end:
        size = _MOST if end - at >= _MOST else min(end - at, _ANY)
        yield rows[at : at + size]
        at += size


def among(values: Sequence[object]) -> str:
    """Return the end of a condition that is true of these values, as many as `parts` gives."""
    return f"IN ({', '.join('?' * len(values))})"
