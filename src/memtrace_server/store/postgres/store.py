"""The PostgreSQL store: a few connections that commit all queued writes, and others that read.

An acknowledged write is durable as `synchronous_commit` defines it. Queued writes share a transaction, as in
SQLite. If one of them fails after it has written something, or if it conflicts with another server, the group
is repeated. A server commits a few groups concurrently, so that it prepares one while PostgreSQL works on
others; these groups may conflict like those of different servers.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from shlex import quote
from typing import Any, TypeVar, cast
from weakref import WeakSet

import msgspec
import psycopg
from psycopg import errors
from psycopg.errors import Diagnostic

from memtrace_server import times
from memtrace_server.deadlines import Deadline, end_of_wait, observed
from memtrace_server.store.facts import wanted
from memtrace_server.store.postgres import inspection, migrations
from memtrace_server.store.postgres.connecting import (
    LOST,
    STALE,
    Connection,
    Connections,
    cut,
    is_lost,
    reason_of,
)
from memtrace_server.store.postgres.executing import Executor
from memtrace_server.store.postgres.transaction import Clock, PostgresTransaction
from memtrace_server.store.postgres.writing import LARGE, Conflict
from memtrace_server.store.probing import Probes
from memtrace_server.store.protocol import (
    Outcome,
    OutcomeUnknown,
    Report,
    StoreBusy,
    StoreNotFound,
    StoreUnavailable,
    StoreUnsupported,
    Transaction,
    WantsOf,
    Write,
)
from memtrace_server.store.records import Wants
from memtrace_server.store.writing import PATIENCE, Writing
from memtrace_server.store_url import StoreUrl

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

_WATCH_PATIENCE = 2.0  # seconds
_MAX_ATTEMPTS = 50  # of a group
_MAX_COLLISIONS = 5  # of a group's rows with others, before a work counts as their cause
_BACKOFF = 0.02  # maximum seconds, times the attempts, before a group is repeated
_MAX_REPEATS = 2  # of a group that lost its connection, as it may be the cause
_TIDY_PATIENCE = 10.0  # seconds
_SWEEP = 500  # rows, or more if more are added
_KEPT = times.DAY
_SLOTS = 16  # rows of each count, so that writers do not wait for each other
_NEXT_SLOT = count(random.randrange(_SLOTS))  # noqa: S311 - threads of one process rarely share one
_LANES = 3  # groups that a server commits concurrently
_WATCHED_FOR = 5.0  # seconds after a request for the version
_WATCH_EVERY = 0.025  # seconds

_ONLY_READS = (
    "the server is a standby, or reads only; name the primary in the URL, or several hosts with"
    " ?target_session_attrs=read-write"
)
_REFUSED = "the database cannot do it now"
_PASSING = (
    errors.UniqueViolation,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
)
_CONFLICTS = (Conflict, *_PASSING)


class _Todo(msgspec.Struct, frozen=True):
    """A work, its organisation if known, and the facts that it is going to read."""

    run: Callable[[Transaction], Any]
    org: int | None
    wants: Wants


class _Slot(threading.local):
    """The slot in which a thread counts, so that it does not wait for others."""

    def __init__(self) -> None:
        self.number = next(_NEXT_SLOT) % _SLOTS


class PostgresStore:
    """A store in a PostgreSQL database, opened at its first use.

    Args:
        location: The database.
        create: Whether to create the tables if they do not exist.
    """

    is_remote = True

    def __init__(self, location: StoreUrl, *, create: bool = True) -> None:
        self.is_read_only = location.is_read_only
        self._location = location
        self._create = create
        self._connections = Connections(location)
        self._opening = threading.Lock()
        self._is_open = False
        self._is_distributed = False
        self._settled: WeakSet[Connection] = WeakSet()
        self._starting = threading.Lock()
        self._is_tended = False
        self._pieces = migrations.Pieces.INDEXED
        self._indexer: threading.Thread | None = None
        self._indexing: Connection | None = None
        self._orgs: dict[bytes, int] = {}
        self._clock = Clock()
        self._slot = _Slot()
        self._running = threading.Lock()  # held while works run, one after the other as on SQLite
        self._lanes = ThreadPoolExecutor(_LANES, thread_name_prefix="memtrace-writer")
        self._free = threading.BoundedSemaphore(_LANES)
        self._writing = Writing(
            begin=self._wait_for_lane,
            commit=self._do,
            tidy=self._tidy,
            is_open=lambda: self._is_open,
            busy=self._busy,
            is_read_only=location.is_read_only,
        )
        self._unswept = 0
        self._watching = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._asked_at = 0.0
        self._version = 0
        self._probes = Probes(self._probe)

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        deadline = deadline or Deadline()
        ends_at = end_of_wait(deadline, PATIENCE)
        with self._translated(deadline), observed(deadline):
            self._open(ends_at)
            attempt = 0
            while True:
                attempt += 1
                is_last = attempt > _MAX_REPEATS or time.monotonic() >= ends_at
                with self._connections.lent(ends_at, deadline) as connection:
                    try:
                        return self._read(connection, work)
                    except (
                        _PASSING
                    ) as error:  # for instance on a standby that removes rows which a query reads
                        if is_last:
                            raise self._connections.unavailable(_REFUSED, error) from error
                    except LOST:
                        if is_last or not is_lost(connection) or time.monotonic() >= ends_at:
                            raise
                if is_lost(connection):
                    self._connections.drop_idle()  # the next attempt opens a connection, or fails
                _step_back(attempt, ends_at)

    def write(
        self, work: Callable[[Transaction], T], deadline: Deadline | None = None, wants: WantsOf | None = None
    ) -> T:
        return cast("T", self._writing.write(Write(run=work, deadline=deadline, wants=wants)))

    def submit(self, writes: Sequence[Write], report: Report | None = None) -> None:
        self._writing.submit(writes, report)

    def tend(self) -> None:
        if not self.is_read_only:
            self._is_tended = True
            self._writing.start()
            self._start_indexer()

    def version(self) -> int:
        with self._watching:
            self._asked_at = time.monotonic()
            if self._watcher is None and not self._writing.is_closed:
                self._watcher = threading.Thread(target=self._watch, name="memtrace-watcher", daemon=True)
                self._watcher.start()
            return self._version

    def probe(self, deadline: Deadline | None = None) -> None:
        failure = self._probes.failure(deadline)
        if failure:
            raise failure

    def check(self) -> Iterator[str]:
        with self._translated(None):
            self._open(end_of_wait(None, PATIENCE))
            with self._connections.lent(math.inf) as connection, _snapshot(connection):
                yield from inspection.inspect(connection)

    def backup(self, path: str) -> int:
        raise StoreUnsupported(
            f"a PostgreSQL store is copied by pg_dump --format=custom --file={quote(path)}"
            f" --dbname={quote(str(self._location))}, its whole server by pg_basebackup, and its memories to"
            " another kind of store by memtrace copy"
        )

    def vacuum(self) -> None:
        raise StoreUnsupported(
            "PostgreSQL removes what was forgotten by itself (autovacuum); VACUUM (FULL) memtrace.memories,"
            " or pg_repack, rewrites its files at once"
        )

    def close(self) -> None:
        self._writing.close()
        self._lanes.shutdown()
        with self._starting:
            if self._indexing is not None:
                cut(self._indexing)
        with self._watching:
            self._watching.notify()
        for thread in (self._watcher, self._indexer):
            if thread is not None:
                thread.join()
        self._connections.close()

    # --- reading

    def _read(self, connection: Connection, work: Callable[[Transaction], T]) -> T:
        with _snapshot(connection):
            return work(self._transaction(connection, is_writing=False))

    def _transaction(self, connection: Connection, *, is_writing: bool) -> PostgresTransaction:
        executor = Executor(
            connection,
            is_distributed=self._is_distributed,
            has_pieces=self._pieces is migrations.Pieces.INDEXED,
        )
        return PostgresTransaction(executor, self._clock, self._slot.number, is_writing=is_writing)

    def _probe(self, ends_at: float) -> None:
        with self._translated(None):
            self._open(ends_at)
            with self._connections.lent(ends_at) as connection:
                if self.is_read_only:
                    self._read(connection, lambda transaction: transaction.secret())
                else:
                    connection.execute("UPDATE secrets SET secret = secret")

    def _watch(self) -> None:
        """Check for commits of any process, as long as the version is requested."""
        seen: object = None
        while True:
            with self._watching:
                if self._writing.is_closed or time.monotonic() - self._asked_at > _WATCHED_FOR:
                    self._watcher = None
                    self._version += 1
                    return
            found: object
            try:
                with self._connections.lent(time.monotonic() + _WATCH_PATIENCE) as connection:
                    found = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
            except (psycopg.Error, StoreUnavailable):
                found = object()  # the caller then reads, and gets the error
            with self._watching:
                if found != seen:
                    self._version += 1
                seen = found
                self._watching.wait(_WATCH_EVERY)

    # --- writing

    def _wait_for_lane(self) -> None:
        """Wait for a free lane for the next group, which grows meanwhile. Only one thread calls this."""
        with self._free:
            pass

    def _do(
        self, writes: Sequence[Write], ends_at: float
    ) -> Sequence[Outcome[Any]] | Future[Sequence[Outcome[Any]]]:
        """Commit writes; in a server, use a lane, so that further writes can be queued meanwhile."""
        if not self._is_tended:
            return self._outcomes(writes, ends_at)
        self._free.acquire()
        try:
            done = self._lanes.submit(self._outcomes, writes, ends_at)
        except BaseException:
            self._free.release()
            raise
        done.add_done_callback(lambda _: self._free.release())
        return done

    def _outcomes(self, writes: Sequence[Write], ends_at: float) -> Sequence[Outcome[Any]]:
        """Return the outcomes of writes; in a distributed database, each organisation has a transaction."""
        works = [_Todo(write.run, write.org, wanted(write.wants)) for write in writes]
        outcomes: list[Outcome[Any]] = [(None, None)] * len(works)
        for group in self._cut(works, ends_at) if works else ():
            done: Sequence[Outcome[Any]]
            try:
                done = self._commit([works[at] for at in group], ends_at)
            except BaseException as error:  # noqa: BLE001 - any error must reach the waiting callers
                done = [(None, error)] * len(group)
            for at, outcome in zip(group, done, strict=True):
                outcomes[at] = outcome
        return outcomes

    def _cut(self, works: Sequence[_Todo], ends_at: float) -> Sequence[Sequence[int]]:
        """Return the groups in which works are committed, each as positions of its works."""
        with self._translated(None):
            self._open(ends_at)
        if not self._is_distributed or len(works) == 1:
            return [range(len(works))]
        unknown = {todo.wants.digest for todo in works} - self._orgs.keys() - {None}
        if unknown:
            with self._translated(None), self._connections.lent(ends_at) as connection:
                sql = "SELECT digest, org FROM keys WHERE digest = ANY(%s)"
                self._orgs.update(connection.execute(sql, [list(unknown)]).fetchall())
        groups: dict[object, list[int]] = {}
        for at, todo in enumerate(works):
            wants = todo.wants
            org = wants.org if wants.digest is None else self._orgs.get(wants.digest, wants.digest)
            groups.setdefault(at if org is None else ("org", org), []).append(at)
        return list(groups.values())

    def _commit(self, works: Sequence[_Todo], ends_at: float) -> Sequence[Outcome[Any]]:
        """Commit works, and repeat after conflicts with other writers.

        Raises:
            StoreUnavailable: The works cannot be committed.
        """
        with self._translated(None):
            self._open(ends_at)
            is_careful = False
            losses = refusals = collisions = 0
            for attempt in range(_MAX_ATTEMPTS):
                with self._connections.lent(ends_at) as connection:
                    try:
                        blames = collisions > _MAX_COLLISIONS
                        return self._attempt(connection, works, is_careful=is_careful, blames=blames)
                    except _CONFLICTS as error:
                        collisions += isinstance(error, errors.UniqueViolation)
                        _LOG.debug("A group of writes is done again: %r", error)
                    except STALE as error:
                        connection.close()
                        refusals += 1
                        if refusals > 1:
                            raise StoreUnavailable(_ONLY_READS, self._location) from error
                    except _Spoilt:
                        is_careful = True
                        continue
                    except LOST as error:
                        losses += 1
                        if not is_lost(connection) or (losses > _MAX_REPEATS and time.monotonic() < ends_at):
                            raise
                        _LOG.debug("A connection was lost before a commit: %r", error)
                if time.monotonic() >= ends_at:
                    break
                if connection.closed:
                    self._connections.drop_idle()
                else:
                    self._note_last_rows()
                _step_back(attempt, ends_at)
        raise self._busy()

    def _attempt(
        self, connection: Connection, works: Sequence[_Todo], *, is_careful: bool, blames: bool
    ) -> Sequence[Outcome[Any]]:
        """Do works in one transaction, and commit it.

        Args:
            connection: The connection.
            works: The works.
            is_careful: Whether each work has a savepoint.
            blames: Whether the work that adds an existing row fails.
        """
        try:
            if connection not in self._settled:
                migrations.settle(connection)
                self._settled.add(connection)
            transaction = self._transaction(connection, is_writing=True)
            do = partial(_do_carefully, blames=blames) if is_careful or blames else _do
            transaction.look_up([(todo.org, todo.wants) for todo in works])
            outcomes: list[Outcome[Any]] = []
            writes: list[bool] = []
            with self._running:
                for todo in works:
                    before = transaction.changes
                    outcomes.append(do(connection, transaction, todo.run))
                    writes.append(transaction.changes != before)
                    transaction.flush_if_large(LARGE)
                self._unswept += transaction.additions
            doubt = _commit_or_doubt(connection, transaction.finish())
        except psycopg.Error as error:
            _roll_back(connection)
            if _is_of_a_work(connection, error):
                raise _Spoilt from error
            raise
        except BaseException:
            _roll_back(connection)
            raise
        if doubt is None:
            return outcomes
        # Later works may depend on a change, such as a replay, or a conflict with a memory of the same group.
        known = writes.index(True) if True in writes else len(works)
        unknown = OutcomeUnknown(f"{doubt}; the write may have been stored", self._location)
        return [*outcomes[:known], *[(None, unknown)] * (len(works) - known)]

    def _note_last_rows(self) -> None:
        """Advance the next row above existing ones; another process may have the same clock, or be ahead."""
        self._clock.last = max(self._clock.last + random.randrange(1, 1_000), times.now())  # noqa: S311

    def _tidy(self, now: int, *, sweeps: bool) -> None:
        """Let PostgreSQL analyse tables that have grown, and remove expired data."""
        with (
            self._translated(None),
            self._connections.lent(time.monotonic() + _TIDY_PATIENCE) as connection,
        ):
            migrations.analyse(connection)
        if not sweeps:
            return
        try:
            with (
                self._translated(None),
                self._connections.lent(time.monotonic() + _TIDY_PATIENCE) as connection,
                connection.transaction(),
            ):
                transaction = self._transaction(connection, is_writing=True)
                transaction.sweep(now, now - _KEPT, _SWEEP + 2 * self._unswept)
                transaction.flush()
        except _CONFLICTS as error:
            raise self._busy() from error
        self._unswept = 0

    # --- opening

    def _open(self, ends_at: float) -> None:
        """Migrate the schema, once."""
        if self._is_open:
            return
        if not self._opening.acquire(timeout=max(0.0, ends_at - time.monotonic())):
            raise self._busy()
        try:
            if not self._is_open:
                with self._connections.lent(ends_at) as connection:
                    self._prepare(connection)
                    self._is_distributed = migrations.is_distributed(connection)
                self._is_open = True
                self._start_indexer()
        finally:
            self._opening.release()

    def _prepare(self, connection: Connection) -> None:
        missing = migrations.missing(connection)
        if missing and self.is_read_only:
            raise StoreUnavailable("the store has another version's tables; open it once without ?mode=ro")
        if missing and not self._create:
            raise StoreNotFound("the database has no store yet", self._location)
        if self.is_read_only:
            if not migrations.has_pieces(connection):
                self._pieces = migrations.Pieces.NOT_INDEXED
            return
        migrations.migrate(connection, times.now(), secrets.token_bytes(32))
        migrations.settle(connection)
        self._pieces = migrations.prepare_pieces(connection)
        if self._pieces is migrations.Pieces.IMPOSSIBLE:
            _LOG.warning(
                "PostgreSQL's extension pg_trgm is not installed, so content_contains looks through all"
                " memories that other filters leave; have a superuser run CREATE EXTENSION pg_trgm"
            )

    def _start_indexer(self) -> None:
        """Create missing indexes in the background if this is a server, as a client may end too soon."""
        with self._starting:
            is_wanted = self._is_open and self._is_tended and self._pieces is migrations.Pieces.NOT_INDEXED
            if is_wanted and self._indexer is None and not self._writing.is_closed:
                self._indexer = threading.Thread(target=self._index, name="memtrace-indexer", daemon=True)
                self._indexer.start()

    def _index(self) -> None:
        _LOG.info("An index for content_contains is being made, which looks through all memories until then")
        try:
            with self._translated(None), self._connections.lent(math.inf) as connection:
                try:
                    with self._starting:
                        self._indexing = None if self._writing.is_closed else connection
                    if self._indexing is not None:
                        migrations.index_pieces(connection)
                        self._pieces = migrations.Pieces.INDEXED
                finally:
                    connection.close()  # it has its own settings, and a lock
            _LOG.info("The index for content_contains is made")
        except (psycopg.Error, StoreUnavailable) as error:
            _LOG.warning("The index for content_contains is not made, until a server starts again: %s", error)
        finally:
            with self._starting:
                self._indexing = None

    def _busy(self) -> StoreBusy:
        return StoreBusy("others write to it all the time; try again later", self._location)

    @contextmanager
    def _translated(self, deadline: Deadline | None) -> Iterator[None]:
        """Convert operational errors of PostgreSQL to StoreUnavailable."""
        try:
            yield
        except errors.LockNotAvailable as error:
            raise self._connections.unavailable(_REFUSED, error) from error
        except (*_CONFLICTS, psycopg.DataError):
            raise
        except (*LOST, errors.InsufficientPrivilege, *STALE) as error:
            if deadline is not None:
                deadline.check()
            raise self._connections.unavailable(_REFUSED, error) from error


_Run = Callable[[Transaction], Any]


class _Spoilt(Exception):  # noqa: N818 - a signal to begin again
    """A work of the group failed after it had written something."""


_OF_ALL = ("08", "40", "53", "55", "57", "58")
"""Classes of errors that the statement did not cause: connections, conflicts, resources and operators."""


def _is_of_a_work(connection: Connection, error: psycopg.Error) -> bool:
    """Return whether one work causes the error, so that the others of its group can be done."""
    if is_lost(connection) or isinstance(error, (*_CONFLICTS, *STALE, errors.InsufficientPrivilege)):
        return False
    if error.sqlstate is None:  # an error of the driver
        return not isinstance(error, LOST)
    return error.sqlstate[:2] not in _OF_ALL


def _step_back(attempt: int, ends_at: float) -> None:
    """Wait for a random time, which grows with each attempt."""
    delay = random.uniform(0, _BACKOFF) * min(attempt, 10)  # noqa: S311 - any will do
    time.sleep(max(0.0, min(delay, ends_at - time.monotonic())))


def _do(_: Connection, transaction: PostgresTransaction, work: _Run) -> Outcome[Any]:
    """Return the result of a work, or an exception that it raised before it wrote anything."""
    before = transaction.changes
    try:
        return work(transaction), None
    except (psycopg.Error, Conflict):
        raise
    except Exception as error:
        if transaction.changes != before:
            raise _Spoilt from error
        return None, error


def _do_carefully(
    connection: Connection, transaction: PostgresTransaction, work: _Run, *, blames: bool
) -> Outcome[Any]:
    """Return the result of a work, or its exception after its writes have been undone."""
    transaction.executor.begin()
    connection.execute("SAVEPOINT one")
    outcome: Outcome[Any]
    try:
        outcome = (work(transaction), None)
        transaction.flush()
    except Exception as error:
        is_own = blames and isinstance(error, errors.UniqueViolation)
        if isinstance(error, Conflict) or (
            isinstance(error, psycopg.Error) and not is_own and not _is_of_a_work(connection, error)
        ):
            raise
        connection.execute("ROLLBACK TO one")
        transaction.forget_what_is_known()
        outcome = (None, error)
    connection.execute("RELEASE one")
    return outcome


def _roll_back(connection: Connection) -> None:
    """Roll back the current transaction, if any."""
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def _commit_or_doubt(connection: Connection, commit: Callable[[], object]) -> str | None:
    """Commit; return the reason if the outcome is unknown, otherwise None."""
    warnings: list[str] = []

    def note(notice: Diagnostic) -> None:  # it must be read now, as it is empty later
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "")

    connection.add_notice_handler(note)
    try:
        commit()
    except LOST as error:
        if not is_lost(connection):
            raise
        return f"the database was lost as it committed ({reason_of(error)})"
    finally:
        connection.remove_notice_handler(note)
    # For instance an administrator ended the wait for a standby: the commit is local, and a failover loses
    # it.
    return f"the database committed with a warning ({'; '.join(warnings)})" if warnings else None


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """Read a consistent snapshot of the database."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with suppress(*LOST):
            connection.execute("ROLLBACK")
