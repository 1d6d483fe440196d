"""The file of a store: created for its owner alone, recognised as ours, and still the one that is open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from memtrace_server.store.protocol import StoreBusy, StoreNotFound, StoreUnavailable
from memtrace_server.store.sqlite import migrations

_PRIVATE = 0o600
_ROOM = 1 << 20  # bytes
_LOG_HEAD, _PAGE_HEAD = 32, 24  # bytes in a write-ahead log, before all pages and before each
_CREATION = threading.Lock()
"""Held while a file is created: to close a file drops the locks that this process has on it."""

_PARENTS: dict[Path, object] = {}
"""Files that the parent used while this process was forked, and what it had open, which is never to be closed
here."""

_Identity = tuple[tuple[int, int] | None, ...]


class StoreFile:
    """A store's file and its write-ahead log.

    Args:
        path: Its path; symbolic links are followed now, and not again.
        is_read_only: Whether nothing may be written.
        create: Whether to create the file when it does not exist.

    Attributes:
        path: The path, absolute.
        wal: The write-ahead log beside the file.
    """

    def __init__(self, path: str, *, is_read_only: bool = False, create: bool = True) -> None:
        self.path = Path(os.path.realpath(path))
        self.is_read_only = is_read_only
        self.wal = Path(f"{self.path}-wal")
        self._create = create and not is_read_only
        self._prepared: tuple[int, int] | None = None
        self._identity: _Identity | None = None

    def exists(self) -> bool:
        """Return whether the file exists."""
        return os.path.lexists(self.path)

    def require(self) -> None:
        """Check that the file exists, unless it is to be created.

        Raises:
            StoreNotFound: It does not.
        """
        if not self._create and not self.exists():
            raise StoreNotFound("there is no such file; check the path", self.path)

    def prepare(self) -> None:
        """Create the file if need be, and check that it is no other program's.

        Raises:
            StoreNotFound: The file does not exist and is not to be created.
            StoreUnavailable: It cannot be created or read, or it is not ours.
        """
        self.require()
        try:
            if self._create:
                self._make()
            if self.path.is_dir():
                raise StoreUnavailable("is a folder; name a file in it", self.path)
        except OSError as error:
            raise StoreUnavailable(_remedy_of(error, self.path.parent), self.path) from error
        # So that a foreign file is not touched, SQLite is told that nobody writes it. Who does may show.
        with closing(self._connect("immutable=1", 0.0)) as connection, suppress(sqlite3.DatabaseError):
            self.recognise(connection)
        self._prepared = _identity_of(self.path)

    def recognise(self, connection: sqlite3.Connection) -> None:
        """Check that the file is ours.

        Raises:
            StoreUnavailable: It is not.
        """
        if not migrations.is_ours(connection):
            raise StoreUnavailable(
                "is another program's database; it was not changed, name another file", self.path
            )

    def connect(self, patience: float) -> sqlite3.Connection:
        """Connect to the file, which exists; `patience` is how long SQLite waits for locks, in seconds."""
        mode = "mode=ro" if self.is_read_only else "mode=rw"
        return self._connect("immutable=1" if self.is_read_only and self.is_sealed() else mode, patience)

    def is_sealed(self) -> bool:
        """Return whether the file has no write-ahead log, and can get none, as its folder is read-only."""
        return not self.wal.exists() and not os.access(self.path.parent, os.W_OK)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check that nobody, who may do what we may not, changed the file meanwhile.

        Raises:
            StoreBusy: Somebody did.
        """
        before = self._stamp()
        yield
        if self._stamp() != before:
            raise StoreBusy("was written while it was read; try again", self.path)

    def remember(self) -> None:
        """Take the files that are there now for those that were opened since `prepare`.

        Raises:
            StoreBusy: The file was replaced meanwhile.
        """
        self._identity = self._look()
        if self._identity[0] != self._prepared:
            raise StoreBusy("was replaced while it was opened", self.path)

    def is_lost(self) -> bool:
        """Return whether the files at the path are no longer those that are open."""
        return self._identity is not None and self._look() != self._identity

    def require_room(self) -> None:
        """Check that the disk has room for more than the write of a probe, which fits into the log as it is.

        Raises:
            StoreUnavailable: It has not.
        """
        if shutil.disk_usage(self.path).free < _ROOM:
            raise StoreUnavailable(_REASONS[sqlite3.SQLITE_FULL], self.path)

    def log_size(self) -> int:
        """Return how many bytes the write-ahead log takes on the disk."""
        return self.wal.stat().st_size

    def has_long_log(self, pages: int) -> bool:
        """Return whether more pages than this were written since the write-ahead log was begun anew.

        Its file stays as long as it ever was; but each page in it has the salt of the log's head, unless it
        is older (https://www.sqlite.org/fileformat.html#the_write_ahead_log).
        """
        with self.wal.open("rb") as log:
            head = log.read(_LOG_HEAD)
            log.seek(_LOG_HEAD + pages * (_PAGE_HEAD + int.from_bytes(head[8:12])))
            return len(salt := log.read(_PAGE_HEAD)[8:16]) > 0 and salt == head[16:24]

    def forget(self) -> None:
        """Forget which files are open, as none is any more."""
        self._identity = None

    def leave_to_parent(self, opened: object) -> None:
        """Never open the file in this forked process, nor close what its parent has open."""
        _PARENTS[self.path] = opened

    def _make(self) -> None:
        """Create the file unless it exists, and wait for another thread that is about to close it."""
        with _CREATION:
            if not self.exists():
                with suppress(FileExistsError):  # another process was quicker
                    os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))

    def _connect(self, option: str, patience: float) -> sqlite3.Connection:
        if self.path in _PARENTS:
            raise StoreUnavailable(
                "was in use all the time while this process was forked from another, and would be damaged by"
                " it; start processes in another way (multiprocessing: spawn), or fork earlier",
                self.path,
            )
        return sqlite3.connect(
            f"{self.path.as_uri()}?{option}",
            uri=True,
            timeout=patience,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1_024,
        )

    def _stamp(self) -> tuple[int, int, bool]:
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size, self.wal.exists()

    def _look(self) -> _Identity:
        return _identity_of(self.path), _identity_of(self.wal)


def unavailable(error: sqlite3.Error, path: Path | None) -> StoreUnavailable:
    """Return SQLite's error as ours, with what is wrong and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = StoreBusy if code == sqlite3.SQLITE_BUSY else StoreUnavailable
    return kind(_REASONS.get(code, f"SQLite: {error}"), path)


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection's lock is in the way."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error says that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


_REASONS = {
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


def _remedy_of(error: OSError, folder: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"the folder {folder} does not exist; create it, or name another file"
    if isinstance(error, PermissionError):
        return f"cannot be created; change the permissions of {folder}, or name another file"
    return f"{error.strerror}; name another file"


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - before each commit, and twice as quick as pathlib's
    except OSError:
        return None
    return found.st_dev, found.st_ino
