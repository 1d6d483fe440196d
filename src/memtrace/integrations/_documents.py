"""Documents under names, stored as memories: each version supersedes the previous one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from memtrace import AsyncMemtrace, ConflictError, Memory, NotFoundError
from memtrace.integrations._names import name
from memtrace.integrations._texts import contents

P = ParamSpec("P")
T = TypeVar("T")

_PAGE = 200  # memories of up to 256 KiB each, which stay below the 64 MiB that a client reads


class OutdatedError(Exception):
    """Another writer has changed a document since it was read."""


def settled(change: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Repeat a change that reads and then writes, until no other writer comes between."""

    @wraps(change)
    async def repeated(*args: P.args, **options: P.kwargs) -> T:
        while True:  # each failure is the success of another writer
            try:
                return await change(*args, **options)
            except OutdatedError:
                continue

    return repeated


class Documents:
    """The documents of one agent.

    A document that is longer than a memory may be continues in others, which have no tag of their kind.

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
        return await self._newest(self._tag(path))

    async def text(self, document: Memory) -> str:
        """Return the whole text of a document."""
        if "rest" not in document.metadata:
            return document.content
        rest = [memory.content async for memory in self._rest(document)]
        return "".join([document.content, *rest])

    async def put(  # noqa: PLR0913 - the parts of a document
        self,
        path: Sequence[str],
        content: str,
        *,
        metadata: dict[str, Any],
        previous: Memory | None,
        labels: Sequence[str] = (),
        ttl: int | None = None,
    ) -> None:
        """Store a version of a document, which supersedes the previous one.

        Raises:
            OutdatedError: The previous version is not, or no longer, the newest one.
        """
        tag = self._tag(path)
        first, *rest = contents(content)
        common: dict[str, Any] = {
            "agent_id": self._agent_id,
            "event_type": self._kind,
            "on_duplicate": "store",
            "ttl": ttl,
        }
        document = common | {"content": first, "tags": [self._kind, tag, *labels], "metadata": metadata}
        others: list[dict[str, Any]] = []
        if rest:
            of = f"{self._kind}-rest:{uuid4().hex}"
            document["metadata"] = metadata | {"rest": of}
            others = [common | {"content": part, "tags": [of]} for part in rest]
        if ttl is not None:  # a memory that expires cannot supersede another
            await self._client.add_memories([document, *others])
            async for older in self._older(tag):
                await self.forget(older)
        elif previous is None:
            await self._create(document, others, tag)
        else:
            try:
                await self._client.add_memories([document | {"supersedes": previous.id}, *others])
            except (ConflictError, NotFoundError) as error:
                raise OutdatedError from error

    async def _create(self, document: dict[str, Any], others: list[dict[str, Any]], tag: str) -> None:
        """Store the first version of a document, unless another writer has just stored one."""
        unique = {"dedup_key": tag, "on_duplicate": "reject"}
        while True:
            try:
                await self._client.add_memories([document | unique, *others])
            except ConflictError as error:
                existing_id = error.existing_id
                if existing_id is None or not await self._is_renamed(existing_id, tag):
                    raise OutdatedError from error
                unique["dedup_key"] = name(tag, existing_id)
            else:
                return

    async def _is_renamed(self, memory_id: str, tag: str) -> bool:
        """Return whether a version is superseded by one that has another name."""
        if await self._newest(tag) is not None:
            return False
        try:
            return (await self._client.get_memory(memory_id)).superseded_by is not None
        except NotFoundError:
            return False

    async def _newest(self, tag: str) -> Memory | None:
        page = await self._client.list_memories(agent_id=self._agent_id, tags=[tag], limit=1)
        return page.memories[0] if page.memories else None

    async def _older(self, tag: str) -> AsyncIterator[Memory]:
        page = await self._client.list_memories(agent_id=self._agent_id, tags=[tag])
        for memory in page.memories[1:]:
            yield memory

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
            rest = [each async for each in self._rest(version)] if "rest" in version.metadata else []
            for each in [version, *rest]:
                try:
                    await self._client.forget(each)
                except NotFoundError:  # another writer has forgotten it
                    continue

    def _rest(self, document: Memory) -> AsyncIterator[Memory]:
        return self._client.iter_memories(
            agent_id=self._agent_id, tags=[document.metadata["rest"]], order="asc", page_size=_PAGE
        )

    def _tag(self, path: Sequence[str]) -> str:
        return name(f"{self._kind}:", *path)
