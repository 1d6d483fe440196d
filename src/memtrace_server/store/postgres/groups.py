"""Groups of writes, which share a transaction and are repeated after conflicts with other writers.

A server commits a few groups concurrently, so that it prepares one while PostgreSQL works on others; these
groups may conflict like those of different servers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import msgspec
import psycopg
from psycopg import errors
from psycopg.errors import Diagnostic

from memtrace_server.store.facts import wanted
from memtrace_server.store.groups import Spoilt, attempt, attempt_alone
from memtrace_server.store.postgres import migrations
from memtrace_server.store.postgres.connecting import (
    CONFLICTS,
    LOST,
    STALE,
    Connection,
    Connections,
    is_lost,
    reason_of,
    step_back,
)
from memtrace_server.store.postgres.transaction import Clock, PostgresTransaction
from memtrace_server.store.postgres.writing import LARGE, Conflict
from memtrace_server.store.protocol import Outcome, OutcomeUnknown, StoreUnavailable, Transaction, Write
from memtrace_server.store.records import Wants
from memtrace_server.store_url import StoreUrl

_LOG = logging.getLogger("memtrace_server")

MAX_REPEATS = 2
"""Maximum number of repetitions after a lost connection, as the query or the group may be the cause."""

_MAX_ATTEMPTS = 50  # of a group
_MAX_COLLISIONS = 5  # of a group's rows with others, before a work counts as their cause
_LANES = 3  # groups that a server commits concurrently
_ONLY_READS = (
    "the server is a standby, or reads only; name the primary in the URL, or several hosts with"
    " ?target_session_attrs=read-write"
)
_OF_ALL = ("08", "40", "53", "55", "57", "58")
"""Classes of errors that the statement did not cause: connections, conflicts, resources and operators."""


_Run = Callable[[Transaction], Any]


class _Todo(msgspec.Struct, frozen=True):
    """A work, its organisation if known, and the facts that it is going to read."""

    run: _Run
    org: int | None
    wants: Wants


class Groups:
    """Commits groups of writes to one store.

    Args:
        location: The database.
        connections: The connections.
        clock: The source of row numbers.
        open_store: Opens the store until a moment, and returns whether memories lie in several places.
        begin: Returns a transaction that may write.

    Attributes:
        is_concurrent: Whether groups are committed by threads, while others can queue writes.
        additions: The number of memories that were added since it was set to 0.
    """

    def __init__(
        self,
        location: StoreUrl,
        connections: Connections,
        clock: Clock,
        *,
        open_store: Callable[[float], bool],
        begin: Callable[[Connection], PostgresTransaction],
    ) -> None:
        self.is_concurrent = False
        self.additions = 0
        self._location = location
        self._connections = connections
        self._clock = clock
        self._open = open_store
        self._begin = begin
        self._settled: WeakSet[Connection] = WeakSet()
        self._orgs: dict[bytes, int] = {}
        self._running = threading.Lock()  # held while works run, one after the other as on SQLite
        self._lanes = ThreadPoolExecutor(_LANES, thread_name_prefix="memtrace-writer")
        self._free = threading.BoundedSemaphore(_LANES)

    def wait(self) -> None:
        """Wait for a free lane for the next group, which grows meanwhile. Only one thread calls this."""
        with self._free:
            pass

    def commit(
        self, writes: Sequence[Write], ends_at: float
    ) -> Sequence[Outcome[Any]] | Future[Sequence[Outcome[Any]]]:
        """Commit writes until a moment, and return their outcomes or a future of them."""
        if not self.is_concurrent:
            return self._outcomes(writes, ends_at)
        self._free.acquire()
        try:
            done = self._lanes.submit(self._outcomes, writes, ends_at)
        except BaseException:
            self._free.release()
            raise
        done.add_done_callback(lambda _: self._free.release())
        return done

    def close(self) -> None:
        """Wait for the current groups."""
        self._lanes.shutdown()

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
        with self._connections.translated():
            is_distributed = self._open(ends_at)
        if not is_distributed or len(works) == 1:
            return [range(len(works))]
        unknown = {todo.wants.digest for todo in works} - self._orgs.keys() - {None}
        if unknown:
            with self._connections.translated(), self._connections.lent(ends_at) as connection:
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
        with self._connections.translated():
            is_careful = False
            losses = refusals = collisions = 0
            for number in range(_MAX_ATTEMPTS):
                with self._connections.lent(ends_at) as connection:
                    try:
                        blames = collisions > _MAX_COLLISIONS
                        return self._attempt(connection, works, is_careful=is_careful, blames=blames)
                    except (Conflict, *CONFLICTS) as error:
                        collisions += isinstance(error, errors.UniqueViolation)
                        _LOG.debug("A group of writes is done again: %r", error)
                    except STALE as error:
                        connection.close()
                        refusals += 1
                        if refusals > 1:
                            raise StoreUnavailable(_ONLY_READS, self._location) from error
                    except Spoilt:
                        is_careful = True
                        continue
                    except LOST as error:
                        losses += 1
                        if not is_lost(connection) or (losses > MAX_REPEATS and time.monotonic() < ends_at):
                            raise
                        _LOG.debug("A connection was lost before a commit: %r", error)
                if time.monotonic() >= ends_at:
                    break
                if connection.closed:
                    self._connections.drop_idle()
                else:
                    self._clock.leap()
                step_back(number, ends_at)
        raise self._connections.busy()

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
            transaction = self._begin(connection)
            one = _carefully(connection, blames=blames) if is_careful or blames else _one
            transaction.look_up([(todo.org, todo.wants) for todo in works])
            outcomes: list[Outcome[Any]] = []
            writes: list[bool] = []
            with self._running:
                for todo in works:
                    before = transaction.changes
                    outcomes.append(one(transaction, todo.run))
                    writes.append(transaction.changes != before)
                    transaction.flush_if_large(LARGE)
                self.additions += transaction.additions
            doubt = _commit_or_doubt(connection, transaction.finish())
        except psycopg.Error as error:
            _roll_back(connection)
            if _is_of_a_work(connection, error):
                raise Spoilt from error
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


def _one(transaction: PostgresTransaction, work: _Run) -> Outcome[Any]:
    return attempt(transaction, work, is_fatal=lambda error: isinstance(error, (Conflict, psycopg.Error)))


def _carefully(
    connection: Connection, *, blames: bool
) -> Callable[[PostgresTransaction, _Run], Outcome[Any]]:
    def is_fatal(error: Exception) -> bool:
        if blames and isinstance(error, errors.UniqueViolation):
            return False
        is_of_all = isinstance(error, psycopg.Error) and not _is_of_a_work(connection, error)
        return is_of_all or isinstance(error, Conflict)

    def one(transaction: PostgresTransaction, work: _Run) -> Outcome[Any]:
        return attempt_alone(transaction, work, execute=transaction.executor.execute, is_fatal=is_fatal)

    return one


def _is_of_a_work(connection: Connection, error: psycopg.Error) -> bool:
    """Return whether one work causes an error, so that the others of its group can be done."""
    if is_lost(connection) or isinstance(error, (*CONFLICTS, *STALE, errors.InsufficientPrivilege)):
        return False
    if error.sqlstate is None:  # an error of the driver
        return not isinstance(error, LOST)
    return error.sqlstate[:2] not in _OF_ALL


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
