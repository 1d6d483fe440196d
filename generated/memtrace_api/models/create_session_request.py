"""The model CreateSessionRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from ..types import (
    PydanticSerializer,
    convert,
    pydantic_schema,
)


@attrs.define(kw_only=True, slots=True)
class CreateSessionRequest:
    """A session to start.

    Attributes:
        agent_id: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        metadata: Anything about the session, as a JSON object.
    """

    agent_id: str
    metadata: dict[str, Any] | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.metadata = None

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
        }
        if self.metadata is not None:
            data["metadata"] = self.metadata
        return data
