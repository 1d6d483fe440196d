"""Which memories to list: what the SDK adds to the models of the contract."""

from __future__ import annotations

from typing import Any

import attrs
from memtrace_api.models import MemoryType, Order
from memtrace_api.types import TimePoint, time_point


@attrs.define(kw_only=True, slots=True)
class ListOptions:
    """Which memories to list; each filter given must match.

    Attributes:
        agent_id: Only of this agent.
        session_id: Only of this session.
        memory_type: Only of this type.
        event_type: Only of this event type.
        tags: Only memories that have every one of these tags: a list, or a comma-separated string.
        since: Only memories of this time or later: how long ago (`"24h"`, a timedelta), or when (an ISO 8601
            string, a datetime with a time zone).
        until: Only memories from before this time; as `since`.
        limit: The most memories to answer. The server's default: 100; its maximum: 1000.
        offset: How many memories to pass over; a cursor is faster, and stable while others write.
        order: `desc`, the default: newest first. `asc`: oldest first.
        cursor: `next_cursor` of the page before, asked for with the same filters and order.
    """

    agent_id: str | None = None
    session_id: str | None = None
    memory_type: MemoryType | None = None
    event_type: str | None = None
    tags: str | list[str] | None = None
    since: TimePoint | None = None
    until: TimePoint | None = None
    limit: int | None = None
    offset: int | None = None
    order: Order | None = None
    cursor: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give it as the parameters of the operation `listMemories`, without those that are None.

        Raises:
            TypeError: If `since` or `until` is no point in time.
            ValueError: If one of them has no time zone.
        """
        parameters = attrs.asdict(self, recurse=False, filter=lambda _, value: value is not None)
        for name in ("since", "until"):
            if name in parameters:
                parameters[name] = time_point(parameters[name], name)
        if not self.tags:
            parameters.pop("tags", None)
        elif isinstance(self.tags, str):
            parameters["tags"] = self.tags.split(",")
        return parameters
