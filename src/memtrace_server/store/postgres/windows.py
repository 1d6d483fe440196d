"""Windows of time, in which a page is looked for that only a part of all memories belongs to.

An index of words finds rows in no order, and an index of times passes over what has not the words. The index
of words has periods of time, too (see `periods`), so that it finds what is of a window and reads little else.
"""

from __future__ import annotations

from typing import Self

import attrs
from attrs import define, field

from memtrace_server.store.postgres.queries import NEAREST
from memtrace_server.store.records import Direction, Filter

_LAST = 2**63 - 1
_MOST = 60.0  # times the length of all windows before
_GROWTH = 1.5  # of the least length, with each window
_SHORT = 3.0  # times the length of the first
_ROOM = 2.0  # times as long as should do


@define
class Windows:
    """Consecutive windows, in the order of a page.

    Attributes:
        is_short: Whether the last window is so short that it is best passed through in order.
        is_done: Whether nothing is left after the windows that were given.
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
        """Return windows of which the first has the nearest memories; None if there are too few for windows.

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
        """Return the filter of the first window: the nearest memories, and what is superseded before them."""
        if self._order == "desc":
            return self._between(self._start, _LAST if self._wanted.until is None else self._wanted.until)
        return self._between(self._wanted.since or 0, self._end)

    def rest(self) -> Filter:
        """Return the filter of all after the windows so far."""
        return self._between(None, self._start) if self._order == "desc" else self._between(self._end, None)

    def next(self, found: int, limit: int) -> Filter:
        """Return the filter of the next window: as long as should do, if as much is found in it as before."""
        factor = min(_MOST, max(self._least, _ROOM * limit / found)) if found else _MOST
        self._least = min(_MOST, self._least * _GROWTH)
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
        """Return the filter, within a time."""
        return attrs.evolve(
            self._wanted,
            since=self._wanted.since if since is None else since,
            until=self._wanted.until if until is None else until,
        )
