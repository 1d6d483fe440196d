"""Forget every memory that matches a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.forget_result import ForgetResult
from ...models.memory_type import MemoryType
from ...requests import forget_memories as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[ForgetResult | Error], ...]] = {
    200: (ForgetResult,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    405: (Error,),
    409: (Error,),
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
    idempotency_key: str | None = None,
) -> Response[ForgetResult | Error]:
    """Forget every memory that matches a filter.

    Permanently deletes the memories that match every filter given, including superseded ones, and returns
    their number. Forgetting everything at once is not allowed: without a filter, the response is 403 with
    the code `filter_required`. `POST /api/v1/forget` takes more filters, and can count without deleting.

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
        idempotency_key: A key of your own, such as a UUID: new for each write, and the same on each
            retry of a write. For 24 hours, a request with the same key, method, path, query and body is not
            carried out again: it gets the first response, with `Idempotent-Replayed: true`. Error responses
            are not kept: the next attempt is carried out. If several requests use a key at the same time,
            one of them is carried out and the others get its response. The same key with another request is
            409 with the code `idempotency_key_reused`.

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
            idempotency_key=idempotency_key,
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
    idempotency_key: str | None = None,
) -> ForgetResult | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(
        agent_id=agent_id,
        session_id=session_id,
        memory_type=memory_type,
        event_type=event_type,
        tags=tags,
        since=since,
        until=until,
        idempotency_key=idempotency_key,
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
    idempotency_key: str | None = None,
) -> Response[ForgetResult | Error]:
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
            idempotency_key=idempotency_key,
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
    idempotency_key: str | None = None,
) -> ForgetResult | Error | None:
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
            idempotency_key=idempotency_key,
            client=client,
        )
    ).parsed
