"""A fake server for tests of the clients, and an adapter with which one test covers both clients.

A test is written once, against `Memtrace`. The fixture `sdk` runs it twice: with a `Memtrace`, and with an
`AsyncMemtrace` whose every call is awaited.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import anyio
import httpx
import pytest

from memtrace import AsyncMemtrace, AsyncSessionHandle, AsyncWriteBuffer, Memtrace
from memtrace._buffer import finish_at_exit
from memtrace._config import _warn_of
from memtrace._values import _converters

URL = "http://memtrace.test"
KEY = "mtk_0123456789abcdef0123456789abcdef"

MEMORY: dict[str, Any] = {
    "id": "mem_01JD5P8E6W3M9V2QXA7RKB4TNC",
    "time": "2026-11-01T09:30:00.123456Z",
    "org_id": "org_default",
    "agent_id": "agent_1",
    "memory_type": "episodic",
    "event_type": "general",
    "content": "User prefers dark mode",
}
AGENT: dict[str, Any] = {
    "id": "agent_1",
    "org_id": "org_default",
    "name": "agent_1",
    "created_at": "2026-11-01T09:30:00Z",
}
SESSION: dict[str, Any] = {
    "id": "sess_1",
    "org_id": "org_default",
    "agent_id": "agent_1",
    "status": "active",
    "created_at": "2026-11-01T09:30:00Z",
    "updated_at": "2026-11-01T09:30:00Z",
}


def page(*memories: dict[str, Any], has_more: bool = False, **more: Any) -> dict[str, Any]:
    """Return a page of a list of memories."""
    return {"memories": list(memories), "count": len(memories), "has_more": has_more, **more}


def error(text: str = "No", code: str = "a_code", **more: Any) -> dict[str, Any]:
    """Return an error response like the server's."""
    return {"error": text, "code": code, "request_id": "req_body", **more}


class FakeServer:
    """A fake server that sends queued responses, and records requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        # Handles requests in place of the queue, if set.
        self.stand_in: Callable[[httpx.Request], httpx.Response] | None = None
        self._responses: deque[httpx.Response | Exception] = deque()

    def respond(self, status: int = 200, body: Any = None, **response: Any) -> FakeServer:
        """Queue a response: JSON, or any arguments of httpx.Response."""
        if body is not None:
            response["json"] = body
        self._responses.append(httpx.Response(status, **response))
        return self

    def fail(self, failure: Exception) -> FakeServer:
        """Queue a failure."""
        self._responses.append(failure)
        return self

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Return the next response, or raise the next failure."""
        self.requests.append(request)
        if self.stand_in is not None:
            return self.stand_in(request)
        if not self._responses:
            pytest.fail(f"one request too many: {request.method} {request.url}")
        response = self._responses.popleft()
        if isinstance(response, Exception):
            raise response
        return response

    @property
    def request(self) -> httpx.Request:
        """Return the only request."""
        assert len(self.requests) == 1
        return self.requests[0]

    @property
    def sent(self) -> Any:
        """Return the JSON of the only request."""
        return json.loads(self.request.content)

    def assert_done(self) -> None:
        """Check that all responses were requested."""
        assert not self._responses


class MakeClient:
    """Make clients of one kind, with the interface of the blocking client."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self._runner = asyncio.Runner() if is_async else None
        if self._runner is not None:
            self._runner.get_loop()
        self._made: list[Memtrace] = []

    def __call__(self, base_url: str | None = URL, api_key: str | None = KEY, **settings: Any) -> Memtrace:
        """Make a client."""
        made = (
            self.blocking(AsyncMemtrace(base_url, api_key, **settings))
            if self.is_async
            else Memtrace(base_url, api_key, **settings)
        )
        self._made.append(made)
        return cast("Memtrace", made)

    def http_client(self, handler: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Any:
        """Make an httpx client of the same kind."""
        transport = httpx.MockTransport(handler)
        if self.is_async:
            return httpx.AsyncClient(transport=transport, **settings)
        return httpx.Client(transport=transport, **settings)

    def blocking(self, value: Any) -> Any:
        """Convert a value of the async client to that of the blocking client."""
        if self._runner is None:
            return value
        if inspect.isawaitable(value):
            return self.blocking(self._runner.run(_awaited(value)))
        if isinstance(value, AsyncMemtrace | AsyncSessionHandle | AsyncWriteBuffer):
            return _Blocking(value, self)
        if hasattr(value, "__anext__"):
            return self._iterated(value)
        return value

    def close(self) -> None:
        """Close all clients."""
        for client in self._made:
            client.close()
        if self._runner is not None:
            self._runner.close()

    def _iterated(self, iterator: Any) -> Iterator[Any]:
        while True:
            try:
                yield self.blocking(anext(iterator))
            except StopAsyncIteration:
                return


class _Blocking:
    """An async client, session handle or buffer, used without await."""

    def __init__(self, value: Any, make: MakeClient) -> None:
        self._value = value
        self._make = make

    def __repr__(self) -> str:
        return repr(self._value)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._value, name)
        if not inspect.ismethod(attribute):
            return attribute
        return lambda *args, **kwargs: self._make.blocking(attribute(*args, **kwargs))

    def __enter__(self) -> Any:
        return self._make.blocking(self._value.__aenter__())

    def __exit__(self, *exception: object) -> Any:
        return self._make.blocking(self._value.__aexit__(*exception))


async def _awaited(value: Any) -> Any:
    return await value


@pytest.fixture
def fake_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Serve every request of a client without an http_client, to any URL."""
    server = FakeServer()

    def handle_request(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return server.handle(request)

    async def handle_async_request(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return server.handle(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    yield server
    server.assert_done()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the client of a test, as runs with other versions need only one of the two."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "make_client" in callspec.params:
            item.add_marker(f"{callspec.params['make_client']}_client")


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeClient]:
    """Make clients of both kinds, one after the other."""
    monkeypatch.delenv("MEMTRACE_URL", raising=False)
    monkeypatch.delenv("MEMTRACE_API_KEY", raising=False)
    make = MakeClient(is_async=request.param == "async")
    yield make
    make.close()


@pytest.fixture
def sdk(make_client: MakeClient, fake_server: FakeServer, delays: list[float]) -> Memtrace:
    """Return a client of the fake server."""
    assert (fake_server.requests, delays) == ([], [])
    return make_client()


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the delays between attempts, in seconds; the client does not sleep."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def no_converters() -> None:
    """Clear the cache of field converters, which is in a private module.

    mutmut runs a test for a mutant only if the test called the function, in a process that ran other tests.
    """
    _converters.cache_clear()


@pytest.fixture
def no_warnings_before() -> None:
    """Clear the cache of hosts with a warning, which is in a private module."""
    _warn_of.cache_clear()


@pytest.fixture
def end_interpreter(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Run the exit of the interpreter for one buffer; a private module has the list of buffers."""

    def end(buffer: object) -> None:
        monkeypatch.setattr("memtrace._buffer._KEPT", {buffer})
        finish_at_exit()

    return end


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without delay; the first delay is in a private module."""
    monkeypatch.setattr("memtrace._retry.FIRST_DELAY", 0.0)


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let delays before retries grow as for users, but from a tenth of the first delay."""
    monkeypatch.setattr("memtrace._retry.FIRST_DELAY", 0.05)


@pytest.fixture
def limit_responses(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the maximum size of a response; the limit is in a private module."""
    return lambda size: monkeypatch.setattr("memtrace._response.MAX_BYTES", size)
