"""Cursors: a place in an order, written so that every text that fits the contract's pattern is a place.

A cursor is no secret and no handle. It says "go on after this", so it holds while others write and delete,
and one from another organisation leads to nothing but one's own memories.
"""

from __future__ import annotations

from memtrace_server.ids import base32, number

_DIGITS = 13
_OFFSET = 1 << 63


def memory_cursor(rank: int, seq: int) -> str:
    """The place after a memory, ordered by `rank` (its time in ns, or its score), then by its row."""
    return base32(rank + _OFFSET, _DIGITS) + base32(seq, _DIGITS)


def read_memory_cursor(cursor: str) -> tuple[int, int]:
    """The rank and the row that a cursor names."""
    return number(cursor[:_DIGITS]) - _OFFSET, number(cursor[_DIGITS:])


def session_cursor(created_at: int, session_id: str) -> str:
    """The place after a session among all, by the time (ns) it was created, then by its id."""
    return f"{base32(created_at + _OFFSET, _DIGITS)}.{session_id}"


def read_session_cursor(cursor: str) -> tuple[int, str]:
    """The creation time (ns) and the id that a cursor names."""
    return number(cursor[:_DIGITS]) - _OFFSET, cursor[_DIGITS + 1 :]
