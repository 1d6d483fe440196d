"""The memories of a context when not all of them fit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server.context.made import content_of, context, decision, memory

from memtrace_server.store.records import Found

LONG = " ".join(f"word{n}" for n in range(2_000))


def numbers(text: str) -> set[int]:
    """Return the numbers of the memories `… number N` in a context."""
    return {int(number) for number in re.findall(r"number (\d+)", text)}


@pytest.mark.parametrize(
    "important",
    [
        pytest.param({"importance": 0.95}, id="a given importance"),
        pytest.param({"importance": 0.7}, id="the least importance"),
        pytest.param({"memory_type": "decision"}, id="a decision"),
        pytest.param({"event_type": "decision"}, id="an event that decides"),
        pytest.param({"event_type": "error"}, id="an error"),
        pytest.param({"memory_type": "entity"}, id="an entity"),
    ],
)
def test_important_memory_stays_though_it_is_the_oldest(important: dict[str, Any]) -> None:
    memories = [memory(f"Chatter number {n}", n=n) for n in range(1, 200)]
    memories.append(memory("The user is allergic to nuts", n=0, **important))

    for budget in range(200, 900, 50):
        shown = context(memories, budget)
        assert "allergic" in shown.text
        assert "Chatter number 199" in shown.text
        assert shown.omitted_important == 0


@pytest.mark.parametrize(
    "unimportant",
    [
        pytest.param({"importance": 0.69}, id="too little importance"),
        pytest.param({"memory_type": "decision", "importance": 0.1}, id="a decision of low importance"),
        pytest.param({"event_type": "error", "importance": 0.0}, id="an error of no importance"),
        pytest.param({"memory_type": "session"}, id="a note on the session"),
    ],
)
def test_unimportant_memory_is_omitted_for_its_age(unimportant: dict[str, Any]) -> None:
    memories = [memory(f"Chatter number {n}", n=n) for n in range(1, 200)]
    memories.append(memory("The user is allergic to nuts", n=0, **unimportant))

    assert "allergic" not in context(memories, 800).text


def test_important_and_recent_memories_have_half_of_the_budget_each() -> None:
    memories = [decision(f"Decision number {n:03}", "that is how it is", n=n) for n in range(200)]
    memories += [memory(f"Some of the chatter number {n}", n=n) for n in range(200, 400)]

    kept = numbers(context(memories, 2_000).text)

    decisions, chatter = {n for n in kept if n < 200}, {n for n in kept if n >= 200}
    assert decisions == set(range(200 - len(decisions), 200))
    assert chatter == set(range(400 - len(chatter), 400))
    assert 0.7 < len(decisions) * 30 / (len(chatter) * 22) < 1.4


def test_more_important_memories_go_first_then_newer_ones() -> None:
    memories = [memory(f"Matter number {n}", n=n, importance=0.9 if n < 10 else 0.8) for n in range(100)]
    memories += [memory(f"{'chatter ' * 20}", n=n) for n in range(100, 120)]

    kept = sorted(numbers(context(memories, 600).text))

    assert set(range(10)) <= set(kept)
    assert [n for n in kept if n >= 10] == list(range(100 - (len(kept) - 10), 100))


def test_an_important_memory_of_many_days_is_shown_once_if_not_all_fit() -> None:
    day = 24 * 60
    memories = [memory("Ann prefers e-mail", n=n * day, importance=0.9) for n in range(10)]
    memories += [memory(f"Fact number {n}", n=n * day + 1, importance=0.8) for n in range(3)]
    memories += [memory(f"Chatter number {n}", n=10 * day + n) for n in range(200)]

    shown = context(memories, 400)

    assert shown.text.count("Ann prefers e-mail") == 1
    assert shown.text.index("Ann prefers e-mail") > shown.text.index("Fact number 2")
    assert numbers(shown.text) > {0, 1, 2, 199}
    assert context(memories, 4_000).text.count("Ann prefers e-mail") == 10


def test_recent_memories_get_what_important_ones_leave() -> None:
    memories = [memory(f"Chatter number {n}", n=n) for n in range(200)]

    shown = context(memories, 1_000)

    assert shown.token_count > 930
    assert numbers(shown.text) == set(range(200 - len(shown.memory_ids), 200))


def test_important_memories_get_what_recent_ones_leave() -> None:
    memories = [decision(f"Decision number {n}", "that is how it is", n=n) for n in range(200)]

    assert context(memories, 1_000).token_count > 950


def test_matches_come_first_in_order_of_rank() -> None:
    memories = [decision(f"Decision number {n}", "that is how it is", n=n) for n in range(300)]
    memories += [memory(f"Chatter number {n}", n=n) for n in range(300, 400)]
    matches = [5, 3, 8, *range(20, 100)]

    for budget in (150, 200, 1_000):
        kept = numbers(context(memories, budget, matches=matches).text)
        assert 5 in kept
    kept = numbers(context(memories, 1_000, matches=matches).text)
    assert {5, 3, 8, 20, 21} <= kept
    assert 99 not in kept
    assert 399 in kept
    assert 299 in kept


def test_query_omits_no_memory_that_fits() -> None:
    memories = [memory(f"Chatter number {n}", n=n) for n in range(20)]

    assert context(memories, matches=[3]).text == context(memories).text


def test_long_memory_takes_what_other_memories_leave() -> None:
    shown = context([memory(LONG), memory("Short", n=1)], 1_000)

    assert "Short" in shown.text
    assert shown.token_count > 930


def test_many_long_memories_share_the_budget() -> None:
    shown = context([memory(f"{n} {LONG}", n=n) for n in range(100)], 2_000)

    assert 8 <= len(shown.memory_ids) <= 9
    assert shown.shortened == len(shown.memory_ids)
    assert shown.token_count > 1_900


@pytest.mark.parametrize(
    ("count", "kinds", "older", "last"),
    [
        pytest.param(1, 0, False, None, id="nothing"),
        pytest.param(1, 0, True, "Older memories were not considered.", id="only older ones"),
        pytest.param(300, 0, False, "{} memories were left out to fit the budget.", id="chatter"),
        pytest.param(
            300, 290, False,
            "{} memories were left out to fit the budget, {} of them important.", id="important ones",
        ),
        pytest.param(
            300, 0, True,
            "{} memories were left out to fit the budget. Older memories were not considered.", id="both",
        ),
    ],
)  # fmt: skip
def test_last_line_counts_the_omitted_memories(count: int, kinds: int, older: bool, last: str | None) -> None:  # noqa: FBT001 - a parameter of the test
    memories = [memory(f"Number {n}", n=n, importance=0.8 if n < kinds else None) for n in range(count)]

    shown = context(memories, 500, older=older)

    line = shown.text.splitlines()[-1]
    assert len(shown.memory_ids) + shown.omitted == count
    assert line == (last.format(shown.omitted, shown.omitted_important) if last else "00:00 Number 0")
    assert shown.omitted_important == max(0, kinds - sum(f"Number {n}\n" in shown.text for n in range(kinds)))


@pytest.mark.parametrize(
    ("importance", "word"), [(None, ""), (1.0, "important ")], ids=["chatter", "important"]
)
def test_single_omitted_memory_is_counted_in_the_singular(importance: float | None, word: str) -> None:
    memories = [memory("x y z " * 40 + str(n), n=n, importance=importance) for n in range(2)]
    both = context(memories).token_count

    shown = context(memories, both - 120)

    assert shown.omitted == 1
    assert shown.text.splitlines()[-1] == f"1 {word}memory was left out to fit the budget."


def test_context_without_memories_says_so() -> None:
    assert context([]).text == "No memories.\n"
    assert (context([], 1).text, context([], 1).token_count) == ("", 0)


def test_budget_that_is_too_small_for_a_first_line_gives_an_empty_text() -> None:
    shown = context([memory("Something")], 30)

    assert (shown.text, shown.token_count, shown.memory_ids, shown.omitted) == ("", 0, [], 1)


def test_flood_of_errors_leaves_half_of_the_budget_to_recent_memories() -> None:
    memories = [memory(f"The server number {n} failed", n=n, event_type="error") for n in range(500)]
    memories += [memory(f"Said at last, number {n}", n=n, event_type="user") for n in range(500, 520)]

    kept = numbers(context(memories, 800).text)

    assert {519, 518, 517, 516, 515} <= kept
    assert 499 in kept


def test_explicit_importance_precedes_all_but_the_newest_few() -> None:
    memories = [memory(f"A matter of some weight, number {n:03}", n=n, importance=0.8) for n in range(30)]
    memories += [memory(f"x number {n:03}", n=n, event_type="y") for n in range(30, 90)]

    for budget in range(100, 1_500, 7):
        shown = context(memories, budget)
        kept = numbers(shown.text)
        assert shown.omitted_important == 0 or {n for n in kept if n >= 30} <= set(range(82, 90)), budget
        assert budget < 250 or 89 in kept
    assert numbers(context(memories, 400).text) > {29, 28, 27}


def test_newest_few_keep_an_eighth_of_the_budget() -> None:
    memories = [memory(f"A matter of some weight, number {n:03}", n=n, importance=0.8) for n in range(300)]
    memories += [memory(f"Said at last, number {n:03}", n=n, event_type="user") for n in range(300, 330)]

    assert {n for n in numbers(context(memories, 4_000).text) if n >= 300} == set(range(322, 330))
    few = {n for n in numbers(context(memories, 500).text) if n >= 300}
    assert few == set(range(330 - len(few), 330))
    assert 2 <= len(few) <= 5
    memories += [memory(f"Weighty number {n}", n=n, importance=0.9) for n in range(330, 338)]
    assert not {n for n in numbers(context(memories, 4_000).text) if 300 <= n < 330}


def test_error_that_does_not_fit_leaves_no_room_to_older_chatter() -> None:
    memories = [memory(f"x number {n:03}", n=n, event_type="y") for n in range(30)]
    memories += [memory(f"{'It failed. ' * 9} number {n:03}", n=n, event_type="error") for n in range(30, 38)]

    for budget in range(100, 1_500, 7):
        shown = context(memories, budget)
        assert shown.omitted_important == 0 or all(n >= 30 for n in numbers(shown.text)), budget


text = st.text("ab \n", min_size=1, max_size=200)
minute = st.integers(0, 1_439)
chatter = st.builds(memory, text.map(lambda text: f"x{text}"), n=minute)
urged = st.builds(memory, text.map(lambda text: f"u{text}"), n=minute, importance=st.floats(0.7, 1))
kinds = st.builds(memory, text.map(lambda text: f"k{text}"), n=minute, event_type=st.just("error"))


@settings(deadline=None)
@given(
    st.lists(chatter | urged | kinds, max_size=40, unique_by=lambda found: found.seq), st.integers(1, 1_500)
)
def test_no_important_memory_is_omitted_for_older_chatter(memories: list[Found], max_tokens: int) -> None:
    shown = context(memories, max_tokens)

    kept = set(shown.memory_ids)
    out = [found for found in memories if f"mem_{found.seq - 1:026}" not in kept]
    stays = [
        found
        for found in memories
        if f"mem_{found.seq - 1:026}" in kept and content_of(found).startswith("x")
    ]
    if any(content_of(found).startswith("u") for found in out):
        assert len({content_of(found) for found in stays}) <= 8
    newest_out = max((found.time for found in out if not content_of(found).startswith("x")), default=-1)
    assert all(found.time > newest_out for found in stays)


@settings(deadline=None)
@given(st.lists(st.sampled_from("cuk"), min_size=40, max_size=90), st.integers(200, 1_000))
def test_each_half_goes_to_the_first_of_its_own_kind(order: list[str], budget: int) -> None:
    """Use chatter (c), importance (u) and errors (k) of one cost, so that half a budget is a number."""
    fields: dict[str, Any] = {"c": {}, "u": {"importance": 0.8}, "k": {"event_type": "error"}}
    memories = [memory(f"Matter number {n:03}", n=n, **fields[kind]) for n, kind in enumerate(order)]
    one, two, three = (
        context([memory(f"Matter number {n:03}", n=n, event_type="error") for n in range(count)]).token_count
        for count in (1, 2, 3)
    )
    each = three - two
    last_line = 30
    half = (budget - one - last_line) // 2 // each

    shown = context(memories, budget)

    kept = numbers(shown.text)
    out = set(range(len(order))) - kept
    newest = list(range(len(order)))[::-1]
    given_importance, errors = ([n for n in newest if order[n] == kind] for kind in "uk")
    important = [*given_importance, *errors]
    assert not out or shown.token_count > budget - last_line - each
    assert out.isdisjoint(important[:half])
    if len(given_importance) <= half:
        assert out.isdisjoint(newest[:half])
    for n in kept - {*newest[:8], *important[: half + 2], *given_importance}:
        assert out.isdisjoint(given_importance), n
        assert order[n] == "k" or not any(n < error for error in out.intersection(errors)), n


@settings(deadline=None)
@given(
    st.lists(chatter | urged | kinds, max_size=30, unique_by=lambda found: found.seq), st.integers(1, 3_000)
)
def test_order_of_the_given_memories_does_not_matter(memories: list[Found], max_tokens: int) -> None:
    assert context(memories, max_tokens) == context(memories[::-1], max_tokens)
