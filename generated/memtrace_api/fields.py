"""The fields of requests, for methods that take them as keywords: `**fields: Unpack[MemoryFields]`."""

import datetime
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Required, TypedDict

from .models.context_field import ContextField
from .models.context_format import ContextFormat
from .models.context_layout import ContextLayout
from .models.memory_type import MemoryType
from .models.on_duplicate import OnDuplicate
from .models.order import Order
from .models.search_group import SearchGroup
from .models.search_order import SearchOrder
from .models.session_status import SessionStatus
from .models.tail_memories_start import TailMemoriesStart
from .types import TimePoint


class AddMemoryFields(TypedDict, total=False):
    """Fields of `AddMemoryRequest`.

    Attributes:
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        content: What happened, was seen or was decided, in words. It is stored exactly as given.
        memory_type: Kind of memory; `episodic` if not given.
        event_type: What happened, in a word of your own; `general` if not given.
        session_id: Session that the memory belongs to.
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        on_duplicate: What to do if the agent stored an equal memory within the last 24 hours: `reject`,
            `return` or `store`.
        supersedes: Id of the memory of the same agent that this one replaces because it is no longer
            true. Not allowed together with `ttl`.
        time: When it happened, for imports and backfills; now if not given. RFC 3339 with a time zone,
            from the years 1970 to 2199, up to nanoseconds.
        ttl: Lifetime in seconds, after which the memory is forgotten; unlimited if not given.
    """

    agent_id: Required[str]
    content: Required[str]
    memory_type: MemoryType | None
    event_type: str | None
    session_id: str | None
    metadata: Mapping[str, Any] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    importance: float | None
    parent_id: str | None
    dedup_key: str | None
    on_duplicate: OnDuplicate | None
    supersedes: str | None
    time: datetime.datetime | str | None
    ttl: int | datetime.timedelta | None


class MemoryFields(TypedDict, total=False):
    """Fields of `AddMemoryRequest` without `agent_id`, `content`.

    Attributes:
        memory_type: Kind of memory; `episodic` if not given.
        event_type: What happened, in a word of your own; `general` if not given.
        session_id: Session that the memory belongs to.
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        on_duplicate: What to do if the agent stored an equal memory within the last 24 hours: `reject`,
            `return` or `store`.
        supersedes: Id of the memory of the same agent that this one replaces because it is no longer
            true. Not allowed together with `ttl`.
        time: When it happened, for imports and backfills; now if not given. RFC 3339 with a time zone,
            from the years 1970 to 2199, up to nanoseconds.
        ttl: Lifetime in seconds, after which the memory is forgotten; unlimited if not given.
    """

    memory_type: MemoryType | None
    event_type: str | None
    session_id: str | None
    metadata: Mapping[str, Any] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    importance: float | None
    parent_id: str | None
    dedup_key: str | None
    on_duplicate: OnDuplicate | None
    supersedes: str | None
    time: datetime.datetime | str | None
    ttl: int | datetime.timedelta | None


class SessionMemoryFields(TypedDict, total=False):
    """Fields of `AddMemoryRequest` without `agent_id`, `content`, `session_id`.

    Attributes:
        memory_type: Kind of memory; `episodic` if not given.
        event_type: What happened, in a word of your own; `general` if not given.
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        on_duplicate: What to do if the agent stored an equal memory within the last 24 hours: `reject`,
            `return` or `store`.
        supersedes: Id of the memory of the same agent that this one replaces because it is no longer
            true. Not allowed together with `ttl`.
        time: When it happened, for imports and backfills; now if not given. RFC 3339 with a time zone,
            from the years 1970 to 2199, up to nanoseconds.
        ttl: Lifetime in seconds, after which the memory is forgotten; unlimited if not given.
    """

    memory_type: MemoryType | None
    event_type: str | None
    metadata: Mapping[str, Any] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    importance: float | None
    parent_id: str | None
    dedup_key: str | None
    on_duplicate: OnDuplicate | None
    supersedes: str | None
    time: datetime.datetime | str | None
    ttl: int | datetime.timedelta | None


class DecisionFields(TypedDict, total=False):
    """Fields of `AddMemoryRequest` without `agent_id`, `content`, `memory_type`, `event_type`.

    Attributes:
        session_id: Session that the memory belongs to.
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        on_duplicate: What to do if the agent stored an equal memory within the last 24 hours: `reject`,
            `return` or `store`.
        supersedes: Id of the memory of the same agent that this one replaces because it is no longer
            true. Not allowed together with `ttl`.
        time: When it happened, for imports and backfills; now if not given. RFC 3339 with a time zone,
            from the years 1970 to 2199, up to nanoseconds.
        ttl: Lifetime in seconds, after which the memory is forgotten; unlimited if not given.
    """

    session_id: str | None
    metadata: Mapping[str, Any] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    importance: float | None
    parent_id: str | None
    dedup_key: str | None
    on_duplicate: OnDuplicate | None
    supersedes: str | None
    time: datetime.datetime | str | None
    ttl: int | datetime.timedelta | None


class SessionDecisionFields(TypedDict, total=False):
    """Fields of `AddMemoryRequest` without `agent_id`, `content`, `session_id`, `memory_type`, `event_type`.

    Attributes:
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        on_duplicate: What to do if the agent stored an equal memory within the last 24 hours: `reject`,
            `return` or `store`.
        supersedes: Id of the memory of the same agent that this one replaces because it is no longer
            true. Not allowed together with `ttl`.
        time: When it happened, for imports and backfills; now if not given. RFC 3339 with a time zone,
            from the years 1970 to 2199, up to nanoseconds.
        ttl: Lifetime in seconds, after which the memory is forgotten; unlimited if not given.
    """

    metadata: Mapping[str, Any] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    importance: float | None
    parent_id: str | None
    dedup_key: str | None
    on_duplicate: OnDuplicate | None
    supersedes: str | None
    time: datetime.datetime | str | None
    ttl: int | datetime.timedelta | None


class ListFilters(TypedDict, total=False):
    """Fields of `ListOptions`.

    Attributes:
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        order: `desc`: newest first. `asc`: oldest first.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        offset: Number of memories to skip. Kept for Memtrace 0.x clients; a cursor is faster, and
            stable while memories are written. The server's default: 0.
    """

    agent_id: str | None
    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    order: Order | None
    limit: int | None
    cursor: str | None
    offset: int | None


class IterFilters(TypedDict, total=False):
    """Fields of `ListOptions` without `limit`, `offset`, `cursor`.

    Attributes:
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        order: `desc`: newest first. `asc`: oldest first.
    """

    agent_id: str | None
    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    order: Order | None


class RecallFilters(TypedDict, total=False):
    """Fields of `ListOptions` without `agent_id`, `since`, `offset`, `order`, `cursor`.

    Attributes:
        session_id: Only memories of this session.
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
    """

    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    limit: int | None


class SessionRecallFilters(TypedDict, total=False):
    """Fields of `ListOptions` without `agent_id`, `session_id`, `since`, `offset`, `order`, `cursor`.

    Attributes:
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
    """

    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    limit: int | None


class AgentMemoryFilters(TypedDict, total=False):
    """Fields of `ListOptions` without `agent_id`.

    Attributes:
        session_id: Only memories of this session.
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        order: `desc`: newest first. `asc`: oldest first.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        offset: Number of memories to skip. Kept for Memtrace 0.x clients; a cursor is faster, and
            stable while memories are written. The server's default: 0.
    """

    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    order: Order | None
    limit: int | None
    cursor: str | None
    offset: int | None


class SessionMemoryFilters(TypedDict, total=False):
    """Fields of `ListOptions` without `session_id`.

    Attributes:
        agent_id: Only results of this agent.
        memory_type: Only memories of this type.
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes; `superseded_by`
            names the newer one. The server's default: False.
        order: `desc`: newest first. `asc`: oldest first.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        offset: Number of memories to skip. Kept for Memtrace 0.x clients; a cursor is faster, and
            stable while memories are written. The server's default: 0.
    """

    agent_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    order: Order | None
    limit: int | None
    cursor: str | None
    offset: int | None


class ForgetFilters(TypedDict, total=False):
    """Fields of `ForgetFilter`.

    Attributes:
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        session_id: A session's id: any text of 1 to 128 characters except `.` and `..`, without control
            characters or line separators, and without white space at the ends. Ids that the server creates
            are `sess_` and a ULID.
        memory_type: Kind of memory: something that happened (`episodic`), something about the session
            (`session`), a decision (`decision`), or a fact about somebody or something (`entity`).
        memory_types: Only memories of one of these types.
        event_type: What happened, in a word of your own: 1 to 128 characters, no control characters.
            `error` is counted separately.
        event_types: Only memories of one of these event types.
        tags: Tags that a memory must all have. They are compared exactly.
        min_importance: Only memories of at least this importance.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        since: A time ago (`30m`, `24h`, `7d`, `2w`) or an RFC 3339 timestamp; the SDK also takes a date
            (`2026-11-01`).
        until: A time ago (`30m`, `24h`, `7d`, `2w`) or an RFC 3339 timestamp; the SDK also takes a date
            (`2026-11-01`).
    """

    agent_id: str
    session_id: str
    memory_type: MemoryType
    memory_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType]
    event_type: str
    event_types: list[str] | tuple[str, ...] | AbstractSet[str]
    tags: list[str] | tuple[str, ...] | AbstractSet[str]
    min_importance: float
    metadata: Mapping[str, Any]
    since: TimePoint
    until: TimePoint


class TailOptions(TypedDict, total=False):
    """Fields of `tail_memories`.

    Attributes:
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Kind of memory: something that happened (`episodic`), something about the session
            (`session`), a decision (`decision`), or a fact about somebody or something (`entity`).
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
        start: Where to start without a cursor; `beginning` is the first memory that was stored, `now`
            the next one to be stored.
        wait: Maximum seconds to wait for a matching memory. The server may respond earlier with an
            empty page; continue with its cursor. The server's default: 0.
    """

    agent_id: str | None
    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    since: TimePoint | None
    until: TimePoint | None
    limit: int | None
    cursor: str | None
    start: TailMemoriesStart | None
    wait: int | None


class TailFilters(TypedDict, total=False):
    """Fields of `tail_memories` without `limit`, `cursor`, `wait`.

    Attributes:
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Kind of memory: something that happened (`episodic`), something about the session
            (`session`), a decision (`decision`), or a fact about somebody or something (`entity`).
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        start: Where to start without a cursor; `beginning` is the first memory that was stored, `now`
            the next one to be stored.
    """

    agent_id: str | None
    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    since: TimePoint | None
    until: TimePoint | None
    start: TailMemoriesStart | None


class ExportFilters(TypedDict, total=False):
    """Fields of `tail_memories` without `limit`, `cursor`, `start`, `wait`.

    Attributes:
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_type: Kind of memory: something that happened (`episodic`), something about the session
            (`session`), a decision (`decision`), or a fact about somebody or something (`entity`).
        event_type: Only memories of this event type.
        tags: Only memories that have all of these tags, separated by commas. Tags are compared exactly.
            Send a comma inside a tag as `%2C`. As older clients send `%2C` between tags, a single `tags`
            without a plain comma is split at `%2C` if that makes valid tags; to send only one tag that has
            a comma, repeat `tags`.
        since: Only memories of this time or later.
        until: Only memories from before this time.
    """

    agent_id: str | None
    session_id: str | None
    memory_type: MemoryType | None
    event_type: str | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    since: TimePoint | None
    until: TimePoint | None


class SearchConditions(TypedDict, total=False):
    """Fields of `SearchQuery` without `query`.

    Attributes:
        content_contains: A part of the text that the content must contain; case, width and Unicode
            composition do not matter.
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        min_importance: Only memories of at least this importance.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        group_by: `session`: only the best match of each session, among the matches that `order:
            relevance` returns; without a `query`, only the newest memory of each session, among the newest
            100. Memories without a session are all returned.
        order: Order of the results. Default: `relevance` if `query` has words to rank by, otherwise
            `desc`.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB. By
            `relevance`, all pages together have the best 100 matches and the memories that follow
            questions, whatever the limit (see `is_complete`). The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same conditions and order; only
            `limit` may change.
    """

    content_contains: str | None
    agent_id: str | None
    session_id: str | None
    memory_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    min_importance: float | None
    metadata: Mapping[str, Any] | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    group_by: SearchGroup | None
    order: SearchOrder | None
    limit: int | None
    cursor: str | None


class IterSearchConditions(TypedDict, total=False):
    """Fields of `SearchQuery` without `query`, `limit`, `cursor`.

    Attributes:
        content_contains: A part of the text that the content must contain; case, width and Unicode
            composition do not matter.
        agent_id: Only results of this agent.
        session_id: Only memories of this session.
        memory_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        min_importance: Only memories of at least this importance.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        group_by: `session`: only the best match of each session, among the matches that `order:
            relevance` returns; without a `query`, only the newest memory of each session, among the newest
            100. Memories without a session are all returned.
        order: Order of the results. Default: `relevance` if `query` has words to rank by, otherwise
            `desc`.
    """

    content_contains: str | None
    agent_id: str | None
    session_id: str | None
    memory_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    min_importance: float | None
    metadata: Mapping[str, Any] | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    group_by: SearchGroup | None
    order: SearchOrder | None


class SessionSearchConditions(TypedDict, total=False):
    """Fields of `SearchQuery` without `query`, `agent_id`, `session_id`.

    Attributes:
        content_contains: A part of the text that the content must contain; case, width and Unicode
            composition do not matter.
        memory_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        min_importance: Only memories of at least this importance.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        group_by: `session`: only the best match of each session, among the matches that `order:
            relevance` returns; without a `query`, only the newest memory of each session, among the newest
            100. Memories without a session are all returned.
        order: Order of the results. Default: `relevance` if `query` has words to rank by, otherwise
            `desc`.
        limit: Maximum number of memories to return. A page ends early, with `next_cursor`, at 8 MiB. By
            `relevance`, all pages together have the best 100 matches and the memories that follow
            questions, whatever the limit (see `is_complete`). The server's default: 100.
        cursor: `next_cursor` of the previous page, requested with the same conditions and order; only
            `limit` may change.
    """

    content_contains: str | None
    memory_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    min_importance: float | None
    metadata: Mapping[str, Any] | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    group_by: SearchGroup | None
    order: SearchOrder | None
    limit: int | None
    cursor: str | None


class RegisterAgentFields(TypedDict, total=False):
    """Fields of `RegisterAgentRequest`.

    Attributes:
        name: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        description: What the agent does.
        config: Anything else about the agent, as a JSON object.
    """

    name: Required[str]
    description: str | None
    config: Mapping[str, Any] | None


class AgentFields(TypedDict, total=False):
    """Fields of `RegisterAgentRequest` without `name`.

    Attributes:
        description: What the agent does.
        config: Anything else about the agent, as a JSON object.
    """

    description: str | None
    config: Mapping[str, Any] | None


class AgentListFilters(TypedDict, total=False):
    """Fields of `list_agents`.

    Attributes:
        limit: Maximum number of agents to return. A page ends early, with `next_cursor`, at 8 MiB. The
            server's default: 1000.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
    """

    limit: int | None
    cursor: str | None


class DeleteAgentFields(TypedDict, total=False):
    """Fields of `delete_agent`.

    Attributes:
        delete_memories: Whether to delete the agent's memories and sessions too. The server's default:
            False.
    """

    delete_memories: bool | None


class DeleteSessionFields(TypedDict, total=False):
    """Fields of `delete_session`.

    Attributes:
        delete_memories: Whether to delete the session's memories too. The server's default: False.
    """

    delete_memories: bool | None


class CreateSessionFields(TypedDict, total=False):
    """Fields of `CreateSessionRequest`.

    Attributes:
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        metadata: Anything about the session, as a JSON object.
    """

    agent_id: Required[str]
    metadata: Mapping[str, Any] | None


class SessionFields(TypedDict, total=False):
    """Fields of `CreateSessionRequest` without `agent_id`.

    Attributes:
        metadata: Anything about the session, as a JSON object.
    """

    metadata: Mapping[str, Any] | None


class SessionListFilters(TypedDict, total=False):
    """Fields of `list_sessions` without `agent_id`.

    Attributes:
        status: A session is active until it is closed.
        limit: Maximum number of sessions to return. A page ends early, with `next_cursor`, at 8 MiB.
            The server's default: 1000.
        cursor: `next_cursor` of the previous page, requested with the same filters and order; only
            `limit` may change.
    """

    status: SessionStatus | None
    limit: int | None
    cursor: str | None


class UpdateSessionFields(TypedDict, total=False):
    """Fields of `UpdateSessionRequest`.

    Attributes:
        status: `closed` closes the session, `active` opens it again.
        metadata: Merged into the session's metadata; a key with null is removed.
    """

    status: SessionStatus | None
    metadata: Mapping[str, Any] | None


class ContextFields(TypedDict, total=False):
    """Fields of `ContextOptions` without `agent_id`, `session_id`.

    Attributes:
        query: A question or words, as for a search. The best matches (with at least a fifth of the best
            score) get up to half of the budget first; the rest is shared as usual. `query` does not filter.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        include_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        max_tokens: Maximum number of tokens of the context, with the tokenizer of any model; never
            exceeded. The server's default: 4000.
        timezone: The time zone of the days and times in the context, by its IANA name. The server's
            default: UTC.
        layout: How the context is arranged. The server's default: timeline.
        format: Whether to return the selection as data too. The server's default: markdown.
        show: What to show of each memory besides its content; nothing if empty.
    """

    query: str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    include_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    metadata: Mapping[str, Any] | None
    max_tokens: int | None
    timezone: str | None
    layout: ContextLayout | None
    format: ContextFormat | None
    show: list[ContextField] | tuple[ContextField, ...] | AbstractSet[ContextField] | None


class AgentContextFields(TypedDict, total=False):
    """Fields of `ContextOptions` without `agent_id`.

    Attributes:
        query: A question or words, as for a search. The best matches (with at least a fifth of the best
            score) get up to half of the budget first; the rest is shared as usual. `query` does not filter.
        session_id: Only memories of this session; for the context of an agent.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        include_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        max_tokens: Maximum number of tokens of the context, with the tokenizer of any model; never
            exceeded. The server's default: 4000.
        timezone: The time zone of the days and times in the context, by its IANA name. The server's
            default: UTC.
        layout: How the context is arranged. The server's default: timeline.
        format: Whether to return the selection as data too. The server's default: markdown.
        show: What to show of each memory besides its content; nothing if empty.
    """

    query: str | None
    session_id: str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    include_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    metadata: Mapping[str, Any] | None
    max_tokens: int | None
    timezone: str | None
    layout: ContextLayout | None
    format: ContextFormat | None
    show: list[ContextField] | tuple[ContextField, ...] | AbstractSet[ContextField] | None


class SessionContextFields(TypedDict, total=False):
    """Fields of `ContextOptions` without `session_id`.

    Attributes:
        query: A question or words, as for a search. The best matches (with at least a fifth of the best
            score) get up to half of the budget first; the rest is shared as usual. `query` does not filter.
        agent_id: Only memories of this agent; for the context of a session.
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. Memories that were forgotten or have expired since are
            not shown.
        include_superseded: Whether to include memories that a newer one supersedes. The server's
            default: False.
        include_types: Only memories of one of these types; of any type if empty.
        event_types: Only memories of one of these event types; of any event type if empty.
        tags: Only memories that have all of these tags. Tags are compared exactly.
        metadata: Only memories whose metadata has each of these keys with an equal value.
        max_tokens: Maximum number of tokens of the context, with the tokenizer of any model; never
            exceeded. The server's default: 4000.
        timezone: The time zone of the days and times in the context, by its IANA name. The server's
            default: UTC.
        layout: How the context is arranged. The server's default: timeline.
        format: Whether to return the selection as data too. The server's default: markdown.
        show: What to show of each memory besides its content; nothing if empty.
    """

    query: str | None
    agent_id: str | None
    since: TimePoint | None
    until: TimePoint | None
    as_of: TimePoint | None
    include_superseded: bool | None
    include_types: list[MemoryType] | tuple[MemoryType, ...] | AbstractSet[MemoryType] | None
    event_types: list[str] | tuple[str, ...] | AbstractSet[str] | None
    tags: list[str] | tuple[str, ...] | AbstractSet[str] | None
    metadata: Mapping[str, Any] | None
    max_tokens: int | None
    timezone: str | None
    layout: ContextLayout | None
    format: ContextFormat | None
    show: list[ContextField] | tuple[ContextField, ...] | AbstractSet[ContextField] | None
