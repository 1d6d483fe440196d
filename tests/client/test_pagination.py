"""Iterating over all pages: by cursor, and by offset or time with a 0.x server."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import httpx
import pytest
from helpers.clients import MEMORY, FakeServer, page

from memtrace import ListOptions, Memtrace, MemtraceError, SearchQuery

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def numbered(number: int, second: int | None = None) -> dict[str, Any]:
    """Return a memory with its number as content, one for each second."""
    time = START + dt.timedelta(seconds=number if second is None else second)
    return {**MEMORY, "id": None, "content": str(number), "time": time.isoformat()}


def found(*numbers: int, **more: Any) -> dict[str, Any]:
    """Return a page of a search."""
    return {"results": [numbered(n) for n in numbers], "count": len(numbers), "query_time_ms": 0, **more}


def contents(memories: Any) -> list[int]:
    return [int(memory.content) for memory in memories]


def params(request: httpx.Request) -> dict[str, str]:
    return dict(request.url.params)


def test_iter_memories_follows_the_cursor(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(numbered(1), numbered(2), has_more=True, next_cursor="A"))
    fake_server.respond(200, page(numbered(3), has_more=True, next_cursor="B"))
    fake_server.respond(200, page(numbered(4)))

    assert contents(sdk.iter_memories(agent_id="a", tags=["t"], order="asc", page_size=2)) == [1, 2, 3, 4]

    filters = {"agent_id": "a", "tags": "t", "order": "asc", "limit": "2"}
    assert [params(request) for request in fake_server.requests] == [
        filters,
        {**filters, "cursor": "A"},
        {**filters, "cursor": "B"},
    ]


def test_iter_memories_begins_at_the_cursor_or_offset_of_its_options(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, page(numbered(1), has_more=True, next_cursor="B")).respond(200, page())
    fake_server.respond(200, page(numbered(2), has_more=True, next_cursor="C")).respond(200, page())

    assert contents(sdk.iter_memories(ListOptions(session_id="s", cursor="A", limit=1))) == [1]
    assert contents(sdk.iter_memories(ListOptions(offset=10))) == [2]

    assert [params(request) for request in fake_server.requests] == [
        {"session_id": "s", "cursor": "A", "limit": "1"},
        {"session_id": "s", "cursor": "B", "limit": "1"},
        {"offset": "10"},
        {"cursor": "C"},
    ]


def test_iter_memories_requests_a_page_only_when_needed(sdk: Memtrace, fake_server: FakeServer) -> None:
    memories = sdk.iter_memories()
    assert fake_server.requests == []

    fake_server.respond(200, page(numbered(1), numbered(2), has_more=True, next_cursor="A"))
    assert contents(islice(memories, 2)) == [1, 2]
    assert len(fake_server.requests) == 1


def test_limit_of_an_iterator_is_a_type_error(sdk: Memtrace) -> None:
    calls: list[Callable[[], object]] = [
        lambda: sdk.iter_memories(limit=3),  # type: ignore[call-arg]
        lambda: sdk.iter_search("dark", limit=3),  # type: ignore[call-arg]
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"^limit: the iterator returns every match; give page_size,"):
            call()


def test_iter_memories_of_an_empty_page_returns_nothing(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page())

    assert list(sdk.iter_memories()) == []


def test_iter_memories_of_0_x_pages_by_offset_until_an_empty_page(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, page(numbered(1), numbered(2), has_more=True))
    fake_server.respond(200, page(numbered(3), numbered(4), has_more=True))
    fake_server.respond(200, page())

    assert contents(sdk.iter_memories(ListOptions(limit=2, offset=10))) == [1, 2, 3, 4]

    assert [params(request)["offset"] for request in fake_server.requests] == ["10", "12", "14"]


def test_iter_memories_of_0_x_begins_without_an_offset(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(numbered(1), numbered(2), has_more=True)).respond(200, page(numbered(3)))

    assert contents(sdk.iter_memories(page_size=2)) == [1, 2, 3]

    assert [params(request) for request in fake_server.requests] == [
        {"limit": "2"},
        {"limit": "2", "offset": "2"},
    ]


def test_empty_page_is_the_last_even_with_has_more(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(has_more=True))

    assert list(sdk.iter_memories()) == []


def test_error_of_a_page_is_raised_by_the_iterator(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(numbered(1), has_more=True, next_cursor="A")).respond(
        403, {"error": "No more"}
    )
    memories = sdk.iter_memories()

    assert contents(islice(memories, 1)) == [1]
    with pytest.raises(MemtraceError, match="No more"):
        next(memories)


def test_iter_search_follows_the_cursor(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(1, 2, has_more=True, next_cursor="A"))
    fake_server.respond(200, found(3, has_more=False))

    assert contents(sdk.iter_search("dark", agent_id="a", page_size=2)) == [1, 2, 3]

    first = {"query": "dark", "agent_id": "a", "limit": 2}
    assert [json.loads(request.content) for request in fake_server.requests] == [
        first,
        {**first, "cursor": "A"},
    ]


def test_iter_search_takes_a_query_object(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(1, has_more=False))

    assert contents(sdk.iter_search(SearchQuery(content_contains="x"))) == [1]
    assert fake_server.sent == {"content_contains": "x"}


def test_full_page_without_has_more_ends_the_search(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(1, 2, has_more=False))

    assert contents(sdk.iter_search(page_size=2)) == [1, 2]


class OldSearch:
    """A search like that of a 0.x server: no cursor, no offset; `until` may be exclusive or not."""

    def __init__(self, memories: list[dict[str, Any]], *, until_is_inclusive: bool) -> None:
        self.memories = memories
        self.until_is_inclusive = until_is_inclusive

    def handle(self, request: httpx.Request) -> httpx.Response:
        query = json.loads(request.content)
        until = dt.datetime.fromisoformat(query.get("until", "2199-01-01T00:00:00Z"))
        since = dt.datetime.fromisoformat(query.get("since", "1970-01-01T00:00:00Z"))
        hits = [
            memory
            for memory in self.memories
            if since <= (time := dt.datetime.fromisoformat(memory["time"]))
            and (time <= until if self.until_is_inclusive else time < until)
        ]
        hits.sort(key=lambda memory: str(memory["time"]), reverse=query.get("order", "desc") == "desc")
        hits = hits[: query.get("limit", 100)]
        return httpx.Response(200, json={"results": hits, "count": len(hits), "query_time_ms": 0})


@pytest.mark.parametrize("until_is_inclusive", [True, False])
@pytest.mark.parametrize("order", ["asc", "desc", None])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 100])
def test_iter_search_of_0_x_finds_everything_once_in_pages_of_any_size(
    make_client: Any, *, until_is_inclusive: bool, order: Any, size: int
) -> None:
    # Two of the seven have the same second.
    old = OldSearch(
        [numbered(n, 3 if n == 4 else None) for n in range(7)], until_is_inclusive=until_is_inclusive
    )
    client = make_client(http_client=make_client.http_client(old.handle))

    numbers = contents(client.iter_search(order=order, page_size=size))

    assert sorted(numbers) == list(range(7))
    assert (numbers[0], numbers[-1]) == ((0, 6) if order == "asc" else (6, 0))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_iter_search_of_0_x_finds_more_than_its_largest_page(make_client: Any, order: Any) -> None:
    old = OldSearch([numbered(n) for n in range(2_100)], until_is_inclusive=True)
    client = make_client(http_client=make_client.http_client(old.handle))

    numbers = contents(client.iter_search(order=order, page_size=1_000))

    assert numbers == sorted(range(2_100), reverse=order == "desc")


def test_more_memories_of_one_moment_than_fit_a_page_are_an_error(make_client: Any) -> None:
    old = OldSearch([numbered(n, 0) for n in range(1001)], until_is_inclusive=True)
    client = make_client(http_client=make_client.http_client(old.handle))

    with pytest.raises(MemtraceError) as caught:
        list(client.iter_search())

    assert caught.value.message == (
        "The search found 1000 memories of one moment, 2026-11-01T00:00:00+00:00, and this server cannot say "
        "whether there are more"
    )


def test_iter_search_ends_with_a_server_that_ignores_until(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(2, 1)).respond(200, found(2, 1))

    assert contents(sdk.iter_search(page_size=2)) == [2, 1]


def test_search_page_without_a_cursor_is_the_last_even_with_has_more(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, found(1, has_more=True))

    assert contents(sdk.iter_search(page_size=1)) == [1]


def test_search_page_with_has_more_false_is_the_last(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(1, has_more=False, next_cursor="A"))

    assert contents(sdk.iter_search(page_size=1)) == [1]


def test_search_page_with_a_cursor_alone_has_a_next_page(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, found(1, next_cursor="A")).respond(200, found(2, has_more=False))

    assert contents(sdk.iter_search(page_size=1)) == [1, 2]


def test_memories_microseconds_apart_are_found_once(make_client: Any) -> None:
    # A 0.x server stores nanoseconds and the client reads microseconds, so the next page begins a bit
    # earlier.
    memories = [numbered(n) for n in range(4)]
    for memory, microseconds in zip(memories, (9, 5, 3, 0), strict=True):
        memory["time"] = (START + dt.timedelta(microseconds=microseconds)).isoformat()
    old = OldSearch(memories, until_is_inclusive=True)
    client = make_client(http_client=make_client.http_client(old.handle))

    assert contents(client.iter_search(page_size=3)) == [0, 1, 2, 3]
