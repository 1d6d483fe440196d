"""Close or reopen a session, or change its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.session import Session
from ...models.update_session_request import UpdateSessionRequest
from ...requests import update_session as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Session | Error], ...]] = {
    200: (Session,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    404: (Error,),
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
    session_id: str,
    *,
    client: Client,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> Response[Session | Error]:
    """Close or reopen a session, or change its metadata.

    Sets the status, and merges `metadata` into the session's metadata as a JSON Merge Patch (RFC 7396): a
    key with a value is set, a key with null is removed, and every other key stays.

    Args:
        session_id: Id of the session.
        client: Where to send it.
        body: Changes to a session.
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
            session_id=session_id,
            idempotency_key=idempotency_key,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    session_id: str,
    *,
    client: Client,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> Session | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(
        session_id=session_id, idempotency_key=idempotency_key, body=body, client=client
    ).parsed


async def asyncio_detailed(
    session_id: str,
    *,
    client: Client,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> Response[Session | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            session_id=session_id,
            idempotency_key=idempotency_key,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    session_id: str,
    *,
    client: Client,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> Session | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (
        await asyncio_detailed(
            session_id=session_id, idempotency_key=idempotency_key, body=body, client=client
        )
    ).parsed
