"""`fail_next`, which makes clients of the plugin's fixtures fail, and `memtrace` and `async_memtrace`."""

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
def test_memtrace_is_empty_in_each_test(memtrace: Memtrace, content: str) -> None:
    assert contents(memtrace) == []
    memtrace.remember("agent_1", content)
    assert contents(memtrace) == [content]


@pytest.mark.parametrize("run", [anyio.run, trio.run])
def test_memtrace_and_async_memtrace_share_a_memory(
    run: Run, memtrace: Memtrace, async_memtrace: AsyncMemtrace
) -> None:
    async def remember() -> None:
        async with async_memtrace:
            await async_memtrace.remember("agent_1", "Written async")

    run(remember)

    assert contents(memtrace) == ["Written async"]


def test_memtrace_ignores_the_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("MEMTRACE_API_KEY", " no key at all\n")
    monkeypatch.setenv("MEMTRACE_URL", "nowhere")

    client: Memtrace = request.getfixturevalue("memtrace")
    assert client.ready().status == "ok"


def test_failures_happen_in_order_and_are_retried(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=503)
    fail_next(exception=httpx.ConnectError)

    memory = memtrace.remember("agent_1", "Stored by the third try")

    assert memtrace.list_memories().memories == [memory]
    assert len(fail_next.pauses) == 2


def test_failures_reach_async_memtrace(async_memtrace: AsyncMemtrace, fail_next: FailNext) -> None:
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


def test_more_failures_than_attempts_raise(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=502, times=3)

    with pytest.raises(ServerError) as caught:
        memtrace.remember("agent_1", "Never stored")

    assert (caught.value.status_code, caught.value.body) == (502, "502 Bad Gateway")
    assert contents(memtrace) == []


def test_client_without_retries_raises_the_first_failure(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=503)

    with pytest.raises(ServerError):
        memtrace.with_options(max_retries=0).remember("agent_1", "Never stored")

    assert fail_next.pauses == []


def test_acted_failure_lets_the_server_store(memtrace: Memtrace, fail_next: FailNext) -> None:
    for failure in ({"status": 502}, {"timeout": True}, {"exception": httpx.ReadError("cut")}):
        fail_next(acted=True, **failure)
        with pytest.raises(MemtraceError):
            memtrace.with_options(max_retries=0).remember("agent_1", f"Stored, {failure}")

    assert len(contents(memtrace)) == 3


def test_acted_failure_of_a_retried_write_stores_once(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(timeout=True, acted=True)

    memory = memtrace.remember("agent_1", "Once")

    assert memtrace.list_memories().memories == [memory]


def test_retry_after_is_recorded_and_not_slept(memtrace: Memtrace, fail_next: FailNext) -> None:
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
def test_failure_raises_the_error_of_its_status(
    memtrace: Memtrace, fail_next: FailNext, failure: dict[str, Any], expected: type[MemtraceError]
) -> None:
    fail_next(**failure)

    with pytest.raises(expected) as caught:
        memtrace.with_options(max_retries=0).health()

    assert caught.value.status_code == failure.get("status", 0)
    assert getattr(caught.value, "retry_after", None) == failure.get("retry_after")
    assert caught.value.code == CODES.get(failure.get("status", 0))


def test_failure_has_the_code_that_the_server_sends() -> None:
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


def test_failure_on_a_pattern_waits_for_its_request(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=403, on="POST *")
    fail_next(status=404, on="GET /api/v1/memories/mem_*")

    assert contents(memtrace) == []
    with pytest.raises(NotFoundError):
        memtrace.get_memory("mem_1")
    with pytest.raises(PermissionDeniedError):
        memtrace.remember("agent_1", "Never stored")
    assert contents(memtrace) == []


def test_threads_share_failures_without_repeating_one(memtrace: Memtrace, fail_next: FailNext) -> None:
    fail_next(status=403, times=20)

    def health(_: int) -> int:
        try:
            memtrace.health()
        except PermissionDeniedError:
            return 1
        return 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(health, range(40))) == 20


def test_repr_lists_the_failures_to_come(memtrace: Memtrace, fail_next: FailNext) -> None:
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
        ({"timeout": True, "retry_after": 1}, "retry_after: it belongs to a response"),
        ({"status": 200}, "status: 200 is not an error; give one from 400 to 599"),
        ({"status": 503, "retry_after": -1}, "retry_after: -1 is out of range"),
        ({"status": 503, "retry_after": float("nan")}, "retry_after: nan is out of range"),
        ({"status": 503, "times": 0}, "times: 0 is out of range; give 1 or more"),
        ({"exception": OSError}, "exception: httpx never raises OSError"),
        ({"exception": RateLimitError()}, "exception: httpx never raises RateLimitError"),
        (
            {"exception": httpx.ConnectError, "acted": True},
            "acted: after ConnectError no request has",
        ),
    ],
)
def test_fail_next_with_impossible_arguments_raises(
    fail_next: FailNext, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        fail_next(**arguments)
