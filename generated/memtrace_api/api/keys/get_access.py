"""Ask what a key may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.access import Access
from ...models.error import Error
from ...requests import get_access as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Access | Error], ...]] = {
    200: (Access,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    405: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def sync_detailed(
    *,
    client: Client,
) -> Response[Access | Error]:
    """Ask what a key may do.

    Returns the organisation and the role of the request's key, and the operations that it may call.

    Args:
        client: Where to send it.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(**build_request())
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
) -> Access | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
) -> Response[Access | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(**build_request())
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
) -> Access | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(client=client)).parsed
