"""What is counted of memories, so that statistics need not look at them."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

from attrs import define, field

from memtrace_server import times
from memtrace_server.store.records import NewMemory

PERIOD = 600 * times.SECOND
"""Recent memories are counted in periods of this length, so that nobody needs to count a day of them."""

SESSIONS, ACTIVE = "#sessions", "#active"
"""Kinds of counts besides memory types: sessions, and open sessions."""

_Third = TypeVar("_Third", str, int)
Numbers = defaultdict[tuple[int, str, _Third], int]
"""By organisation, agent and one thing more; no Counter, which takes a microsecond to make."""


@define
class Counts:
    """By how much counts change in a transaction.

    Attributes:
        counts: By organisation, agent and type.
        recent: By organisation, agent and period: memories, and errors among them.
    """

    counts: Numbers[str] = field(factory=lambda: defaultdict(int))
    recent: Numbers[int] = field(factory=lambda: defaultdict(int))
    recent_errors: Numbers[int] = field(factory=lambda: defaultdict(int))

    def count(self, org: int, memory: NewMemory, now: int) -> None:
        """Count a memory in."""
        self.counts[org, memory.agent_id, memory.memory_type] += 1
        if memory.time > now - times.DAY:
            self._count_recent(org, memory.agent_id, memory.event_type, memory.time, 1)

    def remove(  # noqa: PLR0913, PLR0917 - what is counted
        self, org: int, agent_id: str, memory_type: str, event_type: str, time: int, now: int
    ) -> None:
        """Count a memory out."""
        self.counts[org, agent_id, memory_type] -= 1
        if time > now - times.DAY:
            self._count_recent(org, agent_id, event_type, time, -1)

    def _count_recent(self, org: int, agent_id: str, event_type: str, time: int, by: int) -> None:
        self.recent[org, agent_id, time // PERIOD] += by
        if event_type == "error":
            self.recent_errors[org, agent_id, time // PERIOD] += by
