"""The connections of a client and its copies."""

from __future__ import annotations

import functools
import os
import threading

import httpx

from memtrace import _running as running
from memtrace._config import Config
from memtrace._embedded import embedded_transport
from memtrace._requests import Call
from memtrace.exceptions import APIConnectionError

_IN_MEMORY = "sqlite://"


class AsyncConnection:
    """A pool of connections, opened when the first request is sent; or the one that the caller gave."""

    def __init__(self, store: str | None, http_client: httpx.AsyncClient | None) -> None:
        self._store = store
        self._given = http_client
        # One for each process that this was forked into, and for each event loop.
        self._pools: dict[running.Home, httpx.AsyncClient] = {}
        self._opening = threading.Lock()
        self._closed = False
        # Parsing a URL is a good part of what a request costs, and most requests are to the same few.
        self._url = functools.lru_cache(maxsize=64)(httpx.URL)

    @property
    def is_given(self) -> bool:
        """Whether the caller gave it."""
        return self._given is not None

    async def send(self, call: Call, config: Config) -> httpx.Response:
        """Send a request once, and read the answer.

        Raises:
            APIConnectionError: If this is closed, or cannot be opened.
            httpx.HTTPError: If there was no answer.
        """
        if self._closed:
            raise APIConnectionError(f"{call} at {config.base_url}: this client is closed; make a new one")
        url = self._url(f"{config.root}{call.path}{'?' if call.query else ''}{call.query}")
        headers = {**config.headers, **call.headers}
        # A redirect is never followed, whatever the client's default: httpx would take the API key along.
        if self._given is not None:
            timeout = httpx.USE_CLIENT_DEFAULT if config.timeout is None else config.timeout
            request = self._given.build_request(
                call.method, url, content=call.content, headers=headers, timeout=timeout
            )
            return await self._given.send(request, follow_redirects=False)
        # Without build_request(), which merges into each request what is the same for all.
        request = httpx.Request(
            call.method,
            url,
            headers=headers,
            content=call.content,
            extensions={"timeout": config.patience},
        )
        return await self._pool(call, config).send(request, follow_redirects=False)

    async def aclose(self) -> None:
        """Close what this opened; what the caller gave stays open."""
        self._closed = True
        opened = self._pools.pop(self._home(), None)
        if opened is not None:
            await opened.aclose()

    def _pool(self, call: Call, config: Config) -> httpx.AsyncClient:
        home = self._home()
        if home in self._pools:
            return self._pools[home]
        with self._opening:
            if home not in self._pools:
                try:
                    self._pools[home] = self._open(home)
                except (OSError, ValueError) as error:
                    problem = f"{call} at {config.base_url}: cannot be opened: {error}"
                    raise APIConnectionError(problem) from error
            return self._pools[home]

    def _home(self) -> running.Home:
        """Tell where a pool can be used: in this process, and on this event loop."""
        loop: object = None
        loop = running.loop()  # unasync: remove
        return os.getpid(), (loop if self._store is None else None)

    def _open(self, home: running.Home) -> httpx.AsyncClient:
        # Those of a process that this one was forked from are kept: to close them, as their destructor
        # would, reaches into connections and files that are still in use there.
        for other in [other for other in self._pools if other[0] == home[0] and running.is_over(other)]:
            del self._pools[other]
        if self._store is None:
            return httpx.AsyncClient()
        if self._store == _IN_MEMORY and self._pools:
            raise OSError("a store in memory stays with the process that opened it")
        return httpx.AsyncClient(transport=embedded_transport(self._store))
