# Derived from src/memtrace/_async/transport.py by scripts/unasync.py: edit that, then run `make regen`.
"""How requests are sent: over HTTP or to a store in this process, and again after a transient failure."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, NoReturn

from memtrace._config import Config
from memtrace._request import Call, OwnKey
from memtrace._response import RawResponse, error_of, record
from memtrace._retry import Deadline, Retries, failure_of, log_attempt, span
from memtrace.exceptions import APIConnectionError, MemtraceError

_IN_MEMORY = "sqlite://"


class HttpTransport:
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
            client, self.proxy = _http.own_client("Client", base_url)
            # All that a client adds to a request is here already; to add it takes a tenth of a call's time.
            self._build: Callable[..., Any] = library.Request
        else:
            library = _http.library_of(client, "Client")
            self._build = client.build_request
        self._client = client
        self._undecodable: type[Exception] = library.DecodingError
        # Most requests are for the same few URLs, and parsing one takes as long as reading a memory.
        self._url = functools.lru_cache(maxsize=64)(library.URL)
        # A caller's own User-Agent is kept.
        agent = client.headers.get("user-agent", "python-httpx")
        self._agent = {} if agent.startswith("python-httpx") else {"user-agent": agent}

    def send(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
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
        response = self._client.send(request, stream=True, follow_redirects=False)
        try:
            raw = RawResponse(call, config, response.status_code, response.headers, bytearray(), response)
            raw.require_readable()
            for chunk in response.iter_bytes():
                raw.content += chunk
                raw.require_size(len(raw.content))
                deadline.check()
        except self._undecodable as error:
            raise raw.invalid(f"cannot be decompressed: {error}") from error
        finally:
            response.close()
        return raw

    def close(self) -> None:
        """Close the client if it is ours."""
        if self._is_ours:
            self._client.close()


class EmbeddedTransport:
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

    def send(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Answer a request; returns when a write is committed.

        Raises:
            Exception: If the store cannot be opened, or the deadline passed while another
                process wrote, or until a thread became free.
        """
        handle: Any = self.server.handle

        # No response is lost on this way, and to keep a key would take a tenth of a write's time.
        headers = {n.lower(): value for n, value in call.headers.items() if not isinstance(value, OwnKey)}
        request = self._request(
            method=call.method, path=call.path, query=call.query, headers=headers, body=call.content or b""
        )
        until = self._until(deadline.left())
        try:
            response = handle(request, until)
        finally:
            until.cancel()  # so that a read stops whose caller was cancelled
        received = {name.lower(): value for name, value in response.headers.items()}
        return RawResponse(call, config, response.status, received, response.body)

    def close(self) -> None:
        """Close the store."""
        close: Any = self.server.close

        close()


_Transport = HttpTransport | EmbeddedTransport
# A process, and an event loop if there is one.
_Home = tuple[int, object]


class Transports:
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

            _http.library_of(http_client, "Client")
        self._transports: dict[_Home, _Transport] = {}
        # One for each process: another thread may hold it while this one is forked.
        self._opening: dict[int, threading.Lock] = {}
        self._is_closed = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client has connections and cannot be pickled; make one where it is used")

    def send(self, call: Call, config: Config, retries: Retries) -> RawResponse:
        """Send a request, as often as its retries allow, and return the response of success.

        Raises:
            MemtraceError: If there is none.
        """
        with span(call, retries):
            while True:
                log = partial(log_attempt, call, retries.count + 1, perf_counter())
                raw: RawResponse | None = None
                try:
                    raw = self._attempt(call, config, retries.deadline)
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
                    time.sleep(delay)
                else:
                    config.on_delay(delay)

    def close(self) -> None:
        """Close what this opened here; what the caller supplied stays open."""
        self._is_closed = True

        opened = self._transports.pop(self._home(), None)
        if opened is not None:
            opened.close()

    def _attempt(self, call: Call, config: Config, deadline: Deadline) -> RawResponse:
        """Send a request once, and read the response; every failure is a MemtraceError."""
        if self._is_closed:
            raise APIConnectionError(f"{call} at {config.base_url}: this client is closed; make a new one")
        bounded = nullcontext()

        transport: _Transport | None = None
        try:
            with bounded:
                transport = self._transports.get(self._home()) or self._opened(call, config)
                return transport.send(call, config, deadline)
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

    def _opened(self, call: Call, config: Config) -> _Transport:
        open_: Callable[..., Any] = self._open
        # Imports and certificates would hold up the event loop.

        try:
            opened: _Transport = open_(self._home(), config.base_url)
        except (OSError, ValueError) as error:
            problem = f"{call} at {config.base_url}: cannot be opened: {error}"
            raise APIConnectionError(problem) from error
        if self._is_closed:  # meanwhile, when there was nothing to close yet
            self.close()
            raise RuntimeError("closed")
        return opened

    def _open(self, home: _Home, base_url: str) -> _Transport:
        with self._lock():
            if home not in self._transports:
                if self._store is None:
                    self._transports[home] = HttpTransport(self.http_client, base_url)
                elif self._store == _IN_MEMORY and self._transports:
                    raise OSError("a store in memory stays with the process that opened it")
                else:
                    self._transports[home] = EmbeddedTransport(self._store)
            return self._transports[home]

    def _lock(self) -> threading.Lock:
        return self._opening.setdefault(os.getpid(), threading.Lock())

    def _home(self) -> _Home:
        """Return where connections can be used; those of a store, on any event loop."""
        loop: object = None

        return os.getpid(), loop
