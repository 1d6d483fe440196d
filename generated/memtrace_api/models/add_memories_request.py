"""The model AddMemoriesRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from ..models.add_memory_request import AddMemoryRequest
from ..types import (
    PydanticSerializer,
    convert,
    pydantic_schema,
)


@attrs.define(kw_only=True, slots=True)
class AddMemoriesRequest:
    """A batch of memories to store; all are stored, or nothing.

    Attributes:
        memories: The memories, stored in this order.
    """

    memories: list[AddMemoryRequest]

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

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
            "memories": [item.to_dict() for item in self.memories],
        }
        return data
