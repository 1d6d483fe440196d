"""Clocks that tests set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from attrs import define

from memtrace_server import times


@define
class WallClock:
    """The wall clock of write buffers, which tests move."""

    now: datetime

    def move(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.now += timedelta(seconds=seconds)


@define
class Clock:
    """The server's clock in ns, which tests move."""

    now: int
    uptime: int = 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * times.SECOND)
        self.uptime += round(seconds * times.SECOND)

    def set_by(self, seconds: float) -> None:
        """Set the clock without passing time."""
        self.now += round(seconds * times.SECOND)

    def moment(self) -> datetime:
        """Return the server's time."""
        return datetime.fromtimestamp(self.now / times.SECOND, UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the clock of every embedded server."""
    clock = Clock(times.now() // times.SECOND * times.SECOND)
    monkeypatch.setattr(times, "now", lambda: clock.now)
    monkeypatch.setattr(times, "uptime", lambda: clock.uptime)
    return clock


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Stop the clock of buffers, which a private module reads."""
    clock = WallClock(datetime(2026, 11, 1, 12, tzinfo=UTC))

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(clock.now.timestamp(), tz)

    monkeypatch.setattr("memtrace._buffer.datetime", Stopped)
    return clock


@pytest.fixture
def call_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the clock of timeouts, in seconds, which a private module reads."""
    now = [1000.0]
    monkeypatch.setattr("memtrace._retry.monotonic", lambda: now[0])
    return now


@pytest.fixture
def longest_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each delay before a retry have its maximum."""
    monkeypatch.setattr("random.SystemRandom.random", lambda _: 1.0)
