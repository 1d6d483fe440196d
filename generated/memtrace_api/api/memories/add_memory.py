"""Store one memory, or a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.add_memories_request import AddMemoriesRequest
from ...models.add_memory_request import AddMemoryRequest
from ...models.error import Error
from ...models.memory import Memory
from ...models.memory_batch import MemoryBatch
from ...requests import add_memory as build_request
from ...types import Response, read_response

if TYPE_CHECKING:
    from ...client import Client

_MODELS: dict[int, tuple[type[Memory | MemoryBatch | Error], ...]] = {
    200: (
        Memory,
        MemoryBatch,
    ),
    201: (
        Memory,
        MemoryBatch,
    ),
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
    *,
    client: Client,
    body: AddMemoryRequest | AddMemoriesRequest,
    idempotency_key: str | None = None,
) -> Response[Memory | MemoryBatch | Error]:
    """Store one memory, or a batch.

    Stores one memory, or up to 1,000 as `{"memories": [...]}`. A batch is atomic: all of it is stored, or
    nothing. An agent or session that does not exist yet is created.

    **Duplicates.** A memory is a duplicate when its agent stored one with the same `dedup_key` within the
    last 24 hours; or, without a `dedup_key`, one that is equal in every other field (a `time` in any zone,
    tags in any order). `on_duplicate` decides what happens to a duplicate: `reject` (the default) is 409
    with `existing_id`; `return` stores nothing and responds with the first such memory; `store` stores it
    as another event.

    In a batch, `reject` refuses the whole batch, and `details` names the duplicates. With `return`,
    `memories` has the first memory at the index of each duplicate, and `duplicates` lists these indexes. A
    memory of a batch may be a duplicate of an earlier one in the same batch.

    **Superseding.** `supersedes` names a memory of the same agent that is no longer true. From then on it
    is absent from lists, searches and contexts, unless `include_superseded` is true. Each memory is
    superseded once: a second attempt is 409 with the code `already_superseded`, and `existing_id` names the
    newer memory, which can be superseded instead. 404 if the agent has no memory with the id. Forgetting
    the newer memory makes the older one current again; forgetting one in the middle of a chain joins its
    neighbours.

    Args:
        client: Where to send it.
        body: What to send.
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
    body: AddMemoryRequest | AddMemoriesRequest,
    idempotency_key: str | None = None,
) -> Memory | MemoryBatch | Error | None:
    """As `sync_detailed`, but return only what was read from the response."""
    return sync_detailed(idempotency_key=idempotency_key, body=body, client=client).parsed


async def asyncio_detailed(
    *,
    client: Client,
    body: AddMemoryRequest | AddMemoriesRequest,
    idempotency_key: str | None = None,
) -> Response[Memory | MemoryBatch | Error]:
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
    body: AddMemoryRequest | AddMemoriesRequest,
    idempotency_key: str | None = None,
) -> Memory | MemoryBatch | Error | None:
    """As `asyncio_detailed`, but return only what was read from the response."""
    return (await asyncio_detailed(idempotency_key=idempotency_key, body=body, client=client)).parsed
