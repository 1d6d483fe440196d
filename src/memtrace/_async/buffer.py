"""A buffer in front of a client, for agents that log often and must not wait."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import msgspec
from memtrace_api.fields import AddMemoryFields, DecisionFields, MemoryFields

from memtrace._buffer import Batch, Failure, Limits, Queue, counted, write_error
from memtrace._compat import memory_for, newest_of
from memtrace._fields import shows_fields
from memtrace._request import as_event, batch, decided, request_of
from memtrace._worker import BUFFERS, HOLDING, AsyncWorker
from memtrace.exceptions import (
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    MemtraceError,
    NotFoundError,
    ResponseValidationError,
)
from memtrace.models import AddMemoryRequest, Memory

if TYPE_CHECKING:
    from memtrace._async.client import AsyncMemtrace

OnFailure = Callable[[BufferedWriteError], None]

# The code of a response to a batch that was stored before, and whose first response is no longer known.
_FORGOTTEN = "answer_forgotten"

logger = logging.getLogger("memtrace")


@shows_fields
class AsyncWriteBuffer:
    """Takes memories at once and stores them in the background, in batches.

    `AsyncMemtrace.buffered` returns one, and states what it guarantees. Every method raises a
    `BufferedWriteError` if memories taken before could not be stored. A call that raises has taken nothing.
    """

    def __init__(
        self, client: AsyncMemtrace, limits: Limits, on_failure: OnFailure | None, queue: Queue | None = None
    ) -> None:
        if inspect.iscoroutinefunction(on_failure):
            raise TypeError("on_failure: it is called, not awaited; give a function without async")
        self._client = client
        self._limits = limits
        self._on_failure = on_failure
        self._is_closed = False
        self._empty(queue)
        client._buffers.add(self)  # noqa: SLF001  # it closes them with itself
        BUFFERS.add(self)

    def _empty(self, queue: Queue | None = None) -> None:
        """Hold nothing, like a new buffer; or what is in a queue."""
        self._queue = queue or Queue(self._limits)
        self._worker: AsyncWorker | None = None
        self._is_working = False
        self._mutex = threading.Lock()  # guards all of these; never held during I/O

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.base_url!r})"

    @property
    def pending(self) -> int:
        """How many memories are neither stored nor failed."""
        return self._queue.pending

    @property
    def failed(self) -> list[Failure]:
        """The memories that could not be stored and are not raised yet, each with its reason."""
        return list(self._queue.failed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._finish(exception)

    async def remember(self, agent_id: str, content: str, **fields: Unpack[MemoryFields]) -> None:
        """Take what an agent did, saw or was told, and store it soon.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Example:
            >>> await log.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        await self.add_memory(agent_id=agent_id, content=content, **fields)

    async def decide(
        self, agent_id: str, decision: str, reasoning: str, **fields: Unpack[DecisionFields]
    ) -> None:
        """Take what an agent decided, and why, and store it soon.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

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
        """Take a memory and store it soon.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.
        """
        await self._take([request_of(AddMemoryRequest, request, fields)])

    async def add_memories(self, memories: Iterable[AddMemoryRequest | Mapping[str, Any]]) -> None:
        """Take all of these memories or none, and store them soon, in one batch or several.

        Args:
            memories: Requests, or mappings with the same fields; no more than the buffer holds.

        Example:
            >>> await log.add_memories([{"agent_id": "agent_1", "content": "Opened ticket 4711"}])
        """
        await self._take(batch(memories))

    async def flush(self) -> None:
        """Wait until every memory taken so far is stored or has failed."""
        await self._drain(self._here())
        with self._mutex:
            self._raise_failed()

    async def close(self) -> None:
        """Flush, and take no more memories. Closing twice is fine."""
        await self._finish(None)

    async def aclose(self) -> None:  # unasync: remove
        """Do the same as `close`."""
        await self.close()

    async def _finish(self, exception: BaseException | None) -> None:
        """Close at the end of a block; an exception that ended the block is not replaced."""
        worker = self._here()
        with self._mutex:
            self._is_closed = True
        with worker.shield():
            await self._drain(worker)
        worker.wake.set()
        worker.wait_until_told()
        with self._mutex:
            if exception is None:
                self._raise_failed()
            elif self._queue.failed:
                exception.add_note(f"{write_error(self._queue.failed)}; see `failed` of the buffer")

    def _finish_at_exit(self) -> None:
        """Store what is held without an event loop, or log that it is lost."""
        closing: Any = self
        closing = self._blocking()  # unasync: remove
        if closing is None:  # unasync: remove
            self._queue.give_up(MemtraceError("http_client works only on its event loop, which has ended"))
            logger.error("Lost: %s", write_error(self._queue.failed))
            return
        if self.pending:
            logger.warning("Sending %s as the interpreter ends; close buffers before", counted(self.pending))
        try:
            closing.close()
        except BufferedWriteError as error:
            logger.error("Lost: %s", error)  # noqa: TRY400  # the traceback ends here

    def _blocking(self) -> object:  # unasync: remove
        """Return a client that stores what is held as it closes; None if only the event loop can send it."""
        from memtrace._sync.buffer import WriteBuffer  # noqa: PLC0415  # few programs need it

        client: Any = self._client._blocking()  # noqa: SLF001  # a buffer is a part of its client
        if client is not None:
            HOLDING.add(WriteBuffer(client, self._limits, self._on_failure, self._queue))
        return client

    async def _take(self, requests: list[AddMemoryRequest]) -> None:
        worker = self._here()
        requests = [as_event(request) for request in requests]
        with self._mutex:
            for request in requests:
                request.time = request.time or self._queue.stamp(datetime.now(UTC))
        sizes = [len(msgspec.json.encode(request.to_dict())) for request in requests]
        while not self._added(requests, sizes):
            await self._send(worker)
        with self._mutex:
            is_working, self._is_working = self._is_working, True
            is_due = self._is_due(worker)
        if is_working:
            if is_due:
                worker.wake.set()
            return
        try:
            worker.start(partial(self._work, worker))
        except RuntimeError as error:
            logger.debug("Sending at once, as nothing runs in the background any more: %s", error)
            self._is_working = False
            await self._drain(worker)

    def _here(self) -> AsyncWorker:
        """Return the worker of this event loop."""
        with self._mutex:
            if self._worker is None or not self._worker.is_here:
                self._worker, self._is_working = AsyncWorker(), False
            return self._worker

    def _added(self, requests: list[AddMemoryRequest], sizes: list[int]) -> bool:
        with self._mutex:
            if self._is_closed:
                raise BufferedWriteError("This buffer is closed; make a new one")
            self._raise_failed()
            if not self._queue.has_room(sizes):
                return False
            self._queue.add(requests, sizes, monotonic())
            HOLDING.add(self)
            return True

    async def _work(self, worker: AsyncWorker) -> None:
        """Send what is due until nothing is left."""
        try:
            while True:
                with self._mutex:
                    delay = self._queue.due_in(monotonic())
                    if delay is None:
                        self._is_working = False
                        return
                if delay > 0 and not worker.is_ending:
                    await worker.wait(delay)
                else:
                    await self._send(worker, only_if_due=True)
        except BaseException:
            self._is_working = False
            # An event loop that ends cancels its tasks, and waits for them.
            with worker.shield():
                await self._drain(worker)
            raise

    def _is_due(self, worker: AsyncWorker) -> bool:
        return worker.is_ending or self._queue.due_in(monotonic()) == 0

    async def _drain(self, worker: AsyncWorker) -> None:
        last = self._queue.added
        while True:
            with self._mutex:
                if self._queue.is_settled(last):
                    return
            await self._send(worker)

    async def _send(self, worker: AsyncWorker, *, only_if_due: bool = False) -> None:
        """Send the next batch. Callers that need room, or a flush, take a turn at it too."""
        async with worker.turn:
            with self._mutex:
                taken = None if only_if_due and not self._is_due(worker) else self._queue.take()
            if taken is None:
                return
            record = await self._outcome(taken)
            with self._mutex:
                before = len(self._queue.failed)
                record()
                if new := self._queue.failed[before:]:
                    logger.warning("%s", write_error(new))
                failed = self._take_failed() if self._on_failure else []
                if failed:
                    worker.begin_to_tell()
                if not (self._queue.pending or self._queue.failed):
                    HOLDING.discard(self)
        if failed and self._on_failure:
            # Not in the turn, as the function may well use this buffer.
            try:
                self._on_failure(write_error(failed))
            except Exception:
                logger.exception("on_failure: it raised an error; what it was given is raised instead")
                with self._mutex:
                    self._queue.failed += failed
                    HOLDING.add(self)
            finally:
                worker.end_telling()

    async def _outcome(self, taken: Batch) -> Callable[[], None]:
        """Send a batch, and return the function that records its outcome."""
        try:
            return partial(self._queue.settle, taken, await self._stored(taken))
        except (BadRequestError, ConflictError, NotFoundError) as error:
            return partial(self._queue.refuse, taken, error)
        except MemtraceError as error:
            return partial(self._queue.give_up, error)
        except Exception as error:  # noqa: BLE001  # hooks of the caller's http_client may raise anything
            unknown = MemtraceError(f"Sending a batch failed: {error!r}")
            unknown.__cause__ = error
            return partial(self._queue.give_up, unknown)

    async def _stored(self, taken: Batch) -> Collection[int]:
        """Send a batch, and return the indexes of its memories that are stored."""
        requests = [memory.request for memory in taken.memories]
        try:
            stored = await self._client.add_memories(requests, idempotency_key=taken.key)
        except ConflictError as conflict:
            if conflict.code == _FORGOTTEN:
                return range(len(requests))
            found = await self._found(requests) if conflict.code is None else []
            if not found:
                raise
            return found
        if len(stored) != len(requests):
            raise ResponseValidationError(
                f"The response has {len(stored)} memories; {len(requests)} were sent"
            )
        return range(len(requests))

    async def _found(self, requests: list[AddMemoryRequest]) -> list[int]:
        """Return the indexes of the memories that a Memtrace 0.x server has.

        It refuses a batch for one duplicate without naming it, and has stored what came before.
        """
        newest: dict[str, list[Memory]] = {}
        for agent_id in {request.agent_id for request in requests}:
            newest[agent_id] = (await self._client.list_memories(newest_of(agent_id))).memories
        return [i for i, request in enumerate(requests) if memory_for(request, newest[request.agent_id])]

    def _raise_failed(self) -> None:
        failed = self._take_failed()
        if not self._queue.pending:
            HOLDING.discard(self)
        if failed:
            raise write_error(failed)

    def _take_failed(self) -> list[Failure]:
        failed, self._queue.failed = self._queue.failed, []
        return failed
