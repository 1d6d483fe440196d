"""Following memories in the order in which they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import AsyncMemtrace, Memory, MemoryTail, NotFoundError

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def contents(page: MemoryTail) -> list[str]:
    return [memory.content for memory in page.memories]


async def from_the_beginning(client: AsyncMemtrace, **filters: Any) -> list[Memory]:
    """Return the memories of all pages, some of which may be empty."""
    page = await client.tail_memories(start="beginning", **filters)
    found = page.memories
    while page.has_more:
        page = await client.tail_memories(cursor=page.next_cursor, **filters)
        found += page.memories
    return found


async def test_a_tail_begins_with_the_next_memory_and_continues_after_it(client: AsyncMemtrace) -> None:
    await client.remember("a", "before")
    page = await client.tail_memories()
    assert (contents(page), page.count, page.has_more) == ([], 0, False)

    await client.remember("a", "one")
    await client.remember("b", "two")
    page = await client.tail_memories(cursor=page.next_cursor)
    assert (contents(page), page.count, page.has_more) == (["one", "two"], 2, False)

    page = await client.tail_memories(cursor=page.next_cursor)
    assert contents(page) == []


async def test_tail_from_the_beginning_has_the_order_of_storing(client: AsyncMemtrace) -> None:
    await client.add_memories(
        {"agent_id": "a", "content": f"{number}", "time": NOON - timedelta(days=number)}
        for number in range(7)
    )
    page = await client.tail_memories(start="beginning", limit=3)
    found = contents(page)
    while page.has_more:
        page = await client.tail_memories(cursor=page.next_cursor, limit=3)
        found += contents(page)
    assert found == [str(number) for number in range(7)]


async def test_a_tail_takes_the_filters_of_a_list(client: AsyncMemtrace) -> None:
    await client.remember("a", "one", tags=["x"], session_id="s", event_type="error")
    await client.remember("b", "two", tags=["x"])
    await client.remember("a", "three", time=NOON)

    async def tail(**filters: Any) -> list[str]:
        return [memory.content for memory in await from_the_beginning(client, **filters)]

    assert await tail(agent_id="a") == ["one", "three"]
    assert await tail(tags=["x"]) == ["one", "two"]
    assert await tail(session_id="s") == ["one"]
    assert await tail(event_type="error") == ["one"]
    assert await tail(until=NOON + timedelta(seconds=1)) == ["three"]
    assert await tail(since="1h") == ["one", "two"]


async def test_a_tail_shows_superseded_memories_but_no_forgotten_ones(client: AsyncMemtrace) -> None:
    old = await client.remember("a", "old")
    new = await client.remember("a", "new", supersedes=old.id)
    gone = await client.remember("a", "gone")
    await client.forget(gone)
    found = await from_the_beginning(client)
    assert [(memory.content, memory.superseded_by) for memory in found] == [
        ("old", new.id),
        ("new", None),
    ]


async def test_cursor_of_a_tail_belongs_to_its_filters_only(client: AsyncMemtrace) -> None:
    page = await client.tail_memories(agent_id="a")
    await client.remember("a", "one")
    assert contents(await client.tail_memories(agent_id="a", cursor=page.next_cursor, wait=1, limit=1)) == [
        "one"
    ]
    with pytest.raises(NotFoundError) as caught:
        await client.tail_memories(agent_id="b", cursor=page.next_cursor)
    assert caught.value.code == "unknown_cursor"


async def test_waiting_tail_returns_the_next_matching_memory(client: AsyncMemtrace) -> None:
    page = await client.tail_memories(agent_id="a")
    waiting = asyncio.ensure_future(client.tail_memories(agent_id="a", cursor=page.next_cursor, wait=8))
    await client.remember("b", "another agent's")
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await client.remember("a", "one")
    assert contents(await waiting) == ["one"]


async def test_first_tail_that_waits_returns_memories_stored_meanwhile(client: AsyncMemtrace) -> None:
    waiting = asyncio.ensure_future(client.tail_memories(agent_id="a", wait=8))
    while not waiting.done():
        await client.remember("a", "one")
        await asyncio.sleep(0.05)

    assert set(contents(await waiting)) == {"one"}


async def test_tail_that_finds_nothing_continues_from_the_same_position(client: AsyncMemtrace) -> None:
    page = await client.tail_memories(agent_id="a", wait=1)
    assert contents(page) == []
    await client.remember("a", "one")
    assert contents(await client.tail_memories(agent_id="a", cursor=page.next_cursor)) == ["one"]


async def test_clients_that_write_at_once_are_followed_without_gap_or_repeat(
    client: AsyncMemtrace, connect: Callable[..., AsyncMemtrace], place: Any
) -> None:
    writers = [connect(place.url, place.key) for _ in range(3)]
    page = await client.tail_memories()

    async def write(writer: AsyncMemtrace, name: str) -> None:
        for number in range(20):
            await writer.remember(name, f"{name} {number}")

    async def follow() -> list[str]:
        found: list[str] = []
        cursor = page.next_cursor
        while len(found) < 60:
            more = await client.tail_memories(cursor=cursor, wait=8, limit=7)
            found += contents(more)
            cursor = more.next_cursor
        return found

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(write(w, f"w{n}") for n, w in enumerate(writers)))
    found = await following
    assert sorted(found) == sorted(f"w{n} {number}" for n in range(3) for number in range(20))
    for name in ("w0", "w1", "w2"):
        assert [each for each in found if each.startswith(name)] == [
            f"{name} {number}" for number in range(20)
        ]
