"""Delete an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...requests import delete_agent as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Error], ...]] = {
    204: (),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    404: (Error,),
    405: (Error,),
    409: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def sync_detailed(
    agent_id: str,
    *,
    client: Client,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> Response[Error]:
    """Delete an agent.

    Deletes the agent's registration. With `delete_memories=true`, its memories and sessions are permanently
    deleted too. Otherwise they stay in the organisation's log, and the agent exists again from its next
    memory or session on.

    Args:
        agent_id: Id or name of the agent.
        client: Where to send it.
        delete_memories: Whether to delete the agent's memories and sessions too. The server's default:
            False.
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
            delete_memories=delete_memories,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    agent_id: str,
    *,
    client: Client,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(
        agent_id=agent_id, delete_memories=delete_memories, idempotency_key=idempotency_key, client=client
    ).parsed


async def asyncio_detailed(
    agent_id: str,
    *,
    client: Client,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> Response[Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            agent_id=agent_id,
            delete_memories=delete_memories,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    agent_id: str,
    *,
    client: Client,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (
        await asyncio_detailed(
            agent_id=agent_id, delete_memories=delete_memories, idempotency_key=idempotency_key, client=client
        )
    ).parsed
