"""JSON records in order of arrival, stored as memories of one session.

A record that is longer than a memory may be is split into parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from memtrace import AsyncMemtrace, Memory, NotFoundError, PermissionDeniedError
from memtrace.integrations._texts import read, written

Record = dict[str, Any]

_PART = 16_000  # characters, any of which fit into a memory as UTF-8
_BATCH = 1_000  # memories that one request stores
_PAGE = 1_000


class Records:
    """The records of one session.

    Args:
        client: The client that stores them.
        agent_id: The agent whose memories they are.
        session_id: The session; each agent needs its own.
    """

    def __init__(self, client: AsyncMemtrace, agent_id: str, session_id: str) -> None:
        self._client = client
        self._agent_id = agent_id
        self._session_id = session_id

    async def append(self, records: Sequence[tuple[Record, str, str | None]]) -> None:
        """Store records, each with its event type and its unique key, if it has one.

        A record whose key was stored within the last 24 hours is stored once.
        """
        requests = [request for record in records for request in self._requests(*record)]
        for at in range(0, len(requests), _BATCH):
            await self._client.add_memories(requests[at : at + _BATCH])

    async def read(self) -> list[Record]:
        """Return every record, oldest first."""
        found = [memory async for memory in self._memories("asc")]
        return [record for _, record in _joined(found)]

    async def newest(self, count: int) -> list[tuple[list[Memory], Record]]:
        """Return the newest records, oldest first, each with its memories."""
        newest: list[Memory] = []
        whole = 0
        async for memory in self._memories("desc", min(_PAGE, count)):
            newest.append(memory)
            whole += memory.metadata["part"] == 0
            if whole == count:
                break
        return _joined(newest[::-1])

    async def pop(self) -> Record | None:
        """Forget the newest record and return it, or return None if there is none."""
        while found := await self.newest(1):
            memories, record = found[0]
            try:
                await self._client.forget(memories[0])
            except NotFoundError:
                continue  # another process has forgotten it
            for memory in memories[1:]:
                await self._client.forget(memory)
            return record
        return None

    async def clear(self) -> None:
        """Forget every record."""
        try:
            await self._client.forget_all(agent_id=self._agent_id, session_id=self._session_id)
        except PermissionDeniedError:  # a writer's key can only forget memories one by one
            async for memory in self._memories("asc"):
                await self._client.forget(memory)

    def _memories(self, order: Literal["asc", "desc"], page_size: int = _PAGE) -> AsyncIterator[Memory]:
        return self._client.iter_memories(
            agent_id=self._agent_id, session_id=self._session_id, order=order, page_size=page_size
        )

    def _requests(self, record: Record, event_type: str, key: str | None) -> list[Record]:
        text = written(record)
        parts = [text[at : at + _PART] for at in range(0, len(text), _PART)]
        requests = []
        for index, part in enumerate(parts):
            request: Record = {
                "agent_id": self._agent_id,
                "session_id": self._session_id,
                "event_type": event_type,
                "content": part,
                "metadata": {"part": index, "parts": len(parts)},
            }
            if key is None:
                request["on_duplicate"] = "store"
            else:
                of = hashlib.sha256(f"{self._session_id}\n{key}".encode()).hexdigest()
                request |= {"dedup_key": f"{of}/{index}", "on_duplicate": "return"}
            requests.append(request)
        return requests


def _joined(memories: Sequence[Memory]) -> list[tuple[list[Memory], Record]]:
    """Join parts to records, without records whose first parts are missing because a batch was cut."""
    joined: list[tuple[list[Memory], Record]] = []
    parts: list[Memory] = []
    for memory in memories:
        part = memory.metadata["part"]
        if part == 0:
            parts = []
        if part != len(parts):
            continue
        parts.append(memory)
        if len(parts) == memory.metadata["parts"]:
            joined.append((parts, read("".join(each.content for each in parts))))
            parts = []
    return joined
