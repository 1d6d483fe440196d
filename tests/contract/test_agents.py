"""Agents: registered ones, those that only wrote, and their statistics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, ConflictError, NotFoundError, RegisterAgentRequest

if TYPE_CHECKING:
    from helpers.clock import Clock

pytestmark = pytest.mark.anyio

EMBEDDED = pytest.mark.parametrize("place", ["embedded"], indirect=True)


async def test_registered_agent_is_returned_as_it_was_sent(client: AsyncMemtrace) -> None:
    config = {"model": "gpt-4", "nested": {"list": [1, None, "ü"]}}
    agent = await client.register_agent(
        RegisterAgentRequest(name="my-agent", description="Handles customer support", config=config)
    )

    assert (agent.id, agent.name, agent.description) == ("my-agent", "my-agent", "Handles customer support")
    assert (agent.config, agent.last_active_at) == (config, None)
    assert await client.get_agent("my-agent") == agent
    assert (await client.list_agents()).agents == [agent]


async def test_every_kind_of_allowed_name_works_as_an_id(client: AsyncMemtrace) -> None:
    for name in ("a", "_", "0", "a" * 128, "Agent_1.x:y@z-w"):
        await client.register_agent(name=name)
        await client.remember(name, "Hello")

        assert (await client.get_agent(name)).id == name
        assert (await client.get_agent_memories(name)).count == 1
        assert (await client.get_agent_stats(name)).memory_count == 1


async def test_a_name_that_is_taken_is_a_conflict(client: AsyncMemtrace) -> None:
    first = await client.register_agent(name="my-agent", description="The first")

    with pytest.raises(ConflictError) as refused:
        await client.register_agent(name="my-agent", description="The second")

    assert (refused.value.code, refused.value.existing_id) == ("agent_exists", "my-agent")
    assert await client.get_agent("my-agent") == first
    await client.register_agent(name="My-Agent")


async def test_an_agent_that_only_wrote_a_memory_is_found(client: AsyncMemtrace) -> None:
    memory = await client.remember("writer", "Hello")

    agent = await client.get_agent("writer")

    assert (agent.id, agent.name, agent.description, agent.config) == ("writer", "writer", None, {})
    assert abs(agent.created_at - memory.time) < timedelta(milliseconds=1)
    assert agent.last_active_at == agent.created_at
    assert (await client.list_agents()).agents == [agent]


async def test_an_agent_that_wrote_before_can_be_registered_once(client: AsyncMemtrace) -> None:
    memory = await client.remember("writer", "Hello")

    agent = await client.register_agent(name="writer", description="Writes")

    assert abs(agent.created_at - memory.time) < timedelta(milliseconds=1)
    assert (await client.get_agent_memories("writer")).memories == [memory]
    with pytest.raises(ConflictError):
        await client.register_agent(name="writer")


async def test_agents_are_listed_in_order_of_their_id_page_by_page(client: AsyncMemtrace) -> None:
    for name in ("b", "B", "_", "1", "c", "a"):
        await client.register_agent(name=name)

    first = await client.list_agents(limit=4)
    second = await client.list_agents(limit=4, cursor=first.next_cursor)

    assert [agent.id for agent in first.agents + second.agents] == ["1", "B", "_", "a", "b", "c"]
    assert (first.count, first.has_more) == (4, True)
    assert (second.count, second.has_more, second.next_cursor) == (2, False, None)


async def test_unknown_agent_is_not_found(client: AsyncMemtrace) -> None:
    for get in (client.get_agent, client.get_agent_stats, client.get_agent_context, client.delete_agent):
        with pytest.raises(NotFoundError) as refused:
            await get("nonexistent")
        assert refused.value.code == "not_found"
        assert "nonexistent" in refused.value.message


async def test_name_that_is_no_valid_id_is_refused(client: AsyncMemtrace) -> None:
    for name in (".", "..", "a" * 129, "a\n", " a", "a\u00a0", "a\x7fb", "a\u2028b", "a\x85b", "a\x00b"):
        with pytest.raises(BadRequestError) as refused:
            await client.register_agent(name=name)
        assert [detail.field for detail in refused.value.details] == ["name"]
        with pytest.raises(BadRequestError):
            await client.get_agent(name)
    assert (await client.list_agents()).agents == []


async def test_a_deleted_agents_memories_and_sessions_stay(client: AsyncMemtrace) -> None:
    await client.register_agent(name="gone", description="Was here")
    memory = await client.remember("gone", "Hello", session_id="s")

    await client.delete_agent("gone")

    assert (await client.list_agents()).agents == []
    for get in (client.get_agent, client.get_agent_memories, client.get_agent_stats, client.delete_agent):
        with pytest.raises(NotFoundError):
            await get("gone")
    assert (await client.list_memories(agent_id="gone")).memories == [memory]
    assert (await client.get_session("s")).agent_id == "gone"


async def test_a_deleted_agent_comes_back_when_it_writes(client: AsyncMemtrace) -> None:
    await client.register_agent(name="gone", description="Was here", config={"a": 1})
    before = await client.remember("gone", "Before")
    await client.delete_agent("gone")

    after = await client.remember("gone", "After")

    agent = await client.get_agent("gone")
    assert (agent.description, agent.config) == (None, {})
    assert abs(agent.created_at - after.time) < timedelta(milliseconds=1)
    assert (await client.get_agent_memories("gone")).memories == [after, before]
    assert (await client.get_agent_stats("gone")).memory_count == 2
    assert (await client.register_agent(name="gone", description="New")).description == "New"


async def test_a_deleted_agent_can_be_registered_anew(client: AsyncMemtrace) -> None:
    await client.register_agent(name="gone", description="Was here", config={"a": 1})
    await client.remember("gone", "Hello")
    await client.delete_agent("gone")

    agent = await client.register_agent(name="gone")

    assert (agent.description, agent.config, agent.last_active_at) == (None, {}, None)


async def test_deleting_an_agent_can_delete_its_memories_and_sessions(
    client: AsyncMemtrace,
) -> None:
    session = await client.create_session(agent_id="gone")
    await client.remember("gone", "A secret", session_id=session.id)
    await client.remember("gone", "Another", session_id="implicit")
    shared = await client.create_session(agent_id="gone")
    await client.remember("gone", "Mine", session_id=shared.id)
    theirs = await client.remember("other", "Theirs", session_id=shared.id)

    await client.delete_agent("gone", delete_memories=True)

    assert (await client.list_memories()).memories == [theirs]
    assert (await client.search_memories("secret")).count == 0
    assert [s.id for s in (await client.list_sessions()).sessions] == [shared.id]
    assert (await client.get_session_memories(shared.id)).memories == [theirs]
    with pytest.raises(NotFoundError):
        await client.get_agent("gone")
    await client.remember("gone", "A secret")
    assert (await client.get_agent_stats("gone")).memory_count == 1


@EMBEDDED
async def test_expired_memory_of_another_agent_keeps_no_session(client: AsyncMemtrace, clock: Clock) -> None:
    shared = await client.create_session(agent_id="gone")
    await client.remember("other", "Theirs", session_id=shared.id, ttl=60)
    clock.advance(60)

    await client.delete_agent("gone", delete_memories=True)

    assert (await client.list_sessions()).sessions == []


async def test_stats_count_memories_errors_and_sessions(client: AsyncMemtrace) -> None:
    now = datetime.now(UTC)
    memories: list[dict[str, Any]] = [
        {"content": "1"},
        {"content": "2", "event_type": "error"},
        {"content": "3", "event_type": "error", "time": now - timedelta(hours=25)},
        {"content": "4", "memory_type": "decision", "event_type": "decision", "session_id": "s1"},
        {"content": "5", "time": now - timedelta(hours=23)},
        {"content": "6", "memory_type": "entity", "session_id": "s2"},
    ]
    await client.add_memories({"agent_id": "agent_1", **memory} for memory in memories)
    await client.remember("agent_2", "1", session_id="s3")
    await client.close_session("s2")
    session = await client.create_session(agent_id="agent_1")

    stats = await client.get_agent_stats("agent_1")

    assert stats.agent_id == "agent_1"
    assert (stats.memory_count, stats.memories_24h, stats.errors_24h) == (6, 5, 1)
    assert stats.memory_types == {"episodic": 4, "decision": 1, "entity": 1}
    assert (stats.session_count, stats.active_sessions) == (3, 2)
    assert stats.last_active_at == session.created_at


async def test_stats_leave_out_forgotten_memories(client: AsyncMemtrace) -> None:
    one, *_ = await client.add_memories({"agent_id": "agent_1", "content": text} for text in ("1", "2", "3"))
    await client.decide("agent_1", "Go", "Why not")
    await client.forget(one)
    await client.forget_all(memory_type="decision")

    stats = await client.get_agent_stats("agent_1")

    assert (stats.memory_count, stats.memories_24h, stats.memory_types) == (2, 2, {"episodic": 2})


async def test_an_agent_without_memories_has_zeros(client: AsyncMemtrace) -> None:
    await client.register_agent(name="new")

    stats = await client.get_agent_stats("new")

    assert (stats.memory_count, stats.memories_24h, stats.errors_24h) == (0, 0, 0)
    assert (stats.session_count, stats.active_sessions, stats.memory_types) == (0, 0, {})
    assert stats.last_active_at is None


@EMBEDDED
async def test_stats_of_24_hours_leave_out_older_memories(client: AsyncMemtrace, clock: Clock) -> None:
    await client.remember("agent_1", "Failed", event_type="error")
    clock.advance(24 * 3600 - 1)
    stats = await client.get_agent_stats("agent_1")
    assert (stats.memories_24h, stats.errors_24h) == (1, 1)

    clock.advance(2)

    stats = await client.get_agent_stats("agent_1")
    assert (stats.memory_count, stats.memories_24h, stats.errors_24h) == (1, 0, 0)
