"""Get metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...requests import get_metrics as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[str | Error], ...]] = {
    200: (str,),
    400: (Error,),
    404: (Error,),
    405: (Error,),
    500: (Error,),
}


def sync_detailed(
    *,
    client: Client,
) -> Response[str | Error]:
    """Get metrics.

    Counts and durations of requests by operation, in the text format of Prometheus. The metrics name no
    organisation. 404 unless the server was started with `--metrics`.

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
) -> str | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
) -> Response[str | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(**build_request())
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
) -> str | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(client=client)).parsed
