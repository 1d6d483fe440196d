"""Copies of a store in one file, verified."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from memtrace_server.store.protocol import StoreUnavailable
from memtrace_server.store.sqlite import inspection

_PRIVATE = 0o600


def make(connection: sqlite3.Connection, target: Path) -> int:
    """Copy what a connection sees to a new file, durably, and return how many memories the copy has.

    Raises:
        ValueError: There is such a file.
        StoreUnavailable: The copy could not be made, or is not what it should be; there is none then.
    """
    target = Path(os.path.realpath(target))
    if target.exists():
        raise ValueError(f"{target}: exists already; name a new file")
    partial = target.with_name(f"{target.name}.part")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
        connection.execute("VACUUM INTO ?", (str(partial),))
        memories = verify(partial)
        sync(partial)
        _name(partial, target)
    except FileExistsError as error:
        raise ValueError(f"{target}: exists already; name a new file") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot be written: {error.strerror}", target) from error
    finally:
        partial.unlink(missing_ok=True)
    sync(target.parent)
    return memories


def _name(partial: Path, target: Path) -> None:
    """Call a file by a name that no other file has."""
    try:
        os.link(partial, target)  # which, unlike a renaming, replaces no file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise
        partial.rename(target)


def verify(file: Path) -> int:
    """Check a copy that nobody writes to, and return how many memories it has.

    Raises:
        StoreUnavailable: It is damaged.
    """
    with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as connection:
        for wrong in inspection.inspect_quickly(connection):
            raise StoreUnavailable(f"the copy is not what it should be: {wrong}", file)
        (memories,) = connection.execute("SELECT count(*) FROM memories").fetchone()
    return int(memories)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
