"""The model AgentList."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, SupportsIndex, overload

import msgspec

from ..models.agent import Agent
from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class AgentList(msgspec.Struct, kw_only=True, gc=False):
    """A page of agents.

    Attributes:
        agents: The agents, in order of their id.
        count: Number of agents on this page.
        has_more: Whether another page follows; exact. Memtrace 0.x sends none.
        next_cursor: The `cursor` of the next page; missing on the last page.
    """

    agents: list[Agent]
    count: int
    has_more: bool | None = None
    next_cursor: str | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()
    __attrs_attrs__: ClassVar[AttrsFields] = AttrsFields()

    def __iter__(self) -> Iterator[Agent]:
        return iter(self.agents)

    def __len__(self) -> int:
        return len(self.agents)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Agent: ...
    @overload
    def __getitem__(self, index: slice) -> list[Agent]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Agent | list[Agent]:
        return self.agents[index]

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
            "agents": [item.to_dict() for item in self.agents],
            "count": self.count,
        }
        if self.has_more is not None:
            data["has_more"] = self.has_more
        if self.next_cursor is not None:
            data["next_cursor"] = self.next_cursor
        return data
