"""Every method, as a user would call it. The type checker reads this; nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import httpx

from memtrace import (
    AddMemoryRequest,
    Agent,
    AgentContext,
    AgentList,
    AgentStats,
    APIStatusError,
    AsyncMemtrace,
    ConflictError,
    ContextOptions,
    CreateSessionRequest,
    ErrorDetail,
    ForgetFilter,
    Health,
    ListOptions,
    Memory,
    MemoryList,
    MemoryType,
    Memtrace,
    MemtraceError,
    RateLimitError,
    RegisterAgentRequest,
    SearchQuery,
    SearchResult,
    Session,
    SessionContext,
    SessionHandle,
    SessionList,
    StoredMemories,
    TimePoint,
    UpdateSessionRequest,
)


def making_a_client() -> None:
    Memtrace()
    Memtrace("http://localhost:9100", "mtk_your_api_key")
    Memtrace("sqlite://", timeout=5, max_retries=0)
    Memtrace(timeout=httpx.Timeout(5, connect=1), http_client=httpx.Client(proxy="http://proxy"))
    with Memtrace(base_url="sqlite:///agent.db") as client:
        assert_type(client, Memtrace)
        assert_type(client.with_options(timeout=1.5, max_retries=1, api_key="mtk_other"), Memtrace)
        assert_type(client.base_url, str)
    client.close()


def memories(client: Memtrace) -> None:
    metadata = {"ticket": "4711"}
    assert_type(client.remember("agent_1", "User prefers dark mode"), Memory)
    client.remember(
        "agent_1",
        "User prefers dark mode",
        session_id="sess_1",
        memory_type="entity",
        event_type="observation",
        tags=["ui"],
        importance=1,
        metadata=metadata,
        parent_id=None,
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=3600,
        idempotency_key="key",
    )
    assert_type(client.decide("agent_1", "Use PostgreSQL", "Better JSON support", tags=["db"]), Memory)
    assert_type(client.add_memory(AddMemoryRequest(agent_id="agent_1", content="First")), Memory)
    client.add_memory(agent_id="agent_1", content="First", metadata={"nested": {"a": [1, None]}})

    stored = client.add_memories([AddMemoryRequest(agent_id="agent_1", content="First")])
    assert_type(stored, StoredMemories)
    assert_type(stored[0], Memory)
    assert_type(stored.duplicates, list[int])
    as_in_0_2_0(stored)
    rows: list[dict[str, Any]] = [{"agent_id": "agent_1", "content": "Second"}]
    client.add_memories(rows)
    client.add_memories(AddMemoryRequest(agent_id="agent_1", content=text) for text in ("a", "b"))
    client.add_memories([AddMemoryRequest(agent_id="a", content="b"), {"agent_id": "a", "content": "c"}])

    memory = client.get_memory("mem_1")
    assert_type(memory.id, str | None)
    assert_type(memory.time, datetime)
    assert_type(memory.metadata, dict[str, Any] | None)
    assert_type(memory.tags, list[str] | None)
    client.forget(memory)
    client.forget("mem_1", idempotency_key="key")
    assert_type(client.forget_all(agent_id="agent_1", until=timedelta(days=30)), int)
    client.forget_all(ForgetFilter(tags=["ui"]))


def as_in_0_2_0(memories: list[Memory]) -> int:
    return len(memories)


def reading(client: Memtrace) -> None:
    when: TimePoint = datetime.now(UTC) - timedelta(hours=1)
    kind: MemoryType = "decision"
    page = client.recall("agent_1", since="24h")
    assert_type(page, MemoryList)
    assert_type(page.memories, list[Memory])
    client.recall("agent_1", timedelta(hours=2), until=when, tags="ui,dark", memory_type=kind, limit=10)
    client.recall("agent_1", since=None, session_id="sess_1", event_type="error")
    client.list_memories()
    client.list_memories(ListOptions(agent_id="agent_1", memory_type="decision", since="7d", order="desc"))
    client.list_memories(ListOptions(since=timedelta(days=1), until=when, tags=["ui"], limit=50, offset=0))
    client.list_memories(agent_id="agent_1", tags=["ui"], since=when, order="asc", cursor=page.next_cursor)
    assert_type(client.iter_memories(agent_id="agent_1", page_size=500), Iterator[Memory])
    for memory in client.iter_memories(ListOptions(session_id="sess_1")):
        assert_type(memory, Memory)
    found = client.search_memories(
        SearchQuery(agent_id="agent_1", memory_types=["episodic", "decision"], min_importance=0.5)
    )
    assert_type(found, SearchResult)
    client.search_memories("dark mode -beta", tags=["ui"], order="relevance", limit=5)
    client.search_memories(content_contains="dark", metadata={"ticket": 4711}, since=timedelta(days=7))
    assert_type(client.iter_search("dark", memory_types=[kind], until="1d"), Iterator[Memory])
    client.iter_search(SearchQuery(query="dark", since=when))


def agents(client: Memtrace) -> None:
    assert_type(client.register_agent(RegisterAgentRequest(name="a", config={"model": "gpt-4"})), Agent)
    client.register_agent(name="a", description="Handles customer support", config={})
    assert_type(client.get_agent("a"), Agent)
    assert_type(client.list_agents(limit=10, cursor=None), AgentList)
    assert_type(client.get_agent_stats("a"), AgentStats)
    assert_type(client.get_agent_stats("a").memory_types, dict[str, int])
    assert_type(client.get_agent_memories("a", ListOptions(limit=5)), MemoryList)
    assert_type(client.get_agent_context("a", max_tokens=2000), AgentContext)
    client.get_agent_context("a", ContextOptions(since=timedelta(days=7), include_types=["decision"]))
    client.delete_agent("a")
    client.delete_agent("a", delete_memories=True, idempotency_key="key")


def sessions(client: Memtrace) -> None:
    session = client.create_session(CreateSessionRequest(agent_id="a", metadata={"task": "onboarding"}))
    assert_type(session, Session)
    client.create_session(agent_id="a", metadata={"task": "onboarding"})
    assert_type(client.list_sessions("a", status="active", limit=5), SessionList)
    assert_type(client.get_session(session.id), Session)
    assert_type(client.get_session_memories(session.id, ListOptions(order="asc")), MemoryList)
    context = client.get_session_context(
        session.id, ContextOptions(since="2h", include_types=["episodic", "decision"], max_tokens=4000)
    )
    assert_type(context, SessionContext)
    client.get_session_context(session.id, since="2h", until=datetime.now(UTC))
    client.update_session(session.id, metadata={"outcome": "solved", "draft": None})
    client.update_session(session.id, UpdateSessionRequest(status="active"))
    assert_type(client.close_session(session.id), Session)
    with client.session("a", metadata={"task": "onboarding"}) as handle:
        assert_type(handle, SessionHandle)
        assert_type(handle.id, str)
        assert_type(handle.remember("User prefers dark mode", tags=["ui"]), Memory)
        assert_type(handle.decide("Use dark mode", "They asked for it"), Memory)
        assert_type(handle.recall(since=timedelta(hours=1), limit=5), MemoryList)
        assert_type(handle.context(max_tokens=1000).context, str)


def health(client: Memtrace) -> None:
    assert_type(client.health(), Health)
    assert_type(client.ready().uptime, float | str | None)


def errors(client: Memtrace) -> None:
    try:
        client.recall("agent_1")
    except ConflictError as error:
        assert_type(error.existing_id, str | None)
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIStatusError as error:
        assert_type(error.details, list[ErrorDetail])
    except MemtraceError as error:
        assert_type(error.message, str)
        assert_type(error.status_code, int)
        assert_type(error.code, str | None)
        assert_type(error.request_id, str | None)


def mistakes(client: Memtrace) -> None:
    client.remember("agent_1", "text", memory_type="dream")  # type: ignore[arg-type]
    client.remember("agent_1", "text", tag="ui")  # type: ignore[call-arg]
    client.recall("agent_1", since=24)  # type: ignore[arg-type]
    client.list_memories(SearchQuery())  # type: ignore[arg-type]
    Memtrace(http_client=httpx.AsyncClient())  # type: ignore[arg-type]


async def without_blocking() -> None:
    async with AsyncMemtrace("http://localhost:9100", "mtk_...", http_client=httpx.AsyncClient()) as client:
        assert_type(await client.remember("agent_1", "User prefers dark mode"), Memory)
        assert_type(await client.recall("agent_1"), MemoryList)
        assert_type(client.iter_memories(), AsyncIterator[Memory])
        async for memory in client.iter_search("dark"):
            assert_type(memory, Memory)
        async with client.session("agent_1") as session:
            assert_type(await session.remember("In the session"), Memory)
        assert_type(client.with_options(timeout=1), AsyncMemtrace)
        await client.close()
    await client.aclose()
