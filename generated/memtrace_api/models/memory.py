"""The model Memory."""

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


class Memory(msgspec.Struct, kw_only=True, gc=False):
    """A stored memory.

    Attributes:
        time: When the event happened.
        org_id: Id of the organisation.
        agent_id: Agent that wrote the memory.
        memory_type: Kind of memory, one of `MemoryType`; a newer server may send others.
        event_type: What happened, in a word.
        content: What happened, was seen or was decided, exactly as given.
        id: `mem_` and a ULID, so ids sort by time. Memtrace 0.x sends none.
        created_at: When it was stored. It differs from `time` if `time` was given. Memtrace 0.x sends
            none.
        session_id: Session that the memory belongs to.
        metadata: Anything else, as it was given.
        tags: Words to find the memory by.
        importance: Importance from 0 to 1.
        parent_id: Id of the memory that this one follows from.
        dedup_key: Deduplication key of the memory.
        score: How well the memory matches the `query`; only in results of a search by relevance, and
            comparable only within one search.
        expires_at: When the memory expires; never if missing.
        supersedes: Id of the memory that this one replaced, as given.
        superseded_by: Id of the memory that replaced this one; missing if this one is current.
    """

    time: datetime.datetime
    org_id: str
    agent_id: str
    memory_type: str
    event_type: str
    content: str
    id: str | None = None
    created_at: datetime.datetime | None = None
    session_id: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: list[str] = msgspec.field(default_factory=list)
    importance: float | None = None
    parent_id: str | None = None
    dedup_key: str | None = None
    score: float | None = None
    expires_at: datetime.datetime | None = None
    supersedes: str | None = None
    superseded_by: str | None = None

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
            "time": timestamp(self.time, "Memory.time"),
            "org_id": self.org_id,
            "agent_id": self.agent_id,
            "memory_type": self.memory_type,
            "event_type": self.event_type,
            "content": self.content,
        }
        if self.id is not None:
            data["id"] = self.id
        if self.created_at is not None:
            data["created_at"] = timestamp(self.created_at, "Memory.created_at")
        if self.session_id is not None:
            data["session_id"] = self.session_id
        if self.metadata:
            data["metadata"] = self.metadata
        if self.tags:
            data["tags"] = self.tags
        if self.importance is not None:
            data["importance"] = self.importance
        if self.parent_id is not None:
            data["parent_id"] = self.parent_id
        if self.dedup_key is not None:
            data["dedup_key"] = self.dedup_key
        if self.score is not None:
            data["score"] = self.score
        if self.expires_at is not None:
            data["expires_at"] = timestamp(self.expires_at, "Memory.expires_at")
        if self.supersedes is not None:
            data["supersedes"] = self.supersedes
        if self.superseded_by is not None:
            data["superseded_by"] = self.superseded_by
        return data
