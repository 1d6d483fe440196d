"""Times that a question names, in English: "in March 2025", "5 May", "yesterday", "last week", "2024-03-05".

Parsers for dates in free text (dateparser, parsedatetime) find dates in sentences that name none ("may",
"second", "march on"), and take milliseconds. The few forms below are enough for ranking. Ambiguous times
("5/3/2026") and vague ones ("recently") are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from attrs import evolve, frozen

from memtrace_server import times
from memtrace_server.search import analysis

_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
]  # fmt: skip
_SATURDAY = 5
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_VAGUE = {"couple of": 2, "few": 7}  # at least as many as anybody means
_SHORT = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}
_FIRST_YEAR, _LAST_YEAR = 1970, 2261  # the range of nanoseconds since 1970 in 64 bits
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
_WEEKDAY = "|".join(_WEEKDAYS)
_RELATIVE = re.compile(
    rf"\b(?:(?:(?P<name>today|tonight|(?:the\s+day\s+before\s+)?yesterday|this\s+(?:morning|afternoon|evening)"
    rf"|last\s+night)"
    rf"|(?:(?P<other>by|every|each|next|coming|between|from|to|through|and|or)\s+)?(?:(?:last|this|on)\s+)?"
    rf"(?P<weekday>{_WEEKDAY}))(?:\s+(?:morning|afternoon|evening|night))?"
    rf"|{_COUNT}\s+(?P<unit>minute|hour|day|week|month|year)s?\s+ago"
    rf"|(?P<back>last|past|previous)\s+(?:(?P<number>\d{{1,3}}|couple\s+of|few|{'|'.join(_NUMBERS)})\s+)?"
    rf"(?P<units>minute|hour|day|week|month|year)s?"
    rf"|this\s+(?P<period>week|month|year)"
    rf"|(?P<weekend>last|this|the)\s+weekend)\b",
    re.IGNORECASE,
)
_NOT_PAST = {"by", "every", "each", "next", "coming"}  # before a weekday that is not in the past
_OF_WEEKDAYS = re.compile(rf"\b(?:{_WEEKDAY})\b", re.IGNORECASE)
# A query of only a year or a weekday is searched as a word, not as a time.
_WORD = re.compile(rf"{_YEAR}|{_WEEKDAY}", re.IGNORECASE)
_OF_TIMES = {"last", "this", "in", "since", "during", "until"}  # precede a month, but not a person's name
# Letters that re.IGNORECASE matches with i, s and k, but `lower` does not convert.
_ALIKE = str.maketrans("\u0130\u0131\u017f\u212a", "iisk")
_TAKEN = "\0"  # replaces a time in a question; no query contains it
_POSSESSIVE = re.compile(rf"{_TAKEN}\s*['\u2019]s\b")
_BOUND = re.compile(rf"\b(since|after|before|until|till)\s+(?:the\s+)?{_TAKEN}", re.IGNORECASE)
_RANGE = re.compile(
    rf"\b(?:between|from)\s+{_TAKEN}\s+(?:and|to|through|until|till)\s+{_TAKEN}", re.IGNORECASE
)


@frozen
class Period:
    """A named time, from `start` up to `end` (ns).

    Attributes:
        weight: The factor for the scores of memories of this time.
        margin: The time (ns) before and after the period in which the factor applies too.
    """

    start: int
    end: int
    weight: float
    margin: int = 0


@frozen
class Span:
    """The time that a question asks about, from `start` up to `end` (ns); None means unbounded.

    Attributes:
        others: The stems of the question's other words.
    """

    start: int | None
    end: int | None
    others: Sequence[str] = ()


def named(text: str, now: int) -> list[Period]:
    """Return the times that a question names.

    Args:
        text: The question.
        now: The moment (ns) to which "yesterday" and "last May" refer.
    """
    return _read(text, now)[0]


def asked(text: str, now: int) -> Span | None:
    """Return the time that a question asks about, and the stems of its other words.

    Several times count if they form one: consecutive days, or "from … to …".

    Args:
        text: The question, without its phrases and exclusions.
        now: The moment (ns) to which relative times refer.

    Example:
        >>> asked("What happened yesterday?", now=2 * times.DAY)
        Span(start=86400000000000, end=172800000000000, others=[])
        >>> asked("Which tests failed yesterday?", now=2 * times.DAY).others
        ['test', 'fail']
    """
    periods, rest = _read(text, now)
    if not periods or rest.count(_TAKEN) != len(periods):
        return None
    rest = _POSSESSIVE.sub(_TAKEN, rest)
    bounds = _BOUND.findall(rest)
    is_range = len(periods) == 2 and _RANGE.search(rest) is not None  # noqa: PLR2004 - from one to the other
    rest = (_RANGE if is_range else _BOUND).sub(" ", rest)
    if is_range:
        span = _from_to(text, *periods)
    elif bounds:
        span = _beside(bounds[0].lower(), periods[0]) if len(periods) == 1 else None
    else:
        span = _in_a_row(periods)
    if span is None:
        return None
    rest = text if _WORD.fullmatch(text.strip()) else rest.replace(_TAKEN, " ")
    return evolve(span, others=analysis.telling_stems(rest))


def weight(periods: Sequence[Period], moment: int) -> float:
    """Return the factor for the score of a memory of a moment (ns)."""
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


def _from_to(text: str, first: Period, last: Period) -> Span | None:
    """Return the time from one period to another, or None if both are weekdays and the first is later.

    On a Wednesday, "from Monday to Friday" may mean this week or the last.
    """
    if len(_OF_WEEKDAYS.findall(text)) == 2 and first.start >= last.start:  # noqa: PLR2004 - of two weekdays
        return None
    return Span(min(first.start, last.start), max(first.end, last.end))


def _in_a_row(periods: Sequence[Period]) -> Span | None:
    """Return the time that several periods form together, or None if there is a gap or an overlap."""
    ordered = sorted({(p.start, p.end) for p in periods})
    if any(end != start for (_, end), (start, _) in pairwise(ordered)):
        return None
    return Span(ordered[0][0], ordered[-1][1])


def _read(text: str, now: int) -> tuple[list[Period], str]:
    """Return the times that a text names, and the text with a mark in place of each unambiguous time."""
    moment = datetime.fromtimestamp(now // times.SECOND, UTC)
    text = text.translate(_ALIKE)
    found: list[Period] = []
    for pattern, read in _READERS:

        def taken(match: re.Match[str], read: _Reader = read) -> str:
            periods = list(read(match, moment))
            found.extend(periods)
            groups = match.groupdict()
            before = groups.get("before") or groups.get("other") or ""
            return f" {before} {_TAKEN} " if periods and _is_sure(match) else match[0]

        text = pattern.sub(taken, text)
    return found, text


def _is_sure(match: re.Match[str]) -> bool:
    """Return whether a match surely is a past time: "Jan" and "April" are also names."""
    if match.re is not _NAMED:
        return True
    before = (match["before"] or "").lower()
    is_dated = match["year"] or match["day"] or match["day_after"]
    return before != "next" and (bool(is_dated) or before in _OF_TIMES)


def _iso(match: re.Match[str], now: datetime) -> Iterator[Period]:  # noqa: ARG001 - as the others are called
    yield from _day_or_month(int(match["year"]), int(match["month"]), match["day"])


def _year(match: re.Match[str], now: datetime) -> Iterator[Period]:  # noqa: ARG001 - as the others are called
    yield _span(date(int(match["year"]), 1, 1), date(int(match["year"]) + 1, 1, 1))


def _of_month(match: re.Match[str], now: datetime) -> Iterator[Period]:
    name, day = match["month"], match["day"] or match["day_after"]
    # These words also have other meanings.
    if name in {"may", "march", "mar"} and not (match["before"] or match["year"] or day):
        return
    if name.lower() in {"may", "march"} and name.islower() and match["before"] in {"this", "by", "on"}:
        return
    month = next(n for n, full in enumerate(_MONTHS, 1) if full.startswith(name.lower()[:3]))
    if match["year"]:
        year = int(match["year"])
    else:
        # The latest one that has begun; in January, "December" is of the previous year.
        is_past = (month, int(day or 1)) <= (now.month, now.day)
        year = now.year if is_past else now.year - 1
        is_last = (match["before"] or "").lower() == "last" and month == now.month
        year -= is_last
    yield from _day_or_month(year, month, day)


def _relative(match: re.Match[str], now: datetime) -> Iterator[Period]:
    today = now.date()
    if match["name"]:
        name = match["name"].lower()
        yield _on(
            today - timedelta(days=1 + ("before" in name) if name.endswith(("yesterday", "night")) else 0)
        )
    elif match["weekday"]:
        if (match["other"] or "").lower() not in _NOT_PAST:
            days = (today.weekday() - _WEEKDAYS.index(match["weekday"].lower()) - 1) % 7 + 1
            yield _on(today - timedelta(days=days))
    elif match["unit"]:
        yield from _ago(now, _number(match["count"]), match["unit"].lower())
    elif match["back"]:
        yield from _back(now, match["back"].lower(), match["number"], match["units"].lower())
    elif match["period"]:
        yield from _period(today, match["period"].lower(), is_last=False)
    else:
        is_last = match["weekend"].lower() == "last" and today.weekday() >= _SATURDAY
        saturday = today - timedelta(days=(today.weekday() - _SATURDAY) % 7 + 7 * is_last)
        yield _span(saturday, saturday + timedelta(days=2))


def _number(text: str) -> int:
    """Return the number that a text names, in digits or as a word."""
    text = " ".join(text.lower().split())
    return int(text) if text.isdigit() else _NUMBERS.get(text) or _VAGUE[text]


def _ago(now: datetime, count: int, unit: str) -> Iterator[Period]:
    today = now.date()
    if unit in _SHORT:
        moment = now - count * _SHORT[unit]
        yield _between(moment - _SHORT[unit], moment + _SHORT[unit], _DAY_WEIGHT)
    elif unit == "day":
        yield _on(today - timedelta(days=count))
    elif unit == "week":
        yield _on(today - timedelta(weeks=count))
    elif unit == "month":
        months = today.year * 12 + today.month - 1 - count
        yield from _day_or_month(months // 12, months % 12 + 1, None)
    elif today.year - count >= _FIRST_YEAR:
        yield _span(date(today.year - count, 1, 1), date(today.year - count + 1, 1, 1))


def _back(now: datetime, word: str, number: str | None, unit: str) -> Iterator[Period]:
    """Yield the time up to now: "the last three days" are today and the three days before."""
    if number is None and word != "past" and unit not in _SHORT:
        if unit != "day":  # "the last day" may be any day
            yield from _period(now.date(), unit, is_last=True)
        return
    count = 1 if number is None else _number(number)
    if unit in _SHORT:
        start = now - count * _SHORT[unit]
    else:
        start = _midnight(now.date() - timedelta(days=count * _DAYS[unit]))
    end = _midnight(now.date() + timedelta(days=1))
    start = max(start, _midnight(date(_FIRST_YEAR, 1, 1)))
    if start < end:
        yield _between(start, end, _PERIOD_WEIGHT)


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
    return _between(_midnight(start), _midnight(end), weight, margin)


def _between(start: datetime, end: datetime, weight: float, margin: int = 0) -> Period:
    return Period(int(start.timestamp()) * times.SECOND, int(end.timestamp()) * times.SECOND, weight, margin)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


_Reader = Callable[[re.Match[str], datetime], Iterator[Period]]
_READERS: Sequence[tuple[re.Pattern[str], _Reader]] = [
    (_ISO, _iso), (_NAMED, _of_month), (_RELATIVE, _relative), (_ONLY_YEAR, _year),
]  # fmt: skip
