"""Sessions: created or only named by a memory, closed and reopened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from memtrace import (
    AsyncMemtrace,
    BadRequestError,
    CreateSessionRequest,
    MemtraceError,
    NotFoundError,
    SearchQuery,
    UpdateSessionRequest,
)

pytestmark = pytest.mark.anyio


async def test_a_session_starts_active_with_its_metadata(client: AsyncMemtrace) -> None:
    session = await client.create_session(
        CreateSessionRequest(agent_id="agent_1", metadata={"task": "onboarding"})
    )

    assert session.id.startswith("sess_")
    assert (session.agent_id, session.status, session.metadata) == (
        "agent_1", "active", {"task": "onboarding"},
    )  # fmt: skip
    assert session.updated_at == session.created_at
    assert session.closed_at is None
    assert await client.get_session(session.id) == session
    assert (await client.get_session_memories(session.id)).memories == []


async def test_session_of_an_unknown_agent_makes_the_agent_known(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="newcomer")

    agent = await client.get_agent("newcomer")

    assert agent.last_active_at == session.created_at


async def test_session_named_by_a_memory_exists(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "Hello", session_id="my-session")
    await client.remember("agent_2", "Hello too", session_id="my-session")

    session = await client.get_session("my-session")

    assert (session.agent_id, session.status, session.metadata) == ("agent_1", "active", {})
    assert abs(session.created_at - memory.time) < timedelta(milliseconds=1)
    assert (await client.get_session_memories("my-session")).count == 2


async def test_unknown_session_is_not_found(client: AsyncMemtrace) -> None:
    for get in (client.get_session, client.get_session_context, client.close_session, client.update_session):
        with pytest.raises(NotFoundError) as refused:
            await get("none")
        assert refused.value.code == "not_found"


async def test_session_can_be_closed_and_reopened(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="agent_1", metadata={"task": "t"})
    await client.remember("agent_1", "Stays", session_id=session.id)

    closed = await client.close_session(session.id)

    assert (closed.status, closed.metadata) == ("closed", {"task": "t"})
    assert closed.closed_at == closed.updated_at > session.updated_at
    assert await client.get_session(session.id) == closed
    assert (await client.get_session_memories(session.id)).count == 1
    again = await client.close_session(session.id)
    assert again == closed

    opened = await client.update_session(session.id, status="active")

    assert (opened.status, opened.closed_at) == ("active", None)
    assert opened.updated_at > closed.updated_at
    assert opened.created_at == session.created_at


async def test_updated_metadata_is_merged(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a", metadata={"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": 3})

    merged = await client.update_session(
        session.id,
        UpdateSessionRequest(metadata={"b": {"c": None, "d": [3], "n": {"x": None}}, "e": None, "f": 4}),
    )

    assert merged.metadata == {"a": 1, "b": {"d": [3], "n": {}}, "f": 4}
    assert merged.status == "active"
    assert (await client.update_session(session.id, status="closed")).metadata == merged.metadata
    assert (await client.update_session(session.id, metadata={"g": 5})).metadata == {
        **(merged.metadata or {}), "g": 5,
    }  # fmt: skip
    assert (await client.get_session(session.id)).status == "closed"


async def test_metadata_can_be_added_to_a_session_without_any(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a")

    assert (await client.update_session(session.id, metadata={"a": 1, "b": None})).metadata == {"a": 1}


async def test_update_that_changes_nothing_leaves_the_session_as_it_is(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a", metadata={"a": 1})

    assert await client.update_session(session.id, metadata={"a": 1}, status="active") == session
    assert await client.update_session(session.id, metadata={}) == session
    assert await client.update_session(session.id) == session


async def test_sessions_are_listed_newest_first_by_agent_and_status_and_page(client: AsyncMemtrace) -> None:
    sessions = [await client.create_session(agent_id=f"agent_{n % 2}") for n in range(6)]
    for closed in (sessions[0], sessions[1], sessions[2]):
        await client.close_session(closed.id)
    ids = [session.id for session in sessions]

    async def listed(**filters: str) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = await client.list_sessions(**filters, limit=2, cursor=cursor)  # type: ignore[arg-type] # "active"
            assert (page.count, page.has_more) == (len(page.sessions), page.next_cursor is not None)
            found += [session.id for session in page.sessions]
            cursor = page.next_cursor
            if cursor is None:
                return found

    assert await listed() == ids[::-1]
    assert await listed(agent_id="agent_0") == [ids[4], ids[2], ids[0]]
    assert await listed(status="active") == [ids[5], ids[4], ids[3]]
    assert await listed(status="closed") == [ids[2], ids[1], ids[0]]
    assert await listed(agent_id="agent_1", status="closed") == [ids[1]]
    assert await listed(agent_id="nobody") == []
    assert [s.id for s in (await client.list_sessions("agent_1")).sessions] == [ids[5], ids[3], ids[1]]


async def test_pages_of_sessions_stay_consistent_while_others_start(client: AsyncMemtrace) -> None:
    ids = [(await client.create_session(agent_id="a")).id for _ in range(4)]
    first = await client.list_sessions(limit=2)
    await client.create_session(agent_id="a")

    second = await client.list_sessions(limit=2, cursor=first.next_cursor)

    assert [s.id for s in first.sessions + second.sessions] == ids[::-1]


async def test_invalid_status_is_refused(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a")

    for refuse in (client.list_sessions(status="done"), client.update_session(session.id, status="done")):  # type: ignore[arg-type] # that is the point
        with pytest.raises(BadRequestError) as refused:
            await refuse
        assert [detail.field for detail in refused.value.details] == ["status"]


async def test_session_block_binds_its_writes_and_closes_the_session(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "Outside")

    async with client.session("agent_1", metadata={"task": "onboarding"}) as session:
        fact = await session.remember("User prefers dark mode", tags=["ui"])
        decision = await session.decide("Use dark mode", "The user likes it")
        assert (await session.recall()).memories == [decision, fact]
        assert (await session.recall(tags="ui")).memories == [fact]
        assert "Use dark mode" in (await session.context()).context
        assert (await client.get_session(session.id)).status == "active"

    closed = await client.get_session(session.id)
    assert (closed.status, closed.agent_id, closed.metadata) == ("closed", "agent_1", {"task": "onboarding"})
    assert {fact.session_id, decision.session_id} == {session.id}


async def test_session_block_that_raises_closes_the_session(client: AsyncMemtrace) -> None:
    with pytest.raises(MemtraceError, match="my own"):
        async with client.session("agent_1") as session:
            raise MemtraceError("my own")

    assert (await client.get_session(session.id)).status == "closed"


async def test_deleting_a_session_keeps_its_memories(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a", metadata={"customer": "anna"})
    memory = await client.remember("a", "Said in it", session_id=session.id)

    await client.delete_session(session.id)

    with pytest.raises(NotFoundError):
        await client.get_session(session.id)
    with pytest.raises(NotFoundError):
        await client.delete_session(session.id)
    assert (await client.list_sessions()).sessions == []
    assert (await client.get_agent_stats("a")).session_count == 0
    assert (await client.list_memories(session_id=session.id)).memories == [memory]


async def test_deleting_a_session_can_delete_the_memories_of_all_agents(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a")
    await client.remember("a", "Mine", session_id=session.id)
    await client.remember("b", "Another agent's", session_id=session.id)
    kept = await client.remember("a", "Elsewhere")

    await client.delete_session(session.id, delete_memories=True)

    assert (await client.list_memories()).memories == [kept]


async def test_a_deleted_session_exists_again_from_its_next_memory_on(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a", metadata={"customer": "anna"})
    await client.delete_session(session.id)

    await client.remember("b", "Later", session_id=session.id)

    again = await client.get_session(session.id)
    assert (again.agent_id, again.metadata) == ("b", {})


async def test_handle_continues_the_session_of_an_id(client: AsyncMemtrace) -> None:
    for content in ("First", "Second"):
        async with client.session("agent_1", session_id="chat-42", metadata={content: True}) as session:
            assert session.id == "chat-42"
            await session.remember(content)
        assert (await client.get_session("chat-42")).status == "closed"

    assert [m.content for m in await client.get_session_memories("chat-42")] == ["Second", "First"]
    assert (await client.get_session("chat-42")).metadata == {"First": True, "Second": True}


async def test_handle_of_an_id_without_memories_creates_no_session(client: AsyncMemtrace) -> None:
    async with client.session("agent_1", session_id="chat-43") as session:
        assert list(await session.recall()) == []

    with pytest.raises(NotFoundError):
        await client.get_session("chat-43")


async def test_a_handle_searches_its_own_session(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "Dark mode elsewhere")
    async with client.session("agent_1") as session:
        await session.remember("Dark mode here", tags=["ui"])

        found = [await session.search("dark"), await session.search(SearchQuery(content_contains="mode"))]

        assert [[m.content for m in page] for page in found] == [["Dark mode here"]] * 2
        assert list(await session.search("dark", tags=["other"])) == []


async def test_page_is_a_sequence_and_false_if_empty(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "text", session_id="s")

    pages: list[Any] = [
        await client.recall("agent_1"),
        await client.search_memories("text"),
        await client.list_agents(),
        await client.list_sessions(),
    ]
    for page in pages:
        assert (len(page), bool(page), len(list(page))) == (1, True, 1)
        assert page[0] is page[-1] is next(iter(page)) is next(reversed(page))
        assert (page[:1], page[1:]) == ([page[0]], [])
        with pytest.raises(IndexError):
            page[1]
        with pytest.raises(TypeError):
            page["content"]
    assert not await client.recall("nobody")
    assert not await client.search_memories("nothing")
