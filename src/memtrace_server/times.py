"""Points in time: RFC 3339 outside, whole nanoseconds since 1970 (UTC) inside.

Nanoseconds, because deployed 0.x servers write nine digits and an import must not lose any.
"""

from __future__ import annotations

import functools
import logging
import time
from calendar import timegm

_LOG = logging.getLogger("memtrace_server")

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
_JUMP = 60 * SECOND
_SETTLED = 3_600 * SECOND
_BEGINNING = -(1 << 63)  # the first moment that the store can compare with
_DIGITS = 6  # of a duration's number, as in the contract's `Duration`
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Clock:
    """Watches for a machine's clock that was set back behind what is stored."""

    def __init__(self) -> None:
        self._behind = 0

    def compare(self, newest: int, moment: int) -> None:
        """Log a warning if the clock is further behind the newest row than it was (both in ns)."""
        behind = newest - moment
        if behind > self._behind + SECOND:
            _LOG.warning(
                "The clock is %.0f s behind the newest memory, which was stored while it was ahead;"
                " new memories have the clock's time",
                behind / SECOND,
            )
        self._behind = max(behind, 0)


class Pace:
    """Watches whether the clock goes as time does, so that it can be trusted to say what is old.

    A clock that is far ahead for a moment must not have everything deleted that a day or a lifetime ends.
    """

    def __init__(self) -> None:
        self._ahead: int | None = None
        self._set_at: int | None = None

    def is_steady(self) -> bool:
        """Return whether the clock was not set within the last hour, as far as earlier calls tell."""
        moment, passed = now(), uptime()
        ahead = moment - passed
        if self._ahead is not None and abs(ahead - self._ahead) > _JUMP:
            _LOG.info(
                "The clock was set by %.0f s; nothing is swept for an hour", (ahead - self._ahead) / SECOND
            )
            self._set_at = passed
        self._ahead = ahead
        return self._set_at is None or passed - self._set_at >= _SETTLED


def now() -> int:
    """Return this moment."""
    return time.time_ns()


def uptime() -> int:
    """Return nanoseconds of a monotonic clock."""
    return time.monotonic_ns()


def parse(text: str) -> int:
    """Return the moment of an RFC 3339 timestamp that matches the contract's `Timestamp`."""
    date, clock = text[:10], text[11:]
    zone_at = max(clock.find("Z"), clock.find("+"), clock.find("-"))
    hours, minutes, seconds = clock[:zone_at].split(":")
    whole, _, fraction = seconds.partition(".")
    year, month, day = date.split("-")
    moment = timegm((int(year), int(month), int(day), int(hours), int(minutes), int(whole)))
    zone = clock[zone_at:]
    if zone != "Z":
        offset = int(zone[1:3]) * 3_600 + int(zone[4:6]) * 60
        moment -= offset if zone[0] == "+" else -offset
    return moment * SECOND + int(fraction.ljust(9, "0") or 0)


def parse_point(text: str, at: int) -> int:
    """Return the moment of a `TimePoint`: a timestamp, or a duration before `at`."""
    unit = _UNITS.get(text[-1])
    if unit is None:
        return parse(text)
    return max(at - int(text[:-1]) * unit * SECOND, _BEGINNING)


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration such as `90d`.

    Raises:
        ValueError: It is not a duration.
    """
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is None or not number.isdecimal() or not 0 < int(number) < 10**_DIGITS:
        raise ValueError(
            f"{text!r} is not a duration; give a whole number above 0 and one of s, m, h, d, w: 90d"
        )
    return int(number) * unit * SECOND


def render(moment: int) -> str:
    """Return a moment as RFC 3339 in UTC, with six fractional digits, or nine if it needs them."""
    seconds, fraction = divmod(moment, SECOND)
    digits = f"{fraction:09d}"
    return f"{_render_second(seconds)}.{digits.removesuffix('000')}Z"


@functools.lru_cache(maxsize=16)  # most are of this moment
def _render_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
