"""Import exported records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.import_request import ImportRequest
from ...models.import_result import ImportResult
from ...requests import import_records as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[ImportResult | Error], ...]] = {
    200: (ImportResult,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    405: (Error,),
    408: (Error,),
    409: (Error,),
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
    body: ImportRequest,
    idempotency_key: str | None = None,
) -> Response[ImportResult | Error]:
    """Import exported records.

    Stores agents, sessions and memories as they are given, with their ids and times: all of them, or
    nothing. A record whose id exists already is not changed, so importing the same records twice changes
    nothing. A memory that has expired is left out. A memory keeps its original position in the order of
    storing, which a client of `tailMemories` may have passed already. An export consists of what
    `listAgents`, `listSessions` and `tailMemories` return from the beginning.

    Args:
        client: Where to send it.
        body: Records to import; all are stored, or nothing.
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
            idempotency_key=idempotency_key,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
    body: ImportRequest,
    idempotency_key: str | None = None,
) -> ImportResult | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(idempotency_key=idempotency_key, body=body, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    body: ImportRequest,
    idempotency_key: str | None = None,
) -> Response[ImportResult | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            idempotency_key=idempotency_key,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
    body: ImportRequest,
    idempotency_key: str | None = None,
) -> ImportResult | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(idempotency_key=idempotency_key, body=body, client=client)).parsed
