"""A memory store and a session repository for Strands Agents.

Source of the interfaces: `strands.memory.MemoryStore` and `strands.session.SessionRepository`, version 1.
"""

from __future__ import annotations

from typing import Any

from memtrace import AsyncMemtrace, Memory, Memtrace
from memtrace.integrations._client import awaitable, blocking, finished, requires
from memtrace.integrations._documents import Documents, OutdatedError, settled
from memtrace.integrations._names import name
from memtrace.integrations._texts import contents, question, read, written

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
        words = question(query)
        if words is None:
            return []
        limit = (options or {}).get("max_search_results") or self.max_search_results or _RESULTS
        found = await self._client.search_memories(agent_id=self._agent_id, query=words, limit=limit)
        return [_entry(memory) for memory in found.results]

    async def add(self, content: str, metadata: Metadata | None = None) -> Memory:
        """Store a memory, or several for a text that is longer than one may be, and return the first.

        Equal texts within 24 hours are stored once.
        """
        common = {"agent_id": self._agent_id, "metadata": metadata or {}, "on_duplicate": "return"}
        stored = await self._client.add_memories([common | {"content": part} for part in contents(content)])
        return stored[0]

    async def add_messages(self, messages: list[Message], context: AddMessagesContext | None = None) -> None:
        """Store the texts of messages, each with its speaker as event type."""
        del context  # its numbers restart with each run
        requests: list[dict[str, Any]] = [
            {
                "agent_id": self._agent_id,
                "content": part,
                "event_type": message["role"],
                "on_duplicate": "return",
            }
            for message in messages
            if (text := "\n".join(block["text"] for block in message["content"] if "text" in block))
            for part in contents(text)
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
        path = ("session", session.session_id)
        exists = SessionException(f"Session {session.session_id} already exists")
        if self._get(*path) is not None:
            raise exists
        try:
            self._put(path, session.to_dict())
        except OutdatedError as error:  # another writer has just created it
            raise exists from error
        return session

    def read_session(self, session_id: str, **_: object) -> Session | None:
        """Return a session, or None if there is none with this id."""
        value = self._get("session", session_id)
        return None if value is None else Session.from_dict(value)

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: object) -> None:
        """Store an agent of a session."""
        self._replace(("agent", session_id, session_agent.agent_id), session_agent.to_dict())

    def read_agent(self, session_id: str, agent_id: str, **_: object) -> SessionAgent | None:
        """Return an agent of a session, or None if there is none with this id."""
        value = self._get("agent", session_id, agent_id)
        return None if value is None else SessionAgent.from_dict(value)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: object) -> None:
        """Replace an agent of a session.

        Raises:
            SessionException: If there is none of its id.
        """
        path = ("agent", session_id, session_agent.agent_id)
        session_agent.created_at = self._existing(*path)["created_at"]
        self._replace(path, session_agent.to_dict())

    def create_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: object
    ) -> None:
        """Store a message of an agent."""
        path = ("message", session_id, agent_id, str(session_message.message_id))
        value, label = session_message.to_dict(), _messages(session_id, agent_id)
        try:
            self._put(path, value, label)
        except OutdatedError:
            self._replace(path, value, label)

    def read_message(
        self, session_id: str, agent_id: str, message_id: int, **_: object
    ) -> SessionMessage | None:
        """Return a message, or None if there is none with this id."""
        value = self._get("message", session_id, agent_id, str(message_id))
        return None if value is None else SessionMessage.from_dict(value)

    def update_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: object
    ) -> None:
        """Replace a message.

        Raises:
            SessionException: If there is none of its id.
        """
        path = ("message", session_id, agent_id, str(session_message.message_id))
        session_message.created_at = self._existing(*path)["created_at"]
        self._replace(path, session_message.to_dict(), _messages(session_id, agent_id))

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **_: object
    ) -> list[SessionMessage]:
        """Return messages of an agent in order of their ids, after the first `offset`."""
        found = finished(self._all(_messages(session_id, agent_id)))
        messages = [SessionMessage.from_dict(value) for value in found]
        messages.sort(key=lambda message: message.message_id)
        return messages[offset:] if limit is None else messages[offset : offset + limit]

    async def _all(self, label: str) -> list[dict[str, Any]]:
        return [await self._value(memory) async for memory in self._documents.all(label)]

    def _get(self, *path: str) -> dict[str, Any] | None:
        return finished(self._read(path))

    async def _read(self, path: tuple[str, ...]) -> dict[str, Any] | None:
        memory = await self._documents.get(*path)
        return None if memory is None else await self._value(memory)

    async def _value(self, memory: Memory) -> dict[str, Any]:
        value: dict[str, Any] = read(await self._documents.text(memory))
        return value

    def _existing(self, *path: str) -> dict[str, Any]:
        value = self._get(*path)
        if value is None:
            raise SessionException(f"{path[0].capitalize()} {'/'.join(path[1:])} does not exist")
        return value

    def _put(self, path: tuple[str, ...], value: dict[str, Any], label: str | None = None) -> None:
        finished(self._write(path, value, label, None))

    def _replace(self, path: tuple[str, ...], value: dict[str, Any], label: str | None = None) -> None:
        finished(self._rewrite(path, value, label))

    @settled
    async def _rewrite(self, path: tuple[str, ...], value: dict[str, Any], label: str | None) -> None:
        await self._write(path, value, label, await self._documents.get(*path))

    async def _write(
        self, path: tuple[str, ...], value: dict[str, Any], label: str | None, previous: Memory | None
    ) -> None:
        await self._documents.put(
            path,
            written(value),
            metadata={"path": list(path)},
            previous=previous,
            labels=[] if label is None else [label],
        )


def _messages(session_id: str, agent_id: str) -> str:
    return name("messages:", session_id, agent_id)


def _entry(memory: Memory) -> MemoryEntry:
    metadata = {**memory.metadata, "id": memory.id, "time": memory.time.isoformat(), "score": memory.score}
    return MemoryEntry(content=memory.content, metadata=metadata)
