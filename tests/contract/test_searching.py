# ruff: noqa: RUF001 - some of these texts have letters that look alike
"""Searching: words, phrases, substrings and conditions; ranked or ordered by time."""

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


async def test_query_finds_memories_with_any_of_its_words(client: AsyncMemtrace) -> None:
    await remember(client, "The user prefers dark mode", "Deployed the service on Friday", "Café im Dunkeln")

    assert await found(client, "Which mode does the user like?") == ["The user prefers dark mode"]
    assert await found(client, "Why was deploying services so hard?") == ["Deployed the service on Friday"]
    assert await found(client, "a cafe, or dark") == ["Café im Dunkeln", "The user prefers dark mode"]
    assert await found(client, "lights") == []


async def test_words_are_found_in_other_forms(client: AsyncMemtrace) -> None:
    await remember(client, "She ran two tests", "The children's policies", "nothing")

    assert await found(client, "running a test") == ["She ran two tests"]
    assert await found(client, "policy of a child") == ["The children's policies"]
    assert await found(client, "ran tset") == ["She ran two tests"]


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("Why does parseConfig fail?", "parse_config() raises a KeyError"),
        ("parse_config", "Called parseConfig again"),
        ("e-mail", "Sent the email"),
        ("log-in", "The login is broken"),
        ("dark mode", "The darkmode is broken"),
        ("wifi", "Wi-Fi is slow"),
        ("emails", "An e-mail came"),
        ("SignUp", "The sign-up fails"),
        ("order A1029", "A-1029 was shipped"),
        ("A-1029", "A1029 was shipped"),
        ("SessionManager", "The manager of sessions leaks"),
    ],
    ids=lambda value: value,
)
async def test_a_word_is_found_written_together_or_apart(
    client: AsyncMemtrace, query: str, content: str
) -> None:
    await remember(client, content, *(f"noise {n}" for n in range(5)))

    assert await found(client, query) == [content]


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("10.0", "100 MB"),
        ("and so on", "Soon it rains"),
        ("a cross", "Across the street"),
        ("k8s", "Number 8"),
    ],
    ids=lambda value: value,
)
async def test_numbers_and_stop_words_are_not_written_together(
    client: AsyncMemtrace, query: str, content: str
) -> None:
    await remember(client, content)

    assert await found(client, query) == []


async def test_names_in_code_are_found_by_their_words(client: AsyncMemtrace) -> None:
    names = {
        "UserSessionManager leaks": ["session manager", "the user's sessions", "SessionManager"],
        "HTTPServerError again": ["http server error", "server errors"],
        "parseConfigFile2 is new": ["parsed config files", "parseConfig", "parse_config_file2"],
        "getURLs, utf8Decode": ["decode", "urls"],
        "see src/auth/token_store.py": ["token store", "src/auth/token_store.py", "tokenStore"],
        "auth.oauth.GrantCache hit": ["grant cache", "auth.oauth.GrantCache", "oauth"],
        "use --dry-run": ["dry run", "--dry-run", "dryRun", "dryrun"],
        "ERR_CONN_RESET on port 80": ["ERR_CONN_RESET", "conn reset", "errConnReset"],
        "closes #4711": ["#4711", "4711"],
        "pinned to v1.2.3": ["v1.2.3", "1.2.3"],
        "PostgreSQL is down": ["postgres", "PostgreSQL", "sql"],
    }
    await remember(client, *names, "another thing", "userland manages sessionless parsers", "a v2, 12.3")

    for content, queries in names.items():
        for query in queries:
            assert (await found(client, query))[:1] == [content], query
    assert await found(client, '"session manager"') == []
    assert "UserSessionManager leaks" in await found(client, "-session")


async def test_word_ranks_above_the_same_part_of_a_name(client: AsyncMemtrace) -> None:
    await remember(client, "Written in Java", "Written in JavaScript", "Pushed with git", "Pushed to GitHub")

    assert await found(client, "java") == ["Written in Java", "Written in JavaScript"]
    assert await found(client, "git") == ["Pushed with git", "Pushed to GitHub"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Łódź", "lodz"),
        ("Søren Ødegård", "Soren Odegard"),
        ("Đorđe", "dorde"),
        ("Straße", "strasse"),
        ("Æbleskiver, Cœur", "aebleskiver coeur"),
        ("Diyarbakır", "diyarbakir"),
        ("Þórður", "thordur"),
    ],
    ids=lambda text: text.encode("unicode_escape").decode()[:40],
)
async def test_letters_without_decomposition_match_ascii_letters(
    client: AsyncMemtrace, text: str, plain: str
) -> None:
    await remember(client, text, "something else")

    for query in (text, text.upper(), plain, f'"{plain}"'):
        assert await found(client, query) == [text], query
    assert await found(client, f"-{plain.split(maxsplit=1)[0]}") == ["something else"]
    await remember(client, plain)
    assert set(await found(client, text)) == {text, plain}


async def test_abbreviations_and_their_words_find_each_other(client: AsyncMemtrace) -> None:
    pairs = {
        "Wrote the config": "configuration",
        "The database is slow": "db",
        "Authentication is off": "auth",
        "auth is on": "authorization",
        "Runs in k8s": "Kubernetes",
        "dsn: postgresql://here": "postgres",
        "A new repository": "repos",
    }
    await remember(client, *pairs, "another thing")

    for content, query in pairs.items():
        assert content in await found(client, query), query
    await remember(client, "The configuration is read")
    assert await found(client, "config") == ["Wrote the config", "The configuration is read"]
    assert await found(client, '"config"') == ["Wrote the config"]


async def test_word_is_not_split_if_a_memory_has_it(client: AsyncMemtrace) -> None:
    await remember(client, "Called parseConfig", "parse_config() raises a KeyError")

    assert await found(client, "parseConfig") == ["Called parseConfig"]


@pytest.mark.parametrize(
    ("query", "expected", "content"),
    [
        ("Wie lautet die Adresse?", [], "Die Lieferung kommt morgen"),
        ("Wann soll ich die Kundin anrufen?", ["Die Kundin schläft"], "Ich bin da, wann soll es sein?"),
        ("Quand est la réunion ?", ["Réunion à Lyon"], "Quand il est là, la porte est fermée"),
        ("¿Cuándo es la reunión?", ["Reunión con Ana"], "La casa es cuando"),
        ("When did he die?", ["He had to die"], "The heat"),
        ("Who left a comment?", ["A comment on the die"], "The heat"),
    ],
    ids=["German", "German, of two", "French", "Spanish", "die in English", "comment in English"],
)
async def test_stop_words_of_a_language_find_nothing_beside_other_words(
    client: AsyncMemtrace, query: str, expected: list[str], content: str
) -> None:
    await remember(client, content, *expected)

    assert await found(client, query) == expected


async def test_a_misspelt_word_is_found(client: AsyncMemtrace) -> None:
    await remember(client, "Kubernetes was upgraded", "Der Elefant schläft", "Настройки сохранены", "nothing")

    for misspelt in ("kuberntes", "kubernettes", "kubernites", "kuebrnetes"):
        assert await found(client, misspelt) == ["Kubernetes was upgraded"], misspelt
    assert await found(client, "Elephant") == []
    assert await found(client, "Elefent") == ["Der Elefant schläft"]
    assert await found(client, "настрайки") == ["Настройки сохранены"]


async def test_tags_and_other_labels_of_memories_are_searched(client: AsyncMemtrace) -> None:
    await client.remember("agent_1", "It is fine", metadata={"speaker": {"name": "Annabel"}, "n": 7})
    await client.remember("agent_1", "It is late", tags=["billing-team"], event_type="escalation")

    assert await found(client, "What did Annabel say?") == ["It is fine"]
    assert await found(client, "billing") == await found(client, "escalations") == ["It is late"]
    assert await found(client, '"Annabel"') == []


async def test_query_of_stop_words_alone_finds_them(client: AsyncMemtrace) -> None:
    await remember(client, "To be or not to be", "The Who played", "nothing")

    assert await found(client, "the who") == ["The Who played"]
    assert await found(client, '"not to be"') == ["To be or not to be"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Пользователь любит ТЁМНУЮ тему", "какую тёмную тему"),
        ("ΧΡΉΣΤΗΣ", "χρήστης"),
        ("今天玩成语接龙游戏", "成语接龙"),
        ("我的猫很可爱", "猫"),
        ("昨日パパと話した", "パパ"),
        ("昨日パパと話した", "ﾊﾟﾊﾟ"),
        ("東京タワーに行った", "東京"),
        ("오늘 학교에서 배웠다", "학교"),
        ("แมวของฉันชื่อมะลิ", "แมว"),
        ("मेरी बिल्ली हिन्दी समझती है", "हिन्दी"),
        ("اشتريت كِتَابًا جديدا", "كتابا"),
        ("Die Größe der Straße", "grösse"),
        ("straße 42", "42 STRAßE"),
        ("deployed 🎉 today", "🎉"),
        ("thanks 👍🏽", "👍🏽"),
        ("i ❤️ it", "❤"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "width"),
    ],
    ids=lambda text: text.encode("unicode_escape").decode()[:40],
)
async def test_words_of_every_language_are_found(client: AsyncMemtrace, text: str, query: str) -> None:
    await remember(client, "ハハは元気です", text, "something else 👍 好", "बिल की हिंद")

    *_, last = query.split()

    assert await found(client, query) == [text]
    assert await found(client, f'"{last}"') == [text]
    assert text not in await found(client, f"-{last}")


async def test_a_phrase_in_quotes_is_found_word_by_word(client: AsyncMemtrace) -> None:
    await remember(
        client, "prefers dark mode", "dark, but a mode", "mode dark", "he prefers it", "dark moded"
    )

    assert await found(client, '"dark mode"') == ["prefers dark mode"]
    assert await found(client, 'prefers "dark mode"') == ["prefers dark mode"]
    assert await found(client, 'prefers "dark mode" "he prefers"') == []
    assert await found(client, '"DARK, mode"') == ["prefers dark mode"]
    assert sorted(await found(client, '"dark mode')) == [
        "dark moded", "dark, but a mode", "mode dark", "prefers dark mode",
    ]  # fmt: skip


async def test_a_minus_leaves_out_a_word_or_a_phrase(client: AsyncMemtrace) -> None:
    await remember(client, "dark mode", "dark mode beta", "light mode", "dark side")

    assert await found(client, "dark -beta", order="asc") == ["dark mode", "dark side"]
    assert await found(client, 'dark -"dark mode"') == ["dark side"]
    assert await found(client, "-dark") == ["light mode"]
    assert await found(client, "-dark -light") == []


async def test_a_hyphen_of_a_word_or_an_option_excludes_nothing(client: AsyncMemtrace) -> None:
    await remember(client, "git push --force", "tar -x -f a.tar", "sent an e-mail", "- a list", "plain")

    assert await found(client, "push --force") == ["git push --force"]
    assert await found(client, "--force") == ["git push --force"]
    assert (await found(client, "tar -f"))[0] == "tar -x -f a.tar"
    assert await found(client, "e-mail") == ["sent an e-mail"]
    assert await found(client, "- list") == ["- a list"]
    assert "sent an e-mail" not in await found(client, "-e-mail")
    assert await found(client, "-force -list -tar -e-mail") == ["plain"]


async def test_text_that_resembles_query_syntax_is_searched_as_text(client: AsyncMemtrace) -> None:
    await remember(client, "apple AND berry", "content:x", "NEAR(x y)", "it's 100%", "foo-bar baz")

    assert await found(client, "apple AND berry") == ["apple AND berry"]
    assert await found(client, "content:z") == ["content:x"]
    assert await found(client, "NEAR(z y)") == ["NEAR(x y)"]
    assert await found(client, "it's 100%") == ["it's 100%"]
    assert await found(client, "foo-bar") == await found(client, "foo*") == ["foo-bar baz"]
    assert await found(client, "fo*") == []
    assert await found(client, "^ ( ) { } : + \" ' * OR NOT zero") == []


async def test_query_without_a_word_is_no_condition(client: AsyncMemtrace) -> None:
    await remember(client, "One", "Two")

    for blank in (" ", "\t\n", "\u00a0", "\u2028 "):
        assert await found(client, blank) == ["Two", "One"], blank
    for sign in ("!", "-", '"', '""'):
        assert await found(client, sign) == [], sign
    assert await found(client, "one !") == ["One"]
    assert await found(client, "one -!") == ["One"]


async def test_substring_of_any_case_and_length_is_found(client: AsyncMemtrace) -> None:
    text = 'The dark mode, mañana: 日本語 🎉 Straße "quoted"'
    await remember(client, "nothing here", text)

    await remember(client, "パパ", "ﬁne")
    assert await found(client, content_contains="ﾊﾟ") == ["パパ"]
    assert await found(client, content_contains="ハ") == []
    assert await found(client, content_contains="man\u0303ana") == [text]
    assert await found(client, content_contains="FIN") == ["ﬁne"]
    for piece in ("ark mo", "ARK MO", "k m", "a", "ÑA", "ña", "日本語", "語", "🎉", "ß", "STRASSE", '"'):
        assert await found(client, content_contains=piece) == [text], piece


async def test_substring_has_no_wildcards(client: AsyncMemtrace) -> None:
    await remember(client, "100% sure", "a_b_c", 'say "x"', "back\\slash", "100 sure", "axbxc")

    assert await found(client, content_contains="0%") == ["100% sure"]
    assert await found(client, content_contains="100%") == ["100% sure"]
    assert await found(client, content_contains="a_b") == ["a_b_c"]
    assert await found(client, content_contains='"x"') == ['say "x"']
    assert await found(client, content_contains="k\\s") == ["back\\slash"]
    assert await found(client, content_contains="x OR y") == []


async def test_words_and_a_substring_must_both_match(client: AsyncMemtrace) -> None:
    await remember(client, "dark mode", "dark room", "a mood")

    assert await found(client, "dark", content_contains="MO") == ["dark mode"]
    assert await found(client, "dark", content_contains="mode") == ["dark mode"]
    assert await found(client, "-room", content_contains="moo") == ["a mood"]


async def test_each_condition_must_match(client: AsyncMemtrace) -> None:
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
async def test_pages_of_a_search_add_up_to_all_matches_in_every_order(
    client: AsyncMemtrace, words: str | None, order: Any
) -> None:
    for n in range(9):
        time = NOON - timedelta(days=1) if n == 4 else None
        await client.remember("agent_1", f"common {'common ' * (n % 3)}{n}", time=time)
    whole = (await client.search_memories(words, order=order)).results
    first = await client.search_memories(words, order=order, limit=4)
    # A new match that belongs before the first page makes no page repeat or skip a memory.
    await client.remember("agent_1", "common common common common", time=NOON if order == "asc" else None)

    second = await client.search_memories(words, order=order, limit=4, cursor=first.next_cursor)
    third = await client.search_memories(words, order=order, limit=4, cursor=second.next_cursor)

    assert len(whole) == 9
    pages = first.results + second.results + third.results
    assert [memory for memory in pages if memory in whole] == whole
    assert (first.has_more, second.has_more, third.has_more) == (True, True, False)
    assert third.next_cursor is None


async def test_group_by_session_keeps_the_best_match_of_each(client: AsyncMemtrace) -> None:
    for session, texts in {
        "s": ["dark mode", "dark", "night"],
        "t": ["dark"],
        None: ["mode", "dark mode"],
    }.items():
        await remember(client, *texts, session_id=session)

    async def best(*query: str, **options: Any) -> list[tuple[str | None, str]]:
        result = await client.search_memories(*query, group_by="session", **options)
        return [(memory.session_id, memory.content) for memory in result.results]

    assert await best("dark mode") == [(None, "dark mode"), ("s", "dark mode"), (None, "mode"), ("t", "dark")]
    assert await best("dark mode", order="asc") == [
        ("s", "dark mode"), ("t", "dark"), (None, "mode"), (None, "dark mode"),
    ]  # fmt: skip
    assert await best() == [(None, "dark mode"), (None, "mode"), ("t", "dark"), ("s", "night")]
    assert await best("-night") == [(None, "dark mode"), (None, "mode"), ("t", "dark"), ("s", "dark")]
    first = await client.search_memories("dark mode", group_by="session", limit=3)
    rest = await client.search_memories("dark mode", group_by="session", limit=3, cursor=first.next_cursor)
    assert [memory.content for memory in rest.results] == ["dark"]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_answer_that_follows_a_question_is_found_with_it(client: AsyncMemtrace) -> None:
    await remember(client, "Which train do you take?", "The 8:15.", "Fine.", session_id="s")
    await remember(client, "I take the train.", "Good.", session_id="t")
    await remember(client, "A train?")

    assert set(await found(client, "train")) == {
        "Which train do you take?", "The 8:15.", "I take the train.", "A train?",
    }  # fmt: skip
    assert "The 8:15." not in await found(client, "train -15")
    assert "The 8:15." not in await found(client, "train", content_contains="train")


async def test_an_answer_comes_before_the_question_that_asks_the_same(client: AsyncMemtrace) -> None:
    await remember(
        client, "Where does Anna live?", "Let me see.", "In Berlin.", session_id="s", event_type="user"
    )
    await remember(client, "Anna lives by the river in Berlin", session_id="t")
    await remember(
        client, "The parcel for Anna was returned, as nobody at her address knows where she lives now?"
    )

    assert await found(client, "Where does Anna live?") == [
        "Anna lives by the river in Berlin",
        "The parcel for Anna was returned, as nobody at her address knows where she lives now?",
        "Let me see.",
        "Where does Anna live?",
    ]
    best = await client.search_memories("Where does Anna live?", group_by="session")
    assert [memory.session_id for memory in best.results] == ["t", None, "s"]


async def test_each_result_has_a_score(client: AsyncMemtrace) -> None:
    await remember(client, "dark mode", "dark", "the dark and stormy night that came before the storm")

    results = (await client.search_memories("dark mode")).results

    scores = [memory.score or 0.0 for memory in results]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert [memory.score for memory in (await client.search_memories("dark", order="asc")).results] == [
        None
    ] * 3
    assert (await client.list_memories()).memories[0].score is None


async def test_search_reports_whether_it_is_complete(client: AsyncMemtrace) -> None:
    await remember(client, *(f"common {n}" for n in range(101)))

    result = await client.search_memories("common", limit=1000)
    assert (result.count, result.has_more, result.is_complete, result.unindexed_count) == (
        100,
        False,
        False,
        0,
    )
    in_order = await client.search_memories("common", limit=1000, order="desc")
    assert (in_order.count, in_order.is_complete) == (101, True)
    assert (await client.search_memories("common 7", limit=1)).is_complete is False
    assert (await client.search_memories("7")).is_complete is True


async def test_memories_of_a_time_named_in_the_query_come_first(client: AsyncMemtrace) -> None:
    for month in range(1, 7):
        await client.remember("agent_1", f"deployed {month}", time=datetime(2025, month, 9, tzinfo=UTC))

    assert (await found(client, "What was deployed in March 2025?"))[0] == "deployed 3"
    assert (await found(client, "deployed on 10 May 2025"))[0] == "deployed 5"
    assert (await found(client, "What was deployed?"))[0] == "deployed 6"
    later = datetime.now(UTC) + timedelta(days=30)
    await client.remember("agent_1", "deployed later", time=later - timedelta(days=1))
    await client.remember("agent_1", "deployed now")
    assert (await found(client, "deployed yesterday"))[0] == "deployed now"
    assert (await found(client, "deployed yesterday", as_of=later))[0] == "deployed later"


async def test_query_of_a_time_alone_lists_the_memories_of_that_time(client: AsyncMemtrace) -> None:
    texts = {
        "2025-10-31T23:59:59.999999Z": "What happened in November 2025?",
        "2025-11-01T00:00:00Z": "first",
        "2025-11-07T12:00:00Z": "a week later",
        "2025-11-08T00:00:00Z": "the day after",
        "2025-11-30T23:59:59.999999Z": "last",
        "2025-12-01T00:00:00Z": "yesterday in November",
    }
    for time, text in texts.items():
        await client.remember("agent_1", text, time=datetime.fromisoformat(time), tags=[text[0]])

    async def listed(query: str, **conditions: Any) -> list[str]:
        result = await client.search_memories(query, **conditions)
        assert (result.is_complete, result.unindexed_count) == (True, 0)
        assert not any(memory.score for memory in result.results)
        return [memory.content for memory in result.results]

    assert await listed("What happened in November 2025?") == [
        "last",
        "the day after",
        "a week later",
        "first",
    ]
    assert await listed("in November 2025", order="asc") == ["first", "a week later", "the day after", "last"]
    assert await listed("in November 2025", order="relevance", tags=["l"]) == ["last"]
    assert await listed("in November 2025 -week") == ["last", "the day after", "first"]
    assert await listed("in November 2025", content_contains="WEEK") == ["a week later"]
    assert await listed("in November 2025", since=datetime(2025, 11, 9, tzinfo=UTC)) == ["last"]
    assert await listed("in November 2025", until=datetime(2025, 11, 1, tzinfo=UTC)) == []
    assert await listed("What did I do on 7 November 2025?") == ["a week later"]
    assert await listed("What happened after November 2025?") == ["yesterday in November"]
    assert await listed("What happened in 2024?") == []
    assert await found(client, '"in November" 2025') == [
        "What happened in November 2025?",
        "yesterday in November",
    ]
    assert "yesterday in November" in await found(client, '"yesterday"')


async def test_query_of_a_time_and_unknown_words_lists_that_time(client: AsyncMemtrace) -> None:
    noon = datetime(2025, 11, 7, 12, tzinfo=UTC)
    for n in range(5):
        time = noon + timedelta(minutes=n)
        await client.remember("agent_1", f"told in November: {n}", time=time, session_id=f"s{n % 3}")
    await client.remember("agent_1", "told in November, a day later", time=noon + timedelta(days=1))
    await client.remember("agent_2", "What a surprise", time=noon)
    query = "What surprised us on 7 November 2025?"
    expected = [f"told in November: {n}" for n in reversed(range(5))]

    assert set(await found(client, query)) == {"What a surprise", *expected, "told in November, a day later"}
    first = await client.search_memories(query, agent_id="agent_1", limit=2)
    await client.remember("agent_1", "A surprise, meanwhile")
    rest = await client.search_memories(query, agent_id="agent_1", cursor=first.next_cursor)
    assert [memory.content for memory in (*first, *rest)] == expected
    assert (first.results[0].score, first.is_complete, rest.has_more) == (None, True, False)
    assert (await found(client, query, agent_id="agent_1"))[0] == "A surprise, meanwhile"

    options: dict[str, Any] = {"agent_id": "agent_1", "group_by": "session", "limit": 1}
    query = "Why were we astonished on 7 November 2025?"
    first = await client.search_memories(query, **options)
    await client.remember("agent_1", "Astonishing")
    second = await client.search_memories(query, **options, cursor=first.next_cursor)
    assert [memory.content for memory in (*first, *second)] == expected[:2]
    assert await found(client, "puzzled on 7 November 2025", order="asc", agent_id="agent_2") == [
        "What a surprise"
    ]


async def test_query_with_known_words_is_ranked_rather_than_listed(
    client: AsyncMemtrace,
) -> None:
    await client.add_memories({"agent_id": "agent_1", "content": f"Deployed it: {n}"} for n in range(130))
    await client.add_memories({"agent_id": "agent_1", "content": f"7 November 2025: {n}"} for n in range(110))

    result = await client.search_memories("What was deployed on 7 November 2025?", limit=1000)

    assert len(result) == 100  # the ranked ones
    assert not any("Deployed" in memory.content for memory in result)
    assert all(memory.score for memory in result)


async def test_weekday_alone_is_searched_as_a_word(client: AsyncMemtrace) -> None:
    await remember(client, "The course is on a Monday", time=datetime(2024, 5, 1, tzinfo=UTC))
    await remember(client, "nothing")

    assert await found(client, "Monday") == ["The course is on a Monday"]
    assert await found(client, "When is the Monday course?") == ["The course is on a Monday"]
    await remember(client, "of a year", time=datetime(2023, 5, 1, tzinfo=UTC))
    assert await found(client, "2023") == ["of a year"]


async def test_yesterday_is_relative_to_the_moment_of_the_search(client: AsyncMemtrace) -> None:
    later = datetime.now(UTC) + timedelta(days=30)
    await client.remember("agent_1", "Deployed the gateway")
    await client.remember("agent_1", "Rolled it back", time=later - timedelta(days=1))

    assert await found(client, "What did I do yesterday?", as_of=later) == ["Rolled it back"]
    for whole in ("in the last three days", "in the past two hours"):
        assert await found(client, f"What happened {whole}?") == ["Deployed the gateway"], whole
    assert await found(client, "What happened in the last 30 days?", as_of=later) == [
        "Rolled it back",
        "Deployed the gateway",
    ]
    stored = (await client.list_memories(order="asc", limit=1)).memories[0].time
    assert await found(client, f"What happened on {stored:%Y-%m-%d}?") == ["Deployed the gateway"]


async def test_search_for_a_time_has_pages_and_groups(client: AsyncMemtrace) -> None:
    noon = datetime(2025, 11, 7, 12, tzinfo=UTC)
    for n in range(105):
        time = noon + timedelta(minutes=n)
        await client.remember("agent_1", f"{n}", time=time, session_id=f"s{n % 3}")
    expected = [f"{n}" for n in reversed(range(105))]

    through = [m.content async for m in client.iter_search("on 7 November 2025", page_size=40)]
    first = await client.search_memories("on 7 November 2025", group_by="session", limit=2)
    rest = await client.search_memories(
        "on 7 November 2025", group_by="session", limit=2, cursor=first.next_cursor
    )

    assert through == expected
    assert [m.content for m in (*first.results, *rest.results)] == expected[:3]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_old_matches_are_ranked_with_the_new(client: AsyncMemtrace) -> None:
    await remember(client, "the rare word, commonly")
    for start in (0, 1_000):
        await remember(client, *(f"common {n}" for n in range(start, start + 1_000)))

    assert (await found(client, "a rare common"))[0] == "the rare word, commonly"


async def test_query_of_a_long_message_finds_its_subject(client: AsyncMemtrace) -> None:
    await remember(client, "The migration of the billing database failed", "nothing")
    message = "Hello, yesterday we noticed that things went wrong. " * 150 + "The billing database, I think."
    assert 7_000 < len(message) <= 8_000

    assert await found(client, message) == ["The migration of the billing database failed"]


async def test_iter_search_returns_the_matches_of_every_page(client: AsyncMemtrace) -> None:
    await remember(client, *(f"word {n}" for n in range(5)), "else")

    through = [m.content async for m in client.iter_search("word", order="asc", page_size=2)]
    assert through == [f"word {n}" for n in range(5)]
    assert len([m async for m in client.iter_search(SearchQuery(content_contains="o", limit=2))]) == 5


async def test_invalid_search_conditions_are_refused_by_name(client: AsyncMemtrace) -> None:
    wrong: list[dict[str, Any]] = [
        {"query": ""}, {"query": "x" * 8001}, {"content_contains": ""}, {"min_importance": 1.1},
        {"limit": 1001}, {"order": "best"}, {"memory_types": ["dream"]}, {"tags": [""]},
        {"since": "soon"}, {"cursor": "!"}, {"group_by": "agent"},
    ]  # fmt: skip
    for conditions in wrong:
        with pytest.raises(BadRequestError) as refused:
            await client.search_memories(**conditions)
        assert [detail.field.split(".")[0] for detail in refused.value.details] == list(conditions)
