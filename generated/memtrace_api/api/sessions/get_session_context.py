"""A session's memories as markdown for an LLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.context_options import ContextOptions
from ...models.error import Error
from ...models.session_context import SessionContext
from ...requests import get_session_context as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[SessionContext | Error], ...]] = {
    200: (SessionContext,),
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
    session_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> Response[SessionContext | Error]:
    """A session's memories as markdown for an LLM.

    Decisions with their reasoning, errors (event type `error`), actions (`action`) and facts (all else),
    each in order of time. The whole never takes more than `max_tokens` tokens; what is important or recent
    stays, and the text says how much was left out.

    Args:
        session_id: Id of the session.
        client: Where to send it.
        body: What a context is made of.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **build_request(
            session_id=session_id,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    session_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> SessionContext | Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(session_id=session_id, body=body, client=client).parsed


async def asyncio_detailed(
    session_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> Response[SessionContext | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **build_request(
            session_id=session_id,
            body=body,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    session_id: str,
    *,
    client: Client,
    body: ContextOptions | None = None,
) -> SessionContext | Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (await asyncio_detailed(session_id=session_id, body=body, client=client)).parsed
