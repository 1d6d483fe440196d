"""The SQLite store: a writer that commits all queued writes, and concurrent readers.

A write is durable when it is acknowledged: WAL with synchronous=FULL. If a write of a group fails after it
has written something, the group is repeated with a savepoint for each write, so that it cannot affect the
others.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import frozen

from memtrace_server import times
from memtrace_server.deadlines import Deadline, end_of_wait, observed
from memtrace_server.store.facts import wanted
from memtrace_server.store.probing import Probes
from memtrace_server.store.protocol import (
    Outcome,
    Report,
    StoreBusy,
    StoreNotFound,
    StoreUnavailable,
    Transaction,
    WantsOf,
    Write,
)
from memtrace_server.store.sqlite import (
    backups,
    duplicates,
    forks,
    fulltext,
    inspection,
    migrations,
    queries,
    queued,
    texts,
)
from memtrace_server.store.sqlite.checkpoints import Checkpoints
from memtrace_server.store.sqlite.commits import RolledBack
from memtrace_server.store.sqlite.file import StoreFile, is_damage, unavailable
from memtrace_server.store.sqlite.forks import Users
from memtrace_server.store.sqlite.indexing import WAKES, Indexer
from memtrace_server.store.sqlite.transaction import Known, SqliteTransaction
from memtrace_server.store.writing import DELAYS, PATIENCE, Writing

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

_TIDY_PATIENCE = 0.25  # seconds to wait for locks during maintenance
_LONG_LOG = 16_384  # pages; a shorter log is slower, as pages are copied more often
_SWEEP = 500  # rows, or more if more are added
_SWEEPS_FOR = 0.02  # seconds, for slow parts
_CLEAN_EVERY = 1.0  # seconds
_KEPT = times.DAY
_LONGEST_LOG = 4 * _LONG_LOG * 4_096  # bytes
_LOG_PATIENCE = 1.0  # seconds to wait for readers before the log grows further
_STEPS = 2_000  # instructions of SQLite between two checks of the deadline; some 50 µs
_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError)
_CACHE = (
    64 << 10
)  # KiB of pages in the writer's cache; SQLite's default of 2 MiB is small for a million memories


class SqliteStore:
    """A store in a SQLite file or in memory, opened at its first use.

    Args:
        path: The file; None for a store in memory.
        is_read_only: Whether the store is read only.
        create: Whether to create the file if it does not exist.
    """

    is_remote = False

    def __init__(self, path: str | None, *, is_read_only: bool = False, create: bool = True) -> None:
        self.is_read_only = is_read_only
        self._file = None if path is None else StoreFile(path, is_read_only=is_read_only, create=create)
        self._path = self._file.path if self._file else None
        self._set_up()
        if self._file is not None:
            forks.watch(self)

    def _set_up(self) -> None:
        """Create the objects of this process: locks, threads, and connections that are opened when needed."""
        self._writing = Writing(
            begin=self._begin_group,
            commit=self._commit,
            tidy=self._tidy,
            is_open=lambda: self._writer is not None,
            busy=self._busy,
            is_read_only=self.is_read_only,
            ended=self._note_ended,
        )
        self._writer: sqlite3.Connection | None = None
        self._known: Known | None = None
        self._is_readable = False
        self._readers: deque[sqlite3.Connection] = deque()
        self._users = Users()  # users of connections other than the writer's and the watcher's
        self._suspended: ExitStack | None = None
        self._unswept = self._unswept_long = 0
        self._swept_to = duplicates.START
        self._ended: deque[int] = deque()  # rows of texts that were staged for ended writes
        self._cleans_at = 0.0
        self._indexer = Indexer(self._index_reader, self._index_writer, self._note_cleaned)
        self._checkpoints = Checkpoints(self._log_connection, self._log_held)
        self._longest_log = _LONGEST_LOG
        self._has_forgotten = False
        self._damage: StoreUnavailable | None = None
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        self._probes = Probes(self._probe)

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        ends_at = end_of_wait(deadline, PATIENCE)
        return _patiently(partial(self._read, work, ends_at, deadline), ends_at)

    def write(
        self, work: Callable[[Transaction], T], deadline: Deadline | None = None, wants: WantsOf | None = None
    ) -> T:
        return cast("T", self._writing.write(Write(run=work, deadline=deadline, wants=wants)))

    def submit(self, writes: Sequence[Write], report: Report | None = None) -> None:
        self._writing.submit(writes, report)

    def tend(self) -> None:
        if not self.is_read_only:
            self._writing.start()
            self._indexer.tend()

    def version(self) -> int:
        with self._watching:
            self._see_that_it_is_open()
            if self._file is None:
                return self._writer.total_changes if self._writer else 0
            if self._watcher is None:
                self._watcher = self._file.connect(0.0)
            version: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
            return version

    def probe(self, deadline: Deadline | None = None) -> None:
        failure = self._probes.failure(deadline)
        failure = self._damage or failure
        if failure:
            raise failure
        self._see_that_its_file_is_there()

    def check(self) -> Iterator[str]:
        is_consistent = True
        with self._translated(), self._separate() as connection:
            for wrong in inspection.inspect(connection):
                is_consistent = False
                yield wrong
        if is_consistent:
            self._damage = None

    def backup(self, path: str) -> int:
        self._see_that_it_is_open()
        self._drain()
        with self._translated(), self._separate() as connection:
            return backups.make(connection, Path(path))

    def vacuum(self) -> None:
        with self._translated(), self._writing.held(end_of_wait(None, PATIENCE)):
            self._see_that_it_is_open()
            connection = self._open_writer(end_of_wait(None, PATIENCE))
            with _waiting_for_others(connection, PATIENCE):
                queued.drain(lambda: nullcontext(connection))
                # A write in progress finds them removed, and stages them again.
                with _immediate(connection, end_of_wait(None, PATIENCE)):
                    connection.execute("DELETE FROM texts WHERE id IN (SELECT id FROM staged)")
                    connection.execute("DELETE FROM staged")
                for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
                    for table in fulltext.tables(org):
                        fulltext.optimize(connection, table)
                connection.execute("VACUUM")
                (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise StoreUnavailable("somebody reads an older state of the file all the time; try again")

    def close(self) -> None:
        self._indexer.close()
        self._writing.close()
        if self._writer is not None:
            self._drain()
        self._checkpoints.close()
        with self._writing.held(math.inf), self._watching:
            self._disconnect()

    def _drain(self) -> None:
        """Remove all traces of forgotten memories from the file, if it can be written now."""
        if self.is_read_only:
            return
        try:
            self._indexer.drain()
        except StoreBusy:
            _LOG.debug("What was forgotten is removed later, as another process writes")
        except StoreNotFound:
            pass  # nothing was forgotten
        except StoreUnavailable as error:
            _LOG.warning("What was forgotten cannot be removed now: %s", error)

    def suspend(self, ends_at: float) -> None:
        with ExitStack() as held:
            held.callback(self._users.open)
            if not self._users.shut(ends_at):
                return
            try:
                held.enter_context(self._writing.held(ends_at))
            except StoreBusy:
                return
            held.enter_context(self._watching)
            self._disconnect()
            self._suspended = held.pop_all()

    def resume(self) -> None:
        if self._suspended is not None:
            self._suspended.close()
            self._suspended = None

    def begin_anew(self) -> None:
        if self._suspended is None and self._file is not None:
            self._file.leave_to_parent(self.__dict__.copy())
        self._set_up()

    def _disconnect(self) -> None:
        """Close all connections. The caller holds the locks of the writer and of the watcher."""
        self._close_readers()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._file is not None:
            self._file.forget()

    def _close_readers(self) -> None:
        with suppress(IndexError):  # None says that there are no more, as others may close connections
            while True:
                self._readers.pop().close()

    def _read(self, work: Callable[[Transaction], T], ends_at: float, deadline: Deadline | None) -> T:
        with self._translated(), self._reader(ends_at) as connection:
            return _reading(connection, work, SqliteTransaction(connection), deadline)

    def _probe(self, ends_at: float) -> None:
        if self.is_read_only:
            self._read(lambda transaction: transaction.secret(), ends_at, None)
            return
        with self._writing.held(ends_at), self._translated():
            self._see_that_it_is_open()
            connection = self._open_writer(ends_at)
            _begin(connection, ends_at)
            with RolledBack(connection):
                connection.execute("UPDATE secrets SET secret = secret")
                self._see_that_its_file_is_there()
                connection.execute("COMMIT")
        if self._file is not None:
            self._file.require_room()

    def _see_that_it_is_open(self) -> None:
        if self._writing.is_closed:
            raise StoreUnavailable("the store is closed")

    def _see_that_its_file_is_there(self) -> None:
        if self._file and self._file.is_lost():
            raise StoreUnavailable(
                "the store's file was removed or replaced while it was open; restart what has it open",
                self._file.path,
            )

    def _busy(self) -> StoreBusy:
        return StoreBusy("others write to it all the time; try again later", self._path)

    def _translated(self) -> _Translated:
        return _Translated(self._path, self._note)

    def _note(self, failure: BaseException | None) -> None:
        """Record that the file is damaged."""
        if isinstance(failure, StoreUnavailable) and is_damage(failure.__cause__):
            self._damage = failure

    def _begin_group(self) -> None:
        with self._translated():
            connection = self._open_writer(0.0)
            with RolledBack(connection):
                connection.execute("BEGIN IMMEDIATE")

    def _commit(self, writes: Sequence[Write], ends_at: float) -> Sequence[Outcome[Any]]:  # noqa: ARG002
        """Do writes in the current transaction, and commit it."""
        connection = cast("sqlite3.Connection", self._writer)
        with self._translated():
            try:
                outcomes = self._end(connection, _do(connection, writes, _attempt, self._take_known()))
            except (_Spoilt, sqlite3.Error) as error:
                if len(writes) == 1 and not isinstance(error, _Spoilt):
                    raise  # there is no other write in the group
                _begin(connection, end_of_wait(None, PATIENCE))
                known = self._take_known()
                outcomes = self._end(connection, _do(connection, writes, _attempt_carefully, known))
        for _, failure in outcomes:
            self._note(failure)
        return [
            (texts.begun(write, failure), None)
            if isinstance(failure, texts.Unstaged | texts.Unforgotten)
            else outcome
            for write, outcome in zip(writes, outcomes, strict=True)
            for _, failure in [outcome]
        ]

    def _take_known(self) -> Known:
        """Take the facts of the last transaction, unless another connection has written since.

        No other transaction has them until this one is committed. The caller has begun a write transaction.
        """
        known, self._known = self._known, None
        connection = cast("sqlite3.Connection", self._writer)
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        return known if known is not None and known.version == version else Known(version)

    def _end(self, connection: sqlite3.Connection, done: _Done) -> Sequence[Outcome[Any]]:
        with RolledBack(connection):
            self._see_that_its_file_is_there()
            connection.execute("COMMIT")
        self._known = done.transaction.known
        self._unswept += done.transaction.additions
        self._unswept_long += done.transaction.mortal_long
        self._note_changed(done.transaction)
        return [self._indexer.in_time(outcome, org) for outcome, org in done.outcomes]

    def _tidy(self, now: int, *, sweeps: bool) -> float | None:
        """Do maintenance; if a part fails, the others are done nevertheless."""
        is_left = False
        self._known = None
        failure: Exception | None = None
        parts: list[Callable[[sqlite3.Connection, int], bool]]
        parts = [self._sweep, self._sweep_long] if sweeps else []
        parts += [self._sweep_texts, self._empty_log, self._shorten_log]
        for part in parts:
            try:
                with self._translated():
                    is_left |= part(self._open_writer(0.0), now)
            except Exception as error:  # noqa: BLE001 - raised after the other parts
                failure = failure or error
        if failure is not None:
            raise failure
        if not is_left:
            return None
        # Long memories accumulate if more are added than swept, so other writes get one transaction in
        # between.
        return 0.0 if self._unswept_long > 0 else 1.0

    def _sweep(self, connection: sqlite3.Connection, now: int) -> bool:
        with _transaction(connection, end_of_wait(None, _TIDY_PATIENCE)) as transaction:
            # Twice the number of added rows, as expired memories would accumulate otherwise.
            limit = _SWEEP + 2 * self._unswept
            transaction.sweep(now, now - _KEPT, limit)
            swept_to = transaction.sweep_duplicates(now, now - _KEPT, self._swept_to, limit)
        self._swept_to = swept_to
        self._unswept = 0
        self._note_changed(transaction)
        return False

    def _sweep_long(self, connection: sqlite3.Connection, now: int) -> bool:
        def part(transaction: SqliteTransaction) -> bool:
            removed = transaction.sweep_long(now)
            self._unswept_long = max(0, self._unswept_long - removed) if removed == texts.FORGOTTEN else 0
            return removed == texts.FORGOTTEN

        return self._in_parts(connection, part)

    def _sweep_texts(self, connection: sqlite3.Connection, now: int) -> bool:
        """Remove texts that were staged by failed writes."""
        if self._ended:
            rows = [self._ended.popleft() for _ in range(len(self._ended))]
            with _transaction(connection, end_of_wait(None, _TIDY_PATIENCE)) as transaction:
                transaction.end_staging(rows)

        def part(transaction: SqliteTransaction) -> bool:
            removed = transaction.sweep_texts(now)
            if removed and self._file is not None:
                self._note_cleaned()
            return removed == texts.SWEPT

        is_any = connection.execute("SELECT 1 FROM staged LIMIT 1").fetchone() is not None
        return is_any and self._in_parts(connection, part)

    def _in_parts(self, connection: sqlite3.Connection, part: Callable[[SqliteTransaction], bool]) -> bool:
        """Do parts in separate transactions until a time limit; return whether any parts are left."""
        ends_at = time.monotonic() + _SWEEPS_FOR
        is_left = True
        while is_left:
            with _transaction(connection, end_of_wait(None, _TIDY_PATIENCE)) as transaction:
                is_left = part(transaction)
            self._note_changed(transaction)
            if time.monotonic() >= ends_at:
                break
        return is_left

    def _note_ended(self, left: Write) -> None:
        """Schedule to remove the texts that were staged for an ended write."""
        rows = texts.staged_for(left)
        if rows:
            self._ended.extend(rows)
            self._writing.start()

    def _note_changed(self, transaction: SqliteTransaction) -> None:
        """Schedule to index stored memories, and to remove traces of forgotten ones."""
        self._indexer.note(transaction.unindexed_weights)
        if transaction.forgotten_from and self._file is not None:
            self._indexer.merge(transaction.forgotten_from)
            self._note_cleaned()

    def _note_cleaned(self) -> None:
        """Schedule to empty the write-ahead log, which contains forgotten memories."""
        self._has_forgotten = True
        self._writing.start()

    def _empty_log(self, *_: object) -> bool:
        """Remove forgotten memories from the write-ahead log."""
        if time.monotonic() >= self._cleans_at:
            self._cleans_at = time.monotonic() + _CLEAN_EVERY
            if self._has_forgotten:
                self._has_forgotten = False
                self._checkpoints.empty()
        return False

    def _shorten_log(self, *_: object) -> bool:
        """Schedule a checkpoint of a long log, and empty a very long one.

        SQLite restarts the log when no reader uses it, which may never happen. In this case, the writer waits
        for the current readers; later readers do not need the log.
        """
        if self._file is None:
            return False
        size = self._file.log_size()
        if size >= self._longest_log:
            self._longest_log = size + _LONGEST_LOG
            self._checkpoints.empty(_LOG_PATIENCE)
        elif self._file.has_long_log(_LONG_LOG):
            self._checkpoints.shorten()
        if size < _LONGEST_LOG:
            self._longest_log = _LONGEST_LOG
        return False

    def _open_writer(self, ends_at: float) -> sqlite3.Connection:
        """Return the connection for writing, outside of a transaction. The caller holds the writer's lock."""
        if self._writer is None:
            self._known = None
            with self._translated():
                self._writer = _patiently(self._opened, ends_at)
        elif self._writer.in_transaction:  # of a thread that was interrupted just after BEGIN
            with self._translated():
                self._writer.execute("ROLLBACK")
        return self._writer

    def _opened(self) -> sqlite3.Connection:
        if self._file is not None:
            self._file.prepare()
        connection = self._connect()
        try:
            with self._translated():
                if self._file is not None:
                    self._file.recognise(connection)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `checkpoints`
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute(f"PRAGMA cache_size = -{_CACHE}")
                migrations.migrate(connection, times.now())
                self._indexer.note(_unindexed(connection))
                self._indexer.merge(org for (org,) in connection.execute("SELECT DISTINCT org FROM leaving"))
            if self._file is not None:
                self._file.remember()
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, patience: float = 0.0) -> sqlite3.Connection:
        if self._file is None:
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        else:
            connection = self._file.connect(patience)
        connection.create_function("matches", 2, queries.matches, deterministic=True)
        connection.create_function("contains", 2, queries.contains, deterministic=True)
        connection.create_function("has_words", 2, queries.has_words, deterministic=True)
        return connection

    def _open(self, ends_at: float) -> None:
        """Open the store unless it is open. The caller holds the writer's lock."""
        self._see_that_it_is_open()
        if not self.is_read_only:
            self._open_writer(ends_at)
        elif self._file is not None and not self._is_readable:
            self._file.prepare()
            with closing(self._connect()) as connection:
                self._file.recognise(connection)
                migrations.require_current(connection)
            self._is_readable = True

    @contextmanager
    def _separate(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for long work; a store in memory has only one, for which others then wait."""
        ends_at = end_of_wait(None, PATIENCE)
        with self._writing.held(ends_at):
            self._open(ends_at)
            if self._file is None:
                yield self._open_writer(ends_at)
                return
        with self._users.one(), closing(self._connect(PATIENCE)) as connection:
            yield connection

    @contextmanager
    def _index_reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection from which the indexer reads."""
        with self._translated(), self._reader(end_of_wait(None, PATIENCE)) as connection:
            yield connection

    @contextmanager
    def _index_writer(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to which the indexer writes."""
        ends_at = end_of_wait(None, PATIENCE)
        with self._writing.held(ends_at), self._translated():
            yield self._open_writer(ends_at)

    @contextmanager
    def _log_connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for checkpoints."""
        file = cast("StoreFile", self._file)
        with self._translated(), self._users.one(), closing(file.connect(0.0)) as connection:
            yield connection

    def _log_held(self) -> AbstractContextManager[None]:
        """Hold the writer's lock."""
        return self._writing.held(end_of_wait(None, PATIENCE))

    @contextmanager
    def _reader(self, ends_at: float) -> Iterator[sqlite3.Connection]:
        if self._file is None or not (self._writer or self._is_readable):
            with self._writing.held(ends_at):
                self._open(ends_at)
                if self._file is None:  # a store in memory has one connection
                    yield self._open_writer(ends_at)
                    return
        with self._users.one():
            self._see_that_it_is_open()
            self._see_that_its_file_is_there()
            if self.is_read_only and self._file.is_sealed():
                with self._file.unchanged(), closing(self._connect()) as connection:
                    yield connection
                return
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            try:
                yield connection
            finally:
                self._readers.append(connection)
                if self._writing.is_closed:  # `close` found this connection in use
                    self._close_readers()


def _delays() -> Iterator[float]:
    """Yield the seconds between attempts, endlessly."""
    return chain(DELAYS, repeat(DELAYS[-1]))


def _patiently(attempt: Callable[[], T], ends_at: float) -> T:
    """Repeat an attempt while another process holds the lock, and return its result.

    Raises:
        StoreBusy: The lock was not free until `ends_at`.
    """
    for delay in _delays():
        try:
            return attempt()
        except StoreBusy:
            if time.monotonic() + delay > ends_at:
                raise
        time.sleep(delay)
    raise AssertionError("delays have no end")


def _begin(connection: sqlite3.Connection, ends_at: float) -> None:
    """Begin a write transaction."""

    def attempt() -> None:
        with _Translated():
            connection.execute("BEGIN IMMEDIATE")

    _patiently(attempt, ends_at)


@contextmanager
def _waiting_for_others(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Let SQLite itself wait for locks, in work of many steps."""
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1_000)}")
    try:
        yield
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


def _reading(
    connection: sqlite3.Connection,
    work: Callable[[Transaction], T],
    transaction: SqliteTransaction,
    deadline: Deadline | None = None,
) -> T:
    """Return the result of a work that reads, and roll its transaction back.

    Only the work is interrupted: an interrupted ROLLBACK would leave the connection in its transaction.
    """
    try:
        connection.execute("BEGIN")
        with _interrupted(connection, deadline):
            return work(transaction)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _transaction(connection: sqlite3.Connection, ends_at: float) -> Iterator[SqliteTransaction]:
    """Run a transaction, committed at the end."""
    with _immediate(connection, ends_at):
        transaction = SqliteTransaction(connection)
        yield transaction
        transaction.finish()


@contextmanager
def _immediate(connection: sqlite3.Connection, ends_at: float) -> Iterator[None]:
    """Run a write transaction, committed at the end."""
    _begin(connection, ends_at)
    with RolledBack(connection):
        yield
        connection.execute("COMMIT")


@contextmanager
def _interrupted(connection: sqlite3.Connection, deadline: Deadline | None) -> Iterator[None]:
    """Interrupt SQLite on this connection when the deadline passes."""
    if deadline is None:
        yield
        return
    deadline.check()
    connection.set_progress_handler(deadline.is_over, _STEPS)
    try:
        with observed(deadline):
            yield
    except sqlite3.OperationalError as error:
        # Errors of the module itself, such as invalid UTF-8, have no code of SQLite. A function that finds
        # the deadline passed may raise any error.
        if getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ERROR}:
            deadline.check()
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _unindexed(connection: sqlite3.Connection) -> Mapping[int, int]:
    """Return some unindexed memories by organisation, enough to wake the indexer, but not to delay writes."""
    sql = "SELECT org FROM unindexed UNION ALL SELECT org FROM leaving LIMIT ?"
    rows = connection.execute(sql, (WAKES,))
    return Counter(org for (org,) in rows)


_Run = Callable[[Transaction], Any]
_Attempt = Callable[[sqlite3.Connection, SqliteTransaction, _Run], Outcome[Any]]


@frozen
class _Done:
    """Works that have been done, but not committed, each with the organisation of its memories."""

    transaction: SqliteTransaction
    outcomes: Sequence[tuple[Outcome[Any], int | None]]


class _Spoilt(Exception):  # noqa: N818 - a signal to begin again
    """A work of the group failed after it had written something."""


def _do(connection: sqlite3.Connection, writes: Sequence[Write], attempt: _Attempt, known: Known) -> _Done:
    """Do writes in the current transaction."""
    with RolledBack(connection):
        transaction = SqliteTransaction(connection, known)
        if len(writes) > 1:  # a single write reads its facts itself
            transaction.look_up([(write.org, wanted(write.wants)) for write in writes])
        outcomes: list[tuple[Outcome[Any], int | None]] = []
        for write in writes:
            transaction.added_to = None
            outcome = attempt(connection, transaction, write.run)
            outcomes.append((outcome, transaction.added_to))
        transaction.finish()
    return _Done(transaction, outcomes)


def _attempt(connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Run) -> Outcome[Any]:
    """Return the result of a work, or an exception that it raised before it wrote anything."""
    before = transaction.changes
    try:
        with _Translated():
            return work(transaction), None
    except Exception as error:
        if not connection.in_transaction:
            raise
        if transaction.changes != before:
            raise _Spoilt from error
        return None, error


def _attempt_carefully(
    connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Run
) -> Outcome[Any]:
    """Return the result of a work, or its exception after its writes have been undone.

    The savepoint costs a fifth of a work's time, so it is used only when needed.
    """
    transaction.flush()
    connection.execute("SAVEPOINT one")
    outcome: Outcome[Any]
    try:
        with _Translated():
            outcome = (work(transaction), None)
            transaction.flush()
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        transaction.go_back()
        outcome = (None, error)
    connection.execute("RELEASE one")
    return outcome


class _Translated:
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
