"""Verified backups of a store in one file, and their restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import frozen

from memtrace_server import times
from memtrace_server.store.protocol import StoreBusy, StoreUnavailable
from memtrace_server.store.sqlite import inspection, migrations
from memtrace_server.store.sqlite.failures import is_damage, unavailable
from memtrace_server.store.sqlite.file import StoreFile

_PRIVATE = 0o600
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}
_LOCKS = (0x40000000, 512)
"""Where SQLite locks a file, and how many bytes (https://www.sqlite.org/fileformat.html#the_lock_byte_page)."""


def make(connection: sqlite3.Connection, target: Path) -> int:
    """Copy the state that a connection reads to a new file, durably, and return its number of memories.

    Raises:
        ValueError: The file exists.
        StoreUnavailable: The copy could not be made or is not consistent, and the file does not exist.
    """
    target = Path(os.path.realpath(target))
    if target.exists():
        raise ValueError(f"{target}: exists already; name a new file")
    partial = target.with_name(f"{target.name}.part")
    try:
        memories = _copy(connection, partial)
        _name(partial, target)
    except FileExistsError as error:
        raise ValueError(f"{target}: exists already; name a new file") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot be written: {error.strerror}", target) from error
    finally:
        partial.unlink(missing_ok=True)
    sync(target.parent)
    return memories


@frozen
class Restored:
    """The result of a restore.

    Attributes:
        memories: The number of memories in the store.
        replaced: The path of the previous store; None if there was none.
    """

    memories: int
    replaced: Path | None


def restore(backup: Path, target: Path) -> Restored:
    """Replace a store with a copy of a backup.

    At each moment, the path has a consistent store, the old or the new one.

    Raises:
        StoreBusy: A process has the store open.
        StoreNotFound: The backup does not exist.
        StoreUnavailable: The backup is damaged, not a store, or from a newer Memtrace; the store has not
            changed.
    """
    backup, target = (Path(os.path.realpath(path)) for path in (backup, target))
    if backup == target:
        raise ValueError(f"{backup}: is the store itself; name a backup of it")
    partial = target.with_name(f"{target.name}.restoring")
    try:
        memories = _copy_backup(backup, partial)
        with _alone(target):
            replaced = _set_aside(target)
            partial.replace(target)
            sync(target.parent)
    except OSError as error:
        raise StoreUnavailable(f"cannot be restored: {error.strerror}", target) from error
    finally:
        partial.unlink(missing_ok=True)
    return Restored(memories, replaced)


def _copy_backup(backup: Path, partial: Path) -> int:
    source = StoreFile(str(backup), is_read_only=True)
    source.prepare()
    option = "mode=ro" if source.wal.exists() else "immutable=1"  # `immutable` leaves no files beside it
    try:
        with closing(sqlite3.connect(f"{backup.as_uri()}?{option}", uri=True)) as connection:
            source.recognise(connection)
            migrations.require_known(connection)
            return _copy(connection, partial)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise StoreUnavailable("is damaged or not a backup; use another one", backup) from error
        raise unavailable(error, backup) from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other processes from opening a store.

    Raises:
        StoreBusy: A process has the store open.
    """
    if not target.exists():
        yield
        return
    _fold_log(target)
    with target.open("r+b") as file:
        if sys.platform != "win32":  # on Windows, an open file cannot be replaced
            import fcntl  # noqa: PLC0415 - see above

            start, length = _LOCKS
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except OSError as error:
                raise _open_elsewhere(target) from error
        yield


def _fold_log(target: Path) -> None:
    """Move the write-ahead log into the file, and remove the log, unless the file is damaged."""
    if not StoreFile(str(target)).wal.exists():
        return  # an open store has a log
    uri = f"{target.as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise _open_elsewhere(target) from error
    except sqlite3.DatabaseError:
        return


def _open_elsewhere(target: Path) -> StoreBusy:
    return StoreBusy("a process has the store open; stop its server, and close embedded clients", target)


def _set_aside(target: Path) -> Path | None:
    """Link a store and its log under another name, and remove the log under the old name."""
    if not target.exists():
        return None
    moment = times.render(times.now() // times.SECOND * times.SECOND).translate(str.maketrans("", "", ":-"))
    aside = target.with_name(f"{target.name}.before-{moment}")
    # The log is removed before the file is replaced, as SQLite would apply it to the new file.
    for end in ("", "-wal"):
        _link(target.with_name(target.name + end), aside.with_name(aside.name + end))
    for end in ("-wal", "-shm"):
        target.with_name(target.name + end).unlink(missing_ok=True)
    sync(target.parent)
    return aside


def _link(file: Path, name: Path) -> None:
    if file.exists():
        name.unlink(missing_ok=True)  # from an attempt in the same second
        try:
            os.link(file, name)
        except OSError:  # a file system without links
            shutil.copy2(file, name)
            sync(name)


def _copy(connection: sqlite3.Connection, partial: Path) -> int:
    """Copy the state that a connection reads, durably, and return its number of memories."""
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
    try:
        connection.execute("VACUUM INTO ?", (str(partial),))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in _NO_ROOM:  # for the copy: what is read needs none
            raise unavailable(error, partial.parent) from error
        raise
    memories = verify(partial)
    sync(partial)
    return memories


def _name(partial: Path, target: Path) -> None:
    """Rename a file without replacing another."""
    try:
        os.link(partial, target)  # unlike a renaming, a link never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise
        partial.rename(target)


def verify(file: Path) -> int:
    """Check a copy that no process writes to, and return its number of memories.

    Raises:
        StoreUnavailable: The copy is damaged.
    """
    with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as connection:
        for wrong in inspection.inspect_quickly(connection):
            raise StoreUnavailable(f"the copy is not consistent: {wrong}", file)
        (memories,) = connection.execute("SELECT count(*) FROM memories").fetchone()
    return int(memories)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
