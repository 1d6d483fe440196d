"""What is counted of memories, so that statistics need not look at them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from memtrace_server import times
from memtrace_server.store.records import NewMemory

PERIOD = 600 * times.SECOND
"""Recent memories are counted in periods of this length, so that nobody needs to count a day of them."""

SESSIONS, ACTIVE = "#sessions", "#active"
"""Kinds of counts besides memory types: sessions, and open sessions."""

_Third = TypeVar("_Third", str, int)
Numbers = dict[tuple[int, str, _Third], int]
"""By organisation, agent and one thing more; neither Counter nor defaultdict, which take longer to make."""


class Counts(msgspec.Struct):
    """By how much counts change in a transaction.

    Attributes:
        counts: By organisation, agent and type.
        recent: By organisation, agent and period.
        recent_errors: Errors among those; of each in `recent`, and 0 of most.
    """

    counts: Numbers[str] = {}
    recent: Numbers[int] = {}
    recent_errors: Numbers[int] = {}

    def count(self, org: int, memory: NewMemory, now: int) -> None:
        """Count a memory in."""
        self._change(org, memory.agent_id, memory.memory_type, memory.event_type, memory.time, now, 1)

    def remove(  # noqa: PLR0913, PLR0917 - what is counted
        self, org: int, agent_id: str, memory_type: str, event_type: str, time: int, now: int
    ) -> None:
        """Count a memory out."""
        self._change(org, agent_id, memory_type, event_type, time, now, -1)

    def _change(  # noqa: PLR0913, PLR0917 - as above
        self, org: int, agent_id: str, memory_type: str, event_type: str, time: int, now: int, by: int
    ) -> None:
        add(self.counts, (org, agent_id, memory_type), by)
        if time > now - times.DAY:
            period = (org, agent_id, time // PERIOD)
            add(self.recent, period, by)
            add(self.recent_errors, period, by if event_type == "error" else 0)


def add(numbers: Numbers[_Third], key: tuple[int, str, _Third], by: int) -> None:
    """Change a number, which was 0 if it is not known."""
    numbers[key] = numbers.get(key, 0) + by
