"""Cursors of ranked searches: their length, and the pages that they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of

from memtrace_server import times

pytestmark = pytest.mark.both_stores


ALPHABET = "абвгдежзиклмнопрстуфхцчшщъыьэюя"  # a search takes й for и


def word(number: int) -> str:
    return "ж" + "".join(ALPHABET[number // 31**at % 31] for at in range(3)) * 6


def misspelt(number: int) -> list[str]:
    """Return three words one letter away from a word that no memory has."""
    return [word(number)[:-1] + letter for letter in "эюя"]


@pytest.fixture
def tenant(store_url: str) -> Iterator[Tenant]:
    """Return an organisation, as its admin."""
    with InProcess(store_url) as process:
        yield process.tenant()


def test_longest_cursor_fits_the_contract_and_repeats_nothing(tenant: Tenant) -> None:
    known, wrong = [word(n) for n in range(58)], range(1_000, 1_006)
    together = " ".join(left + right for left, right in pairwise(known[:9]))
    memories: list[dict[str, Any]] = [{"agent_id": "a", "content": together}]
    for n in range(140):
        text = " ".join([known[n % 58], *misspelt(wrong[n % 6]), *(known if n % 2 else ())])
        turns = (f"{n} до", f"{n} {text}?", f"{n} после")
        memories += [{"agent_id": "a", "session_id": f"s{n}", "content": content} for content in turns]
    assert tenant.send("POST", MEMORIES, {"memories": memories}).status == 201
    search = {"query": " ".join([*known, *(word(n) for n in wrong)]), "limit": 5}

    seen: list[str] = []
    longest = 0
    page = json_of(tenant.send("POST", "/api/v1/search", search))
    while True:
        seen += [memory["id"] for memory in page["results"]]
        if not page["has_more"]:
            break
        longest = max(longest, len(page["next_cursor"]))
        page = json_of(tenant.send("POST", "/api/v1/search", search | {"cursor": page["next_cursor"]}))

    assert 800 < longest <= 1_024
    assert len(seen) == len(set(seen)) > 100
    whole = json_of(tenant.send("POST", "/api/v1/search", search | {"limit": 1_000}))
    assert seen == [memory["id"] for memory in whole["results"]]


def test_query_of_too_many_words_uses_the_rarest(tenant: Tenant) -> None:
    words = [word(n) for n in range(65)]
    memories = [{"agent_id": "a", "content": each} for each in [*words, f"{words[0]} ещё"]]
    assert tenant.send("POST", MEMORIES, {"memories": memories}).status == 201

    def result_of(query: list[str]) -> tuple[int, bool]:
        page = json_of(tenant.send("POST", "/api/v1/search", {"query": " ".join(query)}))
        return page["count"], page["is_complete"]

    assert result_of(words[1:]) == (64, True)
    assert result_of(words) == (64, False)


@pytest.mark.parametrize("second", [3, 10])  # with two bytes, these came again
def test_pages_of_one_memory_repeat_none_whenever_it_was_stored(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, second: int
) -> None:
    """A cursor keeps two bytes of each memory that is left, which follow from the moment it was stored."""
    moment = times.parse(f"2036-11-01T00:00:{second:02}Z")  # after the keys were made
    monkeypatch.setattr(times, "now", lambda: moment)
    memories = [{"agent_id": "a", "content": f"dark {n}"} for n in range(100)]
    assert tenant.send("POST", MEMORIES, {"memories": memories}).status == 201
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        cursor = {"cursor": page["next_cursor"]} if seen else {}
        page = json_of(tenant.send("POST", "/api/v1/search", {"query": "dark", "limit": 1, **cursor}))
        seen += [memory["content"] for memory in page["results"]]

    assert seen == [f"dark {n}" for n in reversed(range(100))]


@pytest.mark.parametrize(
    "search", [{"query": "dark mode"}, {"group_by": "session"}], ids=["ranked", "newest"]
)
def test_memories_stored_between_pages_displace_no_match(tenant: Tenant, search: dict[str, str]) -> None:
    old = [{"agent_id": "a", "content": f"dark {n}", "session_id": f"s{n}"} for n in range(100)]
    assert tenant.send("POST", MEMORIES, {"memories": old}).status == 201
    first = json_of(tenant.send("POST", "/api/v1/search", search | {"limit": 50}))
    new = [{"agent_id": "a", "content": f"dark mode {n}", "session_id": f"s{n}"} for n in range(200)]
    assert tenant.send("POST", MEMORIES, {"memories": new}).status == 201

    second = json_of(
        tenant.send("POST", "/api/v1/search", search | {"limit": 50, "cursor": first["next_cursor"]})
    )

    found = [memory["content"] for page in (first, second) for memory in page["results"]]
    assert sorted(found) == sorted(memory["content"] for memory in old)
    assert second["has_more"] is False


@pytest.mark.parametrize("search", [{}, {"group_by": "session"}], ids=["list", "of each session"])
def test_pages_of_a_day_keep_to_it_when_the_next_begins(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, search: dict[str, str]
) -> None:
    moment = times.parse("2036-11-01T23:59:59Z")  # after the keys were made
    monkeypatch.setattr(times, "now", lambda: moment)
    memories = [{"agent_id": "a", "content": f"{n}", "session_id": f"s{n}"} for n in range(6)]
    assert tenant.send("POST", MEMORIES, {"memories": memories}).status == 201
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        cursor = {"cursor": page["next_cursor"]} if seen else {}
        body = {"query": "What happened today?", "limit": 2, **search, **cursor}
        page = json_of(tenant.send("POST", "/api/v1/search", body))
        seen += [memory["content"] for memory in page["results"]]
        moment += times.SECOND

    assert seen == ["5", "4", "3", "2", "1", "0"]
