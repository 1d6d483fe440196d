"""Connections to PostgreSQL: opened on demand, reused, and cut at their deadline.

psycopg_pool is unsuitable: it connects in its own threads, so that a caller gets a timeout instead of, for
instance, a wrong password; and it has no deadline for a query whose server does not respond any more.
"""

from __future__ import annotations

import math
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import psycopg
from attrs import define
from psycopg import capabilities, errors
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8Dumper

from memtrace_server.deadlines import Deadline
from memtrace_server.store.protocol import StoreBusy, StoreUnavailable
from memtrace_server.store_url import StoreUrl

Connection = psycopg.Connection[TupleRow]

OLDEST = 13
"""The oldest supported version of PostgreSQL, which has functions such as `pg_current_xact_id`."""

SCHEMA = "memtrace"
"""The schema of the tables, unless a `search_path` is set."""

_CONNECT_TIMEOUT = 5  # seconds, for each host of the URL
_CANCEL_TIMEOUT = 0.5  # seconds until a connection is cut whose query does not end
_CANCELS = 4  # simultaneous cancels
_KEPT = 32  # idle connections
_PREPARED = 200  # prepared statements per connection
_LOCK_TIMEOUT = 10  # seconds
_SESSION = {
    "plan_cache_mode": "force_generic_plan",  # planning takes half of a short query's time
    "jit": "off",
    "lock_timeout": f"{_LOCK_TIMEOUT}s",
    "idle_in_transaction_session_timeout": "90s",  # releases the locks of a server that is gone
}

_SEARCH = (
    "SELECT set_config('search_path', %s, false) FROM pg_settings WHERE name = 'search_path'"
    " AND source IN ('default', 'configuration file', 'command line')"
)
_CHECKED = "1s"  # how often PostgreSQL checks during a query whether its client is connected

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""Errors of psycopg for a lost connection, or for temporary failures of the server."""

STALE = (errors.ReadOnlySqlTransaction,)
"""Errors of a server that was the primary when the connection was opened."""

CONFLICTS = (
    errors.UniqueViolation,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
)
"""Errors of a conflict with another transaction, after which a transaction can be repeated."""

_REFUSED = "the database cannot do it now"
_BACKOFF = 0.02  # maximum seconds, times the attempts, before a transaction is repeated


class Connections:
    """Connections to one database.

    Args:
        location: The database.
    """

    def __init__(self, location: StoreUrl) -> None:
        self._location = location
        self._idle: deque[Connection] = deque()
        self._watchdog = Watchdog()
        self._is_closed = False

    @contextmanager
    def lent(self, ends_at: float, reads_until: Deadline | None = None) -> Iterator[Connection]:
        """Lend a connection until a moment of `time.monotonic`, at which it is cut.

        Args:
            ends_at: The moment.
            reads_until: The deadline of a read, at which the query is cancelled.

        Raises:
            StoreUnavailable: No connection could be opened.
            DeadlineExceeded: The deadline passed.
        """
        connection = self._take(ends_at)
        try:
            with self._watchdog.until(connection, ends_at, reads_until):
                yield connection
        finally:
            self._give_back(connection)

    def _take(self, ends_at: float) -> Connection:
        """Return an idle or new connection.

        Raises:
            StoreUnavailable: No connection could be opened.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect(ends_at)
            if not connection.closed and not _has_input(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection for reuse, if it is usable."""
        is_of_use = (
            not connection.closed
            and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            and not self._is_closed
            and len(self._idle) < _KEPT
        )
        if is_of_use:
            self._idle.append(connection)
        else:
            connection.close()

    def drop_idle(self) -> None:
        """Close idle connections, after the loss of the server."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        self.drop_idle()
        self._watchdog.close()

    @contextmanager
    def translated(self, deadline: Deadline | None = None) -> Iterator[None]:
        """Convert operational errors of PostgreSQL to StoreUnavailable."""
        try:
            yield
        except errors.LockNotAvailable as error:
            raise self.unavailable(error) from error
        except (*CONFLICTS, psycopg.DataError):
            raise
        except (*LOST, errors.InsufficientPrivilege, *STALE) as error:
            if deadline is not None:
                deadline.check()
            raise self.unavailable(error) from error

    def unavailable(self, error: psycopg.Error, reason: str = _REFUSED) -> StoreUnavailable:
        """Convert an error of PostgreSQL or its driver to the error for callers."""
        return StoreUnavailable(reason, self._location, self._location.redacted(reason_of(error)))

    def busy(self) -> StoreBusy:
        """Return the error for callers after too many conflicts."""
        return StoreBusy("others write to it all the time; try again later", self._location)

    def _connect(self, ends_at: float) -> Connection:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        left = ends_at - time.monotonic()
        if left <= 0:
            raise StoreUnavailable("there was no time left to connect", self._location)
        try:
            connection = psycopg.connect(
                self._location.dsn or "",
                autocommit=True,
                prepare_threshold=1,
                **self._location.defaults(
                    connect_timeout=math.ceil(min(_CONNECT_TIMEOUT, left)), application_name="memtrace"
                ),
            )
        except psycopg.Error as error:
            raise self.unavailable(error, "cannot connect") from None
        try:
            connection.prepared_max = _PREPARED
            connection.adapters.register_dumper(int, Int8Dumper)  # one statement for numbers of any size
            with self._watchdog.until(connection, ends_at):
                require_supported(connection)
                _set(connection, _SESSION)
                connection.execute(_SEARCH, [SCHEMA])
                with suppress(psycopg.DatabaseError):  # needs PostgreSQL 14, and not every system supports it
                    _set(connection, {"client_connection_check_interval": _CHECKED})
        except psycopg.Error as error:
            connection.close()
            raise self.unavailable(error, "cannot connect") from None
        except BaseException:
            connection.close()
            raise
        return connection


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
    connection.execute(f"SELECT {calls}", [part for pair in settings.items() for part in pair])


def require_supported(connection: Connection) -> None:
    """Check the version of the server and the encoding of the database.

    Raises:
        StoreUnavailable: The server is too old, or the database is not in UTF-8.
    """
    version = connection.info.server_version
    if version < OLDEST * 10_000:
        raise StoreUnavailable(f"the server is PostgreSQL {version // 10_000}; it must be {OLDEST} or newer")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreUnavailable(f"the database has encoding {encoding}; create one with ENCODING 'UTF8'")


def reason_of(error: psycopg.Error) -> str:
    """Return the message of PostgreSQL or its driver, as one line."""
    text = error.diag.message_primary or str(error)  # without the detail, which contains values
    lines = [line.strip() for line in text.splitlines() if line.strip() and "Multiple conn" not in line]
    return ("; ".join(lines) or type(error).__name__).removeprefix("connection failed: ")


def _has_input(connection: Connection) -> bool:
    """Return whether the server has sent data on an idle connection, as it does to end it.

    The outcome of a write is unknown if its connection ends; so a connection that is ending must not be used.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def step_back(attempt: int, ends_at: float) -> None:
    """Wait for a random time, which grows with each attempt."""
    delay = random.uniform(0, _BACKOFF) * min(attempt, 10)  # noqa: S311 - any will do
    time.sleep(max(0.0, min(delay, ends_at - time.monotonic())))


def is_lost(connection: Connection) -> bool:
    """Return whether a connection is unusable."""
    return connection.closed or connection.broken


@define(eq=False)
class _Watched:
    """A connection in use.

    Attributes:
        ends_at: When the query is cancelled, or the connection cut.
        is_read: Whether the query may be cancelled.
        cancelling: The running cancel, if any.
    """

    connection: Connection
    ends_at: float
    is_read: bool
    cancelling: Future[None] | None = None


class Watchdog:
    """Cancels reads and cuts connections at their deadlines.

    Only reads are cancelled: a cancel could end the wait of a commit for its standby, which PostgreSQL then
    reports as done. As a cancel may arrive after its query, the connection is not reused before the cancel
    has ended. If the cancel has no effect soon, because the server does not respond, the connection is cut.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[_Watched] = set()
        self._cancels = ThreadPoolExecutor(_CANCELS, thread_name_prefix="memtrace-cancels")
        # At or before the first deadline; waking up for each change would take longer.
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @contextmanager
    def until(
        self, connection: Connection, ends_at: float, reads_until: Deadline | None = None
    ) -> Iterator[None]:
        """Watch a connection until the end of the block, where it is closed if it was cut.

        Args:
            connection: The connection.
            ends_at: When the connection is cut, or its query cancelled.
            reads_until: The deadline of a read; the query also ends when this deadline is cancelled.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        if ends_at == math.inf:
            yield
            return
        watched = _Watched(connection, ends_at, is_read=reads_until is not None)
        with self._changed:
            self._watched.add(watched)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="memtrace-deadlines", daemon=True)
                self._thread.start()
            elif ends_at < self._wakes_at:
                self._changed.notify()
        try:
            if reads_until is None:
                yield
            else:
                with reads_until.when_cancelled(partial(self._end, watched)):
                    yield
        finally:
            with self._changed:
                was_cut = watched not in self._watched
                self._watched.discard(watched)
            if was_cut or not _is_over(watched.cancelling):
                connection.close()

    def close(self) -> None:
        """Stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._cancels.shutdown()

    def _end(self, watched: _Watched) -> None:
        with self._changed:
            if watched.cancelling is None:
                watched.ends_at = -math.inf
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                for watched in [each for each in self._watched if each.ends_at <= now]:
                    self._interrupt(watched, now)
                self._wakes_at = min((each.ends_at for each in self._watched), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else max(0.0, self._wakes_at - now))

    def _interrupt(self, watched: _Watched, now: float) -> None:
        if watched.is_read and watched.cancelling is None and capabilities.has_cancel_safe():
            cancel = partial(watched.connection.cancel_safe, timeout=_CANCEL_TIMEOUT)
            watched.cancelling = self._cancels.submit(cancel)
            watched.ends_at = now + _CANCEL_TIMEOUT
        else:
            self._watched.remove(watched)
            cut(watched.connection)


def _is_over(cancelling: Future[None] | None) -> bool:
    """Wait for a cancel, if any; return whether it cannot affect a later query of its connection."""
    return cancelling is None or cancelling.cancel() or cancelling.exception() is None


def cut(connection: Connection) -> None:
    """Cut a connection that another thread uses, whose current operation then fails."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
