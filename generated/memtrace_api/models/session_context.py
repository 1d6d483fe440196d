"""The model SessionContext."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from ..models.context_entry import ContextEntry
from ..models.context_omissions import ContextOmissions
from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class SessionContext(msgspec.Struct, kw_only=True, gc=False):
    """A session's memories, for an LLM.

    Attributes:
        session_id: The session.
        context: The memories as markdown.
        memory_count: Number of memories in the context.
        omitted_count: Number of memories that were left out to fit `max_tokens`; the same as
            `omitted.over_budget`.
        token_count: Upper bound of the context's tokens, with the tokenizer of any model.
        memory_ids: Ids of the memories in the context, in the same order. Memtrace 0.x sends none.
        omitted: What was left out, and why. Memtrace 0.x does not send it.
        entries: The same selection as data, in the same order; only with the format `json`.
    """

    session_id: str
    context: str
    memory_count: int
    omitted_count: int | None = None
    token_count: int | None = None
    memory_ids: list[str] | None = None
    omitted: ContextOmissions | None = None
    entries: list[ContextEntry] | None = None

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
            "session_id": self.session_id,
            "context": self.context,
            "memory_count": self.memory_count,
        }
        if self.omitted_count is not None:
            data["omitted_count"] = self.omitted_count
        if self.token_count is not None:
            data["token_count"] = self.token_count
        if self.memory_ids is not None:
            data["memory_ids"] = self.memory_ids
        if self.omitted is not None:
            data["omitted"] = self.omitted.to_dict()
        if self.entries is not None:
            data["entries"] = [item.to_dict() for item in self.entries]
        return data
