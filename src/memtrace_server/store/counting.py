"""Counts of memories, so that statistics need not read them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from memtrace_server import times
from memtrace_server.store.records import NewMemory

PERIOD = 600 * times.SECOND
"""The length of the periods in which recent memories are counted."""

SESSIONS, ACTIVE = "#sessions", "#active"
"""Kinds of counts besides memory types: sessions, and open sessions."""

_Third = TypeVar("_Third", str, int)
Numbers = dict[tuple[int, str, _Third], int]
"""By organisation, agent and a third key; Counter and defaultdict take longer to create."""


class Counts(msgspec.Struct):
    """Changes of counts in a transaction.

    Attributes:
        counts: Memories by organisation, agent and type.
        recent: Memories by organisation, agent and period.
        recent_errors: Errors with the same keys as `recent`, mostly 0.
    """

    counts: Numbers[str] = {}
    recent: Numbers[int] = {}
    recent_errors: Numbers[int] = {}

    def count(self, org: int, memory: NewMemory, now: int) -> None:
        """Add a memory to the counts."""
        self._change(org, memory.agent_id, memory.memory_type, memory.event_type, memory.time, now, 1)

    def remove(  # noqa: PLR0913, PLR0917 - the fields that are counted
        self, org: int, agent_id: str, memory_type: str, event_type: str, time: int, now: int
    ) -> None:
        """Subtract a memory from the counts."""
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
    """Change a number, by default 0."""
    numbers[key] = numbers.get(key, 0) + by
