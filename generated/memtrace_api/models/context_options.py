"""The model ContextOptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from ..models.context_field import ContextField
from ..models.context_format import ContextFormat
from ..models.context_layout import ContextLayout
from ..models.memory_type import MemoryType
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
class ContextOptions:
    """Selection and form of a context. A memory must meet every filter given.

    Attributes:
        query: A question or words, as for a search. The best matches (with at least a fifth of the best
            score) get up to half of the budget first; the rest is shared as usual. `query` does not filter.
        agent_id: Only memories of this agent; for the context of a session.
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

    query: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    since: TimePoint | None = None
    until: TimePoint | None = None
    as_of: TimePoint | None = None
    include_superseded: bool | None = None
    include_types: list[MemoryType] | None = None
    event_types: list[str] | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    max_tokens: int | None = None
    timezone: str | None = None
    layout: ContextLayout | None = None
    format: ContextFormat | None = None
    show: list[ContextField] | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.query = None
        self.agent_id = None
        self.session_id = None
        self.since = None
        self.until = None
        self.as_of = None
        self.include_superseded = None
        self.include_types = None
        self.event_types = None
        self.tags = None
        self.metadata = None
        self.max_tokens = None
        self.timezone = None
        self.layout = None
        self.format = None
        self.show = None

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
            time_point(made.since, "ContextOptions.since")
        if made.until is not None:
            time_point(made.until, "ContextOptions.until")
        if made.as_of is not None:
            time_point(made.as_of, "ContextOptions.as_of")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {}
        if self.query is not None:
            data["query"] = self.query
        if self.agent_id is not None:
            data["agent_id"] = self.agent_id
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.since is not None:
            data["since"] = time_point(self.since, "ContextOptions.since")
        if self.until is not None:
            data["until"] = time_point(self.until, "ContextOptions.until")
        if self.as_of is not None:
            data["as_of"] = time_point(self.as_of, "ContextOptions.as_of")
        if self.include_superseded is not None:
            data["include_superseded"] = self.include_superseded
        if self.include_types is not None:
            data["include_types"] = self.include_types
        if self.event_types is not None:
            data["event_types"] = self.event_types
        if self.tags is not None:
            data["tags"] = self.tags
        if self.metadata is not None:
            data["metadata"] = self.metadata
        if self.max_tokens is not None:
            data["max_tokens"] = self.max_tokens
        if self.timezone is not None:
            data["timezone"] = self.timezone
        if self.layout is not None:
            data["layout"] = self.layout
        if self.format is not None:
            data["format"] = self.format
        if self.show is not None:
            data["show"] = self.show
        return data
