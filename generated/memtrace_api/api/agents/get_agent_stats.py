"""Count an agent's memories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.agent_stats import AgentStats
from ...models.error import Error
from ...requests import get_agent_stats as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[AgentStats | Error], ...]] = {
    200: (AgentStats,),
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
    agent_id: str,
    *,
    client: Client,
) -> Response[AgentStats | Error]:
    """Count an agent's memories.

    Returns the number of the agent's memories, by type and of the last 24 hours, and of its sessions.

    Args:
        agent_id: Id or name of the agent.
        client: Where to send it.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            agent_id=agent_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    agent_id: str,
    *,
    client: Client,
) -> AgentStats | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(agent_id=agent_id, client=client).parsed


async def asyncio_detailed(
    agent_id: str,
    *,
    client: Client,
) -> Response[AgentStats | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            agent_id=agent_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    agent_id: str,
    *,
    client: Client,
) -> AgentStats | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(agent_id=agent_id, client=client)).parsed
