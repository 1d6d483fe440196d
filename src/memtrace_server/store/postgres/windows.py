"""Pages of memories with certain words, which are found in windows of time.

An index of words finds rows without order, and an index of times reads rows without the words. The index of
words also has periods of time (see `periods`), so that it finds the memories of a window and reads little
else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import attrs
from attrs import define, evolve, field

from memtrace_server.store.postgres import periods, queries
from memtrace_server.store.postgres.executing import Executor
from memtrace_server.store.postgres.queries import NEAREST, Page
from memtrace_server.store.records import Direction, Filter
from memtrace_server.store.tables import Row

_LARGE_SHARE = 8  # an organisation that has this part of all memories has no fewer than an index finds
_LAST = 2**63 - 1
_MAX_GROWTH = 60.0  # factor for the total length of all earlier windows
_GROWTH = 1.5  # factor for the minimum length with each window
_SHORT = 3.0  # factor for the length of the first window
_ROOM = 2.0  # factor for the expected length


def search(executor: Executor, asked: Page, count: Callable[[], int]) -> list[Row]:
    """Return a page from windows of time, each longer than the last; rare results are found at once.

    Args:
        executor: The executor of the transaction.
        asked: The page.
        count: Returns the number of the organisation's memories.
    """
    asked, offset = evolve(asked, limit=asked.limit + asked.offset, offset=0), asked.offset
    windows = Windows.of(asked.wanted, asked.order, executor.rows(queries.nearest(asked))[0])
    if windows is None:  # few memories are left
        return _found(executor, asked)[offset:]
    rows = executor.rows(queries.page(evolve(asked, wanted=windows.first())))
    left = asked.limit - len(rows)
    if left and len(rows) * count() <= queries.FEW * queries.NEAREST:
        rest = evolve(asked, wanted=windows.rest(), limit=left)
        few = _few(executor, rest, is_found=_is_found(executor, asked.wanted, count))
        if few is not None:
            return (rows + few)[offset:]
    while len(rows) < asked.limit and not windows.is_done:
        wanted = windows.next(len(rows), asked.limit)
        window = evolve(asked, wanted=wanted, limit=asked.limit - len(rows))
        is_walk = windows.is_short and not windows.is_done
        rows += executor.rows(queries.page(window)) if is_walk else _found(executor, window)
    return rows[offset:]


def _is_found(executor: Executor, wanted: Filter, count: Callable[[], int]) -> bool:
    """Return whether an index of text finds fewer rows than the organisation has."""
    if executor.is_distributed or queries.has_lexemes(wanted):
        return not executor.is_distributed
    row = executor.row("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('memories')")
    return row is not None and count() * _LARGE_SHARE >= row[0]


def _found(executor: Executor, asked: Page) -> list[Row]:
    """Return a page of the full-text index's results, or scan in order if there are many."""
    wanted = asked.wanted
    is_indexed = executor.has_pieces or queries.has_lexemes(wanted)
    is_close = not executor.is_distributed and periods.are_close(wanted.since, wanted.until)
    few = _few(executor, asked, is_found=is_indexed and is_close)
    return executor.rows(queries.page(asked)) if few is None else few


def _few(executor: Executor, asked: Page, *, is_found: bool) -> list[Row] | None:
    """Return a page of the full-text index's results, or None if there are many."""
    rows = executor.plan(queries.found(asked, is_found=is_found))
    return None if rows and rows[0][-1] > queries.FEW else [row[:-1] for row in rows]


@define
class Windows:
    """Consecutive windows, in the order of a page.

    Attributes:
        is_short: Whether the last window is short enough to be scanned in order.
        is_done: Whether no time is left after the windows so far.
    """

    _wanted: Filter
    _order: Direction
    _start: int
    _end: int
    _length: int
    is_short: bool = field(default=True, init=False)
    is_done: bool = field(default=False, init=False)
    _least: float = field(default=_ROOM, init=False)

    @classmethod
    def of(cls, wanted: Filter, order: Direction, nearest: tuple[int, int | None, int | None]) -> Self | None:
        """Return windows that start with the nearest memories, or None if there are too few memories.

        Args:
            wanted: The filter.
            order: The order.
            nearest: The number of the nearest memories, and their first and last time.
        """
        count, first, last = nearest
        if count < NEAREST or first is None or last is None:
            return None
        return cls(wanted, order, first, last + 1, last + 1 - first)

    def first(self) -> Filter:
        """Return the filter of the first window: the nearest memories, and superseded ones before them."""
        if self._order == "desc":
            return self._between(self._start, _LAST if self._wanted.until is None else self._wanted.until)
        return self._between(self._wanted.since or 0, self._end)

    def rest(self) -> Filter:
        """Return the filter of the time after the windows so far."""
        return self._between(None, self._start) if self._order == "desc" else self._between(self._end, None)

    def next(self, found: int, limit: int) -> Filter:
        """Return the filter of the next window, whose length suffices at the same density of results."""
        factor = min(_MAX_GROWTH, max(self._least, _ROOM * limit / found)) if found else _MAX_GROWTH
        self._least = min(_MAX_GROWTH, self._least * _GROWTH)
        before = self._end - self._start
        length = int(before * factor) + 1
        self.is_short = length - before <= self._length * _SHORT
        if self._order == "desc":
            end, self._start = self._start, self._end - length
            self.is_done = self._start <= (self._wanted.since or 0)
            return self._between(None if self.is_done else self._start, end)
        start, self._end = self._end, self._start + length
        self.is_done = self._end >= (_LAST if self._wanted.until is None else self._wanted.until)
        return self._between(start, None if self.is_done else self._end)

    def _between(self, since: int | None, until: int | None) -> Filter:
        """Return the filter, bounded by a time."""
        return attrs.evolve(
            self._wanted,
            since=self._wanted.since if since is None else since,
            until=self._wanted.until if until is None else until,
        )
