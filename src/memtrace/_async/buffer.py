"""A buffer in front of a client, for agents that log often and must not wait."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import msgspec
from memtrace_api import requests
from memtrace_api.methods import AsyncBufferMethods

from memtrace._buffer import Batch, Failure, Queue, Queued, counted, write_error
from memtrace._fields import shows_fields
from memtrace._request import batch, call, request_of
from memtrace._worker import BUFFERS, HOLDING, AsyncWorker
from memtrace.exceptions import BufferedWriteError, ConflictError, MemtraceError, ResponseValidationError
from memtrace.models import AddMemoriesRequest, AddMemoryRequest, MemoryBatch

if TYPE_CHECKING:
    from memtrace._async.client import AsyncMemtrace

OnFailure = Callable[[BufferedWriteError], None]

# The code of a response to a batch that was stored before, and whose first response is no longer known.
_FORGOTTEN = "answer_forgotten"

logger = logging.getLogger("memtrace")


@shows_fields
class AsyncWriteBuffer(AsyncBufferMethods):
    """Takes memories at once and stores them in the background, in batches.

    `AsyncMemtrace.buffered` returns one, and states what it guarantees. Every method raises a
    `BufferedWriteError` if memories taken before could not be stored. A call that raises has taken nothing.
    """

    def __init__(self, client: AsyncMemtrace, queue: Queue, on_failure: OnFailure | None) -> None:
        if inspect.iscoroutinefunction(on_failure) or not (on_failure is None or callable(on_failure)):
            raise TypeError(f"on_failure: {on_failure!r} cannot be called; give a function without async")
        self._client = client
        self._on_failure = on_failure
        self._is_closed = False
        self._start_with(queue)
        client._buffers.add(self)  # noqa: SLF001  # it closes them with itself
        BUFFERS.add(self)

    def _start_with(self, queue: Queue) -> None:
        self._queue = queue
        self._worker: AsyncWorker | None = None
        self._mutex = threading.Lock()  # guards both; never held during I/O

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.base_url!r})"

    @property
    def pending(self) -> int:
        """How many memories are neither stored nor failed."""
        return len(self._queue)

    @property
    def failed(self) -> list[Failure]:
        """The memories that could not be stored and are not raised yet, each with its reason."""
        return list(self._queue.failed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        await self._finish(exception)

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
        worker.join()
        with self._mutex:
            if exception is None:
                self._raise_failed()
            elif self._queue.failed:
                exception.add_note(f"{write_error(self._queue.failed)}; see `failed` of the buffer")

    def _finish_at_exit(self) -> None:
        if self.pending:
            logger.warning("Sending %s as the interpreter ends; close buffers before", counted(self.pending))
        closing: Any = self
        closing = self._blocking()  # unasync: remove
        closing.close()
        closing._client.close()  # noqa: SLF001  # unasync: remove

    def _blocking(self) -> object:  # unasync: remove
        """Return a buffer with the same queue that needs no event loop."""
        from memtrace._sync.buffer import WriteBuffer  # noqa: PLC0415  # few programs need it

        client: Any = self._client._blocking()  # noqa: SLF001  # a buffer is a part of its client
        if client is None:
            lost = MemtraceError("http_client works only on its event loop, which has ended")
            self._queue.failed += self._queue.fail(lost)
            self._raise_failed()
        return WriteBuffer(client, self._queue, self._on_failure)

    async def _add(self, request: object, fields: Mapping[str, object]) -> None:
        await self._take([request_of(AddMemoryRequest, request, fields)])

    async def _take(self, requests: list[AddMemoryRequest]) -> None:
        worker, now = self._here(), monotonic()
        with self._mutex:
            for request in requests:
                request.time = request.time or self._queue.stamp(datetime.now(UTC))
        memories = [Queued(each, now, len(msgspec.json.encode(each.to_dict()))) for each in requests]
        while True:
            with self._mutex:
                if self._is_closed:
                    raise BufferedWriteError("This buffer is closed; make a new one")
                self._raise_failed()
                if self._queue.has_room(memories):
                    self._queue.add(memories)
                    is_due = self._queue.due_in(worker.now()) == 0
                    is_working, worker.is_working = worker.is_working, True
                    self._hold()
                    break
            await self._send(worker)
        if is_working:
            if is_due:
                worker.wake.set()
            return
        try:
            worker.start(partial(self._work, worker))
        except RuntimeError as error:
            logger.debug("Sending at once, as nothing runs in the background any more: %s", error)
            worker.is_working = False
            await self._drain(worker)

    def _here(self) -> AsyncWorker:
        """Return the worker of this event loop."""
        with self._mutex:
            if self._worker is None or not self._worker.is_here:
                self._worker = AsyncWorker()
            return self._worker

    def _hold(self) -> None:
        """Outlive the last reference as long as a memory is neither stored nor reported."""
        (HOLDING.add if self.pending or self.failed else HOLDING.discard)(self)

    def _raise_failed(self) -> None:
        failed, self._queue.failed = self._queue.failed, []
        self._hold()
        if failed:
            raise write_error(failed)

    async def _work(self, worker: AsyncWorker) -> None:
        """Send what is due until nothing is left."""
        try:
            while True:
                with self._mutex:
                    now = worker.now()
                    delay = self._queue.due_in(now)
                    if delay is None:
                        worker.is_working = False
                        return
                if delay > 0:
                    await worker.wait(delay)
                else:
                    await self._send(worker, now)
        except BaseException:
            worker.is_working = False
            # An event loop that ends cancels its tasks, and waits for them.
            with worker.shield():
                await self._drain(worker)
            raise

    async def _drain(self, worker: AsyncWorker) -> None:
        last = self._queue.added
        while self._queue.added - len(self._queue) < last:
            await self._send(worker)

    async def _send(self, worker: AsyncWorker, now: float = math.inf) -> None:
        """Send the next batch that is due. Callers that need room, or a flush, take a turn at it too."""
        async with worker.turn:
            with self._mutex:
                batch = self._queue.take(now)
            if batch is None:
                return
            try:
                record = partial(self._queue.settle, await self._stored(batch))
            except MemtraceError as error:
                record = partial(self._queue.fail, error)
            except Exception as error:  # noqa: BLE001  # hooks of the caller's http_client may raise anything
                unknown = MemtraceError(f"Sending a batch failed: {error!r}")
                unknown.__cause__ = error
                record = partial(self._queue.fail, unknown)
            with self._mutex:
                failed = record()
                if not self._on_failure:
                    self._queue.failed += failed
                self._hold()
        # Not in the turn, as what follows may well use this buffer.
        if failed:
            self._report(failed)

    def _report(self, failed: list[Failure]) -> None:
        error = write_error(failed)
        logger.warning("%s", error)
        if self._on_failure:
            try:
                self._on_failure(error)
            except BaseException as raised:
                with self._mutex:
                    self._queue.failed += failed
                    self._hold()
                if not isinstance(raised, Exception):  # Ctrl-C, say
                    raise
                logger.exception("on_failure: it raised an error; what it was given is raised instead")

    async def _stored(self, batch: Batch) -> int:
        """Send a batch, and return how many of its first memories are stored."""
        memories = [memory.request for memory in batch.memories]
        body = AddMemoriesRequest(memories=memories)
        write = call(requests.add_memory, body=body, idempotency_key=batch.key)
        try:
            stored = len((await self._client._send(write, MemoryBatch, body)).memories)  # noqa: SLF001  # the same
        except ConflictError as conflict:
            if conflict.code == _FORGOTTEN:
                return len(memories)
            if conflict.code is not None:
                raise
            # A 0.x server names no duplicate, and has stored what came before it.
            found = await self._client._stored(memories)  # noqa: SLF001  # a buffer is a part of its client
            if found[0] is None:
                raise
            return found.index(None) if None in found else len(found)
        if stored != len(memories):
            raise ResponseValidationError(f"The response has {stored} memories; {len(memories)} were sent")
        return stored
