"""Checkpoints: a thread moves the write-ahead log into the file.

By default, SQLite does so in the commit that makes the log long, and writes wait meanwhile: 0.1 s for 64 MiB.
Here, a separate connection moves most pages while others write, so that writes wait only for the last pages.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from memtrace_server.store.protocol import StoreBusy, StoreUnavailable

_LOG = logging.getLogger("memtrace_server")

_LAST = 1_000  # pages for which the writer is held; they take some 6 ms
_MAX_ROUNDS = 8  # after which the log counts as permanently read or written
_RETRY = 0.25  # seconds after an attempt that readers or another process prevented
_RETRY_LATER = 2.0  # seconds after a failure that will recur, such as a full disk or a removed file
_READER_TIMEOUT = 0.05  # seconds to wait for readers of a log that is to be emptied


class Checkpoints:
    """Keeps the log of one store short.

    Args:
        connection: Lends a connection that no other thread uses.
        held: Holds the writer's lock.
    """

    def __init__(
        self,
        connection: Callable[[], AbstractContextManager[sqlite3.Connection]],
        held: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._held = held
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._empties = False
        self._patience = _READER_TIMEOUT
        self._is_closed = False

    def shorten(self) -> None:
        """Schedule a checkpoint, after which the next write restarts the log unless it is being read."""
        with self._changed:
            self._want()

    def empty(self, patience: float = _READER_TIMEOUT) -> None:
        """Schedule to empty the log when it is not being read.

        Args:
            patience: Seconds to wait for readers, in which writes wait, too.
        """
        with self._changed:
            self._empties = True
            self._patience = max(patience, self._patience)
            self._want()

    def close(self) -> None:
        """Stop; the last connection that closes the file does a checkpoint."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _want(self) -> None:
        self._is_wanted = True
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._run, name="memtrace-checkpoints", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted or self._is_closed)
                if self._is_closed:
                    return
                empties, patience = self._empties, self._patience
                self._is_wanted = self._empties = False
                self._patience = _READER_TIMEOUT
            pause = self._attempt(patience if empties else None)
            if pause:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, pause)
                    if empties:
                        self._empties = self._is_wanted = True

    def _attempt(self, patience: float | None) -> float:
        """Do a checkpoint; return the seconds until the next attempt, 0 if it is complete."""
        try:
            return 0.0 if self._bring(patience) else _RETRY
        except StoreBusy:
            _LOG.debug("The checkpoint is delayed, as other processes write")
            return _RETRY
        except StoreUnavailable as error:
            _LOG.warning("The checkpoint failed for now: %s", error)
        except Exception:  # noqa: BLE001 - after any error, the next attempt may succeed
            _LOG.exception("The checkpoint failed")
        return _RETRY_LATER

    def _bring(self, patience: float | None) -> bool:
        """Do a checkpoint, and return whether it is complete.

        Args:
            patience: Seconds to wait for readers before the log is emptied; None not to empty it.
        """
        with self._connection() as connection:
            for _ in range(_MAX_ROUNDS):
                (_, pages, brought) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages - brought <= _LAST:
                    break
            else:
                if patience is None or patience <= _READER_TIMEOUT:
                    return False
            with self._held():
                if patience is None:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    return True
                connection.execute(f"PRAGMA busy_timeout = {round(patience * 1_000)}")
                (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not is_busy
