"""Writes through a network that breaks a fifth of all exchanges are stored exactly once."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define
from durability.fault_proxy import DECK, FAULTS, STATUSES, WAITS, FaultProxy
from durability.store_audit import assert_consistent_at
from live import LiveServer

from memtrace import AsyncMemtrace, Memory, Memtrace, MemtraceError

IS_LONG = bool(os.environ.get("MEMTRACE_LONG"))
SEEDS = range(20260, 20270 if IS_LONG else 20261)
MEMORIES, BATCHES = (10_000, 200) if IS_LONG else (500, 25)
AT_ONCE = 16
IMPATIENCE = 1.0  # seconds


@define
class Write:
    """A memory or a batch, and its outcome.

    Attributes:
        memories: The memories; each content is unique.
        stored: The result of the call.
        error: The exception of the call.
    """

    memories: Sequence[dict[str, Any]]
    stored: Sequence[Memory] = ()
    error: Exception | None = None

    def send(self, client: Memtrace) -> None:
        """Send the write, and record its result or its exception."""
        try:
            if len(self.memories) > 1:
                self.stored = client.add_memories(self.memories)
            else:
                self.stored = [client.remember(**self.memories[0])]
        except Exception as error:  # noqa: BLE001 - compared later
            self.error = error

    async def send_async(self, client: AsyncMemtrace) -> None:
        """Send the write, and record its result or its exception."""
        try:
            if len(self.memories) > 1:
                self.stored = await client.add_memories(self.memories)
            else:
                self.stored = [await client.remember(**self.memories[0])]
        except Exception as error:  # noqa: BLE001 - compared later
            self.error = error


pytestmark = pytest.mark.usefixtures("short_delays")
in_threads_and_tasks = pytest.mark.parametrize(
    ("kind", "store_url"),
    [
        pytest.param("threads", "sqlite", id="threads, SQLite"),
        pytest.param("tasks", "sqlite", id="tasks, SQLite"),
        pytest.param("threads", "postgres", id="threads, PostgreSQL"),
    ],
    indirect=["store_url"],
)
seeded = pytest.mark.parametrize("seed", SEEDS)


@seeded
@in_threads_and_tasks
def test_every_write_with_enough_retries_is_stored_exactly_once(
    tmp_path: Path, store_url: str, kind: str, seed: int
) -> None:
    writes = _writes(seed, MEMORIES, BATCHES)

    patience = httpx.Timeout(IMPATIENCE)
    counts = _write(tmp_path, store_url, kind, writes, seed, max_retries=20, timeout=patience)

    assert [write.error for write in writes if write.error] == []
    _assert_exactly_once(store_url, writes)
    assert counts["exchanges"] > DECK
    expected = {*FAULTS, *(f"{status} {when}" for status in STATUSES for when in ("before", "after"))}
    expected |= {f"Retry-After: {wait}" for wait in WAITS}
    assert {name for name in expected if not counts[name]} == set()


@seeded
@in_threads_and_tasks
def test_write_given_up_is_stored_once_or_not_at_all(
    tmp_path: Path, store_url: str, kind: str, seed: int
) -> None:
    writes = _writes(seed, MEMORIES, BATCHES)

    _write(tmp_path, store_url, kind, writes, seed, max_retries=1, timeout=IMPATIENCE)

    was_stored = _assert_exactly_once(store_url, writes)
    assert set(was_stored) == {False, True}, (
        "this proves something only if some were stored and some were not"
    )
    assert len(was_stored) < len(writes)


def _writes(seed: int, memories: int, batches: int) -> list[Write]:
    dice = random.Random(seed)  # noqa: S311 - not a secret

    def memory(longest: int) -> dict[str, Any]:
        return {
            "agent_id": f"agent_{dice.randrange(7)}",
            "content": f"{dice.getrandbits(80):020x} of {seed}",
            "metadata": {"padding": "x" * dice.randrange(longest)},
        }

    writes = [Write([memory(200)]) for _ in range(memories)]
    writes += [Write([memory(4_000) for _ in range(dice.randint(2, 40))]) for _ in range(batches)]
    dice.shuffle(writes)
    return writes


def _write(
    folder: Path, store_url: str, kind: str, writes: Sequence[Write], seed: int, **settings: Any
) -> Mapping[str, int]:
    """Send all writes through the proxy, and return its counts."""
    with (
        LiveServer(folder, store=store_url) as server,
        FaultProxy(server.url, seed=seed, impatience=IMPATIENCE) as proxy,
    ):
        if kind == "threads":
            with (
                Memtrace(proxy.url, server.key, **settings) as client,
                ThreadPoolExecutor(AT_ONCE) as threads,
            ):
                list(threads.map(lambda write: write.send(client), writes))
        else:
            asyncio.run(_write_in_tasks(AsyncMemtrace(proxy.url, server.key, **settings), writes))
    return proxy.counts


async def _write_in_tasks(client: AsyncMemtrace, writes: Iterable[Write]) -> None:
    waiting = iter(writes)

    async def write_on() -> None:
        for write in waiting:
            await write.send_async(client)

    async with client:
        await asyncio.gather(*(write_on() for _ in range(AT_ONCE)))


def _assert_exactly_once(store_url: str, writes: Iterable[Write]) -> list[bool]:
    """Compare the store with the results, and return for each write given up whether it was stored."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in assert_consistent_at(store_url):
        found[row.doc["content"]].append(row.doc["id"])
    was_stored: list[bool] = []
    for write in writes:
        ids = [found.pop(memory["content"], []) for memory in write.memories]
        if write.error is None:
            assert ids == [[memory.id] for memory in write.stored]
            continue
        assert isinstance(write.error, MemtraceError), repr(write.error)
        assert {len(same) for same in ids} in ({0}, {1}), "a whole batch is there, once, or nothing of it"
        was_stored.append(bool(ids[0]))
    assert not found
    return was_stored
