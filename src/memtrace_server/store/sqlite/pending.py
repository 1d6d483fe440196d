"""What a transaction has taken in and not yet written.

A group of small writes becomes a few large ones: each table is written once a group, not once a memory, which
was measured to halve the time. Whoever reads what may wait here writes it out first (`SqliteTransaction`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import define, field

from memtrace_server.store.counting import Counts
from memtrace_server.store.records import NewMemory
from memtrace_server.store.sqlite import queries

_LONG = 2_000  # characters of a document that are as much work to index as one more memory

Row = tuple[object, ...]


def weight(length: int) -> int:
    """How much work it is to index a memory of so many characters: 1 for a short one."""
    return 1 + length // _LONG


@define
class Pending(Counts):
    """Rows for each table, in the order in which they came.

    Attributes:
        additions: How many memories were added, written out or not.
        weights: By organisation, how much work it is to index them.
        latest: By organisation, the latest time of all its memories.
        texts: Long texts: the index of the memory of each, its organisation, and the text.
        staged: The rows of texts that are staged.
        answers: By organisation and key.
        agents: When each agent, by organisation and id, was last active.
        sessions: For each session, by organisation and id: its agent, and when it was first named.
        superseded: The row of each memory that was superseded, the row that supersedes it, and when (ns).
    """

    additions: int = 0
    weights: Counter[int] = field(factory=Counter)
    memories: list[Row] = field(factory=list)
    texts: list[tuple[int, int, str]] = field(factory=list)
    staged: list[int] = field(factory=list)
    unindexed: list[Row] = field(factory=list)
    labels: list[Row] = field(factory=list)
    duplicates: list[Row] = field(factory=list)
    fingerprints: set[tuple[int, bytes]] = field(factory=set)
    superseded: list[tuple[int, int, int]] = field(factory=list)
    latest: dict[int, int] = field(factory=dict)
    answers: dict[tuple[int, str], Row] = field(factory=dict)
    agents: dict[tuple[int, str], int] = field(factory=dict)
    sessions: dict[tuple[int, str], tuple[str, int]] = field(factory=dict)

    def emptied(self) -> Pending:
        """The same without rows; what was added stays counted."""
        return Pending(additions=self.additions, weights=self.weights)

    def add(
        self,
        org: int,
        memories: Iterable[tuple[bytes, NewMemory]],
        now: int,
        long: Mapping[int, int | None],
    ) -> None:
        """Take in memories, with all that follows from them.

        Args:
            org: Their organisation.
            memories: Each with its fingerprint.
            now: The moment, in ns.
            long: The rows of those that are long, each with the row of its text if that is staged.
        """
        for fingerprint, m in memories:
            text = None
            if m.seq not in long:
                rest = m.moments + m.rest
            else:
                rest, text = m.moments, long[m.seq]
                if text is None:
                    self.texts.append((len(self.memories), org, m.rest))
                else:
                    self.staged.append(text)
            self.memories.append(
                (
                    m.seq, org, m.agent_id, m.session_id, m.memory_type, m.event_type, m.time, m.importance,
                    m.created_at, m.expires_at, m.supersedes, m.id[4:], rest, text,
                )
            )  # fmt: skip
            self.unindexed.append((org, m.seq))
            self.weights[org] += weight(len(m.rest))
            for label in queries.labels(m.memory_type, m.event_type, m.tags):
                self.labels.append((org, label, 0, m.time, m.seq))
            # The row tells when it was stored even if the clock is behind, and if it is ahead, for a while.
            self.duplicates.append((org, fingerprint, m.seq, m.seq))
            self.fingerprints.add((org, fingerprint))
            if m.supersedes is not None:
                self.superseded.append((m.supersedes, m.seq, m.created_at))
            self.agents[org, m.agent_id] = now
            if m.session_id is not None:
                self.sessions.setdefault((org, m.session_id), (m.agent_id, now))
            self.additions += 1
            self.count(org, m, now)
