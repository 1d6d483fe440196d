"""The model ImportRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from ..models.import_agent import ImportAgent
from ..models.import_memory import ImportMemory
from ..models.import_session import ImportSession
from ..types import (
    NOT_GIVEN,
    PydanticSerializer,
    convert,
    pydantic_schema,
    require_value,
)


@attrs.define(kw_only=True, slots=True, init=False, repr=False)
class ImportRequest:
    """Records to import; all are stored, or nothing.

    Attributes:
        agents: Agents, which are stored before sessions and memories. At most 8 MiB of JSON as it is
            sent, as much as a page of `listAgents` has.
        sessions: Sessions, which are stored before memories. At most 8 MiB of JSON as it is sent, as
            much as a page of `listSessions` has.
        memories: Memories. Send a memory that supersedes another in the same request or a later one; in
            an earlier request, both stay current.
    """

    agents: list[ImportAgent] | None = None
    sessions: list[ImportSession] | None = None
    memories: list[ImportMemory] | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()

    def __init__(
        self,
        *,
        agents: list[ImportAgent] = NOT_GIVEN,
        sessions: list[ImportSession] = NOT_GIVEN,
        memories: list[ImportMemory] = NOT_GIVEN,
    ) -> None:
        self.__attrs_pre_init__()
        if agents is not NOT_GIVEN:
            require_value(agents, "ImportRequest.agents")
            self.agents = agents
        if sessions is not NOT_GIVEN:
            require_value(sessions, "ImportRequest.sessions")
            self.sessions = sessions
        if memories is not NOT_GIVEN:
            require_value(memories, "ImportRequest.memories")
            self.memories = memories

    def __repr__(self) -> str:
        values = attrs.asdict(self, recurse=False).items()
        return (
            f"ImportRequest({', '.join(f'{name}={value!r}' for name, value in values if value is not None)})"
        )

    def __attrs_pre_init__(self) -> None:
        # msgspec asks for each field whether it was given; that raises if not, a third of the time.
        self.agents = None
        self.sessions = None
        self.memories = None

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
        data: dict[str, Any] = {}
        if self.agents is not None:
            data["agents"] = [item.to_dict() for item in self.agents]
        if self.sessions is not None:
            data["sessions"] = [item.to_dict() for item in self.sessions]
        if self.memories is not None:
            data["memories"] = [item.to_dict() for item in self.memories]
        return data
