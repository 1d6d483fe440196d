"""What requests need of the store: reads in a few threads, writes together, and nothing in the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

import msgspec

from memtrace_server.bodies import HUGE, LARGE
from memtrace_server.core import CHANGE_DELAY, Core, Exchange, Match, Work, rendered
from memtrace_server.deadlines import Deadline
from memtrace_server.messages import Request, Response
from memtrace_server.readers import Readers
from memtrace_server.service import Added, Step
from memtrace_server.store import Store
from memtrace_server.store.protocol import Outcome, Write

_READERS, _SEARCHERS = 4, 2  # threads; beside 8 and 8 at work, small requests waited five times as long
_REMOTE_READERS = 8  # threads that wait for the store most of their time
_DECODERS = 2  # threads for huge bodies, of which each organisation has one
_SEARCH = "searchMemories"
_LOOKS = 500  # a second, for the memories that one organisation waits for; one costs up to two small requests
_FORGET = 1 << 10  # bytes that it takes as long to write as to forget one memory


class Runner:
    """Does the work of requests. For the event loop's thread only.

    Args:
        core: Says what the work is.
        store: Where the work is done.
    """

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store
        self._writes = _Writes(store)
        self._waiting: Counter[int] = Counter()  # by organisation, requests that wait for a memory
        # A search may take long, and no other read is to wait for it.
        self._searchers = Readers(_REMOTE_READERS if store.is_remote else _SEARCHERS, "memtrace-searcher")
        self._readers = Readers(_REMOTE_READERS if store.is_remote else _READERS, "memtrace-reader")
        self._decoders = Readers(_DECODERS, "memtrace-decoder")

    async def begin(self, request: Request, match: Match, deadline: Deadline, org: int) -> Exchange:
        """Validate a request as `Core.begin` does; one with a large body in a thread, with what it writes."""
        if len(request.body) <= LARGE:
            return self._core.begin(request, match, deadline)
        return await self._threads(request).run(org, partial(self._prepared, request, match, deadline))

    async def run(
        self, exchange: Exchange, org: int, deadline: Deadline, is_stopping: Callable[[], bool]
    ) -> Response | Added | Exception:
        """Do the work of a request.

        Args:
            exchange: The request.
            org: The organisation that sends it.
            deadline: When the client stops waiting for the response.
            is_stopping: Returns whether the server is about to stop.

        Returns:
            The result of the work, or the error that it raised.
        """
        work = exchange.todo
        if not isinstance(work, Work):
            return work
        try:
            if work.is_write:
                return await self._write(exchange.request, work, org, deadline)
            threads = self._searchers if exchange.operation == _SEARCH else self._readers
            read = partial(threads.run, org, partial(self._core.read, work, deadline))
            if work.wait:
                return await self._until_found(org, read, work.wait, deadline, is_stopping)
            return await read()
        except asyncio.CancelledError:  # the server stops, and no longer waits for what it began
            deadline.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - the core tells each from the others
            return error

    def _prepared(self, request: Request, match: Match, deadline: Deadline) -> Exchange:
        """Begin a request, and do what its write can do before its transaction."""
        exchange = self._core.begin(request, match, deadline)
        if isinstance(exchange.todo, Work):
            exchange.todo.prepare()
        return exchange

    def _threads(self, request: Request) -> Readers:
        return self._decoders if len(request.body) > HUGE else self._readers

    async def _write(self, request: Request, work: Work, org: int, deadline: Deadline) -> Response | Added:
        """Write, in several steps if many memories are forgotten; others have their turns after each step."""
        step: Step | None = None
        if work.find:
            step = Step(await self._readers.run(org, partial(self._store.read, work.find, deadline)))
        while True:
            size = _FORGET * len(step.own_rows) if step else len(request.body)
            run = partial(work.run, step=step)
            write = _Write(run=run, deadline=deadline, org=org, size=size, wants=work.wants)
            written = await self._writes.written(write)
            step = written.rest
            if step is None:
                break
        if len(request.body) <= LARGE:
            return written
        return await self._threads(request).run(org, partial(rendered, written))

    async def _until_found(
        self,
        org: int,
        read: Callable[[], Awaitable[Response]],
        seconds: float,
        deadline: Deadline,
        is_stopping: Callable[[], bool],
    ) -> Response:
        """Read again after each change of the store, until something is found; no thread waits meanwhile.

        Whoever has stored something, all that wait read again: the more of them an organisation has, the less
        often each of them looks.
        """
        deadline.extend(seconds)
        wait = Deadline(seconds)
        self._waiting[org] += 1
        try:
            while True:
                version = self._store.version()
                response = await read()
                while True:
                    if not response.is_idle or wait.is_over() or deadline.is_over() or is_stopping():
                        return response
                    await asyncio.sleep(max(CHANGE_DELAY, self._waiting[org] / _LOOKS))
                    if version != self._store.version():
                        break
        finally:
            self._waiting[org] -= 1
            if not self._waiting[org]:
                del self._waiting[org]


def _new_waiter() -> asyncio.Future[Response | Added]:
    return asyncio.get_running_loop().create_future()


class _Write(Write, frozen=True, kw_only=True, eq=False):
    """A write of a request that waits for it."""

    waiter: asyncio.Future[Response | Added] = msgspec.field(default_factory=_new_waiter)


class _Writes:
    """Writes on their way to the store: those of one turn of the event loop go together.

    For each alone, the store's writer was woken up, which took 5 % of a server's time.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: list[_Write] = []

    async def written(self, write: _Write) -> Response | Added:
        """Return the result of a write once it is committed; nothing is done after its deadline."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._submit)
        self._gathered.append(write)
        return await write.waiter

    def _submit(self) -> None:
        writes, self._gathered = self._gathered, []
        try:
            self._store.submit(writes, _wake)
        except Exception as error:  # noqa: BLE001 - the error is reported to each request
            _tell([(write, (None, error)) for write in writes])


_Done = Sequence[tuple[_Write, Outcome[Response | Added]]]


def _wake(done: _Done) -> None:
    """Wake the event loop, once for all writes that were committed together.

    With a wake-up for each write, 32 clients were measured to write a seventh less.
    """
    write, _ = done[0]
    write.waiter.get_loop().call_soon_threadsafe(_tell, done)


def _tell(done: _Done) -> None:
    for write, (written, error) in done:
        if write.waiter.done():  # given up
            continue
        if error is None:
            write.waiter.set_result(cast("Response | Added", written))
        else:
            write.waiter.set_exception(error)
