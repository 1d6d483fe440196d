"""Searching: words, phrases, pieces of text, and conditions; ranked or in order of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, Memory, SearchQuery

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def remember(client: AsyncMemtrace, *texts: str, **fields: Any) -> list[Memory]:
    return await client.add_memories({"agent_id": "agent_1", "content": text, **fields} for text in texts)


async def found(client: AsyncMemtrace, *query: str, **conditions: Any) -> list[str]:
    return [memory.content for memory in (await client.search_memories(*query, **conditions)).results]


async def test_without_a_condition_everything_is_found_newest_first(client: AsyncMemtrace) -> None:
    await remember(client, "One", "Two")

    result = await client.search_memories()

    assert [memory.content for memory in result.results] == ["Two", "One"]
    assert (result.count, result.has_more, result.next_cursor) == (2, False, None)
    assert result.query_time_ms >= 0


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die Straße ist lang", "STRASSE"),
        ("χρήστης και ψυχή", "χρηστης"),
        ("Ёлка в лесу", "елка"),
        ("the ﬁle is gone", "file"),
        ("İstanbul", "istanbul"),
        ("file", "ﬁle"),
    ],
)
async def test_words_are_compared_without_case_and_accents_in_any_script(
    client: AsyncMemtrace, text: str, query: str
) -> None:
    await remember(client, text, "something else")

    assert await found(client, query) == [text]
    assert await found(client, f"-{query}") == ["something else"]


async def test_every_word_must_be_there_whatever_its_case_accents_and_place(client: AsyncMemtrace) -> None:
    await remember(client, "The DARK mode is on", "Mode: dark!", "darkness modes", "Café im Dunkeln", "dark")

    assert await found(client, "dark mode", order="asc") == ["The DARK mode is on", "Mode: dark!"]
    assert await found(client, "CAFE dunkeln") == ["Café im Dunkeln"]
    assert await found(client, "café") == ["Café im Dunkeln"]
    assert await found(client, "dar") == []
    assert await found(client, "dark light") == []


async def test_words_of_every_script_are_found(client: AsyncMemtrace) -> None:
    await remember(client, "Пользователь любит ТЁМНУЮ тему", "ΧΡΉΣΤΗΣ", "用户 喜欢 深色", "straße 42")

    assert await found(client, "тёмную") == ["Пользователь любит ТЁМНУЮ тему"]
    assert await found(client, "χρήστης") == ["ΧΡΉΣΤΗΣ"]
    assert await found(client, "喜欢") == ["用户 喜欢 深色"]
    assert await found(client, "42 STRAßE") == ["straße 42"]


async def test_a_phrase_in_quotes_is_found_word_by_word(client: AsyncMemtrace) -> None:
    await remember(client, "prefers dark mode", "dark, but a mode", "mode dark")

    assert await found(client, '"dark mode"') == ["prefers dark mode"]
    assert await found(client, 'prefers "dark mode"') == ["prefers dark mode"]
    assert await found(client, '"dark mode') == ["prefers dark mode"]


async def test_a_minus_leaves_out_a_word_or_a_phrase(client: AsyncMemtrace) -> None:
    await remember(client, "dark mode", "dark mode beta", "light mode", "dark side")

    assert await found(client, "dark -beta", order="asc") == ["dark mode", "dark side"]
    assert await found(client, 'dark -"dark mode"') == ["dark side"]
    assert await found(client, "-dark") == ["light mode"]
    assert await found(client, "-dark -light") == []


async def test_what_looks_like_query_syntax_is_only_text(client: AsyncMemtrace) -> None:
    await remember(client, "a AND b", "content:x", "NEAR(x y)", "it's 100%", "foo-bar baz")

    assert await found(client, "a AND b") == ["a AND b"]
    assert await found(client, "content:x") == ["content:x"]
    assert await found(client, "NEAR(x y)") == ["NEAR(x y)"]
    assert await found(client, "it's 100%") == ["it's 100%"]
    assert await found(client, "foo-bar") == ["foo-bar baz"]
    assert await found(client, "foo*") == ["foo-bar baz"]
    assert await found(client, "fo*") == []
    assert await found(client, "^ ( ) { } : + \" ' * OR NOT nothing") == []


async def test_a_query_without_a_word_asks_for_none(client: AsyncMemtrace) -> None:
    await remember(client, "One", "Two")

    for blank in (" ", "\t\n", "\u00a0", "\u2028 "):
        assert await found(client, blank) == ["Two", "One"], blank
    for sign in ("!", "-", '"', '""', "🎉"):
        assert await found(client, sign) == [], sign
    assert await found(client, "one !") == ["One"]
    assert await found(client, "one -!") == ["One"]


async def test_a_piece_of_text_is_found_whatever_its_case_and_length(client: AsyncMemtrace) -> None:
    text = 'The dark mode, mañana: 日本語 🎉 Straße "quoted"'
    await remember(client, "nothing here", text)

    for piece in ("ark mo", "ARK MO", "k m", "a", "ÑA", "ña", "日本語", "語", "🎉", "ß", "STRASSE", '"'):
        assert await found(client, content_contains=piece) == [text], piece


async def test_a_piece_of_text_is_only_text(client: AsyncMemtrace) -> None:
    await remember(client, "100% sure", "a_b_c", 'say "x"', "back\\slash", "100 sure", "axbxc")

    assert await found(client, content_contains="0%") == ["100% sure"]
    assert await found(client, content_contains="100%") == ["100% sure"]
    assert await found(client, content_contains="a_b") == ["a_b_c"]
    assert await found(client, content_contains='"x"') == ['say "x"']
    assert await found(client, content_contains="k\\s") == ["back\\slash"]
    assert await found(client, content_contains="x OR y") == []


async def test_words_and_a_piece_of_text_must_both_be_there(client: AsyncMemtrace) -> None:
    await remember(client, "dark mode", "dark room", "a mood")

    assert await found(client, "dark", content_contains="MO") == ["dark mode"]
    assert await found(client, "dark", content_contains="mode") == ["dark mode"]
    assert await found(client, "-room", content_contains="moo") == ["a mood"]


async def test_each_condition_must_hold(client: AsyncMemtrace) -> None:
    await client.add_memories(
        [
            {"agent_id": "a1", "session_id": "s1", "content": "x 1", "importance": 0.5, "tags": ["p", "q"]},
            {"agent_id": "a1", "content": "x 2", "memory_type": "decision", "event_type": "decision"},
            {"agent_id": "a2", "content": "x 3", "importance": 0.2, "tags": ["p"], "time": NOON},
            {"agent_id": "a2", "content": "x 4", "importance": 1, "event_type": "error"},
        ]
    )

    for words in ("x", None):
        both: dict[str, Any] = {"query": words, "order": "asc"}
        assert await found(client, **both, agent_id="a1") == ["x 1", "x 2"]
        assert await found(client, **both, session_id="s1") == ["x 1"]
        assert await found(client, **both, memory_types=["decision", "entity"]) == ["x 2"]
        assert await found(client, **both, memory_types=["decision", "episodic"], agent_id="a1") == [
            "x 1",
            "x 2",
        ]
        assert await found(client, **both, event_types=["error", "decision"]) == ["x 2", "x 4"]
        assert await found(client, **both, event_types=["error"]) == ["x 4"]
        assert await found(client, **both, tags=["p"]) == ["x 3", "x 1"]
        assert await found(client, **both, tags=["p", "q"]) == ["x 1"]
        assert await found(client, **both, min_importance=0.5) == ["x 1", "x 4"]
        assert await found(client, **both, min_importance=0) == ["x 3", "x 1", "x 4"]
        assert await found(client, **both, until=NOON + timedelta(seconds=1)) == ["x 3"]
        assert await found(client, **both, since=NOON + timedelta(seconds=1)) == ["x 1", "x 2", "x 4"]
        assert await found(client, **both, memory_types=[], event_types=[], tags=[], metadata={}) == [
            "x 3", "x 1", "x 2", "x 4",
        ]  # fmt: skip


async def test_metadata_is_found_by_equal_values(client: AsyncMemtrace) -> None:
    metadata: list[dict[str, Any]] = [
        {"n": 1, "s": "1"}, {"n": True}, {"n": 2, "x": 1}, {"n": None}, {"n": [1, 2]},
        {"n": {"a": 1, "b": [True]}}, {"n": 1.5}, {"n": 2**62}, {},
    ]  # fmt: skip
    for place, each in enumerate(metadata):
        await client.remember("agent_1", str(place), metadata=each)
    await client.remember("agent_1", "none")

    for value, places in (
        ({"n": 1}, ["0"]),
        ({"n": 1.0}, ["0"]),
        ({"n": "1"}, []),
        ({"s": "1"}, ["0"]),
        ({"n": True}, ["1"]),
        ({"n": 0}, []),
        ({"n": False}, []),
        ({"n": 2, "x": 1}, ["2"]),
        ({"n": 2, "x": 2}, []),
        ({"n": None}, ["3"]),
        ({"n": [1, 2]}, ["4"]),
        ({"n": [2, 1]}, []),
        ({"n": [True, 2]}, []),
        ({"n": {"b": [True], "a": 1}}, ["5"]),
        ({"n": {"a": 1}}, []),
        ({"n": {"a": 1, "b": [1]}}, []),
        ({"n": 2**62}, ["7"]),
        ({"n": 2**62 + 1}, []),
        ({"missing": None}, []),
    ):
        assert await found(client, metadata=value) == places, value


async def test_the_best_match_comes_first(client: AsyncMemtrace) -> None:
    await remember(
        client,
        "dark mode dark mode",
        "The user said something about the dark and then, after a long while, about some other mode of work",
        "dark mode",
    )

    best = await found(client, "dark mode")

    assert best[-1].startswith("The user said")
    assert await found(client, "dark mode", order="relevance") == best
    assert (await found(client, "dark mode", order="desc"))[0] == "dark mode"
    assert (await found(client, "dark mode", order="asc"))[0] == "dark mode dark mode"


@pytest.mark.parametrize(
    ("words", "order"),
    [("common", None), ("common", "desc"), ("common", "asc"), (None, None), (None, "asc")],
)
async def test_pages_of_a_search_are_the_whole_in_every_order(
    client: AsyncMemtrace, words: str | None, order: Any
) -> None:
    for n in range(9):
        time = NOON - timedelta(days=1) if n == 4 else None
        await client.remember("agent_1", f"common {'common ' * (n % 3)}{n}", time=time)
    whole = (await client.search_memories(words, order=order)).results
    first = await client.search_memories(words, order=order, limit=4)
    # Another match that belongs before the first page, where no page repeats or skips because of it.
    await client.remember("agent_1", "common common common common", time=NOON if order == "asc" else None)

    second = await client.search_memories(words, order=order, limit=4, cursor=first.next_cursor)
    third = await client.search_memories(words, order=order, limit=4, cursor=second.next_cursor)

    assert len(whole) == 9
    pages = first.results + second.results + third.results
    assert [memory for memory in pages if memory in whole] == whole
    assert (first.has_more, second.has_more, third.has_more) == (True, True, False)
    assert third.next_cursor is None


async def test_iterating_through_a_search_goes_through_every_page(client: AsyncMemtrace) -> None:
    await remember(client, *(f"word {n}" for n in range(5)), "else")

    through = [m.content async for m in client.iter_search("word", order="asc", page_size=2)]
    assert through == [f"word {n}" for n in range(5)]
    assert len([m async for m in client.iter_search(SearchQuery(content_contains="o", limit=2))]) == 5


async def test_a_search_that_is_none_is_refused(client: AsyncMemtrace) -> None:
    wrong: list[dict[str, Any]] = [
        {"query": ""}, {"query": "x" * 1001}, {"content_contains": ""}, {"min_importance": 1.1},
        {"limit": 1001}, {"order": "best"}, {"memory_types": ["dream"]}, {"tags": [""]},
        {"since": "soon"}, {"cursor": "!"},
    ]  # fmt: skip
    for conditions in wrong:
        with pytest.raises(BadRequestError) as refused:
            await client.search_memories(**conditions)
        assert [detail.field.split(".")[0] for detail in refused.value.details] == list(conditions)
