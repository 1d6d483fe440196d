"""Many rows in one statement.

Python's sqlite3 lets go of the interpreter's lock at every row that it writes or reads. While other threads
are busy, a server's event loop above all, getting it back takes longer than the row does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")

_SIZES = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)


def insert(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], conflict: str = ""
) -> None:
    """Insert rows of the same length.

    Args:
        connection: The connection.
        statement: All before VALUES.
        rows: The rows.
        conflict: All after VALUES.
    """
    for some in parts(rows):
        row = f"({', '.join('?' * len(some[0]))})"
        sql = f"{statement} VALUES {', '.join([row] * len(some))} {conflict}"
        connection.execute(sql, [*chain.from_iterable(some)])


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut rows up, for one statement each; of few different lengths, so that SQLite compiles few."""
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size
