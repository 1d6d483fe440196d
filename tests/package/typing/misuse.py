"""Errors of types that checkers must report. mypy and pyright read this file; nobody runs it.

Each line has the expected error of either checker; another error, or none, fails `make check`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import httpx2

from memtrace import (
    AddMemoryRequest,
    AsyncMemtrace,
    BufferedWriteError,
    ContextOptions,
    CreateSessionRequest,
    ForgetFilter,
    ListOptions,
    Memory,
    MemoryList,
    Memtrace,
    MemtraceError,
    RateLimitError,
    RegisterAgentRequest,
    SearchQuery,
    SessionHandle,
    UpdateSessionRequest,
)


def a_client() -> None:
    Memtrace(http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncMemtrace(http_client=httpx.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memtrace(http_client=httpx2.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncMemtrace(http_client=httpx2.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memtrace(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memtrace(timeout="30s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memtrace(None, None, 30.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Memtrace(url="http://localhost:9100")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_word_that_is_none_of_the_contract(client: Memtrace) -> None:
    client.remember("a", "b", memory_type="dream")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.list_memories(order="up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.search_memories("dark", order="newest")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.list_sessions(status="open")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.get_agent_context("a", include_types=["x"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    AddMemoryRequest(agent_id="a", content="b", memory_type="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_field_that_there_is_not(client: Memtrace, memory: Memory) -> None:
    client.remember("agent_1", "text", tag="ui")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.remember("agent_1", "text", mood="calm")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.decide("agent_1", "a", "b", memory_type="entity")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.iter_memories(limit=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.search_memories(contains="dark")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SearchQuery(contains="dark")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    memory.importanec = 1.0  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def a_field_that_must_be_given(client: Memtrace) -> None:
    client.remember("agent_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.decide("agent_1", "Use PostgreSQL")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.create_session()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.create_session(metadata={})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.register_agent(description="text")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    client.add_memory(content="text")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    AddMemoryRequest(content="text")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def an_answer_to_what_is_not_asked_like_this(client: Memtrace) -> None:
    client.with_response(client.remember, "agent_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.with_response(client.recall, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.with_response(client.base_url)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def an_answer_to_what_cannot_be_awaited(client: AsyncMemtrace) -> None:
    await client.with_response(client.iter_memories)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def another_type(client: Memtrace, memory: Memory) -> None:
    client.recall("agent_1", since=24)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.recall("agent_1", since=b"24h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.remember("agent_1", "text", time=1763631000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.remember("agent_1", "text", tags="ui")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.remember("agent_1", "text", ttl=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.forget_all(agent_id=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.forget([memory])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.add_memories(["text"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.remember("a", "b", time=datetime.now(UTC).date())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_request_for_something_else(client: Memtrace, session: SessionHandle) -> None:
    client.add_memory(CreateSessionRequest(agent_id="a"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.list_memories(SearchQuery())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.iter_memories(ForgetFilter())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.search_memories(ListOptions())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.forget_all(ListOptions())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.register_agent(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.update_session("s", RegisterAgentRequest(name="a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.get_agent_memories("a", ContextOptions())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.context(UpdateSessionRequest())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_fact_that_the_error_does_not_have() -> None:
    MemtraceError("m", existing_id="mem_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RateLimitError("m", failed=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BufferedWriteError("m", retry_after=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_result_that_may_be_missing(memory: Memory) -> None:
    memory.id.upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


async def an_await_that_is_forgotten(client: AsyncMemtrace) -> list[Memory]:
    await client.iter_memories()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    with client:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    page: MemoryList = client.recall("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return page.memories
