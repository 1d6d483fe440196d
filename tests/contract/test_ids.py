"""Ids and tags: any single line of text works in bodies, paths, queries and cursors."""

from __future__ import annotations

import pytest

from memtrace import AsyncMemtrace, NotFoundError

pytestmark = pytest.mark.anyio

IDS = [
    "alice+bot@example.com",
    "org/agent",
    "Support Bot",
    "günther",
    "-a",
    "...",
    ".a",
    "a.",
    "a%2Fb",
    "100%",
    "?a=b&c#d",
    "a;b,c:d",
    "a\\b",
    "..\\..",
    "../../health",
    "日本語のエージェント",
    "👩‍🚀",
    "\u202ebot",
    "x" * 128,
    "😀" * 128,
]


async def test_every_agent_is_reached_by_its_id(client: AsyncMemtrace) -> None:
    for agent_id in IDS:
        memory = await client.remember(agent_id, "c")
        assert memory.agent_id == agent_id
        registered = await client.register_agent(name=agent_id, description="d")
        assert await client.get_agent(agent_id) == registered
        assert (await client.get_agent_memories(agent_id)).memories == [memory]
        assert (await client.list_memories(agent_id=agent_id)).memories == [memory]
        assert (await client.search_memories(query="c", agent_id=agent_id)).count == 1
        assert (await client.get_agent_stats(agent_id)).memory_count == 1
        assert (await client.get_agent_context(agent_id)).agent_id == agent_id
    assert sorted(agent.id for agent in (await client.list_agents()).agents) == sorted(IDS)
    for agent_id in IDS:
        await client.delete_agent(agent_id, delete_memories=True)
        with pytest.raises(NotFoundError):
            await client.get_agent(agent_id)


async def test_every_session_is_reached_by_its_id(client: AsyncMemtrace) -> None:
    for session_id in IDS:
        memory = await client.remember("a", "c", session_id=session_id)
        assert (await client.get_session(session_id)).id == session_id
        assert (await client.get_session_memories(session_id)).memories == [memory]
        assert (await client.list_memories(session_id=session_id)).memories == [memory]
        assert (await client.get_session_context(session_id)).session_id == session_id
        assert (await client.close_session(session_id)).status == "closed"


async def test_every_tag_finds_its_memory(client: AsyncMemtrace) -> None:
    for tag in IDS:
        memory = await client.remember("a", tag, tags=[tag, "all"])
        for tags in ([tag], [tag, "all"], ["all", tag]):
            assert (await client.list_memories(tags=tags)).memories == [memory]
            assert (await client.search_memories(tags=tags)).results == [memory]
    assert (await client.list_memories(tags="all", agent_id="a")).count == len(IDS)
    assert (await client.list_memories(tags="b,c")).memories == []
    for tag in IDS:
        assert await client.forget_all(tags=[tag]) == 1


async def test_pages_continue_after_every_id(client: AsyncMemtrace) -> None:
    for name in IDS:
        await client.remember(name, "c", session_id=name)

    agents, cursor = [], None
    while True:
        page = await client.list_agents(limit=1, cursor=cursor)
        agents += [agent.id for agent in page.agents]
        if not page.has_more:
            break
        cursor = page.next_cursor
    assert agents == sorted(IDS, key=lambda name: name.encode())

    sessions, cursor = [], None
    while True:
        found = await client.list_sessions(limit=1, cursor=cursor)
        sessions += [session.id for session in found.sessions]
        if not found.has_more:
            break
        cursor = found.next_cursor
    assert sorted(sessions) == sorted(IDS)


async def test_ids_are_compared_exactly(client: AsyncMemtrace) -> None:
    for agent_id in ("günther", "gu\u0308nther", "GÜNTHER", "org/agent", "org%2Fagent", "org%2fagent"):
        await client.remember(agent_id, "c")
        assert (await client.get_agent_stats(agent_id)).memory_count == 1
