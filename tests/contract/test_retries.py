"""A write is applied once, however often it is attempted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memtrace import APIConnectionError, AsyncMemtrace, ConflictError, NotFoundError

if TYPE_CHECKING:
    from contract.conftest import Network
    from helpers.clock import Clock

pytestmark = pytest.mark.anyio

HTTP, EMBEDDED = [pytest.mark.parametrize("place", [place], indirect=True) for place in ("http", "embedded")]


@HTTP
async def test_write_whose_responses_are_lost_is_applied_once(
    client: AsyncMemtrace, network: Network
) -> None:
    network.loses = 2
    memory = await client.remember("agent_1", "Once")
    network.loses = 2
    batch = await client.add_memories({"agent_id": "agent_1", "content": text} for text in ("One", "Two"))
    network.loses = 2
    session = await client.create_session(agent_id="agent_1")
    network.loses = 2
    agent = await client.register_agent(name="registered")

    assert (await client.list_memories(order="asc")).memories == [memory, *batch]
    assert batch.duplicates == []
    assert (await client.list_sessions()).sessions == [session]
    assert await client.get_agent("registered") == agent


@HTTP
async def test_retried_deletions_get_the_first_response(client: AsyncMemtrace, network: Network) -> None:
    one, _, _ = await client.add_memories({"agent_id": "agent_1", "content": text} for text in "123")
    network.loses = 1
    await client.forget(one)
    network.loses = 1

    assert await client.forget_all(agent_id="agent_1") == 2

    network.loses = 1
    await client.delete_agent("agent_1")
    with pytest.raises(NotFoundError):
        await client.get_agent("agent_1")


@HTTP
async def test_a_patch_is_merged_once(client: AsyncMemtrace, network: Network) -> None:
    session = await client.create_session(agent_id="agent_1", metadata={"a": 1})
    network.loses = 1

    patched = await client.update_session(session.id, metadata={"b": 2}, status="closed")

    assert patched == await client.get_session(session.id)


@HTTP
async def test_write_without_any_response_is_an_api_connection_error(
    client: AsyncMemtrace, network: Network
) -> None:
    network.loses = 3

    with pytest.raises(APIConnectionError):
        await client.remember("agent_1", "Once")

    assert (await client.list_memories()).count == 1


async def test_repeated_idempotency_key_gets_the_first_response(client: AsyncMemtrace) -> None:
    first = await client.remember("agent_1", "Once", idempotency_key="my-key")

    again = await client.remember("agent_1", "Once", idempotency_key="my-key")

    assert again == first
    assert (await client.list_memories()).memories == [first]


async def test_retried_batch_has_the_duplicates_of_the_first_response(client: AsyncMemtrace) -> None:
    batch = [
        {"agent_id": "agent_1", "content": text, "on_duplicate": "return"} for text in ("One", "One", "Two")
    ]
    first = await client.add_memories(batch, idempotency_key="k")

    again = await client.add_memories(batch, idempotency_key="k")

    assert (list(again), again.duplicates) == (list(first), [1])


async def test_idempotency_key_with_another_request_is_a_conflict(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "One", idempotency_key="k")

    for other in (
        client.remember("agent_1", "Two", idempotency_key="k"),
        client.remember("agent_2", "One", idempotency_key="k"),
        client.create_session(agent_id="agent_1", idempotency_key="k"),
        client.forget_all(agent_id="agent_1", idempotency_key="k"),
    ):
        with pytest.raises(ConflictError) as refused:
            await other
        assert refused.value.code == "idempotency_key_reused"

    assert (await client.list_memories()).count == 1
    assert (await client.list_sessions()).count == 0


async def test_error_response_does_not_use_up_an_idempotency_key(client: AsyncMemtrace) -> None:
    first = await client.remember("agent_1", "Once")
    with pytest.raises(ConflictError):
        await client.remember("agent_1", "Once", on_duplicate="reject", idempotency_key="k")
    await client.forget(first)

    again = await client.remember("agent_1", "Once", on_duplicate="reject", idempotency_key="k")

    assert (await client.list_memories()).memories == [again]


async def test_response_about_a_memory_forgotten_since_is_not_repeated(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "A secret", idempotency_key="k")
    await client.forget(memory)

    with pytest.raises(ConflictError) as refused:
        await client.remember("agent_1", "A secret", idempotency_key="k")

    assert refused.value.code == "answer_forgotten"
    assert (await client.list_memories()).count == 0


@EMBEDDED
async def test_idempotency_key_is_kept_for_24_hours(client: AsyncMemtrace, clock: Clock) -> None:
    first = await client.remember("agent_1", "One", idempotency_key="k")
    clock.advance(24 * 3600)
    assert await client.remember("agent_1", "One", idempotency_key="k") == first
    clock.advance(1)

    assert (await client.remember("agent_1", "Two", idempotency_key="k")).content == "Two"
