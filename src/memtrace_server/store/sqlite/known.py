"""Facts that transactions know of a store, so that the next transaction need not read them."""

from __future__ import annotations

from attrs import define, field

from memtrace_server.store.pending import Pair, Pending

_MOST = 10_000  # agents and sessions


@define
class Order:
    """The order of an organisation's rows.

    Attributes:
        is_kept: Whether rows rise with their times.
        has_future: Whether any row ever had a time after its storing.
        latest: The latest time (ns) and its last row; None if not known.
    """

    is_kept: bool
    has_future: bool
    latest: tuple[int, int] | None = None


@define
class Known:
    """Cached facts about a store, valid until another connection writes.

    Attributes:
        version: SQLite's `data_version`, which changes when another connection has written.
        last_seq: The last row of a memory.
        entries: The last entry in the full-text index, by organisation.
        orders: The order of rows, by organisation.
        agents: Some existing agents, with their organisation.
        sessions: Some existing sessions, with their organisation.
    """

    version: int = 0
    last_seq: int | None = None
    entries: dict[int, int] = field(factory=dict)
    orders: dict[int, Order] = field(factory=dict)
    agents: set[Pair] = field(factory=set)
    sessions: set[Pair] = field(factory=set)

    def clear(self) -> None:
        """Drop all facts."""
        self.last_seq = None
        for known in (self.entries, self.orders, self.agents, self.sessions):
            known.clear()

    def add(self, pending: Pending) -> None:
        """Add the facts of written changes."""
        if pending.is_imported:  # imported memories keep their own rows
            self.last_seq = None
        if len(self.agents) + len(self.sessions) > _MOST:
            self.agents.clear()
            self.sessions.clear()
        self.agents.update(pending.agents)
        self.sessions.update(pending.sessions)
