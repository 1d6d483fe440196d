"""The server's core behind HTTP: an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from starlette.applications import Starlette
from starlette.types import Lifespan, Receive, Scope, Send

from memtrace_server import problems, tenants
from memtrace_server.core import Core, Exchange, Work
from memtrace_server.limits import RateLimit
from memtrace_server.messages import Request, Response
from memtrace_server.metrics import Metrics
from memtrace_server.problems import Problem
from memtrace_server.store import Store, open_store
from memtrace_server.store.protocol import Outcome

_LOG = logging.getLogger("memtrace_server.requests")
_LARGEST_BODY = 80 << 20  # bytes; the contract's largest batch, 1,000 memories of 64 KiB, fits
_READERS = 4
_SEARCH = "searchMemories"
_NO_CONTENT = 204
_GROUP = 64  # short writes in one transaction; so many take some 5 ms

HAS_ARRIVED = "memtrace.has_arrived"
"""Among a scope's extensions, tells that nobody has to wait for the request's body."""


def create_app(  # noqa: PLR0913 - one for each thing that a server can be told
    store_url: str,
    *,
    bootstrap_key: str | None = None,
    auth: bool = True,
    on_new_key: Callable[[str], None] | None = None,
    rate_limit: float | None = None,
    client_timeout: float = 30.0,
    metrics: bool = False,
) -> Starlette:
    """The ASGI application of a server.

    Args:
        store_url: Where memories live, as `open_store` takes it.
        bootstrap_key: An admin's key to make sure of.
        auth: Whether a key is needed; without, everybody is the default organisation's admin.
        on_new_key: Is told the key that is made when the store has none at all.
        rate_limit: Requests a second that each key may send to this process; any number if None.
        client_timeout: Seconds for a client to send a request's body.
        metrics: Whether to count requests for `getMetrics`.

    Raises:
        ValueError: The URL or the key is not one.
        StoreUnavailable: The store cannot be opened.
    """
    store = open_store(store_url)
    if auth and (bootstrap_key or on_new_key):
        made = tenants.bootstrap(store, bootstrap_key)
        if made and on_new_key:
            on_new_key(made)
    counted = Metrics() if metrics else None
    core = Core(
        store,
        local=None if auth else tenants.local_principal(store),
        metrics=counted.response if counted else None,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        store.tend()
        yield
        await asyncio.to_thread(store.close)  # which finishes what was accepted

    api = Api(
        core,
        store,
        limit=RateLimit(rate_limit) if rate_limit else None,
        client_timeout=client_timeout,
        metrics=counted,
    )
    return _Application(api, lifespan)


class _Application(Starlette):
    """The API, which finds its operations itself and so goes past Starlette's router."""

    def __init__(self, api: Api, lifespan: Lifespan[Starlette]) -> None:
        super().__init__(lifespan=lifespan)
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        else:
            await self._api(scope, receive, send)


class Api:
    """Every operation of the contract.

    Writes that arrive together are committed together; reads go to a few threads. Neither holds up the
    event loop for long.
    """

    def __init__(
        self,
        core: Core,
        store: Store,
        *,
        limit: RateLimit | None,
        client_timeout: float,
        metrics: Metrics | None,
    ) -> None:
        self._core = core
        self._store = store
        self._limit = limit
        self._client_timeout = client_timeout
        self._metrics = metrics
        self._writes = _Writes(store)
        # A search may have to wait until rows are indexed, and no other read is to wait with it.
        self._searchers = ThreadPoolExecutor(_READERS, thread_name_prefix="memtrace-searcher")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="memtrace-reader")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        headers = _headers(scope)
        try:
            if self._limit:
                self._limit.check(headers)
            body = await self._body(scope, headers, receive) if _has_body(headers) else b""
            exchange = self._core.begin(_request(scope, headers, body))
        except Problem as problem:
            exchange = self._core.refuse(_request(scope, headers, b""), problem)
        except _ClientLeft:
            return
        response = self._core.finish(exchange, await self._outcome(exchange))
        seconds = time.perf_counter() - started
        if _LOG.isEnabledFor(logging.INFO):
            _log(exchange, response, seconds)
        if self._metrics:
            self._metrics.count(exchange.operation, response.status, seconds)
        await _send(exchange.request, response, send)

    async def _body(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> bytes:
        if HAS_ARRIVED in scope.get("extensions", ()):
            return await _body(headers, receive)
        try:
            async with asyncio.timeout(self._client_timeout):
                return await _body(headers, receive)
        except TimeoutError:
            raise problems.timed_out(self._client_timeout) from None

    async def _outcome(self, exchange: Exchange) -> Response | Exception:
        todo = exchange.todo
        if isinstance(todo, Response):
            return todo
        try:
            if todo.is_write:
                return await self._writes.outcome(todo)
            threads = self._searchers if exchange.operation == _SEARCH else self._readers
            return await asyncio.get_running_loop().run_in_executor(threads, self._core.read, todo)
        except Exception as error:  # noqa: BLE001 - the core tells each from the others
            return error


class _Writes:
    """Writes that wait, and those that are being committed. Only for the event loop's thread.

    Short ones are done right here, all that wait in one transaction, and a thread only waits for the disk.
    Python runs one thread at a time, so that to leave them to a thread saves nothing, and to take turns
    with it costs: with 32 clients an eighth of the rate. What may take long, what comes alone, and what
    comes while somebody else writes is left to the store's own thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[Work, asyncio.Future[Response]]] = deque()
        self._is_busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memtrace-committer")

    async def outcome(self, work: Work) -> Response:
        """What a write returns, once it is committed."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Response] = loop.create_future()
        if work.is_short:
            self._waiting.append((work, waiter))
            self._go_on(loop)
        else:
            self._submit(loop, work, waiter)
        return await waiter

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._gather(loop, 0)

    def _gather(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        """Start when no more have come in one round of the event loop.

        A group costs as much as some eight writes, whatever its size. With 32 clients, this was measured
        to raise their rate by a fifth.
        """
        if before < len(self._waiting) < _GROUP:
            loop.call_soon(self._gather, loop, len(self._waiting))
        else:
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]
        group = [(work, waiter) for work, waiter in taken if not waiter.done()]  # others were given up
        commit = self._store.start([work.run for work, _ in group]) if len(group) > 1 else None
        if commit is None:
            for work, waiter in group:
                self._submit(loop, work, waiter)
            self._is_busy = False
            self._go_on(loop)
        else:
            committed = loop.run_in_executor(self._thread, commit)
            committed.add_done_callback(partial(self._tell, loop, [waiter for _, waiter in group]))

    def _tell(
        self,
        loop: asyncio.AbstractEventLoop,
        waiters: Sequence[asyncio.Future[Response]],
        committed: asyncio.Future[Sequence[Outcome[Response]]],
    ) -> None:
        broken = committed.exception()
        outcomes = [(None, broken)] * len(waiters) if broken else committed.result()
        for waiter, (response, failure) in zip(waiters, outcomes, strict=True):
            _pass_on(waiter, response, failure)
        self._is_busy = False
        self._go_on(loop)

    def _submit(self, loop: asyncio.AbstractEventLoop, work: Work, waiter: asyncio.Future[Response]) -> None:
        def tell(done: Future[Response]) -> None:
            if not done.cancelled():
                failure = done.exception()
                response = None if failure else done.result()
                loop.call_soon_threadsafe(_pass_on, waiter, response, failure)

        try:
            future = self._store.submit(work.run)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _pass_on(waiter, None, error)
            return
        future.add_done_callback(tell)
        waiter.add_done_callback(lambda waiter: future.cancel() if waiter.cancelled() else None)


def _pass_on(
    waiter: asyncio.Future[Response], response: Response | None, failure: BaseException | None
) -> None:
    if waiter.done():  # given up
        return
    if failure is None:
        waiter.set_result(cast("Response", response))
    else:
        waiter.set_exception(failure)


class _ClientLeft(Exception):  # noqa: N818 - no error, and nobody is left to be told
    """The client closed the connection before it had sent the whole request."""


def _headers(scope: Scope) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _request(scope: Scope, headers: Mapping[str, str], body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=body,
    )


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes:
    chunks: list[bytes] = []
    announced = headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    if size > _LARGEST_BODY:
        raise problems.too_large(_LARGEST_BODY)
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > _LARGEST_BODY:
            raise problems.too_large(_LARGEST_BODY)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(request: Request, response: Response, send: Send) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    if response.status == _NO_CONTENT:
        del headers["Content-Length"]
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})


def _log(exchange: Exchange, response: Response, seconds: float) -> None:
    """One line a request; never a key, a query or a body, which may hold what was remembered."""
    # Made by hand: to find out which line logs, as `info` does, takes longer than all the rest.
    record = logging.LogRecord(_LOG.name, logging.INFO, __file__, 0, "request", (), None)
    record.request = {
        "request_id": exchange.request_id,
        "method": exchange.request.method,
        "path": exchange.request.path,
        "operation": exchange.operation,
        "status": response.status,
        "duration_ms": round(seconds * 1_000, 3),
    }
    _LOG.handle(record)
