"""The model ForgetFilter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from ..models.memory_type import MemoryType
from ..types import (
    NOT_GIVEN,
    PydanticSerializer,
    convert,
    pydantic_schema,
    require_value,
    time_point,
)

if TYPE_CHECKING:
    from ..types import TimePoint
else:
    # msgspec decodes no union of types that are all strings in JSON.
    TimePoint = Any


@attrs.define(kw_only=True, slots=True, init=False, repr=False)
class ForgetFilter:
    """Which memories to forget; each condition given must hold, and at least one must be given.

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

    agent_id: str | None = None
    session_id: str | None = None
    memory_type: MemoryType | None = None
    memory_types: list[MemoryType] | None = None
    event_type: str | None = None
    event_types: list[str] | None = None
    tags: list[str] | None = None
    min_importance: float | None = None
    metadata: dict[str, Any] | None = None
    since: TimePoint | None = None
    until: TimePoint | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __init__(
        self,
        *,
        agent_id: str = NOT_GIVEN,
        session_id: str = NOT_GIVEN,
        memory_type: MemoryType = NOT_GIVEN,
        memory_types: list[MemoryType] = NOT_GIVEN,
        event_type: str = NOT_GIVEN,
        event_types: list[str] = NOT_GIVEN,
        tags: list[str] = NOT_GIVEN,
        min_importance: float = NOT_GIVEN,
        metadata: dict[str, Any] = NOT_GIVEN,
        since: TimePoint = NOT_GIVEN,
        until: TimePoint = NOT_GIVEN,
    ) -> None:
        self.__attrs_pre_init__()
        if agent_id is not NOT_GIVEN:
            require_value(agent_id, "ForgetFilter.agent_id")
            self.agent_id = agent_id
        if session_id is not NOT_GIVEN:
            require_value(session_id, "ForgetFilter.session_id")
            self.session_id = session_id
        if memory_type is not NOT_GIVEN:
            require_value(memory_type, "ForgetFilter.memory_type")
            self.memory_type = memory_type
        if memory_types is not NOT_GIVEN:
            require_value(memory_types, "ForgetFilter.memory_types")
            self.memory_types = memory_types
        if event_type is not NOT_GIVEN:
            require_value(event_type, "ForgetFilter.event_type")
            self.event_type = event_type
        if event_types is not NOT_GIVEN:
            require_value(event_types, "ForgetFilter.event_types")
            self.event_types = event_types
        if tags is not NOT_GIVEN:
            require_value(tags, "ForgetFilter.tags")
            self.tags = tags
        if min_importance is not NOT_GIVEN:
            require_value(min_importance, "ForgetFilter.min_importance")
            self.min_importance = min_importance
        if metadata is not NOT_GIVEN:
            require_value(metadata, "ForgetFilter.metadata")
            self.metadata = metadata
        if since is not NOT_GIVEN:
            require_value(since, "ForgetFilter.since")
            self.since = since
        if until is not NOT_GIVEN:
            require_value(until, "ForgetFilter.until")
            self.until = until

    def __repr__(self) -> str:
        values = attrs.asdict(self, recurse=False).items()
        return (
            f"ForgetFilter({', '.join(f'{name}={value!r}' for name, value in values if value is not None)})"
        )

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.agent_id = None
        self.session_id = None
        self.memory_type = None
        self.memory_types = None
        self.event_type = None
        self.event_types = None
        self.tags = None
        self.min_importance = None
        self.metadata = None
        self.since = None
        self.until = None

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
            time_point(made.since, "ForgetFilter.since")
        if made.until is not None:
            time_point(made.until, "ForgetFilter.until")
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
        if self.memory_types is not None:
            data["memory_types"] = self.memory_types
        if self.event_type is not None:
            data["event_type"] = self.event_type
        if self.event_types is not None:
            data["event_types"] = self.event_types
        if self.tags is not None:
            data["tags"] = self.tags
        if self.min_importance is not None:
            data["min_importance"] = self.min_importance
        if self.metadata is not None:
            data["metadata"] = self.metadata
        if self.since is not None:
            data["since"] = time_point(self.since, "ForgetFilter.since")
        if self.until is not None:
            data["until"] = time_point(self.until, "ForgetFilter.until")
        return data
