from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import compatibility
import httpx
import msgspec
import pytest
from live import LiveServer

from memtrace import Memtrace, RateLimitError
from memtrace_server import app, limits
from memtrace_server.problems import Problem


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def test_rate_limit_counts_requests_of_a_key_per_second() -> None:
    clock = Clock()
    limit = limits.RateLimit(2, clock)
    limit.check("key_1")
    limit.check("key_1")
    with pytest.raises(Problem) as refused:
        limit.check("key_1")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    limit.check("key_2")
    clock.seconds += 0.5
    limit.check("key_1")
    with pytest.raises(Problem):
        limit.check("key_1")


def test_buckets_are_bounded_and_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MAX_BUCKETS", 10)
    buckets = limits.Buckets(1, 1, clock=Clock())
    assert buckets.take("recent") == 0
    for n in range(100):
        buckets.take(f"{n}")
        assert buckets.take("recent") == 1  # still known
    assert len(buckets) == 10


@pytest.mark.parametrize(
    ("addresses", "is_one"),
    [
        (("203.0.113.7", "203.0.113.8"), False),
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        (("::ffff:203.0.113.7", "203.0.113.7"), True),
        (("::ffff:203.0.113.7", "::ffff:203.0.113.8"), False),
        (("unix", "other"), False),
    ],
    ids=["IPv4", "one IPv6 network", "two IPv6 networks", "IPv4 as IPv6", "two IPv4 as IPv6", "no address"],
)
def test_failures_are_counted_by_address_or_ipv6_network(addresses: tuple[str, str], is_one: bool) -> None:  # noqa: FBT001 - a column of the table
    limit = limits.FailureLimit(1, Clock())
    limit.count(addresses[0])
    refused = pytest.raises(Problem, match="Too many failed authentications")
    with refused if is_one else nullcontext():
        limit.count(addresses[1])


@pytest.fixture(scope="module")
def limited_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("limited")
    with LiveServer(folder, "--rate-limit", "3", "--max-connections", "20", "--metrics") as server:
        yield server


@pytest.fixture(scope="module")
def measured_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("measured"), "--metrics") as server:
        yield server


def test_too_many_requests_get_429_and_retry_after(limited_server: LiveServer) -> None:
    def request_too_often(client: Memtrace) -> None:
        for _ in range(100):
            client.list_agents()

    with (
        Memtrace(limited_server.url, limited_server.key, max_retries=0) as client,
        pytest.raises(RateLimitError) as refused,
    ):
        request_too_often(client)
    assert refused.value.retry_after == 1
    assert refused.value.code == "rate_limited"


def test_metrics_count_requests_by_operation_without_tenants(limited_server: LiveServer) -> None:
    httpx.get(f"{limited_server.url}/health").raise_for_status()
    metrics = httpx.get(f"{limited_server.url}/metrics").raise_for_status()
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'memtrace_requests_total{operation="getHealth",status="200"}' in metrics.text
    assert 'memtrace_request_seconds_count{operation="getHealth"}' in metrics.text
    assert "org_" not in metrics.text
    assert "mtk_" not in metrics.text


def test_metrics_are_off_by_default(live_server: LiveServer) -> None:
    response = httpx.get(f"{live_server.url}/metrics")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/ui", "text/html; charset=utf-8"),
        ("/ui/main.js", "text/javascript; charset=utf-8"),
        ("/metrics", "text/plain; version=1.0.0; charset=utf-8"),
    ],
)
def test_each_page_has_its_media_type_and_refuses_other_requests(
    measured_server: LiveServer, path: str, media_type: str
) -> None:
    with httpx.Client(base_url=measured_server.url) as client:
        page = client.get(path).raise_for_status()
        wrong = client.get(path, params={"x": 1})
        posted = client.post(path)

    assert page.headers["content-type"] == media_type
    assert page.headers["x-request-id"].startswith("req_")
    assert (wrong.status_code, wrong.json()["details"][0]["field"]) == (400, "x")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")


def test_openapi_json_is_the_contract(live_server: LiveServer) -> None:
    contract = compatibility.load(compatibility.OPENAPI)

    assert httpx.get(f"{live_server.url}/openapi.json").json() == contract


def test_connections_beyond_the_limit_are_refused_until_others_end(limited_server: LiveServer) -> None:
    host, port = limited_server.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        assert httpx.get(f"{limited_server.url}/health").status_code == 503
    finally:
        for connection in idle:
            connection.close()
    with Memtrace(limited_server.url, limited_server.key, max_retries=10) as client:
        assert client.recall("nobody").count == 0


def test_body_that_does_not_arrive_gets_408(tmp_path: Path) -> None:
    application = app.create_app(f"sqlite:///{tmp_path / 'memtrace.sqlite'}", auth=False, client_timeout=0.05)
    chunks: list[dict[str, Any]] = [{"type": "http.request", "body": b'{"agent_id":', "more_body": True}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return chunks.pop() if chunks else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/memories",
        "raw_path": b"/api/v1/memories",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
    }

    async def ask() -> None:
        async with application.router.lifespan_context(application):
            await application(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert msgspec.json.decode(sent[1]["body"])["code"] == "request_timeout"


def test_connection_with_half_a_request_line_is_closed(tmp_path: Path) -> None:
    # The server must close the connection without further input.
    with LiveServer(tmp_path, "--client-timeout", "1") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"GET /health HTT")
            assert connection.recv(1) == b""
