"""The full-text index delays other writes by a moment only, whatever the texts are."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from durability.in_process import MEMORIES
from durability.sockets import PATIENCE
from durability.store_audit import assert_consistent
from helpers.waiting import wait_until
from hostile import holding
from live import LiveServer

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="measures CPU time of threads as Linux tells it"
)

LONGEST = 65_536  # characters of a content
PROMISED = 0.02  # seconds of CPU of one transaction
DICE = random.Random(20)  # noqa: S311 - not a secret
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHINESE, RARE_CHINESE = range(0x4E00, 0x9FFF), range(0x20000, 0x323AF)


def words(make: Callable[[], str]) -> str:
    """Return a text of words of the maximum length."""
    return " ".join(make() for _ in range(LONGEST // 4))[:LONGEST]


def characters(codes: Sequence[int], number: int = LONGEST) -> str:
    return "".join(map(chr, DICE.choices(codes, k=number)))


VOCABULARY = ["".join(DICE.choices(LETTERS, k=DICE.randint(2, 9))) for _ in range(3_000)]
KINDS: Mapping[str, Callable[[], list[str]]] = {
    "English": lambda: [words(lambda: VOCABULARY[int(DICE.paretovariate(0.6)) % 3_000])],
    "hexadecimal": lambda: [words(lambda: f"{DICE.randrange(1 << 32):x}")],
    "random ASCII": lambda: [characters(range(33, 127))],
    "random Chinese": lambda: [characters(CHINESE)],
    "no character twice": lambda: ["".join(map(chr, DICE.sample(RARE_CHINESE, k=LONGEST)))],
    "accents": lambda: [f"{DICE.random()}a" + "\u0301" * 64_000],
    "one word": lambda: [DICE.choice(LETTERS) * LONGEST],
    "many of random Chinese": lambda: [characters(CHINESE, 1_900) for _ in range(12)],
}
CASES = [*((kind, "forgotten") for kind in KINDS), ("random Chinese", "expired")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("index")
    with LiveServer(folder, memtrace=(sys.executable, holding.__file__)) as server:
        yield server
    assert server.returncode == 0
    assert "traceback" not in "".join(server.log)


@pytest.mark.parametrize(("kind", "how"), CASES, ids=map(", ".join, CASES))
def test_index_of_any_text_delays_writers_by_a_moment_only(server: LiveServer, kind: str, how: str) -> None:
    file = Path(server.store_url.removeprefix("sqlite:///"))
    held = file.parent / holding.HELD
    longest: list[tuple[float, str]] = []
    # A busy machine makes work take longer, so one quiet attempt of several is enough.
    while not longest or longest[-1][0] >= 2 * PROMISED:
        assert len(longest) < 4, longest
        before = len(held.read_text().splitlines())
        leave(server, file, KINDS[kind](), how)
        lines = held.read_text().splitlines()[before:]
        longest.append(max((float(seconds), who) for seconds, who in (line.split(" ", 1) for line in lines)))
    assert assert_consistent(file) == []


def leave(server: LiveServer, file: Path, contents: Sequence[str], how: str) -> None:
    """Store and index memories over a connection, and remove them from the index."""
    headers = {"x-api-key": server.key}
    with (
        httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE) as client,
        closing(sqlite3.connect(file, isolation_level=None, timeout=PATIENCE)) as store,
    ):

        def is_empty(table: str) -> bool:
            return store.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None  # noqa: S608 - a table's name

        memories = [{"agent_id": "a", "content": content, "ttl": 99_999} for content in contents]
        assert client.post(MEMORIES, json={"memories": memories}).status_code == 201
        wait_until(lambda: is_empty("unindexed"))
        if how == "forgotten":
            forgotten = client.delete(MEMORIES, params={"agent_id": "a"})
            assert forgotten.json() == {"deleted": len(contents)}
        else:
            store.execute("UPDATE memories SET expires_at = 1")
        wait_until(lambda: is_empty("memories") and is_empty("leaving"))
