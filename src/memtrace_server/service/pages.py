"""Pages of memories, joined from the JSON that was made when they were stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from memtrace_server.messages import Response
from memtrace_server.service.call import Call
from memtrace_server.store.records import Direction, Filter, Found


def memory_page(call: Call, wanted: Filter) -> Response:
    """The page of a `MemoryList` that the call's parameters ask for."""
    found, rest = find_page(call, wanted, call.parameters)
    return Response(status=200, body=join("memories", found, rest))


def find_page(
    call: Call, wanted: Filter, options: Mapping[str, Any]
) -> tuple[Sequence[Found], dict[str, Any]]:
    """Return a page's memories, and the fields that say what follows."""
    order: Direction = options.get("order", "desc")
    limit = options["limit"]
    found = call.transaction.page(
        call.org,
        wanted,
        call.now,
        order=order,
        limit=limit + 1,  # one more, to know whether there is more
        after=call.position(tuple[int, int]),
        offset=options.get("offset", 0),
    )
    page = found[:limit]
    return page, what_follows(call, len(found) > limit, [(memory.time, memory.seq) for memory in page])


def what_follows(call: Call, has_more: bool, positions: Sequence[tuple[int, int]]) -> dict[str, Any]:  # noqa: FBT001 - it is the field
    """Return `has_more`, and the cursor of the last position if there is more."""
    return {"has_more": True, "next_cursor": call.cursor(positions[-1])} if has_more else {"has_more": False}


def shown(memory: Found) -> str:
    """Return a memory as JSON, with the id of the one that supersedes it, if any."""
    if memory.superseded_by is None:
        return memory.doc
    return f'{memory.doc[:-1]},"superseded_by":"{memory.superseded_by}"}}'


def join(name: str, found: Sequence[Found], rest: Mapping[str, Any]) -> bytes:
    """A JSON object with the memories under a name, their count, and the rest."""
    tail = msgspec.json.encode({"count": len(found), **rest})
    memories = ",".join([m.doc if m.superseded_by is None else shown(m) for m in found])
    return b'{"%b":[%b],%b' % (name.encode(), memories.encode(), tail[1:])
