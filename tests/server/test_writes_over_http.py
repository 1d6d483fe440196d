"""Writes of the ASGI application: committed together, with an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from server.writers import writer_busy

from memtrace_server import tenants
from memtrace_server.app import Api
from memtrace_server.core import Core
from memtrace_server.store import Store, open_store

MEMORIES = "http://server/api/v1/memories"
PATIENCE = 10.0  # seconds


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store("sqlite://")) as store:
        yield store


@pytest.fixture
def client(store: Store) -> httpx.AsyncClient:
    local = tenants.local_principal(store)
    core = Core(store, local=local)
    api: Any = Api(core, store, local=local)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api))


async def remember(client: httpx.AsyncClient, *contents: str) -> list[int]:
    """Store memories at once, and return the statuses of the responses."""
    bodies = [{"agent_id": "a", "content": content} for content in contents]
    responses = await asyncio.gather(*[client.post(MEMORIES, json=body) for body in bodies])
    return [response.status_code for response in responses]


async def contents(client: httpx.AsyncClient) -> set[str]:
    listed = (await client.get(MEMORIES, params={"limit": 1000})).json()["memories"]
    return {memory["content"] for memory in listed}


class Groups:
    """Record how many outcomes the event loop gets at once."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        submit = store.submit

        def counted(writes: Any, report: Any) -> None:
            self._report = report
            submit(writes, self._count)

        monkeypatch.setattr(store, "submit", counted)

    def _count(self, done: Any) -> None:
        self.sizes.append(len(done))
        self._report(done)


def test_writes_that_arrive_together_are_committed_together(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Groups(store, monkeypatch)
    many = [f"memory {n}" for n in range(100)]

    async def run() -> None:
        assert await remember(client, *many, many[0]) == [201] * 100 + [409]
        assert await contents(client) == set(many)

    asyncio.run(run())
    assert sum(groups.sizes) == 101
    assert max(groups.sizes) > 10


def test_a_write_that_its_index_delays_is_acknowledged_later_and_alone(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = store.submit
    outcomes: list[Any] = []
    callbacks: list[Any] = []

    def delayed(writes: Any, report: Any) -> None:
        """Delay the outcome of the first write."""
        callbacks.append(report)
        submit(writes, report if len(callbacks) > 1 else outcomes.append)

    monkeypatch.setattr(store, "submit", delayed)

    async def run() -> None:
        first = asyncio.create_task(remember(client, "late"))
        while not outcomes:  # noqa: ASYNC110 - the store's thread cannot set an event of the loop
            await asyncio.sleep(0)
        assert await contents(client) == {"late"}
        assert await remember(client, "in time") == [201]
        assert not first.done()
        callbacks[0](outcomes[0])
        assert await first == [201]

    asyncio.run(run())


def test_writes_wait_for_another_thread_without_the_event_loop(
    store: Store, client: httpx.AsyncClient
) -> None:
    async def run() -> None:
        with writer_busy(store):
            writing = asyncio.create_task(remember(client, "one", "two"))
            for _ in range(20):
                assert (await client.get("http://server/nowhere")).status_code == 404
            assert not writing.done()
        assert await asyncio.wait_for(writing, PATIENCE) == [201, 201]

    asyncio.run(run())


def test_cancelled_request_writes_nothing_and_affects_no_other(
    store: Store, client: httpx.AsyncClient
) -> None:
    async def run() -> None:
        with writer_busy(store):
            given_up = asyncio.create_task(remember(client, "given up", "too"))
            others = asyncio.create_task(remember(client, "one", "two"))
            await asyncio.sleep(0.05)
            given_up.cancel()
            await asyncio.wait([given_up], timeout=PATIENCE)
        assert await asyncio.wait_for(others, PATIENCE) == [201, 201]
        assert await contents(client) == {"one", "two"}

    asyncio.run(run())


@pytest.mark.parametrize("number", [1, 5])
def test_every_write_to_a_closed_store_is_503(store: Store, client: httpx.AsyncClient, number: int) -> None:
    store.close()

    async def run() -> None:
        writing = remember(client, *[f"memory {n}" for n in range(number)])
        assert await asyncio.wait_for(writing, PATIENCE) == [503] * number

    asyncio.run(run())


def test_every_write_of_a_failed_commit_is_500(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(writes: Any, report: Any) -> None:
        report([(write, (None, RuntimeError("no commit"))) for write in writes])

    monkeypatch.setattr(store, "submit", broken)

    async def run() -> None:
        assert await asyncio.wait_for(remember(client, "one", "two"), PATIENCE) == [500, 500]

    asyncio.run(run())
