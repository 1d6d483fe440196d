# Derived from src/memtrace/_async/buffer.py by scripts/unasync.py: edit that, then run `make regen`.
"""A buffer in front of a client, for agents that log often and must not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from memtrace_api import requests
from memtrace_api.methods import BufferMethods

from memtrace._buffer import Batch, Buffer
from memtrace._fields import shows_fields
from memtrace._request import batch, call, request_of
from memtrace.exceptions import ConflictError, ResponseValidationError
from memtrace.models import AddMemoriesRequest, AddMemoryRequest, MemoryBatch

if TYPE_CHECKING:
    from memtrace._sync.client import Memtrace

# The code of a response to a batch that was stored before, and whose first response is no longer known.
_FORGOTTEN = "answer_forgotten"


@shows_fields
class WriteBuffer(BufferMethods, Buffer):
    """Takes memories at once and stores them in the background, in batches.

    `Memtrace.buffered` returns one, and states what it guarantees. Every method raises a
    `BufferedWriteError` if memories taken before could not be stored. A call that raises has taken nothing.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        self._finish(exception)

    def add_memories(self, memories: Iterable[AddMemoryRequest | Mapping[str, Any]]) -> None:
        """Take all of these memories or none, and store them soon, in one batch or several.

        Args:
            memories: Requests, or mappings with the same fields; no more than the buffer holds.

        Example:
            >>> log.add_memories([{"agent_id": "agent_1", "content": "Opened ticket 4711"}])
        """
        self._add_all(batch(memories))

    def flush(self) -> None:
        """Wait until every memory taken so far is stored or has failed."""
        self._wait(self._drain)
        self._raise_failed()

    def close(self) -> None:
        """Flush, and take no more memories. Closing twice is fine."""
        self._finish(None)

    def _finish(self, exception: BaseException | None) -> None:
        shield: Any = nullcontext()

        with shield:
            self._wait(self._end)
        self._conclude(exception)

    def _add(self, request: object, fields: Mapping[str, object]) -> None:
        self._add_all([request_of(AddMemoryRequest, request, fields)])

    def _add_all(self, requests: list[AddMemoryRequest]) -> None:

        memories = self._queued(requests)
        while not self._take(memories):
            self._wait(partial(self._send, waiting=memories))

    def _wait(self, work: Callable[[], None]) -> None:
        """Do what may take long; if there is an event loop, in a thread."""
        wait: Callable[[], Any] = work

        wait()

    def _store(self, batch: Batch) -> int:
        store: Callable[[], Any] = partial(stored, self._client, batch)

        count: int = store()
        return count


def stored(client: Memtrace, batch: Batch) -> int:
    """Send a batch, and return how many of its first memories are stored."""
    memories = [memory.request for memory in batch.memories]
    body = AddMemoriesRequest(memories=memories)
    write = call(requests.add_memory, body=body, idempotency_key=batch.key)
    try:
        count = len((client._send(write, MemoryBatch, body)).memories)  # noqa: SLF001  # as above
    except ConflictError as conflict:
        if conflict.code == _FORGOTTEN:
            return len(memories)
        if conflict.code is not None:
            raise
        # A 0.x server names no duplicate, and has stored what came before it.
        found = client._stored(memories)  # noqa: SLF001  # as above
        if found[0] is None:
            raise
        return found.index(None) if None in found else len(found)
    if count != len(memories):
        raise ResponseValidationError(f"The response has {count} memories; {len(memories)} were sent")
    return count
