"""The model ContextOptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs

from ..models.memory_type import MemoryType
from ..types import convert, time_point

if TYPE_CHECKING:
    from ..types import TimePoint
else:
    # msgspec decodes no union of types that are all strings in JSON.
    TimePoint = Any


@attrs.define(kw_only=True, slots=True)
class ContextOptions:
    """What a context is made of.

    Attributes:
        since: Only memories of this time or later.
        until: Only memories from before this time.
        as_of: Show the log as it was known at this time: the memories stored by then (`created_at`),
            and not superseded or expired by then. What has been forgotten or has expired since stays
            forgotten.
        include_superseded: Also memories that a newer one supersedes. The server's default: False.
        include_types: Only memories of these types; all if empty.
        max_tokens: The most tokens that the context may take, whatever the model's tokenizer; never
            exceeded. The server's default: 4000.
    """

    since: TimePoint | None = None
    until: TimePoint | None = None
    as_of: TimePoint | None = None
    include_superseded: bool | None = None
    include_types: list[MemoryType] | None = None
    max_tokens: int | None = None

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether an answer had it; that raises if not, a third of the time.
        self.since = None
        self.until = None
        self.as_of = None
        self.include_superseded = None
        self.include_types = None
        self.max_tokens = None

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Make one from JSON data; fields that it does not know are ignored.

        Raises:
            ValueError: If a required field is missing, or a value has another type; the text names the field.
            TypeError: If a point in time is none; the text names the field.
        """
        made = convert(src_dict, cls)
        if made.since is not None:
            time_point(made.since, "ContextOptions.since")
        if made.until is not None:
            time_point(made.until, "ContextOptions.until")
        if made.as_of is not None:
            time_point(made.as_of, "ContextOptions.as_of")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {}
        if self.since is not None:
            data["since"] = time_point(self.since, "ContextOptions.since")
        if self.until is not None:
            data["until"] = time_point(self.until, "ContextOptions.until")
        if self.as_of is not None:
            data["as_of"] = time_point(self.as_of, "ContextOptions.as_of")
        if self.include_superseded is not None:
            data["include_superseded"] = self.include_superseded
        if self.include_types is not None:
            data["include_types"] = self.include_types
        if self.max_tokens is not None:
            data["max_tokens"] = self.max_tokens
        return data
