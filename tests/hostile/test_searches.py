"""The costliest searches that the contract allows, and the cost of another organisation's backlog."""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from durability.in_process import MEMORIES
from durability.sockets import PATIENCE, connect
from hostile.server_cost import HEALTH, assert_costs, cost, status_of, wait_until_indexed
from live import LiveServer

from memtrace_server import tenants
from memtrace_server.search.query import MAX_PHRASES
from memtrace_server.store import open_store
from memtrace_server.store.sqlite import queries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of processes")

DICE = random.Random(7)  # noqa: S311 - not a secret
WORDS = [
    f"{a}{b}{c}"
    for a in "bdfgklmnprst"
    for b in "aeiou"
    for c in ("ndar", "lem", "rost", "vig", "mat", "sul")
]
MAX_QUERY = 8_000
MAX_COST = 600  # trivial requests; the costliest search, of phrases, was measured at 360
SHORT, LONG = 3_000, 60
"""Numbers of memories with a dozen of all words, and of memories of 64 KiB with all of them."""

WORST: dict[str, dict[str, Any]] = {
    "every word": {"query": " ".join(WORDS)[:MAX_QUERY]},
    "unknown words": {"query": " ".join(f"q{word}x{word}" for word in WORDS)[:MAX_QUERY]},
    "characters": {"query": "".join(chr(0x4E00 + n) for n in range(MAX_QUERY))},
    "accents": {"query": "a" + "\u0301\u0323" * (MAX_QUERY // 2 - 1)},
    "phrases": {"query": " ".join(f'"{word}"' for word in WORDS[:MAX_PHRASES]) + " " + " ".join(WORDS)},
    "a common phrase": {"query": f'"{WORDS[0]}" {" ".join(WORDS)}'},
    "exclusions": {"query": f"{WORDS[0]} " + " ".join(f"-{word}" for word in WORDS[1 : 1 + MAX_PHRASES])},
    "only exclusions": {"query": "-nothing -" + " -".join(WORDS[:MAX_PHRASES])},
    "times": {"query": "last may 5 2024 " * (MAX_QUERY // 16)},
    "a substring": {"content_contains": "a" + " ".join(WORDS)[:999]},
    "a short substring": {"content_contains": "zz"},
    "a substring of accents": {"content_contains": "a" + "\u0301\u0323" * 499},
    "in order": {"query": " ".join(WORDS)[:MAX_QUERY], "order": "desc", "limit": 100},
    "of sessions": {"query": " ".join(WORDS)[:MAX_QUERY], "group_by": "session"},
}  # fmt: skip


class Client:
    """Send requests with a key over one connection."""

    def __init__(self, connection: socket.socket, key: str) -> None:
        self._connection = connection
        self._key = key

    def post(self, path: str, body: object, expected: int = 200) -> None:
        """Send a request, and check the status of its response."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nx-api-key: {self._key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        assert status_of(self._connection, head.encode() + content) == expected

    def search(self, **search: object) -> Callable[[], None]:
        """Return a function that searches."""
        return lambda: self.post("/api/v1/search", search)

    def health(self) -> None:
        """Send the trivial request."""
        assert status_of(self._connection, HEALTH) == 200


def text(words: int) -> str:
    return " ".join(DICE.choices(WORDS, k=words))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server with memories that every search matches."""
    with LiveServer(tmp_path_factory.mktemp("searches")) as server:
        with connect(server.url) as connection:
            client = Client(connection, server.key)
            for start in range(0, SHORT, 500):
                some = [
                    {"agent_id": "a", "session_id": f"s{n % 50}", "content": f"{n}? {text(12)}?"}
                    for n in range(start, start + 500)
                ]
                client.post(MEMORIES, {"memories": some}, 201)
            for n in range(LONG):
                client.post(
                    MEMORIES, {"agent_id": "a", "session_id": "s", "content": f"{n} {text(9_000)}"}, 201
                )
            wait_until_indexed(server)
        yield server
    assert server.returncode == 0
    assert "traceback" not in "".join(server.log)


@pytest.mark.parametrize("search", WORST.values(), ids=WORST)
def test_costliest_search_is_bounded(server: LiveServer, search: dict[str, Any]) -> None:
    with connect(server.url) as connection:
        client = Client(connection, server.key)
        assert_costs(server, client.search(**search), client.health, most=MAX_COST, times=3)


def test_search_of_a_short_question_costs_little(server: LiveServer) -> None:
    with connect(server.url) as connection:
        client = Client(connection, server.key)
        question = client.search(query=f"what about the {WORDS[5]}")
        assert_costs(server, question, client.health, most=400, times=5)


def test_backlog_of_another_organisation_costs_little(tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        file = server.store_url.removeprefix("sqlite:///")
        with closing(open_store(server.store_url)) as store:
            other = tenants.create_key(store, tenants.create_org(store, "other").id, "admin", "")
        with connect(server.url) as connection:
            ours, theirs = Client(connection, server.key), Client(connection, other)
            ours.post(
                MEMORIES, {"memories": [{"agent_id": "a", "content": text(12)} for _ in range(50)]}, 201
            )
            theirs.post(
                MEMORIES,
                {"memories": [{"agent_id": "a", "content": text(12)} for _ in range(1_000)]},
                201,
            )
            wait_until_indexed(server)
            search = ours.search(query=WORDS[0])
            before = cost(server, search, ours.health, times=20)
            with closing(sqlite3.connect(file, isolation_level=None, timeout=PATIENCE)) as store:
                store.execute("BEGIN IMMEDIATE")  # stops indexing
                store.execute("INSERT INTO unindexed (org, seq) SELECT org, seq FROM memories WHERE org = 2")
                store.execute("COMMIT")
                store.execute("BEGIN IMMEDIATE")
                (backlog,) = store.execute("SELECT count(*) FROM unindexed WHERE org = 2").fetchone()
                after = cost(server, search, ours.health, times=20)
                store.execute("ROLLBACK")
        assert backlog > queries.TAIL // 4
        assert after < 3 * before, (before, after)
