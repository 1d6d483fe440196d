"""Failures of SQLite, as callers see them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from memtrace_server.store.protocol import StoreBusy, StoreUnavailable

_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError)

REASONS = {
    sqlite3.SQLITE_BUSY: "another process holds its lock; try again when that has finished",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check the permissions of the file and its folder, or"
    " add ?mode=ro to read it only",
    sqlite3.SQLITE_CORRUPT: "is damaged; put a backup in its place with `memtrace restore`",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; see the system's log",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database; name another file, or put a backup in place with"
    " `memtrace restore`",
    sqlite3.SQLITE_READONLY: "cannot be written; change the permissions of the file and its folder, or"
    " add ?mode=ro to read it only",
}
"""What is wrong and what to do, by SQLite's error code."""


class Translated:
    """Convert operational errors of SQLite (a full disk, a damaged file) to StoreUnavailable.

    Args:
        path: The file.
        note: Called with the error.
    """

    __slots__ = ("_note", "_path")

    def __init__(
        self, path: Path | None = None, note: Callable[[BaseException], None] = lambda _: None
    ) -> None:
        self._path = path
        self._note = note

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StoreUnavailable):
            self._note(error)
        elif isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _MISTAKES):
            failure = unavailable(error, self._path)
            failure.__cause__ = error
            self._note(failure)
            raise failure


def unavailable(error: sqlite3.Error, path: Path | None) -> StoreUnavailable:
    """Convert an error of SQLite to a StoreUnavailable that says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = StoreBusy if code == sqlite3.SQLITE_BUSY else StoreUnavailable
    return kind(REASONS.get(code, f"SQLite: {error}"), path)


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error means that the file is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
