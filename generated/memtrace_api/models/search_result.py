"""The model SearchResult."""

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


class SearchResult(msgspec.Struct, kw_only=True, gc=False):
    """A page of memories that match.

    Attributes:
        results: The memories, in the requested order.
        count: Number of memories on this page.
        query_time_ms: Duration of the search, in whole milliseconds.
        is_complete: Whether the pages contain every match. By `relevance` they end after the best 100
            and the memories that follow questions among them, and words that occur in more than 5,000
            memories may be searched only together with rarer ones. With `order: desc` or `asc` they contain
            every match.
        unindexed_count: Number of memories that were not searched, because they are not indexed yet
            (for example after an upgrade); usually 0.
        has_more: Whether another page follows; exact. Memtrace 0.x sends none.
        next_cursor: The `cursor` of the next page; missing on the last page.
    """

    results: list[Memory]
    count: int
    query_time_ms: int
    is_complete: bool | None = None
    unindexed_count: int | None = None
    has_more: bool | None = None
    next_cursor: str | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()
    __attrs_attrs__: ClassVar[AttrsFields] = AttrsFields()

    def __iter__(self) -> Iterator[Memory]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Memory: ...
    @overload
    def __getitem__(self, index: slice) -> list[Memory]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Memory | list[Memory]:
        return self.results[index]

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
            "results": [item.to_dict() for item in self.results],
            "count": self.count,
            "query_time_ms": self.query_time_ms,
        }
        if self.is_complete is not None:
            data["is_complete"] = self.is_complete
        if self.unindexed_count is not None:
            data["unindexed_count"] = self.unindexed_count
        if self.has_more is not None:
            data["has_more"] = self.has_more
        if self.next_cursor is not None:
            data["next_cursor"] = self.next_cursor
        return data
