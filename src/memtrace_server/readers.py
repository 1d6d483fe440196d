"""Threads that read for many organisations, none of which can take all of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_Call = tuple[Callable[[], Any], asyncio.Future[Any]]


class Readers:
    """Threads for calls that block; one organisation has at most half of them at a time.

    Organisations that wait take turns. For the event loop's thread only.

    Args:
        threads: Number of threads, at least 2.
        name: What the threads are called.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._free = threads
        self._share = threads // 2
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._running: Counter[int] = Counter()
        self._waiting: dict[int, deque[_Call]] = {}  # by organisation, in order of their turns

    async def run(self, org: int, call: Callable[[], T]) -> T:
        """Return the result of a call, which is made in a thread on behalf of an organisation."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiting.setdefault(org, deque()).append((call, waiter))
        self._start(loop)
        return await waiter

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._free:
            org = next((org for org in self._waiting if self._running[org] < self._share), None)
            if org is None:
                return
            queue = self._waiting.pop(org)
            call, waiter = queue.popleft()
            if queue:
                self._waiting[org] = queue  # after all others
            if waiter.done():  # its caller has stopped waiting
                continue
            self._free -= 1
            self._running[org] += 1
            done = loop.run_in_executor(self._pool, call)
            done.add_done_callback(partial(self._finish, loop, org, waiter))

    def _finish(
        self, loop: asyncio.AbstractEventLoop, org: int, waiter: asyncio.Future[T], done: asyncio.Future[T]
    ) -> None:
        self._free += 1
        self._running[org] -= 1
        if not self._running[org]:
            del self._running[org]
        failure = done.exception()
        if waiter.done():
            pass
        elif failure is None:
            waiter.set_result(done.result())
        else:
            waiter.set_exception(failure)
        self._start(loop)
