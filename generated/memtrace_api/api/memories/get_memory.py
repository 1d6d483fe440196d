"""Get one memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.memory import Memory
from ...requests import get_memory as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Memory | Error], ...]] = {
    200: (Memory,),
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
    memory_id: str,
    *,
    client: Client,
) -> Response[Memory | Error]:
    """Get one memory.

    Returns the memory with this id.

    Args:
        memory_id: Id of the memory.
        client: Where to send it.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            memory_id=memory_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    memory_id: str,
    *,
    client: Client,
) -> Memory | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(memory_id=memory_id, client=client).parsed


async def asyncio_detailed(
    memory_id: str,
    *,
    client: Client,
) -> Response[Memory | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            memory_id=memory_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    memory_id: str,
    *,
    client: Client,
) -> Memory | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(memory_id=memory_id, client=client)).parsed
