"""The full-text index follows the memories; a search finds each at once all the same."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, told
from durability.store_audit import assert_whole

from memtrace_server.core import Work
from memtrace_server.store.sqlite import store as sqlite_store

PATIENCE = 30.0  # seconds
STEP = sqlite_store._INDEXED  # noqa: SLF001 - no setting, and what these tests are about


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The store's file."""
    return tmp_path / "memtrace.db"


def unindexed(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT count(*) FROM memories WHERE seq > (SELECT seq FROM indexed)"
        found: int = connection.execute(sql).fetchone()[0]
    return found


def add(tenant: Tenant, number: int, word: str = "red") -> None:
    for start in range(0, number, 1_000):
        batch = [
            {"agent_id": "a", "content": f"{word} {n}", "dedup_key": f"{word} {n}"}
            for n in range(start, min(start + 1_000, number))
        ]
        assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201


def contents(tenant: Tenant, **search: object) -> set[str]:
    answer = tenant.send("POST", "/api/v1/search", {"limit": 1000, **search})
    assert answer.status == 200, answer.body
    return {memory["content"] for memory in told(answer)["results"]}


@pytest.mark.parametrize(
    "search",
    [{"query": "red"}, {"query": "-blue"}, {"query": '"red 1"'}, {"content_contains": "RED 1"}],
    ids=["a word", "not a word", "a phrase", "a piece"],
)
def test_a_search_finds_what_is_not_indexed_yet(
    tenant: Tenant, file: Path, search: dict[str, object]
) -> None:
    assert tenant.add(content="red 1").status == 201
    assert unindexed(file) == 1

    assert contents(tenant, **search) == {"red 1"}

    assert unindexed(file) == 0
    assert_whole(file)


@pytest.mark.parametrize("search", [{}, {"content_contains": "re"}, {"min_importance": 0}])
def test_a_search_without_words_has_nothing_indexed(
    tenant: Tenant, file: Path, search: dict[str, object]
) -> None:
    assert tenant.add(content="red 1", importance=1).status == 201
    assert contents(tenant, **search) == {"red 1"}
    assert unindexed(file) == 1


def test_a_search_finds_what_another_process_stored(tenant: Tenant, file: Path) -> None:
    assert contents(tenant, query="red") == set()
    with InProcess(file) as other:
        stored = Tenant(other.core, tenant.key)
        assert stored.add(content="red 1").status == 201
        assert contents(tenant, query="red") == {"red 1"}
        assert stored.add(content="red 2").status == 201
        assert contents(stored, query="red") == {"red 1", "red 2"}
        assert contents(tenant, query="red") == {"red 1", "red 2"}
    assert_whole(file)


def test_what_was_not_indexed_when_a_store_closed_is_counted_by_the_next(file: Path) -> None:
    with InProcess(file) as process:
        add(process.tenant(), STEP // 2)
        assert unindexed(file) == STEP // 2
        process.restart()
        add(process.tenant(), STEP - STEP // 2, "blue")
        assert unindexed(file) == 0
        assert len(contents(process.tenant(), query="red")) == STEP // 2
    assert_whole(file)


def test_many_are_indexed_without_a_search(tenant: Tenant, file: Path) -> None:
    add(tenant, 2 * STEP + 10)
    assert unindexed(file) < STEP


def test_what_is_forgotten_before_it_is_indexed_never_is(tenant: Tenant, file: Path) -> None:
    first = told(tenant.add(content="red 1"))
    assert contents(tenant, query="red") == {"red 1"}
    second = told(tenant.add(content="red 2"))
    third = told(tenant.add(content="red 3"))

    for memory in (first, second):
        assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204

    assert contents(tenant, query="red") == {third["content"]}
    assert_whole(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words_1, row)")
        terms = {term for (term,) in connection.execute("SELECT term FROM temp.terms")}
    assert {"red", "3"} <= terms
    assert not {"1", "2"} & terms


def test_a_server_indexes_by_itself(file: Path) -> None:
    with InProcess(file) as process:
        process.store.tend()
        add(process.tenant(), 10)
        deadline = time.monotonic() + PATIENCE
        while unindexed(file):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert_whole(file)


def test_what_is_submitted_is_indexed_by_itself_when_it_is_much(
    in_process: InProcess, tenant: Tenant, file: Path
) -> None:
    memories = [{"agent_id": "a", "content": f"red {n}"} for n in range(STEP)]
    todo = tenant.begin("POST", MEMORIES, {"memories": memories}).todo
    assert isinstance(todo, Work)
    outcomes = in_process.store.submit([todo.run]).result(PATIENCE)
    assert [response.status for response, _ in outcomes if response] == [201]
    deadline = time.monotonic() + PATIENCE
    while unindexed(file):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert_whole(file)


def test_a_search_ends_while_others_go_on_writing(tenant: Tenant, file: Path) -> None:
    add(tenant, STEP - 1, "before")
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
            assert len(contents(tenant, query="before")) == STEP - 1
            mark = told(tenant.add(content=f"mark {time.time_ns()}"))
            assert mark["content"] in contents(tenant, query="mark")
    finally:
        is_over.set()
        for writer in writers:
            writer.join(PATIENCE)
    assert_whole(file)
