"""Times that a question names, in English: "in March 2025", "5 May", "yesterday", "last week", "2024-03-05".

A parser for dates in free text (dateparser, parsedatetime) finds dates in sentences that name none ("may",
"second", "march on"), and takes milliseconds. A question that is ranked needs the few forms below, and must
not pay for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from attrs import frozen

from memtrace_server import times
from memtrace_server.search import analysis

_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
]  # fmt: skip
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_FIRST_YEAR, _LAST_YEAR = 1970, 2261  # that nanoseconds since 1970 can tell
_DAY_WEIGHT, _PERIOD_WEIGHT = 5.0, 3.0
_NEAR = 3 * times.DAY

_MONTH = r"(?P<month>january|february|march|april|may|june|july|august|september|october|november|december"
_MONTH += r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
_DAY = r"(?P<day>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19[7-9]|20\d|21\d)\d)"
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(_NUMBERS)})"
_ISO = re.compile(rf"(?<![\d-]){_YEAR}-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?(?![\d-])")
_NAMED = re.compile(
    rf"\b(?:(?P<before>last|next|this|in|since|of|during|on|until|by)\s+(?:the\s+)?)?"
    rf"(?:{_DAY}\s+(?:of\s+)?)?\b{_MONTH}\b\.?(?:\s+{_DAY.replace('<day>', '<day_after>')}\b(?!\d))?"
    rf"(?:,?\s+(?:of\s+)?{_YEAR})?\b",
    re.IGNORECASE,
)
_ONLY_YEAR = re.compile(rf"(?<![\w.:/-]){_YEAR}(?![\w:/-])")
_RELATIVE = re.compile(
    rf"\b(?:(?P<name>today|tonight|yesterday|this morning|last night)"
    rf"|{_COUNT}\s+(?P<unit>day|week|month|year)s?\s+ago"
    rf"|(?P<which>last|this)\s+(?P<period>week|month|year|{'|'.join(_WEEKDAYS)})"
    rf"|on\s+(?P<weekday>{'|'.join(_WEEKDAYS)}))\b",
    re.IGNORECASE,
)
_OF_TIMES = {"last", "this", "in", "since", "during", "until"}  # before a month, not before a person
_TAKEN = "\0"  # what stands for a time in what is left of a question; no query has it
_POSSESSIVE = re.compile(rf"{_TAKEN}\s*['\u2019]s\b")
_BOUND = re.compile(rf"\b(since|after|before|until|till)\s+(?:the\s+)?{_TAKEN}", re.IGNORECASE)
_RANGE = re.compile(rf"\b(?:between|from)\s+{_TAKEN}\s+(?:and|to|until|till)\s+{_TAKEN}", re.IGNORECASE)


@frozen
class Period:
    """A time that was named: from `start` up to `end` (ns).

    Attributes:
        weight: How much more memories of it count.
        margin: How long before and after (ns) they do, too.
    """

    start: int
    end: int
    weight: float
    margin: int = 0


@frozen
class Span:
    """The time that a question asks about: from `start` up to `end` (ns); without end where it is None."""

    start: int | None
    end: int | None


def named(text: str, now: int) -> list[Period]:
    """Return the times that a question names, relative ones as of `now` (ns).

    Args:
        text: The question.
        now: The moment against which "yesterday" and "last May" are told.
    """
    return _read(text, now)[0]


def only(text: str, now: int) -> Span | None:
    """Return the time that a question asks about if it asks about nothing else.

    Several times count if they make one: days in a row, or "from … to …".

    Args:
        text: The question, without its phrases and exclusions.
        now: The moment against which relative times are told.

    Example:
        >>> day = only("What happened yesterday?", now=2 * times.DAY)
        >>> day == Span(start=times.DAY, end=2 * times.DAY)
        True
        >>> only("Which tests failed yesterday?", now=2 * times.DAY)
    """
    periods, rest = _read(text, now)
    is_number = _ONLY_YEAR.fullmatch(text.strip()) is not None
    if is_number or not periods or rest.count(_TAKEN) != len(periods):
        return None
    rest = _POSSESSIVE.sub(_TAKEN, rest)
    bounds = _BOUND.findall(rest)
    is_range = len(periods) == 2 and _RANGE.search(rest) is not None  # noqa: PLR2004 - from one to the other
    rest = (_RANGE if is_range else _BOUND).sub(" ", rest)
    if not analysis.says_nothing(rest.replace(_TAKEN, " ")):
        return None
    if is_range:
        return Span(min(p.start for p in periods), max(p.end for p in periods))
    if bounds:
        return _beside(bounds[0].lower(), periods[0]) if len(periods) == 1 else None
    return _in_a_row(periods)


def weight(periods: Sequence[Period], moment: int) -> float:
    """Return how much more a memory of this moment (ns) counts."""
    return max((p.weight for p in periods if p.start - p.margin <= moment < p.end + p.margin), default=1.0)


def _beside(word: str, period: Period) -> Span:
    match word:
        case "since":
            return Span(period.start, None)
        case "after":
            return Span(period.end, None)
        case "before":
            return Span(None, period.start)
        case _:
            return Span(None, period.end)


def _in_a_row(periods: Sequence[Period]) -> Span | None:
    """Return the time that several make up, or None if there is a gap or an overlap."""
    ordered = sorted({(p.start, p.end) for p in periods})
    if any(end != start for (_, end), (start, _) in pairwise(ordered)):
        return None
    return Span(ordered[0][0], ordered[-1][1])


def _read(text: str, now: int) -> tuple[list[Period], str]:
    """Return the times that a text names, and the text with a mark in place of each that surely is one."""
    today = datetime.fromtimestamp(now // times.SECOND, UTC).date()
    found: list[Period] = []
    for pattern, read in _READERS:

        def taken(match: re.Match[str], read: _Reader = read) -> str:
            periods = list(read(match, today))
            found.extend(periods)
            before = match.groupdict().get("before") or ""
            return f" {before} {_TAKEN} " if periods and _is_sure(match) else match[0]

        text = pattern.sub(taken, text)
    return found, text


def _is_sure(match: re.Match[str]) -> bool:
    """Return whether it is a time: "Jan" and "April" are people too, and "next May" is to come."""
    if match.re is not _NAMED:
        return True
    before = (match["before"] or "").lower()
    is_dated = match["year"] or match["day"] or match["day_after"]
    return before != "next" and (bool(is_dated) or before in _OF_TIMES)


def _iso(match: re.Match[str], today: date) -> Iterator[Period]:  # noqa: ARG001 - as the others are called
    yield from _day_or_month(int(match["year"]), int(match["month"]), match["day"])


def _year(match: re.Match[str], today: date) -> Iterator[Period]:  # noqa: ARG001 - as the others are called
    yield _span(date(int(match["year"]), 1, 1), date(int(match["year"]) + 1, 1, 1))


def _of_month(match: re.Match[str], today: date) -> Iterator[Period]:
    name, day = match["month"], match["day"] or match["day_after"]
    # Both are words of other meanings too.
    if name in {"may", "march", "mar"} and not (match["before"] or match["year"] or day):
        return
    if name.lower() in {"may", "march"} and name.islower() and match["before"] in {"this", "by", "on"}:
        return
    month = next(n for n, full in enumerate(_MONTHS, 1) if full.startswith(name.lower()[:3]))
    if match["year"]:
        year = int(match["year"])
    else:
        # The latest that has begun: of a year's last month, that of the year before.
        is_past = (month, int(day or 1)) <= (today.month, today.day)
        year = today.year if is_past else today.year - 1
        is_last = (match["before"] or "").lower() == "last" and month == today.month
        year -= is_last
    yield from _day_or_month(year, month, day)


def _relative(match: re.Match[str], today: date) -> Iterator[Period]:
    if match["name"]:
        is_before = match["name"].lower() in {"yesterday", "last night"}
        yield _on(today - timedelta(days=is_before))
    elif match["unit"]:
        count = _NUMBERS.get(match["count"].lower()) or int(match["count"])
        yield from _ago(today, count, match["unit"].lower())
    elif match["weekday"] or match["period"].lower() in _WEEKDAYS:
        weekday = _WEEKDAYS.index((match["weekday"] or match["period"]).lower())
        yield _on(today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1))
    else:
        yield from _period(today, match["period"].lower(), is_last=match["which"].lower() == "last")


def _ago(today: date, count: int, unit: str) -> Iterator[Period]:
    if unit == "day":
        yield _on(today - timedelta(days=count))
    elif unit == "week":
        yield _on(today - timedelta(weeks=count))
    elif unit == "month":
        months = today.year * 12 + today.month - 1 - count
        yield from _day_or_month(months // 12, months % 12 + 1, None)
    elif today.year - count >= _FIRST_YEAR:
        yield _span(date(today.year - count, 1, 1), date(today.year - count + 1, 1, 1))


def _period(today: date, period: str, *, is_last: bool) -> Iterator[Period]:
    if period == "week":
        monday = today - timedelta(days=today.weekday() + 7 * is_last)
        yield _span(monday, monday + timedelta(days=7))
    elif period == "month":
        months = today.year * 12 + today.month - 1 - is_last
        yield from _day_or_month(months // 12, months % 12 + 1, None)
    else:
        yield _span(date(today.year - is_last, 1, 1), date(today.year - is_last + 1, 1, 1))


def _day_or_month(year: int, month: int, day: str | None) -> Iterator[Period]:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return
    if day is None:
        yield _span(date(year, month, 1), date(year + month // 12, month % 12 + 1, 1))
        return
    try:
        yield _on(date(year, month, int(day)))
    except ValueError:  # such as 31 April
        yield from _day_or_month(year, month, None)


def _on(day: date) -> Period:
    return _span(day, day + timedelta(days=1), _DAY_WEIGHT, _NEAR)


def _span(start: date, end: date, weight: float = _PERIOD_WEIGHT, margin: int = 0) -> Period:
    return Period(_moment(start), _moment(end), weight, margin)


def _moment(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * times.SECOND


_Reader = Callable[[re.Match[str], date], Iterator[Period]]
_READERS: Sequence[tuple[re.Pattern[str], _Reader]] = [
    (_ISO, _iso), (_NAMED, _of_month), (_RELATIVE, _relative), (_ONLY_YEAR, _year),
]  # fmt: skip
