"""List agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.agent_list import AgentList
from ...models.error import Error
from ...types import Response, query, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[AgentList | Error], ...]] = {
    200: (AgentList,),
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
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents",
        "params": query(
            {
                "limit": limit,
                "cursor": cursor,
            }
        ),
        "headers": {},
    }
    return kwargs


def sync_detailed(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> Response[AgentList | Error]:
    """List agents.

    The organisation's agents, registered or not, in order of their id.

    Args:
        client: Where to send it.
        limit: The query parameter `limit`. The server's default: 1000.
        cursor: A position between two results. Take it from `next_cursor`; do not construct or parse
            one.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
            limit=limit,
            cursor=cursor,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> AgentList | Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(limit=limit, cursor=cursor, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> Response[AgentList | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **_get_kwargs(
            limit=limit,
            cursor=cursor,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> AgentList | Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (await asyncio_detailed(limit=limit, cursor=cursor, client=client)).parsed
