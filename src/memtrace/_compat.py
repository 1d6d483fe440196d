"""Memtrace 0.x servers, which ignore `Idempotency-Key` and give no cursors.

When the response to a write is lost there and the write is retried, such a server refuses it as a duplicate
of itself. Newer servers send the first response again, so what they refuse is refused; they are told apart by
the `code` of their errors, which those of 0.x lack.

A page of theirs is followed by an offset; a page of a search, by another search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs
import msgspec

from memtrace._retry import Retries
from memtrace.exceptions import APIStatusError, ConflictError, MemtraceError
from memtrace.models import (
    AddMemoryRequest,
    Agent,
    ListOptions,
    Memory,
    MemoryBatch,
    MemoryList,
    RegisterAgentRequest,
    SearchQuery,
    SearchResult,
)

# The largest page of 0.x; it gives the default one if asked for a larger one.
LARGEST_PAGE = 1000
_DEFAULT_PAGE = 100

# Times are read in microseconds, though a server may keep nanoseconds: equal ones may be this far apart.
_SAME_TIME = timedelta(microseconds=2)

_IDENTITY = ("agent_id", "session_id", "memory_type", "event_type", "content", "metadata", "dedup_key")


def is_already_applied(refusal: APIStatusError, retries: Retries) -> bool:
    """Return whether a 0.x server may have refused a write because an earlier attempt was carried out."""
    return retries.may_have_been_applied and refusal.code is None


def memory_for(request: AddMemoryRequest, memories: Iterable[Memory]) -> Memory | None:
    """Return the memory that a request asked to store, if it is among these."""
    return next((memory for memory in memories if _is_for(memory, request)), None)


def batch_of(stored: Sequence[Memory | None], conflict: ConflictError) -> MemoryBatch:
    """Return the memories of a batch if all of them are stored.

    Raises:
        ConflictError: If some are not: a 0.x server may have stored a part of the batch.
    """
    missing = [index for index, memory in enumerate(stored) if memory is None]
    if missing:
        conflict.message += (
            "; an earlier attempt of this batch was stored in part, "
            f"{len(missing)} of its {len(stored)} memories are missing: {missing}"
        )
        raise conflict
    memories = [memory for memory in stored if memory is not None]
    return MemoryBatch(memories=memories, count=len(memories))


def agent_for(request: RegisterAgentRequest, agents: Iterable[Agent]) -> Agent | None:
    """Return the agent that a request asked to register, if it is among these."""
    wanted = (request.name, request.description or None, request.config or None)
    return next((a for a in agents if (a.name, a.description or None, a.config or None) == wanted), None)


def presumed(request: AddMemoryRequest, sent_at: datetime) -> Memory:
    """Return the memory that a request asked to store, as far as it can be known from here."""
    defaults = {"time": sent_at, "org_id": "", "memory_type": "episodic", "event_type": "general"}
    return msgspec.convert({**defaults, **request.to_dict()}, Memory)


def _is_for(memory: Memory, request: AddMemoryRequest) -> bool:
    wanted = presumed(request, memory.time)
    return all((getattr(memory, name) or None) == (getattr(wanted, name) or None) for name in _IDENTITY)


def page_after(options: ListOptions, page: MemoryList) -> ListOptions | None:
    """Return what asks for the page after a page; None after the last one.

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
        self._size = _DEFAULT_PAGE if query.limit is None else query.limit
        self.query: SearchQuery | None = attrs.evolve(query, limit=self._size)
        self._edge: list[Memory] = []

    def take(self, query: SearchQuery, result: SearchResult) -> list[Memory]:
        """Return what is new on the page that was asked for, and go on to the next one.

        Raises:
            MemtraceError: If a 0.x server has more memories of one moment than it puts on a page.
        """
        self.query = None
        if result.has_more is not None or result.next_cursor is not None:
            if result.next_cursor is not None and result.has_more is not False:
                self.query = attrs.evolve(query, cursor=result.next_cursor)
            return result.results
        return self._take_old(query, result.results)

    def _take_old(self, query: SearchQuery, results: list[Memory]) -> list[Memory]:
        new = [memory for memory in results if memory not in self._edge and self._is_past_edge(query, memory)]
        if len(results) < (query.limit or 0):
            return new
        if all(memory in self._edge for memory in results):
            moment = results[-1].time.isoformat()
            raise MemtraceError(
                f"The search found {query.limit} memories of one moment, {moment}, and this server "
                "cannot say whether there are more"
            )
        if not new:
            return new
        last = results[-1].time
        self._edge = [memory for memory in (*self._edge, *results) if abs(memory.time - last) <= _SAME_TIME]
        # The next page begins with these again, and must have room for more.
        limit = max(self._size, min(LARGEST_PAGE, self._size + len(self._edge)))
        if query.order == "asc":
            self.query = attrs.evolve(query, limit=limit, since=last - _SAME_TIME)
        else:
            self.query = attrs.evolve(query, limit=limit, until=last + _SAME_TIME)
        return new

    def _is_past_edge(self, query: SearchQuery, memory: Memory) -> bool:
        """Return whether a memory is what was asked for; a server may ignore `since` and `until`."""
        if not self._edge:
            return True
        edge = self._edge[-1].time
        return memory.time >= edge - _SAME_TIME if query.order == "asc" else memory.time <= edge + _SAME_TIME
