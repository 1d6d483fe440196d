"""The model ListOptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from ..models.memory_type import MemoryType
from ..models.order import Order
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
class ListOptions:
    """Which memories to list; each filter given must match.

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

    agent_id: str | None = None
    session_id: str | None = None
    memory_type: MemoryType | None = None
    event_type: str | None = None
    tags: list[str] | str | None = None
    since: TimePoint | None = None
    until: TimePoint | None = None
    as_of: TimePoint | None = None
    include_superseded: bool | None = None
    order: Order | None = None
    limit: int | None = None
    cursor: str | None = None
    offset: int | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.agent_id = None
        self.session_id = None
        self.memory_type = None
        self.event_type = None
        self.tags = None
        self.since = None
        self.until = None
        self.as_of = None
        self.include_superseded = None
        self.order = None
        self.limit = None
        self.cursor = None
        self.offset = None

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
            time_point(made.since, "ListOptions.since")
        if made.until is not None:
            time_point(made.until, "ListOptions.until")
        if made.as_of is not None:
            time_point(made.as_of, "ListOptions.as_of")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {}
        if self.agent_id is not None:
            data["agent_id"] = self.agent_id
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.memory_type is not None:
            data["memory_type"] = self.memory_type
        if self.event_type is not None:
            data["event_type"] = self.event_type
        if self.tags is not None:
            data["tags"] = self.tags
        if self.since is not None:
            data["since"] = time_point(self.since, "ListOptions.since")
        if self.until is not None:
            data["until"] = time_point(self.until, "ListOptions.until")
        if self.as_of is not None:
            data["as_of"] = time_point(self.as_of, "ListOptions.as_of")
        if self.include_superseded is not None:
            data["include_superseded"] = self.include_superseded
        if self.order is not None:
            data["order"] = self.order
        if self.limit is not None:
            data["limit"] = self.limit
        if self.cursor is not None:
            data["cursor"] = self.cursor
        if self.offset is not None:
            data["offset"] = self.offset
        return data
