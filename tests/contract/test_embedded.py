"""Embedded stores: files that clients share, and memory that they do not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from memtrace import APIConnectionError, AsyncMemtrace

pytestmark = pytest.mark.anyio

Connect = Callable[..., AsyncMemtrace]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent memory.db"


async def test_two_clients_on_one_file_see_each_others_writes(connect: Connect, file: Path) -> None:
    one, other = connect(f"sqlite:///{file}"), connect(f"sqlite:///{file}")

    first = await one.remember("agent_1", "By one")
    second = await other.remember("agent_1", "By the other")

    assert (await one.list_memories()).memories == (await other.list_memories()).memories == [second, first]
    await other.forget(first)
    assert (await one.search_memories("one")).count == 0
    assert (await one.get_agent_stats("agent_1")).memory_count == 1


async def test_two_clients_on_one_file_write_at_once_and_nothing_is_lost(
    connect: Connect, file: Path
) -> None:
    clients = [connect(f"sqlite:///{file}") for _ in range(2)]
    stored: list[str | None] = []

    async def write(client: AsyncMemtrace, name: str) -> None:
        stored.extend([(await client.remember(name, f"Item {n}")).id for n in range(10)])

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(write, clients[number % 2], f"agent_{number}")

    listed = (await clients[0].list_memories(limit=1000)).memories
    assert len(listed) == 60
    assert {memory.id for memory in listed} == set(stored)


async def test_stored_memory_is_found_when_the_file_is_opened_again(connect: Connect, file: Path) -> None:
    client = connect(f"sqlite:///{file}")
    memory = await client.remember("agent_1", "Persists")
    await client.close()

    assert (await connect(f"sqlite:///{file}").list_memories()).memories == [memory]


async def test_a_path_may_be_relative(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    await connect("sqlite:///agent.db").remember("agent_1", "Here")

    assert (tmp_path / "agent.db").exists()


async def test_a_store_in_memory_is_private_to_its_client(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = connect("sqlite://"), connect("sqlite://")

    memory = await one.remember("agent_1", "Only here")

    assert (await one.list_memories()).memories == [memory]
    assert [found.id for found in (await one.search_memories("here")).results] == [memory.id]
    assert (await other.list_memories()).memories == []
    assert os.listdir() == []  # noqa: PTH208 - quicker than a thread for anyio.Path


async def test_a_copy_with_other_options_shares_the_store(connect: Connect) -> None:
    client = connect("sqlite://")
    memory = await client.remember("agent_1", "Shared")

    assert (await client.with_options(timeout=1.0).list_memories()).memories == [memory]


async def test_no_key_is_needed_and_any_is_ignored(connect: Connect, file: Path) -> None:
    await connect(f"sqlite:///{file}").remember("agent_1", "Without")

    assert (await connect(f"sqlite:///{file}", "mtk_" + "0" * 64).list_memories()).count == 1


async def test_file_that_cannot_be_opened_is_an_api_connection_error(
    connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "nonsense.db").write_text("This is no database at all. " * 100)

    for name in ("missing/agent.db", "nonsense.db", "."):
        client = connect(f"sqlite:///{tmp_path / name}", max_retries=0)
        with pytest.raises(APIConnectionError) as refused:
            await client.remember("agent_1", "Nowhere")
        assert refused.value.status_code == 0


async def test_file_of_a_newer_version_is_an_error_that_names_the_cause(connect: Connect, file: Path) -> None:
    client = connect(f"sqlite:///{file}")
    await client.remember("agent_1", "Hello")
    await client.close()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999-from-the-future', 0)")

    with pytest.raises(APIConnectionError, match="newer"):
        await connect(f"sqlite:///{file}", max_retries=0).list_memories()
