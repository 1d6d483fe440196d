"""Records that stores take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from attrs import evolve, frozen

Direction = Literal["asc", "desc"]

# A memory is important from this importance on, or, without an importance, with one of these types or event
# types.
IMPORTANT = 0.7
IMPORTANT_TYPES = ("decision", "entity")
IMPORTANT_EVENTS = ("decision", "error")


@frozen(kw_only=True)
class Key:
    """An API key, known by the SHA-256 of its text; times in ns.

    Attributes:
        last_used_at: When the key was last used, to the minute.
        agent_id: The agent to whose memories the key is limited.
    """

    id: str
    org: int
    org_id: str
    role: str
    name: str
    created_at: int
    revoked_at: int | None = None
    expires_at: int | None = None
    last_used_at: int | None = None
    agent_id: str | None = None


class Wants(msgspec.Struct, frozen=True, kw_only=True):
    """What a write is going to read, so that a store can read it for many writes at once.

    Attributes:
        digest: The digest of the API key; None if no key is needed.
        org: The organisation, if no key is needed.
        key: The Idempotency-Key.
        fingerprints: The fingerprints of memories that are compared.
    """

    digest: bytes | None = None
    org: int | None = None
    key: str | None = None
    fingerprints: Sequence[bytes] = ()


@frozen(kw_only=True)
class AuditEntry:
    """A privileged action, without any content of memories.

    Attributes:
        at: When the action happened, in ns.
        actor: The id of the key, or `local` for a command on the store.
        org_id: The organisation, if the action concerns one.
        action: The name of the action.
        subject: The id of the object of the action.
        request_id: The id of the request.
        details: Further facts, as JSON.
    """

    at: int
    actor: str
    org_id: str | None
    action: str
    subject: str | None = None
    request_id: str | None = None
    details: Mapping[str, Any]


@frozen(kw_only=True)
class Org:
    """An organisation (tenant); `number` identifies it in the store's tables."""

    number: int
    id: str
    name: str
    created_at: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A stored memory: its row, its time (ns), and its JSON document.

    A page has a hundred of them, and a struct is created in a third of the time of an attrs class.

    Attributes:
        superseded_by: Id of the memory that supersedes this one, if superseded memories are requested.
    """

    seq: int
    time: int
    doc: str
    superseded_by: str | None = None


class NewMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A memory to store.

    Attributes:
        seq: The row, which grows in order of storing, whatever the memory's time.
        time: When the event happened, in ns.
        id: The memory's id.
        head: The beginning of the document: organisation, id, agent, session and types.
        moments: The beginning of a JSON object with the time, and the other moments if they differ from it.
        rest: The end of that object: the other fields of the document. It is the same when a write is
            repeated.
        created_at: When the memory is stored, in ns.
        expires_at: When the memory expires, in ns.
        supersedes: The row of the memory that this one supersedes; no other memory supersedes it.
    """

    seq: int
    time: int
    id: str
    head: str = ""
    moments: str = ""
    rest: str
    agent_id: str
    session_id: str | None
    memory_type: str
    event_type: str
    importance: float | None
    created_at: int
    expires_at: int | None
    tags: Sequence[str]
    supersedes: int | None = None

    superseded_by: ClassVar[None] = None

    @property
    def doc(self) -> str:
        """The memory as JSON, which is composed on each access, as a long one takes long."""
        return f"{self.head}{self.moments[1:]}{self.rest}"


Shown = Found | NewMemory
"""A memory in a response, stored earlier or now."""


@frozen(kw_only=True)
class Words:
    """Required and excluded words of a memory's text, as `search.analysis` makes them.

    Attributes:
        stems: Stems of which the text must have at least one; None for no such condition. If empty, nothing
            matches.
        phrases: Sequences of words that the content must have.
        unwanted: Sequences of words that the content must not have.
    """

    stems: Sequence[str] | None = None
    phrases: Sequence[Sequence[str]] = ()
    unwanted: Sequence[Sequence[str]] = ()


@frozen(kw_only=True)
class Filter:
    """Conditions of memories, which must all hold. Times are in ns; `until` itself is excluded.

    Attributes:
        as_of: Only memories that were stored by then, and were not superseded or expired by then.
        include_superseded: Whether memories match that were superseded, now or by `as_of`.
        is_important: Only important memories, by `IMPORTANT` and the important types.
    """

    agent_id: str | None = None
    session_id: str | None = None
    memory_types: Sequence[str] = ()
    event_types: Sequence[str] = ()
    tags: Sequence[str] = ()
    since: int | None = None
    until: int | None = None
    min_importance: float | None = None
    is_important: bool = False
    metadata: Mapping[str, Any] | None = None
    contains: str | None = None
    words: Words | None = None
    as_of: int | None = None
    include_superseded: bool = False

    def without_future(self) -> Filter:
        """Return an equivalent filter for logs without future times, bounded by `as_of`."""
        if self.as_of is None:
            return self
        until = self.as_of + 1 if self.until is None else min(self.until, self.as_of + 1)
        return evolve(self, until=until)


@frozen(kw_only=True)
class Term:
    """A stem to search for.

    Attributes:
        stem: The stem.
        weight: The weight that a memory with the stem gains.
        count: The number of the organisation's memories with the stem.
    """

    stem: str
    weight: float
    count: int


@frozen(kw_only=True)
class Candidates:
    """The memories that a search ranks.

    Attributes:
        found: The memories with the greatest weight of terms.
        is_complete: Whether `found` contains every memory that has any of the terms.
    """

    found: Sequence[Found]
    is_complete: bool


@frozen(kw_only=True)
class Tail:
    """A page of memories in order of storing.

    Attributes:
        found: The memories.
        positions: The position after each memory.
        end: The position up to which memories were read; no memory is stored before it later.
        last: The position of the last stored memory.
    """

    found: Sequence[Found]
    positions: Sequence[int]
    end: int
    last: int


@frozen(kw_only=True)
class Unindexed:
    """Memories that are not indexed yet.

    Attributes:
        found: The newest unindexed memories, up to the number that a search scans.
        matching: The rows of the memories in `found` that match the filter.
        missed: The number of other unindexed memories.
    """

    found: Sequence[Found] = ()
    matching: frozenset[int] = frozenset()
    missed: int = 0


@frozen(kw_only=True)
class Agent:
    """An agent; times in ns, `config` as JSON."""

    id: str
    is_registered: bool
    description: str | None
    config: str | None
    created_at: int
    last_active_at: int | None


@frozen(kw_only=True)
class Session:
    """A session; times in ns, `metadata` as JSON."""

    id: str
    agent_id: str
    metadata: str | None
    created_at: int
    updated_at: int
    closed_at: int | None


@frozen(kw_only=True)
class AgentCounts:
    """Counts of an agent's memories and sessions."""

    memory_types: Mapping[str, int]
    recent: int
    recent_errors: int
    sessions: int
    active_sessions: int


@frozen(kw_only=True)
class Answer:
    """The first response to a write with an Idempotency-Key.

    The memories of a response are stored as row numbers, not as text, so that a forgotten memory is forgotten
    here, too.

    Attributes:
        request: The SHA-256 of the request.
        status: The HTTP status.
        body: The body, unless it consists of memories; None when it has been forgotten.
        agent_id: The agent that the body describes, if any.
        location: The `Location` header.
        rows: The memories of the body.
        duplicates: Indexes in `rows` of originals of duplicates; None if the body is a single memory.
    """

    request: bytes
    status: int
    body: bytes | None = b""
    agent_id: str | None = None
    location: str | None = None
    rows: Sequence[int] = ()
    duplicates: Sequence[int] | None = None
