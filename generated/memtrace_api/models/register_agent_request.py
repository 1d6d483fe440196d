"""The model RegisterAgentRequest."""

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
class RegisterAgentRequest:
    """An agent to register.

    Attributes:
        name: An agent's id, which is also its name: any text of 1 to 128 characters except `.` and
            `..`, without control characters or line separators, and without white space at the ends. Ids
            are compared exactly, and percent-encoded in a path.
        description: What the agent does.
        config: Anything else about the agent, as a JSON object.
    """

    name: str
    description: str | None = None
    config: dict[str, Any] | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.description = None
        self.config = None

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
            "name": self.name,
        }
        if self.description is not None:
            data["description"] = self.description
        if self.config is not None:
            data["config"] = self.config
        return data
