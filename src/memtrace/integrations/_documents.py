"""JSON documents under names, stored as memories: each version supersedes the previous one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from memtrace import AsyncMemtrace, Memory, NotFoundError
from memtrace.integrations._names import name

_PAGE = 1_000


class Documents:
    """The documents of one agent.

    Args:
        client: The client that stores them.
        agent_id: The agent whose memories they are.
        kind: The event type that distinguishes them from the agent's other memories.
    """

    def __init__(self, client: AsyncMemtrace, agent_id: str, kind: str) -> None:
        self._client = client
        self._agent_id = agent_id
        self._kind = kind

    async def get(self, *path: str) -> Memory | None:
        """Return the newest version of a document, or None if it does not exist."""
        page = await self._client.list_memories(agent_id=self._agent_id, tags=[self._tag(path)], limit=1)
        return page.memories[0] if page.memories else None

    async def put(  # noqa: PLR0913 - the parts of a document
        self,
        path: Sequence[str],
        content: str,
        *,
        metadata: dict[str, Any],
        previous: Memory | None,
        labels: Sequence[str] = (),
        ttl: int | None = None,
    ) -> Memory:
        """Store a version of a document, which supersedes the previous one."""
        fields: dict[str, Any] = {} if previous is None else {"supersedes": previous.id}
        if ttl is not None:
            fields["ttl"] = ttl
        return await self._client.remember(
            self._agent_id,
            content,
            event_type=self._kind,
            tags=[self._kind, self._tag(path), *labels],
            metadata=metadata,
            on_duplicate="store",
            **fields,
        )

    def all(self, *labels: str) -> AsyncIterator[Memory]:
        """Iterate over the newest versions of documents with these labels, last changed first."""
        return self._client.iter_memories(
            agent_id=self._agent_id, tags=[self._kind, *labels], page_size=_PAGE
        )

    def search(self, query: str, *labels: str) -> AsyncIterator[Memory]:
        """Iterate over the documents that match a query, best first."""
        return self._client.iter_search(agent_id=self._agent_id, query=query, tags=[self._kind, *labels])

    async def forget(self, memory: Memory) -> None:
        """Forget a version and all older ones, oldest first, so that no older one becomes current."""
        versions = [memory]
        while versions[-1].supersedes:
            try:
                versions.append(await self._client.get_memory(versions[-1].supersedes))
            except NotFoundError:
                break  # it has expired
        for version in reversed(versions):
            await self._client.forget(version)

    def _tag(self, path: Sequence[str]) -> str:
        return name(f"{self._kind}:", *path)
