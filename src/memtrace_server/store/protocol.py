"""What a store can do. Every method but those of orgs and keys speaks of one organisation, by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import msgspec

from memtrace_server.deadlines import Deadline
from memtrace_server.store.records import (
    Agent,
    AgentCounts,
    Answer,
    AuditEntry,
    Candidates,
    Direction,
    Filter,
    Found,
    Key,
    NewMemory,
    Org,
    Session,
    Shown,
    Tail,
    Term,
    Unindexed,
    Wants,
)

T = TypeVar("T")
Outcome = tuple[T | Future[T] | None, BaseException | None]
"""What a work returned, or what it raised; both are None if it returned None.

A future of what it returned says that the work is committed, and that its caller should hear of it later: the
organisation writes faster than its memories can be indexed.
"""


WantsOf = Callable[[], Wants]
"""Returns what a work is going to ask, so that it is read with what others of its group ask."""


class Write(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A write that waits for its turn.

    Attributes:
        run: The work; it may be called again, and only what it did last counts.
        deadline: When nobody waits for it any more.
        org: The organisation whose turn it takes; None for what is the server's own.
        size: Bytes that it writes, as far as is known.
        wants: Returns what the work is going to ask.
    """

    run: Callable[[Transaction], Any]
    deadline: Deadline | None = None
    org: int | None = None
    size: int = 0
    wants: WantsOf | None = None


Told = Callable[[Sequence[tuple[Any, Outcome[Any]]]], None]
"""Is told what came of writes that share a transaction; each outcome has its result, and no future."""


class Transaction(Protocol):
    """One transaction: it sees one state of the store, and all that it writes is kept, or nothing is."""

    def secret(self) -> bytes:
        """Return the store's random secret, with which cursors are signed."""

    def orgs(self) -> list[Org]:
        """Return all organisations."""

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        """Add an organisation and return it, or None if the id or the name is taken."""

    def key(self, digest: bytes) -> Key | None:
        """Return the key with this SHA-256, revoked or not."""

    def keys(self) -> list[Key]:
        """Return all keys."""

    def add_key(self, digest: bytes, key: Key) -> None:
        """Add a key."""

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Revoke the key of this id; False when there is none that is not revoked already."""

    def expire_key(self, key_id: str, moment: int) -> None:
        """Let the key of this id expire at a moment (ns), or earlier if it would anyway."""

    def note_key_use(self, key_id: str, moment: int) -> None:
        """Remember that the key of this id was used at a moment (ns)."""

    def record(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""

    def audit(self) -> list[AuditEntry]:
        """Return the audit log, oldest first."""

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        """Return the response kept under an Idempotency-Key, if not before `since` (ns)."""

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        """Keep an answer."""

    def forget_answers(self, org: int, agent_id: str) -> None:
        """Forget what kept answers tell about an agent, but not that they were given."""

    def next_seq(self, now: int) -> int:
        """Return a row number above all that this process used: `now` (ns), or the last one plus one."""

    def originals(
        self, org: int, fingerprints: Sequence[bytes], since: int, now: int
    ) -> Mapping[bytes, Shown]:
        """Return the first memory of each fingerprint that was stored since then (ns) and still exists."""

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        """Store memories, each under its fingerprint, with their agents and sessions.

        What they supersede is superseded in the same transaction.
        """

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        """Return the id of the memory that each row has, if it has one; None if that is another's."""

    def import_memories(self, org: int, memories: Sequence[NewMemory], now: int) -> None:
        """Store memories in rows that are free, whatever rows were given since.

        One that supersedes a row that is none of the organisation's, or is superseded already, is stored
        without that. Agents and sessions that are named for the first time come into being.
        """

    def import_agents(self, org: int, agents: Sequence[Agent]) -> int:
        """Store agents that do not exist, and return how many they were."""

    def import_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        """Store sessions that do not exist, and return how many they were."""

    def page(  # noqa: PLR0913 - a page is what it is
        self,
        org: int,
        wanted: Filter,
        now: int,
        *,
        order: Direction,
        limit: int,
        after: tuple[int, int] | None = None,
        offset: int = 0,
    ) -> list[Found]:
        """Return memories in order of (time, row), after a (time, row) if one is given."""

    def last_seq(self, org: int) -> int:
        """Return a row number that is at least that of every memory of an organisation; 0 if it has none."""

    def tail_end(self, org: int) -> int:
        """Return the position in an organisation's tail that precedes all later memories."""

    def tail(self, org: int, wanted: Filter, now: int, *, after: int, limit: int) -> Tail:
        """Return memories in the order in which they were stored, after a position.

        It may look no further than some thousand memories.
        """

    def matching(self, org: int, wanted: Filter, now: int) -> Sequence[int]:
        """Return the rows of all memories that match, from the newest on."""

    def memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None = None) -> list[Found]:
        """Return the memories of these rows, in any order, as a page of `wanted` shows them.

        With `now`, only those that have not expired.
        """

    def count_memories(self, org: int) -> int:
        """Return how many memories an organisation has."""

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        """In how many indexed memories each stem is; those that are in none are left out."""

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:
        """Return the rows before one that are not indexed, and which of them match `wanted`."""

    def count_unsearched(self, org: int, wanted: Filter) -> int:
        """Return how many memories a text search cannot find, as they are not indexed yet."""

    def candidates(  # noqa: PLR0913 - a search is what it is
        self, org: int, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        """Return the indexed memories to rank, before a row: those with most weight, then the newest.

        The work is bounded. Of the terms, ordered by their count, the first are looked for until their counts
        add up to some thousands (more where `wanted` leaves few memories); the others only add weight. There
        may be more than `limit` if they have a phrase that few have.
        """

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        """By row: the row after it in its session, of those that match too."""

    def forget(self, org: int, rows: Sequence[int]) -> int:
        """Delete the memories of these rows, and return how many were still there.

        What a deleted memory superseded is superseded by the one that superseded the deleted memory, if any.
        """

    def agent(self, org: int, agent_id: str) -> Agent | None:
        """Return the agent with this id."""

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        """Return agents in order of their id."""

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> bool:
        """Register an agent; False if it is registered."""

    def delete_agent(self, org: int, agent_id: str) -> None:
        """Delete an agent, not its memories."""

    def delete_sessions(self, org: int, agent_id: str, now: int) -> None:
        """Delete an agent's sessions, but for those that hold memories (of other agents)."""

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        """Return counts of what an agent remembers; `recent` counts since a moment (ns)."""

    def session(self, org: int, session_id: str) -> Session | None:
        """Return the session with this id."""

    def sessions(
        self,
        org: int,
        *,
        agent_id: str | None,
        is_active: bool | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[Session]:
        """Sessions, newest first, after a (created_at, id) if one is given."""

    def delete_session(self, org: int, session: Session) -> None:
        """Delete a session, not its memories, and what kept answers say about it."""

    def add_session(self, org: int, session: Session) -> None:
        """Add a session, and its agent if it is new."""

    def update_session(self, org: int, session: Session) -> None:
        """Replace a session's metadata and times."""


class Store(Protocol):
    """A place where memories live. All methods can be called from any thread.

    A `deadline` ends every wait, and every read. The store's own patience ends a wait, too.

    Attributes:
        is_read_only: Whether nothing may be written.
        is_remote: Whether whoever reads waits for another process most of the time, and uses little of the
            processor itself.
    """

    is_read_only: bool
    is_remote: bool

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        """Return the result of `work` in a transaction that writes nothing.

        It waits for nobody who writes. It may be called again when the file was locked.

        Raises:
            StoreUnavailable: The store cannot be read.
            DeadlineExceeded: The deadline was over before the work was done.
        """

    def write(
        self, work: Callable[[Transaction], T], deadline: Deadline | None = None, wants: WantsOf | None = None
    ) -> T:
        """Return the result of `work` once its writes are committed to disk.

        Args:
            work: The work; it may be called again, and only what it did last counts.
            deadline: When nobody waits for it any more.
            wants: Returns what the work is going to ask.

        Raises:
            OutcomeUnknown: The store was lost as it committed.
            StoreBusy: Another process was writing until the deadline; nothing was written.
            StoreReadOnly: Nothing may be written.
            StoreUnavailable: The store could not commit; nothing was written.
        """

    def submit(self, writes: Sequence[Write], told: Told | None = None) -> None:
        """As `write` for each of several writes, without waiting.

        Args:
            writes: The writes; those that wait share transactions, also with those of others.
            told: Is called from another thread once they are committed, or cannot be.

        Raises:
            StoreReadOnly: Nothing may be written.
            StoreUnavailable: The store is closed.
        """

    def version(self) -> int:
        """Return a number that changes with each commit of any process; cheap to read often."""

    def probe(self, deadline: Deadline | None = None) -> None:
        """Commit a write that changes nothing.

        Raises:
            StoreUnavailable: A write would fail, or the file was found damaged since it was opened.
        """

    def check(self) -> Iterator[str]:
        """Everything that is wrong with the store, in words; nothing if it is consistent."""

    def vacuum(self) -> None:
        """Write the store anew, so that nothing is left in it of what was forgotten; others wait meanwhile.

        Raises:
            StoreUnavailable: It could not be done; the store is as it was.
        """

    def backup(self, path: str) -> int:
        """Copy one state of the store to a new file, while others read and write, and verify the copy.

        Returns:
            How many memories the copy has.

        Raises:
            ValueError: There is such a file.
            StoreUnavailable: The copy could not be made; there is no such file then.
        """

    def tend(self) -> None:
        """Remove what has expired also while nobody writes, as a server should; until the store is closed."""

    def close(self) -> None:
        """Finish what was submitted, then let go of everything. Closing twice is fine."""


class StoreUnavailable(Exception):  # noqa: N818 - the state, as in "503 Service Unavailable"
    """The store cannot be read or written now: its disk is full, for instance. Nothing was written.

    Args:
        reason: What is wrong, and what to do about it.
        path: The file or database that it is about; clients elsewhere are not told it.
        detail: What a database or its driver says, such as its address; they are not told that, either.

    Attributes:
        reason: What is wrong, without path and detail.
        detail: What a database or its driver says.
    """

    def __init__(self, reason: str, path: object = None, detail: str | None = None) -> None:
        told = reason if detail is None else f"{reason}: {detail}"
        super().__init__(f"{path}: {told}" if path else told)
        self.reason = reason
        self.detail = detail


class OutcomeUnknown(StoreUnavailable):
    """The store was lost as it committed; what was to be written may have been stored, or not."""


class StoreUnsupported(StoreUnavailable):
    """This kind of store does not do that; the reason names what does."""


class StoreBusy(StoreUnavailable):
    """Another process holds the lock for as long as a caller can wait."""


class StoreNotFound(StoreUnavailable):
    """There is no such store, and none is to be created."""


class StoreReadOnly(Exception):  # noqa: N818 - a state, too
    """The store was opened to be read only."""
