# ruff: noqa: RUF001 - some of these texts have letters that look alike
"""The words of a text, the meaning of a query, and the times that a query names."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import snowballstemmer  # type: ignore[import-untyped]

from memtrace_server import times
from memtrace_server.search import analysis, dates, spelling
from memtrace_server.search.query import MAX_PHRASES, parse

pytestmark = pytest.mark.both_stores

NOW = times.parse("2026-11-25T12:00:00Z")  # a Wednesday


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The user's dog isn’t 5.", ["the", "user", "dog", "isnt", "5"]),
        ("src/app/main.py snake_case e-mail", ["src", "app", "main", "py", "snake", "case", "e", "mail"]),
        ("Straße ÜBER ＦＵＬＬ ﬁne İ", ["strasse", "uber", "full", "fine", "i"]),
        ("Ёлка χρήστης", ["елка", "χρηστησ"]),
        ("今天, パパ", ["今", "天", "パ", "パ"]),
        ("ﾊﾟ ハ", ["パ", "ハ"]),
        ("학교에", ["학", "교", "에"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ฉัน", ["ฉั", "น"]),
        ("كِتَابٌ", ["كتاب"]),
        ("می‌خواهم", ["میخواهم"]),
        ("ok 👍🏽❤️🇩🇪", ["ok", "👍🏽", "❤", "🇩🇪"]),
        ("→ ─── ✓", ["✓"]),
        (
            "Łódź, Ødegård; Đorđe: Æble ǿ Cœur ðÞı",
            ["lodz", "odegard", "dorde", "aeble", "o", "coeur", "dthi"],
        ),
        ("", []),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_words_are_runs_of_letters_with_their_marks(text: str, words: list[str]) -> None:
    assert analysis.words(text) == words
    assert analysis.words(" ".join(words)) == words


def test_a_word_of_any_length_keeps_a_bounded_part() -> None:
    (word,), (other,) = analysis.words("x" * 9_999), analysis.words("x" * 9_999 + "y")
    assert len(word) == len(other) == 64
    assert word != other


@pytest.mark.parametrize(
    "forms",
    ["run runs running ran", "child children child's", "policy policies", "write wrote written writes",
     "deploy deployed deploying", "know knew known", "live lives lived"],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len(set(analysis.stems(forms))) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("UserSessionManager", ["user", "session", "manag"]),
        ("HTTPServerError, XMLHttpRequest", ["http", "server", "error", "xml", "http", "request"]),
        ("parseConfigFile2", ["pars", "config", "file2", "file"]),
        ("oauth2Client utf8Decode", ["oauth2", "oauth", "client", "utf8", "utf", "decod"]),
        ("getURLs of APIs, IDs and PDFs", ["get", "url"]),
        ("Plain Words, ALL CAPS, 3FA9C2B7, 01KB4TNC", []),
        ("snake_case a.b/c, x-1, 2026-11-26, --force, -x, a - b, state-of-the-art", []),
        ("Wi-Fi, e-mails of Straßen-Bau --dry-run", ["wifi", "email", "strassenbau", "dryrun"]),
        ("x" * 64 + "Y", []),
        ("ArtikelGröße Größe", ["artikel", "gross"]),
        ("iPhone", ["phone"]),
        ("", []),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_capitals_divide_a_name_and_hyphens_may_be_left_out(text: str, parts: list[str]) -> None:
    assert analysis.further_stems(text) == parts
    assert analysis.found_by(text) == [*analysis.stems(text), *parts]


def test_the_stems_of_a_script_without_spaces_are_pairs_and_characters() -> None:
    assert analysis.stems("成语接龙") == ["成", "语", "接", "龙", "成语", "语接", "接龙"]
    assert [stem for stem, _ in analysis.question_stems("成语接龙")] == ["成语", "语接", "接龙"]
    assert [stem for stem, _ in analysis.question_stems("猫")] == ["猫"]


@pytest.mark.parametrize(
    ("query", "stems", "phrases", "unwanted"),
    [
        ("Which theme does the user like?", ["theme", "user", "like"], [], []),
        ("the who", ["the", "who"], [], []),
        ("user User users", ["user"], [], []),
        ('find "dark mode"', ["find", "dark", "mode"], [["dark", "mode"]], []),
        ('-"dark mode" x', ["x"], [], [["dark", "mode"]]),
        ("-beta", [], [], [["beta"]]),
        ("-语 -été -2024", [], [], [["语"], ["ete"], ["2024"]]),
        ("a-b --force -f -9 - -! —dash", ["b", "forc", "f", "9", "dash"], [], []),
        ('"open end', ["open", "end"], [], []),
        ('15" screen', ["15", "screen"], [], []),
        ('"!" "" -""', [], [], []),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_query_is_split_into_words_phrases_and_exclusions(
    query: str, stems: list[str], phrases: list[list[str]], unwanted: list[list[str]]
) -> None:
    question = parse(query)

    assert question is not None
    assert (question.stems, question.phrases, question.unwanted) == (stems, phrases, unwanted)


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u00a0\u2028", ""], ids=ascii)
def test_a_blank_query_asks_for_nothing(blank: str) -> None:
    assert parse(blank) is None


def test_ignored_phrases_and_exclusions_are_reported() -> None:
    whole = parse(" ".join(f'"a{n} b" -c{n}' for n in range(MAX_PHRASES)))
    more = parse(" ".join(f'"a{n} b" -c{n}' for n in range(MAX_PHRASES + 1)))

    assert whole is not None
    assert more is not None
    assert (whole.is_whole, more.is_whole) == (True, False)
    assert len(more.phrases) == len(more.unwanted) == MAX_PHRASES
    assert f"a{MAX_PHRASES}" in more.stems


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("what may happen on the march", []),
        ("what happened in March 2025?", [("2025-03-01", "2025-04-01")]),
        ("In May", [("2026-05-01", "2026-06-01")]),
        ("since december", [("2025-12-01", "2026-01-01")]),
        ("last November", [("2025-11-01", "2025-12-01")]),
        ("on 5 May 2024", [("2024-05-05", "2024-05-06")]),
        ("May 5th, 2024", [("2024-05-05", "2024-05-06")]),
        ("the 3rd of June", [("2026-06-03", "2026-06-04")]),
        ("2024-03-05", [("2024-03-05", "2024-03-06")]),
        ("in 2024-03", [("2024-03-01", "2024-04-01")]),
        ("31 April 2024", [("2024-04-01", "2024-05-01")]),
        ("in 2022", [("2022-01-01", "2023-01-01")]),
        ("port 2022:80, v2021.1", []),
        ("yesterday", [("2026-11-24", "2026-11-25")]),
        ("last week", [("2026-11-16", "2026-11-23")]),
        ("last Friday", [("2026-11-20", "2026-11-21")]),
        ("the day before yesterday", [("2026-11-23", "2026-11-24")]),
        ("Monday", [("2026-11-23", "2026-11-24")]),
        ("wednesday afternoon", [("2026-11-18", "2026-11-19")]),
        ("every Monday, by Tuesday, next Friday, on Sundays", []),
        ("between Monday and Friday", [("2026-11-23", "2026-11-24"), ("2026-11-20", "2026-11-21")]),
        ("last weekend", [("2026-11-21", "2026-11-23")]),
        ("the last three days", [("2026-11-22", "2026-11-26")]),
        ("the past week", [("2026-11-18", "2026-11-26")]),
        ("last few days", [("2026-11-18", "2026-11-26")]),
        ("the past couple  of months", [("2026-09-24", "2026-11-26")]),
        ("the previous month", [("2026-10-01", "2026-11-01")]),
        ("the last 999 years", [("1970-01-01", "2026-11-26")]),
        ("the last day, the last time, in the past", []),
        ("two weeks ago", [("2026-11-11", "2026-11-12")]),
        ("twelve days ago", [("2026-11-13", "2026-11-14")]),
        ("a few days ago, recently, 5/3/2026", []),
        ("3 months ago", [("2026-08-01", "2026-09-01")]),
        ("a year ago", [("2025-01-01", "2026-01-01")]),
        ("this year", [("2026-01-01", "2027-01-01")]),
        ("999 years ago", []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_query_names_times(text: str, spans: Sequence[tuple[str, str]]) -> None:
    found = dates.named(text, NOW)

    assert [(times.render(p.start)[:10], times.render(p.end)[:10]) for p in found] == list(spans)


def test_letters_that_resemble_those_of_a_time_are_read_as_such() -> None:
    for text, plain in (
        ("last \u017funday", "last sunday"),
        ("\u017fix days ago", "six days ago"),
        ("in \u017feptember", "in september"),
        ("last wee\u212a", "last week"),
        ("last fr\u0131day", "last friday"),
        ("TH\u0130S WEEK", "this week"),
    ):
        assert dates.named(text, NOW) == dates.named(plain, NOW) != [], text


def test_hours_and_minutes_are_relative_to_the_moment() -> None:
    for text, start, end in (
        ("the last 2 hours", "10:00", "24:00"),
        ("the past hour", "11:00", "24:00"),
        ("in the last hour", "11:00", "24:00"),
        ("10 minutes ago", "11:49", "11:51"),
        ("an hour ago", "10:00", "12:00"),
    ):
        (period,) = dates.named(text, NOW)
        day = times.parse("2026-11-25T00:00:00Z")
        hours = [f"{(t - day) // (3_600 * times.SECOND):02}" for t in (period.start, period.end)]
        minutes = [f"{(t - day) // (60 * times.SECOND) % 60:02}" for t in (period.start, period.end)]
        assert [f"{h}:{m}" for h, m in zip(hours, minutes, strict=True)] == [start, end], text


def test_weekend_is_the_last_one_that_has_begun() -> None:
    for day, last, this in (("25", "21", "21"), ("28", "21", "28"), ("29", "21", "28"), ("30", "28", "28")):
        now = times.parse(f"2026-11-{day}T12:00:00Z")
        for text, start in {"last weekend": last, "this weekend": this, "over the weekend": this}.items():
            (period,) = dates.named(text, now)
            assert times.render(period.start)[8:10] == start, (day, text)


def test_memories_near_a_named_day_count_more() -> None:
    periods = dates.named("deployed on 5 May 2024", NOW)

    for day, weight in {"01": 1, "02": 5, "05": 5, "08": 5, "09": 1}.items():
        assert dates.weight(periods, times.parse(f"2024-05-{day}T00:00:00Z")) == weight, day


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("What happened today?", "2026-11-25 2026-11-26"),
        ("What did I do yesterday?", "2026-11-24 2026-11-25"),
        ("what happened this week", "2026-11-23 2026-11-30"),
        ("yesterday", "2026-11-24 2026-11-25"),
        ("Yesterday's news", "2026-11-24 2026-11-25"),
        ("today’s events, please", "2026-11-25 2026-11-26"),
        ("in November 2026", "2026-11-01 2026-12-01"),
        ("November 2026", "2026-11-01 2026-12-01"),
        ("What did we discuss on 5 May 2024?", "2024-05-05 2024-05-06"),
        ("2024-03-05", "2024-03-05 2024-03-06"),
        ("What have you been doing in 2022?", "2022-01-01 2023-01-01"),
        ("what went on two weeks ago", "2026-11-11 2026-11-12"),
        ("What has happened since March?", "2026-03-01 None"),
        ("What happened since last week?", "2026-11-16 None"),
        ("what happened after yesterday", "2026-11-25 None"),
        ("what happened before 2022", "None 2022-01-01"),
        ("what happened until yesterday", "None 2026-11-25"),
        ("yesterday and today", "2026-11-24 2026-11-26"),
        ("today, 2026-11-25", "2026-11-25 2026-11-26"),
        ("from 3 May 2024 to 5 May 2024", "2024-05-03 2024-05-06"),
        ("between March and May 2024", None),
        ("What happened between March 2024 and May 2024?", "2024-03-01 2024-06-01"),
        ("in March 2024 and in May 2024", None),
        ("What happened in the last three days?", "2026-11-22 2026-11-26"),
        ("What went on within the past week?", "2026-11-18 2026-11-26"),
        ("What did we do the day before yesterday?", "2026-11-23 2026-11-24"),
        ("What did we discuss Monday?", "2026-11-23 2026-11-24"),
        ("what happened Monday morning", "2026-11-23 2026-11-24"),
        ("earlier today", "2026-11-25 2026-11-26"),
        ("what happened this evening", "2026-11-25 2026-11-26"),
        ("over the weekend", "2026-11-21 2026-11-23"),
        ("What has happened since Tuesday?", "2026-11-24 None"),
        ("what happened before last Friday", "None 2026-11-20"),
        ("What changed since yesterday?", "2026-11-24 None"),
        ("from Monday to today", "2026-11-23 2026-11-26"),
        ("What happened from Sunday through Tuesday?", "2026-11-22 2026-11-25"),
        ("between Friday and Monday", "2026-11-20 2026-11-24"),
        ("on Monday and Tuesday", "2026-11-23 2026-11-25"),
        ("on Monday or on Tuesday", "2026-11-23 2026-11-25"),
        ("on Tuesday and Wednesday", None),
        ("Monday", None),
        ("what happened between Monday and Friday", None),
        ("what happens next Monday", None),
        ("what did we do every Monday", None),
        ("the Monday meeting", None),
        ("what happened a few days ago", None),
        ("on Monday this week", None),
        ("which tests failed yesterday", None),
        ("What did Annika say yesterday?", None),
        ("what happened", None),
        ("2024", None),
        ("What did April say?", None),
        ("What did Jan do?", None),
        ("What happens next May?", None),
        ("What may happen?", None),
        ("999 years ago", None),
        ("昨天 yesterday", None),
        ("", None),
    ],
    ids=lambda value: ascii(value)[:45],
)
def test_query_of_a_time_alone_has_its_bounds(text: str, span: str | None) -> None:
    found = dates.asked(text, NOW)
    if found is not None and found.others:
        found = None

    def day(moment: int | None) -> str:
        return "None" if moment is None else times.render(moment).removesuffix("T00:00:00.000000Z")

    assert (None if found is None else f"{day(found.start)} {day(found.end)}") == span


def test_phrases_and_exclusions_name_no_time() -> None:
    for query, is_of_time in {
        '"yesterday"': False,
        '-"last week" yesterday': True,
        "-yesterday": False,
    }.items():
        question = parse(query)
        assert question is not None
        span = question.time(NOW)
        assert (span is not None and not span.others) == is_of_time, query


def test_query_of_a_time_keeps_its_other_words() -> None:
    for text, others in {
        "which tests failed yesterday": ["test", "fail"],
        "What was decided from Monday to today?": ["decid"],
        "Monday": ["mondai"],
        "2024": ["2024"],
    }.items():
        span = dates.asked(text, NOW)
        assert span is not None, text
        assert span.others == others, text


@pytest.mark.parametrize("year", ["0001", "1970", "2262", "9999"])
def test_times_are_named_at_any_moment(year: str) -> None:
    moment = min(max(times.parse(f"{year}-01-01T00:00:00Z"), -(1 << 62)), (1 << 63) - 1)
    for text in (
        "yesterday", "999 weeks ago", "last year", "May 5", "12 months ago", "in 2199", "on Monday",
        "the last 999 years", "past 999 weeks", "999 hours ago", "last weekend", "the day before yesterday",
    ):  # fmt: skip
        dates.named(text, moment)
        dates.asked(text, moment)


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 4_000,
        "may " * 2_000,
        "5 may 5 " * 1_000,
        "last " * 1_600,
        "2024-" * 1_600,
        "since yesterday " * 500,
        "from today to " * 500,
        "last three " * 700,
        "the day before " * 500,
        "and Monday " * 700,
    ],
)
def test_looking_for_times_is_linear_in_the_text(text: str) -> None:
    def cost(text: str) -> float:
        started = time.thread_time()
        dates.asked(text, NOW)
        return time.thread_time() - started

    whole = min(cost(text) for _ in range(3))
    assert whole < 40 * min(cost(text[: len(text) // 10]) for _ in range(3)) + 0.005


def test_spellings_are_one_letter_away_and_begin_alike() -> None:
    assert {"word", "wor", "wordy", "wrod", "wird"} - {"word"} <= set(spelling.neighbours("word"))
    assert "word" not in spelling.neighbours("word")
    assert not any(word[0] != "w" for word in spelling.neighbours("word"))
    assert (
        spelling.neighbours("wor") == spelling.neighbours("x" * 25) == spelling.neighbours("成语接龙") == []
    )
    assert "елки" in spelling.neighbours("елка")


def test_simultaneous_threads_stem_their_own_words() -> None:
    """Stem in several threads: the indexer has its own, and each search another."""
    letters = "bcdfghjklm"
    made = [
        [f"{a}o{b}i{c}{end}" for a in letters for b in letters for c in letters]
        for end in ("nationally", "ingness", "fulness", "ization")
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(made)) as threads:
            at_once = list(threads.map(analysis.stems, map(" ".join, made)))
    finally:
        sys.setswitchinterval(before)
    alone = snowballstemmer.stemmer("porter")
    assert at_once == [alone.stemWords(words) for words in made]


def test_long_words_are_not_kept_in_memory() -> None:
    analysis.stems("the first one loads the stemmer")
    tracemalloc.start()
    try:
        for number in range(100):
            text = f"{number}" + "x" * 60_000
            assert analysis.words(text) == analysis.stems(text)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20
