"""Get an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.agent import Agent
from ...models.error import Error
from ...types import Response, path_segment, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Agent | Error], ...]] = {
    200: (Agent,),
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
    agent_id: str,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents/{agent_id}".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "headers": {},
    }
    return kwargs


def sync_detailed(
    agent_id: str,
    *,
    client: Client,
) -> Response[Agent | Error]:
    """Get an agent.

    The agent of this id or name. An agent that only ever wrote memories is found too.

    Args:
        agent_id: An agent's id, which is also its name: 1 to 128 letters, digits and `_ . : @ -`,
            beginning with a letter, digit or `_`.
        client: Where to send it.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
            agent_id=agent_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    agent_id: str,
    *,
    client: Client,
) -> Agent | Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(agent_id=agent_id, client=client).parsed


async def asyncio_detailed(
    agent_id: str,
    *,
    client: Client,
) -> Response[Agent | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **_get_kwargs(
            agent_id=agent_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    agent_id: str,
    *,
    client: Client,
) -> Agent | Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (await asyncio_detailed(agent_id=agent_id, client=client)).parsed
