"""Follow memories in the order in which they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.memory_tail import MemoryTail
from ...models.memory_type import MemoryType
from ...models.tail_memories_start import TailMemoriesStart
from ...requests import tail_memories as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[MemoryTail | Error], ...]] = {
    200: (MemoryTail,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    404: (Error,),
    405: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def sync_detailed(
    *,
    client: Client,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    start: TailMemoriesStart | None = None,
    wait: int | None = None,
) -> Response[MemoryTail | Error]:
    """Follow memories in the order in which they are stored.

    Returns the memories that match every filter given, superseded ones too, in the order in which they were
    stored, whatever their `time`, and the cursor with which to continue. With `wait`, a request without a
    match waits until a matching memory is stored, or ends with an empty page after that time. Each stored
    memory is returned exactly once, even if the server restarts between two requests.

    Args:
        client: Where to send it.
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Kind of memory: something that happened (`episodic`), something about the session
            (`session`), a decision (`decision`), or a fact about somebody or something (`entity`).
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        start: Where to start without a cursor; `beginning` is the first memory that was stored, `now`
            the next one to be stored.
        wait: Maximum seconds to wait for a matching memory. The server may respond earlier with an
            empty page; continue with its cursor. The server's default: 0.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            agent_id=agent_id,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            start=start,
            wait=wait,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    start: TailMemoriesStart | None = None,
    wait: int | None = None,
) -> MemoryTail | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(
        agent_id=agent_id,
        session_id=session_id,
        memory_type=memory_type,
        event_type=event_type,
        tags=tags,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
        start=start,
        wait=wait,
        client=client,
    ).parsed


async def asyncio_detailed(
    *,
    client: Client,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    start: TailMemoriesStart | None = None,
    wait: int | None = None,
) -> Response[MemoryTail | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            agent_id=agent_id,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            start=start,
            wait=wait,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    start: TailMemoriesStart | None = None,
    wait: int | None = None,
) -> MemoryTail | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (
        await asyncio_detailed(
            agent_id=agent_id,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            start=start,
            wait=wait,
            client=client,
        )
    ).parsed
