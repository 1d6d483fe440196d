"""A memory store and a session repository for Strands Agents.

Source of the interfaces: `strands.memory.MemoryStore` and `strands.session.SessionRepository`, version 1.
"""

from __future__ import annotations

import json
from typing import Any

from memtrace import AsyncMemtrace, Memory, Memtrace
from memtrace.integrations._client import awaitable, blocking, finished, requires
from memtrace.integrations._documents import Documents
from memtrace.integrations._names import name

with requires("strands"):
    from strands.memory.extraction.types import ExtractionConfig
    from strands.memory.types import AddMessagesContext, MemoryEntry, MemoryStore, Metadata, SearchOptions
    from strands.session.session_repository import SessionRepository
    from strands.types.content import Message
    from strands.types.exceptions import SessionException
    from strands.types.session import Session, SessionAgent, SessionMessage

_RESULTS = 10


class MemtraceMemoryStore(MemoryStore):
    """An agent's memories as a store of Strands' memory manager.

    Args:
        client: The client that stores the memories.
        agent_id: The agent whose memories they are.
        name: The name of this store in tools.
        description: The description of this store in tools.
        writable: Whether tools may add memories.

    Example:
        >>> agent = Agent(memory_manager={"stores": [MemtraceMemoryStore("sqlite:///agent.db", "support")]})
    """

    def __init__(
        self,
        client: AsyncMemtrace | Memtrace | str,
        agent_id: str,
        *,
        name: str = "memtrace",
        description: str | None = "What this agent did, saw and decided.",
        writable: bool = True,
    ) -> None:
        self.name = name
        self.description = description
        self.max_search_results: int | None = _RESULTS
        self.writable = writable
        self.extraction: ExtractionConfig | bool | None = None
        self._client = awaitable(client)
        self._agent_id = agent_id

    async def search(self, query: str, options: SearchOptions | None = None) -> list[MemoryEntry]:
        """Return the memories that match a query, best first."""
        limit = (options or {}).get("max_search_results") or self.max_search_results or _RESULTS
        found = await self._client.search_memories(agent_id=self._agent_id, query=query, limit=limit)
        return [_entry(memory) for memory in found.results]

    async def add(self, content: str, metadata: Metadata | None = None) -> Memory:
        """Store a memory; equal texts within 24 hours are stored once."""
        return await self._client.remember(
            self._agent_id, content, metadata=metadata or {}, on_duplicate="return"
        )

    async def add_messages(self, messages: list[Message], context: AddMessagesContext | None = None) -> None:
        """Store the texts of messages, each with its speaker as event type."""
        del context  # its numbers restart with each run
        requests: list[dict[str, Any]] = [
            {
                "agent_id": self._agent_id,
                "content": text,
                "event_type": message["role"],
                "on_duplicate": "return",
            }
            for message in messages
            if (text := "\n".join(block["text"] for block in message["content"] if "text" in block))
        ]
        if requests:
            await self._client.add_memories(requests)


class MemtraceSessionRepository(SessionRepository):
    """Sessions, agents and messages of Strands, each a document whose versions supersede one another.

    Args:
        client: The client that stores them; not an `AsyncMemtrace`, because Strands' interface blocks.
        agent_id: The agent whose memories they are.

    Raises:
        TypeError: The client is an `AsyncMemtrace`.

    Example:
        >>> repository = MemtraceSessionRepository(Memtrace(url, key))
        >>> agent = Agent(session_manager=RepositorySessionManager("chat-42", repository))
    """

    def __init__(self, client: Memtrace | str, *, agent_id: str = "strands") -> None:
        self._documents = Documents(blocking(client), agent_id, "strands")

    def create_session(self, session: Session, **_: object) -> Session:
        """Store a new session.

        Raises:
            SessionException: If there is one of this id.
        """
        if self._get("session", session.session_id) is not None:
            raise SessionException(f"Session {session.session_id} already exists")
        self._put(("session", session.session_id), session.to_dict())
        return session

    def read_session(self, session_id: str, **_: object) -> Session | None:
        """Return a session, or None if there is none with this id."""
        memory = self._get("session", session_id)
        return None if memory is None else Session.from_dict(json.loads(memory.content))

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: object) -> None:
        """Store a new agent of a session."""
        self._put(("agent", session_id, session_agent.agent_id), session_agent.to_dict())

    def read_agent(self, session_id: str, agent_id: str, **_: object) -> SessionAgent | None:
        """Return an agent of a session, or None if there is none with this id."""
        memory = self._get("agent", session_id, agent_id)
        return None if memory is None else SessionAgent.from_dict(json.loads(memory.content))

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: object) -> None:
        """Replace an agent of a session.

        Raises:
            SessionException: If there is none of its id.
        """
        path = ("agent", session_id, session_agent.agent_id)
        previous = self._existing(*path)
        session_agent.created_at = json.loads(previous.content)["created_at"]
        self._put(path, session_agent.to_dict(), previous)

    def create_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: object
    ) -> None:
        """Store a new message of an agent."""
        path = ("message", session_id, agent_id, str(session_message.message_id))
        self._put(path, session_message.to_dict(), label=_messages(session_id, agent_id))

    def read_message(
        self, session_id: str, agent_id: str, message_id: int, **_: object
    ) -> SessionMessage | None:
        """Return a message, or None if there is none with this id."""
        memory = self._get("message", session_id, agent_id, str(message_id))
        return None if memory is None else SessionMessage.from_dict(json.loads(memory.content))

    def update_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: object
    ) -> None:
        """Replace a message.

        Raises:
            SessionException: If there is none of its id.
        """
        path = ("message", session_id, agent_id, str(session_message.message_id))
        previous = self._existing(*path)
        session_message.created_at = json.loads(previous.content)["created_at"]
        self._put(path, session_message.to_dict(), previous, label=_messages(session_id, agent_id))

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **_: object
    ) -> list[SessionMessage]:
        """Return messages of an agent in order of their ids, after the first `offset`."""
        found = finished(self._all(_messages(session_id, agent_id)))
        messages = [SessionMessage.from_dict(json.loads(memory.content)) for memory in found]
        messages.sort(key=lambda message: message.message_id)
        return messages[offset:] if limit is None else messages[offset : offset + limit]

    async def _all(self, label: str) -> list[Memory]:
        return [memory async for memory in self._documents.all(label)]

    def _get(self, *path: str) -> Memory | None:
        return finished(self._documents.get(*path))

    def _existing(self, *path: str) -> Memory:
        memory = self._get(*path)
        if memory is None:
            raise SessionException(f"{path[0].capitalize()} {'/'.join(path[1:])} does not exist")
        return memory

    def _put(
        self,
        path: tuple[str, ...],
        value: dict[str, Any],
        previous: Memory | None = None,
        *,
        label: str | None = None,
    ) -> None:
        content = json.dumps(value, ensure_ascii=False)
        labels = [] if label is None else [label]
        finished(
            self._documents.put(
                path, content, metadata={"path": list(path)}, previous=previous, labels=labels
            )
        )


def _messages(session_id: str, agent_id: str) -> str:
    return name("messages:", session_id, agent_id)


def _entry(memory: Memory) -> MemoryEntry:
    metadata = {**memory.metadata, "id": memory.id, "time": memory.time.isoformat(), "score": memory.score}
    return MemoryEntry(content=memory.content, metadata=metadata)
