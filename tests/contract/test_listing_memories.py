"""Listing memories: order, filters, and pages that stay consistent while others write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, ListOptions, Memory, NotFoundError

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def add(client: AsyncMemtrace, *memories: dict[str, Any]) -> list[Memory]:
    return await client.add_memories({"agent_id": "agent_1", **memory} for memory in memories)


async def contents(client: AsyncMemtrace, **filters: Any) -> list[str]:
    return [memory.content for memory in (await client.list_memories(**filters)).memories]


async def all_pages(client: AsyncMemtrace, **options: Any) -> list[list[Memory]]:
    pages, cursor = [], None
    while True:
        page = await client.list_memories(cursor=cursor, **options)
        pages.append(page.memories)
        assert page.count == len(page.memories)
        assert page.has_more == (page.next_cursor is not None)
        if not page.has_more:
            return pages
        cursor = page.next_cursor


async def test_memories_are_in_order_of_time_then_id(client: AsyncMemtrace) -> None:
    late = [{"content": f"Late {n}", "time": NOON + timedelta(microseconds=n % 2)} for n in range(6)]
    await add(client, *late)
    await add(client, {"content": "Early", "time": NOON - timedelta(days=400)})
    await add(client, *({"content": f"Also late {n}", "time": NOON} for n in range(3)))

    ascending = (await client.list_memories(order="asc")).memories

    assert ascending == sorted(ascending, key=lambda memory: (memory.time, memory.id))
    assert [memory.content for memory in ascending] == [
        "Early", "Late 0", "Late 2", "Late 4", "Also late 0", "Also late 1", "Also late 2",
        "Late 1", "Late 3", "Late 5",
    ]  # fmt: skip
    assert (await client.list_memories(order="desc")).memories == ascending[::-1]
    assert (await client.list_memories()).memories == ascending[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_by_cursor_add_up_to_the_list(client: AsyncMemtrace, order: Any) -> None:
    await add(client, *({"content": f"Item {n}", "time": NOON + timedelta(days=n % 3)} for n in range(11)))
    whole = (await client.list_memories(order=order)).memories

    pages = await all_pages(client, order=order, limit=4)

    assert [len(page) for page in pages] == [4, 4, 3]
    assert sum(pages, []) == whole  # noqa: RUF017 - three pages


async def test_has_more_is_exact(client: AsyncMemtrace) -> None:
    await add(client, *({"content": f"Item {n}"} for n in range(4)))

    assert [len(page) for page in await all_pages(client, limit=2)] == [2, 2]
    assert not (await client.list_memories(limit=4)).has_more
    assert (await client.list_memories(limit=3)).has_more
    assert not (await client.list_memories(limit=2, offset=2)).has_more
    assert not (await client.list_memories(agent_id="nobody")).has_more


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_no_page_repeats_or_skips_while_others_write_and_forget(
    client: AsyncMemtrace, order: Any
) -> None:
    kept = await add(client, *({"content": f"Item {n}", "time": NOON + timedelta(n)} for n in range(10)))
    first = await client.list_memories(order=order, limit=3)

    # Forget all memories of the first page, the last one included, and add memories before and after it.
    for memory in first.memories:
        await client.forget(memory)
    await add(client, {"content": "Before all", "time": NOON - timedelta(1)})
    await add(client, {"content": "After all", "time": NOON + timedelta(20)})
    rest = await client.list_memories(order=order, cursor=first.next_cursor)

    expected = kept if order == "asc" else kept[::-1]
    new = "After all" if order == "asc" else "Before all"
    assert first.memories == expected[:3]
    assert [memory.content for memory in rest.memories] == [m.content for m in expected[3:]] + [new]


async def test_offset_skips_memories(client: AsyncMemtrace) -> None:
    await add(client, *({"content": f"Item {n}"} for n in range(5)))

    assert await contents(client, offset=1, limit=2) == ["Item 3", "Item 2"]
    assert await contents(client, offset=4, limit=2, order="asc") == ["Item 4"]
    assert await contents(client, offset=5) == []


async def test_iterating_goes_through_every_page(client: AsyncMemtrace) -> None:
    stored = await add(client, *({"content": f"Item {n}"} for n in range(7)))

    through = [memory async for memory in client.iter_memories(agent_id="agent_1", order="asc", page_size=3)]

    assert through == stored


async def test_an_iterator_refuses_a_limit_and_an_empty_page(client: AsyncMemtrace) -> None:
    limit: Any = {"limit": 2}
    for iterate in (client.iter_memories, client.iter_search):
        with pytest.raises(TypeError, match="page_size"):
            await anext(aiter(iterate(agent_id="agent_1", **limit)))
        with pytest.raises(BadRequestError, match="limit: "):
            await anext(aiter(iterate(agent_id="agent_1", page_size=0)))


async def test_each_filter_must_match(client: AsyncMemtrace) -> None:
    await add(
        client,
        {"content": "decision", "memory_type": "decision", "event_type": "decision", "session_id": "s1"},
        {"content": "error", "event_type": "error", "session_id": "s1"},
        {"content": "plain", "session_id": "s2"},
        {"content": "other", "agent_id": "agent_2", "session_id": "s1"},
        {"content": "entity", "memory_type": "entity"},
    )

    assert await contents(client, agent_id="agent_2") == ["other"]
    assert await contents(client, session_id="s1") == ["other", "error", "decision"]
    assert await contents(client, memory_type="decision") == ["decision"]
    assert await contents(client, memory_type="episodic") == ["other", "plain", "error"]
    assert await contents(client, event_type="error") == ["error"]
    assert await contents(client, event_type="general") == ["entity", "other", "plain"]
    assert await contents(client, event_type="general", memory_type="entity") == ["entity"]
    assert await contents(client, agent_id="agent_1", session_id="s1", event_type="error") == ["error"]
    assert await contents(client, agent_id="agent_1", session_id="s2", event_type="error") == []
    assert await contents(client, agent_id="agent_1", memory_type="decision") == ["decision"]


async def test_tags_match_exactly_and_all_must_match(client: AsyncMemtrace) -> None:
    await add(
        client,
        {"content": "gui", "tags": ["gui"]},
        {"content": "UI", "tags": ["UI"]},
        {"content": "ui", "tags": ["ui"]},
        {"content": "both", "tags": ["nav", "ui"]},
        {"content": "u_", "tags": ["u_", "u%"]},
        {"content": "ü ü", "tags": ["ü ü&=+"]},
        {"content": "event", "event_type": "ui"},
    )

    assert await contents(client, tags="ui") == ["both", "ui"]
    assert await contents(client, tags=["ui", "nav"]) == ["both"]
    assert await contents(client, tags="ui,nav") == ["both"]
    assert await contents(client, tags=["u"]) == []
    assert await contents(client, tags=["u%"]) == ["u_"]
    assert await contents(client, tags=["ü ü&=+"]) == ["ü ü"]


async def test_since_and_until_take_four_forms(client: AsyncMemtrace) -> None:
    now = datetime.now(UTC)
    await add(
        client, *({"content": f"{hours} h", "time": now - timedelta(hours=hours)} for hours in (1, 3, 5))
    )
    two_hours = timedelta(hours=2)

    for since in ("2h", two_hours, now - two_hours, (now - two_hours).isoformat()):
        assert await contents(client, since=since) == ["1 h"], since
    for until in ("2h", two_hours, now - two_hours, (now - two_hours).isoformat()):
        assert await contents(client, until=until) == ["3 h", "5 h"], until
    assert await contents(client, since="240m", until=two_hours) == ["3 h"]
    assert await contents(client, since="1w") == ["1 h", "3 h", "5 h"]


async def test_since_is_included_and_until_is_not(client: AsyncMemtrace) -> None:
    await add(client, {"content": "Noon", "time": NOON})
    moment = timedelta(microseconds=1)

    assert await contents(client, since=NOON) == ["Noon"]
    assert await contents(client, since=NOON + moment) == []
    assert await contents(client, until=NOON) == []
    assert await contents(client, until=NOON + moment) == ["Noon"]


async def test_unreadable_since_is_refused(client: AsyncMemtrace) -> None:
    for since in ("yesterday", "24", "h", "-1h", "1 h", "2026-02-30T00:00:00Z", "2026-1-1", "24H", ""):
        with pytest.raises(BadRequestError) as refused:
            await client.list_memories(since=since)
        assert [detail.field for detail in refused.value.details] == ["since"], since
        assert "takes a date" in str(refused.value), since


async def test_invalid_value_of_a_filter_is_refused_by_name(client: AsyncMemtrace) -> None:
    wrong: list[dict[str, Any]] = [
        {"limit": 0}, {"limit": 1001}, {"offset": -1}, {"order": "newest"}, {"memory_type": "dream"},
        {"agent_id": "a "}, {"cursor": "!"}, {"tags": ["a" * 129]}, {"event_type": "e" * 129},
    ]  # fmt: skip
    for filters in wrong:
        with pytest.raises(BadRequestError) as refused:
            await client.list_memories(**filters)
        assert [detail.field.split(".")[0] for detail in refused.value.details] == list(filters), filters


async def test_a_cursor_of_another_query_is_not_found(client: AsyncMemtrace) -> None:
    await add(client, {"content": "One"}, {"content": "Two", "tags": ["t"]})
    cursor = (await client.list_memories(limit=1)).next_cursor

    for other in ({"order": "asc"}, {"agent_id": "agent_1"}, {"tags": "t"}):
        with pytest.raises(NotFoundError) as refused:
            await client.list_memories(cursor=cursor, **other)  # type: ignore[arg-type] # their values vary
        assert refused.value.code == "unknown_cursor", other
        assert [detail.field for detail in refused.value.details] == ["cursor"]
    assert (await client.list_memories(cursor=cursor, limit=500)).count == 1


async def test_filters_and_pages_work_for_an_agent_and_for_a_session(client: AsyncMemtrace) -> None:
    await add(
        client,
        *({"content": f"{n}", "session_id": "s1", "tags": ["odd"] if n % 2 else ["even"]} for n in range(6)),
    )
    await add(client, {"content": "elsewhere", "agent_id": "agent_2", "session_id": "s2", "tags": ["odd"]})

    for get, of in ((client.get_agent_memories, "agent_1"), (client.get_session_memories, "s1")):
        assert [m.content for m in (await get(of)).memories] == ["5", "4", "3", "2", "1", "0"]
        page = await get(of, ListOptions(tags="odd", order="asc", limit=2))
        assert [m.content for m in page.memories] == ["1", "3"]
        page = await get(of, ListOptions(tags="odd", order="asc", limit=2, cursor=page.next_cursor))
        assert ([m.content for m in page.memories], page.has_more) == (["5"], False)
        assert (await get(of, ListOptions(since=timedelta(days=1), event_type="error"))).count == 0
    assert (await client.get_agent_memories("agent_1", ListOptions(session_id="s2"))).count == 0
    assert (await client.get_session_memories("s1", ListOptions(agent_id="agent_2"))).count == 0


async def test_memories_of_an_unknown_agent_or_session_are_not_found(client: AsyncMemtrace) -> None:
    with pytest.raises(NotFoundError):
        await client.get_agent_memories("nobody")
    with pytest.raises(NotFoundError):
        await client.get_session_memories("none")


async def test_recall_without_since_returns_the_newest_however_old(client: AsyncMemtrace) -> None:
    now = datetime.now(UTC)
    await add(
        client, {"content": "old", "time": now - timedelta(hours=25)}, {"content": "new", "tags": ["t"]}
    )
    await add(client, {"content": "of another", "agent_id": "agent_2"})

    assert [m.content for m in (await client.recall("agent_1")).memories] == ["new", "old"]
    assert [m.content for m in (await client.recall("agent_1", since="24h")).memories] == ["new"]
    assert [m.content for m in (await client.recall("agent_1", "2d", limit=1)).memories] == ["new"]
    assert [m.content for m in (await client.recall("agent_1", None, tags="t")).memories] == ["new"]
    assert (await client.recall("nobody")).memories == []
