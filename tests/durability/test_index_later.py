"""The full-text index follows in the background; a search finds each memory at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.store_audit import assert_consistent
from helpers.waiting import wait_until
from server.writers import submit

from memtrace_server.core import Work
from memtrace_server.store.sqlite import indexing, queries

PATIENCE = 60.0  # seconds
FEW = indexing.WAKES // 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the store's file."""
    return tmp_path / "memtrace.db"


def unindexed(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        found: int = connection.execute("SELECT count(*) FROM unindexed").fetchone()[0]
    return found


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold another process's write open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def add(tenant: Tenant, number: int, word: str = "red") -> None:
    for start in range(0, number, 1_000):
        batch = [
            {"agent_id": "a", "content": f"{word} {n}", "dedup_key": f"{word} {n}"}
            for n in range(start, min(start + 1_000, number))
        ]
        assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201


def contents(tenant: Tenant, **search: object) -> set[str]:
    response = tenant.send("POST", "/api/v1/search", {"limit": 1000, **search})
    assert response.status == 200, response.body
    return {memory["content"] for memory in json_of(response)["results"]}


SEARCHES = pytest.mark.parametrize(
    "search",
    [
        {"query": "red"},
        {"query": "red", "order": "asc"},
        {"query": "-blue"},
        {"query": '"red 1"'},
        {"query": "red -blue", "agent_id": "a"},
        {"content_contains": "RED 1"},
        {"query": "red", "content_contains": "RED 1"},
    ],
    ids=[
        "a word",
        "in order",
        "not a word",
        "a phrase",
        "of an agent",
        "a substring",
        "a word and a substring",
    ],
)


@SEARCHES
def test_search_finds_unindexed_memories_and_writes_nothing(
    tenant: Tenant, file: Path, search: dict[str, object]
) -> None:
    for content in ("red 1", "blue 2", "blue red 1 red"):
        assert tenant.add(content=content).status == 201

    expected = {"red 1"} if "blue" in str(search) else {"red 1", "blue red 1 red"}
    with locked(file):
        assert contents(tenant, **search) == expected

    assert unindexed(file) == 3
    assert_consistent(file)


@SEARCHES
def test_a_search_finds_the_same_before_and_after_indexing(
    tenant: Tenant, in_process: InProcess, file: Path, search: dict[str, object]
) -> None:
    texts = ["red", "red 1", "blue 2", "blue red 1 red", "Red 1, not blue?", "nothing"]
    for number, text in enumerate(texts * 4):
        session = f"s{number % 5}"
        assert tenant.add(content=f"{text} ", session_id=session, dedup_key=str(number)).status == 201
    before = json_of(tenant.send("POST", "/api/v1/search", search))
    assert unindexed(file) == 24

    in_process.store.tend()
    wait_until(lambda: unindexed(file) == 0)

    after = json_of(tenant.send("POST", "/api/v1/search", search))
    assert [before[name] for name in ("results", "is_complete")] == [
        after[name] for name in ("results", "is_complete")
    ]
    assert len(after["results"]) > 3


@pytest.mark.parametrize("number", [99, 100, 101, 200])
def test_a_search_is_complete_up_to_100_matches_indexed_or_not(
    tenant: Tenant, in_process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(indexing, "WAKES", 1 << 30)
    batch = [
        {"agent_id": "a", "content": f"red {n}", "importance": n % 2, "dedup_key": str(n)}
        for n in range(2 * number)
    ]
    assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201
    search = {"query": "red", "min_importance": 1, "limit": 1_000}

    def outcome() -> tuple[int, bool]:
        page = json_of(tenant.send("POST", "/api/v1/search", search))
        return page["count"], page["is_complete"]

    assert unindexed(file) == 2 * number
    assert outcome() == (min(number, 100), number <= 100)
    in_process.store.tend()
    wait_until(lambda: unindexed(file) == 0)
    assert outcome() == (min(number, 100), number <= 100)


def test_scores_depend_on_the_own_organisation_alone(
    tenant: Tenant, in_process: InProcess, file: Path
) -> None:
    in_process.store.tend()
    add(tenant, 3)
    add(tenant, 1, "blue")
    wait_until(lambda: unindexed(file) == 0)
    search = {"query": "red blue"}
    before = json_of(tenant.send("POST", "/api/v1/search", search))["results"]

    theirs = in_process.tenant("theirs")
    add(theirs, 200, "blue")
    add(theirs, 200, "green")
    wait_until(lambda: unindexed(file) == 0)

    assert json_of(tenant.send("POST", "/api/v1/search", search))["results"] == before
    assert before[0]["content"] == "blue 0"


def test_a_search_finds_what_another_process_stored(tenant: Tenant, file: Path) -> None:
    assert contents(tenant, query="red") == set()
    with InProcess(file) as other:
        stored = Tenant(other.core, tenant.key)
        assert stored.add(content="red 1").status == 201
        assert contents(tenant, query="red") == {"red 1"}
        assert stored.add(content="red 2").status == 201
        assert contents(stored, query="red") == {"red 1", "red 2"}
        assert contents(tenant, query="red") == {"red 1", "red 2"}
    assert_consistent(file)


def test_next_process_indexes_what_a_closed_store_left_unindexed(file: Path) -> None:
    with InProcess(file) as process:
        add(process.tenant(), FEW)
        process.restart()
        assert unindexed(file) == FEW
        add(process.tenant(), indexing.WAKES, "blue")
        wait_until(lambda: unindexed(file) == 0)
        assert len(contents(process.tenant(), query="red", order="asc")) == FEW
    assert_consistent(file)


def test_many_memories_are_indexed_without_a_search(tenant: Tenant, file: Path) -> None:
    add(tenant, 2 * indexing.BEHIND)
    wait_until(lambda: unindexed(file) == 0)
    assert_consistent(file)


def test_memory_forgotten_before_it_is_indexed_never_is(
    tenant: Tenant, in_process: InProcess, file: Path
) -> None:
    first = json_of(tenant.add(content="red 1"))
    in_process.store.tend()
    wait_until(lambda: unindexed(file) == 0)
    second = json_of(tenant.add(content="red 2"))
    third = json_of(tenant.add(content="red 3"))

    for memory in (first, second):
        assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204

    assert contents(tenant, query="red") == {third["content"]}
    wait_until(lambda: unindexed(file) == 0)
    assert_consistent(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words_1, row)")
        terms = {term for (term,) in connection.execute("SELECT term FROM temp.terms")}
    assert {"red", "3"} <= terms
    assert not {"1", "2"} & terms


def test_server_indexes_in_the_background(file: Path) -> None:
    with InProcess(file) as process:
        process.store.tend()
        add(process.tenant(), 10)
        wait_until(lambda: unindexed(file) == 0)
    assert_consistent(file)


def test_large_submitted_write_is_indexed_in_the_background(
    in_process: InProcess, tenant: Tenant, file: Path
) -> None:
    memories = [{"agent_id": "a", "content": f"red {n}"} for n in range(indexing.WAKES)]
    todo = tenant.begin("POST", MEMORIES, {"memories": memories}).todo
    assert isinstance(todo, Work)
    response = submit(in_process.store, todo.run).result(PATIENCE)
    assert response.status == 201
    wait_until(lambda: unindexed(file) == 0)
    assert_consistent(file)


def test_a_search_ends_while_others_go_on_writing(tenant: Tenant, file: Path) -> None:
    add(tenant, FEW, "before")
    is_over = threading.Event()

    def write(writer: int) -> None:
        n = 0
        while not is_over.is_set():
            assert tenant.add(content=f"meanwhile {writer} {n}").status == 201
            n += 1

    writers = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(20):
            assert len(contents(tenant, query="before")) == FEW
            mark = json_of(tenant.add(content=f"mark {time.time_ns()}"))
            assert mark["content"] in contents(tenant, query="mark")
    finally:
        is_over.set()
        for writer in writers:
            writer.join(PATIENCE)
    assert_consistent(file)


def test_step_that_another_process_blocks_is_done_later(
    tenant: Tenant, in_process: InProcess, file: Path
) -> None:
    add(tenant, FEW)
    with locked(file):
        in_process.store.tend()
        assert len(contents(tenant, query="red")) == FEW
    wait_until(lambda: unindexed(file) == 0)
    assert_consistent(file)


def test_processes_index_together_what_each_stored(file: Path) -> None:
    with InProcess(file) as one, InProcess(file) as other:
        tenant = one.tenant()
        one.store.tend()
        other.store.tend()
        add(tenant, 500)
        add(Tenant(other.core, tenant.key), 500, "blue")
        wait_until(lambda: unindexed(file) == 0)
        assert len(contents(tenant, query="red blue", order="asc")) == 1_000
    assert_consistent(file)


def test_search_reports_unindexed_memories_that_it_did_not_reach(
    tenant: Tenant, in_process: InProcess, file: Path
) -> None:
    add(tenant, queries.TAIL + 10)
    wait_until(lambda: unindexed(file) == 0)
    with closing(sqlite3.connect(file)) as connection:  # as after an upgrade that rebuilds the index
        for table in ("words_1", "stems_1", "pieces_1"):
            connection.execute(f"INSERT INTO {table} ({table}) VALUES ('delete-all')")  # noqa: S608
        connection.execute("DELETE FROM terms")
        connection.execute("INSERT INTO unindexed (org, seq) SELECT org, seq FROM memories")
        connection.commit()

    with locked(file):
        for search in ({"query": "red"}, {"content_contains": "red"}, {"query": "red", "order": "asc"}):
            response = json_of(tenant.send("POST", "/api/v1/search", search))
            assert (response["unindexed_count"], response["is_complete"]) == (10, False), search
        response = json_of(tenant.send("POST", "/api/v1/search", {"query": "2009"}))
        assert [memory["content"] for memory in response["results"]] == ["red 2009"]
        assert (response["unindexed_count"], response["is_complete"]) == (10, False)
        assert json_of(tenant.send("POST", "/api/v1/search", {}))["unindexed_count"] == 0

    in_process.store.tend()
    wait_until(lambda: unindexed(file) == 0)
    response = json_of(tenant.send("POST", "/api/v1/search", {"content_contains": "red"}))
    assert (response["unindexed_count"], response["is_complete"]) == (0, True)
    assert_consistent(file)
