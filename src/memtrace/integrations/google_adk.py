"""A memory service for Google's Agent Development Kit.

Source of the interface: `google.adk.memory.BaseMemoryService`, version 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from memtrace_api.limits import ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS as _BATCH

from memtrace import AsyncMemtrace, Memory, Memtrace
from memtrace.integrations._client import awaitable, requires
from memtrace.integrations._names import name
from memtrace.integrations._texts import contents, question

with requires("google-adk"):
    from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
    from google.adk.memory.memory_entry import MemoryEntry
    from google.genai.types import Content, Part

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions.session import Session

_RESULTS = 10  # as many as ADK's own service returns


class MemtraceMemoryService(BaseMemoryService):
    """ADK's long-term memory in Memtrace.

    Each user of an application becomes an agent, and each event with text a memory. An event is stored once,
    even if its session is added several times within 24 hours.

    Args:
        client: The client that stores memories.

    Example:
        >>> runner = Runner(agent=agent, memory_service=MemtraceMemoryService("sqlite:///agent.db"), ...)
    """

    def __init__(self, client: AsyncMemtrace | Memtrace | str) -> None:
        self._client = awaitable(client)

    async def add_session_to_memory(self, session: Session) -> None:
        """Store a session's events."""
        await self.add_events_to_memory(
            app_name=session.app_name,
            user_id=session.user_id,
            events=session.events,
            session_id=session.id,
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store events, except those that are stored already."""
        common: dict[str, Any] = {"agent_id": _agent_id(app_name, user_id), "on_duplicate": "return"}
        if session_id is not None:
            common["session_id"] = name(app_name, user_id, session_id)
        requests = [
            common
            | {
                "content": part,
                "event_type": name(event.author or "event"),
                "time": datetime.fromtimestamp(event.timestamp, UTC),
                "dedup_key": name(session_id or "", event.id, *([str(index)] if index else [])),
                "metadata": {**(custom_metadata or {}), "author": event.author},
            }
            for event in events
            if (text := _text(event.content))
            for index, part in enumerate(contents(text))
        ]
        await self._add(requests)

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store memories unchanged; a text that is longer than a memory may be becomes several."""
        requests: list[dict[str, Any]] = []
        for entry in memories:
            request: dict[str, Any] = {
                "agent_id": _agent_id(app_name, user_id),
                "metadata": {**(custom_metadata or {}), **entry.custom_metadata, "author": entry.author},
            }
            if entry.timestamp is not None:
                request["time"] = _time(entry.timestamp)
            requests += [request | {"content": part} for part in contents(_text(entry.content))]
        await self._add(requests)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Return the memories of a user that match a query best."""
        words = question(query)
        if words is None:
            return SearchMemoryResponse()
        found = await self._client.search_memories(
            agent_id=_agent_id(app_name, user_id), query=words, limit=_RESULTS
        )
        return SearchMemoryResponse(memories=[_entry(memory) for memory in found.results])

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Forget a memory of a user by the id that a search returned."""
        if memory_id is None:
            return
        memory = await self._client.get_memory(memory_id)
        if memory.agent_id == _agent_id(app_name, user_id):
            await self._client.forget(memory)

    async def _add(self, requests: list[dict[str, Any]]) -> None:
        for at in range(0, len(requests), _BATCH):
            await self._client.add_memories(requests[at : at + _BATCH])


def _agent_id(app_name: str, user_id: str) -> str:
    return name(app_name, user_id)


def _entry(memory: Memory) -> MemoryEntry:
    metadata = dict(memory.metadata)
    author = metadata.pop("author", None)
    return MemoryEntry(
        id=memory.id,
        content=Content(role="user" if author == "user" else "model", parts=[Part(text=memory.content)]),
        author=author,
        timestamp=memory.time.isoformat(),
        custom_metadata=metadata,
    )


def _text(content: Content | None) -> str:
    parts: Iterable[Part] = (content.parts if content else None) or ()
    return "\n".join(part.text for part in parts if part.text)


def _time(timestamp: str) -> datetime:
    time = datetime.fromisoformat(timestamp)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
