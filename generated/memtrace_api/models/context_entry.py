"""The model ContextEntry."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
    timestamp,
)


class ContextEntry(msgspec.Struct, kw_only=True, gc=False):
    """One entry of a context. Its texts are as stored, or their beginning.

    Attributes:
        time: When it happened, for the first time.
        agent_id: The agent that wrote the memory.
        memory_type: Kind of memory.
        event_type: What happened, or who spoke.
        content: What happened, in words.
        count: Number of memories with this content that the entry stands for.
        memory_ids: Ids of these memories, in order of time.
        last_time: When it happened for the last time, if it happened several times.
        session_id: The session that the memory belongs to.
        reasoning: The reason, for a decision.
        superseded_by: Id of the memory that supersedes this one, with `include_superseded`.
        more_characters: Number of characters that are missing, if the texts were shortened.
        importance: Importance from 0 to 1.
        tags: Tags of the memory, if `show` has `tags`.
        metadata: Metadata of the memory, if `show` has `metadata`.
    """

    time: datetime.datetime
    agent_id: str
    memory_type: str
    event_type: str
    content: str
    count: int
    memory_ids: list[str]
    last_time: datetime.datetime | None = None
    session_id: str | None = None
    reasoning: str | None = None
    superseded_by: str | None = None
    more_characters: int | None = None
    importance: float | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()
    __attrs_attrs__: ClassVar[AttrsFields] = AttrsFields()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> dict[str, Any]:  # noqa: ANN401
        return pydantic_schema(cls, handler)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Make one from JSON data; fields that it does not know are ignored.

        Raises:
            ValueError: If a required field is missing, or a value has another type; the text names the field.
        """
        return convert(src_dict, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, without the fields that are None or empty.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "time": timestamp(self.time, "ContextEntry.time"),
            "agent_id": self.agent_id,
            "memory_type": self.memory_type,
            "event_type": self.event_type,
            "content": self.content,
            "count": self.count,
            "memory_ids": self.memory_ids,
        }
        if self.last_time is not None:
            data["last_time"] = timestamp(self.last_time, "ContextEntry.last_time")
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.reasoning is not None:
            data["reasoning"] = self.reasoning
        if self.superseded_by is not None:
            data["superseded_by"] = self.superseded_by
        if self.more_characters is not None:
            data["more_characters"] = self.more_characters
        if self.importance is not None:
            data["importance"] = self.importance
        if self.tags:
            data["tags"] = self.tags
        if self.metadata:
            data["metadata"] = self.metadata
        return data
