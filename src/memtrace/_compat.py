"""Memtrace 0.x servers, which ignore `Idempotency-Key` and give no cursors.

When the response to a write is lost there and the write is retried, such a server refuses it as a duplicate
of itself. Newer servers send the first response again, so their refusals are final; their errors have a
`code`, which those of 0.x lack.

Lists are paged by offset there, and searches by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

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
    """Return the memory that a request asked to store, as far as the client can know it."""
    defaults = {"time": sent_at, "org_id": "", "memory_type": "episodic", "event_type": "general"}
    return msgspec.convert({**defaults, **request.to_dict()}, Memory)


def _is_for(memory: Memory, request: AddMemoryRequest) -> bool:
    wanted = presumed(request, memory.time)
    return all((getattr(memory, name) or None) == (getattr(wanted, name) or None) for name in _IDENTITY)


def page_after(options: ListOptions, page: MemoryList) -> ListOptions | None:
    """Return the options of the next page; None after the last one."""
    if not page.has_more or not page.memories:
        return None
    if page.next_cursor is not None:
        return attrs.evolve(options, cursor=page.next_cursor, offset=None)
    return attrs.evolve(options, offset=(options.offset or 0) + len(page.memories))


def found_after(
    query: SearchQuery, result: SearchResult, last_page: list[Memory]
) -> tuple[list[Memory], SearchQuery | None]:
    """Return the new memories on a page of a search, and the query of the next page; None after the last one.

    A 0.x server has neither cursor nor offset here, and does not say whether there is more. A full page of
    it is followed by another search, from the moment where the page ended.

    Raises:
        MemtraceError: If a 0.x server has more memories of one moment than it puts on a page.
    """
    if result.has_more is not None or result.next_cursor is not None:
        is_last = result.next_cursor is None or result.has_more is False
        return result.results, None if is_last else attrs.evolve(query, cursor=result.next_cursor)
    new = [memory for memory in result.results if memory not in last_page]
    limit = _DEFAULT_PAGE if query.limit is None else query.limit
    if not result.results or len(result.results) < limit:
        return new, None
    last = result.results[-1].time
    if not new:
        raise MemtraceError(
            f"The search found {limit} memories of one moment, {last.isoformat()}, and this server cannot "
            "say whether there are more"
        )
    edge: dict[str, Any] = (
        {"since": last - _SAME_TIME} if query.order == "asc" else {"until": last + _SAME_TIME}
    )
    # The largest page, as it begins with memories of this one.
    return new, attrs.evolve(query, limit=LARGEST_PAGE, **edge)
