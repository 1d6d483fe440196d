"""`fail_next`, which makes the clients of the plugin's fixtures fail, and `memtrace` and `async_memtrace`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
import trio

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    AuthenticationError,
    BadRequestError,
    Memtrace,
    MemtraceError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from memtrace.testing import FailNext
from memtrace.testing.failures import CODES
from memtrace_server import problems
from memtrace_server.problems import Problem

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


def contents(client: Memtrace) -> list[str]:
    return [memory.content for memory in client.list_memories(order="asc").memories]


@pytest.mark.parametrize("content", ["One", "Another"])
def test_each_test_begins_with_an_empty_memory(memtrace: Memtrace, content: str) -> None:
    assert contents(memtrace) == []
    memtrace.remember("agent_1", content)
    assert contents(memtrace) == [content]


@pytest.mark.parametrize("run", [anyio.run, trio.run])
def test_both_clients_of_a_test_share_its_memory(
    run: Run, memtrace: Memtrace, async_memtrace: AsyncMemtrace
) -> None:
    async def remember() -> None:
        async with async_memtrace:
            await async_memtrace.remember("agent_1", "Written async")

    run(remember)

    assert contents(memtrace) == ["Written async"]


def test_a_client_needs_nothing_of_the_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("MEMTRACE_API_KEY", " no key at all\n")
    monkeypatch.setenv("MEMTRACE_URL", "nowhere")

    client: Memtrace = request.getfixturevalue("memtrace")
    assert client.ready().status == "ok"


def test_failures_come_in_order_and_are_passed_by_retries(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=503)
    fail_next(exception=httpx.ConnectError)

    memory = memtrace.remember("agent_1", "Stored by the third try")

    assert memtrace.list_memories().memories == [memory]
    assert len(fail_next.pauses) == 2


def test_failures_reach_the_async_client(async_memtrace: AsyncMemtrace, fail_next: FailNext) -> None:
    async def remember() -> None:
        fail_next(timeout=True, acted=True, times=2)
        memory = await async_memtrace.remember("agent_1", "Once")
        assert (await async_memtrace.list_memories()).memories == [memory]
        fail_next(status=500, times=3)
        with pytest.raises(ServerError):
            await async_memtrace.health()

    anyio.run(remember)

    assert len(fail_next.pauses) == 4
    assert all(pause >= 0 for pause in fail_next.pauses)


def test_more_failures_than_tries_are_an_error(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=502, times=3)

    with pytest.raises(ServerError) as caught:
        memtrace.remember("agent_1", "Never stored")

    assert (caught.value.status_code, caught.value.body) == (502, "502 Bad Gateway")
    assert contents(memtrace) == []


def test_a_client_may_be_told_not_to_retry(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=503)

    with pytest.raises(ServerError):
        memtrace.with_options(max_retries=0).remember("agent_1", "Never stored")

    assert fail_next.pauses == []


def test_a_lost_answer_is_a_write_that_was_carried_out(memtrace: Memtrace, fail_next: FailNext) -> None:
    for failure in ({"status": 502}, {"timeout": True}, {"exception": httpx.ReadError("cut")}):
        fail_next(acted=True, **failure)
        with pytest.raises(MemtraceError):
            memtrace.with_options(max_retries=0).remember("agent_1", f"Stored, {failure}")

    assert len(contents(memtrace)) == 3


def test_a_write_whose_answer_is_lost_is_stored_once(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(timeout=True, acted=True)

    memory = memtrace.remember("agent_1", "Once")

    assert memtrace.list_memories().memories == [memory]


def test_the_pause_that_a_server_asks_for_is_obeyed_and_not_slept(
    memtrace: Memtrace, fail_next: FailNext
) -> None:
    fail_next(status=429, retry_after=20)

    memtrace.with_options(max_retries=1).remember("agent_1", "Later")

    assert len(fail_next.pauses) == 1
    assert fail_next.pauses[0] >= 20


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ({"status": 400}, BadRequestError),
        ({"status": 401}, AuthenticationError),
        ({"status": 403}, PermissionDeniedError),
        ({"status": 404}, NotFoundError),
        ({"status": 429, "retry_after": 0.5}, RateLimitError),
        ({"status": 500}, ServerError),
        ({"status": 599}, ServerError),
        ({"timeout": True}, APITimeoutError),
        ({"exception": httpx.ConnectError}, APIConnectionError),
        ({"exception": httpx.RemoteProtocolError("cut short")}, APIConnectionError),
    ],
)
def test_a_failure_is_the_error_that_a_server_would_be(
    memtrace: Memtrace, fail_next: FailNext, failure: dict[str, Any], expected: type[MemtraceError]
) -> None:
    fail_next(**failure)

    with pytest.raises(expected) as caught:
        memtrace.with_options(max_retries=0).health()

    assert caught.value.status_code == failure.get("status", 0)
    assert getattr(caught.value, "retry_after", None) == failure.get("retry_after")
    assert caught.value.code == CODES.get(failure.get("status", 0))


def test_a_failure_says_what_our_server_would_say() -> None:
    said: list[Problem] = [
        problems.unauthorized(""),
        problems.forbidden(""),
        problems.not_found(""),
        problems.timed_out(1),
        problems.too_large(1),
        problems.unsupported_media_type(""),
        problems.rate_limited(1, 1),
        problems.internal_error(),
        problems.unavailable(""),
    ]

    assert {problem.status: problem.code for problem in said} == CODES


def test_a_failure_waits_for_the_request_that_it_is_for(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=403, on="POST *")
    fail_next(status=404, on="GET /api/v1/memories/mem_*")

    assert contents(memtrace) == []
    with pytest.raises(NotFoundError):
        memtrace.get_memory("mem_1")
    with pytest.raises(PermissionDeniedError):
        memtrace.remember("agent_1", "Never stored")
    assert contents(memtrace) == []


def test_threads_get_each_failure_once(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=403, times=20)

    def health(_: int) -> int:
        try:
            memtrace.health()
        except PermissionDeniedError:
            return 1
        return 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(health, range(40))) == 20


def test_what_is_to_come_is_told(memtrace: Memtrace, fail_next: FailNext) -> None:
    assert repr(fail_next) == "<FailNext: nothing to come>"
    fail_next(status=503, times=2, on="GET *")
    fail_next(timeout=True, acted=True)

    assert repr(fail_next) == (
        "<FailNext: status 503 on GET * (2 times), then ReadTimeout after the server has acted to come>"
    )
    with pytest.raises(AssertionError, match=r"never happened: status 503 on GET \* \(2 times\), then ReadT"):
        fail_next.verify()
    memtrace.with_options(max_retries=3).list_agents()
    fail_next.verify()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "give one of status, exception and timeout"),
        ({"status": 503, "timeout": True}, "give one of status, exception and timeout"),
        ({"timeout": True, "retry_after": 1}, "retry_after belongs to an answer"),
        ({"status": 200}, "from 400 to 599, not 200"),
        ({"status": 503, "retry_after": -1}, "retry_after must be 0 seconds or more"),
        ({"status": 503, "retry_after": float("nan")}, "retry_after must be 0 seconds or more"),
        ({"status": 503, "times": 0}, "times must be 1 or more, not 0"),
        ({"exception": OSError}, "httpx raises no OSError"),
        ({"exception": RateLimitError()}, "httpx raises no RateLimitError"),
        ({"exception": httpx.ConnectError, "acted": True}, "with ConnectError, no request reaches a server"),
    ],
)
def test_what_cannot_happen_is_refused(fail_next: FailNext, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        fail_next(**arguments)
