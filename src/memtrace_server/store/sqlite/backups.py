"""Copies of a store in one file, verified; and such a copy in the place of a store."""

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
from memtrace_server.store.sqlite.file import StoreFile, is_damage, unavailable

_PRIVATE = 0o600
_LOCKS = (0x40000000, 512)
"""Where SQLite locks a file, and how many bytes (https://www.sqlite.org/fileformat.html#the_lock_byte_page)."""


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
    """What `restore` did.

    Attributes:
        memories: How many memories the store has now.
        replaced: Where the store that was there before is now; None if there was none.
    """

    memories: int
    replaced: Path | None


def restore(backup: Path, target: Path) -> Restored:
    """Put a copy of a backup in the place of a store.

    At each moment there is a whole store in the place, the old or the new one.

    Raises:
        StoreBusy: Somebody has the store open.
        StoreNotFound: There is no such backup.
        StoreUnavailable: The backup is damaged, no store or a newer Memtrace's; the store is as it was.
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
    option = "mode=ro" if source.wal.exists() else "immutable=1"  # which leaves no files beside it
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
    """Keep others from opening a store.

    Raises:
        StoreBusy: Somebody has it open.
    """
    if not target.exists():
        yield
        return
    _fold_log(target)
    with target.open("r+b") as file:
        if sys.platform != "win32":  # where an open file cannot be replaced anyway
            import fcntl  # noqa: PLC0415 - see above

            start, length = _LOCKS
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except OSError as error:
                raise _open_elsewhere(target) from error
        yield


def _fold_log(target: Path) -> None:
    """Bring what the write-ahead log has into the file, and remove the log; not of a damaged file."""
    if not StoreFile(str(target)).wal.exists():
        return  # which whoever has it open would have
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
    return StoreBusy("somebody has the store open; stop its server, and close embedded clients", target)


def _set_aside(target: Path) -> Path | None:
    """Give a store another name, its log too, and remove the log; the store keeps its name, too."""
    if not target.exists():
        return None
    moment = times.render(times.now() // times.SECOND * times.SECOND).translate(str.maketrans("", "", ":-"))
    aside = target.with_name(f"{target.name}.before-{moment}")
    # The log goes before the file is replaced: SQLite would take it for the new file's.
    for end in ("", "-wal"):
        _link(target.with_name(target.name + end), aside.with_name(aside.name + end))
    for end in ("-wal", "-shm"):
        target.with_name(target.name + end).unlink(missing_ok=True)
    sync(target.parent)
    return aside


def _link(file: Path, name: Path) -> None:
    if file.exists():
        name.unlink(missing_ok=True)  # of an attempt in the same second
        try:
            os.link(file, name)
        except OSError:  # a file system without links
            shutil.copy2(file, name)
            sync(name)


def _copy(connection: sqlite3.Connection, partial: Path) -> int:
    """Copy what a connection sees, durably, and return how many memories the copy has."""
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
    connection.execute("VACUUM INTO ?", (str(partial),))
    memories = verify(partial)
    sync(partial)
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
