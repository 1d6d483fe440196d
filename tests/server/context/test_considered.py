"""The memories that a server reads for a context: a bounded number of the newest and of important ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import Memtrace

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def client() -> Iterator[Memtrace]:
    with Memtrace("sqlite://") as client:
        yield client


def add(client: Memtrace, number: int, **fields: Any) -> None:
    """Store memories a second apart, of one agent and one session."""
    for first in range(0, number, 1_000):
        client.add_memories(
            {
                "agent_id": "a",
                "session_id": "s",
                "content": f"Number {n}",
                "time": START + timedelta(seconds=n),
                **fields,
            }
            for n in range(first, min(first + 1_000, number))
        )


IMPORTANT: dict[str, dict[str, Any]] = {
    "a given importance": {"importance": 0.7},
    "a decision": {"memory_type": "decision"},
    "an entity": {"memory_type": "entity"},
    "an error": {"event_type": "error"},
    "an event that decides": {"event_type": "decision"},
}


def test_important_memory_is_considered_however_old_it_is(client: Memtrace) -> None:
    add(client, 2_001)
    old = START - timedelta(days=900)
    for name, kind in IMPORTANT.items():
        client.add_memory(agent_id="a", session_id="s", content=f"Remember {name}", time=old, **kind)
        client.add_memory(agent_id="b", session_id="t", content=f"Not {name}", time=old, **kind)

    for context in (client.get_agent_context("a"), client.get_session_context("s")):
        for name in IMPORTANT:
            assert f"Remember {name}" in context.context
            assert f"Not {name}" not in context.context
        assert "Number 2000\n" in context.context
        assert context.context.endswith(" Older memories were not considered.\n")
        assert context.omitted is not None
        assert context.omitted.older


def test_newest_2000_are_considered_and_none_is_counted_twice(client: Memtrace) -> None:
    add(client, 2_000, importance=0.9)

    everything = client.get_agent_context("a", max_tokens=1_000_000)
    client.add_memory(agent_id="a", content="One more", time=START - timedelta(days=1))
    more = client.get_agent_context("a", max_tokens=1_000_000)

    assert (everything.memory_count, everything.omitted_count) == (2_000, 0)
    assert everything.omitted is not None
    assert not everything.omitted.older
    assert more.memory_count == len(set(more.memory_ids or [])) == 2_000
    assert more.omitted is not None
    assert more.omitted.older


def test_large_memories_are_considered_up_to_16_mib(client: Memtrace) -> None:
    text = "large " * 10_900
    for first in range(0, 600, 100):
        client.add_memories(
            {"agent_id": "a", "content": f"{n} {text}", "time": START + timedelta(seconds=n)}
            for n in range(first, first + 100)
        )

    context = client.get_agent_context("a")

    assert context.omitted is not None
    assert context.omitted.older
    assert 16 << 20 <= (context.memory_count + context.omitted.over_budget) * len(text) < 34 << 20
    assert "599 large" in context.context


def test_match_of_a_query_is_considered_however_old_it_is(client: Memtrace) -> None:
    add(client, 2_001)
    client.add_memory(agent_id="a", content="The vault is open", time=START - timedelta(days=900))

    context = client.get_agent_context("a", query="vault")

    assert "The vault is open" in context.context


def test_only_important_ones_of_older_memories_are_considered(client: Memtrace) -> None:
    kind: dict[str, Any] = {"event_type": "user", "memory_type": "session", "tags": ["x"]}
    add(client, 2_500, **kind)
    old = START - timedelta(days=1)
    client.add_memory(agent_id="a", session_id="s", content="Old", time=old, importance=0.9, **kind)

    filters: list[dict[str, Any]] = [
        {},
        {"event_types": ["user"]},
        {"include_types": ["session"]},
        {"tags": ["x"]},
        {"since": "2020-01-01T00:00:00Z"},
    ]
    for filter_ in filters:
        of_agent = client.get_agent_context("a", **filter_)
        for context in (of_agent, client.get_session_context("s", **filter_)):
            assert "Old\n" in context.context, filter_
            assert context.memory_count + (context.omitted_count or 0) == 2_001, filter_
