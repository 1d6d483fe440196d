"""Times that a question names, in English: "in March 2025", "5 May", "yesterday", "last week", "2024-03-05".

A parser for dates in free text (dateparser, parsedatetime) finds dates in sentences that name none ("may",
"second", "march on"), and takes milliseconds. A question that is ranked needs the few forms below, and must
not pay for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from attrs import frozen

from memtrace_server import times

_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
]  # fmt: skip
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_FIRST_YEAR, _LAST_YEAR = 1970, 2261  # that nanoseconds since 1970 can tell
_DAY_WEIGHT, _PERIOD_WEIGHT = 5.0, 3.0
_NEAR = timedelta(days=3)

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


@frozen
class Period:
    """A time that was named: from `start` up to `end` (ns), and how much more memories of it count."""

    start: int
    end: int
    weight: float


def named(text: str, now: int) -> list[Period]:
    """Return the times that a question names, relative ones as of `now` (ns).

    Args:
        text: The question.
        now: The moment against which "yesterday" and "last May" are told.
    """
    today = datetime.fromtimestamp(now // times.SECOND, UTC).date()
    found: list[Period] = []
    for find in (_iso, _of_month, _relative):
        text, periods = find(text, today)
        found += periods
    found += [_span(date(int(match["year"]), 1, 1), date(int(match["year"]) + 1, 1, 1))
              for match in _ONLY_YEAR.finditer(text)]  # fmt: skip
    return found


def weight(periods: Sequence[Period], moment: int) -> float:
    """Return how much more a memory of this moment (ns) counts."""
    return max((p.weight for p in periods if p.start <= moment < p.end), default=1.0)


def _iso(text: str, today: date) -> tuple[str, list[Period]]:  # noqa: ARG001 - as the others are called
    found: list[Period] = []
    for match in _ISO.finditer(text):
        year, month = int(match["year"]), int(match["month"])
        found += _day_or_month(year, month, match["day"])
    return _ISO.sub(" ", text), found


def _of_month(text: str, today: date) -> tuple[str, list[Period]]:
    found: list[Period] = []
    for match in _NAMED.finditer(text):
        name, day = match["month"], match["day"] or match["day_after"]
        # Both are words of other meanings too.
        if name in {"may", "march", "mar"} and not (match["before"] or match["year"] or day):
            continue
        if name.lower() in {"may", "march"} and name.islower() and match["before"] in {"this", "by", "on"}:
            continue
        month = next(n for n, full in enumerate(_MONTHS, 1) if full.startswith(name.lower()[:3]))
        if match["year"]:
            years = [int(match["year"])]
        else:
            # The latest that has begun: of a year's last month, that of the year before.
            is_past = (month, int(day or 1)) <= (today.month, today.day)
            year = today.year if is_past else today.year - 1
            is_last = (match["before"] or "").lower() == "last" and month == today.month
            years = [year - 1 if is_last else year]
        for year in years:
            found += _day_or_month(year, month, day)
    return _NAMED.sub(" ", text), found


def _relative(text: str, today: date) -> tuple[str, list[Period]]:
    found: list[Period] = []
    for match in _RELATIVE.finditer(text):
        if match["name"]:
            is_before = match["name"].lower() in {"yesterday", "last night"}
            found.append(_around(today - timedelta(days=is_before)))
        elif match["unit"]:
            count = _NUMBERS.get(match["count"].lower()) or int(match["count"])
            found += _ago(today, count, match["unit"].lower())
        elif match["weekday"] or match["period"].lower() in _WEEKDAYS:
            weekday = _WEEKDAYS.index((match["weekday"] or match["period"]).lower())
            found.append(_around(today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1)))
        else:
            found += _period(today, match["period"].lower(), is_last=match["which"].lower() == "last")
    return _RELATIVE.sub(" ", text), found


def _ago(today: date, count: int, unit: str) -> Iterator[Period]:
    if unit == "day":
        yield _around(today - timedelta(days=count))
    elif unit == "week":
        yield _around(today - timedelta(weeks=count))
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
        yield _around(date(year, month, int(day)))
    except ValueError:  # such as 31 April
        yield from _day_or_month(year, month, None)


def _around(day: date) -> Period:
    return _span(day - _NEAR, day + _NEAR + timedelta(days=1), _DAY_WEIGHT)


def _span(start: date, end: date, weight: float = _PERIOD_WEIGHT) -> Period:
    return Period(_moment(start), _moment(end), weight)


def _moment(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * times.SECOND
