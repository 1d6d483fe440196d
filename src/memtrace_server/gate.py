"""The gate: a request is read only if its key is known."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import cast

from memtrace_server import auth, times
from memtrace_server.auth import Principal
from memtrace_server.limits import FailureLimit
from memtrace_server.problems import Problem
from memtrace_server.store import Store
from memtrace_server.store.protocol import StoreReadOnly, StoreUnavailable, Transaction, Write

_FRESH = 5.0  # seconds for which a known key is not looked up again
_MINUTE = 60 * times.SECOND
_MAX_KNOWN = 10_000  # keys; the least recently used go first

_USE_EVERY = 60.0  # seconds between two records that a key is in use

_Found = Sequence[Principal | Problem]


class Gate:
    """Checks keys before anything else of a request is read. For the event loop's thread only.

    It decides whether a request is worth reading, and which organisation bears its cost. A good key always
    passes, however often its address has failed: others may share the address. What the request may do is
    decided in its own transaction, which looks the key up again: a revoked key stops at once.

    Args:
        store: Where keys are.
        failures: How many failures an address may have; any number if None.
    """

    def __init__(self, store: Store, failures: FailureLimit | None) -> None:
        self._store = store
        self._failures = failures
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()  # and when looked up
        self._waiting: dict[bytes, asyncio.Future[Principal | Problem]] = {}
        self._noted: OrderedDict[str, float] = OrderedDict()  # by key id, when its use was noted last
        self._is_busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memtrace-gate")

    async def admit(self, headers: Mapping[str, str], address: str) -> Principal:
        """Return who sends these headers.

        Args:
            headers: The request's headers.
            address: The client's address, which bears failures.

        Raises:
            Problem: 401, or 429 if the address has failed too often.
        """
        try:
            key = auth.given_digest(headers)
            found = self._fresh(key) or await self._look_up(key)
            if isinstance(found, Problem):
                raise found
        except Problem as problem:
            if problem.status == auth.UNAUTHORIZED and self._failures:
                self._failures.count(address)
            raise
        if found.key_id:
            self._note_use(found.key_id)
        return found

    def _fresh(self, key: bytes) -> Principal | None:
        known = self._known.get(key)
        return known[0] if known and time.monotonic() - known[1] < _FRESH else None

    async def _look_up(self, key: bytes) -> Principal | Problem:
        """Look a key up in the store, together with all that wait, so that unknown keys cost little each."""
        loop = asyncio.get_running_loop()
        waiter = self._waiting.get(key)
        if waiter is None:
            waiter = self._waiting[key] = loop.create_future()
            if not self._is_busy:
                self._start(loop)
        return await asyncio.shield(waiter)  # others may wait for it, too

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        asked, self._waiting = self._waiting, {}
        self._is_busy = True
        keys = list(asked)
        done = loop.run_in_executor(self._thread, self._store.read, partial(_find, keys=keys))
        done.add_done_callback(partial(self._finish, loop, asked))

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        asked: Mapping[bytes, asyncio.Future[Principal | Problem]],
        done: asyncio.Future[_Found],
    ) -> None:
        failure = done.exception()
        outcomes: _Found = [] if failure else done.result()
        for waiter in asked.values() if failure else ():
            waiter.set_exception(cast("BaseException", failure))
        for (key, waiter), found in zip(asked.items(), outcomes, strict=False):
            waiter.set_result(found)
            self._known.pop(key, None)
            if isinstance(found, Principal):
                self._known[key] = (found, time.monotonic())
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        self._is_busy = False
        if self._waiting:
            self._start(loop)

    def _note_use(self, key_id: str) -> None:
        """Record that a key is in use, once a minute; nothing waits for it."""
        now = time.monotonic()
        if now - self._noted.get(key_id, -_USE_EVERY) < _USE_EVERY:
            return
        self._noted[key_id] = now
        self._noted.move_to_end(key_id)
        if len(self._noted) > _MAX_KNOWN:
            self._noted.popitem(last=False)
        with suppress(StoreReadOnly, StoreUnavailable):
            self._store.submit([Write(run=partial(_note_use, key_id=key_id))])


def _note_use(transaction: Transaction, *, key_id: str) -> None:
    transaction.note_key_use(key_id, times.now() // _MINUTE * _MINUTE)


def _find(transaction: Transaction, *, keys: Sequence[bytes]) -> _Found:
    return [auth.find(transaction, key) for key in keys]
