"""What is logged of each attempt, and what never is."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from helpers.clients import KEY, MEMORY, FakeServer, MakeClient, error, page

from memtrace import APIConnectionError, Memtrace, MemtraceError, NotFoundError
from memtrace.testing import FailNext

PASSWORD = "hunter2"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "memtrace"]


def facts(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["memtrace"] for record in caplog.records if record.name == "memtrace"]


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "memtrace")
    return caplog


def test_attempt_is_logged_with_its_response(
    sdk: Memtrace, fake_server: FakeServer, debug: pytest.LogCaptureFixture
) -> None:
    fake_server.respond(200, page(), headers={"X-Request-Id": "req_1"})

    sdk.recall("agent_1")

    (line,), (fact,) = lines(debug), facts(debug)
    duration = fact.pop("duration_ms")
    assert fact == {
        "method": "GET",
        "path": "/api/v1/memories",
        "attempt": 1,
        "status": 200,
        "request_id": "req_1",
    }
    assert 0 < duration < 30_000
    assert line == f"GET /api/v1/memories: attempt 1, duration_ms {duration}, status 200, request_id req_1"
    assert debug.records[0].levelno == logging.DEBUG


def test_retry_is_logged_with_its_reason_and_its_delay(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], debug: pytest.LogCaptureFixture
) -> None:
    fake_server.fail(httpx.ConnectError("refused"))
    fake_server.respond(
        503, error("busy", "unavailable"), headers={"X-Request-Id": "req_2", "Retry-After": "3"}
    )
    fake_server.respond(404, error("No agent a", "not_found"), headers={"X-Request-Id": "req_3"})

    with pytest.raises(NotFoundError):
        sdk.get_agent("a")

    logged = [(fact["attempt"], fact.get("status"), fact.get("request_id")) for fact in facts(debug)]
    assert logged == [(1, None, None), (2, 503, "req_2"), (3, 404, "req_3")]
    lost, busy, given_up = facts(debug)
    assert "cannot connect: refused" in lost["error"]
    assert [fact.get("delay_ms") for fact in facts(debug)] == [
        *(round(delay * 1000) for delay in delays),
        None,
    ]
    assert busy["delay_ms"] >= 3000
    assert all(0 < fact["duration_ms"] < 30_000 for fact in facts(debug))
    assert lines(debug)[1] == (
        f"GET /api/v1/agents/a: attempt 2, duration_ms {busy['duration_ms']}, status 503, request_id req_2, "
        f"error busy (HTTP 503, unavailable, request req_2), delay_ms {busy['delay_ms']}"
    )
    assert given_up["error"] == "No agent a (HTTP 404, not_found, request req_3)"


def test_delays_that_fail_next_does_not_sleep_are_logged(
    memtrace: Memtrace, fail_next: FailNext, debug: pytest.LogCaptureFixture
) -> None:
    fail_next(status=503)

    memtrace.list_agents()

    logged = [fact["delay_ms"] / 1000 for fact in facts(debug) if "delay_ms" in fact]
    assert logged == pytest.approx(fail_next.pauses, abs=0.001)


def test_attempts_are_not_logged_above_debug(
    sdk: Memtrace, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "memtrace")
    fake_server.respond(503, error()).fail(httpx.ConnectError("refused")).respond(404, error())

    with pytest.raises(NotFoundError):
        sdk.get_agent("a")

    assert lines(caplog) == []


@pytest.fixture
def everything() -> Iterator[io.StringIO]:
    """Record all that any logger writes, at its lowest level, with tracebacks."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(memtrace)s", defaults={"memtrace": ""}))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.usefixtures("delays")
@pytest.mark.parametrize("connection", ["own", "supplied"])
def test_no_key_password_query_or_content_is_logged(
    make_client: MakeClient, fake_server: FakeServer, everything: io.StringIO, connection: str
) -> None:
    http_client = None if connection == "own" else make_client.http_client(fake_server.handle)
    client = make_client(f"https://user:{PASSWORD}@memtrace.test", http_client=http_client)
    fake_server.respond(201, MEMORY).fail(httpx.ConnectError("refused")).respond(500, error()).respond(
        200, page()
    )
    for _ in range(3):
        fake_server.fail(httpx.ReadTimeout("late"))
    fake_server.respond(401, error("Unknown key", "unauthorized")).respond(200, content=b"no JSON")

    client.remember("agent_1", "The secret content")
    client.recall("agent_1", tags="secret-tag")
    for _ in range(3):
        with pytest.raises(MemtraceError) as caught:
            client.get_agent("agent_1")
        logging.getLogger("the program").error("It failed", exc_info=caught.value)

    logged = everything.getvalue()
    assert "GET /api/v1/agents/agent_1: attempt 3, " in logged
    assert "Traceback" in logged
    for secret in (KEY, PASSWORD, "secret content"):
        assert secret not in logged
    # httpx logs the URL of each request with its query.
    ours = [line for line in logged.splitlines() if not line.startswith("httpx ")]
    assert [line for line in ours if "secret-tag" in line] == []


def test_session_left_open_is_a_warning(
    memtrace: Memtrace, fail_next: FailNext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrace")  # another test may have lowered the root's

    def fail() -> None:
        with memtrace.session("agent_1"):
            fail_next(exception=httpx.ConnectError, times=3)
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    (record,) = (record for record in caplog.records if record.name == "memtrace")
    assert record.levelno == logging.WARNING
    assert "is left open" in record.getMessage()
    assert APIConnectionError.__name__ not in record.getMessage()
