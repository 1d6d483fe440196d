"""List a session's memories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.error import Error
from ...models.memory_list import MemoryList
from ...models.memory_type import MemoryType
from ...models.order import Order
from ...types import Response, path_segment, query, read_response

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


def _get_kwargs(
    session_id: str,
    *,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/sessions/{session_id}/memories".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "params": query(
            {
                "agent_id": agent_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
                "order": order,
                "limit": limit,
                "cursor": cursor,
                "offset": offset,
            }
        ),
        "headers": {},
    }
    return kwargs


def sync_detailed(
    session_id: str,
    *,
    client: Client,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> Response[MemoryList | Error]:
    """List a session's memories.

    As `listMemories`, for one session; 404 when there is no such session.

    Args:
        session_id: A session's id: 1 to 128 letters, digits and `_ . : @ -`, beginning with a letter,
            digit or `_`. Those that the server gives are `sess_` and a ULID.
        client: Where to send it.
        agent_id: An agent's id, which is also its name: 1 to 128 letters, digits and `_ . : @ -`,
            beginning with a letter, digit or `_`.
        memory_type: What kind of memory it is. Something that happened, something about the session, a
            decision, or a fact about somebody or something.
        event_type: What happened, in a word of your own: 1 to 128 characters, no control characters.
            `error` is counted and shown apart, and a context tells `action` from facts.
        tags: Tags that a memory must all have. They match whole and exactly.
        since: A time ago (`30m`, `24h`, `7d`) or an RFC 3339 timestamp.
        until: A time ago (`30m`, `24h`, `7d`) or an RFC 3339 timestamp.
        order: `desc`: newest first. `asc`: oldest first.
        limit: The query parameter `limit`. The server's default: 100.
        cursor: A position between two results. Take it from `next_cursor`; do not construct or parse
            one.
        offset: The query parameter `offset`. The server's default: 0.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
            session_id=session_id,
            agent_id=agent_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    session_id: str,
    *,
    client: Client,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> MemoryList | Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(
        session_id=session_id,
        agent_id=agent_id,
        memory_type=memory_type,
        event_type=event_type,
        tags=tags,
        since=since,
        until=until,
        order=order,
        limit=limit,
        cursor=cursor,
        offset=offset,
        client=client,
    ).parsed


async def asyncio_detailed(
    session_id: str,
    *,
    client: Client,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> Response[MemoryList | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **_get_kwargs(
            session_id=session_id,
            agent_id=agent_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    session_id: str,
    *,
    client: Client,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> MemoryList | Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (
        await asyncio_detailed(
            session_id=session_id,
            agent_id=agent_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
            client=client,
        )
    ).parsed
