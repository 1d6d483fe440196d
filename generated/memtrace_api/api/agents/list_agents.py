"""List agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.agent_list import AgentList
from ...models.error import Error
from ...requests import list_agents as build_request
from ...types import Response, read_response

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


def sync_detailed(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> Response[AgentList | Error]:
    """List agents.

    Returns the organisation's agents, registered or not, in order of their id.

    Args:
        client: Where to send it.
        limit: Maximum number of agents to return. A page ends early, with `next_cursor`, at 8 MiB. The
            server's default: 1000.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
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
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(limit=limit, cursor=cursor, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    limit: int | None = None,
    cursor: str | None = None,
) -> Response[AgentList | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
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
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(limit=limit, cursor=cursor, client=client)).parsed
