"""Search memories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.search_query import SearchQuery
from ...models.search_result import SearchResult
from ...requests import search_memories as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[SearchResult | Error], ...]] = {
    200: (SearchResult,),
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
    *,
    client: Client,
    body: SearchQuery,
) -> Response[SearchResult | Error]:
    """Search memories.

    Returns the memories that match every condition given. `query` takes a question in plain words and ranks
    the matches; `content_contains` finds a part of the text in any case; `metadata` compares for equality.
    A memory can be found as soon as it is stored.

    Args:
        client: Where to send it.
        body: Conditions of a search; each one given must hold.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
    body: SearchQuery,
) -> SearchResult | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(body=body, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    body: SearchQuery,
) -> Response[SearchResult | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
    body: SearchQuery,
) -> SearchResult | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(body=body, client=client)).parsed
