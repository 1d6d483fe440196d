"""Writes as the ASGI application does them: together, and with an outcome for everyone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from server.writers import writer_held

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
    core = Core(store, local=tenants.local_principal(store))
    api: Any = Api(core, store, limit=None, client_timeout=PATIENCE, metrics=None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api))


async def remember(client: httpx.AsyncClient, *contents: str) -> list[int]:
    """Remember all at once: the statuses of the answers."""
    bodies = [{"agent_id": "a", "content": content} for content in contents]
    answers = await asyncio.gather(*[client.post(MEMORIES, json=body) for body in bodies])
    return [answer.status_code for answer in answers]


async def contents(client: httpx.AsyncClient) -> set[str]:
    listed = (await client.get(MEMORIES, params={"limit": 1000})).json()["memories"]
    return {memory["content"] for memory in listed}


class Starts:
    """Counts how many works a store starts at once; 0 where somebody else writes."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        start = store.start

        def counted(works: Any) -> Any:
            commit = start(works)
            self.sizes.append(len(works) if commit else 0)
            return commit

        monkeypatch.setattr(store, "start", counted)


def test_what_arrives_together_is_committed_together(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(store, monkeypatch)
    many = [f"memory {n}" for n in range(100)]

    async def run() -> None:
        assert await remember(client, *many, many[0]) == [201] * 100 + [409]
        assert await contents(client) == set(many)

    asyncio.run(run())
    assert sum(starts.sizes) > 50  # the others came alone, or while those were written
    assert max(starts.sizes) > 10


def test_one_alone_and_what_may_take_long_are_left_to_a_thread(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(store, monkeypatch)

    async def run() -> None:
        assert await remember(client, "alone") == [201]
        assert await remember(client, "long" * 3_000, "longer" * 3_000) == [201, 201]
        ids = [m["id"] for m in (await client.get(MEMORIES)).json()["memories"]]
        gone = await asyncio.gather(*[client.delete(f"{MEMORIES}/{one}") for one in ids])
        assert [answer.status_code for answer in gone] == [204] * 3

    asyncio.run(run())
    assert starts.sizes == []


def test_while_another_thread_writes_they_wait_without_the_event_loop(
    store: Store, client: httpx.AsyncClient
) -> None:
    async def run() -> None:
        with writer_held(store):
            writing = asyncio.create_task(remember(client, "one", "two"))
            for _ in range(20):
                assert (await client.get("http://server/nowhere")).status_code == 404
            assert not writing.done()
        assert await asyncio.wait_for(writing, PATIENCE) == [201, 201]

    asyncio.run(run())


def test_who_gives_up_has_written_nothing_and_harms_nobody(store: Store, client: httpx.AsyncClient) -> None:
    async def run() -> None:
        with writer_held(store):
            given_up = asyncio.create_task(remember(client, "given up", "too"))
            others = asyncio.create_task(remember(client, "one", "two"))
            await asyncio.sleep(0.05)
            given_up.cancel()
            await asyncio.wait([given_up], timeout=PATIENCE)
        assert await asyncio.wait_for(others, PATIENCE) == [201, 201]
        assert await contents(client) == {"one", "two"}

    asyncio.run(run())


def test_who_gives_up_while_others_are_committed_has_written_nothing(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    start = store.start

    def held(works: Any) -> Any:
        commit = start(works)
        assert commit is not None

        def later() -> Any:
            assert go_on.wait(PATIENCE)
            return commit()

        return later

    monkeypatch.setattr(store, "start", held)

    async def run() -> None:
        first = asyncio.create_task(remember(client, "one", "two"))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(remember(client, "given up", "too"))
        await asyncio.sleep(0.05)
        given_up.cancel()
        await asyncio.wait([given_up], timeout=PATIENCE)
        last = asyncio.create_task(remember(client, "three", "four"))
        await asyncio.sleep(0.05)
        go_on.set()
        assert await asyncio.wait_for(first, PATIENCE) == [201, 201]
        assert await asyncio.wait_for(last, PATIENCE) == [201, 201]
        assert await contents(client) == {"one", "two", "three", "four"}

    asyncio.run(run())


@pytest.mark.parametrize("number", [1, 5])
def test_when_the_store_has_been_closed_everybody_is_told(
    store: Store, client: httpx.AsyncClient, number: int
) -> None:
    store.close()

    async def run() -> None:
        told = remember(client, *[f"memory {n}" for n in range(number)])
        assert await asyncio.wait_for(told, PATIENCE) == [503] * number

    asyncio.run(run())


def test_when_a_commit_breaks_everybody_is_told(
    store: Store, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("no commit")

    monkeypatch.setattr(store, "start", lambda _: broken)

    async def run() -> None:
        assert await asyncio.wait_for(remember(client, "one", "two"), PATIENCE) == [500, 500]

    asyncio.run(run())
