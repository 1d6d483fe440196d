"""The write-ahead log, brought into the file by a thread beside the writer.

SQLite by itself does so in the commit that makes the log long, and nobody can write meanwhile: 0.1 s for
64 MiB. Here, a connection of its own brings over what it can while others write, and they wait for the last
pages only.
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
_ROUNDS = 8  # after which the log counts as one that somebody reads or writes all the time
_RETRY = 0.25  # seconds after an attempt that readers or another process prevented
_RETRY_LATER = 2.0  # seconds after one that failed, as it will again: the disk is full, or the file is gone
_PATIENCE = 0.05  # seconds to wait for readers of a log that is to be emptied


class Checkpoints:
    """Keeps the log of one store short.

    Args:
        connection: Lends a connection that nobody else uses.
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
        self._patience = _PATIENCE
        self._is_closed = False

    def shorten(self) -> None:
        """Have the log brought into the file, so that the next write begins it anew if nobody reads it."""
        with self._changed:
            self._want()

    def empty(self, patience: float = _PATIENCE) -> None:
        """Have the log emptied, once nobody reads it any more.

        Args:
            patience: Seconds to wait for readers while nobody can write.
        """
        with self._changed:
            self._empties = True
            self._patience = max(patience, self._patience)
            self._want()

    def close(self) -> None:
        """Stop; whoever closes the file last brings the log into it."""
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
                self._patience = _PATIENCE
            pause = self._attempt(patience if empties else None)
            if pause:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, pause)
                    if empties:
                        self._empties = self._is_wanted = True

    def _attempt(self, patience: float | None) -> float:
        """Bring the log into the file; return in how many seconds to do so again, 0 if it is done."""
        try:
            return 0.0 if self._bring(patience) else _RETRY
        except StoreBusy:
            _LOG.debug("The log is brought into the file later, as others write")
            return _RETRY
        except StoreUnavailable as error:
            _LOG.warning("The log cannot be brought into the file now: %s", error)
        except Exception:  # noqa: BLE001 - whatever it is, the next attempt may succeed
            _LOG.exception("The log could not be brought into the file")
        return _RETRY_LATER

    def _bring(self, patience: float | None) -> bool:
        """Bring the log into the file, and return whether that is done.

        Args:
            patience: Seconds to wait for readers of a log that is to be emptied; None for one that is not.
        """
        with self._connection() as connection:
            for _ in range(_ROUNDS):
                (_, pages, brought) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages - brought <= _LAST:
                    break
            else:
                if patience is None or patience <= _PATIENCE:
                    return False
            with self._held():
                if patience is None:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    return True
                connection.execute(f"PRAGMA busy_timeout = {round(patience * 1_000)}")
                (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not is_busy
