"""Remove the last traces of forgotten memories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...requests import vacuum_store as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Error], ...]] = {
    204: (),
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
) -> Response[Error]:
    """Remove the last traces of forgotten memories.

    Rewrites the store of all organisations, so that none of its files contains any part of forgotten
    memories. Only admins of `org_default`, who operate the server, may do this. The duration depends on the
    size of the store, and writes wait meanwhile. A response 503 with the code `deadline_exceeded` does not
    stop it.

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
) -> Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
) -> Response[Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(**build_request())
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
) -> Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(client=client)).parsed
