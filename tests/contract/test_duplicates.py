"""What a duplicate is, and how it is handled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memtrace import AddMemoryRequest, AsyncMemtrace, ConflictError

if TYPE_CHECKING:
    from helpers.clock import Clock

pytestmark = pytest.mark.anyio

EMBEDDED = pytest.mark.parametrize("place", ["embedded"], indirect=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MEMORY: dict[str, Any] = {
    "agent_id": "agent_1",
    "session_id": "sess_1",
    "memory_type": "episodic",
    "event_type": "answer",
    "content": "yes",
    "metadata": {"a": 1, "b": {"c": [True]}},
    "on_duplicate": "reject",
}
EQUAL: dict[str, Any] = {name: value for name, value in MEMORY.items() if name != "on_duplicate"}


async def test_equal_memory_is_a_conflict_that_names_the_first(client: AsyncMemtrace) -> None:
    first = await client.add_memory(**MEMORY)

    with pytest.raises(ConflictError) as refused:
        await client.add_memory(**MEMORY)

    assert (refused.value.code, refused.value.existing_id) == ("duplicate_memory", first.id)
    assert (await client.list_memories()).memories == [first]


async def test_memory_that_differs_in_any_field_is_no_duplicate(client: AsyncMemtrace) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"agent_id": "agent_2"},
        {"session_id": "sess_2"},
        {"session_id": None},
        {"memory_type": "entity"},
        {"event_type": "question"},
        {"content": "yes "},
        {"content": "Yes"},
        {"metadata": {"a": 2, "b": {"c": [True]}}},
        {"metadata": {"a": 1, "b": {"c": [1]}}},
        {"metadata": None},
        {"metadata": {}},
        {"time": NOON},
        {"dedup_key": "my own"},
        {"tags": ["x"]},
        {"tags": ["x", "y"]},
        {"importance": 0.5},
        {"parent_id": "p"},
        {"ttl": 60},
        {"ttl": 61},
    ]

    ids = {(await client.add_memory(**{**MEMORY, **change})).id for change in changes}

    assert len(ids) == len(changes)
    assert (await client.list_memories()).count == len(changes)


async def test_the_order_of_tags_does_not_matter(client: AsyncMemtrace) -> None:
    first = await client.add_memory(**MEMORY, tags=["x", "y", "x"])

    with pytest.raises(ConflictError) as refused:
        await client.add_memory(**MEMORY, tags=["y", "x"])

    assert refused.value.existing_id == first.id


async def test_order_of_keys_in_metadata_does_not_matter(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "yes", metadata={"a": 1, "b": {"c": 2, "d": 3}})

    with pytest.raises(ConflictError):
        await client.remember(
            "agent_1", "yes", metadata={"b": {"d": 3, "c": 2}, "a": 1}, on_duplicate="reject"
        )


async def test_long_contents_are_compared_to_their_last_character(client: AsyncMemtrace) -> None:
    start = "x" * 60_000
    await client.remember("agent_1", start + "1")

    await client.remember("agent_1", start + "2")

    assert (await client.list_memories()).count == 2


async def test_dedup_key_makes_different_memories_duplicates(client: AsyncMemtrace) -> None:
    first = await client.remember("agent_1", "Opened", dedup_key="ticket-1")

    with pytest.raises(ConflictError) as refused:
        await client.remember("agent_1", "Opened again", dedup_key="ticket-1", session_id="sess_1")

    assert refused.value.existing_id == first.id
    await client.remember("agent_2", "Opened", dedup_key="ticket-1")
    await client.remember("agent_1", "Opened", dedup_key="ticket-2")


async def test_equal_memories_with_different_times_are_no_duplicates(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "Backed up", time=NOON)

    await client.remember("agent_1", "Backed up", time=NOON + timedelta(microseconds=1))

    with pytest.raises(ConflictError):
        await client.remember("agent_1", "Backed up", time=NOON, on_duplicate="reject")


async def test_one_time_in_two_zones_makes_a_duplicate(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "Backed up", time=NOON)

    with pytest.raises(ConflictError):
        await client.remember(
            "agent_1", "Backed up", time=NOON.astimezone(timezone(timedelta(hours=5))), on_duplicate="reject"
        )


async def test_conflict_message_names_the_remedy(client: AsyncMemtrace) -> None:
    first = await client.add_memory(**MEMORY)

    with pytest.raises(ConflictError, match=f"memory {first.id} .* says the same; send on_duplicate=store "):
        await client.add_memory(**MEMORY)


async def test_on_duplicate_store_stores_an_equal_memory_again(client: AsyncMemtrace) -> None:
    first = await client.add_memory(AddMemoryRequest(**EQUAL))

    second = await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="store"))

    assert (second.content, second.tags) == (first.content, first.tags)
    assert (await client.list_memories(order="asc")).memories == [first, second]


async def test_on_duplicate_return_returns_the_first_memory(client: AsyncMemtrace) -> None:
    first = await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="return"))
    await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="store"))

    again = await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="return"))

    assert again == first
    assert (await client.list_memories()).count == 2


async def test_next_equal_memory_is_the_first_once_the_first_is_forgotten(client: AsyncMemtrace) -> None:
    first = await client.add_memory(AddMemoryRequest(**EQUAL))
    second = await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="store"))

    await client.forget(first)

    assert await client.add_memory(AddMemoryRequest(**EQUAL, on_duplicate="return")) == second


async def test_batch_with_a_duplicate_is_refused_and_stores_nothing(client: AsyncMemtrace) -> None:
    original = await client.remember("agent_1", "Known")
    contents = ["New", "Known", "New", "Newer", "Known"]

    with pytest.raises(ConflictError) as refused:
        await client.add_memories(
            {"agent_id": "agent_1", "content": content, "on_duplicate": "reject"} for content in contents
        )

    assert (refused.value.code, refused.value.existing_id) == ("duplicate_memory", original.id)
    assert [detail.field for detail in refused.value.details] == ["memories.1", "memories.2", "memories.4"]
    assert "memories.0 of this batch" in refused.value.details[1].message
    assert (await client.list_memories()).memories == [original]


async def test_batch_returns_the_first_memory_at_the_index_of_a_duplicate(client: AsyncMemtrace) -> None:
    original = await client.remember("agent_1", "Known")
    contents = ["New", "Known", "New", "Newer", "Known"]

    stored = await client.add_memories(
        {"agent_id": "agent_1", "content": content, "on_duplicate": "return"} for content in contents
    )

    assert [memory.content for memory in stored] == contents
    assert stored.duplicates == [1, 2, 4]
    assert stored[1] == stored[4] == original
    assert stored[2] == stored[0]
    assert (await client.list_memories()).count == 3


async def test_each_memory_of_a_batch_has_its_own_on_duplicate(client: AsyncMemtrace) -> None:
    original = await client.remember("agent_1", "Known")
    choices: list[Any] = ["store", "return", "store"]

    stored = await client.add_memories(
        {"agent_id": "agent_1", "content": "Known", "on_duplicate": choice} for choice in choices
    )

    assert stored.duplicates == [1]
    assert stored[1] == original
    assert len({memory.id for memory in stored}) == 3


async def test_batch_of_duplicates_with_return_stores_nothing(client: AsyncMemtrace) -> None:
    batch = [{"agent_id": "agent_1", "content": text, "on_duplicate": "return"} for text in ("One", "Two")]
    first = await client.add_memories(batch)

    again = await client.add_memories(batch)

    assert (list(again), again.duplicates) == (list(first), [0, 1])
    assert (await client.get_agent_stats("agent_1")).memory_count == 2


async def test_forgotten_memory_can_be_stored_again(client: AsyncMemtrace) -> None:
    first = await client.remember("agent_1", "User prefers dark mode")
    await client.forget(first)

    again = await client.remember("agent_1", "User prefers dark mode")

    assert again.id != first.id
    assert (await client.list_memories()).memories == [again]


@EMBEDDED
async def test_equal_memory_after_24_hours_is_no_duplicate(client: AsyncMemtrace, clock: Clock) -> None:
    first = await client.remember("agent_1", "Backed up")
    clock.advance(24 * 3600)
    with pytest.raises(ConflictError):
        await client.remember("agent_1", "Backed up", on_duplicate="reject")
    clock.advance(1)

    second = await client.remember("agent_1", "Backed up")

    assert (await client.list_memories(order="asc")).memories == [first, second]
    with pytest.raises(ConflictError) as refused:
        await client.remember("agent_1", "Backed up", on_duplicate="reject")
    assert refused.value.existing_id == second.id


async def test_one_of_many_simultaneous_equal_memories_is_stored(client: AsyncMemtrace) -> None:
    stored, refused = [], []

    async def remember() -> None:
        try:
            stored.append((await client.remember("agent_1", "Simultaneous", on_duplicate="reject")).id)
        except ConflictError as conflict:
            refused.append(conflict.existing_id)

    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(remember)

    assert len(stored) == 1
    assert refused == stored * 15
