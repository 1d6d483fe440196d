"""Superseding memories: which memories are shown now, and as of an earlier time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, ConflictError, Memory, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from helpers.clock import Clock

pytestmark = pytest.mark.anyio

EMBEDDED = pytest.mark.parametrize("place", ["embedded"], indirect=True)
UNKNOWN = "mem_01JD5P8E6W3M9V2QXA7RKB4TNC"
FIELDS: dict[str, Any] = {
    "session_id": "s", "memory_type": "entity", "event_type": "preference", "tags": ["ui"], "importance": 0.9,
    "metadata": {"n": 1},
}  # fmt: skip


async def remember(client: AsyncMemtrace, content: str, older: Memory | None = None) -> Memory:
    supersedes: dict[str, Any] = {} if older is None else {"supersedes": older.id}
    return await client.remember("a", content, **FIELDS, **supersedes)


async def chain(client: AsyncMemtrace, *contents: str) -> list[Memory]:
    """Store memories of which each supersedes the one before."""
    memories: list[Memory] = []
    for content in contents:
        memories.append(await remember(client, content, memories[-1] if memories else None))
    return memories


async def seen(client: AsyncMemtrace, **options: Any) -> list[str]:
    """Return the contents of a list, after checking that all other reads have the same."""
    listed = [m.content for m in (await client.list_memories(order="asc", **options)).memories]
    pages: list[Callable[..., Awaitable[Any]]] = [
        lambda **o: client.list_memories(agent_id="a", **o),
        lambda **o: client.list_memories(session_id="s", **o),
        lambda **o: client.list_memories(tags=["ui"], **o),
        lambda **o: client.list_memories(agent_id="a", tags=["ui"], event_type="preference", **o),
        lambda **o: client.list_memories(agent_id="a", memory_type="entity", **o),
        lambda **o: client.list_memories(event_type="preference", **o),
        lambda **o: client.get_agent_memories("a", **o),
        lambda **o: client.get_session_memories("s", **o),
        client.search_memories,
        lambda **o: client.search_memories(query="mode", **o),
        lambda **o: client.search_memories(content_contains="mode", **o),
        lambda **o: client.search_memories(query="mode", tags=["ui"], agent_id="a", **o),
        lambda **o: client.search_memories(min_importance=0.8, agent_id="a", **o),
        lambda **o: client.search_memories(min_importance=0.8, session_id="s", **o),
        lambda **o: client.search_memories(metadata={"n": 1}, **o),
    ]
    for number, read in enumerate(pages):
        page = await read(order="asc", **options)
        found = page.results if hasattr(page, "results") else page.memories
        assert [m.content for m in found] == listed, number
    ranked = (await client.search_memories(query="mode", order="relevance", **options)).results
    assert sorted(m.content for m in ranked) == sorted(listed)
    for get, of in ((client.get_agent_context, "a"), (client.get_session_context, "s")):
        context = await get(of, **options)
        assert context.memory_count == len(listed)
        assert all(content in context.context for content in listed)
    return listed


async def test_a_superseded_memory_is_shown_only_if_asked_for(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    assert await seen(client) == ["light mode"]
    assert await seen(client, include_superseded=True) == ["dark mode", "light mode"]
    assert (newer.supersedes, newer.superseded_by) == (older.id, None)


async def test_a_superseded_memory_names_the_newer_one(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    got = await client.get_memory(older.id or "")

    assert got.superseded_by == newer.id
    page = await client.list_memories(include_superseded=True, order="asc")
    assert page.memories == [got, newer]
    found = await client.search_memories(query="dark", include_superseded=True)
    assert [(memory.id, memory.superseded_by) for memory in found.results] == [(older.id, newer.id)]


async def test_forgetting_the_newer_memory_brings_the_older_back(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    await client.forget(newer)

    assert await seen(client) == ["dark mode"]
    assert await client.get_memory(older.id or "") == older


async def test_forgetting_the_older_memory_leaves_the_newer(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    await client.forget(older)

    assert await seen(client, include_superseded=True) == ["light mode"]
    await client.forget(newer)
    assert await seen(client, include_superseded=True) == []


async def test_only_the_newest_memory_of_a_chain_is_shown(client: AsyncMemtrace) -> None:
    first, second, third = await chain(client, "dark mode", "light mode", "no mode")

    assert await seen(client) == ["no mode"]
    await client.forget(third)
    assert await seen(client) == ["light mode"]
    await client.forget(second)
    assert await seen(client) == ["dark mode"]
    assert (await client.get_memory(first.id or "")).superseded_by is None


async def test_forgetting_the_middle_of_a_chain_joins_its_ends(client: AsyncMemtrace) -> None:
    first, second, third = await chain(client, "dark mode", "light mode", "no mode")

    await client.forget(second)

    assert await seen(client) == ["no mode"]
    assert (await client.get_memory(first.id or "")).superseded_by == third.id
    await client.forget(third)
    assert await seen(client) == ["dark mode"]


async def test_superseding_a_superseded_memory_is_a_conflict(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    with pytest.raises(ConflictError, match=f"supersedes: .* is superseded by {newer.id}") as refused:
        await remember(client, "no mode", older)

    assert (refused.value.code, refused.value.existing_id) == ("already_superseded", newer.id)
    assert [detail.field for detail in refused.value.details] == ["supersedes"]
    assert await seen(client) == ["light mode"]


async def test_memory_can_be_superseded_again_after_the_newer_is_forgotten(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")
    await client.forget(newer)

    await remember(client, "no mode", older)

    assert await seen(client) == ["no mode"]


async def test_superseding_a_memory_that_the_agent_lacks_is_not_found(client: AsyncMemtrace) -> None:
    forgotten = await client.remember("a", "dark mode")
    await client.forget(forgotten)
    foreign = await client.remember("b", "dark mode")
    altered = (foreign.id or "")[:-1] + ("0" if (foreign.id or "")[-1] != "0" else "1")

    for memory_id in (UNKNOWN, forgotten.id, foreign.id, altered):
        with pytest.raises(NotFoundError, match="agent a has no memory mem_") as refused:
            await client.remember("a", "light mode", supersedes=memory_id or "")
        assert [detail.field for detail in refused.value.details] == ["supersedes"]

    assert (await client.list_memories(agent_id="a")).memories == []


async def test_superseding_memory_with_a_ttl_is_refused(client: AsyncMemtrace) -> None:
    older = await client.remember("a", "dark mode")

    with pytest.raises(BadRequestError, match="ttl: cannot be given together with supersedes"):
        await client.remember("a", "light mode", supersedes=older.id or "", ttl=60)


@EMBEDDED
async def test_a_superseded_memory_may_expire(client: AsyncMemtrace, clock: Clock) -> None:
    older = await client.remember("a", "dark mode", ttl=60)
    newer = await client.remember("a", "light mode", supersedes=older.id or "")
    clock.advance(60)

    assert (await client.list_memories(include_superseded=True)).memories == [newer]
    with pytest.raises(NotFoundError):
        await client.remember("a", "no mode", supersedes=older.id or "")
    await client.forget(newer)
    assert (await client.list_memories(include_superseded=True)).memories == []


async def test_batch_with_two_memories_superseding_one_is_a_conflict(client: AsyncMemtrace) -> None:
    older = await remember(client, "dark mode")

    with pytest.raises(
        ConflictError, match=r"memories\.1\.supersedes: .* memories\.0 of this batch"
    ) as refused:
        await client.add_memories(
            [{"agent_id": "a", "content": text, "supersedes": older.id} for text in ("light mode", "no mode")]
        )

    assert refused.value.code == "already_superseded"
    assert await seen(client) == ["dark mode"]


async def test_batch_with_an_unknown_superseded_memory_changes_nothing(client: AsyncMemtrace) -> None:
    older = await remember(client, "dark mode")
    newer = {"agent_id": "a", "content": "light mode", "supersedes": older.id}

    with pytest.raises(NotFoundError, match=r"memories\.1\.supersedes: agent a has no memory"):
        await client.add_memories([newer, {"agent_id": "a", "content": "no mode", "supersedes": UNKNOWN}])

    assert await seen(client) == ["dark mode"]


async def test_duplicate_that_supersedes_is_returned_and_changes_nothing(client: AsyncMemtrace) -> None:
    older, newer = await chain(client, "dark mode", "light mode")

    again = await client.remember(
        "a", "light mode", **FIELDS, supersedes=older.id or "", on_duplicate="return"
    )

    assert again == newer
    assert await seen(client) == ["light mode"]


async def test_repeated_superseding_write_gets_the_first_response(client: AsyncMemtrace) -> None:
    older = await client.remember("a", "dark mode", idempotency_key="older")
    newer = await client.remember("a", "light mode", supersedes=older.id or "", idempotency_key="newer")
    await client.remember("a", "no mode", supersedes=newer.id or "")

    assert await client.remember("a", "dark mode", idempotency_key="older") == older
    repeated = await client.remember("a", "light mode", supersedes=older.id or "", idempotency_key="newer")
    assert repeated == newer
    assert (await client.list_memories(include_superseded=True)).count == 3


async def test_forgetting_by_filter_forgets_superseded_memories_too(client: AsyncMemtrace) -> None:
    await chain(client, "dark mode", "light mode", "no mode")
    await client.remember("a", "another mode")

    assert await client.forget_all(tags=["ui"]) == 3

    assert [m.content for m in (await client.list_memories(include_superseded=True)).memories] == [
        "another mode"
    ]


async def test_deleting_an_agent_deletes_its_superseded_memories_too(client: AsyncMemtrace) -> None:
    await chain(client, "dark mode", "light mode")

    await client.delete_agent("a", delete_memories=True)

    assert (await client.list_memories(include_superseded=True)).memories == []


async def test_statistics_count_superseded_memories(client: AsyncMemtrace) -> None:
    _, newer = await chain(client, "dark mode", "light mode")

    stats = await client.get_agent_stats("a")
    assert (stats.memory_count, stats.memories_24h, stats.memory_types) == (2, 2, {"entity": 2})

    await client.forget(newer)
    stats = await client.get_agent_stats("a")
    assert (stats.memory_count, stats.memories_24h, stats.memory_types) == (1, 1, {"entity": 1})


async def test_pages_of_superseded_memories_follow_each_other(client: AsyncMemtrace) -> None:
    await chain(client, *[f"mode {number}" for number in range(7)])
    await client.remember("a", "mode 7")

    for order in ("asc", "desc"):
        shown = [
            memory.content
            async for memory in client.iter_memories(order=order, include_superseded=True, page_size=3)
        ]
        assert shown == sorted(shown, reverse=order == "desc")
        assert len(shown) == 8


async def test_created_at_is_when_a_memory_was_stored(client: AsyncMemtrace) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)

    now = await client.remember("a", "now")
    backfilled = await client.remember("a", "then", time=datetime(2020, 1, 1, tzinfo=UTC))

    assert now.created_at == now.time
    assert backfilled.created_at is not None
    assert before < backfilled.created_at < before + timedelta(minutes=1)
    assert backfilled.time == datetime(2020, 1, 1, tzinfo=UTC)
    assert await client.get_memory(backfilled.id or "") == backfilled


@EMBEDDED
async def test_as_of_shows_what_was_known(client: AsyncMemtrace, clock: Clock) -> None:
    moments = [clock.moment()]
    memories: list[Memory] = []
    for content in ("dark mode", "light mode", "no mode"):
        clock.advance(10)
        memories.append(await remember(client, content, memories[-1] if memories else None))
        moments.append(clock.moment())
    clock.advance(10)

    assert [await seen(client, as_of=moment) for moment in moments] == [
        [],
        ["dark mode"],
        ["light mode"],
        ["no mode"],
    ]
    assert await seen(client, as_of="15s") == ["light mode"]
    assert await seen(client, as_of=moments[2] - timedelta(microseconds=1)) == ["dark mode"]
    assert await seen(client, as_of=moments[2], include_superseded=True) == ["dark mode", "light mode"]


@EMBEDDED
async def test_as_of_leaves_out_links_made_later(client: AsyncMemtrace, clock: Clock) -> None:
    older = await remember(client, "dark mode")
    clock.advance(10)
    newer = await remember(client, "light mode", older)

    async def superseded_by(as_of: datetime) -> list[str | None]:
        page = await client.list_memories(as_of=as_of, include_superseded=True, order="asc")
        return [memory.superseded_by for memory in page.memories]

    assert await superseded_by(clock.moment()) == [newer.id, None]
    assert await superseded_by(clock.moment() - timedelta(seconds=5)) == [None]


@EMBEDDED
async def test_as_of_does_not_show_what_was_forgotten_since(client: AsyncMemtrace, clock: Clock) -> None:
    older, newer = await chain(client, "dark mode", "light mode")
    then = clock.moment()
    clock.advance(10)
    await client.forget(newer)

    assert await seen(client, as_of=then) == ["dark mode"]
    await client.forget(older)
    assert await seen(client, as_of=then) == []


@EMBEDDED
async def test_as_of_does_not_show_what_has_expired_since(client: AsyncMemtrace, clock: Clock) -> None:
    await client.remember("a", "dark mode", ttl=60)
    then = clock.moment()
    later = then + timedelta(minutes=2)

    assert [m.content for m in (await client.list_memories(as_of=then)).memories] == ["dark mode"]
    assert (await client.list_memories(as_of=later)).memories == []
    clock.advance(60)
    assert (await client.list_memories(as_of=then)).memories == []


@EMBEDDED
async def test_as_of_compares_created_at_rather_than_time(client: AsyncMemtrace, clock: Clock) -> None:
    start = clock.moment()
    clock.advance(10)
    await client.remember("a", "of long ago", time=datetime(2020, 1, 1, tzinfo=UTC))
    await client.remember("a", "of the future", time=start + timedelta(days=1))

    assert (await client.list_memories(as_of=start)).memories == []
    assert (await client.list_memories(as_of=clock.moment())).count == 2
