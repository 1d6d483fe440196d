"""The page on this machine, for one person: over a store's file, or a server elsewhere.

The page is public, as on a server. What it shows needs a key that is made at each start and known to this
process and to the browser that it opens. Requests go on through an httpx client, with the key of that client.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import starmap

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memtrace_server import auth, ids, messages, problems, times
from memtrace_server.problems import Problem
from memtrace_server.service import STORELESS
from memtrace_server.transport import EmbeddedTransport

_PATIENCE = 60.0  # seconds; a server responds within 30
_SENT = ("content-type", "idempotency-key")
_RETURNED = ("content-type", "idempotent-replayed", "location", "retry-after", "x-request-id")
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_PAGES = {
    "/ui": "getPage",
    "/ui/{file}": "getPageFile",
    "/docs": "getDocs",
    "/openapi.json": "getContract",
}


def new_key() -> str:
    """Return a key that opens one view."""
    return secrets.token_urlsafe(32)


def connect(url: str, api_key: str | None, org: str | None) -> httpx.AsyncClient:
    """Return the client for the page's requests: of a server, or of a store in this process.

    Args:
        url: The server's or the store's URL.
        api_key: The key for a server.
        org: The organisation in a store, by its id or name; the default one if None.
    """
    if url.startswith(("http://", "https://")):
        headers = {"x-api-key": api_key} if api_key else {}
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=_PATIENCE)
    return httpx.AsyncClient(base_url="http://embedded", transport=EmbeddedTransport(url, org))


def create_viewer(client: httpx.AsyncClient, key: str) -> Starlette:
    """Return an application with the page, and the API that it shows.

    Args:
        client: Sends the requests of the API, with its own base URL and headers. It is closed with the
            application.
        key: The key that requests of the API must carry.
    """

    def page(path: str, operation: str) -> Route:
        def answer(request: Request) -> Response:
            try:
                response = STORELESS[operation](times.now(), request.path_params)
            except Problem as problem:
                response = _refusal(problem)
            return _response(response)

        return Route(path, answer)

    async def forward(request: Request) -> Response:
        given = auth.given_key(request.headers) or ""
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), key.encode()):
            return _response(_refusal(problems.unauthorized("Open the page by the link that was printed")))
        # The path as it was sent: an id may have a slash in it, percent-encoded.
        path = request.scope["raw_path"].decode("latin-1")
        url = httpx.URL(path.removeprefix("/") + (f"?{request.url.query}" if request.url.query else ""))
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        content = await request.body()
        try:
            response = await client.request(request.method, url, headers=headers, content=content)
        except httpx.TransportError as error:
            return _response(_refusal(problems.unavailable(f"{client.base_url}: {error}")))
        returned = {name: response.headers[name] for name in _RETURNED if name in response.headers}
        return Response(response.content, response.status_code, {**_HEADERS, **returned})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    api = Route("/api/{path:path}", forward, methods=["GET", "POST", "PUT", "DELETE"])
    return Starlette(
        routes=[*starmap(page, _PAGES.items()), api],
        # No page of a name that leads to this machine (DNS rebinding).
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        lifespan=lifespan,
    )


def _refusal(problem: Problem) -> messages.Response:
    return messages.refusal(problem, ids.new_id("req_", times.now()))


def _response(response: messages.Response) -> Response:
    headers = {"content-type": messages.JSON, **{n.lower(): v for n, v in response.headers.items()}}
    return Response(response.body, response.status, {**_HEADERS, **headers})
