"""What goes into a store and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from attrs import evolve, frozen

Direction = Literal["asc", "desc"]

# What counts as important: an importance from here on; without one, a memory of these types or event types.
IMPORTANT = 0.7
IMPORTANT_TYPES = ("decision", "entity")
IMPORTANT_EVENTS = ("decision", "error")


@frozen(kw_only=True)
class Key:
    """An API key, known by the SHA-256 of its text; times in ns.

    Attributes:
        last_used_at: When it was last used, to the minute.
        agent_id: The agent whose memories it is limited to.
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
    """What a write is going to ask, so that a store can look it up for many writes at once.

    Attributes:
        digest: Of its key; None if it needs none.
        org: Its organisation, if it needs no key.
        key: Its Idempotency-Key.
        fingerprints: Of memories that it compares.
    """

    digest: bytes | None = None
    org: int | None = None
    key: str | None = None
    fingerprints: Sequence[bytes] = ()


@frozen(kw_only=True)
class AuditEntry:
    """Something that somebody did who may do much, without anything that was remembered.

    Attributes:
        at: When, in ns.
        actor: The id of the key; or `local`, who has the store's file.
        org_id: The organisation that it is about, if it is about one.
        action: What was done.
        subject: The id of what it was done to.
        request_id: The request that did it.
        details: More about it, as JSON.
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
    """An organisation, that is a tenant; `number` is what the store's tables call it."""

    number: int
    id: str
    name: str
    created_at: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A stored memory: its row, its time (ns), and the whole of it as JSON, as it was stored.

    A page makes a hundred of them, so it is a struct, which is made in a third of the time.

    Attributes:
        superseded_by: Id of the memory that supersedes it, where superseded memories are asked for.
    """

    seq: int
    time: int
    doc: str
    superseded_by: str | None = None


class NewMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A memory to store.

    Attributes:
        seq: Its row: rises with each memory that the store takes in, whatever its time.
        time: Its time, in ns.
        id: Its id.
        head: The beginning of its document: organisation, id, agent, session and types.
        moments: The beginning of a JSON object: the time, and those of the other moments that differ from it.
        rest: The end of that object: what the document has beside id, organisation, agent, session, types and
            moments. The same when a write is done again.
        created_at: When it is stored, in ns.
        expires_at: When it is forgotten by itself, in ns.
        supersedes: The row of the memory that it supersedes, which no other supersedes.
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
        """The whole of it as JSON; made when it is asked for, as a long one takes long."""
        return f"{self.head}{self.moments[1:]}{self.rest}"


Shown = Found | NewMemory
"""A memory as a response has it: stored before, or now."""


@frozen(kw_only=True)
class Words:
    """What a memory's text must have and must not have; words and stems as `search.analysis` makes them.

    Attributes:
        stems: Of which it must have one; None if it needs none. Without any, nothing matches.
        phrases: Words that its content must have one after the other.
        unwanted: Words, one after the other, that its content must not have.
    """

    stems: Sequence[str] | None = None
    phrases: Sequence[Sequence[str]] = ()
    unwanted: Sequence[Sequence[str]] = ()


@frozen(kw_only=True)
class Filter:
    """Which memories; each condition given must hold. Times in ns, `until` itself excluded.

    Attributes:
        as_of: Only memories that were stored by then, and were not superseded or expired by then.
        include_superseded: Also memories that were superseded, now or by `as_of`.
        is_important: Only what counts as important, by `IMPORTANT` and the kinds beside it.
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
        """Return a filter that finds the same where nothing is of the future: `as_of` bounds the time."""
        if self.as_of is None:
            return self
        until = self.as_of + 1 if self.until is None else min(self.until, self.as_of + 1)
        return evolve(self, until=until)


@frozen(kw_only=True)
class Term:
    """A stem that a search looks for.

    Attributes:
        stem: The stem.
        weight: What a memory gains by having it.
        count: How many of the organisation's memories have it.
    """

    stem: str
    weight: float
    count: int


@frozen(kw_only=True)
class Candidates:
    """What a store finds for a search to rank.

    Attributes:
        found: The memories that have most of what was looked for, as far as its weights tell.
        is_complete: Whether every memory that has any of it is among them.
    """

    found: Sequence[Found]
    is_complete: bool


@frozen(kw_only=True)
class Tail:
    """A page of memories in the order in which they were stored.

    Attributes:
        found: The memories.
        positions: The position after each of them.
        end: The position up to which was looked; no memory up to it is stored later.
        last: The position of the last memory that there is.
    """

    found: Sequence[Found]
    positions: Sequence[int]
    end: int
    last: int


@frozen(kw_only=True)
class Unindexed:
    """Memories that the index does not have yet.

    Attributes:
        found: The newest of them, as many as a search looks through.
        matching: The rows of those that match the filter.
        missed: How many others there are.
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
    """How much an agent remembers."""

    memory_types: Mapping[str, int]
    recent: int
    recent_errors: int
    sessions: int
    active_sessions: int


@frozen(kw_only=True)
class Answer:
    """The first answer to a write with an Idempotency-Key.

    The memories of an answer are kept by their rows, not by their text, so that forgetting one forgets it
    here too.

    Attributes:
        request: SHA-256 of the request that was answered.
        status: The HTTP status.
        body: The body, unless it consists of memories; None once it was forgotten.
        agent_id: The agent that the body tells about, if it does.
        location: The `Location` header.
        rows: The memories of the body.
        duplicates: Places in `rows` that hold the original of a duplicate; None if the body is a single
            memory.
    """

    request: bytes
    status: int
    body: bytes | None = b""
    agent_id: str | None = None
    location: str | None = None
    rows: Sequence[int] = ()
    duplicates: Sequence[int] | None = None
