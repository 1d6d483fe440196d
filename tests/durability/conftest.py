"""Fixtures of the durability tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from durability.in_process import InProcess, Tenant
from helpers.clock import Clock

from memtrace_server import times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the clock of every server in this process."""
    clock = Clock(times.parse("2026-11-01T12:00:00Z"))
    monkeypatch.setattr(times, "now", lambda: clock.now)
    monkeypatch.setattr(times, "uptime", lambda: clock.uptime)
    return clock


@pytest.fixture
def in_process(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[InProcess]:
    """Return a server in this process, on a new store."""
    assert times.now() == clock.now  # otherwise the server would see time run backwards
    is_postgres = getattr(request, "param", "sqlite") == "postgres"
    with InProcess(
        request.getfixturevalue("postgres_url") if is_postgres else tmp_path / "memtrace.db"
    ) as server:
        yield server


@pytest.fixture
def tenant(in_process: InProcess) -> Tenant:
    """Return an organisation of the server in this process."""
    return in_process.tenant()
