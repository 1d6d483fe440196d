"""The model Agent."""

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


class Agent(msgspec.Struct, kw_only=True, gc=False):
    """An agent.

    Attributes:
        id: Id of the agent.
        org_id: Id of the organisation.
        name: The agent's name. Equal to `id`; with Memtrace 0.x, it may differ.
        created_at: When the agent was registered, or first wrote a memory.
        description: What the agent does.
        config: Anything else about the agent.
        is_registered: Whether the agent is registered, not only named by memories.
        last_active_at: When the agent last wrote a memory or started a session.
    """

    id: str
    org_id: str
    name: str
    created_at: datetime.datetime
    description: str | None = None
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    is_registered: bool | None = None
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
        """Return it as JSON data, without the fields that are None or empty.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "id": self.id,
            "org_id": self.org_id,
            "name": self.name,
            "created_at": timestamp(self.created_at, "Agent.created_at"),
        }
        if self.description is not None:
            data["description"] = self.description
        if self.config:
            data["config"] = self.config
        if self.is_registered is not None:
            data["is_registered"] = self.is_registered
        if self.last_active_at is not None:
            data["last_active_at"] = timestamp(self.last_active_at, "Agent.last_active_at")
        return data
