"""List memories in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.memory_list import MemoryList
from ...models.memory_type import MemoryType
from ...models.order import Order
from ...requests import list_memories as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[MemoryList | Error], ...]] = {
    200: (MemoryList,),
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
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> Response[MemoryList | Error]:
    """List memories in order of time.

    Returns the organisation's memories that match every filter given, newest first unless `order` is `asc`.

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
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        order: `desc`: newest first. `asc`: oldest first.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        offset: Number of memories to skip. Kept for Memtrace 0.x clients; a cursor is faster, and
            stable while memories are written. The server's default: 0.

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
            as_of=as_of,
            include_superseded=include_superseded,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
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
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> MemoryList | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(
        agent_id=agent_id,
        session_id=session_id,
        memory_type=memory_type,
        event_type=event_type,
        tags=tags,
        since=since,
        until=until,
        as_of=as_of,
        include_superseded=include_superseded,
        order=order,
        limit=limit,
        cursor=cursor,
        offset=offset,
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
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> Response[MemoryList | Error]:
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
            as_of=as_of,
            include_superseded=include_superseded,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
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
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> MemoryList | Error | None:
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
            as_of=as_of,
            include_superseded=include_superseded,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
            client=client,
        )
    ).parsed
