"""The model ContextOmissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class ContextOmissions(msgspec.Struct, kw_only=True, gc=False):
    """What a context leaves out of the memories that match its filters, and why.

    Attributes:
        over_budget: Memories that did not fit `max_tokens`.
        important: How many of the memories that did not fit count as important.
        shortened: Memories of which the context has only a part of the text.
        older: Whether there are older memories that were not considered. The newest 2,000 and the
            newest 1,000 important ones (up to 16 MiB of each) and the best matches of `query` are
            considered.
    """

    over_budget: int
    important: int
    shortened: int
    older: bool

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
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "over_budget": self.over_budget,
            "important": self.important,
            "shortened": self.shortened,
            "older": self.older,
        }
        return data
