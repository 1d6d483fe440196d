"""The SQLite store: a writer that commits all queued writes, and concurrent readers.

A write is durable when it is acknowledged: WAL with synchronous=FULL.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from memtrace_server import times
from memtrace_server.deadlines import Deadline, end_of_wait, observed
from memtrace_server.store.groups import Spoilt
from memtrace_server.store.probing import Probes
from memtrace_server.store.protocol import (
    Outcome,
    Report,
    StoreBusy,
    StoreNotFound,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    WantsOf,
    Write,
)
from memtrace_server.store.sqlite import (
    backups,
    forks,
    fulltext,
    groups,
    inspection,
    migrations,
    queries,
    queued,
    texts,
)
from memtrace_server.store.sqlite.checkpoints import Checkpoints
from memtrace_server.store.sqlite.commits import RolledBack, begin, immediate, patiently
from memtrace_server.store.sqlite.failures import Translated, is_damage
from memtrace_server.store.sqlite.file import StoreFile
from memtrace_server.store.sqlite.forks import Users
from memtrace_server.store.sqlite.indexing import WAKES, Indexer
from memtrace_server.store.sqlite.known import Known
from memtrace_server.store.sqlite.tidying import Tidying
from memtrace_server.store.sqlite.transaction import SqliteTransaction
from memtrace_server.store.writing import PATIENCE, Writing

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

_STEPS = 2_000  # instructions of SQLite between two checks of the deadline; some 50 µs
# KiB of pages in the writer's cache. SQLite's default of 2 MiB is small for a million memories.
_CACHE = 64 << 10


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
            ended=lambda left: self._tidying.note_ended(left),  # noqa: PLW0108 - created below
        )
        self._writer: sqlite3.Connection | None = None
        self._known: Known | None = None
        self._is_readable = False
        self._readers: deque[sqlite3.Connection] = deque()
        self._users = Users()  # users of connections other than the writer's and the watcher's
        self._suspended: ExitStack | None = None
        self._indexer = Indexer(
            self._index_reader,
            self._index_writer,
            lambda: self._tidying.note_cleaned(),  # noqa: PLW0108 - as above
        )
        self._checkpoints = Checkpoints(self._log_connection, self._log_held)
        self._tidying = Tidying(
            file=self._file,
            writer=partial(self._open_writer, 0.0),
            translated=self._translated,
            indexer=self._indexer,
            checkpoints=self._checkpoints,
            wake=self._writing.start,
        )
        self._damage: StoreUnavailable | None = None
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        self._probes = Probes(self._probe)

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        ends_at = end_of_wait(deadline, PATIENCE)
        return patiently(partial(self._read, work, ends_at, deadline), ends_at)

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
        if self.is_read_only:
            raise StoreReadOnly
        with self._translated(), self._writing.held(end_of_wait(None, PATIENCE)):
            self._see_that_it_is_open()
            connection = self._open_writer(end_of_wait(None, PATIENCE))
            with _waiting_for_others(connection, PATIENCE):
                queued.drain(lambda: nullcontext(connection))
                # A write in progress finds them removed, and stages them again.
                with immediate(connection, end_of_wait(None, PATIENCE)):
                    connection.execute("DELETE FROM texts WHERE id IN (SELECT id FROM staged)")
                    connection.execute("DELETE FROM staged")
                for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
                    for table in fulltext.tables(org):
                        fulltext.optimize(connection, table)
                connection.execute("VACUUM")
                (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise StoreUnavailable("other readers keep an older state of the file open; try again")

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
        with suppress(IndexError):  # none is left, as others may close connections meanwhile
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
            begin(connection, ends_at)
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

    def _translated(self) -> Translated:
        return Translated(self._path, self._note)

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
                outcomes = self._end(connection, groups.do(connection, writes, self._take_known()))
            except (Spoilt, sqlite3.Error) as error:
                if len(writes) == 1 and not isinstance(error, Spoilt):
                    raise  # there is no other write in the group
                begin(connection, end_of_wait(None, PATIENCE))
                done = groups.do(connection, writes, self._take_known(), carefully=True)
                outcomes = self._end(connection, done)
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

    def _end(self, connection: sqlite3.Connection, done: groups.Done) -> Sequence[Outcome[Any]]:
        with RolledBack(connection):
            self._see_that_its_file_is_there()
            connection.execute("COMMIT")
        self._known = done.transaction.known
        self._tidying.note_written(done.transaction)
        return [self._indexer.in_time(outcome, org) for outcome, org in done.outcomes]

    def _tidy(self, now: int, *, sweeps: bool) -> float | None:
        self._known = None
        return self._tidying.tidy(now, sweeps=sweeps)

    def _open_writer(self, ends_at: float) -> sqlite3.Connection:
        """Return the connection for writing, outside of a transaction. The caller holds the writer's lock."""
        if self._writer is None:
            self._known = None
            with self._translated():
                self._writer = patiently(self._opened, ends_at)
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
