"""Every method, as users call it. mypy and pyright read this file; nobody runs it.

test_typing.py checks that every method of clients and sessions is called here, and the blocking ones with
every argument. Errors of types are in misuse.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import httpx
import httpx2

from memtrace import (
    Access,
    AddMemoryRequest,
    Agent,
    AgentContext,
    AgentList,
    AgentStats,
    Answered,
    APIStatusError,
    AsyncMemtrace,
    AsyncSessionHandle,
    AsyncWriteBuffer,
    BufferedWriteError,
    ConflictError,
    ContextEntry,
    ContextOmissions,
    ContextOptions,
    CreateSessionRequest,
    ErrorDetail,
    ForgetFilter,
    Health,
    ImportReport,
    ListOptions,
    Memory,
    MemoryList,
    MemoryTail,
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
    SessionStatus,
    StoredMemories,
    TimePoint,
    UpdateSessionRequest,
    WriteBuffer,
)


def making_a_client() -> None:
    Memtrace()
    Memtrace("http://localhost:9100", "mtk_your_api_key")
    Memtrace("sqlite://", timeout=5, max_retries=0)
    Memtrace(default_headers={"User-Agent": "agent/1"})
    Memtrace(httpx.URL("http://localhost:9100"), http_client=httpx2.Client())
    AsyncMemtrace(http_client=httpx2.AsyncClient())
    Memtrace(timeout=httpx.Timeout(5, connect=1), http_client=httpx.Client(proxy="http://proxy"))
    Memtrace(base_url=None, api_key=None, timeout=None)
    with Memtrace(base_url="sqlite:///agent.db") as client:
        assert_type(client, Memtrace)


def settings(client: Memtrace) -> None:
    assert_type(client.with_options(timeout=1.5, max_retries=1, api_key="mtk_other"), Memtrace)
    client.with_options(timeout=httpx.Timeout(1.5))
    assert_type(client.base_url, str)
    assert_type(client.close(), None)


def writing(client: Memtrace) -> None:
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
        on_duplicate="store",
        supersedes="mem_1",
        idempotency_key="key",
    )
    assert_type(client.decide("agent_1", "Use PostgreSQL", "Better JSON support"), Memory)
    client.decide(
        "agent_1",
        decision="Use PostgreSQL",
        reasoning="Better JSON support",
        session_id="sess_1",
        tags=["db"],
        importance=0.9,
        metadata=metadata,
        parent_id="mem_1",
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=3600,
        on_duplicate="store",
        supersedes="mem_1",
        idempotency_key="key",
    )
    assert_type(client.add_memory(AddMemoryRequest(agent_id="agent_1", content="First")), Memory)
    assert_type(client.add_memory({"agent_id": "agent_1", "content": "First"}), Memory)
    client.add_memory(
        agent_id="agent_1",
        content="First",
        session_id="sess_1",
        memory_type="session",
        event_type="observation",
        tags=["ui"],
        importance=0.5,
        metadata={"nested": {"a": [1, None]}},
        parent_id="mem_1",
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=60,
        on_duplicate="store",
        supersedes="mem_1",
        idempotency_key="key",
    )


def writing_many(client: Memtrace) -> None:
    stored = client.add_memories([AddMemoryRequest(agent_id="agent_1", content="First")])
    assert_type(stored, StoredMemories)
    assert_type(stored[0], Memory)
    assert_type(stored.duplicates, list[int])
    as_in_0_2_0(stored)
    rows: list[dict[str, Any]] = [{"agent_id": "agent_1", "content": "Second"}]
    client.add_memories(rows)
    client.add_memories(AddMemoryRequest(agent_id="agent_1", content=text) for text in ("a", "b"))
    client.add_memories(
        [AddMemoryRequest(agent_id="a", content="b"), {"agent_id": "a", "content": "c"}],
        idempotency_key="key",
    )


def pages_as_sequences(client: Memtrace) -> None:
    page = client.recall("agent_1")
    assert_type(page[0], Memory)
    assert_type(page[:2], list[Memory])
    assert_type(next(reversed(page)), Memory)
    assert_type(client.search_memories("dark")[-1], Memory)
    assert_type(client.list_agents()[0], Agent)
    assert_type(client.list_sessions()[0], Session)


def as_in_0_2_0(memories: list[Memory]) -> int:
    return len(memories)


def one_memory(client: Memtrace) -> None:
    memory = client.get_memory("mem_1")
    assert_type(memory.id, str | None)
    assert_type(memory.time, datetime)
    assert_type(memory.metadata, dict[str, Any])
    assert_type(memory.tags, list[str])
    assert_type(client.forget(memory), None)
    client.forget("mem_1", idempotency_key="key")
    assert_type(client.forget_all(ForgetFilter(tags=["ui"])), int)
    client.forget_all(
        agent_id="agent_1",
        session_id="sess_1",
        memory_type="episodic",
        event_type="error",
        tags=["ui"],
        since=datetime.now(UTC),
        until=timedelta(days=30),
        memory_types=["episodic", "decision"],
        event_types=("error", "action"),
        min_importance=0.5,
        metadata={"customer": "anna"},
        dry_run=True,
        idempotency_key="key",
    )


def reading(client: Memtrace) -> None:
    when: TimePoint = datetime.now(UTC) - timedelta(hours=1)
    kind: MemoryType = "decision"
    page = client.recall("agent_1", since="24h")
    assert_type(page, MemoryList)
    assert_type(page.memories, list[Memory])
    client.recall(
        "agent_1",
        timedelta(hours=2),
        until=when,
        as_of="1h",
        include_superseded=True,
        tags="ui,dark",
        memory_type=kind,
        limit=10,
    )
    client.recall("agent_1", since=None, session_id="sess_1", event_type="error")
    client.list_memories()
    client.list_memories(ListOptions(agent_id="agent_1", memory_type="decision", since="7d", order="desc"))
    client.list_memories(ListOptions(since=timedelta(days=1), until=when, tags=["ui"], limit=50, offset=0))
    client.list_memories(
        agent_id="agent_1",
        session_id="sess_1",
        memory_type=kind,
        event_type="error",
        tags=["ui"],
        since=when,
        until="1h",
        as_of="1h",
        include_superseded=True,
        limit=10,
        offset=10,
        order="asc",
        cursor=page.next_cursor,
    )
    tail = client.tail_memories(start="beginning", limit=10)
    assert_type(tail, MemoryTail)
    client.tail_memories(cursor=tail.next_cursor, wait=20, since=when)
    for memory in client.tail(cursor=tail.next_cursor, agent_id="agent_1"):
        assert_type(memory, Memory)
    for memory in client.iter_memories(ListOptions(session_id="sess_1")):
        assert_type(memory, Memory)
    every = client.iter_memories(
        agent_id="agent_1",
        session_id="sess_1",
        memory_type=kind,
        event_type="error",
        tags="ui,dark",
        since="7d",
        until=when,
        as_of="1h",
        include_superseded=True,
        order="desc",
        page_size=500,
    )
    assert_type(every, Iterator[Memory])


def searching(client: Memtrace) -> None:
    when: TimePoint = timedelta(days=7)
    found = client.search_memories(
        SearchQuery(agent_id="agent_1", memory_types=["episodic", "decision"], min_importance=0.5)
    )
    assert_type(found, SearchResult)
    assert_type(found.results, list[Memory])
    client.search_memories(
        "dark mode -beta",
        content_contains="dark",
        agent_id="agent_1",
        session_id="sess_1",
        memory_types=["entity"],
        event_types=["observation"],
        tags=["ui"],
        min_importance=0.5,
        metadata={"ticket": 4711},
        since=when,
        until="1d",
        as_of="1h",
        include_superseded=True,
        order="relevance",
        limit=5,
        cursor=found.next_cursor,
    )
    client.iter_search(SearchQuery(query="dark", since=when))
    every = client.iter_search(
        "dark",
        content_contains="dark",
        agent_id="agent_1",
        session_id="sess_1",
        memory_types=["entity"],
        event_types=["observation"],
        tags=["ui"],
        min_importance=1,
        metadata={"ticket": 4711},
        since=when,
        until="1d",
        as_of="1h",
        include_superseded=True,
        order="asc",
        page_size=50,
    )
    assert_type(every, Iterator[Memory])


def agents(client: Memtrace) -> None:
    assert_type(client.register_agent(RegisterAgentRequest(name="a", config={"model": "gpt-4"})), Agent)
    client.register_agent("a", description="Customer support", idempotency_key="key")
    client.register_agent({"name": "a"})
    client.register_agent(name="a", description="Customer support", config={}, idempotency_key="key")
    assert_type(client.get_access(), Access)
    assert_type(client.get_agent("a"), Agent)
    assert_type(client.list_agents(limit=10, cursor=None), AgentList)
    assert_type(client.get_agent_stats("a"), AgentStats)
    assert_type(client.get_agent_stats("a").memory_types, dict[str, int])
    assert_type(client.get_agent_memories("a", ListOptions(limit=5)), MemoryList)
    client.get_agent_memories(
        "a",
        session_id="sess_1",
        memory_type="decision",
        event_type="error",
        tags="ui,dark",
        since="7d",
        until="1d",
        as_of="1h",
        include_superseded=True,
        limit=10,
        offset=10,
        order="asc",
        cursor=None,
    )
    assert_type(client.get_agent_context("a", max_tokens=2000), AgentContext)
    client.get_agent_context("a", ContextOptions(since=timedelta(days=7), include_types=["decision"]))
    client.get_agent_context(
        "a",
        since="7d",
        until="1d",
        as_of="1h",
        include_superseded=True,
        include_types=["decision"],
        max_tokens=2000,
        query="dark mode",
        event_types=["user"],
        tags=["ui"],
        metadata={"ticket": 4711},
        timezone="Europe/Berlin",
        layout="sections",
        format="json",
        show=["tags", "metadata"],
        count_tokens=len,
    )
    assert_type(client.delete_agent("a"), None)
    client.delete_agent("a", delete_memories=True, idempotency_key="key")
    assert_type(client.delete_session("s"), None)
    client.delete_session("s", delete_memories=True, idempotency_key="key")


def moving(client: Memtrace) -> None:
    assert_type(client.vacuum(), None)
    for record in client.export(
        agent_id="a",
        session_id="s",
        memory_type="entity",
        event_type="error",
        tags=["t"],
        since="7d",
        until="1d",
    ):
        assert_type(record, dict[str, Any])
    report = client.import_(client.export(), strict=True)
    assert_type(report.imported, int)
    assert_type(report.rejected[0].reason, str)
    with open("memories.jsonl", encoding="utf-8") as lines:  # noqa: PTH123 - as most programs write it
        client.import_(lines)


def sessions(client: Memtrace) -> None:
    session = client.create_session(CreateSessionRequest(agent_id="a", metadata={"task": "onboarding"}))
    assert_type(session, Session)
    client.create_session(agent_id="a", metadata={"task": "onboarding"}, idempotency_key="key")
    page = client.list_sessions("a", status="active", limit=5)
    assert_type(page, SessionList)
    client.list_sessions(cursor=page.next_cursor)
    assert_type(client.get_session(session.id), Session)
    assert_type(client.get_session_memories(session.id, ListOptions(order="asc")), MemoryList)
    client.get_session_memories(
        session.id,
        agent_id="agent_1",
        memory_type="decision",
        event_type="error",
        tags=["ui"],
        since="7d",
        until="1d",
        as_of="1h",
        include_superseded=True,
        limit=10,
        offset=10,
        order="asc",
        cursor=None,
    )
    assert_type(client.create_session("a", metadata={"task": "onboarding"}), Session)
    assert_type(client.create_session({"agent_id": "a"}), Session)
    context = client.get_session_context(
        session.id, ContextOptions(since="2h", include_types=["episodic", "decision"], max_tokens=4000)
    )
    assert_type(context, SessionContext)
    client.get_session_context(
        session.id,
        since="2h",
        until=datetime.now(UTC),
        as_of="1h",
        include_superseded=True,
        include_types=["episodic"],
        max_tokens=4000,
        query="dark mode",
        event_types=["user"],
        tags=["ui"],
        metadata={"ticket": 4711},
        timezone="Europe/Berlin",
        layout="sections",
        format="json",
        show=["tags", "metadata"],
        count_tokens=str.split,
    )
    assert_type(context.memory_ids, list[str] | None)
    assert_type(context.omitted, ContextOmissions | None)
    assert_type(context.entries, list[ContextEntry] | None)
    status: SessionStatus = "closed"
    changed = client.update_session(
        session.id, status=status, metadata={"outcome": "solved", "draft": None}, idempotency_key="key"
    )
    assert_type(changed, Session)
    client.update_session(session.id, UpdateSessionRequest(status="active"))
    assert_type(client.close_session(session.id, idempotency_key="key"), Session)
    client.session("a", session_id="chat-42")
    with client.session("a", metadata={"task": "onboarding"}) as handle:
        assert_type(handle, SessionHandle)


def in_a_session(session: SessionHandle) -> None:
    assert_type(session.id, str)
    assert_type(session.agent_id, str)
    memory = session.remember(
        "User prefers dark mode",
        memory_type="entity",
        event_type="observation",
        tags=["ui"],
        importance=0.7,
        metadata={"ticket": 4711},
        parent_id="mem_1",
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=60,
        on_duplicate="store",
        supersedes="mem_1",
        idempotency_key="key",
    )
    assert_type(memory, Memory)
    decided = session.decide(
        "Use dark mode",
        "They asked for it",
        tags=["ui"],
        importance=0.7,
        metadata={"ticket": 4711},
        parent_id=memory.id,
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=60,
        on_duplicate="store",
        supersedes="mem_1",
        idempotency_key="key",
    )
    assert_type(decided, Memory)
    page = session.recall(
        timedelta(hours=1),
        until="1m",
        as_of="1h",
        include_superseded=True,
        memory_type="entity",
        event_type="observation",
        tags="ui",
        limit=5,
    )
    assert_type(page, MemoryList)
    assert_type(session.context(ContextOptions(max_tokens=1000)).context, str)
    assert_type(session.search("dark mode", tags=["ui"]), SearchResult)
    context = session.context(
        since="1h",
        until="1m",
        as_of="1h",
        include_superseded=True,
        include_types=["entity"],
        max_tokens=1000,
        query="dark mode",
        event_types=["user"],
        tags=["ui"],
        metadata={"ticket": 4711},
        timezone="Europe/Berlin",
        layout="sections",
        format="json",
        show=["tags", "metadata"],
        count_tokens=len,
    )
    assert_type(context, SessionContext)


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
        assert_type(error.body, Any)


def buffered(client: Memtrace) -> None:
    def spool(error: BufferedWriteError) -> None:
        for request, reason in error.failed:
            assert_type(request, AddMemoryRequest)
            assert_type(reason, MemtraceError)

    with client.buffered() as log:
        assert_type(log, WriteBuffer)
    client.buffered(max_batch=10, max_delay=0.5, max_pending=100, max_bytes=1 << 20, on_failure=spool)


def in_a_buffer(log: WriteBuffer) -> None:
    assert_type(log.remember("agent_1", "User prefers dark mode"), None)
    log.remember(
        "agent_1",
        "User prefers dark mode",
        session_id="sess_1",
        memory_type="entity",
        event_type="observation",
        tags=["ui"],
        importance=1,
        metadata={"ticket": "4711"},
        parent_id=None,
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=3600,
        on_duplicate="store",
        supersedes="mem_1",
    )
    assert_type(log.decide("agent_1", "Use PostgreSQL", "Better JSON support"), None)
    log.decide(
        "agent_1",
        "Use PostgreSQL",
        "Better JSON support",
        session_id="sess_1",
        tags=["db"],
        importance=0.9,
        metadata={"ticket": "4711"},
        parent_id="mem_1",
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=3600,
        on_duplicate="store",
        supersedes="mem_1",
    )
    assert_type(log.add_memory(AddMemoryRequest(agent_id="agent_1", content="First")), None)
    log.add_memory(
        agent_id="agent_1",
        content="First",
        session_id="sess_1",
        memory_type="session",
        event_type="observation",
        tags=["ui"],
        importance=0.5,
        metadata={"nested": {"a": [1, None]}},
        parent_id="mem_1",
        dedup_key="key",
        time=datetime.now(UTC),
        ttl=60,
        on_duplicate="store",
        supersedes="mem_1",
    )
    rows: list[dict[str, Any]] = [{"agent_id": "agent_1", "content": "Second"}]
    assert_type(log.add_memories(rows), None)
    assert_type(log.flush(), None)
    assert_type(log.pending, int)
    assert_type(log.failed, list[tuple[AddMemoryRequest, MemtraceError]])
    assert_type(log.close(), None)


async def buffered_without_blocking(client: AsyncMemtrace) -> None:
    async with client.buffered(max_delay=1) as log:
        assert_type(log, AsyncWriteBuffer)


async def in_a_buffer_without_blocking(log: AsyncWriteBuffer) -> None:
    assert_type(await log.remember("agent_1", "User prefers dark mode"), None)
    assert_type(await log.decide("agent_1", "Use PostgreSQL", "Better JSON support"), None)
    assert_type(await log.add_memory(agent_id="agent_1", content="First"), None)
    assert_type(await log.add_memories([{"agent_id": "agent_1", "content": "First"}]), None)
    assert_type(await log.flush(), None)
    assert_type(log.pending, int)
    assert_type(log.failed, list[tuple[AddMemoryRequest, MemtraceError]])
    assert_type(await log.close(), None)
    assert_type(await log.aclose(), None)


def answers(client: Memtrace, session: SessionHandle) -> None:
    answered = client.with_response(client.remember, "agent_1", "User prefers dark mode", tags=["ui"])
    assert_type(answered, Answered[Memory])
    assert_type(answered.result, Memory)
    assert_type(answered.response, httpx.Response)
    assert_type(answered.request_id, str | None)
    assert_type(answered.retries, int)
    assert_type(client.with_response(client.add_memories, [{"agent_id": "a"}]), Answered[StoredMemories])
    assert_type(client.with_response(client.forget, "mem_1"), Answered[None])
    assert_type(client.with_response(session.context, max_tokens=100), Answered[SessionContext])
    try:
        client.get_agent("agent_1")
    except MemtraceError as error:
        assert_type(error.response, httpx.Response | None)


async def without_blocking() -> None:
    async with AsyncMemtrace("http://localhost:9100", "mtk_...", http_client=httpx.AsyncClient()) as client:
        assert_type(client, AsyncMemtrace)
        async with client.session("agent_1") as session:
            assert_type(session, AsyncSessionHandle)


async def settings_without_blocking(client: AsyncMemtrace) -> None:
    assert_type(client.with_options(timeout=1), AsyncMemtrace)
    assert_type(client.base_url, str)
    assert_type(await client.health(), Health)
    assert_type(await client.ready(), Health)
    assert_type(await client.close(), None)
    assert_type(await client.aclose(), None)


async def answers_without_blocking(client: AsyncMemtrace, session: AsyncSessionHandle) -> None:
    assert_type(await client.with_response(client.recall, "agent_1", since=None), Answered[MemoryList])
    assert_type(await client.with_response(client.delete_agent, "a"), Answered[None])
    assert_type(await client.with_response(session.remember, "In the session"), Answered[Memory])


async def memories_without_blocking(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "User prefers dark mode")
    assert_type(memory, Memory)
    assert_type(await client.decide("agent_1", "Use PostgreSQL", "Better JSON support"), Memory)
    assert_type(await client.add_memory(agent_id="agent_1", content="First"), Memory)
    assert_type(await client.add_memories([{"agent_id": "agent_1", "content": "First"}]), StoredMemories)
    assert_type(await client.get_memory("mem_1"), Memory)
    assert_type(await client.recall("agent_1"), MemoryList)
    assert_type(await client.list_memories(agent_id="agent_1"), MemoryList)
    assert_type(client.iter_memories(), AsyncIterator[Memory])
    assert_type(await client.tail_memories(), MemoryTail)
    assert_type(client.tail(cursor="c"), AsyncIterator[Memory])
    assert_type(await client.search_memories("dark"), SearchResult)
    async for found in client.iter_search("dark"):
        assert_type(found, Memory)
    assert_type(await client.forget(memory), None)
    assert_type(await client.forget_all(agent_id="agent_1"), int)


async def agents_without_blocking(client: AsyncMemtrace) -> None:
    assert_type(await client.register_agent(name="a"), Agent)
    assert_type(await client.get_access(), Access)
    assert_type(await client.get_agent("a"), Agent)
    assert_type(await client.list_agents(), AgentList)
    assert_type(await client.get_agent_stats("a"), AgentStats)
    assert_type(await client.get_agent_memories("a"), MemoryList)
    assert_type(await client.get_agent_context("a"), AgentContext)
    assert_type(await client.delete_agent("a"), None)
    async for record in client.export(agent_id="a"):
        assert_type(record, dict[str, Any])
    assert_type(await client.import_([{"kind": "agent"}]), ImportReport)
    assert_type(await client.vacuum(), None)
    assert_type(await client.delete_session("s"), None)


async def sessions_without_blocking(client: AsyncMemtrace) -> None:
    assert_type(await client.create_session(agent_id="a"), Session)
    assert_type(await client.list_sessions(), SessionList)
    assert_type(await client.get_session("sess_1"), Session)
    assert_type(await client.get_session_memories("sess_1"), MemoryList)
    assert_type(await client.get_session_context("sess_1"), SessionContext)

    async def count(text: str) -> int:
        return len(text)

    assert_type(await client.get_session_context("sess_1", count_tokens=count), SessionContext)
    assert_type(await client.get_agent_context("a", count_tokens=len), AgentContext)
    assert_type(await client.update_session("sess_1", status="active"), Session)
    assert_type(await client.close_session("sess_1"), Session)
    assert_type(client.session("a"), AsyncSessionHandle)


async def in_a_session_without_blocking(session: AsyncSessionHandle) -> None:
    assert_type(session.id, str)
    assert_type(await session.remember("In the session"), Memory)
    assert_type(await session.decide("Use dark mode", "They asked for it"), Memory)
    assert_type(await session.recall(), MemoryList)
    assert_type(await session.context(), SessionContext)
    assert_type(await session.search("dark"), SearchResult)
