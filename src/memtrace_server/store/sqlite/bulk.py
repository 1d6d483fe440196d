"""Statements for many rows."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_MAX_ROWS, _ANY = 64, 32  # rows in a statement: exactly 64, or any number up to 32


def insert(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], conflict: str = ""
) -> None:
    """Insert rows of the same length.

    One statement for all rows would hold the interpreter's lock less often, which sqlite3 releases at each
    row. But for memories it takes twice the time, and did not help other threads measurably.

    Args:
        connection: The connection.
        statement: The part before VALUES.
        rows: The rows.
        conflict: The part after VALUES.
    """
    if rows:
        connection.executemany(_insertion(statement, len(rows[0]), conflict), rows)


@functools.cache
def _insertion(statement: str, columns: int, conflict: str) -> str:
    return f"{statement} VALUES ({', '.join('?' * columns)}) {conflict}"


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split rows into one part per statement. A small group needs one statement; there are 33 to compile."""
    at, end = 0, len(rows)
    while at < end:
        size = _MAX_ROWS if end - at >= _MAX_ROWS else min(end - at, _ANY)
        yield rows[at : at + size]
        at += size


def among(values: Sequence[object]) -> str:
    """Return the end of a condition that is true for some values, as many as `parts` puts into a part."""
    return f"IN ({', '.join('?' * len(values))})"
