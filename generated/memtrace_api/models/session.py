"""The model Session."""

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


class Session(msgspec.Struct, kw_only=True, gc=False):
    """A limited part of an agent's work.

    Attributes:
        id: Id of the session.
        org_id: Id of the organisation.
        agent_id: Agent that started the session.
        status: One of `SessionStatus`; a newer server may send others.
        created_at: When the session was started.
        updated_at: When its status or metadata last changed.
        metadata: Anything about the session.
        closed_at: When the session was closed; missing while it is active.
    """

    id: str
    org_id: str
    agent_id: str
    status: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    closed_at: datetime.datetime | None = None

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
            "agent_id": self.agent_id,
            "status": self.status,
            "created_at": timestamp(self.created_at, "Session.created_at"),
            "updated_at": timestamp(self.updated_at, "Session.updated_at"),
        }
        if self.metadata:
            data["metadata"] = self.metadata
        if self.closed_at is not None:
            data["closed_at"] = timestamp(self.closed_at, "Session.closed_at")
        return data
