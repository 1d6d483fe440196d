"""The model ImportMemory."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from ..models.memory_type import MemoryType
from ..types import (
    PydanticSerializer,
    convert,
    pydantic_schema,
    timestamp,
)


@attrs.define(kw_only=True, slots=True)
class ImportMemory:
    """A memory as it was exported.

    Attributes:
        id: `mem_` and a ULID, so ids sort by time.
        time: When the event happened.
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        content: What happened, was seen or was decided, in words. It is stored exactly as given.
        created_at: When the memory was first stored; `time` if not given.
        expires_at: When the memory expires; never if not given.
        memory_type: Kind of memory; `episodic` if not given.
        event_type: What happened, in a word of your own; `general` if not given.
        session_id: Session that the memory belongs to.
        metadata: Anything else, as a JSON object.
        tags: Words to find the memory by. Repeated tags count once.
        importance: Importance from 0 to 1. Important memories stay longest in a context.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Your own key to recognise duplicates by. Without one, all fields are compared.
        supersedes: Id of the memory that this one replaced, which may have been forgotten since.
    """

    id: str
    time: datetime.datetime
    agent_id: str
    content: str
    created_at: datetime.datetime | None = None
    expires_at: datetime.datetime | None = None
    memory_type: MemoryType | None = None
    event_type: str | None = None
    session_id: str | None = None
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None
    importance: float | None = None
    parent_id: str | None = None
    dedup_key: str | None = None
    supersedes: str | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.created_at = None
        self.expires_at = None
        self.memory_type = None
        self.event_type = None
        self.session_id = None
        self.metadata = None
        self.tags = None
        self.importance = None
        self.parent_id = None
        self.dedup_key = None
        self.supersedes = None

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
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "id": self.id,
            "time": timestamp(self.time, "ImportMemory.time"),
            "agent_id": self.agent_id,
            "content": self.content,
        }
        if self.created_at is not None:
            data["created_at"] = timestamp(self.created_at, "ImportMemory.created_at")
        if self.expires_at is not None:
            data["expires_at"] = timestamp(self.expires_at, "ImportMemory.expires_at")
        if self.memory_type is not None:
            data["memory_type"] = self.memory_type
        if self.event_type is not None:
            data["event_type"] = self.event_type
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.metadata is not None:
            data["metadata"] = self.metadata
        if self.tags is not None:
            data["tags"] = self.tags
        if self.importance is not None:
            data["importance"] = self.importance
        if self.parent_id is not None:
            data["parent_id"] = self.parent_id
        if self.dedup_key is not None:
            data["dedup_key"] = self.dedup_key
        if self.supersedes is not None:
            data["supersedes"] = self.supersedes
        return data
