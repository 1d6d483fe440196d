"""Transports: proxies of the environment, and one transport for calls that come at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MakeClient
from live import LiveServer

from memtrace import AsyncMemtrace, Memtrace
from memtrace_server import embedded


class Proxy(ThreadingHTTPServer):
    """Respond in place of the target, and record the request lines."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.requested: list[tuple[str, str | None]] = []


class ProxyHandler(BaseHTTPRequestHandler):
    """Respond like a healthy server."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # as in the base class
        self.server.requested.append((self.path, self.headers.get("x-api-key")))
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        # In two chunks, for clients that read in chunks.
        self.wfile.write(body[:5])
        self.wfile.flush()
        self.wfile.write(body[5:])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as in the base class
        """Log nothing."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Proxy() as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_proxy_of_the_environment_is_used(make_client: MakeClient, proxy: Proxy) -> None:
    client = make_client("http://memtrace.test")

    assert client.ready().status == "ok"
    assert client.with_options(timeout=httpx.Timeout(5)).health().status == "ok"
    client.close()

    assert proxy.requested == [("http://memtrace.test/ready", KEY), ("http://memtrace.test/health", KEY)]


def test_embedded_store_uses_no_proxy(make_client: MakeClient, proxy: Proxy) -> None:
    assert make_client("sqlite://", None).ready().status == "ok"
    assert proxy.requested == []


def test_supplied_http_client_reads_responses_in_chunks(
    make_client: MakeClient, live_server: LiveServer
) -> None:
    http_client: Any = httpx.AsyncClient() if make_client.is_async else httpx.Client()
    client = make_client(live_server.url, http_client=http_client)

    assert client.ready().status == "ok"
    assert client.with_options(timeout=httpx.Timeout(5)).ready().status == "ok"

    client.close()
    make_client.blocking(http_client.aclose() if make_client.is_async else http_client.close())


@pytest.mark.parametrize("kind", [Memtrace, AsyncMemtrace], ids=["sync", "async"])
def test_first_calls_at_once_open_one_store(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = kind("sqlite://")
    arrived = threading.Semaphore(0)
    opened = []

    class Late(embedded.EmbeddedServer):
        def __init__(self, url: str) -> None:
            opened.append(url)
            for _ in range(8):
                assert arrived.acquire(timeout=10)
            super().__init__(url)

    monkeypatch.setattr(embedded, "EmbeddedServer", Late)

    async def use() -> None:
        await client.ready()

    def run() -> None:
        arrived.release()
        if kind is Memtrace:
            client.ready()
        else:
            asyncio.run(use())

    with ThreadPoolExecutor(8) as threads:
        assert [future.result() for future in [threads.submit(run) for _ in range(8)]] == [None] * 8
    if kind is Memtrace:
        client.close()
    else:
        asyncio.run(client.close())

    assert opened == ["sqlite://"]


ASYNC_FORK = """
import asyncio, os, sys
from memtrace import AsyncMemtrace

client = AsyncMemtrace("sqlite://")
print((asyncio.run(client.remember("a", "before"))).content)
sys.stdout.flush()
child = os.fork()
if child == 0:
    try:
        print((asyncio.run(client.remember("a", "in the child"))).content)
    except Exception as error:
        print(type(error).__name__, error)
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print((asyncio.run(client.remember("a", "after"))).content)
asyncio.run(client.close())
"""


def test_async_store_in_memory_raises_in_a_forked_process() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASYNC_FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    before, child, after = done.stdout.splitlines()

    assert (before, after) == ("before", "after")
    assert child.startswith("APIConnectionError")
    assert "stays with the process that opened it" in child
