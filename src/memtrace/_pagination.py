"""Pages: which request follows a page, on servers with cursors and on Memtrace 0.x ones without."""

from __future__ import annotations

from datetime import timedelta

import attrs

from memtrace.exceptions import MemtraceError
from memtrace.models import ListOptions, Memory, MemoryList, SearchQuery, SearchResult

PAGE_SIZE = 100

# The largest page that a 0.x server gives: asked for a larger one, it gives a hundred.
_LARGEST = 1000

# Times are read in microseconds, though a server may keep nanoseconds: equal ones may be this far apart.
_SAME_TIME = timedelta(microseconds=2)


def page_after(options: ListOptions, page: MemoryList) -> ListOptions | None:
    """Ask for the page after a page; None after the last one.

    A 0.x server gives no cursor, but takes an offset.
    """
    if not page.has_more or not page.memories:
        return None
    if page.next_cursor is not None:
        return attrs.evolve(options, cursor=page.next_cursor, offset=None)
    return attrs.evolve(options, offset=(options.offset or 0) + len(page.memories))


class SearchPages:
    """The pages of a search.

    A 0.x server has neither cursor nor offset here, and does not say whether there is more. A full page of
    it is followed by another search that begins where the page ended, and what both found is passed over.

    Attributes:
        query: What to ask for next; None after the last page.
    """

    def __init__(self, query: SearchQuery) -> None:
        self._size = query.limit or PAGE_SIZE
        self.query: SearchQuery | None = attrs.evolve(query, limit=self._size)
        self._edge: list[Memory] = []

    def take(self, query: SearchQuery, result: SearchResult) -> list[Memory]:
        """Give what is new on the page that was asked for, and set out for the next one.

        Raises:
            MemtraceError: If a 0.x server has more memories of one moment than it puts on a page.
        """
        if result.has_more is not None or result.next_cursor is not None:
            more = result.next_cursor is not None and result.has_more is not False
            self.query = attrs.evolve(query, cursor=result.next_cursor) if more else None
            return result.results
        return self._take_old(query, result.results)

    def _take_old(self, query: SearchQuery, results: list[Memory]) -> list[Memory]:
        new = [memory for memory in results if memory not in self._edge and self._is_past_edge(query, memory)]
        self.query = None
        is_full = query.limit is not None and len(results) >= query.limit
        if not new or not is_full:
            if is_full and all(memory in self._edge for memory in results):
                moment = results[-1].time.isoformat()
                raise MemtraceError(
                    f"The search found {query.limit} memories of one moment, {moment}, and this server "
                    "cannot say whether there are more"
                )
            return new
        last = results[-1].time
        self._edge = [memory for memory in (*self._edge, *results) if abs(memory.time - last) <= _SAME_TIME]
        # The next page begins with these again, and must have room for more.
        limit = max(self._size, min(_LARGEST, self._size + len(self._edge)))
        if query.order == "asc":
            self.query = attrs.evolve(query, limit=limit, since=last - _SAME_TIME)
        else:
            self.query = attrs.evolve(query, limit=limit, until=last + _SAME_TIME)
        return new

    def _is_past_edge(self, query: SearchQuery, memory: Memory) -> bool:
        """Tell whether a memory is what was asked for; a server may pass over `since` and `until`."""
        if not self._edge:
            return True
        edge = self._edge[-1].time
        return memory.time >= edge - _SAME_TIME if query.order == "asc" else memory.time <= edge + _SAME_TIME
