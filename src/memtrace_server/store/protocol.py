"""The protocol of stores. Methods concern one organisation, by its number, except those of orgs and keys."""

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
"""The result of a work, or its exception; both are None if the result is None.

A future of the result means that the work is committed, and that its caller should be informed later, because
the organisation writes faster than its memories can be indexed.
"""


WantsOf = Callable[[], Wants]
"""Returns what a work is going to read, so that a group of works can read in one query."""


class Write(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A queued write.

    Attributes:
        run: The work. It may be called several times, and only its last call counts.
        deadline: When the caller stops waiting.
        org: The organisation whose turn it takes; None for writes of the server itself.
        size: The number of bytes that it writes, as far as known.
        wants: Returns what the work is going to read.
    """

    run: Callable[[Transaction], Any]
    deadline: Deadline | None = None
    org: int | None = None
    size: int = 0
    wants: WantsOf | None = None


Report = Callable[[Sequence[tuple[Any, Outcome[Any]]]], None]
"""Called with the outcomes of writes that shared a transaction; outcomes are final, not futures."""


class Transaction(Protocol):
    """A transaction: it reads one state of the store, and its writes are atomic."""

    def secret(self) -> bytes:
        """Return the store's random secret, which signs cursors."""

    def orgs(self) -> list[Org]:
        """Return all organisations."""

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        """Add an organisation and return it, or None if the id or the name is taken."""

    def key(self, digest: bytes) -> Key | None:
        """Return the key with a SHA-256 digest, also if it is revoked."""

    def keys(self) -> list[Key]:
        """Return all keys."""

    def add_key(self, digest: bytes, key: Key) -> None:
        """Add a key."""

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Revoke a key; return False if it does not exist or was revoked already."""

    def expire_key(self, key_id: str, moment: int) -> None:
        """Let a key expire at a moment (ns), unless it expires earlier."""

    def note_key_use(self, key_id: str, moment: int) -> None:
        """Record that a key was used at a moment (ns)."""

    def record(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""

    def audit(self) -> list[AuditEntry]:
        """Return the audit log, oldest first."""

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        """Return the response stored under an Idempotency-Key since a moment (ns)."""

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        """Store a response under an Idempotency-Key."""

    def forget_answers(self, org: int, agent_id: str) -> None:
        """Remove the bodies of stored responses about an agent, but keep the Idempotency-Keys."""

    def next_seq(self, now: int) -> int:
        """Return a row number greater than all used by this process: `now` (ns), or the last one plus one."""

    def originals(
        self, org: int, fingerprints: Sequence[bytes], since: int, now: int
    ) -> Mapping[bytes, Shown]:
        """Return the first memory of each fingerprint stored since a moment (ns), if it still exists."""

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        """Store memories, each under its fingerprint, with their agents and sessions.

        Memories that they supersede are marked in the same transaction.
        """

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        """Return the id of each row's memory, if it has one; None if it belongs to another organisation."""

    def import_memories(self, org: int, memories: Sequence[NewMemory], now: int) -> None:
        """Store memories in their own rows, which must be free, also below the newest row.

        A memory that supersedes a row which is superseded already, or is not the organisation's, is stored
        without superseding it. Agents and sessions that do not exist yet are created.
        """

    def import_agents(self, org: int, agents: Sequence[Agent]) -> int:
        """Store agents that do not exist yet, and return their number."""

    def import_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        """Store sessions that do not exist yet, and return their number."""

    def page(  # noqa: PLR0913 - a page has many parameters
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
        """Return memories in order of (time, row), optionally after a (time, row)."""

    def last_seq(self, org: int) -> int:
        """Return a row number that no memory of an organisation exceeds; 0 if it has no memories."""

    def tail_end(self, org: int) -> int:
        """Return the position in an organisation's tail that precedes all later memories."""

    def tail(self, org: int, wanted: Filter, now: int, *, after: int, limit: int) -> Tail:
        """Return memories in order of storing, after a position.

        A call may stop after reading some thousand memories.
        """

    def matching(self, org: int, wanted: Filter, now: int) -> Sequence[int]:
        """Return the rows of all memories that match, newest first."""

    def memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None = None) -> list[Found]:
        """Return the memories with some rows, in any order, as a page of `wanted` shows them.

        With `now`, expired memories are left out.
        """

    def count_memories(self, org: int) -> int:
        """Return the number of an organisation's memories."""

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        """Return, for each stem that occurs, the number of indexed memories that have it."""

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:
        """Return the unindexed memories below a row, and which of them match `wanted`."""

    def count_unsearched(self, org: int, wanted: Filter) -> int:
        """Return the number of memories that a text search cannot find because they are not indexed yet."""

    def candidates(  # noqa: PLR0913 - a search has many parameters
        self, org: int, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        """Return the indexed memories to rank, below a row: those with most weight, then the newest.

        The work is bounded. Terms are searched in order of their count until the counts add up to some
        thousands (more if few memories match `wanted`); the other terms only add weight. The result may have
        more than `limit` memories if they contain a rare phrase.
        """

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        """Return, by row, the next row in each memory's session that matches, too."""

    def forget(self, org: int, rows: Sequence[int]) -> int:
        """Delete the memories with some rows, and return how many existed.

        A memory that a deleted one superseded is then superseded by the memory that superseded the deleted
        one, if any.
        """

    def agent(self, org: int, agent_id: str) -> Agent | None:
        """Return the agent with this id."""

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        """Return agents in order of their id."""

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> bool:
        """Register an agent; return False if it is registered already."""

    def delete_agent(self, org: int, agent_id: str) -> None:
        """Delete an agent, but not its memories."""

    def delete_sessions(self, org: int, agent_id: str, now: int) -> None:
        """Delete an agent's sessions, except those with unexpired memories (of other agents)."""

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        """Return counts of an agent's memories and sessions; `recent` counts since a moment (ns)."""

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
        """Return sessions, newest first, optionally after a (created_at, id)."""

    def delete_session(self, org: int, session: Session) -> None:
        """Delete a session and stored responses about it, but not its memories."""

    def add_session(self, org: int, session: Session) -> None:
        """Add a session, and its agent if that does not exist."""

    def update_session(self, org: int, session: Session) -> None:
        """Replace a session's metadata and times."""


class Store(Protocol):
    """A store of memories. All methods can be called from any thread.

    Waits and reads end at their `deadline`. Waits also end after the store's own time limit.

    Attributes:
        is_read_only: Whether the store is read only.
        is_remote: Whether reads mostly wait for another process, and use little CPU in this one.
    """

    is_read_only: bool
    is_remote: bool

    def read(self, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> T:
        """Return the result of `work` in a transaction that does not write.

        Reads never wait for writers. `work` may be called again if the file was locked.

        Raises:
            StoreUnavailable: The store cannot be read.
            DeadlineExceeded: The deadline passed before the work was done.
        """

    def write(
        self, work: Callable[[Transaction], T], deadline: Deadline | None = None, wants: WantsOf | None = None
    ) -> T:
        """Return the result of `work` once its writes are committed to disk.

        Args:
            work: The work. It may be called several times, and only its last call counts.
            deadline: When the caller stops waiting.
            wants: Returns what the work is going to read.

        Raises:
            OutcomeUnknown: The store was lost during the commit.
            StoreBusy: Another process was writing until the deadline; nothing was written.
            StoreReadOnly: The store is read only.
            StoreUnavailable: The store could not commit; nothing was written.
        """

    def submit(self, writes: Sequence[Write], report: Report | None = None) -> None:
        """Queue several writes without waiting; each is carried out like a call of `write`.

        Args:
            writes: The writes. Queued writes share transactions, also with writes of other callers.
            report: Called from another thread when they have been committed or have failed.

        Raises:
            StoreReadOnly: The store is read only.
            StoreUnavailable: The store is closed.
        """

    def version(self) -> int:
        """Return a number that changes with each commit of any process; cheap to read often."""

    def probe(self, deadline: Deadline | None = None) -> None:
        """Commit a write that changes nothing.

        Raises:
            StoreUnavailable: Writes fail, or damage has been found since the file was opened.
        """

    def check(self) -> Iterator[str]:
        """Yield a description of each fault of the store; nothing if it is consistent."""

    def vacuum(self) -> None:
        """Rewrite the store without any trace of forgotten memories; writes wait meanwhile.

        Raises:
            StoreUnavailable: The store could not be rewritten, and has not changed.
        """

    def backup(self, path: str) -> int:
        """Copy one state of the store to a new file, and verify the copy; the store may be in use.

        Returns:
            The number of memories in the copy.

        Raises:
            ValueError: The file exists.
            StoreUnavailable: The copy could not be made, and the file does not exist.
        """

    def tend(self) -> None:
        """Start to remove expired memories also while there are no writes, until the store is closed."""

    def close(self) -> None:
        """Finish submitted writes and release all resources. Closing twice is allowed."""


class StoreUnavailable(Exception):  # noqa: N818 - the state, as in "503 Service Unavailable"
    """The store cannot be read or written now, for instance because the disk is full. Nothing was written.

    Args:
        reason: What is wrong, and what to do about it.
        path: The file or database; not shown to remote clients.
        detail: The message of a database or its driver, which may have its address; not shown to remote
            clients.

    Attributes:
        reason: What is wrong, without path and detail.
        detail: The message of a database or its driver.
    """

    def __init__(self, reason: str, path: object = None, detail: str | None = None) -> None:
        message = reason if detail is None else f"{reason}: {detail}"
        super().__init__(f"{path}: {message}" if path else message)
        self.reason = reason
        self.detail = detail


class OutcomeUnknown(StoreUnavailable):
    """The store was lost during a commit; the write may have been stored or not."""


class StoreUnsupported(StoreUnavailable):
    """This kind of store does not support the operation; the reason names an alternative."""


class StoreBusy(StoreUnavailable):
    """Another process held the lock until the caller's deadline."""


class StoreNotFound(StoreUnavailable):
    """The store does not exist, and must not be created."""


class StoreReadOnly(Exception):  # noqa: N818 - a state, too
    """The store was opened read only."""
