"""The model ImportAgent."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from ..types import (
    PydanticSerializer,
    convert,
    pydantic_schema,
    timestamp,
)


@attrs.define(kw_only=True, slots=True)
class ImportAgent:
    """An agent as it was exported.

    Attributes:
        id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and `..`,
            without control characters or line separators, and without white space at the ends. Ids are
            compared exactly, and percent-encoded in a path.
        created_at: When the agent was registered, or first wrote a memory.
        description: What the agent does.
        config: Anything else about the agent, as a JSON object.
        is_registered: Whether the agent was registered, not only named by memories. The server's
            default: True.
        last_active_at: When the agent last wrote a memory or started a session.
    """

    id: str
    created_at: datetime.datetime
    description: str | None = None
    config: dict[str, Any] | None = None
    is_registered: bool | None = None
    last_active_at: datetime.datetime | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.description = None
        self.config = None
        self.is_registered = None
        self.last_active_at = None

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
            "created_at": timestamp(self.created_at, "ImportAgent.created_at"),
        }
        if self.description is not None:
            data["description"] = self.description
        if self.config is not None:
            data["config"] = self.config
        if self.is_registered is not None:
            data["is_registered"] = self.is_registered
        if self.last_active_at is not None:
            data["last_active_at"] = timestamp(self.last_active_at, "ImportAgent.last_active_at")
        return data
