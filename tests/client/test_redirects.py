"""Two real servers, one of which redirects to the other: only the first gets the key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MakeClient

from memtrace import APIStatusError, Memtrace


class Recorder(ThreadingHTTPServer):
    """Record requests, and redirect all of them."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.seen: list[tuple[str, str | None]] = []
        self.onward = ""
        self.status = 307

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Respond with a redirect."""

    server: Recorder
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, self.headers.get("x-api-key")))
        self.send_response(self.server.status)
        self.send_header("location", f"{self.server.onward}{self.path}")
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  # as the base class calls them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as in the base class
        """Log nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[Recorder, Recorder]]:
    """Return a server that redirects to another, which differs by name and by port."""
    with Recorder(("127.0.0.1", 0)) as first, Recorder(("127.0.0.1", 0)) as second:
        first.onward = f"http://localhost:{second.server_address[1]}"
        second.onward = first.url
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in (first, second)
        ]
        for thread in threads:
            thread.start()
        yield first, second
        for server in (first, second):
            server.shutdown()
        for thread in threads:
            thread.join()


def assert_redirects_raise(client: Memtrace) -> None:
    calls: list[Any] = [
        lambda: client.recall("agent_1"),
        lambda: client.remember("agent_1", "text"),
        lambda: client.close_session("sess_1"),
        lambda: client.delete_agent("agent_1"),
        client.health,
        lambda: list(client.iter_memories()),
    ]
    for call in calls:
        with pytest.raises(APIStatusError, match=r"is a redirect to http://localhost:.* is not followed"):
            call()


METHODS = ["GET", "POST", "PUT", "DELETE", "GET", "GET"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_sends_nothing_to_the_other_host(
    make_client: MakeClient, servers: tuple[Recorder, Recorder], status: int
) -> None:
    first, second = servers
    first.status = status

    assert_redirects_raise(make_client(first.url))

    assert first.seen == [(method, KEY) for method in METHODS]
    assert second.seen == []


def test_supplied_http_client_that_follows_redirects_follows_none(
    make_client: MakeClient, servers: tuple[Recorder, Recorder]
) -> None:
    first, second = servers
    http_client: Any
    if make_client.is_async:
        http_client = httpx.AsyncClient(follow_redirects=True)
    else:
        http_client = httpx.Client(follow_redirects=True)

    client = make_client(first.url, http_client=http_client)
    assert_redirects_raise(client)
    client.close()
    make_client.blocking(http_client.aclose() if make_client.is_async else http_client.close())

    assert first.seen == [(method, KEY) for method in METHODS]
    assert second.seen == []


def test_second_server_can_be_reached_by_a_redirect(servers: tuple[Recorder, Recorder]) -> None:
    # Without this, the other tests would prove nothing.
    first, second = servers

    async def follow() -> None:
        async with httpx.AsyncClient(follow_redirects=True, max_redirects=1) as client:
            with pytest.raises(httpx.TooManyRedirects):
                await client.get(f"{first.url}/", headers={"x-api-key": KEY})

    asyncio.run(follow())

    assert second.seen == [("GET", KEY)]
