"""Long memories enter and leave the full-text index in parts, each in its own transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.killing import killed_at_each_step
from durability.store_audit import assert_consistent
from helpers.waiting import wait_until

from memtrace_server.store.sqlite import entries, indexing
from memtrace_server.store.sqlite.indexing import Indexer

LITTLE = 20e-6  # seconds of work in a transaction: some 15 stems
TEXTS = {
    "words": "the red fox jumps over a lazy dog, and the red dog jumps over the fox: lazy red fox 1",
    "many words": " ".join(f"red{n} fox{n % 7}" for n in range(30)) + " lazy red fox 1",
    "one word": "fox " + "zanzibar" * 20 + " lazy red fox 1",
    "Chinese": "記憶の記録は消えることがない赤い狐が走る lazy red fox 1",
    "accents": "e" + "\u0301\u0323" * 60 + " lazy red fox 1",
}
SEARCHES: list[dict[str, Any]] = [
    {"query": "fox"},
    {"query": "fox", "order": "asc"},
    {"query": '"lazy red fox"'},
    {"query": "fox -blue"},
    {"query": "fox -lazy"},
    {"query": "-blue"},
    {"content_contains": "red fox 1"},
    {"query": "lazy", "content_contains": "FOX 1"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memtrace.db"


@pytest.fixture
def process(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """Return a server that neither adds to its index nor removes from it in the background."""
    monkeypatch.setattr(indexing, "WAKES", 1 << 30)
    monkeypatch.setattr(Indexer, "merge", lambda *_: None)
    monkeypatch.setattr(Indexer, "_merge", lambda *_: None)
    with InProcess(file) as process:
        yield process


class Stop(Exception):  # noqa: N818 - no error
    """The process has ended."""


def connected(file: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(file, isolation_level=None))


def indexer(file: Path, after: Callable[[], None] = lambda: None) -> Indexer:
    """Return an indexer of a store that calls a function after each transaction."""

    @contextmanager
    def connect() -> Iterator[sqlite3.Connection]:
        with connected(file) as connection:
            yield connection
            is_written = connection.total_changes > 0
        if is_written:
            after()

    return Indexer(connect, connect)


def parts(file: Path) -> int:
    """Take steps until nothing is left, and return the number of transactions."""
    taken: list[None] = []
    steps(indexer(file, lambda: taken.append(None)))
    return len(taken)


def stop(file: Path, number: int) -> None:
    """Take steps for some transactions, of which none is the last."""
    left = [None] * number

    def after() -> None:
        left.pop()
        if not left:
            raise Stop

    some = indexer(file, after)
    with pytest.raises(Stop):
        steps(some)


def steps(indexer: Indexer) -> None:
    while indexer.step():
        pass


def found(tenant: Tenant) -> list[list[str]]:
    pages = [json_of(tenant.send("POST", "/api/v1/search", {"limit": 100, **search})) for search in SEARCHES]
    return [[memory["content"] for memory in page["results"]] for page in pages]


def waits(file: Path) -> tuple[int, int]:
    """Return the number of memories that are to enter the index, and to leave it."""
    with closing(sqlite3.connect(file)) as store:
        sql = "SELECT (SELECT count(*) FROM unindexed), (SELECT count(*) FROM leaving)"
        entering, leaving = store.execute(sql).fetchone()
        return entering, leaving


def is_idle(file: Path) -> bool:
    return waits(file) == (0, 0)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_search_finds_the_same_between_any_two_parts(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", LITTLE)
    tenant = process.tenant()
    first = json_of(tenant.add(content="a blue fox"))
    second = json_of(
        tenant.add(content=text, metadata={"who": "Ann and Bob"}, tags=["x", "y"], session_id="s")
    )
    before = found(tenant)
    assert [text in contents for contents in before] == [True] * 4 + [False] + [True] * 3
    taken: list[None] = []

    def after() -> None:
        taken.append(None)
        assert found(tenant) == before
        assert_consistent(file)
        assert list(process.store.check()) == []

    every = indexer(file, after)
    steps(every)
    assert len(taken) > 3
    assert waits(file) == (0, 0)

    taken.clear()
    assert tenant.send("DELETE", f"{MEMORIES}/{second['id']}").status == 204
    before = found(tenant)
    assert not any(text in contents for contents in before)
    after()
    steps(every)
    assert len(taken) > 4
    assert waits(file) == (0, 0)
    assert [memory["id"] for memory in tenant.memories()] == [first["id"]]


def test_memory_forgotten_at_any_part_of_its_indexing_leaves_nothing(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", LITTLE)
    tenant = process.tenant()
    content = f"{TEXTS['many words']} zanzibarquokka"
    assert tenant.add(content=content).status == 201
    number = parts(file)
    assert number > 6
    for taken in range(1, number):
        assert tenant.add(content=f"{content} {taken}").status == 201
        memory = tenant.memories()[-1]
        stop(file, taken)
        assert waits(file) == (1, 0)
        assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
        assert waits(file) == (0, 1)
        assert_consistent(file)
        if taken > 2:
            stop(file, 1)
            assert_consistent(file)
        assert parts(file) >= taken - 2
        assert waits(file) == (0, 0)
        assert_consistent(file)
    assert tenant.send("DELETE", MEMORIES, query="agent_id=a").status == 200
    process.store.vacuum()
    process.store.close()
    assert assert_consistent(file) == []
    for path in file.parent.iterdir():
        assert b"zanzibar" not in path.read_bytes()


def test_entry_is_not_reused_before_its_memory_has_left_the_index(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    memory = json_of(tenant.add(content="red fox"))
    parts(file)
    assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
    assert waits(file) == (0, 1)
    assert tenant.add(content="blue dog").status == 201
    assert_consistent(file)
    parts(file)
    assert_consistent(file)
    assert json_of(tenant.send("POST", "/api/v1/search", {"query": "red"}))["results"] == []
    assert json_of(tenant.send("POST", "/api/v1/search", {"query": "blue"}))["count"] == 1


@pytest.mark.parametrize("most", [entries.MAX_WORK, LITTLE], ids=["at once", "in parts"])
@pytest.mark.parametrize("newer", [0, 1], ids=["the newest", "an older one"])
def test_id_imported_again_while_it_is_indexed_has_its_new_words(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch, most: float, newer: int
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", most)
    tenant = process.tenant()
    memory = json_of(tenant.add(content=TEXTS["words"]))
    for _ in range(newer):
        assert tenant.add(content="a blue dog").status == 201
    left = [1]

    @contextmanager
    def read() -> Iterator[sqlite3.Connection]:
        with connected(file) as connection:
            yield connection
        if left and left.pop():  # between what a step reads and what it writes
            with InProcess(file) as another:
                import_again(tenant, memory, Tenant(another.core, tenant.key))

    steps(Indexer(read, partial(connected, file)))
    assert waits(file) == (0, 0)
    assert_consistent(file)
    assert results(tenant, "fox") == []
    assert results(tenant, "zebra") == [memory["id"]]


def test_id_imported_twice_leaves_the_index_with_both_memories(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    memory = json_of(tenant.add(content=TEXTS["words"]))
    parts(file)
    left = [1]

    def traced(statement: str) -> None:
        if "FROM unindexed u" in statement and left and left.pop():  # a step has seen that nothing leaves
            import_again(tenant, memory, tenant)

    @contextmanager
    def read() -> Iterator[sqlite3.Connection]:
        with connected(file) as connection:
            connection.set_trace_callback(traced)
            yield connection

    assert tenant.add(content="a blue dog").status == 201
    assert Indexer(read, partial(connected, file)).step()
    assert waits(file) == (0, 1)
    assert_consistent(file)
    assert results(tenant, "zebra") == [memory["id"]]

    assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
    assert waits(file) == (0, 2)
    assert_consistent(file)
    parts(file)
    assert waits(file) == (0, 0)
    assert_consistent(file)


BEFORE_0019 = """
ALTER TABLE orgs DROP COLUMN last_entry;
ALTER TABLE leaving RENAME TO new_leaving;
CREATE TABLE leaving (
    seq INTEGER PRIMARY KEY, org INTEGER NOT NULL, entry INTEGER NOT NULL, entered INTEGER, remaining INTEGER,
    doc TEXT NOT NULL, text INTEGER
) STRICT;
INSERT INTO leaving SELECT rowid, * FROM new_leaving;
DROP TABLE new_leaving;
CREATE UNIQUE INDEX leaving_by_entry ON leaving (org, entry);
DELETE FROM migrations WHERE name = '0019-entries-used-once';
"""


def test_memories_leaving_the_index_of_an_older_store_leave_it(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    for content in ("red fox", "red fox " * 1_000):
        assert tenant.add(content=content).status == 201
    parts(file)
    assert tenant.send("DELETE", MEMORIES, query="agent_id=a").status == 200
    assert waits(file) == (0, 2)
    older = file.with_name("older.db")
    with connected(file) as store, connected(older) as copy:
        store.backup(copy)
        copy.executescript(BEFORE_0019)

    with InProcess(older) as migrated:
        assert Tenant(migrated.core, tenant.key).add(content="blue dog").status == 201
        ((_, entry),) = [(row.doc["content"], row.entry) for row in assert_consistent(older)]
        assert entry == 3
        assert waits(older) == (1, 2)
    assert waits(older) == (1, 0)
    assert_consistent(older)


def import_again(tenant: Tenant, memory: dict[str, Any], importer: Tenant) -> None:
    """Forget a memory, and import one with its id and other words."""
    assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
    record = {name: value for name, value in memory.items() if name != "org_id"} | {"content": "a zebra"}
    imported = importer.send("POST", "/api/v1/import", {"memories": [record]})
    assert imported.status == 200, imported.body


def results(tenant: Tenant, query: str) -> list[str]:
    found = json_of(tenant.send("POST", "/api/v1/search", {"query": query}))["results"]
    return [memory["id"] for memory in found]


def test_store_with_a_long_memory_leaving_the_index_is_consistent(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    memory = json_of(tenant.add(content="red fox " * 1_000))
    parts(file)
    assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
    assert waits(file) == (0, 1)
    assert list(process.store.check()) == []


@pytest.mark.parametrize("which", ["that is stored", "that is forgotten"])
def test_two_processes_index_no_part_of_a_memory_twice(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", LITTLE)
    tenant = process.tenant()
    memory = json_of(tenant.add(content=TEXTS["many words"]))
    if which == "that is forgotten":
        parts(file)
        assert tenant.send("DELETE", f"{MEMORIES}/{memory['id']}").status == 204
    stop(file, 1)
    turns: list[None] = []

    def other() -> None:
        if len(turns) < 2:  # after a part of one process, a part of the other; then the rest
            turns.append(None)
            if len(turns) == 1:
                stop(file, 1)
            else:
                parts(file)

    steps(indexer(file, other))
    assert len(turns) == 2
    assert waits(file) == (0, 0)
    assert_consistent(file)


def test_next_process_removes_what_a_killed_one_left_in_the_index(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", LITTLE)
    tenant = process.tenant()
    assert tenant.add(content=TEXTS["many words"]).status == 201
    parts(file)
    assert tenant.send("DELETE", MEMORIES, query="agent_id=a").status == 200
    stop(file, 2)
    monkeypatch.undo()
    with InProcess(file) as another:
        assert Tenant(another.core, tenant.key).memories() == []
        wait_until(partial(is_idle, file))
    assert_consistent(file)


def test_forgotten_memories_have_left_the_index_of_a_closed_store(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    for n in range(3):
        assert tenant.add(content=f"{n} {TEXTS['words']}").status == 201
    indexer(file).step()
    assert tenant.send("DELETE", MEMORIES, query="agent_id=a").status == 200
    assert waits(file) == (0, 3)
    process.store.close()
    assert waits(file) == (0, 0)
    assert_consistent(file)


# Stores a memory and forgets it, each in several transactions of the index, and kills itself before or after
# one of them.
LIVE = f"""
from contextlib import contextmanager
from durability.in_process import MEMORIES, InProcess
from memtrace_server.store.sqlite import entries, indexing, queued
entries.MAX_WORK = {3 * LITTLE}
indexing._LINGER = 0
real = queued.immediate
@contextmanager
def transaction(connection):
    step()
    with real(connection):
        yield
    step()
queued.immediate = transaction
def waits():
    sql = "SELECT 1 FROM unindexed UNION ALL SELECT 1 FROM leaving"
    return process.store.read(lambda transaction: transaction._db.execute(sql).fetchone())
with InProcess(Path(sys.argv[1])) as process:
    tenant = process.tenant()
    process.store.tend()
    assert tenant.add(content={TEXTS["words"]!r} + " zanzibarquokka").status == 201
    while waits():
        pass
    assert tenant.send("DELETE", MEMORIES, query="agent_id=a").status == 200
    while waits():
        pass
"""  # noqa: S608 - not SQL


def test_memory_is_indexed_and_forgotten_once_despite_any_kill(tmp_path: Path) -> None:
    kept: list[int] = []
    for file in killed_at_each_step(LIVE, tmp_path):
        kept.append(len(assert_consistent(file)))
        with InProcess(file) as process:
            process.store.tend()
            wait_until(partial(is_idle, file))
            assert_consistent(file)
            process.store.vacuum()
        assert (b"zanzibar" in file.read_bytes()) is (kept[-1] > 0)
    assert kept == sorted(kept, reverse=True)
    assert set(kept) == {0, 1}
    assert min(kept.count(0), kept.count(1)) > 3


def test_part_that_another_process_blocks_is_done_later(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_WORK", LITTLE)
    tenant = process.tenant()
    assert tenant.add(content=TEXTS["many words"]).status == 201
    stop(file, 2)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process.store.tend()
        assert len(json_of(tenant.send("POST", "/api/v1/search", {"query": "lazy"}))["results"]) == 1
        assert waits(file) == (1, 0)
        other.execute("ROLLBACK")
    wait_until(partial(is_idle, file))
    assert_consistent(file)
