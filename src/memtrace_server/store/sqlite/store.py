"""The SQLite store: one writer at a time, which commits for all that wait; readers beside it.

A write is durable when it is acknowledged: WAL with synchronous=FULL. What makes that fast is that writes
which wait share a transaction and so a sync to disk. When one of them fails half way, the others are done
again, each with a savepoint of its own, so none can spoil its neighbours'.

Who commits: a caller that blocks (`write`) takes the writer's lock and commits whatever waits, its own
write included, so a lone caller pays for no thread switch. A caller that must not block does short writes
itself (`start`), all but the wait for the disk, and leaves long ones to a thread (`submit`).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from memtrace_server import times
from memtrace_server.store.protocol import Outcome, StoreUnavailable, Transaction
from memtrace_server.store.sqlite import fulltext, inspection, migrations, queries
from memtrace_server.store.sqlite.transaction import NotIndexed, SqliteTransaction

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

_PATIENCE = 60.0  # seconds to wait for another process's write
_PAUSE = 0.01  # seconds between two tries, where SQLite does not wait by itself
_GROUP = 512  # writes in one transaction, at most
_CHECKPOINT = 16_384  # pages of WAL; a longer interval was measured to be faster
_TIDY_EVERY = times.SECOND
_SWEEP = 500  # rows, and more where more are added
_KEPT = times.DAY
_INDEXED = 1_000  # rows that are added to the full-text index at once
_LONG = 2_000  # characters that count as a row more: a thousand long ones would hold up others for seconds
_LONGEST_WAL = 4 * _CHECKPOINT * 4_096  # bytes
_WAL_PATIENCE = 1_000  # ms to wait for readers before the WAL may grow on
_CACHE = 64 << 10  # KiB of pages that the writer keeps; SQLite's own 2 MiB are few for a million memories

_Work = Callable[[Transaction], Any]
_Waiting = tuple[_Work, Future[Any]]


class SqliteStore:
    """A store in the SQLite file `path`, or in memory if it is None; the file is opened at the first use."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._waiting: deque[_Waiting] = deque()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._committer: threading.Thread | None = None
        self._wake = threading.Condition()
        self._is_closed = False
        self._is_due = False
        self._tidied_at = 0
        self._unswept = 0
        self._unindexed = 0
        self._longest_wal = _LONGEST_WAL

    def read(self, work: Callable[[Transaction], T]) -> T:
        searchable: int | None = None
        while True:
            try:
                return self._read(work, searchable)
            except NotIndexed as unindexed:
                # What others store from now on a search may lack, or it might never come to its end.
                searchable = unindexed.last if searchable is None else searchable
            with self._writing, _told_apart():
                self._see_that_it_is_open()
                connection = self._open_writer()
                try:
                    self._index(connection)
                except sqlite3.OperationalError:  # such as a full disk, which keeps nobody from reading
                    return _reading(connection, work, SqliteTransaction(connection))

    def write(self, work: Callable[[Transaction], T]) -> T:
        future = self._enqueue(work)
        with self._writing:
            while not future.done():  # a group may be full before its turn comes
                self._commit_waiting()
        return future.result()

    def submit(self, work: Callable[[Transaction], T]) -> Future[T]:
        future = self._enqueue(work)
        self.tend()
        return future

    def start(self, works: Sequence[Callable[[Transaction], T]]) -> Callable[[], Sequence[Outcome[T]]] | None:
        if self._waiting or not self._writing.acquire(blocking=False):
            return None
        if self._writer is None or not _begins_at_once(self._writer):
            self._writing.release()
            return None
        done: _Done | None = None
        with suppress(Exception):  # all is done again to commit it, and what fails there is told
            done = _do(self._writer, works, _attempt)

        def commit() -> Sequence[Outcome[T]]:
            try:
                return _told(partial(self._run, works, done), len(works))
            finally:
                self._is_due = self._unindexed >= _INDEXED
                self._writing.release()
                if self._is_due:
                    self.tend()

        return commit

    def tend(self) -> None:
        with self._wake:
            if self._committer is None and not self._is_closed:
                self._committer = threading.Thread(
                    target=self._commit_for_others, name="memtrace-writer", daemon=True
                )
                self._committer.start()
            self._wake.notify()

    def check(self) -> Iterator[str]:
        with _told_apart(), self._separate() as connection:
            yield from inspection.inspect(connection)

    def backup(self, path: str) -> None:
        target = Path(path)
        if target.exists():
            raise ValueError(f"{path} is there already")
        partial = target.with_name(f"{target.name}.part")
        partial.unlink(missing_ok=True)
        try:
            with _told_apart(), self._separate() as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
            with partial.open("rb") as copy:
                os.fsync(copy.fileno())
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def vacuum(self) -> None:
        with _told_apart(), self._writing:
            connection = self._open_writer()
            for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
                fulltext.optimize(connection, org)
            connection.execute("VACUUM")
            (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise StoreUnavailable("somebody reads an older state of the file all the time; try again")

    def close(self) -> None:
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if self._committer is not None:
            self._committer.join()
        with self._writing:
            while self._waiting:
                self._commit_waiting()
            while self._readers:
                self._readers.pop().close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _read(self, work: Callable[[Transaction], T], searchable: int | None) -> T:
        with _told_apart(), self._reader() as connection:
            transaction = SqliteTransaction(connection, read_only=True, searchable=searchable)
            return _reading(connection, work, transaction)

    def _see_that_it_is_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")

    def _enqueue(self, work: Callable[[Transaction], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._wake:
            self._see_that_it_is_open()
            self._waiting.append((work, future))
        return future

    def _commit_for_others(self) -> None:
        while True:
            with self._wake:
                is_wanted = self._wake.wait_for(
                    lambda: self._waiting or self._is_due or self._is_closed, _TIDY_EVERY / times.SECOND
                )
                if self._is_closed and not self._waiting:
                    return
            with self._writing:
                self._is_due = False
                if self._waiting:
                    self._commit_waiting()
                else:
                    self._tidy(has_time=not is_wanted)

    def _commit_waiting(self) -> None:
        """Do all that waits in one transaction, commit it, and only then tell. Needs the writer's lock."""
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]
        # Whoever gave up waiting may be told nothing any more, and need not be served.
        group = [(work, future) for work, future in taken if future.set_running_or_notify_cancel()]
        if not group:
            return
        outcomes = _told(partial(self._run, [work for work, _ in group]), len(group))
        for (_, future), (result, failure) in zip(group, outcomes, strict=True):
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
        self._tidy()

    def _run(self, works: Sequence[_Work], done: _Done | None = None) -> Sequence[Outcome[Any]]:
        """Commit works in one transaction; those of `done` are done, and it has begun."""
        with _told_apart():
            connection = self._open_writer()
            if done is None:
                connection.execute("BEGIN IMMEDIATE")
            try:
                return self._end(connection, done or _do(connection, works, _attempt))
            except (_Spoilt, sqlite3.Error) as error:
                if len(works) == 1 and not isinstance(error, _Spoilt):
                    raise  # there is no other to spare it
                connection.execute("BEGIN IMMEDIATE")
                return self._end(connection, _do(connection, works, _attempt_carefully))

    def _end(self, connection: sqlite3.Connection, done: _Done) -> Sequence[Outcome[Any]]:
        with _rolled_back(connection):
            connection.execute("COMMIT")
        self._unswept += done.transaction.additions
        self._unindexed += done.transaction.additions + done.transaction.length // _LONG
        return done.outcomes

    def _tidy(self, *, has_time: bool = False) -> None:
        """Do what nobody waits for; what fails now, for the disk is full, say, is done another time."""
        if self._writer is None:
            return
        now = times.now()
        try:
            if not 0 <= now - self._tidied_at <= _TIDY_EVERY:
                self._tidied_at = now
                self._sweep(self._writer, now)
                self._shorten_wal(self._writer)
            while self._unindexed >= _INDEXED or (has_time and self._unindexed and not self._waiting):
                self._index(self._writer)
        except (OSError, sqlite3.DatabaseError) as error:
            _LOG.warning("The store cannot be tidied now: %s", error)
        except Exception:  # noqa: BLE001 - whatever it is, others' writes go on
            _LOG.exception("The store could not be tidied")

    def _sweep(self, connection: sqlite3.Connection, now: int) -> None:
        with _transaction(connection) as transaction:
            # Twice what came in, or what is to be swept would pile up.
            transaction.sweep(now, now - _KEPT, _SWEEP + 2 * self._unswept)
        self._unswept = 0

    def _index(self, connection: sqlite3.Connection) -> None:
        """Add some rows to the full-text index."""
        with _transaction(connection) as transaction:
            indexed = transaction.index(_INDEXED)
        # Others may have stored rows, and indexed ours: when there were too few to fill a step, none is left.
        self._unindexed = max(1, self._unindexed - indexed) if indexed == _INDEXED else 0

    def _shorten_wal(self, connection: sqlite3.Connection) -> None:
        """Start the WAL anew when it has grown long.

        SQLite does it by itself only in a moment without readers, which may never come. Here, the writer
        waits for those who read now; those who come after them do not need the WAL.
        """
        if self._path is None or Path(f"{self._path}-wal").stat().st_size < self._longest_wal:
            return
        self._longest_wal += _LONGEST_WAL
        connection.execute(f"PRAGMA busy_timeout = {_WAL_PATIENCE}")
        try:
            (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1_000)}")
        if not is_busy:
            self._longest_wal = _LONGEST_WAL

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            connection = _connect(self._path or ":memory:")
            try:
                _write_ahead(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute(f"PRAGMA cache_size = -{_CACHE}")
                migrations.migrate(connection, times.now())
                self._unindexed = SqliteTransaction(connection).unindexed(_INDEXED)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    @contextmanager
    def _separate(self) -> Iterator[sqlite3.Connection]:
        """A connection for what takes long; a store in memory has but one, which others then wait for."""
        if self._path is None:
            with self._writing:
                yield self._open_writer()
            return
        with self._writing:
            self._open_writer()
        with closing(_connect(self._path)) as connection:
            yield connection

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        if self._path is None or self._writer is None:
            with self._writing:
                self._see_that_it_is_open()
                writer = self._open_writer()
                if self._path is None:  # memory has one connection only
                    yield writer
                    return
        self._see_that_it_is_open()
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            self._readers.append(connection)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=1_024
    )
    connection.create_function("matches", 2, queries.matches, deterministic=True)
    connection.create_function("contains", 2, queries.contains, deterministic=True)
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn on the WAL. While others open a new file, too, SQLite refuses at once where it waits otherwise."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _reading(
    connection: sqlite3.Connection, work: Callable[[Transaction], T], transaction: SqliteTransaction
) -> T:
    """What a work returns that changes nothing; of what the transaction did for it, nothing stays."""
    connection.execute("BEGIN")
    try:
        return work(transaction)
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[SqliteTransaction]:
    """A transaction of its own, committed at the end."""
    connection.execute("BEGIN IMMEDIATE")
    with _rolled_back(connection):
        transaction = SqliteTransaction(connection)
        yield transaction
        transaction.finish()
        connection.execute("COMMIT")


_Attempt = Callable[[sqlite3.Connection, SqliteTransaction, _Work], Outcome[Any]]


@frozen
class _Done:
    """Works that were done, and need a COMMIT."""

    transaction: SqliteTransaction
    outcomes: Sequence[Outcome[Any]]


class _Spoilt(Exception):  # noqa: N818 - no error, but a reason to begin again
    """A work of the group failed when it had written something."""


def _begins_at_once(connection: sqlite3.Connection) -> bool:
    """Begin to write, if another process does not; of whatever else is wrong, those tell who can wait."""
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1_000)}")
    except sqlite3.Error:
        return False
    return True


def _do(connection: sqlite3.Connection, works: Sequence[_Work], attempt: _Attempt) -> _Done:
    """Do works in the transaction that has begun."""
    with _rolled_back(connection):
        transaction = SqliteTransaction(connection)
        outcomes = [attempt(connection, transaction, work) for work in works]
        transaction.finish()
    return _Done(transaction, outcomes)


@contextmanager
def _rolled_back(connection: sqlite3.Connection) -> Iterator[None]:
    """Roll back what fails."""
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def _told(run: Callable[[], Sequence[Outcome[T]]], number: int) -> Sequence[Outcome[T]]:
    """What came of so many works; of none, for the reason why they cannot be done."""
    try:
        return run()
    except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
        return [(None, error)] * number


def _attempt(connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Work) -> Outcome[Any]:
    """What the work returns, or what it raised before it wrote anything, as a refusal does."""
    before = transaction.changes()
    try:
        with _told_apart():
            return work(transaction), None
    except Exception as error:
        if not connection.in_transaction:
            raise
        if transaction.changes() != before:
            raise _Spoilt from error
        return None, error


def _attempt_carefully(
    connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Work
) -> Outcome[Any]:
    """What the work returns, or what it raised, with all that it wrote undone.

    The savepoint that this takes costs every work a fifth of its time, so it is left to when it is needed.
    """
    mark = transaction.mark()
    connection.execute("SAVEPOINT one")
    outcome: Outcome[Any]
    try:
        with _told_apart():
            outcome = (work(transaction), None)
            transaction.flush()
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        transaction.go_back(mark)
        outcome = (None, error)
    connection.execute("RELEASE one")
    return outcome


@contextmanager
def _told_apart() -> Iterator[None]:
    """SQLite's own trouble (a full disk, a damaged file), told apart from our mistakes."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable(f"SQLite: {error}") from error
