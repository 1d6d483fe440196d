"""The model ImportSession."""

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
class ImportSession:
    """A session as it was exported.

    Attributes:
        id: A session's id: any text of 1 to 128 characters except `.` and `..`, without control
            characters or line separators, and without white space at the ends. Ids that the server creates
            are `sess_` and a ULID.
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        created_at: When the session was started.
        metadata: Anything about the session, as a JSON object.
        updated_at: When its status or metadata last changed; `created_at` if not given.
        closed_at: When the session was closed; if not given, it is active.
    """

    id: str
    agent_id: str
    created_at: datetime.datetime
    metadata: dict[str, Any] | None = None
    updated_at: datetime.datetime | None = None
    closed_at: datetime.datetime | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.metadata = None
        self.updated_at = None
        self.closed_at = None

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
            "agent_id": self.agent_id,
            "created_at": timestamp(self.created_at, "ImportSession.created_at"),
        }
        if self.metadata is not None:
            data["metadata"] = self.metadata
        if self.updated_at is not None:
            data["updated_at"] = timestamp(self.updated_at, "ImportSession.updated_at")
        if self.closed_at is not None:
            data["closed_at"] = timestamp(self.closed_at, "ImportSession.closed_at")
        return data
