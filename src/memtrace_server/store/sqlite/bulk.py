"""Many rows in one statement.

Python's sqlite3 lets go of the interpreter's lock at every row that it writes or reads. While other threads
are busy, a server's event loop above all, getting it back takes longer than the row does.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")

_MOST, _ANY = 64, 32  # rows in a statement: so many, or any number up to this


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
        sql = f"{statement} VALUES {_places(len(some), len(some[0]))} {conflict}"
        connection.execute(sql, [*chain.from_iterable(some)])


@functools.cache
def _places(rows: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut rows up, for one statement each; a small group needs but one, and there are 33 to compile."""
    at, end = 0, len(rows)
    while at < end:
        size = _MOST if end - at >= _MOST else min(end - at, _ANY)
        yield rows[at : at + size]
        at += size
