"""The PostgreSQL store: a few connections that commit all queued writes, and others that read.

An acknowledged write is durable as `synchronous_commit` defines it. Queued writes share a transaction, as in
SQLite (see `groups`).
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from shlex import quote
from typing import TypeVar, cast

import psycopg

from memtrace_server import times
from memtrace_server.deadlines import Deadline, end_of_wait, observed
from memtrace_server.store.postgres import inspection, migrations
from memtrace_server.store.postgres.connecting import (
    CONFLICTS,
    LOST,
    Connection,
    Connections,
    cut,
    is_lost,
    step_back,
)
from memtrace_server.store.postgres.executing import Executor
from memtrace_server.store.postgres.groups import MAX_REPEATS, Groups
from memtrace_server.store.postgres.transaction import Clock, PostgresTransaction
from memtrace_server.store.postgres.writing import Conflict
from memtrace_server.store.probing import Probes
from memtrace_server.store.protocol import (
    Report,
    StoreNotFound,
    StoreUnavailable,
    StoreUnsupported,
    Transaction,
    WantsOf,
    Write,
)
from memtrace_server.store.writing import PATIENCE, Writing
from memtrace_server.store_url import StoreUrl

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

_WATCH_PATIENCE = 2.0  # seconds
_TIDY_PATIENCE = 10.0  # seconds
_SWEEP = 500  # rows, or more if more are added
_KEPT = times.DAY
_SLOTS = 16  # rows of each count, so that writers do not wait for each other
_NEXT_SLOT = count(random.randrange(_SLOTS))  # noqa: S311 - threads of one process rarely share one
_WATCHED_FOR = 5.0  # seconds after a request for the version
_WATCH_EVERY = 0.025  # seconds


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
        self._starting = threading.Lock()
        self._is_tended = False
        self._pieces = migrations.Pieces.INDEXED
        self._indexer: threading.Thread | None = None
        self._indexing: Connection | None = None
        self._clock = Clock()
        self._slot = _Slot()
        self._groups = Groups(
            location,
            self._connections,
            self._clock,
            open_store=self._open,
            begin=partial(self._transaction, is_writing=True),
        )
        self._writing = Writing(
            begin=self._groups.wait,
            commit=self._groups.commit,
            tidy=self._tidy,
            is_open=lambda: self._is_open,
            busy=self._connections.busy,
            is_read_only=location.is_read_only,
        )
        self._watching = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._asked_at = 0.0
        self._version = 0
        self._probes = Probes(self._probe)

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        deadline = deadline or Deadline()
        ends_at = end_of_wait(deadline, PATIENCE)
        with self._connections.translated(deadline), observed(deadline):
            self._open(ends_at)
            attempt = 0
            while True:
                attempt += 1
                is_last = attempt > MAX_REPEATS or time.monotonic() >= ends_at
                with self._connections.lent(ends_at, deadline) as connection:
                    try:
                        return self._read(connection, work)
                    except CONFLICTS as error:  # as of a standby that removes rows which a query reads
                        if is_last:
                            raise self._connections.unavailable(error) from error
                    except LOST:
                        if is_last or not is_lost(connection) or time.monotonic() >= ends_at:
                            raise
                if is_lost(connection):
                    self._connections.drop_idle()  # the next attempt opens a connection, or fails
                step_back(attempt, ends_at)

    def write(
        self, work: Callable[[Transaction], T], deadline: Deadline | None = None, wants: WantsOf | None = None
    ) -> T:
        return cast("T", self._writing.write(Write(run=work, deadline=deadline, wants=wants)))

    def submit(self, writes: Sequence[Write], report: Report | None = None) -> None:
        self._writing.submit(writes, report)

    def tend(self) -> None:
        if not self.is_read_only:
            self._is_tended = self._groups.is_concurrent = True
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
        with self._connections.translated():
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
        self._groups.close()
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
        with self._connections.translated():
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

    # --- maintenance

    def _tidy(self, now: int, *, sweeps: bool) -> None:
        """Let PostgreSQL analyse tables that have grown, and remove expired data."""
        with (
            self._connections.translated(),
            self._connections.lent(time.monotonic() + _TIDY_PATIENCE) as connection,
        ):
            migrations.analyse(connection)
        if not sweeps:
            return
        try:
            with (
                self._connections.translated(),
                self._connections.lent(time.monotonic() + _TIDY_PATIENCE) as connection,
                connection.transaction(),
            ):
                transaction = self._transaction(connection, is_writing=True)
                transaction.sweep(now, now - _KEPT, _SWEEP + 2 * self._groups.additions)
                transaction.flush()
        except (Conflict, *CONFLICTS) as error:
            raise self._connections.busy() from error
        self._groups.additions = 0

    # --- opening

    def _open(self, ends_at: float) -> bool:
        """Migrate the schema, once; return whether memories lie in several places."""
        if self._is_open:
            return self._is_distributed
        if not self._opening.acquire(timeout=max(0.0, ends_at - time.monotonic())):
            raise self._connections.busy()
        try:
            if not self._is_open:
                with self._connections.lent(ends_at) as connection:
                    is_migrated = self._is_migrated(connection)
                # A migration is not cut: it would be undone, and the next attempt would take as long.
                with self._connections.lent(ends_at if is_migrated else math.inf) as connection:
                    self._prepare(connection)
                    self._is_distributed = migrations.is_distributed(connection)
                self._is_open = True
                self._start_indexer()
        finally:
            self._opening.release()
        return self._is_distributed

    def _is_migrated(self, connection: Connection) -> bool:
        """Return whether the schema is up to date.

        Raises:
            StoreUnavailable: It is not, and may not be changed.
        """
        missing = migrations.missing(connection)
        if missing and self.is_read_only:
            raise StoreUnavailable("the store has another version's tables; open it once without ?mode=ro")
        if missing and not self._create:
            raise StoreNotFound("the database has no store yet", self._location)
        return not missing

    def _prepare(self, connection: Connection) -> None:
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
            with self._connections.translated(), self._connections.lent(math.inf) as connection:
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


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """Read a consistent snapshot of the database."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with suppress(*LOST):
            connection.execute("ROLLBACK")
