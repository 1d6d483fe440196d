"""The cursor of a ranked search, at its longest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, told

ALPHABET = "абвгдежзийклмнопрстуфхцчшщъыьэюя"


def word(number: int) -> str:
    return "ж" + "".join(ALPHABET[number // 32**at % 32] for at in range(3)) * 6


def misspelt(number: int) -> list[str]:
    """Three words one letter away from a word that is nowhere."""
    return [word(number)[:-1] + letter for letter in "эюя"]


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    """An organisation, as its admin."""
    with InProcess(tmp_path / "memtrace.db") as process:
        yield process.tenant()


def test_the_longest_cursor_keeps_to_the_contract_and_repeats_nothing(tenant: Tenant) -> None:
    known, wrong = [word(n) for n in range(58)], range(1_000, 1_006)
    memories: list[dict[str, Any]] = []
    for n in range(140):
        text = " ".join([known[n % 58], *misspelt(wrong[n % 6]), *(known if n % 2 else ())])
        turns = (f"{n} до", f"{n} {text}?", f"{n} после")
        memories += [{"agent_id": "a", "session_id": f"s{n}", "content": content} for content in turns]
    assert tenant.send("POST", MEMORIES, {"memories": memories}).status == 201
    search = {"query": " ".join([*known, *(word(n) for n in wrong)]), "limit": 1}

    seen: list[str] = []
    longest = 0
    page = told(tenant.send("POST", "/api/v1/search", search))
    while True:
        seen += [memory["id"] for memory in page["results"]]
        if not page["has_more"]:
            break
        longest = max(longest, len(page["next_cursor"]))
        page = told(tenant.send("POST", "/api/v1/search", search | {"cursor": page["next_cursor"]}))

    assert 800 < longest <= 1_024
    assert len(seen) == len(set(seen)) > 100
    whole = told(tenant.send("POST", "/api/v1/search", search | {"limit": 1_000}))
    assert seen == [memory["id"] for memory in whole["results"]]
