"""The server's core behind HTTP: an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response as StarletteResponse
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from memtrace_server import auth, ids, logs, problems, tenants, times
from memtrace_server.auth import Principal
from memtrace_server.bodies import Bodies, Body, ClientLeft
from memtrace_server.connections import CONNECTION, Connection
from memtrace_server.core import Core, Exchange, Match
from memtrace_server.deadlines import Deadline
from memtrace_server.gate import Gate
from memtrace_server.limits import FailureLimit, RateLimit
from memtrace_server.messages import JSON, Request, Response, refusal
from memtrace_server.metrics import Metrics
from memtrace_server.origins import Origins
from memtrace_server.running import Runner
from memtrace_server.store import Store, open_store

_LOG = logging.getLogger("memtrace_server.requests")
_NO_CONTENT = 204
_CORS_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key")
_CORS_EXPOSED = ("Idempotent-Replayed", "Location", "Retry-After", "X-Request-Id")


def create_app(  # noqa: PLR0913 - one for each option of a server
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
    """Return the ASGI application of a server.

    Args:
        store_url: The store's URL, as for `open_store`.
        bootstrap_key: An admin's key to create if it does not exist.
        auth: Whether a key is needed; without, everybody is the default organisation's admin.
        on_keys: Called with the key that was made as the store had none, if one was, and how many it has now.
        any_host: Whether requests for any host are answered without `auth`; otherwise only those for this
            machine, from no page in a browser but those of this machine and of `cors_origins`.
        cors_origins: Origins whose pages may call the server from a browser.
        rate_limit: Requests per second of each key in this process; None for no limit.
        failure_limit: Failed authentications per minute of each address; None for no limit.
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
        origins=None if auth or any_host else Origins(cors_origins),
        rate_limit=RateLimit(rate_limit) if rate_limit else None,
        failure_limit=FailureLimit(failure_limit) if failure_limit else None,
        client_timeout=client_timeout,
        request_timeout=request_timeout,
        metrics=counted,
    )
    if cors_origins:
        api = _Cors(
            api,
            allow_origins=cors_origins,
            allow_methods=sorted({operation.method for operation in core.contract.operations.values()}),
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
        )
    return _Application(api, lifespan)


class _Cors(CORSMiddleware):
    """Starlette's, whose refusals become error responses of the contract."""

    def preflight_response(self, request_headers: Headers) -> StarletteResponse:
        response = super().preflight_response(request_headers)
        request_id = ids.new_id("req_", times.now())
        response.headers["X-Request-Id"] = request_id
        if response.status_code != HTTPStatus.BAD_REQUEST:
            return response
        error = refusal(problems.malformed(bytes(response.body).decode()), request_id)
        kept = {name: value for name, value in response.headers.items() if name != "content-length"}
        return StarletteResponse(error.body, error.status, {**kept, "content-type": JSON})


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
    """Every operation of the contract over HTTP: what comes and goes, and in which order it is checked.

    The key is checked before anything else of a request is read.
    """

    def __init__(  # noqa: PLR0913 - one for each option of the API
        self,
        core: Core,
        store: Store,
        *,
        local: Principal | None = None,
        origins: Origins | None = None,
        rate_limit: RateLimit | None = None,
        failure_limit: FailureLimit | None = None,
        client_timeout: float = 30.0,
        request_timeout: float = 30.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._core = core
        self._local = local
        self._origins = origins
        self._rate_limit = rate_limit
        self._request_timeout = request_timeout
        self._metrics = metrics
        self._gate = Gate(store, failure_limit)
        self._bodies = Bodies(client_timeout, request_timeout)
        self._runner = Runner(core, store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one HTTP request."""
        connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
        body = Body(self._bodies, receive, connection)
        try:
            await self._respond(scope, body, connection, send)
        finally:
            body.leave()

    async def _respond(self, scope: Scope, body: Body, connection: Connection | None, send: Send) -> None:
        started = time.perf_counter()
        address: str = scope["client"][0] if scope.get("client") else ""
        headers = _headers(scope)
        request = _request(scope, headers)
        match: Match | None = None
        principal: Principal | None = None
        org = 0
        deadline = Deadline(self._request_timeout)
        try:
            if self._origins:
                self._origins.check(headers)
            match = self._core.match(request)
            principal = await self._admit(match, headers, address)
            org = principal.org if principal else 0
            if match.operation.takes_body and _has_body(headers):
                await body.read(headers, org)
                request = msgspec.structs.replace(request, body=body.data)
                deadline = Deadline(self._request_timeout)
            if connection:
                connection.when_lost(deadline.cancel)
            exchange = await self._runner.begin(request, match, deadline, org)
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the core tells each from the others
            exchange = self._core.refuse(request, error, match)
        outcome = await self._runner.run(
            exchange, org, deadline, lambda: connection is not None and connection.is_stopping
        )
        response = self._core.finish(exchange, outcome)
        seconds = time.perf_counter() - started
        self._log(exchange, response, principal, address, seconds)
        if self._metrics:
            self._metrics.count(exchange.operation, response.status, seconds)
        closes = connection is not None and connection.ends_after_response
        await _send(exchange.request, response, send, closes=closes, waits=body.has_turn)

    async def _admit(self, match: Match, headers: Mapping[str, str], address: str) -> Principal | None:
        """Return who sends a request, and may; None if no key is needed.

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
