"""Pages of memories, joined from their stored JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, takewhile
from typing import Any

import msgspec

from memtrace_server.messages import Response
from memtrace_server.service.call import Call
from memtrace_server.store.records import Direction, Filter, Found, Shown

MAX_BYTES = 8 << 20
"""The maximum size of a page's memories, agents or sessions, which the contract documents at `limit`."""

_CHUNK = 128  # memories that are read at once, so that memory never holds 1,000 of 450 KB


def memory_page(call: Call, wanted: Filter) -> Response:
    """Return the `MemoryList` that a call's parameters ask for."""
    found, rest = find_page(call, wanted, call.parameters)
    return Response(status=200, body=join("memories", found, rest))


def find_page(
    call: Call, wanted: Filter, options: Mapping[str, Any], *, resolved_at: int | None = None
) -> tuple[Sequence[Found], dict[str, Any]]:
    """Return a page's memories, and the fields that describe the next page.

    Args:
        call: The call.
        wanted: The filter of the memories.
        options: The order, the limit, and the offset.
        resolved_at: The moment (ns) against which relative times were resolved, if the cursor keeps it.
    """
    order: Direction = options.get("order", "desc")
    limit = options["limit"]
    kept = () if resolved_at is None else (resolved_at,)
    position = call.position(tuple[int, int] if resolved_at is None else tuple[int, int, int])
    after, offset = None if position is None else (position[0], position[1]), options.get("offset", 0)
    found: list[Found] = []
    size = 0
    while True:
        call.deadline.check()
        asked = min(limit + 1 - len(found), _CHUNK)  # one more, to know whether there is more
        some = call.transaction.page(
            call.org, wanted, call.now, order=order, limit=asked, after=after, offset=offset
        )
        found += some
        size += sum(map(_size, some))
        if len(some) < asked or len(found) > limit or size > MAX_BYTES:
            break
        after, offset = (some[-1].time, some[-1].seq), 0
    page = fitting(found[:limit])
    return page, what_follows(
        call, len(found) > len(page), [(memory.time, memory.seq, *kept) for memory in page]
    )


def fitting(memories: Sequence[Found]) -> Sequence[Found]:
    """Return the first memories, up to the size of a page, but at least one if there is any."""
    return memories[: _number_fitting(map(_size, memories))]


def fitting_views(views: Iterable[Mapping[str, Any]]) -> Sequence[msgspec.Raw]:
    """Return the first views as JSON, up to the size of a page, but at least one if there is any."""
    encoded = [msgspec.json.encode(view) for view in views]
    return [msgspec.Raw(view) for view in encoded[: _number_fitting(map(len, encoded))]]


def _number_fitting(sizes: Iterable[int]) -> int:
    totals = accumulate(sizes)
    return max(1, sum(1 for _ in takewhile(lambda total: total <= MAX_BYTES, totals)))


def _size(memory: Found) -> int:
    return len(memory.doc.encode())


def what_follows(call: Call, has_more: bool, positions: Sequence[Any]) -> dict[str, Any]:  # noqa: FBT001 - it is the field
    """Return `has_more`, and the cursor of the last position if there is more."""
    return {"has_more": True, "next_cursor": call.cursor(positions[-1])} if has_more else {"has_more": False}


def shown(memory: Shown) -> str:
    """Return a memory as JSON, with the id of the memory that supersedes it, if any."""
    if memory.superseded_by is None:
        return memory.doc
    return f'{memory.doc[:-1]},"superseded_by":"{memory.superseded_by}"}}'


def join(name: str, found: Sequence[Shown], rest: Mapping[str, Any]) -> bytes:
    """Return a JSON object of memories under `name`, their count, and further fields."""
    tail = msgspec.json.encode({"count": len(found), **rest})
    # Encoded one by one, so that other threads can run in between.
    memories = [(m.doc if m.superseded_by is None else shown(m)).encode() for m in found]
    if not memories:
        return b"".join((b'{"', name.encode(), b'":[],', tail[1:]))
    memories[0] = b"".join((b'{"', name.encode(), b'":[', memories[0]))
    memories[-1] = b"".join((memories[-1], b"],", tail[1:]))
    return b",".join(memories)  # a single join, as each copies all memories
