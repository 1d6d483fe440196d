"""The connections of a client and its copies."""

from __future__ import annotations

import functools
import os
import threading

import httpx

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
        self._opened: httpx.AsyncClient | None = None
        self._process = 0
        self._inherited: list[httpx.AsyncClient] = []
        self._closed = False
        self._lock = threading.Lock()
        # Parsing a URL is a good part of what a request costs, and most requests are to the same few.
        self._url = functools.lru_cache(maxsize=64)(httpx.URL)

    async def send(self, call: Call, config: Config) -> httpx.Response:
        """Send a request once, and read the answer.

        Raises:
            APIConnectionError: If this is closed, or cannot be opened.
            httpx.HTTPError: If there was no answer.
        """
        if self._closed:
            raise APIConnectionError(f"{call} at {config.base_url}: this client is closed; make a new one")
        url = self._url(f"{config.root}{call.path}{'?' if call.query else ''}{call.query}")
        headers = {**dict(config.headers), **call.headers}
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
            extensions={"timeout": config.patience.as_dict()},
        )
        return await self._client(call, config).send(request, follow_redirects=False)

    async def aclose(self) -> None:
        """Close what this opened; what the caller gave stays open."""
        self._closed = True
        opened, self._opened = self._opened, None
        if opened is not None and self._process == os.getpid():
            await opened.aclose()

    def _client(self, call: Call, config: Config) -> httpx.AsyncClient:
        if self._opened is not None and self._process == os.getpid():
            return self._opened
        with self._lock:
            if self._opened is not None and self._process != os.getpid():
                self._leave_to_parent(call)
            if self._opened is None:
                try:
                    self._opened = self._open()
                except (OSError, ValueError) as error:
                    raise APIConnectionError(
                        f"{call} at {config.base_url}: cannot be opened: {error}"
                    ) from error
                self._process = os.getpid()
            return self._opened

    def _leave_to_parent(self, call: Call) -> None:
        """Let go of what was opened before this process was forked: no two may share a socket or a file."""
        if self._store == _IN_MEMORY:
            raise APIConnectionError(f"{call}: a store in memory stays with the process that opened it")
        # Kept, since closing it, as its destructor would, reaches into the parent's connections.
        if self._opened is not None:
            self._inherited.append(self._opened)
        self._opened = None

    def _open(self) -> httpx.AsyncClient:
        if self._store is None:
            return httpx.AsyncClient()
        return httpx.AsyncClient(transport=embedded_transport(self._store), trust_env=False)
