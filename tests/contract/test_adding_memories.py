"""Storing memories: what comes back, and that a batch is all or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from memtrace import AddMemoryRequest, AsyncMemtrace, BadRequestError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from helpers.clock import Clock

pytestmark = pytest.mark.anyio

BEFORE = datetime(2020, 2, 29, 12, 30, 0, 123456, tzinfo=UTC)


async def test_memory_is_returned_exactly_as_it_was_stored(client: AsyncMemtrace) -> None:
    given: dict[str, Any] = {
        "agent_id": "agent_1",
        "session_id": "sess_1",
        "memory_type": "entity",
        "event_type": "Beobachtung ✓",
        "content": '  Line one\r\n\tline two, naïve 日本語 🎉 \u2028 \\u0041 "quoted" \x7f \x01 ',
        "metadata": {"Ключ": [1, 2.5, True, None, {"deep": "ü"}], "big": 2**62, "tiny": -(2**63), "e": 1e-7},
        "tags": ["ui", "Überblick", "with space"],
        "importance": 0.7,
        "parent_id": "mem_of_elsewhere",
        "dedup_key": "ticket 4711",
        "time": BEFORE,
    }

    stored = await client.add_memory(**given)

    assert {name: getattr(stored, name) for name in given} == given
    assert stored.id
    assert await client.get_memory(stored.id) == stored
    assert (await client.list_memories()).memories == [stored]


async def test_fields_left_out_have_the_defaults_of_the_contract(client: AsyncMemtrace) -> None:
    before = datetime.now(UTC)
    memory = await client.add_memory(AddMemoryRequest(agent_id="agent_1", content="User prefers dark mode"))
    after = datetime.now(UTC)

    assert (memory.memory_type, memory.event_type) == ("episodic", "general")
    assert before - timedelta(milliseconds=1) <= memory.time <= after
    assert memory.org_id
    nothing = ("session_id", "importance", "parent_id", "dedup_key", "expires_at")
    assert [getattr(memory, name) for name in nothing] == [None] * len(nothing)
    assert (memory.metadata, memory.tags) == ({}, [])


async def test_decision_is_a_memory_with_its_reasoning(client: AsyncMemtrace) -> None:
    await client.decide("agent_1", "Use PostgreSQL", "Better JSON support", metadata={"ticket": 7})

    (decision,) = (await client.recall("agent_1")).memories
    assert (decision.memory_type, decision.event_type, decision.content) == (
        "decision", "decision", "Use PostgreSQL",
    )  # fmt: skip
    assert decision.metadata == {"ticket": 7, "reasoning": "Better JSON support"}


async def test_a_tag_given_twice_counts_once(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "Opened settings", tags=["ui", "nav", "ui"])

    assert memory.tags == ["ui", "nav"]


async def test_ids_sort_by_time(client: AsyncMemtrace) -> None:
    stored = [await client.remember("agent_1", f"Step {n}") for n in range(20)]
    stored += await client.add_memories({"agent_id": "agent_1", "content": f"Item {n}"} for n in range(50))
    earlier = await client.remember("agent_1", "Imported", time=BEFORE)

    ids = [memory.id or "" for memory in stored]
    assert ids == sorted(set(ids))
    assert (earlier.id or "") < ids[0]


async def test_times_never_run_backwards_within_a_batch(client: AsyncMemtrace) -> None:
    stored = await client.add_memories({"agent_id": "agent_1", "content": f"Item {n}"} for n in range(1000))

    times = [memory.time for memory in stored]
    assert times == sorted(times)
    listed = (await client.list_memories(limit=1000, order="asc")).memories
    assert listed == stored


async def test_batch_is_stored_in_its_order(client: AsyncMemtrace) -> None:
    stored = await client.add_memories(
        [
            AddMemoryRequest(agent_id="agent_1", content="First", tags=["a"]),
            {"agent_id": "agent_2", "content": "Second", "session_id": "sess_1"},
            AddMemoryRequest(agent_id="agent_1", content="Third", time=BEFORE),
        ]
    )

    assert [memory.content for memory in stored] == ["First", "Second", "Third"]
    assert stored.duplicates == []
    assert [await client.get_memory(memory.id or "") for memory in stored] == list(stored)


async def test_a_batch_with_one_bad_memory_stores_nothing(client: AsyncMemtrace) -> None:
    good = {"agent_id": "agent_1", "content": "Good"}
    wrongs: list[dict[str, Any]] = [
        {"content": ""},
        {"agent_id": "space "},
        {"tags": ["a\tb"]},
        {"ttl": 0},
    ]

    for wrong in wrongs:
        with pytest.raises(BadRequestError) as refused:
            await client.add_memories(
                [good, {**good, "content": "Bad", **wrong}, {**good, "content": "Fine"}]
            )
        assert [d.field.split(".")[:3] for d in refused.value.details] == [["memories", "1", *wrong]]

    assert (await client.list_memories()).memories == []
    assert (await client.list_agents()).agents == []


async def test_batch_of_1001_memories_is_refused(client: AsyncMemtrace) -> None:
    batch = [{"agent_id": "agent_1", "content": f"Item {n}"} for n in range(1001)]

    with pytest.raises(BadRequestError) as refused:
        await client.add_memories(batch)

    assert [detail.field for detail in refused.value.details] == ["memories"]
    assert (await client.list_memories()).memories == []


async def test_an_empty_batch_is_refused(client: AsyncMemtrace) -> None:
    with pytest.raises(BadRequestError):
        await client.add_memories([])


async def test_content_of_up_to_65536_characters_is_stored(client: AsyncMemtrace) -> None:
    content = "é" * 65_536

    memory = await client.remember("agent_1", content)

    assert (await client.get_memory(memory.id or "")).content == content
    with pytest.raises(BadRequestError) as refused:
        await client.remember("agent_1", content + "é")
    assert [detail.field for detail in refused.value.details] == ["content"]


async def test_time_in_another_zone_is_stored_as_the_same_moment(client: AsyncMemtrace) -> None:
    from_elsewhere = BEFORE.astimezone(datetime.strptime("+0545", "%z").tzinfo)

    memory = await client.remember("agent_1", "Imported", time=from_elsewhere)

    assert memory.time == BEFORE
    assert (await client.list_memories(since=BEFORE, until=BEFORE + timedelta(microseconds=1))).count == 1


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
async def test_memory_with_a_ttl_is_gone_after_it(client: AsyncMemtrace, clock: Clock) -> None:
    memory = await client.remember("agent_1", "The code is 4711", ttl=60, tags=["secret"], session_id="s")
    other = await client.remember("agent_1", "Stays")
    assert memory.expires_at == memory.time + timedelta(seconds=60)
    clock.advance(59)
    assert (await client.list_memories()).count == 2

    clock.advance(1)

    assert (await client.list_memories()).memories == [other]
    assert (await client.list_memories(tags="secret")).count == 0
    assert (await client.search_memories("code")).count == 0
    assert (await client.search_memories(content_contains="4711")).count == 0
    assert (await client.get_session_memories("s")).count == 0
    assert (await client.get_session_context("s")).memory_count == 0
    stats = await client.get_agent_stats("agent_1")
    assert (stats.memory_count, stats.memories_24h, stats.memory_types) == (1, 1, {"episodic": 1})
    with pytest.raises(NotFoundError):
        await client.get_memory(memory.id or "")
    with pytest.raises(NotFoundError):
        await client.forget(memory)
    assert await client.forget_all(tags=["secret"]) == 0


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
async def test_expired_memory_is_no_duplicate(client: AsyncMemtrace, clock: Clock) -> None:
    first = await client.remember("agent_1", "On call", ttl=60)
    with pytest.raises(ConflictError):
        await client.remember("agent_1", "On call", ttl=60, on_duplicate="reject")
    clock.advance(60)

    again = await client.remember("agent_1", "On call", ttl=60, on_duplicate="reject")

    assert again.id != first.id
    assert (await client.list_memories()).memories == [again]


async def test_memory_whose_ids_are_escaped_in_json_is_returned_as_stored(client: AsyncMemtrace) -> None:
    odd = 'a "b" \\c\\ %s \'d\' é \U0001f642 {"e":1}'
    fields: dict[str, Any] = {"session_id": f"session {odd}", "event_type": f"event {odd}", "tags": [odd]}
    at = BEFORE
    memory = await client.add_memory(agent_id=odd, content=odd, **fields, time=at, ttl=60)
    plain = await client.add_memory(agent_id=odd, content=odd, **fields)

    listed = (await client.list_memories(agent_id=odd, session_id=fields["session_id"], order="asc")).memories

    assert [memory, plain] == listed
    assert await client.get_memory(memory) == memory
    assert (memory.agent_id, memory.event_type, memory.time) == (odd, fields["event_type"], at)
    assert memory.created_at != memory.time
    assert plain.created_at == plain.time
