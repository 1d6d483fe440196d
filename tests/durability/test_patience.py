"""How long a client waits, and when it retries, measured at a server that is slow, busy or gone."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import count, repeat
from math import ceil
from time import perf_counter
from typing import Any

import anyio
import pytest
from durability.stage import Play, Stage, response

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    Memtrace,
    MemtraceError,
    ServerError,
)

NOTHING = response(200, b'{"memories": [], "count": 0, "has_more": false}', content_type="application/json")
CROWD = 32
FIRST_DELAY = 0.5  # seconds; the longest delay before a first retry
WINDOW = 0.05  # seconds
SLACK = 3.0  # seconds that a busy machine may add; less than a call without its timeout would take
MOST_IN_A_WINDOW = CROWD * 5 // 8  # with jitter over 0.5 s, a tenth of them are expected there

in_threads_and_tasks = pytest.mark.parametrize("kind", ["threads", "tasks"])


def recall(kind: str, url: str, times: int = 1, **settings: Any) -> list[MemtraceError | None]:
    """Call `recall` of one client, several times at once, and return what each call raised."""
    if kind == "tasks":
        return asyncio.run(_recall_in_tasks(url, times, settings))
    with Memtrace(url, **settings) as client, ThreadPoolExecutor(times) as threads:
        return list(threads.map(_recall, repeat(client, times)))


def _recall(client: Memtrace) -> MemtraceError | None:
    try:
        client.recall("agent_1")
    except MemtraceError as error:
        return error
    return None


async def _recall_in_tasks(url: str, times: int, settings: dict[str, Any]) -> list[MemtraceError | None]:
    async def recall() -> MemtraceError | None:
        try:
            await client.recall("agent_1")
        except MemtraceError as error:
            return error
        return None

    async with AsyncMemtrace(url, **settings) as client:
        return await asyncio.gather(*(recall() for _ in range(times)))


def in_turn(*responses: bytes) -> Play:
    remaining = iter(responses)
    return lambda: [next(remaining)]


# Retry-After


@in_threads_and_tasks
def test_retry_waits_for_the_seconds_of_retry_after(kind: str) -> None:
    with Stage(in_turn(response(429, retry_after="1"), NOTHING)) as stage:
        assert recall(kind, stage.url) == [None]

    first, second = stage.arrivals
    assert 1 <= second - first < 1 + FIRST_DELAY + SLACK


@in_threads_and_tasks
def test_retry_waits_for_the_date_of_retry_after(kind: str) -> None:
    named = ceil(time.time()) + 1
    with Stage(in_turn(response(503, retry_after=formatdate(named, usegmt=True)), NOTHING)) as stage:
        started = time.time() - perf_counter()
        assert recall(kind, stage.url) == [None]

    assert 0 <= started + stage.arrivals[1] - named < FIRST_DELAY + SLACK


# Total time


def _drip(chunks: Iterable[bytes]) -> Iterator[bytes | float]:
    for chunk in chunks:
        yield chunk
        yield 0.03


def _bytes(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))


DROPS = 150
ENDLESS = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{"memories":'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Play] = {
    "no response": lambda: [5.0],
    "a head byte by byte": lambda: _drip(_bytes(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * DROPS)),
    "a body byte by byte": lambda: _drip([ENDLESS, *repeat(b" ", DROPS)]),
    "a body in small chunks": lambda: _drip([CHUNKED, *repeat(b"1\r\n \r\n", DROPS)]),
    "early hints without end": lambda: _drip(repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", DROPS)),
    "a response cut after a while": lambda: [ENDLESS, 0.2],
    "an error after a while": lambda: [0.2, response(500)],
    "an error byte by byte": lambda: _drip(_bytes(response(503, b"x" * DROPS))),
    "a busy server": lambda: [response(503)],
    "a dead server": list,
}
TIMEOUT = 0.5  # seconds


# httpx reads a head in one step, each read of which may take the rest of the timeout; only a task can be
# cancelled.
HEADS_THAT_DRIP = {"a head byte by byte", "early hints without end", "an error byte by byte"}
PATIENT = [
    pytest.param(kind, play, id=f"{name}-{kind}")
    for name, play in SLOW.items()
    for kind in ("threads", "tasks")
    if kind == "tasks" or name not in HEADS_THAT_DRIP
]


@pytest.mark.parametrize(("kind", "play"), PATIENT)
def test_call_takes_no_longer_than_its_timeout(kind: str, play: Play) -> None:
    with Stage(play) as stage:
        started = perf_counter()
        [error] = recall(kind, stage.url, timeout=TIMEOUT, max_retries=100)
        took = perf_counter() - started

    assert isinstance(error, APIConnectionError | ServerError)
    assert took < TIMEOUT + SLACK


@in_threads_and_tasks
def test_request_that_nobody_reads_ends_at_the_timeout(kind: str) -> None:
    batch = [{"agent_id": "a", "content": "x" * 60_000} for _ in range(300)]
    with Stage(lambda: [5.0], listens=False) as stage:
        started = perf_counter()
        with pytest.raises(APITimeoutError):
            _add(kind, stage.url, batch)
        took = perf_counter() - started

    assert took < TIMEOUT + SLACK


def _add(kind: str, url: str, batch: list[dict[str, Any]]) -> None:
    async def add() -> None:
        async with AsyncMemtrace(url, timeout=TIMEOUT, max_retries=100) as client:
            await client.add_memories(batch)

    if kind == "tasks":
        asyncio.run(add())
        return
    with Memtrace(url, timeout=TIMEOUT, max_retries=100) as client:
        client.add_memories(batch)


@in_threads_and_tasks
def test_delay_beyond_the_timeout_is_not_begun(kind: str) -> None:
    with Stage(lambda: [response(503, retry_after="30")]) as stage:
        started = perf_counter()
        [error] = recall(kind, stage.url, timeout=10.0)
        took = perf_counter() - started

    assert isinstance(error, ServerError)
    assert error.retry_after == 30
    assert took < SLACK
    assert len(stage.arrivals) == 1


# Crowds


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the planned times of retries, which are made as soon as all are planned, whatever the load."""
    planned: list[float] = []
    numbers = count()
    sleep, sleep_async = time.sleep, anyio.sleep

    def plan(seconds: float) -> int:
        planned.append(perf_counter() + seconds)
        return (next(numbers) // CROWD + 1) * CROWD

    def sleep_until_all_plan(seconds: float) -> None:
        all_of_them = plan(seconds)
        while len(planned) < all_of_them:
            sleep(0.01)

    async def sleep_until_all_plan_async(seconds: float) -> None:
        all_of_them = plan(seconds)
        while len(planned) < all_of_them:
            await sleep_async(0.01)

    monkeypatch.setattr(time, "sleep", sleep_until_all_plan)
    monkeypatch.setattr(anyio, "sleep", sleep_until_all_plan_async)
    return planned


@in_threads_and_tasks
@pytest.mark.parametrize(
    "play", [lambda: [response(503)], lambda: [response(429)], list], ids=["is busy", "limits", "is dead"]
)
def test_retries_of_many_clients_are_spread(kind: str, play: Play, planned: list[float]) -> None:
    with Stage(play) as stage:
        errors = recall(kind, stage.url, CROWD, max_retries=2)

    assert all(isinstance(error, MemtraceError) for error in errors)
    assert len(stage.arrivals) == CROWD * 3, "no client attempts more often than max_retries allows"
    assert len(planned) == CROWD * 2
    _assert_spread(planned)


@in_threads_and_tasks
def test_retries_after_one_date_are_spread(kind: str, planned: list[float]) -> None:
    named = ceil(time.time()) + 20
    later = formatdate(named, usegmt=True)
    with Stage(in_turn(*repeat(response(503, retry_after=later), CROWD), *repeat(NOTHING, CROWD))) as stage:
        started = time.time() - perf_counter()
        assert recall(kind, stage.url, CROWD) == [None] * CROWD

    assert len(planned) == CROWD
    assert started + min(planned) >= named
    _assert_spread(planned)


def _assert_spread(planned: list[float]) -> None:
    """Check that no moment is much busier than others."""
    arrivals = sorted(planned)
    busiest = max(bisect_left(arrivals, at + WINDOW) - index for index, at in enumerate(arrivals))
    assert busiest <= MOST_IN_A_WINDOW
    assert arrivals[-1] - arrivals[0] > FIRST_DELAY / 2
