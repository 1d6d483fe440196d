"""Get an agent's memories as markdown for an LLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.agent_context import AgentContext
from ...models.context_options import ContextOptions
from ...models.error import Error
from ...requests import get_agent_context as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[AgentContext | Error], ...]] = {
    200: (AgentContext,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    404: (Error,),
    405: (Error,),
    408: (Error,),
    413: (Error,),
    415: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def sync_detailed(
    agent_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> Response[AgentContext | Error]:
    """Get an agent's memories as markdown for an LLM.

    Like `getSessionContext`, for all memories of the agent, with a heading for each session too.

    Args:
        agent_id: Id or name of the agent.
        client: Where to send it.
        body: Selection and form of a context. A memory must meet every filter given.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            agent_id=agent_id,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    agent_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> AgentContext | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(agent_id=agent_id, body=body, client=client).parsed


async def asyncio_detailed(
    agent_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> Response[AgentContext | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            agent_id=agent_id,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    agent_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> AgentContext | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(agent_id=agent_id, body=body, client=client)).parsed
