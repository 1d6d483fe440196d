"""The server's core behind HTTP: an ASGI application."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import cast
from weakref import WeakValueDictionary

import msgspec
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from memtrace_server import auth, logs, problems, tenants
from memtrace_server.auth import Principal
from memtrace_server.connections import CONNECTION, Connection
from memtrace_server.core import CHANGE_DELAY, Core, Exchange, Match, Work, forgotten, rendered
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.gate import Gate
from memtrace_server.limits import FailureLimit, RateLimit
from memtrace_server.messages import Request, Response
from memtrace_server.metrics import Metrics
from memtrace_server.problems import Detail
from memtrace_server.readers import Readers
from memtrace_server.service import Added, Step, forgetting
from memtrace_server.shares import Share
from memtrace_server.store import Store, open_store
from memtrace_server.store.protocol import Outcome, Write

_LOG = logging.getLogger("memtrace_server.requests")
_LARGEST_BODY = 80 << 20  # bytes; the contract's largest batch, 1,000 memories of 64 KiB, fits
_LARGE = 64 << 10  # bytes of a body that counts for its organisation's share, and is validated in a thread
_HUGE = 1 << 20  # bytes of a body that waits for its organisation's turn
_STEP = 1 << 20  # bytes of a body that are received in one go
_MESSAGE = 128 << 10  # bytes that a connection has read at most when it is asked for some
_READERS, _SEARCHERS = 4, 2  # threads; beside 8 and 8 at work, small requests waited five times as long
_REMOTE_READERS = 8  # threads that wait for the store most of their time
_DECODERS = 2  # threads for huge bodies, of which each organisation has one
_SEARCH = "searchMemories"
_NO_CONTENT = 204
_LOOKS = 500  # a second, for the memories that one organisation waits for; one costs up to two small requests
_FORGET = 1 << 10  # bytes that it takes as long to write as to forget one memory
_CORS_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key")
_CORS_EXPOSED = ("Idempotent-Replayed", "Location", "Retry-After", "X-Request-Id")


def create_app(  # noqa: PLR0913 - one for each thing that a server can be told
    store_url: str,
    *,
    bootstrap_key: str | None = None,
    auth: bool = True,
    on_keys: Callable[[str | None, int], None] | None = None,
    any_host: bool = False,
    cors_origins: Sequence[str] = (),
    rate_limit: float | None = None,
    failure_limit: float | None = None,
    client_timeout: float = 30.0,
    request_timeout: float = 30.0,
    metrics: bool = False,
) -> Starlette:
    """The ASGI application of a server.

    Args:
        store_url: Where memories live, as `open_store` takes it.
        bootstrap_key: An admin's key to make sure of.
        auth: Whether a key is needed; without, everybody is the default organisation's admin.
        on_keys: Called with the key that was made as the store had none, if one was, and how many it has now.
        any_host: Whether requests for any host are answered without `auth`; otherwise only those for this
            machine, from no page in a browser but those of this machine and of `cors_origins`.
        cors_origins: Origins whose pages may call the server from a browser.
        rate_limit: Requests a second that each key may send to this process; any number if None.
        failure_limit: Failed authentications a minute for each address; any number if None.
        client_timeout: Seconds for a client to send a request's body.
        request_timeout: Seconds until a request is given up that has been read.
        metrics: Whether to count requests for `getMetrics`.

    Raises:
        ValueError: The URL or the key is not one.
        StoreUnavailable: The store cannot be opened.
    """
    store = open_store(store_url)
    if auth and (bootstrap_key or on_keys):
        made = tenants.bootstrap(store, bootstrap_key)
        if on_keys:
            on_keys(made, sum(key.revoked_at is None for key in tenants.list_keys(store)))
    counted = Metrics() if metrics else None
    local = None if auth else tenants.local_principal(store)
    core = Core(store, local=local, metrics=counted.response if counted else None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        store.tend()
        yield
        await asyncio.to_thread(store.close)  # which finishes what was accepted

    api: ASGIApp = Api(
        core,
        store,
        local=local,
        any_host=auth or any_host,
        origins=frozenset(cors_origins),
        rate_limit=RateLimit(rate_limit) if rate_limit else None,
        failure_limit=FailureLimit(failure_limit) if failure_limit else None,
        client_timeout=client_timeout,
        request_timeout=request_timeout,
        metrics=counted,
    )
    if cors_origins:
        api = CORSMiddleware(
            api,
            allow_origins=cors_origins,
            allow_methods=sorted({operation.method for operation in core.contract.operations.values()}),
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
        )
    return _Application(api, lifespan)


class _Application(Starlette):
    """The API, which finds its operations itself and so goes past Starlette's router."""

    def __init__(self, api: ASGIApp, lifespan: Lifespan[Starlette]) -> None:
        super().__init__(lifespan=lifespan)
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        else:
            await self._api(scope, receive, send)


class Api:
    """Every operation of the contract.

    The key is checked before anything else of a request is read. Writes that arrive together are committed
    together; reads go to a few threads. Neither holds up the event loop.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that an API can be told
        self,
        core: Core,
        store: Store,
        *,
        local: Principal | None = None,
        any_host: bool = True,
        origins: Collection[str] = (),
        rate_limit: RateLimit | None = None,
        failure_limit: FailureLimit | None = None,
        client_timeout: float = 30.0,
        request_timeout: float = 30.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._core = core
        self._store = store
        self._local = local
        self._any_host = any_host
        self._origins = origins
        self._rate_limit = rate_limit
        self._client_timeout = client_timeout
        self._request_timeout = request_timeout
        self._metrics = metrics
        self._gate = Gate(store, failure_limit)
        self._writes = _Writes(store)
        self._waiting: Counter[int] = Counter()  # by organisation, requests that wait for a memory
        # A search may take long, and no other read is to wait for it.
        self._searchers = Readers(_REMOTE_READERS if store.is_remote else _SEARCHERS, "memtrace-searcher")
        self._readers = Readers(_REMOTE_READERS if store.is_remote else _READERS, "memtrace-reader")
        self._shares: WeakValueDictionary[int, Share] = WeakValueDictionary()  # by organisation
        self._decoders = Readers(_DECODERS, "memtrace-decoder")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        incoming = _Incoming(scope, receive)
        try:
            await self._answer(scope, incoming, send)
        finally:
            incoming.leave()

    async def _answer(self, scope: Scope, incoming: _Incoming, send: Send) -> None:
        started = time.perf_counter()
        headers = _headers(scope)
        request = _request(scope, headers)
        match: Match | None = None
        principal: Principal | None = None
        deadline = Deadline(self._request_timeout)
        try:
            if not self._any_host:
                _check_origin(headers, self._origins)
            match = self._core.match(request)
            principal = await self._admit(match, headers, incoming.address)
            if match.operation.takes_body and _has_body(headers):
                await self._read_body(incoming, headers, principal.org if principal else 0)
                request = msgspec.structs.replace(request, body=incoming.body)
                deadline = Deadline(self._request_timeout)
            incoming.when_lost(deadline.cancel)
            exchange = await self._begin(request, match, deadline, principal)
        except _ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the core tells each from the others
            exchange = self._core.refuse(request, error, match)
        response = self._core.finish(exchange, await self._outcome(exchange, principal, deadline, incoming))
        seconds = time.perf_counter() - started
        self._log(exchange, response, principal, incoming.address, seconds)
        if self._metrics:
            self._metrics.count(exchange.operation, response.status, seconds)
        await _send(exchange.request, response, send, closes=incoming.is_last, waits=incoming.has_turn)

    async def _admit(self, match: Match, headers: Mapping[str, str], address: str) -> Principal | None:
        """Who asks, and may; None if no key is needed.

        Raises:
            Problem: 401, 403 or 429.
        """
        role = match.operation.role
        if role is None or self._local:
            return self._local
        principal = await self._gate.admit(headers, address)
        auth.authorise(principal, role)
        if self._rate_limit and principal.key_id:
            self._rate_limit.check(principal.key_id)
        return principal

    async def _read_body(self, incoming: _Incoming, headers: Mapping[str, str], org: int) -> None:
        """Read a body; return from a huge one when it is its organisation's turn.

        Raises:
            Problem: 408 or 413, or what is wrong with the body as HTTP.
            DeadlineExceeded: Its turn, or room for it, did not come in time.
            _ClientLeft: The client left.
        """
        announced = headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else _LARGEST_BODY
        if size > _LARGEST_BODY:
            raise problems.too_large(_LARGEST_BODY)
        left = self._client_timeout
        if size <= _LARGE or not announced:  # most bodies without a size are small
            left = await self._receive(incoming, left, _LARGE)
        if incoming.is_whole:
            return
        share = self._shares.setdefault(org, Share(2 * _LARGEST_BODY))
        besides = len(incoming.body)
        incoming.join(share, size - besides)
        while not incoming.is_whole:
            await self._in_time(share.reserve(incoming, _STEP + _MESSAGE))
            left = await self._receive(incoming, left, _STEP)
            share.settle(incoming, len(incoming.body) - besides)
        if len(incoming.body) > _HUGE:
            await self._in_time(incoming.take_turn())

    async def _receive(self, incoming: _Incoming, left: float, most: int) -> float:
        """Read on, and return how many seconds are left of those that the client had."""
        before = time.monotonic()
        try:
            async with asyncio.timeout(left):
                await incoming.receive(most)
        except TimeoutError:
            raise problems.timed_out(self._client_timeout) from None
        return left + before - time.monotonic()

    async def _in_time(self, wait: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._request_timeout):
                await wait
        except TimeoutError:
            raise DeadlineExceeded from None

    async def _begin(
        self, request: Request, match: Match, deadline: Deadline, principal: Principal | None
    ) -> Exchange:
        begin = partial(self._core.begin, request, match, deadline)
        if len(request.body) <= _LARGE or principal is None:
            return begin()
        return await self._threads(request).run(principal.org, partial(_prepared, begin))

    def _threads(self, request: Request) -> Readers:
        return self._decoders if len(request.body) > _HUGE else self._readers

    async def _outcome(
        self, exchange: Exchange, principal: Principal | None, deadline: Deadline, incoming: _Incoming
    ) -> Response | Added | Exception:
        work = exchange.todo
        if not isinstance(work, Work):
            return work
        try:
            org = principal.org if principal else 0
            if work.find:
                rows = await self._readers.run(org, partial(self._store.read, work.find, deadline))
                return await self._forget(work, rows, deadline, org)
            if work.is_write:
                return await self._write(exchange.request, work, org, deadline)
            threads = self._searchers if exchange.operation == _SEARCH else self._readers
            read = partial(threads.run, org, partial(self._core.read, work, deadline))
            if work.wait:
                return await self._until_found(org, read, work, deadline, incoming)
            return await read()
        except asyncio.CancelledError:  # the server stops, and no longer waits for what it began
            deadline.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - the core tells each from the others
            return error

    async def _write(self, request: Request, work: Work, org: int, deadline: Deadline) -> Response | Added:
        size = len(request.body)
        write = _Write(run=work.run, deadline=deadline, org=org, size=size, wants=work.wants)
        written = await self._writes.written(write)
        if size <= _LARGE:
            return written
        return await self._threads(request).run(org, partial(rendered, written))

    async def _forget(
        self, work: Work, rows: Sequence[int], deadline: Deadline, org: int
    ) -> Response | Added:
        """Forget rows in steps, after each of which others have their turn to write."""
        done = 0
        for some, is_last in forgetting.steps(rows):
            step = Step(rows=some, done=done, is_last=is_last)
            run, size = partial(work.run, step=step), _FORGET * len(some)
            write = _Write(run=run, deadline=deadline, org=org, size=size, wants=work.wants)
            response = await self._writes.written(write)
            done = forgotten(response)
        return response

    async def _until_found(
        self,
        org: int,
        read: Callable[[], Awaitable[Response]],
        work: Work,
        deadline: Deadline,
        incoming: _Incoming,
    ) -> Response:
        """Read again after each change of the store, until something is found; no thread waits meanwhile.

        Whoever has stored something, all that wait read again: the more of them an organisation has, the less
        often each of them looks.
        """
        deadline.extend(work.wait)
        wait = Deadline(work.wait)
        self._waiting[org] += 1
        try:
            while True:
                version = self._store.version()
                response = await read()
                while True:
                    if not response.is_idle or wait.is_over() or deadline.is_over() or incoming.is_stopping:
                        return response
                    await asyncio.sleep(max(CHANGE_DELAY, self._waiting[org] / _LOOKS))
                    if version != self._store.version():
                        break
        finally:
            self._waiting[org] -= 1
            if not self._waiting[org]:
                del self._waiting[org]

    def _log(
        self,
        exchange: Exchange,
        response: Response,
        principal: Principal | None,
        address: str,
        seconds: float,
    ) -> None:
        logs.request(
            _LOG,
            exchange.request_id,
            level=logging.WARNING if response.status == auth.UNAUTHORIZED else logging.INFO,
            method=exchange.request.method,
            path=exchange.request.path,
            operation=exchange.operation,
            status=response.status,
            duration_ms=round(seconds * 1_000, 3),
            client=address,
            org=principal.org_id if principal else None,
            key=principal.key_id if principal else None,
        )


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
        """What a write returns, once it is committed; one that nobody waits for any more is not done."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._submit)
        self._gathered.append(write)
        return await write.waiter

    def _submit(self) -> None:
        writes, self._gathered = self._gathered, []
        try:
            self._store.submit(writes, _wake)
        except Exception as error:  # noqa: BLE001 - each request is told
            _tell([(write, (None, error)) for write in writes])


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


def _prepared(begin: Callable[[], Exchange]) -> Exchange:
    """Begin a request and do what its write can do before its transaction; in a thread, as it takes long."""
    exchange = begin()
    if isinstance(exchange.todo, Work):
        exchange.todo.prepare()
    return exchange


_Done = Sequence[tuple[_Write, Outcome[Response | Added]]]


class _ClientLeft(Exception):  # noqa: N818 - no error, and nobody is left to be told
    """The client closed the connection before it had sent the whole request."""


class _Incoming:
    """What comes from a client: its address, its body, and the end of its connection.

    Attributes:
        address: The client's address, or that which a trusted proxy reports.
        body: What has been read of the body.
        is_whole: Whether all of it has been read.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.address: str = scope["client"][0] if scope.get("client") else ""
        self.body = bytearray()  # grows in place: to join chunks would hold it twice
        self.is_whole = False
        self._share: Share | None = None
        self._has_turn = False
        self._receive = receive
        self._connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)

    @property
    def is_stopping(self) -> bool:
        """Whether the server is about to stop."""
        return self._connection is not None and self._connection.is_stopping

    @property
    def is_last(self) -> bool:
        """Whether the connection ends after the response; clients that are not told may send one more."""
        return self._connection is not None and self._connection.ends_after_response

    def when_lost(self, call: Callable[[], None]) -> None:
        """Have a function called if the client leaves."""
        if self._connection:
            self._connection.when_lost(call)

    @property
    def has_turn(self) -> bool:
        """Whether others wait until the request has ended."""
        return self._has_turn

    def join(self, share: Share, size: int) -> None:
        """Have the bytes of the body that are still to come count for a share, until `leave`."""
        self._share = share
        share.join(self, size)

    async def take_turn(self) -> None:
        """Wait for the turn of its share, which is this request's until `leave`."""
        if self._share is not None:
            await self._share.turn.acquire()
            self._has_turn = True

    def leave(self) -> None:
        """Let the next one have the turn and the room."""
        if self._share is None:
            return
        if self._has_turn:
            self._share.turn.release()
        self._share.drop(self)
        self._share, self._has_turn = None, False

    async def receive(self, most: int) -> None:
        """Read the body to its end, or so much of it and a little more.

        Args:
            most: Bytes.

        Raises:
            Problem: 413, or what is wrong with the body as HTTP.
            _ClientLeft: The client left.
        """
        if self._connection:
            self._connection.accept_body()
        most += len(self.body)
        while not self.is_whole and len(self.body) <= most:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            if self._connection and self._connection.body_problem:
                raise self._connection.body_problem
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
            if len(self.body) > _LARGEST_BODY:
                raise problems.too_large(_LARGEST_BODY)


def _check_origin(headers: Mapping[str, str], origins: Collection[str]) -> None:
    """Let a request pass that is for this machine, and from no page of another origin.

    Without keys, a page that a browser loads could otherwise call the server: its name may lead to 127.0.0.1
    (DNS rebinding), and for a POST without a body, browsers do not ask before they send it.

    Args:
        headers: The request's headers.
        origins: Origins whose pages may call the server.

    Raises:
        Problem: 400.
    """
    origin = headers.get("origin")
    if origin is not None and not {origin, "*"} & {*origins} and not _is_local(origin.partition("://")[2]):
        message = "without keys, the server answers only to pages of this machine and of --cors-origin"
        raise problems.invalid([Detail("origin", "header", message)])
    if not _is_local(headers.get("host", "")):
        message = "without keys, the server answers only to localhost and to addresses of this machine"
        raise problems.invalid([Detail("host", "header", message)])


def _is_local(host: str) -> bool:
    """Return whether a host, with or without a port, is a name or an address of this machine."""
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _headers(scope: Scope) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _request(scope: Scope, headers: Mapping[str, str]) -> Request:
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
    )


async def _send(request: Request, response: Response, send: Send, *, closes: bool, waits: bool) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    if response.status == _NO_CONTENT:
        del headers["Content-Length"]
    if closes:
        headers["Connection"] = "close"
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
        }
    )
    body = b"" if request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body, "more_body": waits})
    if waits:  # until the client has read it, or was given up
        await send({"type": "http.response.body"})
