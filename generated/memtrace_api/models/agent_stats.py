"""The model AgentStats."""

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


class AgentStats(msgspec.Struct, kw_only=True, gc=False):
    """Counts of an agent's memories and sessions.

    Attributes:
        agent_id: The agent.
        memory_count: Number of memories, superseded ones included.
        memories_24h: Number of memories of the last 24 hours.
        errors_24h: Number of memories of the last 24 hours with the event type `error`.
        session_count: Number of sessions.
        active_sessions: Number of active sessions.
        memory_types: Number of memories by type; a type without memories is missing.
        last_active_at: When the agent last wrote a memory or started a session.
    """

    agent_id: str
    memory_count: int
    memories_24h: int
    errors_24h: int
    session_count: int
    active_sessions: int
    memory_types: dict[str, int]
    last_active_at: datetime.datetime | None = None

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
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "agent_id": self.agent_id,
            "memory_count": self.memory_count,
            "memories_24h": self.memories_24h,
            "errors_24h": self.errors_24h,
            "session_count": self.session_count,
            "active_sessions": self.active_sessions,
            "memory_types": self.memory_types,
        }
        if self.last_active_at is not None:
            data["last_active_at"] = timestamp(self.last_active_at, "AgentStats.last_active_at")
        return data
