"""Forgetting: one memory, or all that match, permanently."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, ForgetFilter, NotFoundError

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NO_MEMORY = "mem_01JD5P8E6W3M9V2QXA7RKB4TNC"


async def test_forgotten_memory_is_in_no_response(client: AsyncMemtrace) -> None:
    secret = await client.remember("agent_1", "The code is xyzzy", tags=["code"], session_id="s")
    kept = await client.remember("agent_1", "Something else", session_id="s")

    await client.forget(secret)

    with pytest.raises(NotFoundError):
        await client.get_memory(secret.id or "")
    assert (await client.list_memories()).memories == [kept]
    assert (await client.list_memories(tags="code")).count == 0
    assert (await client.search_memories("xyzzy")).count == 0
    assert (await client.search_memories(content_contains="xyzzy")).count == 0
    assert (await client.search_memories(content_contains="xy")).count == 0
    assert (await client.get_session_memories("s")).memories == [kept]
    assert "xyzzy" not in (await client.get_session_context("s")).context
    assert (await client.get_agent_stats("agent_1")).memory_count == 1


async def test_forget_takes_a_memory_or_its_id(client: AsyncMemtrace) -> None:
    one, two = await client.add_memories({"agent_id": "agent_1", "content": text} for text in ("One", "Two"))

    await client.forget(one)
    await client.forget(two.id or "")

    assert (await client.list_memories()).memories == []


async def test_forgetting_an_unknown_memory_is_not_found(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "Once")
    await client.forget(memory)

    for gone in (memory.id or "", NO_MEMORY):
        with pytest.raises(NotFoundError) as refused:
            await client.forget(gone)
        assert refused.value.code == "not_found"


async def test_id_that_differs_in_its_last_digit_is_not_found(client: AsyncMemtrace) -> None:
    memory = await client.remember("agent_1", "Once")
    assert memory.id
    other = memory.id[:-1] + ("0" if memory.id[-1] != "0" else "1")

    with pytest.raises(NotFoundError):
        await client.get_memory(other)
    with pytest.raises(NotFoundError):
        await client.forget(other)
    assert (await client.list_memories()).memories == [memory]


async def test_every_filter_narrows_what_is_forgotten(client: AsyncMemtrace) -> None:
    filters: list[dict[str, Any]] = [
        {"agent_id": "agent_2"},
        {"session_id": "s2"},
        {"memory_type": "decision"},
        {"event_type": "error"},
        {"tags": ["a", "b"]},
        {"since": NOON + timedelta(days=1)},
        {"until": NOON},
    ]
    plain = {"agent_id": "agent_1", "session_id": "s1", "content": "plain", "tags": ["a"], "time": NOON}
    await client.add_memories(
        [
            plain,
            {**plain, "agent_id": "agent_2"},
            {**plain, "session_id": "s2"},
            {**plain, "memory_type": "decision"},
            {**plain, "event_type": "error"},
            {**plain, "content": "tagged", "tags": ["a", "b", "c"]},
            {**plain, "time": NOON + timedelta(days=1)},
            {**plain, "time": NOON - timedelta(microseconds=1)},
        ]
    )

    assert await client.forget_all(agent_id="agent_2", memory_type="decision") == 0
    assert await client.forget_all(ForgetFilter(agent_id="agent_1", session_id="none")) == 0
    assert [await client.forget_all(**each) for each in filters] == [1] * len(filters)
    (left,) = (await client.list_memories()).memories
    assert (left.content, left.session_id, left.time) == ("plain", "s1", NOON)


async def test_every_filter_of_a_search_narrows_what_is_forgotten(client: AsyncMemtrace) -> None:
    filters: list[dict[str, Any]] = [
        {"metadata": {"customer": "anna"}},
        {"metadata": {"customer": "bert", "ticket": 4711}},
        {"memory_types": ["decision", "entity"]},
        {"event_types": ["error", "action"]},
        {"min_importance": 0.9},
    ]
    plain = {"agent_id": "agent_1", "content": "plain", "importance": 0.8, "metadata": {"customer": "bert"}}
    others: list[dict[str, Any]] = [
        {"metadata": {"customer": "anna", "more": [1]}},
        {"metadata": {"customer": "bert", "ticket": 4711}},
        {"memory_type": "entity"},
        {"event_type": "action"},
        {"importance": 0.9},
    ]
    await client.add_memories([plain, *({**plain, **other} for other in others)])

    for nothing in (
        {"metadata": {"customer": "anna", "more": [2]}},
        {"metadata": {"ticket": "4711"}},
        {"memory_type": "episodic", "memory_types": ["decision"]},
        {"event_type": "error", "event_types": ["action"]},
    ):
        assert await client.forget_all(**nothing) == 0
    for each in filters:
        assert await client.forget_all(**each, dry_run=True) == 1
        assert await client.forget_all(**each) == 1
        assert await client.forget_all(**each) == 0
    (left,) = (await client.list_memories()).memories
    assert left.metadata == {"customer": "bert"}


async def test_memory_type_and_memory_types_must_both_match(client: AsyncMemtrace) -> None:
    await client.add_memories(
        {"agent_id": "a", "content": kind, "memory_type": kind} for kind in ("decision", "entity")
    )

    assert await client.forget_all(memory_type="decision", memory_types=["decision", "entity"]) == 1
    assert [memory.content for memory in (await client.list_memories()).memories] == ["entity"]


async def test_dry_run_counts_the_matching_memories_and_forgets_none(client: AsyncMemtrace) -> None:
    await client.add_memories(
        {"agent_id": "a", "content": f"Item {n}", "metadata": {"even": n % 2 == 0}} for n in range(1_000)
    )
    await client.add_memories(
        {"agent_id": "a", "content": f"Item {n}", "metadata": {"even": n % 2 == 0}}
        for n in range(1_000, 1_202)
    )

    assert await client.forget_all(metadata={"even": True}, dry_run=True) == 601
    assert (await client.get_agent_stats("a")).memory_count == 1_202
    assert await client.forget_all(metadata={"even": True}) == 601
    assert (await client.get_agent_stats("a")).memory_count == 601


@pytest.mark.parametrize(
    "filters", [{"metadata": {}}, {"tags": []}, {"memory_types": []}, {"event_types": []}], ids=list
)
async def test_an_empty_filter_forgets_nothing(client: AsyncMemtrace, filters: dict[str, Any]) -> None:
    await client.remember("agent_1", "Kept")

    with pytest.raises(BadRequestError, match="it is empty"):
        await client.forget_all(**filters)

    assert (await client.list_memories()).count == 1


async def test_forget_all_counts_thousands_of_memories(client: AsyncMemtrace) -> None:
    await client.add_memories({"agent_id": "agent_1", "content": f"Item {n}"} for n in range(1000))
    await client.add_memories({"agent_id": "agent_1", "content": f"Item {n}"} for n in range(1000, 1100))

    assert await client.forget_all(agent_id="agent_1") == 1100
    assert (await client.list_memories()).memories == []
    assert (await client.get_agent_stats("agent_1")).memory_count == 0


async def test_forget_all_without_a_filter_forgets_nothing(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "Kept")

    with pytest.raises(BadRequestError):
        await client.forget_all()

    assert (await client.list_memories()).count == 1
