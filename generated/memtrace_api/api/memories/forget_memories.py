"""Forget every memory that matches a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...models.error import Error
from ...models.forget_filter import ForgetFilter
from ...models.forget_result import ForgetResult
from ...types import Response, query, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[ForgetResult | Error], ...]] = {
    200: (ForgetResult,),
    400: (Error,),
    401: (Error,),
    403: (Error,),
    405: (Error,),
    409: (Error,),
    429: (Error,),
    431: (Error,),
    500: (Error,),
    503: (Error,),
}


def _get_kwargs(
    *,
    filter_: ForgetFilter,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/memories",
        "params": query(
            {
                **filter_.to_dict(),
            }
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def sync_detailed(
    *,
    client: Client,
    filter_: ForgetFilter,
    idempotency_key: str | None = None,
) -> Response[ForgetResult | Error]:
    """Forget every memory that matches a filter.

    Deletes the memories that match every filter given, for good, and says how many there were. At least one
    filter must be given.

    Args:
        client: Where to send it.
        filter_: Which memories to forget; each filter given must match.
        idempotency_key: The header `Idempotency-Key`.

    Raises:
        UnexpectedStatus: If the contract does not have this answer and the client is to raise then.
        httpx.HTTPError: If there was no answer.
    """
    response = client.get_httpx_client().request(
        **_get_kwargs(
            filter_=filter_,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


def sync(
    *,
    client: Client,
    filter_: ForgetFilter,
    idempotency_key: str | None = None,
) -> ForgetResult | Error | None:
    """As `sync_detailed`, but only what was read from the answer."""
    return sync_detailed(filter_=filter_, idempotency_key=idempotency_key, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    filter_: ForgetFilter,
    idempotency_key: str | None = None,
) -> Response[ForgetResult | Error]:
    """As `sync_detailed`, without blocking."""
    response = await client.get_async_httpx_client().request(
        **_get_kwargs(
            filter_=filter_,
            idempotency_key=idempotency_key,
        )
    )
    return read_response(response, _MODELS, raise_on_unexpected_status=client.raise_on_unexpected_status)


async def asyncio(
    *,
    client: Client,
    filter_: ForgetFilter,
    idempotency_key: str | None = None,
) -> ForgetResult | Error | None:
    """As `asyncio_detailed`, but only what was read from the answer."""
    return (await asyncio_detailed(filter_=filter_, idempotency_key=idempotency_key, client=client)).parsed
