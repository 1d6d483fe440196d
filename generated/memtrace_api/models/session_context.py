"""The model SessionContext."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from ..types import convert


@attrs.define(kw_only=True, slots=True)
class SessionContext:
    """A session's memories, for an LLM.

    Attributes:
        session_id: The session.
        context: The memories as markdown.
        memory_count: Number of memories in the context.
        omitted_count: How many matching memories were left out to fit `max_tokens`, of the newest 2,000
            and the newest 1,000 important ones.
        token_count: The tokens that the context takes at the most.
    """

    session_id: str
    context: str
    memory_count: int
    omitted_count: int | None = None
    token_count: int | None = None

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether an answer had it; that raises if not, a third of the time.
        self.omitted_count = None
        self.token_count = None

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Make one from JSON data; fields that it does not know are ignored.

        Raises:
            ValueError: If a required field is missing, or a value has another type; the text names the field.
        """
        return convert(src_dict, cls)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON data, without the fields that are None.

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
        return data
