"""The connections of a client and its copies."""

from __future__ import annotations

import os
import threading

from memtrace import _proxies as proxies
from memtrace import _running as running
from memtrace._answers import Answer
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._failures import failure_of
from memtrace._given import AsyncGiven, AsyncWay
from memtrace._requests import Call
from memtrace.exceptions import APIConnectionError

_IN_MEMORY = "sqlite://"


def home() -> running.Home:
    """Tell where this runs: in this process, and on this event loop."""
    loop: object = None
    loop = running.loop()  # unasync: remove
    return os.getpid(), loop


class AsyncConnection:
    """A way to the server, opened when the first request is sent; or the one that the caller gave."""

    def __init__(self, store: str | None, given: AsyncGiven | None) -> None:
        self._store = store
        self._given = given
        # One for each process that this was forked into, and for each event loop.
        self._ways: dict[running.Home, AsyncWay] = {}
        self._opening = threading.Lock()
        self._is_closed = False

    @property
    def is_given(self) -> bool:  # unasync: remove
        """Whether the caller gave it."""
        return self._given is not None

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer.

        Raises:
            APIConnectionError: If this is closed or cannot be opened, or there was no answer.
            ResponseValidationError: If the answer cannot be read.
            MemtraceError: If the request cannot be sent.
        """
        if self._is_closed:
            raise APIConnectionError(f"{call} at {config.base_url}: this client is closed; make a new one")
        way = self._way(call, config)
        try:
            return await way.send(call, config, deadline)
        except way.failures as failure:
            if self._is_closed:
                problem = f"{call} at {config.base_url}: this client was closed while the call ran"
                # It is no failure of the connection's, after which another try would be made.
                raise APIConnectionError(problem) from None
            raise failure_of(failure, call, config.base_url) from failure

    async def aclose(self) -> None:
        """Close what this opened, and end the calls that run there; what the caller gave stays open."""
        self._is_closed = True
        opened = self._ways.pop(self._home(), None)
        if opened is not None:
            await opened.aclose()

    def _way(self, call: Call, config: Config) -> AsyncWay:
        home = self._home()
        if home in self._ways:
            return self._ways[home]
        with self._opening:
            if home not in self._ways:
                try:
                    self._ways[home] = self._open(config)
                except (OSError, ValueError) as error:
                    problem = f"{call} at {config.base_url}: cannot be opened: {error}"
                    raise APIConnectionError(problem) from error
            return self._ways[home]

    def _home(self) -> running.Home:
        """Tell where connections can be used; those of a store, on any event loop."""
        process, loop = home()
        return process, (loop if self._store is None else None)

    def _forget_ended(self) -> None:  # unasync: remove
        # Those of a process that this one was forked from are kept: to close them, as their destructor
        # would, reaches into connections and files that are still in use there.
        here = os.getpid()
        for place in [place for place in self._ways if place[0] == here and running.is_over(place)]:
            del self._ways[place]

    def _open(self, config: Config) -> AsyncWay:
        self._forget_ended()  # unasync: remove
        if self._given is not None:
            return self._given.way()
        # What is imported here is large, and making a client needs none of it.
        if self._store is not None:
            from memtrace._embedded import AsyncEmbedded  # noqa: PLC0415

            if self._store == _IN_MEMORY and self._ways:
                raise OSError("a store in memory stays with the process that opened it")
            return AsyncEmbedded(self._store)
        if not proxies.are_set():
            from memtrace._async.pool import AsyncPool  # noqa: PLC0415

            return AsyncPool(config.root)
        import httpx  # noqa: PLC0415

        from memtrace._async.borrowed import AsyncBorrowed  # noqa: PLC0415

        return AsyncBorrowed(httpx.AsyncClient(), is_ours=True)
