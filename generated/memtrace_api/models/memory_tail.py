"""The model MemoryTail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, SupportsIndex, overload

import msgspec

from ..models.memory import Memory
from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class MemoryTail(msgspec.Struct, kw_only=True, gc=False):
    """Memories in the order in which they were stored.

    Attributes:
        memories: The memories; empty if nothing was stored.
        count: Number of memories on this page.
        has_more: Whether more memories can be requested at once. Such a page may be empty, if many
            memories were read and none matched.
        next_cursor: A position between two results. Take it from `next_cursor`; do not construct or
            parse one.
    """

    memories: list[Memory]
    count: int
    has_more: bool
    next_cursor: str

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()
    __attrs_attrs__: ClassVar[AttrsFields] = AttrsFields()

    def __iter__(self) -> Iterator[Memory]:
        return iter(self.memories)

    def __len__(self) -> int:
        return len(self.memories)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Memory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Memory]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Memory | list[Memory]:
        return self.memories[index]

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
            "count": self.count,
            "has_more": self.has_more,
            "next_cursor": self.next_cursor,
        }
        return data
