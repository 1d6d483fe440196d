"""The file of a store: created for its owner only, recognised by its header, and checked for replacement."""

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
from memtrace_server.store.sqlite.failures import REASONS

_PRIVATE = 0o600
_ROOM = 1 << 20  # bytes
_LOG_HEAD, _PAGE_HEAD = 32, 24  # bytes in a write-ahead log, before all pages and before each
_CREATION = threading.Lock()
"""Held while a file is created, because closing a file drops the locks of this process on it."""

_PARENTS: dict[Path, object] = {}
"""Files that the parent used during the fork, with its open objects, which are never closed here."""

_Identity = tuple[tuple[int, int] | None, ...]


class StoreFile:
    """A store's file and its write-ahead log.

    Args:
        path: The path; symbolic links are followed once, now.
        is_read_only: Whether the file is read only.
        create: Whether to create the file if it does not exist.

    Attributes:
        path: The absolute path.
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
            StoreNotFound: The file does not exist.
        """
        if not self._create and not self.exists():
            raise StoreNotFound("there is no such file; check the path", self.path)

    def prepare(self) -> None:
        """Create the file if necessary, and check that it does not belong to another program.

        Raises:
            StoreNotFound: The file does not exist and must not be created.
            StoreUnavailable: The file cannot be created or read, or is not a store of Memtrace.
        """
        self.require()
        try:
            if self._create:
                self._make()
            if self.path.is_dir():
                raise StoreUnavailable("is a folder; name a file in it", self.path)
        except OSError as error:
            raise StoreUnavailable(_remedy_of(error, self.path.parent), self.path) from error
        # `immutable` keeps SQLite from touching a foreign file. If another process writes it, errors are
        # possible.
        with closing(self._connect("immutable=1", 0.0)) as connection, suppress(sqlite3.DatabaseError):
            self.recognise(connection)
        self._prepared = _identity_of(self.path)

    def recognise(self, connection: sqlite3.Connection) -> None:
        """Check that the file is a store of Memtrace.

        Raises:
            StoreUnavailable: It is not.
        """
        if not migrations.is_ours(connection):
            raise StoreUnavailable(
                "is another program's database; it was not changed, name another file", self.path
            )

    def connect(self, patience: float) -> sqlite3.Connection:
        """Connect to the existing file; SQLite waits `patience` seconds for locks."""
        mode = "mode=ro" if self.is_read_only else "mode=rw"
        return self._connect("immutable=1" if self.is_read_only and self.is_sealed() else mode, patience)

    def is_sealed(self) -> bool:
        """Return whether the file has no write-ahead log and cannot get one, as its folder is read-only."""
        return not self.wal.exists() and not os.access(self.path.parent, os.W_OK)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check that no process with more rights changed the file during the block.

        Raises:
            StoreBusy: A process did.
        """
        before = self._stamp()
        yield
        if self._stamp() != before:
            raise StoreBusy("was written while it was read; try again", self.path)

    def remember(self) -> None:
        """Record the identity of the existing files, which have been opened since `prepare`.

        Raises:
            StoreBusy: The file was replaced meanwhile.
        """
        self._identity = self._look()
        if self._identity[0] != self._prepared:
            raise StoreBusy("was replaced while it was opened", self.path)

    def is_lost(self) -> bool:
        """Return whether the files at the path have been removed or replaced since they were opened."""
        return self._identity is not None and self._look() != self._identity

    def require_room(self) -> None:
        """Check the free space of the disk, because the write of a probe may fit into the existing log.

        Raises:
            StoreUnavailable: The disk is full.
        """
        if shutil.disk_usage(self.path).free < _ROOM:
            raise StoreUnavailable(REASONS[sqlite3.SQLITE_FULL], self.path)

    def log_size(self) -> int:
        """Return the size of the write-ahead log on the disk in bytes."""
        return self.wal.stat().st_size

    def has_long_log(self, pages: int) -> bool:
        """Return whether more than `pages` were written since the write-ahead log was restarted.

        The log's file never shrinks, but only pages since the restart have the salt in the log's header
        (https://www.sqlite.org/fileformat.html#the_write_ahead_log).
        """
        with self.wal.open("rb") as log:
            head = log.read(_LOG_HEAD)
            log.seek(_LOG_HEAD + pages * (_PAGE_HEAD + int.from_bytes(head[8:12])))
            return len(salt := log.read(_PAGE_HEAD)[8:16]) > 0 and salt == head[16:24]

    def forget(self) -> None:
        """Forget the identity of open files, as all are closed."""
        self._identity = None

    def leave_to_parent(self, opened: object) -> None:
        """Never open the file in this forked process, and never close the parent's open objects."""
        _PARENTS[self.path] = opened

    def _make(self) -> None:
        """Create the file unless it exists, and wait for another thread that is closing it."""
        with _CREATION:
            if not self.exists():
                with suppress(FileExistsError):  # another process has created it
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


def _remedy_of(error: OSError, folder: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"the folder {folder} does not exist; create it, or name another file"
    if isinstance(error, PermissionError):
        return f"cannot be created; change the permissions of {folder}, or name another file"
    return f"{error.strerror}; name another file"


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called before each commit, and twice as fast as pathlib
    except OSError:
        return None
    return found.st_dev, found.st_ino
