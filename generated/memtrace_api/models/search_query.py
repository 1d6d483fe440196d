"""The model SearchQuery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from ..models.memory_type import MemoryType
from ..models.search_group import SearchGroup
from ..models.search_order import SearchOrder
from ..types import (
    PydanticSerializer,
    convert,
    pydantic_schema,
    time_point,
)

if TYPE_CHECKING:
    from ..types import TimePoint
else:
    # msgspec decodes no union of types that are all strings in JSON.
    TimePoint = Any


@attrs.define(kw_only=True, slots=True)
class SearchQuery:
    """Conditions of a search; each one given must hold.

    Attributes:
        query: A question, or words. A memory matches if its content, its tags, its event type or the
            strings in its metadata have any of the words, in any form of English ("ran" matches "running").
            The best matches come first. Case, accents and width do not matter. Names have the words of
            their parts: "session" matches `UserSessionManager`. The content must contain each `"phrase in
            quotes"` word by word, and must not contain a `-word` or `-"phrase"`; a hyphen inside a word, or
            of an option (`-f`, `--force`), excludes nothing. If the query names a time ("in March 2025",
            "yesterday", "the last three days", in English and UTC; relative to `as_of` if given), memories
            of that time rank higher. A query about a time alone ("What happened yesterday?"), or whose
            other words no memory has, returns the memories of exactly that time, newest first and without
            scores. The 64 rarest words, the first 16 phrases and the first 16 exclusions count.
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

    query: str | None = None
    content_contains: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    memory_types: list[MemoryType] | None = None
    event_types: list[str] | None = None
    tags: list[str] | None = None
    min_importance: float | None = None
    metadata: dict[str, Any] | None = None
    since: TimePoint | None = None
    until: TimePoint | None = None
    as_of: TimePoint | None = None
    include_superseded: bool | None = None
    group_by: SearchGroup | None = None
    order: SearchOrder | None = None
    limit: int | None = None
    cursor: str | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.query = None
        self.content_contains = None
        self.agent_id = None
        self.session_id = None
        self.memory_types = None
        self.event_types = None
        self.tags = None
        self.min_importance = None
        self.metadata = None
        self.since = None
        self.until = None
        self.as_of = None
        self.include_superseded = None
        self.group_by = None
        self.order = None
        self.limit = None
        self.cursor = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> dict[str, Any]:  # noqa: ANN401
        return pydantic_schema(cls, handler)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Make one from JSON data; fields that it does not know are ignored.

        Raises:
            ValueError: If a required field is missing, or a value has another type; the text names the field.
            TypeError: If a value is not a point in time; the text names the field.
        """
        made = convert(src_dict, cls)
        if made.since is not None:
            time_point(made.since, "SearchQuery.since")
        if made.until is not None:
            time_point(made.until, "SearchQuery.until")
        if made.as_of is not None:
            time_point(made.as_of, "SearchQuery.as_of")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {}
        if self.query is not None:
            data["query"] = self.query
        if self.content_contains is not None:
            data["content_contains"] = self.content_contains
        if self.agent_id is not None:
            data["agent_id"] = self.agent_id
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.memory_types is not None:
            data["memory_types"] = self.memory_types
        if self.event_types is not None:
            data["event_types"] = self.event_types
        if self.tags is not None:
            data["tags"] = self.tags
        if self.min_importance is not None:
            data["min_importance"] = self.min_importance
        if self.metadata is not None:
            data["metadata"] = self.metadata
        if self.since is not None:
            data["since"] = time_point(self.since, "SearchQuery.since")
        if self.until is not None:
            data["until"] = time_point(self.until, "SearchQuery.until")
        if self.as_of is not None:
            data["as_of"] = time_point(self.as_of, "SearchQuery.as_of")
        if self.include_superseded is not None:
            data["include_superseded"] = self.include_superseded
        if self.group_by is not None:
            data["group_by"] = self.group_by
        if self.order is not None:
            data["order"] = self.order
        if self.limit is not None:
            data["limit"] = self.limit
        if self.cursor is not None:
            data["cursor"] = self.cursor
        return data
