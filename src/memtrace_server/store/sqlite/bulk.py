"""Many rows in one statement.

Python's sqlite3 lets go of the interpreter's lock at every row that it writes or reads. While other threads
are busy, a server's event loop above all, getting it back takes longer than the row does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

_SIZES = (64, 16, 4, 1)  # rows of a statement: few different ones, so that SQLite compiles each only once


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
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    at = 0
    for size in _SIZES:
        sql = f"{statement} VALUES {', '.join([row] * size)} {conflict}"
        while len(rows) - at >= size:
            connection.execute(sql, [*chain.from_iterable(rows[at : at + size])])
            at += size
