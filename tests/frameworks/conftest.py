"""Clients of each kind for adapters, and one event loop for each test, which ends after they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from memtrace import AsyncMemtrace, Memtrace
from memtrace.testing import MemtraceServer

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def async_client(url: str, run: Run) -> Iterator[AsyncMemtrace]:
    client = AsyncMemtrace(url)
    yield client
    run(client.close())


@pytest.fixture
def blocking_client(url: str) -> Iterator[Memtrace]:
    with Memtrace(url) as client:
        yield client


@pytest.fixture
def async_server_client(memtrace_server: MemtraceServer, run: Run) -> Iterator[AsyncMemtrace]:
    client = AsyncMemtrace(memtrace_server.url, memtrace_server.key)
    yield client
    run(client.close())


@pytest.fixture
def blocking_server_client(memtrace_server: MemtraceServer) -> Iterator[Memtrace]:
    with Memtrace(memtrace_server.url, memtrace_server.key) as client:
        yield client


@pytest.fixture(params=["url", "async_client", "blocking_client", "async_server_client"])
def client(request: pytest.FixtureRequest) -> Any:
    """Return the client argument of an adapter, in each form."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["url", "blocking_client", "blocking_server_client"])
def no_async_client(request: pytest.FixtureRequest) -> Any:
    """Return the client argument of a blocking adapter, in each form."""
    return request.getfixturevalue(request.param)
