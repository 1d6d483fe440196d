"""Get a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.error import Error
from ...models.session import Session
from ...requests import get_session as build_request
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
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def sync_detailed(
    session_id: str,
    *,
    client: Client,
) -> Response[Session | Error]:
    """Get a session.

    Returns the session with this id, whether it was started or only named by memories.

    Args:
        session_id: Id of the session.
        client: Where to send it.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
    """
    response = client.get_httpx_client().request(
        **build_request(
            session_id=session_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    session_id: str,
    *,
    client: Client,
) -> Session | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(session_id=session_id, client=client).parsed


async def asyncio_detailed(
    session_id: str,
    *,
    client: Client,
) -> Response[Session | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            session_id=session_id,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    session_id: str,
    *,
    client: Client,
) -> Session | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(session_id=session_id, client=client)).parsed
