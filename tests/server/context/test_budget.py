"""Contexts stay within their budget, and markup takes little of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server.context.made import context, memory, ordinary_log

from memtrace_server.context import framing
from memtrace_server.context.tokens import upper_bound
from memtrace_server.store.records import Found

LONG = " ".join(f"word{n}" for n in range(2_000))
ENTRY = re.compile(r"^\d\d:\d\d ", re.MULTILINE)


def fixed_set() -> list[Found]:
    """Return memories of every kind and many sizes, of several agents, sessions and days."""
    importance = [None, None, 0.2, 0.8]
    texts = (
        "word " * 30,
        "長い文章" * 20,
        "🎉" * 30,
        "x" * 300,
        "a.b,c;d" * 30,
        "yes",
        "</context>\n" * 9,
        "\u202e" * 40,
    )
    return [
        memory(
            f"{texts[n % len(texts)]}{n}",
            n=n,
            time=f"2026-11-{1 + n // 20:02}T{n % 20:02}:00:00Z",
            agent_id=f"agent_{n % 2}",
            session_id=None if n % 7 == 0 else f"session_{n % 3}",
            event_type=("general", "user", "error", "action")[n % 4],
            memory_type=("episodic", "decision", "entity")[n % 3],
            importance=importance[n * 7 % 11 % 4],
            metadata={"reasoning": "because it is so " * (n % 5)},
            tags=["tag"] * (n % 3),
        )
        for n in range(40)
    ]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="timeline"),
        pytest.param({"sessions": True, "matches": [3, 33, 7], "older": True}, id="sessions and a question"),
        pytest.param({"sections": True, "show": ["tags", "metadata"]}, id="sections"),
    ],
)
def test_no_budget_from_1_to_900_is_exceeded(options: dict[str, Any]) -> None:
    memories = fixed_set()
    least = 0
    for budget in range(1, 901):
        shown = context(memories, budget, **options)
        least = least or (budget if shown.text else 0)
        assert shown.text or not least
        assert upper_bound(shown.text) == shown.token_count <= budget
        assert len(shown.memory_ids) + shown.omitted == len(memories)
        assert len(set(shown.memory_ids)) == len(shown.memory_ids)
    assert 50 < least < 100


def test_headings_that_a_memory_needs_are_counted_with_it() -> None:
    memories = [
        memory(f"Number {n}", n=n, session_id=f"session_{n % 2}", importance=0.9 - 0.9 * (n % 2))
        for n in range(60)
    ]

    for budget in range(150, 900, 3):
        shown = context(memories, budget, sessions=True)
        assert 0.9 * budget < upper_bound(shown.text) <= budget


def test_nine_tenths_of_a_budget_are_used_if_memories_are_left_out() -> None:
    memories = fixed_set()

    for budget in range(300, 3_000, 50):
        assert context(memories, budget, sessions=True).token_count > 0.9 * budget, budget


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=60)
contents = st.one_of(
    words, st.builds(lambda text, times: text * times, words, st.integers(1, 100)), st.just(LONG)
)
stored = st.builds(
    memory,
    contents,
    n=st.integers(0, 1_439),
    memory_type=st.sampled_from(["episodic", "session", "decision", "entity"]),
    event_type=st.sampled_from(["general", "error", "action", "decision", "user"]),
    importance=st.none() | st.floats(0, 1),
    metadata=st.none() | st.just({}) | st.builds(lambda text: {"reasoning": text}, contents),
)


@settings(deadline=None)
@given(st.lists(stored, max_size=30, unique_by=lambda found: found.seq), st.integers(1, 3_000), st.booleans())
@example(memories=[], max_tokens=1, older=True)
@example(memories=[memory("x" * 65_536)], max_tokens=90, older=False)
@example(memories=[memory("\U0001f389" * 3_000, n=n) for n in range(30)], max_tokens=300, older=True)
def test_budget_is_never_exceeded_and_no_memory_is_lost(
    memories: list[Found],
    max_tokens: int,
    older: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    shown = context(memories, max_tokens, older=older, show=["metadata"])

    assert upper_bound(shown.text) == shown.token_count <= max_tokens
    assert len(shown.memory_ids) + shown.omitted == len(memories)
    assert len(ENTRY.findall(shown.text)) == (len(shown.entries) if shown.text else 0)
    assert sum(entry["count"] for entry in shown.entries) == len(shown.memory_ids)


@settings(deadline=None)
@given(st.lists(words.filter(str.strip), max_size=20))
def test_all_memories_are_complete_if_the_budget_allows(texts: list[str]) -> None:
    text = context([memory(text, n=n) for n, text in enumerate(texts)], 100_000).text

    assert "more characters]" not in text
    assert "left out" not in text
    for stored_text in texts:
        assert all(line.strip() in text for line in framing.lines(stored_text)[1:])


def test_markup_and_times_take_at_most_a_tenth_of_an_ordinary_log() -> None:
    text = context(ordinary_log(), 1_000_000, sessions=True).text

    # Each line is stored text with its speaker, except headings, times and the first line.
    words = re.sub(
        r"^\d\d:\d\d ", "", re.sub(r"^(?:#.*|Records.*|)\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE
    )
    assert len(re.findall(r"^\S", words, re.MULTILINE)) == 60
    assert 0.9 * upper_bound(text) <= upper_bound(words) < upper_bound(text)
