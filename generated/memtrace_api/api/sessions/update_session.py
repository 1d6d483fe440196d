"""Close or reopen a session, or change its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.error import Error
from ...models.session import Session
from ...models.update_session_request import UpdateSessionRequest
from ...types import Response, path_segment, read_response

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


def _get_kwargs(
    session_id: str,
    *,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/api/v1/sessions/{session_id}".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def sync_detailed(
    session_id: str,
    *,
    client: Client,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> Response[Session | Error]:
    """Close or reopen a session, or change its metadata.

    Sets the status, and merges `metadata` into what is there as a JSON Merge Patch (RFC 7396): a key given
    is set, a key given as null is removed, every other key stays.

    Args:
        session_id: A session's id: 1 to 128 letters, digits and `_ . : @ -`, beginning with a letter,
            digit or `_`. Those that the server gives are `sess_` and a ULID.
        client: Where to send it.
        body: What to change about a session.
        idempotency_key: The header `Idempotency-Key`.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
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
    """As `sync_detailed`, but only what was read from the answer."""
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
        **_get_kwargs(
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
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (
        await asyncio_detailed(
            session_id=session_id, idempotency_key=idempotency_key, body=body, client=client
        )
    ).parsed
