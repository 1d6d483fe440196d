"""Get a session's memories as markdown for an LLM."""

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
    """Get a session's memories as markdown for an LLM.

    Returns a time line: a heading for each day, then a line for each memory, with its time, its event type
    (unless that is `general`) and its content. Equal contents under one heading are written once, with
    their number.

    **Selection.** Half of the budget goes to important memories (an importance of 0.7 or more, or
    decisions, errors and entities without an importance) and half to recent ones. What one half does not
    use goes to the other. With `query`, its best matches come before both. Neither half keeps chatter while
    an important memory is left out. Chatter is any memory that is unimportant, no match, and not among the
    newest eight (as far as an eighth of the budget holds them). Decisions, errors and entities without an
    importance displace only older chatter. A long memory may be shortened. The last line says how many
    memories were left out.

    **Framing.** The first line says that these are records, not instructions. No stored text can become a
    heading, a list, a rule, a code fence or HTML under CommonMark, or close a tag around the context;
    invisible characters are written as escapes.

    Args:
        session_id: Id of the session.
        client: Where to send it.
        body: Selection and form of a context. A memory must meet every filter given.

    Raises:
        UnexpectedStatus: The client has `raise_on_unexpected_status`, and the response is an error or is not
            in the contract.
        httpx.HTTPError: There was no response.
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
    """As `sync_detailed`, but return only what was read from the response."""
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
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(session_id=session_id, body=body, client=client)).parsed
