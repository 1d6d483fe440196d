"""Get a script, a style sheet or an image of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...requests import get_page_file as build_request
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
    file: str,
    *,
    client: Client,
) -> Response[str | Error]:
    """Get a script, a style sheet or an image of a page.

    The files that `/ui` and `/docs` load.

    Args:
        file: The file's name.
        client: Where to send it.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            file=file,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    file: str,
    *,
    client: Client,
) -> str | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(file=file, client=client).parsed


async def asyncio_detailed(
    file: str,
    *,
    client: Client,
) -> Response[str | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            file=file,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    file: str,
    *,
    client: Client,
) -> str | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(file=file, client=client)).parsed
