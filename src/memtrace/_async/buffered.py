"""A buffer in front of a client, for agents that log much and must not wait."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload
from weakref import WeakSet

import attrs
from memtrace_api import requests
from memtrace_api.fields import AddMemoryFields, DecisionFields, MemoryFields

from memtrace import _running as running
from memtrace._async.connection import home
from memtrace._async.flusher import AsyncFlusher
from memtrace._buffer import Backlog, Limits, requests_of
from memtrace._fields import decided, request_of, shows_fields
from memtrace._requests import batch, call
from memtrace.exceptions import BufferedWriteError, MemtraceError
from memtrace.models import AddMemoryRequest

if TYPE_CHECKING:
    from memtrace._async.client import AsyncMemtrace


@shows_fields
class AsyncWriteBuffer:
    """Takes memories at once and stores them in the background, in batches.

    `AsyncMemtrace.buffered` makes one, and says what it promises. An argument that cannot be meant is an
    error of the call. What cannot be sent, or is refused by the server, is raised as a `BufferedWriteError`,
    with the memories in hand, by the next call of any method or at the end of the block. A call that raises
    has taken nothing.
    """

    def __init__(
        self,
        client: AsyncMemtrace,
        limits: Limits,
        on_failure: Callable[[BufferedWriteError], None] | None,
    ) -> None:
        if inspect.iscoroutinefunction(on_failure):
            raise TypeError("on_failure is called and not awaited: give a function without async")
        self._client = client
        self._limits = limits
        self._on_failure = on_failure
        # One for each process that this was forked into, and for each event loop.
        self._flushers: dict[running.Home, AsyncFlusher] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.base_url!r})"

    @property
    def pending(self) -> int:
        """How many memories it holds that are neither stored nor failed yet."""
        return sum(flusher.backlog.pending for flusher in self._of_this_process())

    @property
    def failed(self) -> list[tuple[AddMemoryRequest, MemtraceError]]:
        """The memories that could not be stored and were not raised yet, each with the reason."""
        return requests_of(
            failure for flusher in self._of_this_process() for failure in flusher.backlog.failed
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        await self._flusher().finish(exc_value)

    async def close(self) -> None:
        """Take no more memories, and flush. Doing so twice is fine.

        Raises:
            BufferedWriteError: If some could not be stored.
        """
        self._is_closed = True
        await self._flusher().close()

    async def aclose(self) -> None:  # unasync: remove
        """Do as `close`."""
        await self.close()

    async def flush(self) -> None:
        """Wait until all memories that were taken so far are stored, or have failed.

        Raises:
            BufferedWriteError: If some could not be stored.
        """
        await self._flusher().flush()

    async def remember(self, agent_id: str, content: str, **fields: Unpack[MemoryFields]) -> None:
        """Take what an agent did, saw or was told, to store it soon.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Raises:
            BufferedWriteError: If memories that were taken before could not be stored.

        Example:
            >>> await log.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        await self.add_memory(agent_id=agent_id, content=content, **fields)

    async def decide(
        self, agent_id: str, decision: str, reasoning: str, **fields: Unpack[DecisionFields]
    ) -> None:
        """Take what an agent decided, and why, to store it soon.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Raises:
            BufferedWriteError: If memories that were taken before could not be stored.

        Example:
            >>> await log.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        await self.add_memory(agent_id=agent_id, content=decision, **decided(reasoning, fields))

    @overload
    async def add_memory(self, request: AddMemoryRequest | Mapping[str, Any]) -> None: ...

    @overload
    async def add_memory(self, **fields: Unpack[AddMemoryFields]) -> None: ...

    async def add_memory(
        self, request: AddMemoryRequest | Mapping[str, Any] | None = None, **fields: object
    ) -> None:
        """Take a memory, to store it soon.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.

        Raises:
            BufferedWriteError: If memories that were taken before could not be stored.
            TypeError: If a request and keywords are mixed.
        """
        await self._take([request_of(AddMemoryRequest, request, fields)])

    async def add_memories(self, memories: Iterable[AddMemoryRequest | Mapping[str, Any]]) -> None:
        """Take memories, all of them or none, to store them soon.

        They may be stored in several batches, so some may be stored and others fail.

        Args:
            memories: Requests, or mappings with the same fields; no more than the buffer holds.

        Raises:
            ValueError: If a mapping has an unknown field, or lacks a required one.
            BadRequestError: If they are more than the buffer holds.
            BufferedWriteError: If memories that were taken before could not be stored.

        Example:
            >>> await log.add_memories([{"agent_id": "agent_1", "content": "Opened ticket 4711"}])
        """
        await self._take(batch(memories))

    async def _take(self, memories: list[AddMemoryRequest]) -> None:
        flusher = self._flusher()
        # As JSON at once, so that it is found now what cannot be sent, and nothing changes that is later.
        await flusher.add([_json(_timed(memory, flusher)) for memory in memories])

    def _flusher(self) -> AsyncFlusher:
        here = home()
        flusher = self._flushers.get(here)
        if flusher is None:
            backlog = Backlog(self._limits)
            backlog = self._left_over(here) or backlog  # unasync: remove
            made = AsyncFlusher(
                self._client._sender,  # noqa: SLF001  # it is a part of the client
                backlog,
                self._on_failure,
                is_closed=self._is_closed,
            )
            flusher = self._flushers.setdefault(here, made)
            # The client closes it with itself.
            self._client._flushers.add(flusher)  # noqa: SLF001
        return flusher

    def _of_this_process(self) -> list[AsyncFlusher]:
        return [flusher for place, flusher in list(self._flushers.items()) if place[0] == os.getpid()]

    def _left_over(self, here: running.Home) -> Backlog | None:  # unasync: remove
        """Give what an event loop that has ended left here; what another process has is its own affair."""
        over = [place for place in self._flushers if place[0] == here[0] and running.is_over(place)]
        left = (self._flushers.pop(place).backlog for place in over)
        return next((backlog for backlog in left if not backlog.is_empty), None)


async def finish_all(flushers: WeakSet[AsyncFlusher], exception: BaseException | None) -> None:
    """Finish those of a client that can be used here, before it is closed.

    Raises:
        BufferedWriteError: If memories could not be stored, and there is no exception already.
    """
    ending = exception
    for flusher in list(flushers):
        if flusher.home == home():
            try:
                await flusher.finish(ending)
            except BufferedWriteError as error:
                ending = error
    if ending is not None and exception is None:
        raise ending


def _timed(memory: AddMemoryRequest, flusher: AsyncFlusher) -> AddMemoryRequest:
    # It happened now, and not when it is stored.
    return memory if memory.time is not None else attrs.evolve(memory, time=flusher.stamp())


def _json(memory: AddMemoryRequest) -> bytes:
    return call(requests.add_memory, body=memory).content or b""
