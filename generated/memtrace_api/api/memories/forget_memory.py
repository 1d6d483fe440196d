"""Forget one memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.error import Error
from ...types import Response, path_segment, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Error], ...]] = {
    204: (),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    404: (Error,),
    405: (Error,),
    409: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def _get_kwargs(
    memory_id: str,
    *,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/memories/{memory_id}".format(
            memory_id=path_segment(memory_id, "memory_id"),
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def sync_detailed(
    memory_id: str,
    *,
    client: Client,
    idempotency_key: str | None = None,
) -> Response[Error]:
    """Forget one memory.

    Deletes the memory of this id for good, from the full-text index too. The same memory may be stored
    again afterwards.

    Args:
        memory_id: `mem_` and a ULID, so ids sort by time.
        client: Where to send it.
        idempotency_key: The header `Idempotency-Key`.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
            memory_id=memory_id,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    memory_id: str,
    *,
    client: Client,
    idempotency_key: str | None = None,
) -> Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(memory_id=memory_id, idempotency_key=idempotency_key, client=client).parsed


async def asyncio_detailed(
    memory_id: str,
    *,
    client: Client,
    idempotency_key: str | None = None,
) -> Response[Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **_get_kwargs(
            memory_id=memory_id,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    memory_id: str,
    *,
    client: Client,
    idempotency_key: str | None = None,
) -> Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (
        await asyncio_detailed(memory_id=memory_id, idempotency_key=idempotency_key, client=client)
    ).parsed
