"""Maintenance of a store: sweeping what has expired or is not needed, and a short write-ahead log."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from memtrace_server import times
from memtrace_server.deadlines import end_of_wait
from memtrace_server.store.protocol import Write
from memtrace_server.store.sqlite import duplicates, texts
from memtrace_server.store.sqlite.checkpoints import Checkpoints
from memtrace_server.store.sqlite.commits import immediate
from memtrace_server.store.sqlite.file import StoreFile
from memtrace_server.store.sqlite.indexing import Indexer
from memtrace_server.store.sqlite.transaction import SqliteTransaction

_PATIENCE = 0.25  # seconds to wait for locks during maintenance
_LONG_LOG = 16_384  # pages; a shorter log is slower, as pages are copied more often
_LONGEST_LOG = 4 * _LONG_LOG * 4_096  # bytes
_LOG_PATIENCE = 1.0  # seconds to wait for readers before the log grows further
_SWEEP = 500  # rows, or more if more are added
_SWEEPS_FOR = 0.02  # seconds, for slow parts
_CLEAN_EVERY = 1.0  # seconds
_KEPT = times.DAY


class Tidying:
    """Maintains one store, and records what there is to do.

    Args:
        file: The store's file; None for a store in memory.
        writer: Returns the connection that writes; the caller of `tidy` holds its lock.
        translated: Converts operational errors of SQLite.
        indexer: The store's indexer.
        checkpoints: The thread that shortens the store's log.
        wake: Schedules a call of `tidy` without a write.
    """

    def __init__(  # noqa: PLR0913 - the parts of a store
        self,
        *,
        file: StoreFile | None,
        writer: Callable[[], sqlite3.Connection],
        translated: Callable[[], AbstractContextManager[None]],
        indexer: Indexer,
        checkpoints: Checkpoints,
        wake: Callable[[], None],
    ) -> None:
        self._file = file
        self._writer = writer
        self._translated = translated
        self._indexer = indexer
        self._checkpoints = checkpoints
        self._wake = wake
        self._unswept = self._unswept_long = 0
        self._swept_to = duplicates.START
        self._ended: deque[int] = deque()  # rows of texts that were staged for ended writes
        self._cleans_at = 0.0
        self._longest_log = _LONGEST_LOG
        self._has_forgotten = False

    def tidy(self, now: int, *, sweeps: bool) -> float | None:
        """Do maintenance; if a part fails, the others are done nevertheless.

        Args:
            now: The current time (ns).
            sweeps: Whether to sweep, which depends on the clock.

        Returns:
            How many times as long as this call took to leave to other writes before the next one; None if
            nothing is left to do.
        """
        is_left = False
        failure: Exception | None = None
        parts: list[Callable[[sqlite3.Connection, int], bool]]
        parts = [self._sweep, self._sweep_long] if sweeps else []
        parts += [self._sweep_texts, self._empty_log, self._shorten_log]
        for part in parts:
            try:
                with self._translated():
                    is_left |= part(self._writer(), now)
            except Exception as error:  # noqa: BLE001 - raised after the other parts
                failure = failure or error
        if failure is not None:
            raise failure
        if not is_left:
            return None
        # Long memories accumulate if more are added than swept, so other writes get one transaction in
        # between.
        return 0.0 if self._unswept_long > 0 else 1.0

    def note_written(self, transaction: SqliteTransaction) -> None:
        """Schedule the work that follows from a transaction with added memories, and sweep as many."""
        self._unswept += transaction.additions
        self._unswept_long += transaction.mortal_long
        self._note_changed(transaction)

    def note_ended(self, left: Write) -> None:
        """Schedule to remove the texts that were staged for an ended write."""
        rows = texts.staged_for(left)
        if rows:
            self._ended.extend(rows)
            self._wake()

    def note_cleaned(self) -> None:
        """Schedule to empty the write-ahead log, which contains forgotten memories."""
        self._has_forgotten = True
        self._wake()

    def _sweep(self, connection: sqlite3.Connection, now: int) -> bool:
        with _transaction(connection, end_of_wait(None, _PATIENCE)) as transaction:
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
            with _transaction(connection, end_of_wait(None, _PATIENCE)) as transaction:
                transaction.end_staging(rows)

        def part(transaction: SqliteTransaction) -> bool:
            removed = transaction.sweep_texts(now)
            if removed and self._file is not None:
                self.note_cleaned()
            return removed == texts.SWEPT

        is_any = connection.execute("SELECT 1 FROM staged LIMIT 1").fetchone() is not None
        return is_any and self._in_parts(connection, part)

    def _in_parts(self, connection: sqlite3.Connection, part: Callable[[SqliteTransaction], bool]) -> bool:
        """Do parts in separate transactions until a time limit; return whether any parts are left."""
        ends_at = time.monotonic() + _SWEEPS_FOR
        is_left = True
        while is_left:
            with _transaction(connection, end_of_wait(None, _PATIENCE)) as transaction:
                is_left = part(transaction)
            self._note_changed(transaction)
            if time.monotonic() >= ends_at:
                break
        return is_left

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

    def _note_changed(self, transaction: SqliteTransaction) -> None:
        """Schedule to index stored memories, and to remove traces of forgotten ones."""
        self._indexer.note(transaction.unindexed_weights)
        if transaction.forgotten_from and self._file is not None:
            self._indexer.merge(transaction.forgotten_from)
            self.note_cleaned()


@contextmanager
def _transaction(connection: sqlite3.Connection, ends_at: float) -> Iterator[SqliteTransaction]:
    """Run a transaction, committed at the end."""
    with immediate(connection, ends_at):
        transaction = SqliteTransaction(connection)
        yield transaction
        transaction.finish()
