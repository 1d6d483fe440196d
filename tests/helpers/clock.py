"""Clocks that tests set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from attrs import define


@define
class WallClock:
    """The wall clock of write buffers, which stands still until it is moved."""

    now: datetime

    def move(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Stop the clock by which buffers stamp memories. The private modules are where they read it."""
    clock = WallClock(datetime(2026, 11, 1, 12, tzinfo=UTC))

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(clock.now.timestamp(), tz)

    for module in ("memtrace._async.buffer", "memtrace._sync.buffer"):
        monkeypatch.setattr(f"{module}.datetime", Stopped)
    return clock


@pytest.fixture
def call_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the clock by which calls time out, in seconds. The private module is where it is read."""
    now = [1000.0]
    monkeypatch.setattr("memtrace._retry.monotonic", lambda: now[0])
    return now


@pytest.fixture
def longest_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each delay before a retry be as long as it can be. The private module is where it is drawn."""
    monkeypatch.setattr("memtrace._retry.jitter", lambda: 1.0)
