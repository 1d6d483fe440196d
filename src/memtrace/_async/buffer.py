"""A buffer in front of a client, for agents that log often and must not wait."""

from __future__ import annotations

import sys  # unasync: remove
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError, wait  # unasync: remove
from contextlib import nullcontext, suppress
from functools import partial
from threading import main_thread  # unasync: remove
from typing import TYPE_CHECKING, Any, Self

import anyio  # unasync: remove
import anyio.lowlevel  # unasync: remove
import anyio.to_thread  # unasync: remove
from memtrace_api import requests
from memtrace_api.methods import AsyncBufferMethods

from memtrace._async.transport import running_loop  # unasync: remove
from memtrace._buffer import POLL, Batch, Buffer
from memtrace._fields import shows_fields
from memtrace._request import batch, call, request_of
from memtrace.exceptions import ConflictError, MemtraceError, ResponseValidationError
from memtrace.models import AddMemoriesRequest, AddMemoryRequest, MemoryBatch

if TYPE_CHECKING:
    from memtrace._async.client import AsyncMemtrace

# The code of a response to a batch that was stored before, and whose first response is no longer known.
_FORGOTTEN = "answer_forgotten"

_waiting: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("waiting")  # unasync: remove


@shows_fields
class AsyncWriteBuffer(AsyncBufferMethods, Buffer):
    """Takes memories at once and stores them in the background, in batches.

    `AsyncMemtrace.buffered` returns one, and states what it guarantees. Every method raises a
    `BufferedWriteError` if memories taken before could not be stored. A call that raises has taken nothing.
    """

    _may_wait = False  # unasync: remove
    _loop: Any = None  # unasync: remove

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
        await self._add_all(batch(memories))

    async def flush(self) -> None:
        """Wait until every memory taken so far is stored or has failed."""
        await self._wait(self._drain)
        self._raise_failed()

    async def close(self) -> None:
        """Flush, and take no more memories. Closing twice is fine."""
        await self._finish(None)

    async def aclose(self) -> None:  # unasync: remove
        """Do the same as `close`."""
        await self.close()

    async def _finish(self, exception: BaseException | None) -> None:
        shield: Any = nullcontext()
        shield = anyio.CancelScope(shield=True)  # unasync: remove
        with shield:
            await self._wait(self._end)
        self._conclude(exception)

    async def _add(self, request: object, fields: Mapping[str, object]) -> None:
        await self._add_all([request_of(AddMemoryRequest, request, fields)])

    async def _add_all(self, requests: list[AddMemoryRequest]) -> None:
        self._loop = _event_loop()  # unasync: remove
        memories = self._queued(requests)
        while not self._take(memories):
            await self._wait(partial(self._send, waiting=memories))

    async def _wait(self, work: Callable[[], None]) -> None:
        """Do what may take long; if there is an event loop, in a thread."""
        wait: Callable[[], Any] = work
        self._loop = _event_loop()  # unasync: remove
        wait = partial(_in_thread, work)  # unasync: remove
        await wait()

    def _store(self, batch: Batch) -> int:
        store: Callable[[], Any] = partial(stored, self._client, batch)
        if self._client._transports.http_client is not None:  # noqa: SLF001  # unasync: remove
            store = partial(self._on_loop, store)
        else:
            from memtrace._sync.buffer import stored as store_blocking  # noqa: PLC0415  # few need it

            client = self._client._transports.blocking(self._client._config)  # noqa: SLF001  # a part of it
            store = partial(store_blocking, client, batch)
        count: int = store()
        return count

    def _on_loop(self, store: Callable[[], Awaitable[int]]) -> int:  # unasync: remove
        """Store a batch on the event loop of the last call, where alone a caller's `http_client` works."""
        loop, outcome, tasks = self._loop, Future[int](), list[object]()

        async def run() -> None:
            with suppress(InvalidStateError):  # of a loop that had stopped, and for which nobody waits
                try:
                    if not outcome.cancelled():
                        outcome.set_result(await store())
                except anyio.get_cancelled_exc_class():
                    outcome.cancel()
                except Exception as error:  # noqa: BLE001  # it is raised in the thread
                    outcome.set_exception(error)

        try:
            if hasattr(loop, "is_running"):
                # asyncio keeps no reference to its tasks.
                loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(run())))
            else:
                sys.modules["trio"].from_thread.run(run, trio_token=loop)
        except RuntimeError:
            outcome.cancel()
        while not outcome.done():
            wait([outcome], POLL)
            # One that has stopped may go on.
            may_go_on = loop is self._loop and main_thread().is_alive()
            if loop.is_closed() or not (loop.is_running() or may_go_on):
                outcome.cancel()
        if outcome.cancelled():
            raise MemtraceError("http_client: its event loop has ended; close the buffer before")
        return outcome.result()


async def stored(client: AsyncMemtrace, batch: Batch) -> int:
    """Send a batch, and return how many of its first memories are stored."""
    memories = [memory.request for memory in batch.memories]
    body = AddMemoriesRequest(memories=memories)
    write = call(requests.add_memory, body=body, idempotency_key=batch.key)
    try:
        count = len((await client._send(write, MemoryBatch, body)).memories)  # noqa: SLF001  # as above
    except ConflictError as conflict:
        if conflict.code == _FORGOTTEN:
            return len(memories)
        if conflict.code is not None:
            raise
        # A 0.x server names no duplicate, and has stored what came before it.
        found = await client._stored(memories)  # noqa: SLF001  # as above
        if found[0] is None:
            raise
        return found.index(None) if None in found else len(found)
    if count != len(memories):
        raise ResponseValidationError(f"The response has {count} memories; {len(memories)} were sent")
    return count


async def _in_thread(work: Callable[[], None]) -> None:  # unasync: remove
    # Few threads, as the tasks of one event loop may be many; and not those that embedded stores need.
    limiter = _waiting.get(None) or anyio.CapacityLimiter(10)
    _waiting.set(limiter)
    await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)


def _event_loop() -> Any:  # noqa: ANN401  # unasync: remove
    return running_loop() or sys.modules["trio"].lowlevel.current_trio_token()
