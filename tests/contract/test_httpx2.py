"""The core of the contract suite over caller-supplied clients of httpx2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import cast

import httpx2
import pytest
from contract.conftest import Awaited, Place
from contract.test_adding_memories import *  # noqa: F403  # its tests, with the fixtures of this module
from contract.test_errors import *  # noqa: F403
from contract.test_sessions import *  # noqa: F403

from memtrace import APIConnectionError, AsyncMemtrace, Memtrace, MemtraceError
from memtrace.testing import MemtraceServer


@pytest.fixture(params=["http"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return a new tenant of the live server."""
    if request.param == "embedded":
        pytest.skip("nothing is sent over HTTP to an embedded store")
    server: MemtraceServer = request.getfixturevalue("memtrace_server")
    return Place(server.url, server.key)


@pytest.fixture(params=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., AsyncMemtrace]]:
    """Make clients of one kind, each with a client of httpx2, and close them."""
    async with AsyncExitStack() as stack:

        def make(url: str, key: str | None = None, **settings: object) -> AsyncMemtrace:
            if request.param == "async":
                http = httpx2.AsyncClient()
                stack.push_async_callback(http.aclose)
                return AsyncMemtrace(url, key, http_client=http, **settings)  # type: ignore[arg-type]
            blocking = httpx2.Client()
            stack.callback(blocking.close)
            client = Memtrace(url, key, http_client=blocking, **settings)  # type: ignore[arg-type]
            return cast("AsyncMemtrace", Awaited(client))

        yield make


async def test_exception_of_httpx2_becomes_an_api_connection_error(
    connect: Callable[..., AsyncMemtrace],
) -> None:
    client = connect("http://127.0.0.1:1", max_retries=0)

    with pytest.raises(APIConnectionError, match="cannot connect") as caught:
        await client.health()

    assert isinstance(caught.value.__cause__, httpx2.ConnectError)


async def test_error_has_the_response_of_httpx2(client: AsyncMemtrace) -> None:
    with pytest.raises(MemtraceError) as caught:
        await client.get_agent("nobody")

    assert isinstance(caught.value.response, httpx2.Response)
