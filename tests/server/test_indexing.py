"""The indexer: organisations take turns, steps are short, and only writers with a backlog wait."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.store_audit import assert_consistent

from memtrace_server.search.documents import Document
from memtrace_server.store.protocol import Outcome
from memtrace_server.store.sqlite import fulltext, indexing
from memtrace_server.store.sqlite.entries import Entries, Entry
from memtrace_server.store.sqlite.indexing import Indexer

SEARCH = "/api/v1/search"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the store's file."""
    return tmp_path / "memtrace.db"


@pytest.fixture
def tenants(file: Path) -> Iterator[list[Tenant]]:
    """Return two organisations, whose memories no thread indexes."""
    with pytest.MonkeyPatch.context() as patch, InProcess(file) as process:
        patch.setattr(indexing, "WAKES", 1 << 30)
        yield [process.tenant("ours"), process.tenant("theirs")]


@pytest.fixture
def indexer(tenants: list[Tenant], file: Path) -> Iterator[Indexer]:
    """Return an indexer of the store, whose steps a test takes."""
    assert tenants
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as connection:

        @contextmanager
        def connect() -> Iterator[sqlite3.Connection]:
            yield connection

        yield Indexer(connect, connect)


def add(tenant: Tenant, number: int, content: str = "red") -> None:
    batch = [{"agent_id": "a", "content": f"{content} {n}"} for n in range(number)]
    assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201


def left(file: Path) -> dict[int, int]:
    with closing(sqlite3.connect(file)) as connection:
        return dict(Counter(org for (org,) in connection.execute("SELECT org FROM unindexed")))


def test_organisations_take_turns(tenants: list[Tenant], indexer: Indexer, file: Path) -> None:
    ours, theirs = tenants
    add(ours, 900)
    add(theirs, 1)
    assert sorted(left(file).values()) == [1, 900]

    assert indexer.step()
    assert indexer.step()

    (rest,) = left(file).values()
    assert 0 < rest < 900
    while indexer.step():
        pass
    assert left(file) == {}
    assert_consistent(file)


def test_the_newest_memories_are_indexed_first(tenants: list[Tenant], indexer: Indexer, file: Path) -> None:
    add(tenants[0], 300)
    indexer.step()
    with closing(sqlite3.connect(file)) as connection:
        oldest, newest = connection.execute("SELECT min(seq), max(seq) FROM memories").fetchone()
        first, last = connection.execute("SELECT min(seq), max(seq) FROM unindexed").fetchone()
    assert first == oldest
    assert last < newest


def test_a_short_memory_takes_at_most_1300_bytes_with_its_indexes(
    tenants: list[Tenant], indexer: Indexer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BEHIND", 1 << 30)
    number, chance = 3_000, random.Random(1)  # noqa: S311 - the same texts each time
    words = ["".join(chance.choices("aeioubcdfglmnprst", k=chance.randint(3, 9))) for _ in range(2_000)]
    for start in range(0, number, 20):
        batch = [
            {
                "agent_id": f"agent_{n % 10}",
                "session_id": f"sess_{n % 10}",
                "event_type": "action",
                "tags": ["load"],
                "importance": 0.5,
                "content": f"{' '.join(chance.choices(words, k=17))} {n}",
            }
            for n in range(start, start + 20)
        ]
        assert tenants[0].send("POST", MEMORIES, {"memories": batch}).status == 201
    while indexer.step():
        pass
    with closing(sqlite3.connect(file)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()

    assert (pages - free) * size / number < 1_300


@pytest.mark.parametrize("query", ["red", '"red"'], ids=["word", "phrase"])
def test_later_pages_keep_the_ranking_of_the_first_search(
    tenants: list[Tenant], indexer: Indexer, query: str
) -> None:
    ours = tenants[0]
    add(tenants[1], 5)  # so that rows and entries of the two organisations differ
    add(ours, 9)
    while indexer.step():
        pass
    search = {"query": query, "limit": 20}
    whole = [memory["id"] for memory in json_of(ours.send("POST", SEARCH, search))["results"]]
    page = json_of(ours.send("POST", SEARCH, search | {"limit": 4}))
    add(ours, 3, "red red red")
    while indexer.step():
        pass

    seen = [memory["id"] for memory in page["results"]]
    while page["has_more"]:
        page = json_of(ours.send("POST", SEARCH, search | {"limit": 4, "cursor": page["next_cursor"]}))
        seen += [memory["id"] for memory in page["results"]]

    assert len(whole) == 9
    assert seen == whole


@pytest.mark.parametrize("seconds", [0.02, 0.002], ids=["long", "short"])
def test_step_size_follows_the_time_of_the_last_step(
    tenants: list[Tenant], indexer: Indexer, file: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    add(tenants[0], 1_000)
    now = iter(range(1_000_000))
    monkeypatch.setattr(time, "thread_time", lambda: next(now) * seconds)
    sizes: list[int] = []
    for _ in range(3):
        before = left(file)[1]
        indexer.step()
        sizes.append(before - left(file)[1])

    assert sizes == sorted(sizes, reverse=seconds > 0.01)
    assert len(set(sizes)) == 3


def test_long_memories_make_small_steps(tenants: list[Tenant], indexer: Indexer, file: Path) -> None:
    add(tenants[0], 20, "long " * 12_000)
    indexer.step()
    assert left(file)[1] >= 16


def test_removing_entries_costs_as_much_as_adding_them(tenants: list[Tenant], file: Path) -> None:
    """Compare the cost for thousands of different words, as in logs."""
    assert tenants
    documents = [Document(agent_id="a", content=" ".join(f"{n}w{m}" for m in range(2_000))) for n in range(6)]
    entries = Entries.of([Entry.of(n, document) for n, document in enumerate(documents, start=1)])
    with closing(sqlite3.connect(file)) as connection:
        moments = [time.process_time()]
        for change in (entries.add, entries.remove):
            change(connection, 1)
            moments.append(time.process_time())
        assert connection.execute("SELECT count(*) FROM terms").fetchone() == (0,)
        connection.rollback()
    put_in, taken_out = (later - moment for moment, later in pairwise(moments))
    assert taken_out < 10 * put_in


def segments(file: Path) -> int:
    """Return the number of segments in the fullest index table of the first organisation."""
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT count(DISTINCT segid) FROM {}_1_idx"
        return max(int(connection.execute(sql.format(name)).fetchone()[0]) for name in fulltext.TABLES)


def test_steps_merge_the_index_outside_of_transactions(
    tenants: list[Tenant], indexer: Indexer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_MAX_SIZE", 8)
    merged: list[int] = []
    real = fulltext.merge

    def merge(connection: sqlite3.Connection, table: str) -> bool:
        assert not connection.in_transaction
        is_left = real(connection, table)
        merged.append(is_left)
        return is_left

    monkeypatch.setattr(fulltext, "merge", merge)
    for _ in range(4):
        add(tenants[0], 200, f"{random.random()}")  # noqa: S311 - not a secret
    steps = 0
    while indexer.step():
        steps += 1

    assert steps > 80
    assert any(merged)
    assert not any(merged[-len(fulltext.TABLES) :])
    assert segments(file) <= 16
    assert_consistent(file)


def test_index_is_merged_if_memories_are_only_forgotten(
    tenants: list[Tenant], indexer: Indexer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "is_small", lambda *_: False)
    add(tenants[0], 40)
    while indexer.step():
        pass
    for memory in tenants[0].memories():
        assert tenants[0].send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204

    for _ in range(6_000):
        if segments(file) <= 16:  # of some 40
            break
        time.sleep(0.01)
    assert segments(file) <= 16
    assert_consistent(file)


def test_only_writes_of_an_organisation_with_a_backlog_wait(
    tenants: list[Tenant], indexer: Indexer, file: Path
) -> None:
    add(tenants[0], 1_000)
    indexer.note({1: indexing.BEHIND + 1, 2: indexing.BEHIND})

    late, _ = indexer.in_time(("stored", None), 1)
    assert isinstance(late, Future)
    assert not late.done()
    assert indexer.in_time(("stored", None), 2) == ("stored", None)
    assert indexer.in_time(("read", None), None) == ("read", None)
    refused: Outcome[str] = (None, ValueError("no"))
    assert indexer.in_time(refused, 1) == refused

    indexer.tend()
    assert late.result(60) == "stored"
    indexer.close()
    assert left(file).get(1, 0) < 1_000


def test_closing_acknowledges_waiting_writes(indexer: Indexer) -> None:
    indexer.note({1: indexing.BEHIND + 1})
    late, _ = indexer.in_time(("stored", None), 1)
    indexer.close()
    assert isinstance(late, Future)
    assert late.result(0) == "stored"
    assert indexer.in_time(("stored", None), 1) == ("stored", None)
