"""Run each contract test with four clients: over HTTP and embedded, sync and async.

A test is written once, for AsyncMemtrace. A Memtrace has the same interface here; its calls run in threads.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, cast

import anyio.to_thread
import httpx
import pytest
from attrs import define, frozen

from memtrace import AsyncMemtrace, Memtrace, SessionHandle

if TYPE_CHECKING:
    from pathlib import Path

    from memtrace.testing import MemtraceServer

_PAIRS = {
    "one_pair": ({("place", "http"), ("connect", "async")}, {("place", "embedded"), ("connect", "sync")}),
    "other_pair": ({("place", "http"), ("connect", "sync")}, {("place", "embedded"), ("connect", "async")}),
}


@frozen
class Place:
    """The store or server of a test, and its key."""

    url: str
    key: str | None = None


@define
class Network:
    """Lose the next `loses` responses, after their requests were carried out."""

    loses: int = 0

    def blocking(self, send: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
        def sent(transport: object, request: httpx.Request) -> httpx.Response:
            response = send(transport, request)
            if self._is_lost():
                response.close()
                raise httpx.ReadError("lost on the way")
            return response

        return sent

    def awaited(
        self, send: Callable[..., Awaitable[httpx.Response]]
    ) -> Callable[..., Awaitable[httpx.Response]]:
        async def sent(transport: object, request: httpx.Request) -> httpx.Response:
            response = await send(transport, request)
            if self._is_lost():
                await response.aclose()
                raise httpx.ReadError("lost on the way")
            return response

        return sent

    def _is_lost(self) -> bool:
        self.loses -= 1
        return self.loses >= 0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the sync client on PostgreSQL: the client makes no difference to a store.

    If tests run several times with other versions, one run needs each client and each place only once: half
    of the pairs are marked `one_pair`, and half `other_pair`.
    """
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        given = _parameters(item)
        for mark, pairs in _PAIRS.items():
            if any(pair <= given for pair in pairs):
                item.add_marker(mark)
        (left_out if {("place", "postgres"), ("connect", "sync")} <= given else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _parameters(item: pytest.Item) -> set[tuple[str, object]]:
    """Return the fixtures of a test, each with its parameter."""
    callspec = getattr(item, "callspec", None)
    return (
        {(name, value) for name, value in callspec.params.items() if isinstance(value, str)}
        if callspec
        else set()
    )


@pytest.fixture(params=["http", "embedded", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a new tenant of the live server, a new file, or new tables in PostgreSQL."""
    if request.param == "postgres":
        make_url: Callable[[], str] = request.getfixturevalue("make_postgres_url")
        return Place(make_url())
    if request.param == "embedded":
        return Place(f"sqlite:///{tmp_path / 'memtrace.db'}")
    server: MemtraceServer = request.getfixturevalue("memtrace_server")
    return Place(server.url, server.key)


@pytest.fixture(params=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., AsyncMemtrace]]:
    """Make clients of one kind, with the arguments that both kinds take, and close them."""
    async with AsyncExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> AsyncMemtrace:
            if request.param == "async":
                client = AsyncMemtrace(*args, **kwargs)
            else:
                client = cast("AsyncMemtrace", Awaited(Memtrace(*args, **kwargs)))
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
def client(connect: Callable[..., AsyncMemtrace], place: Place) -> AsyncMemtrace:
    """Return the client under test."""
    return connect(place.url, place.key)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, no_delays: None) -> Iterator[Network]:  # noqa: ARG001
    """Return the connection between clients and servers; embedded servers lose no responses.

    Retries are not delayed.
    """
    network = Network()
    http, async_http = httpx.HTTPTransport, httpx.AsyncHTTPTransport
    monkeypatch.setattr(http, "handle_request", network.blocking(http.handle_request))
    monkeypatch.setattr(async_http, "handle_async_request", network.awaited(async_http.handle_async_request))
    yield network
    assert network.loses <= 0, "a response that should be lost was never sent"


class Awaited:
    """A sync client or session with the interface of the async one."""

    def __init__(self, wrapped: Memtrace | SessionHandle) -> None:
        self._wrapped: Any = wrapped

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if not callable(value):
            return value
        if name in {"with_options", "session"}:
            return lambda *args, **kwargs: Awaited(value(*args, **kwargs))
        if name.startswith("iter_") or name == "export":
            return lambda *args, **kwargs: _awaited_one_by_one(value(*args, **kwargs))
        return lambda *args, **kwargs: anyio.to_thread.run_sync(functools.partial(value, *args, **kwargs))

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self._wrapped.__enter__)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await anyio.to_thread.run_sync(self._wrapped.__exit__, *exc_info)


async def _awaited_one_by_one(values: Iterator[Any]) -> AsyncIterator[Any]:
    end = object()
    while (value := await anyio.to_thread.run_sync(next, values, end)) is not end:
        yield value
