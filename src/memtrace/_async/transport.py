"""How requests are sent: over HTTP or to a store in this process, and again after a transient failure."""

from __future__ import annotations

import functools
import os
import sys  # unasync: remove
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, NoReturn, cast

import anyio
import anyio.to_thread  # unasync: remove

from memtrace._config import Config
from memtrace._request import Call, OwnKey
from memtrace._response import RawResponse, error_of, record
from memtrace._retry import Deadline, Retries, failure_of, log_attempt, span
from memtrace.exceptions import APIConnectionError, MemtraceError

_IN_MEMORY = "sqlite://"


class AsyncHttpTransport:
    """Sends each request with a client of httpx.

    Args:
        client: The caller's client, which stays open; None to make one.
        base_url: Where requests are sent.

    Attributes:
        proxy: The proxy that requests go through, as it may be shown; None if there is none known.
    """

    def __init__(self, client: Any, base_url: str) -> None:  # noqa: ANN401  # of any library
        from memtrace import _http  # noqa: PLC0415  # long, and needed only by those who send over HTTP

        self.proxy: str | None = None
        self._is_ours = client is None
        if client is None:
            library = _http.httpx
            client, self.proxy = _http.own_client("AsyncClient", base_url)
            # All that a client adds to a request is here already; to add it takes a tenth of a call's time.
            self._build: Callable[..., Any] = library.Request
        else:
            library = _http.library_of(client, "AsyncClient")
            self._build = client.build_request
        self._client = client
        self._undecodable: type[Exception] = library.DecodingError
        # Most requests are for the same few URLs, and parsing one takes as long as reading a memory.
        self._url = functools.lru_cache(maxsize=64)(library.URL)
        # A caller's own User-Agent is kept.
        agent = client.headers.get("user-agent", "python-httpx")
        self._agent = {} if agent.startswith("python-httpx") else {"user-agent": agent}

    async def send(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Send a request once, and read the response.

        Raises:
            ResponseValidationError: If the response cannot be read.
            Exception: If there was no response; see `failure_of`.
        """
        request = self._build(
            call.method,
            self._url(config.url_of(call)),
            content=call.content,
            headers={**config.headers, **call.headers, **self._agent},
            extensions=deadline.extensions,
        )
        # A redirect is never followed, whatever the client's default: the API key would go along.
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            raw = RawResponse(call, config, response.status_code, response.headers, bytearray(), response)
            raw.require_readable()
            async for chunk in response.aiter_bytes():
                raw.content += chunk
                raw.require_size(len(raw.content))
                deadline.check()
        except self._undecodable as error:
            raise raw.invalid(f"cannot be decompressed: {error}") from error
        finally:
            await response.aclose()
        return raw

    async def aclose(self) -> None:
        """Close the client if it is ours."""
        if self._is_ours:
            await self._client.aclose()


class AsyncEmbeddedTransport:
    """Answers each request from a store in this process.

    Args:
        store: The store's URL.
        server: What has opened it; None to open it here.

    Raises:
        ImportError: If the server is not installed.
    """

    proxy: str | None = None

    def __init__(self, store: str, server: Any = None) -> None:  # noqa: ANN401  # it is imported below
        try:
            # Here, as those who send over HTTP need none of it.
            from memtrace_server.deadlines import Deadline as Until  # noqa: PLC0415
            from memtrace_server.embedded import EmbeddedServer  # noqa: PLC0415
            from memtrace_server.messages import Request  # noqa: PLC0415
        except ImportError as error:
            from memtrace_server.store_url import StoreUrl  # noqa: PLC0415  # it needs nothing of an extra

            url = StoreUrl.parse(store)
            extra = "server" if url.dsn is None else "postgres"
            raise ImportError(
                f"{url}: an embedded store needs the server: {error}; pip install 'memtrace-sdk[{extra}]'"
            ) from error
        self.server = server or EmbeddedServer(store)
        self._request, self._until = Request, Until

    async def send(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Answer a request; returns when a write is committed.

        Raises:
            Exception: If the store cannot be opened, or the deadline passed while another
                process wrote, or until a thread became free.
        """
        handle: Any = self.server.handle
        handle = partial(  # unasync: remove
            anyio.to_thread.run_sync,
            handle,
            abandon_on_cancel="Idempotency-Key" not in call.headers,  # a read; of a write, the outcome counts
        )
        # No response is lost on this way, and to keep a key would take a tenth of a write's time.
        headers = {n.lower(): value for n, value in call.headers.items() if not isinstance(value, OwnKey)}
        request = self._request(
            method=call.method, path=call.path, query=call.query, headers=headers, body=call.content or b""
        )
        until = self._until(deadline.left())
        try:
            response = await handle(request, until)
        finally:
            until.cancel()  # so that a read stops whose caller was cancelled
        received = {name.lower(): value for name, value in response.headers.items()}
        return RawResponse(call, config, response.status, received, response.body)

    async def aclose(self) -> None:
        """Close the store."""
        close: Any = self.server.close
        close = partial(anyio.to_thread.run_sync, close)  # unasync: remove
        await close()


_Transport = AsyncHttpTransport | AsyncEmbeddedTransport
# A process, and an event loop if there is one.
_Home = tuple[int, object]


class AsyncTransports:
    """The transports of a client and its copies: one for each process and event loop.

    Args:
        store: The URL of an embedded store; None for a server.
        http_client: The caller's client, if there is one.

    Raises:
        TypeError: If that is no client of httpx.
    """

    def __init__(self, store: str | None, http_client: object) -> None:
        self._store = store
        self.http_client = http_client
        if http_client is not None:
            from memtrace import _http  # noqa: PLC0415  # the caller has imported it

            _http.library_of(http_client, "AsyncClient")
        self._transports: dict[_Home, _Transport] = {}
        # One for each process: another thread may hold it while this one is forked.
        self._opening: dict[int, threading.Lock] = {}
        self._is_closed = False
        self._blocking: Any = None  # unasync: remove

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client has connections and cannot be pickled; make one where it is used")

    async def send(self, call: Call, config: Config, retries: Retries) -> RawResponse:
        """Send a request, as often as its retries allow, and return the response of success.

        Raises:
            MemtraceError: If there is none.
        """
        with span(call, retries):
            while True:
                log = partial(log_attempt, call, retries.count + 1, perf_counter())
                raw: RawResponse | None = None
                try:
                    raw = await self._attempt(call, config, retries.deadline)
                except MemtraceError as failure:
                    error = failure
                else:
                    record(raw)
                    if raw.is_success:
                        log(raw)
                        return raw
                    error = error_of(raw)
                delay = retries.delay_after(error)
                log(raw, error, delay)
                if delay is None:
                    raise error
                record(retries=1)
                if config.on_delay is None:
                    await anyio.sleep(delay)
                else:
                    config.on_delay(delay)

    async def aclose(self) -> None:
        """Close what this opened here; what the caller supplied stays open."""
        self._is_closed = True
        if self._blocking is not None:  # unasync: remove
            self._blocking.close()
        opened = self._transports.pop(self._home(), None)
        if opened is not None:
            await opened.aclose()

    def blocking(self, config: Config) -> Any:  # noqa: ANN401  # unasync: remove
        """Return a client for threads: of the same embedded store, or with connections of its own."""
        from memtrace._sync.client import Memtrace  # noqa: PLC0415  # few programs need them
        from memtrace._sync.transport import EmbeddedTransport, Transports  # noqa: PLC0415

        with self._lock():
            if self._blocking is None:
                store, open_ = self._store, cast("Callable[..., Any]", self._open)
                self._blocking = Transports(store, None)
                self._blocking._is_closed = self._is_closed  # noqa: SLF001  # a part of this one
                if store is not None:
                    self._blocking._open = lambda *home: EmbeddedTransport(store, open_(*home).server)  # noqa: SLF001
        client: Any = object.__new__(Memtrace)
        client._config, client._transports = config, self._blocking  # noqa: SLF001  # the same
        return client

    async def _attempt(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Send a request once, and read the response; every failure is a MemtraceError."""
        if self._is_closed:
            raise APIConnectionError(f"{call} at {config.base_url}: this client is closed; make a new one")
        bounded = nullcontext()
        bounded = anyio.fail_after(deadline.left())  # type: ignore[assignment]  # unasync: remove
        transport: _Transport | None = None
        try:
            with bounded:
                transport = self._transports.get(self._home()) or await self._opened(call, config)
                return await transport.send(call, config, deadline)
        except Exception as error:
            proxy = None if transport is None else transport.proxy
            failure = failure_of(error, call, config.base_url, proxy)
            if failure is None:
                raise
            if self._is_closed:
                problem = f"{call} at {config.base_url}: this client was closed while the call ran"
                # No failure of the connection, after which another attempt would be made.
                raise APIConnectionError(problem) from None
            raise failure from error

    async def _opened(self, call: Call, config: Config) -> _Transport:
        open_: Callable[..., Any] = self._open
        # Imports and certificates would hold up the event loop.
        open_ = partial(anyio.to_thread.run_sync, open_, abandon_on_cancel=True)  # unasync: remove
        try:
            opened: _Transport = await open_(self._home(), config.base_url)
        except (OSError, ValueError) as error:
            problem = f"{call} at {config.base_url}: cannot be opened: {error}"
            raise APIConnectionError(problem) from error
        if self._is_closed:  # meanwhile, when there was nothing to close yet
            await self.aclose()
            raise RuntimeError("closed")
        return opened

    def _open(self, home: _Home, base_url: str) -> _Transport:
        with self._lock():
            self._forget_ended(home)  # unasync: remove
            if home not in self._transports:
                if self._store is None:
                    self._transports[home] = AsyncHttpTransport(self.http_client, base_url)
                elif self._store == _IN_MEMORY and self._transports:
                    raise OSError("a store in memory stays with the process that opened it")
                else:
                    self._transports[home] = AsyncEmbeddedTransport(self._store)
            return self._transports[home]

    def _lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _home(self) -> _Home:
        """Return where connections can be used; those of a store, on any event loop."""
        loop: object = None
        loop = running_loop() if self._store is None else None  # unasync: remove
        return os.getpid(), loop

    def _forget_ended(self, home: _Home) -> None:  # unasync: remove
        # Those of a process that this one was forked from are kept: to close them, as their destructor would,
        # reaches into connections and files that are still in use there.
        for other in list(self._transports):
            is_over = getattr(other[1], "is_closed", bool)
            if other[0] == home[0] and is_over():
                del self._transports[other]


def running_loop() -> object:  # unasync: remove
    """Return asyncio's event loop that runs this code; None if there is none, as with trio."""
    try:
        # Code that runs on asyncio has imported it.
        running: object = sys.modules["asyncio"].get_running_loop()
    except (KeyError, RuntimeError):
        return None
    return running
