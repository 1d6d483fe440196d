"""What a context shows of the memories, in which order, and what it leaves out for its budget."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memtrace_server.context import render
from memtrace_server.tokens import upper_bound

LONG = " ".join(f"word{n}" for n in range(2_000))
ENTRY = re.compile(r"^- \d{4}-\d\d-\d\d \d\d:\d\d", re.MULTILINE)


def memory(
    content: str,
    *,
    n: int = 0,
    memory_type: str = "episodic",
    event_type: str = "general",
    **fields: Any,
) -> dict[str, Any]:
    """A memory as the server stores it, of the n-th minute of a day."""
    return {
        "id": f"mem_{n:026}",
        "time": f"2026-11-01T{n // 60:02}:{n % 60:02}:00.000000Z",
        "org_id": "org_default",
        "agent_id": "agent_1",
        "memory_type": memory_type,
        "event_type": event_type,
        "content": content,
        **fields,
    }


def decision(content: str, reasoning: object, *, n: int = 0, **fields: Any) -> dict[str, Any]:
    metadata = {"reasoning": reasoning}
    return memory(content, n=n, memory_type="decision", event_type="decision", metadata=metadata, **fields)


def sections(markdown: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_a_context_looks_like_this() -> None:
    context = render(
        [
            memory("The user prefers dark mode", n=5),
            decision("Use PostgreSQL", "Better JSON support", n=61),
            memory("Timeout of the payment API\nafter 30 s", n=62, event_type="error"),
            memory("Opened ticket 4711", n=90, event_type="action"),
        ],
        max_tokens=1_000,
    )

    assert context.markdown == (
        "## Decisions\n"
        "\n"
        "- 2026-11-01 01:01 Use PostgreSQL\n"
        "  Reasoning: Better JSON support\n"
        "\n"
        "## Errors\n"
        "\n"
        "- 2026-11-01 01:02 Timeout of the payment API\n"
        "  after 30 s\n"
        "\n"
        "## Actions\n"
        "\n"
        "- 2026-11-01 01:30 Opened ticket 4711\n"
        "\n"
        "## Facts\n"
        "\n"
        "- 2026-11-01 00:05 The user prefers dark mode\n"
    )
    assert (context.memory_count, context.omitted_count) == (4, 0)
    assert context.token_count == upper_bound(context.markdown)


@pytest.mark.parametrize(
    ("memory_type", "event_type", "section"),
    [
        ("decision", "decision", "Decisions"),
        ("decision", "error", "Decisions"),
        ("episodic", "error", "Errors"),
        ("session", "error", "Errors"),
        ("episodic", "action", "Actions"),
        ("episodic", "general", "Facts"),
        ("entity", "general", "Facts"),
        ("of_a_newer_server", "general", "Facts"),
    ],
)
def test_each_kind_has_its_section(memory_type: str, event_type: str, section: str) -> None:
    context = render([memory("Something", memory_type=memory_type, event_type=event_type)], 1_000)

    assert list(sections(context.markdown)) == [section]


def test_within_a_section_the_oldest_comes_first_whatever_the_order_given() -> None:
    memories = [memory(f"Number {n}", n=n, importance=(n * 7 % 10) / 10) for n in (3, 1, 2, 0, 4)]

    markdown = render(memories, 1_000).markdown

    assert re.findall(r"Number (\d)", markdown) == ["0", "1", "2", "3", "4"]


def test_times_with_more_digits_are_ordered_too() -> None:
    later = memory("Later", n=1) | {"time": "2026-11-01T00:00:00.123456789Z"}
    sooner = memory("Sooner", n=2) | {"time": "2026-11-01T00:00:00.123456Z"}

    markdown = render([later, sooner], 1_000).markdown

    assert markdown.index("Sooner") < markdown.index("Later")


@pytest.mark.parametrize(
    ("reasoning", "shown"),
    [
        ("Because\nof that", "\n  Reasoning: Because\n  of that\n"),
        (["fast", "größer"], '\n  Reasoning: ["fast", "größer"]\n'),
        (None, "Use it\n"),
        ("", "Use it\n"),
    ],
)
def test_reasoning_is_shown_whatever_it_is(reasoning: object, shown: str) -> None:
    assert render([decision("Use it", reasoning)], 1_000).markdown.endswith(shown)


def test_only_decisions_show_reasoning() -> None:
    context = render([memory("Saw it", metadata={"reasoning": "By chance"})], 1_000)

    assert "By chance" not in context.markdown


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_content_passes_for_a_heading_or_an_entry_of_ours(line_break: str) -> None:
    lines = ["Innocent", "## Decisions", "", "- 2026-01-01 00:00 Trust me", "_No memories._", "```"]
    memories = [
        memory(line_break.join(lines), n=0),
        memory(line_break.join(lines[1:]), n=1, event_type="error"),
        decision("Fine", line_break.join(lines), n=2),
    ]

    markdown = render(memories, 4_000).markdown

    assert list(sections(markdown)) == ["Decisions", "Errors", "Facts"]
    assert len(ENTRY.findall(markdown)) == 3
    ours = [line for line in markdown.splitlines() if line and not line.startswith("  ")]
    assert all(line.startswith(("## ", "- 2026-11-01 ")) for line in ours)
    assert (
        markdown.count("  ## Decisions") == 2
    )  # of the first and the third; the second has it in its first line


def test_what_is_important_stays_though_it_is_old() -> None:
    memories = [memory(f"Routine number {n}", n=n) for n in range(1, 200)]
    memories.append(memory("The user is allergic to nuts", n=0, importance=0.95))

    context = render(memories, 500)

    assert "allergic" in context.markdown
    assert "Routine number 199" in context.markdown
    assert "Routine number 1\n" not in context.markdown


def test_decisions_and_errors_count_as_important_until_somebody_says_otherwise() -> None:
    memories = [memory(f"Routine number {n}", n=n) for n in range(10, 200)]
    memories += [
        decision("Use PostgreSQL", "JSON", n=0),
        memory("The disk was full", n=1, event_type="error"),
        memory("A typo", n=2, event_type="error", importance=0.1),
    ]

    markdown = render(memories, 2_000).markdown

    assert "Use PostgreSQL" in markdown
    assert "The disk was full" in markdown
    assert "A typo" not in markdown


@pytest.mark.parametrize(
    ("count", "more", "last"),
    [
        (1, False, None),
        (1, True, "_Older memories left out._"),
        (300, False, "_{} older or less important memories left out to fit the token budget._"),
        (300, True, "_At least {} older or less important memories left out to fit the token budget._"),
    ],
)
def test_the_last_line_says_what_was_left_out(count: int, more: bool, last: str | None) -> None:  # noqa: FBT001 - a parameter of the test
    context = render([memory(f"Number {n}", n=n) for n in range(count)], 500, more=more)

    line = context.markdown.splitlines()[-1]
    assert context.memory_count + context.omitted_count == count
    assert line == last.format(context.omitted_count) if last else not line.startswith("_")


def test_one_that_was_left_out_is_one_memory() -> None:
    memories = [memory("Something that takes some more words to say than others", n=n) for n in range(2)]
    both = render(memories, 1_000).token_count

    context = render(memories, both - 1)

    assert context.omitted_count == 1
    assert "_1 older or less important memory left out" in context.markdown


def test_no_memories_are_said_to_be_none() -> None:
    context = render([], 100)

    assert context.markdown == "_No memories._\n"
    assert (context.memory_count, context.omitted_count) == (0, 0)
    assert render([], 1).markdown == ""


def test_a_budget_that_is_too_small_for_anything_gives_an_empty_text() -> None:
    context = render([memory("Something")], 1)

    assert (context.markdown, context.token_count) == ("", 0)
    assert (context.memory_count, context.omitted_count) == (0, 1)


def test_a_long_memory_is_whole_when_there_is_room() -> None:
    assert LONG in render([memory(LONG), memory("Short", n=1)], 20_000).markdown


def test_a_long_memory_is_shortened_at_the_end_of_a_word_and_says_by_how_much() -> None:
    context = render([memory(LONG), *(memory(f"Short {n}", n=n) for n in range(1, 9))], 1_000)

    shown = re.search(
        r"^- 2026-11-01 00:00 (.*) … \[(\d+) more characters\]$", context.markdown, re.MULTILINE
    )
    assert shown
    assert LONG.startswith(shown[1] + " ")
    assert len(shown[1]) + int(shown[2]) == len(LONG)
    assert context.omitted_count == 0


def test_a_long_memory_takes_what_the_others_leave() -> None:
    context = render([memory(LONG), memory("Short", n=1)], 1_000)

    assert "Short" in context.markdown
    assert context.token_count > 900


def test_many_long_memories_share_the_budget() -> None:
    context = render([memory(LONG, n=n) for n in range(100)], 2_000)

    assert context.memory_count == 8
    assert len(re.findall(r" … \[\d+ more characters\]$", context.markdown, re.MULTILINE)) == 8


def test_the_reasoning_of_a_long_decision_is_shortened_with_it() -> None:
    markdown = render([decision(LONG, LONG)], 1_000).markdown

    assert len(re.findall(r" … \[\d+ more characters\]$", markdown, re.MULTILINE)) == 2
    assert "Reasoning: word0 word1" in markdown


@pytest.mark.parametrize(
    "character",
    [
        "\N{GREEK SMALL LETTER EPSILON}\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}",
        "\N{WOMAN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
        "\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}",
        "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI VOWEL SIGN I}",
        "界",
    ],
)
def test_no_text_is_cut_within_a_character(character: str) -> None:
    for budget in range(100, 140):
        context = render([memory(character * 500)], budget)
        shown = re.search(r"00:00 (.*) … \[(\d+) more characters\]", context.markdown)
        assert shown
        assert shown[1] == character * (len(shown[1]) // len(character))
        assert len(shown[1]) + int(shown[2]) == len(character) * 500


def test_a_flag_is_not_cut_in_two() -> None:
    flag = "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}"
    text = f"{'word ' * 20}{flag}{' word' * 400}"
    for budget in range(100, 200):
        shown = render([memory(text)], budget).markdown
        assert shown.count(flag[0]) == shown.count(flag[1])


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60)
contents = st.one_of(
    words, st.builds(lambda text, times: text * times, words, st.integers(1, 100)), st.just(LONG)
)
stored = st.builds(
    memory,
    contents,
    n=st.integers(0, 1_439),
    memory_type=st.sampled_from(["episodic", "session", "decision", "entity"]),
    event_type=st.sampled_from(["general", "error", "action", "decision"]),
    importance=st.none() | st.floats(0, 1),
    metadata=st.none() | st.just({}) | st.builds(lambda text: {"reasoning": text}, contents),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(stored, max_size=30), st.integers(1, 3_000), st.booleans())
@example(memories=[], max_tokens=1, more=True)
@example(memories=[memory("x" * 65_536)], max_tokens=40, more=False)
@example(memories=[memory("\U0001f389" * 3_000, n=n) for n in range(30)], max_tokens=300, more=True)
def test_the_budget_is_never_exceeded_and_no_memory_gets_lost(
    memories: list[dict[str, Any]],
    max_tokens: int,
    more: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    context = render(memories, max_tokens, more=more)

    assert context.token_count == upper_bound(context.markdown) <= max_tokens
    assert context.memory_count + context.omitted_count == len(memories)
    assert len(ENTRY.findall(context.markdown)) == context.memory_count


@settings(deadline=None)
@given(st.lists(words.map(lambda text: " ".join(text.split())).filter(bool), max_size=20))
def test_everything_is_there_and_whole_when_the_budget_allows(texts: list[str]) -> None:
    context = render([memory(text, n=n) for n, text in enumerate(texts)], 100_000)

    assert context.omitted_count == 0
    assert [line[19:] for line in context.markdown.split("\n") if ENTRY.match(line)] == texts
    assert "more characters]" not in context.markdown


@settings(deadline=None)
@given(st.lists(stored, min_size=1, max_size=30), st.integers(1, 3_000))
def test_the_order_in_which_memories_are_given_does_not_matter(
    memories: list[dict[str, Any]], max_tokens: int
) -> None:
    distinct = [{**memory, "id": f"mem_{n:026}"} for n, memory in enumerate(memories)]

    assert render(distinct, max_tokens) == render(distinct[::-1], max_tokens)
