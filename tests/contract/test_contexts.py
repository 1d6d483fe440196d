"""Contexts: memories as markdown for an LLM, within a budget of tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, ContextOptions

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def fill(client: AsyncMemtrace) -> None:
    """Store one memory of each kind, the kinds mixed in time."""
    memories: list[dict[str, Any]] = [
        {"content": "User prefers dark mode"},
        {"content": "Timeout of the payment API", "event_type": "error"},
        {"content": "Clicked the settings button", "event_type": "action"},
        {
            "content": "Use PostgreSQL",
            "memory_type": "decision",
            "event_type": "decision",
            "metadata": {"reasoning": "Better JSON support"},
        },
        {"content": "Alice is the administrator", "memory_type": "entity"},
    ]
    for n, memory in enumerate(memories):
        await client.add_memory(
            agent_id="agent_1", session_id="s1", time=NOON + timedelta(minutes=n), **memory
        )


async def test_sections_separate_decisions_errors_actions_and_facts(client: AsyncMemtrace) -> None:
    await fill(client)

    context = (await client.get_session_context("s1", layout="sections")).context

    sections = {part.splitlines()[0].strip(): part for part in context.split("## ")[1:]}
    assert list(sections) == ["Decisions", "Errors", "Actions", "Facts"]
    assert "Use PostgreSQL" in sections["Decisions"]
    assert "Better JSON support" in sections["Decisions"]
    assert "Timeout of the payment API" in sections["Errors"]
    assert "Clicked the settings button" in sections["Actions"]
    assert "User prefers dark mode" in sections["Facts"]
    assert "Alice is the administrator" in sections["Facts"]


async def test_a_context_of_an_agent_or_session_has_all_sessions_or_agents(
    client: AsyncMemtrace,
) -> None:
    await client.remember("agent_1", "In one session", session_id="s1")
    await client.remember("agent_1", "In none")
    await client.remember("agent_2", "By another agent", session_id="s1")

    of_agent = await client.get_agent_context("agent_1")
    of_session = await client.get_session_context("s1")

    assert (of_agent.agent_id, of_agent.memory_count) == ("agent_1", 2)
    assert (of_session.session_id, of_session.memory_count) == ("s1", 2)
    assert "In none" in of_agent.context
    assert "By another agent" not in of_agent.context
    assert "By another agent" in of_session.context
    assert "In none" not in of_session.context
    assert "agent_2: By another agent" in of_session.context


async def test_a_context_may_be_of_one_agent_in_one_session(client: AsyncMemtrace) -> None:
    for agent in ("agent_1", "agent_2"):
        for session in ("s1", "s2"):
            await client.remember(agent, f"{agent} in {session}", session_id=session)

    async def contents(context: Any) -> list[str]:
        return [entry.content for entry in (await context).entries]

    assert await contents(client.get_session_context("s1", agent_id="agent_2", format="json")) == [
        "agent_2 in s1"
    ]
    assert await contents(client.get_agent_context("agent_2", session_id="s1", format="json")) == [
        "agent_2 in s1"
    ]
    assert await contents(client.get_session_context("s1", agent_id="nobody", format="json")) == []
    elsewhere = ContextOptions(agent_id="agent_1", format="json")
    assert await contents(client.get_agent_context("agent_2", elsewhere)) == []
    async with client.session("agent_1", session_id="s1") as handle:
        assert await contents(handle.context(format="json")) == ["agent_1 in s1"]
        assert [memory.content for memory in (await handle.recall()).memories] == ["agent_1 in s1"]


async def test_options_select_the_memories_of_a_context(client: AsyncMemtrace) -> None:
    await fill(client)

    by_type = await client.get_session_context("s1", ContextOptions(include_types=["decision", "entity"]))
    late = await client.get_session_context("s1", since=NOON + timedelta(minutes=3))
    early = await client.get_session_context("s1", until=NOON + timedelta(minutes=1))
    none = await client.get_session_context("s1", since="1s", include_types=["session"])

    assert by_type.memory_count == late.memory_count == 2
    assert "Use PostgreSQL" in by_type.context
    assert "dark mode" not in by_type.context
    assert "Alice" in late.context
    assert early.memory_count == 1
    assert "dark mode" in early.context
    assert none.memory_count == 0
    assert (await client.get_agent_context("agent_1", include_types=[])).memory_count == 5


async def test_filters_narrow_a_context_and_a_query_does_not(client: AsyncMemtrace) -> None:
    await client.remember("a", "Red", tags=["x", "y"], metadata={"n": 1, "m": 2}, event_type="user")
    await client.remember("a", "Green", tags=["x"], metadata={"n": 1}, event_type="tool")
    await client.remember("a", "Blue", tags=["y"], metadata={"n": 2}, event_type="user")

    async def contents(**options: Any) -> list[str]:
        context = await client.get_agent_context("a", format="json", **options)
        return [entry.content for entry in context.entries or []]

    assert await contents() == ["Red", "Green", "Blue"]
    assert await contents(tags=["x"]) == ["Red", "Green"]
    assert await contents(tags=["x", "y"]) == ["Red"]
    assert await contents(metadata={"n": 1}) == ["Red", "Green"]
    assert await contents(event_types=["user"]) == ["Red", "Blue"]
    assert await contents(event_types=["user"], tags=["y"], metadata={"n": 2}) == ["Blue"]
    assert await contents(query="green") == ["Red", "Green", "Blue"]


async def test_matches_of_a_query_come_first(client: AsyncMemtrace) -> None:
    await client.remember("a", "The vault opens with the number 4711", time=NOON - timedelta(days=900))
    await client.add_memories(
        {"agent_id": "a", "content": f"Small talk number {n}", "importance": 0.9} for n in range(100)
    )

    without = await client.get_agent_context("a", max_tokens=300)
    with_question = await client.get_agent_context("a", max_tokens=300, query="vault")

    assert "4711" not in without.context
    assert "4711" in with_question.context
    assert "Small talk number 99" in with_question.context


async def test_weak_matches_of_a_query_displace_nothing_important(client: AsyncMemtrace) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    texts = ["Annika keeps the vault key under the red flowerpot"]
    texts += [f"Annika greeted visitor {n} at the door and then went on with her work" for n in range(60)]
    texts += [f"Chatter number {n}" for n in range(20)]
    await client.add_memories(
        {"agent_id": "a", "content": text, "time": start + timedelta(minutes=n), "importance": 0.2}
        for n, text in enumerate(texts)
    )
    facts = [
        {"agent_id": "a", "content": f"Important fact number {n}", "importance": 0.9, "time": start}
        for n in range(20)
    ]
    await client.add_memories(facts)

    context = await client.get_agent_context(
        "a", max_tokens=600, query="Where does Annika keep the vault key?"
    )

    assert "flowerpot" in context.context
    assert context.context.count("greeted") == 0
    assert context.context.count("Important fact") == 20


async def test_query_about_a_time_adds_memories_of_that_time(client: AsyncMemtrace) -> None:
    await client.remember("a", "The vault opens with the number 4711", time=NOON - timedelta(days=900))
    await client.remember("b", "Of another agent", time=NOON - timedelta(days=900))
    await client.add_memories({"agent_id": "a", "content": f"Small talk number {n}"} for n in range(100))

    day = f"{NOON - timedelta(days=900):%Y-%m-%d}"
    for query in (f"What happened on {day}?", f"What astonished us on {day}?"):
        context = await client.get_agent_context("a", max_tokens=300, query=query)

        assert "4711" in context.context, query
        assert "another agent" not in context.context, query
        assert "Small talk number 99" in context.context, query


async def test_context_reports_included_and_omitted_memories(client: AsyncMemtrace) -> None:
    stored = [
        await client.remember("a", f"Number {n} of many", importance=0.8 if n < 5 else None)
        for n in range(60)
    ]

    context = await client.get_agent_context("a", max_tokens=400, format="json")

    assert context.memory_ids is not None
    assert context.omitted is not None
    assert context.entries is not None
    kept = [memory.id for memory in stored if memory.id in context.memory_ids]
    assert kept == context.memory_ids
    assert kept[:5] == [memory.id for memory in stored[:5]]
    assert kept[-1] == stored[-1].id
    assert len(kept) == context.memory_count == 60 - context.omitted.over_budget
    assert context.omitted.over_budget == context.omitted_count
    assert (context.omitted.important, context.omitted.shortened, context.omitted.older) == (0, 0, False)
    assert [one for entry in context.entries for one in entry.memory_ids] == context.memory_ids
    assert (await client.get_agent_context("a")).entries is None


async def test_times_are_those_of_the_time_zone(client: AsyncMemtrace) -> None:
    await client.remember("a", "Happy new year", session_id="s", time=datetime(2025, 12, 31, 15, tzinfo=UTC))

    context = (await client.get_session_context("s", timezone="Asia/Tokyo")).context

    assert "times in Asia/Tokyo" in context
    assert "## Thursday 2026-01-01\n00:00 Happy new year\n" in context


async def test_max_tokens_is_never_exceeded_whatever_the_tokenizer(client: AsyncMemtrace) -> None:
    texts = ("word " * 30, "長い文章" * 40, "🎉" * 50, "x" * 500, "a.b,c;d" * 30)
    await client.add_memories(
        {"agent_id": "agent_1", "content": f"{text}{n}", "importance": n % 10 / 10}
        for n, text in enumerate(texts * 8)
    )

    for max_tokens in (1, 2, 5, 10, 50, 200, 1_000, 4_000, 100_000):
        context = await client.get_agent_context("agent_1", max_tokens=max_tokens)
        assert context.token_count is not None
        assert context.token_count <= max_tokens
        # No tokenizer makes fewer tokens of a text than it has words, or more than it has bytes.
        assert len(context.context.split()) <= context.token_count <= len(context.context.encode())
        assert context.memory_count + (context.omitted_count or 0) == 40
    assert context.omitted_count == 0


async def test_context_states_how_many_memories_it_omits(client: AsyncMemtrace) -> None:
    await client.add_memories({"agent_id": "a", "content": f"{'some words ' * 20}{n}"} for n in range(50))

    context = await client.get_agent_context("a", max_tokens=500)

    assert context.omitted_count
    assert 0 < context.memory_count < 50
    assert str(context.omitted_count) in context.context


async def test_important_and_recent_memories_stay_in_a_small_context(client: AsyncMemtrace) -> None:
    await client.remember("a", f"{'Crucial ' * 20}", importance=1.0, time=NOON)
    await client.add_memories(
        {"agent_id": "a", "content": f"{'filling ' * 20}{n:03}", "time": NOON + timedelta(hours=n + 1)}
        for n in range(50)
    )

    context = (await client.get_agent_context("a", max_tokens=600)).context

    assert "Crucial" in context
    assert "049" in context
    assert "000" not in context


async def test_a_long_memory_is_not_cut_when_there_is_room(client: AsyncMemtrace) -> None:
    text = "日本語のとても長い文章 and English — " * 50
    await client.remember("a", text, session_id="s")

    assert text.strip() in (await client.get_session_context("s", max_tokens=1_000_000)).context


async def test_an_empty_context_is_no_error(client: AsyncMemtrace) -> None:
    session = await client.create_session(agent_id="a")

    context = await client.get_session_context(session.id)

    assert (context.memory_count, context.omitted_count) == (0, 0)
    assert (await client.get_agent_context("a")).memory_count == 0


async def test_invalid_context_options_are_refused_by_name(client: AsyncMemtrace) -> None:
    await client.remember("a", "Hello")
    wrong: list[dict[str, Any]] = [
        {"max_tokens": 0}, {"max_tokens": 1_000_001}, {"include_types": ["dream"]}, {"since": "soon"},
        {"timezone": "Europe/Berln"}, {"layout": "table"}, {"format": "xml"}, {"show": ["id"]},
        {"tags": [" x"]}, {"query": ""}, {"event_types": [""]},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(BadRequestError) as refused:
            await client.get_agent_context("a", **options)
        assert [detail.field.split(".")[0] for detail in refused.value.details] == list(options)
