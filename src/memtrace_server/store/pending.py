"""The unwritten changes of a transaction, the same for every store.

A group of small writes becomes a few large ones: each table is written once per group instead of once per
memory, which halves the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtrace_server.store.counting import Counts
from memtrace_server.store.records import Answer, NewMemory, Session

Pair = tuple[int, str]
"""An organisation and an id in it."""


class Kept(msgspec.Struct, frozen=True):
    """A stored response with its moment (ns).

    Attributes:
        replaced: The moment of the response that it replaces; None if there was none.
    """

    answer: Answer
    at: int
    replaced: int | None = None


class Said(msgspec.Struct, frozen=True):
    """The fingerprint of a new memory.

    Attributes:
        is_first: Whether no memory with the fingerprint was found; another server may store one meanwhile.
        replaced: The previous row of the fingerprint, if that is not an original any more.
    """

    org: int
    fingerprint: bytes
    seq: int
    is_first: bool = False
    replaced: int | None = None


class Activity(msgspec.Struct):
    """The moments (ns) at which an agent was first and last active in a transaction."""

    first: int
    last: int


class Pending(Counts):
    """Unwritten changes, in order of arrival. It is a struct because each write creates two of them.

    Attributes:
        is_imported: Whether the memories keep their own rows, which may be below the newest row.
        memories: By organisation and row.
        said: The fingerprints of new memories.
        fingerprints: By organisation and fingerprint, the first memory that has it.
        superseded: By organisation and row, the memory that supersedes it.
        answers: By organisation and key.
        agents: The active agents.
        sessions: The sessions to add, unless they exist.
        size: The number of characters of the rests of all memories.
    """

    is_imported: bool = False
    memories: dict[tuple[int, int], NewMemory] = msgspec.field(default_factory=dict)
    said: list[Said] = msgspec.field(default_factory=list)
    fingerprints: dict[tuple[int, bytes], NewMemory] = msgspec.field(default_factory=dict)
    superseded: dict[tuple[int, int], NewMemory] = msgspec.field(default_factory=dict)
    answers: dict[Pair, Kept] = msgspec.field(default_factory=dict)
    agents: dict[Pair, Activity] = msgspec.field(default_factory=dict)
    sessions: dict[Pair, Session] = msgspec.field(default_factory=dict)
    size: int = 0

    def is_empty(self) -> bool:
        """Return whether there are no changes."""
        return not (
            self.memories or self.superseded or self.answers or self.agents or self.counts or self.recent
        )

    def add(self, org: int, memory: NewMemory, now: int) -> None:
        """Add a memory, and mark the memory that it supersedes."""
        self.memories[org, memory.seq] = memory
        self.size += len(memory.rest)
        self.count(org, memory, now)
        if memory.supersedes is not None:
            self.superseded[org, memory.supersedes] = memory

    def say(self, said: Said, memory: NewMemory) -> None:
        """Add a memory's fingerprint."""
        self.said.append(said)
        self.fingerprints.setdefault((said.org, said.fingerprint), memory)

    def touch(self, org: int, agent_id: str, now: int) -> None:
        """Add an agent if it does not exist, and set it active now."""
        known = self.agents.setdefault((org, agent_id), Activity(now, now))
        known.last = now

    def start(self, org: int, session: Session) -> None:
        """Add a session if it does not exist."""
        self.sessions.setdefault((org, session.id), session)

    def by_org(self) -> dict[int, list[NewMemory]]:
        """Return the memories by organisation."""
        found: dict[int, list[NewMemory]] = {}
        for (org, _), memory in self.memories.items():
            found.setdefault(org, []).append(memory)
        return found


class Gone(msgspec.Struct, frozen=True):
    """The fields of a memory that are read before it is deleted."""

    seq: int
    agent_id: str
    memory_type: str
    event_type: str
    time: int
    supersedes: int | None
    superseded_by: int | None


class Link(msgspec.Struct, frozen=True):
    """A row that supersedes another after the rows between them are deleted; either may be missing."""

    older: int | None
    newer: int | None


def links(gone: Sequence[Gone]) -> list[Link]:
    """Return the links that close the gaps between what memories superseded and what superseded them."""
    by_row = {each.seq: each for each in gone}
    found: list[Link] = []
    for each in gone:
        if each.superseded_by in by_row:
            continue
        older = each.supersedes
        while older is not None and older in by_row:
            older = by_row[older].supersedes
        found.append(Link(older, each.superseded_by))
    return found
