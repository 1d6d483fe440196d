"""Indexing in the background: memories enter the full-text index a moment after they are stored.

Forgotten memories leave the index a moment after they were forgotten; until then, the text that was indexed
is kept.

A step takes some memories of one organisation: those that leave the index, or the newest that enter it. It
analyses their texts without a lock, and then holds the writer to write the result. The size of a step follows
from the duration of the last one. Long memories are written in several transactions, between which others
write. Then some pages of the index are merged in separate transactions. Organisations take turns, so that the
backlog of one does not delay others.

A search scans unindexed memories, so their number must stay small. If an organisation stores memories faster
than they are indexed, its writes are acknowledged only when the index has caught up; other organisations'
writes are not affected.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from attrs import frozen

from memtrace_server.store.protocol import Outcome, StoreBusy, StoreUnavailable
from memtrace_server.store.sqlite import entries, fulltext, queued
from memtrace_server.store.sqlite.queued import Connect
from memtrace_server.store.writing import Unfinished

T = TypeVar("T")

_LOG = logging.getLogger("memtrace_server")

BEHIND = 1_000
"""The number of an organisation's unindexed memories (long ones count more) beyond which its writes wait."""

WAKES = 64
"""The number of unindexed memories at which the thread starts; fewer can be scanned quickly."""

# Target in seconds of CPU for which a step holds the writer; the limit is twice that (see
# `entries.MAX_WORK`). With wall time, steps would shrink on a busy machine, and so take more time per memory.
_HOLD = 0.010
_FULL = 0.8  # fraction of the limit of a transaction that is used
_FIRST, _MIN_SIZE, _MAX_SIZE = 64, 8, 1_000  # memories in a step
_LINGER = 0.2  # seconds to collect memories, as small steps take twice the time per memory
_TOGETHER = 4 * WAKES  # memories with which a step starts at once
_RETRY = 0.25  # seconds after a step that another process prevented
_RETRY_LATER = 2.0  # seconds after a failure that will recur, such as a full disk or a removed file
_POLL = 1.0  # seconds between checks for memories that other processes have stored
_CLEAN_EVERY = 1.0  # seconds between merges of small indexes
_MAX_WAIT = 10.0  # seconds that a write waits for the index


@frozen
class _Deferred:
    org: int
    deadline: float
    acknowledge: Callable[[], None]


class Indexer:
    """Indexes the memories of a store in the background.

    Args:
        reader: Lends a connection for reading.
        writer: Lends the connection for writing, which no other thread uses meanwhile.
        cleaned: Called when the last traces of forgotten memories have been removed from small indexes.
    """

    def __init__(self, reader: Connect, writer: Connect, cleaned: Callable[[], None] = lambda: None) -> None:
        self._reader = reader
        self._writer = writer
        self._cleaned = cleaned
        self._changed = threading.Condition()
        self._backlog: Counter[int] = Counter()
        self._deferred: list[_Deferred] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._has_work = False
        self._polls = False
        self._size = _FIRST
        self._has_caught_up = False
        self._last_org = 0
        self._unmerged: set[int] = set()
        self._unclean: set[int] = set()
        self._cleans_at = 0.0

    def merge(self, orgs: Iterable[int]) -> None:
        """Schedule to merge the indexes of organisations when forgotten memories have left them."""
        orgs = set(orgs)
        if not orgs:
            return
        with self._changed:
            self._unmerged.update(orgs)
            self._unclean.update(orgs)
            self._has_work = True
            self._start()
            self._changed.notify_all()

    def note(self, weights: Mapping[int, int]) -> None:
        """Record the amount of newly stored memories by organisation."""
        if not weights:
            return
        with self._changed:
            self._backlog.update(weights)
            if self._polls or self._backlog.total() >= WAKES:
                self._start()
            # Not at each commit, as the thread would wake up only to continue waiting.
            if not self._has_work or self._is_ripe():
                self._has_work = True
                self._changed.notify_all()

    def tend(self) -> None:
        """Index all memories, also of other processes, until `close`."""
        with self._changed:
            self._polls = self._has_work = True
            self._start()
            self._changed.notify_all()

    def is_behind(self, org: int | None) -> bool:
        """Return whether an organisation's writes must wait."""
        return org is not None and self._backlog[org] > BEHIND

    def in_time(self, outcome: Outcome[T], org: int | None) -> Outcome[T]:
        """Return a write's outcome, or a future of it if the organisation's index must catch up first.

        A partly done write continues at once; only its last part waits.
        """
        result, failure = outcome
        is_over = failure is None and not isinstance(result, Unfinished)
        if not is_over or org is None or not self.is_behind(org):
            return outcome
        future: Future[Any] = Future()
        with self._changed:
            if self._is_closed:
                return outcome
            self._deferred.append(
                _Deferred(org, time.monotonic() + _MAX_WAIT, partial(future.set_result, result))
            )
        return future, None

    def close(self) -> None:
        """Stop after the current step; the rest is indexed when the store is opened again."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._acknowledge()

    def step(self) -> bool:
        """Index some memories of the next organisation, or merge; return whether there was any work.

        Raises:
            StoreUnavailable: The step failed; the rest of it is done later.
        """
        with self._reader() as connection:
            org = self._next(connection)
            batch = None if org is None else queued.take(connection, org, self._size)
        if batch is None or not batch.queued:
            return self._tidied()
        org = batch.org
        held, estimated = queued.write(self._writer, batch)
        # The rest are the few memories of the same organisation that have been stored since.
        self._has_caught_up = org == self._last_org and batch.weight < self._size
        self._last_org = org
        with self._changed:
            self._backlog[org] = max(0, self._backlog[org] - batch.weight)
        spent = max(held, _HOLD * estimated / (_FULL * entries.MAX_WORK))  # so that one transaction can do it
        self._size = round(min(max(self._size * min(_HOLD / spent, 2), _MIN_SIZE), _MAX_SIZE))
        self._merge(org)
        return True

    def drain(self) -> None:
        """Remove all forgotten memories from the index.

        Raises:
            StoreUnavailable: They could not be removed.
        """
        queued.drain(self._writer)

    def _tidied(self) -> bool:
        """Merge an index, or remove traces of forgotten memories; return whether there was any work."""
        with self._changed:
            if not self._has_work:
                self._backlog.clear()
            unmerged = next(iter(self._unmerged), None)
        if unmerged is not None:
            self._merge(unmerged)
            return True
        if not self._unclean or time.monotonic() < self._cleans_at:
            return False
        self._clean()
        return True

    def _clean(self) -> None:
        """Merge small indexes with removed memories; a large index keeps their terms until `vacuum`."""
        with self._changed:
            unclean, self._unclean = self._unclean, set()
        try:
            for table in (table for org in unclean for table in fulltext.tables(org)):
                with self._writer() as connection:
                    if fulltext.is_small(connection, table):
                        fulltext.optimize(connection, table)
        except BaseException:
            with self._changed:
                self._unclean |= unclean
            raise
        self._cleans_at = time.monotonic() + _CLEAN_EVERY
        self._cleaned()

    def _merge(self, org: int) -> None:
        """Merge a part of an organisation's index, within the time that others can wait."""
        with self._changed:
            self._unmerged.discard(org)
        for table in fulltext.tables(org):
            with self._writer() as connection:
                is_left = fulltext.merge(connection, table)
            if is_left:
                with self._changed:
                    self._unmerged.add(org)

    def _start(self) -> None:
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._run, name="memtrace-indexer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._has_work or self._is_closed,
                    _POLL if self._polls or self._unclean else None,
                )
                self._has_work = False
                self._changed.wait_for(self._is_ripe, _LINGER)
            while not self._is_closed and self._went_on():
                self._acknowledge()
                if self._has_caught_up:
                    with self._changed:
                        self._changed.wait_for(self._is_ripe, _LINGER)
            self._acknowledge()
            if self._is_closed:
                return

    def _is_ripe(self) -> bool:
        """Return whether a step should start at once."""
        return self._is_closed or bool(self._deferred) or self._backlog.total() >= _TOGETHER

    def _went_on(self) -> bool:
        pause = _RETRY_LATER
        try:
            return self.step()
        except StoreBusy:
            pause = _RETRY
            _LOG.debug("Memories are indexed later, as another process writes")
        except StoreUnavailable as error:
            _LOG.warning("Memories cannot be indexed now: %s", error)
        except Exception:  # noqa: BLE001 - after any error, the next step may succeed
            _LOG.exception("Memories could not be indexed")
        with self._changed:
            self._has_work = True
            self._changed.wait_for(lambda: self._is_closed, pause)
        return False

    def _acknowledge(self) -> None:
        """Acknowledge delayed writes whose organisations' indexes have caught up."""
        now = time.monotonic()
        with self._changed:
            ready = [
                each
                for each in self._deferred
                if self._is_closed or not self.is_behind(each.org) or each.deadline < now
            ]
            self._deferred = [each for each in self._deferred if each not in ready]
            self._changed.notify_all()
        for each in ready:
            each.acknowledge()

    def _next(self, connection: sqlite3.Connection) -> int | None:
        """Return the organisation after the last one that has memories to index."""
        found = queued.next_org(connection, self._last_org)
        return queued.next_org(connection, -1) if found is None else found
