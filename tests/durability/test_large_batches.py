"""Batches whose texts are too long for one transaction: staged in several, stored in one or not at all."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.killing import killed_at_each_step
from durability.store_audit import assert_consistent
from helpers.waiting import wait_until

from memtrace import Memtrace
from memtrace_server import times
from memtrace_server.core import Work
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.problems import Problem
from memtrace_server.service import Step
from memtrace_server.store import writing
from memtrace_server.store.protocol import Outcome, Transaction, Write
from memtrace_server.store.records import Filter
from memtrace_server.store.sqlite import texts, tidying
from memtrace_server.store.sqlite.transaction import SqliteTransaction

STEP = 100_000  # characters
SECRET = "nobody heard of a zanzibarquokka"
LARGE = [f"{n} {SECRET} " + "x" * 20_000 for n in range(20)]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_STEP", STEP)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memtrace.db"


@pytest.fixture
def process(file: Path) -> Iterator[InProcess]:
    with InProcess(file) as process:
        yield process


def batch(contents: list[str] = LARGE, **fields: Any) -> dict[str, Any]:
    return {"memories": [{"agent_id": "a", "content": content, **fields} for content in contents]}


def give_up(process: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin to store a batch whose client leaves when a part of it is staged."""
    work = process.tenant().begin("POST", MEMORIES, batch()).todo
    assert isinstance(work, Work)
    deadline = Deadline()
    real = SqliteTransaction.stage

    def stage(*given: Any) -> Sequence[int]:
        deadline.cancel()
        return real(*given)

    monkeypatch.setattr(SqliteTransaction, "stage", stage)
    with pytest.raises(DeadlineExceeded):
        process.store.write(work.run, deadline)


def staged(file: Path) -> int:
    with closing(sqlite3.connect(file)) as store:
        (number,) = store.execute("SELECT count(*) FROM staged").fetchone()
        return int(number)


def between_steps(process: InProcess, tenant: Tenant, body: object, *others: Write) -> list[str]:
    """Store a batch, and submit other writes once it has begun; return the order of the outcomes."""
    work = tenant.begin("POST", MEMORIES, body).todo
    assert isinstance(work, Work)
    order: list[str] = []
    waiting = list(others)

    def run(transaction: Transaction) -> Any:
        order.append("attempted")
        process.store.submit(waiting, record)
        waiting.clear()
        return work.run(transaction)

    def record(outcomes: Sequence[tuple[Any, Outcome[Any]]]) -> None:
        for write, (_, failure) in outcomes:
            assert failure is None
            order.append(f"other {write.org}")

    process.store.write(run)
    return [*order, "stored"]


def other(tenant: Tenant, org: int, body: object) -> Write:
    work = tenant.begin("POST", MEMORIES, body).todo
    assert isinstance(work, Work)
    return Write(run=work.run, org=org, size=1_000)


def test_others_write_between_the_steps_of_a_large_batch(process: InProcess, file: Path) -> None:
    ours, theirs = process.tenant("ours"), process.tenant("theirs")
    small = [other(theirs, 2, {"agent_id": "a", "content": f"{n}"}) for n in range(3)]

    order = between_steps(process, ours, batch(), *small)

    assert order == ["attempted", *["other 2"] * 3, "attempted", "stored"]
    assert [memory["content"] for memory in ours.memories()] == LARGE
    assert len(theirs.memories()) == 3
    assert staged(file) == 0
    assert_consistent(file)


def test_no_transaction_of_a_large_batch_writes_more_than_a_step(
    process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = SqliteTransaction.stage

    def counted(transaction: SqliteTransaction, org: int, some: Sequence[str], now: int) -> Sequence[int]:
        sizes.append(sum(map(len, some)))
        return real(transaction, org, some, now)

    monkeypatch.setattr(SqliteTransaction, "stage", counted)
    tenant = process.tenant()
    assert tenant.send("POST", MEMORIES, batch()).status == 201
    assert len(sizes) == len(LARGE) * 20_100 // STEP + 1
    assert max(sizes) <= STEP


@pytest.mark.parametrize("on_duplicate", ["reject", "return"])
def test_equal_memory_stored_between_the_steps_is_a_duplicate(
    process: InProcess, file: Path, on_duplicate: str
) -> None:
    tenant = process.tenant()
    same = other(tenant, 2, {"agent_id": "a", "content": LARGE[3]})
    body = batch(on_duplicate=on_duplicate)
    if on_duplicate == "reject":
        with pytest.raises(Problem):
            between_steps(process, tenant, body, same)
        expected = [LARGE[3]]
    else:
        between_steps(process, tenant, body, same)
        expected = [LARGE[3], *LARGE[:3], *LARGE[4:]]

    assert [memory["content"] for memory in tenant.memories()] == expected
    assert staged(file) > 0
    assert_consistent(file)


def test_staged_texts_of_a_failed_batch_are_removed(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    same = other(tenant, 2, {"agent_id": "a", "content": LARGE[3]})
    with pytest.raises(Problem):
        between_steps(process, tenant, batch(), same)
    wait_until(lambda: not staged(file))
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("SELECT count(*) FROM texts").fetchone() == (1,)
    assert_consistent(file)


def test_staged_texts_of_an_abandoned_write_are_removed(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(process, monkeypatch)
    wait_until(lambda: not staged(file))
    assert_consistent(file)


@pytest.mark.parametrize("seconds_ahead", [-3_600, 3_600], ids=["long ago", "while the clock was ahead"])
def test_staged_texts_of_a_killed_process_are_removed(
    process: InProcess, file: Path, seconds_ahead: int
) -> None:
    def stage(transaction: Any) -> None:
        transaction.stage(1, LARGE, times.now() + seconds_ahead * times.SECOND)

    process.tenant()
    process.store.write(stage)
    assert staged(file) == len(LARGE)
    process.store.tend()
    wait_until(lambda: not staged(file))


def test_vacuum_removes_staged_texts_from_all_files(process: InProcess, file: Path) -> None:
    tenant = process.tenant()

    def stage(transaction: Any) -> None:
        transaction.stage(1, LARGE, times.now())

    process.store.write(stage)  # like a process that is killed then
    assert tenant.send("POST", MEMORIES, batch()).status == 201
    assert json_of(tenant.send("DELETE", MEMORIES, query="agent_id=a")) == {"deleted": len(LARGE)}
    process.store.vacuum()
    for path in file.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_staged_texts_of_an_abandoned_write_leave_all_files(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(process, monkeypatch)
    wait_until(lambda: not any(SECRET.encode() in path.read_bytes() for path in file.parent.iterdir()))


def test_a_write_in_progress_survives_a_vacuum(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    work = tenant.begin("POST", MEMORIES, batch()).todo
    assert isinstance(work, Work)
    attempts: list[int] = []
    vacuum = threading.Thread(target=process.store.vacuum)

    def run(transaction: Any) -> Any:
        attempts.append(staged(file))
        if len(attempts) == 2:  # all texts are staged; the vacuum waits for the lock that this write holds
            vacuum.start()
            wait_until(cast("Any", process.store)._writing._lock._next.locked)  # noqa: SLF001
            raise texts.Unstaged(1, ["one more"])
        return work.run(transaction)

    process.store.write(run)
    vacuum.join()
    assert attempts[1] == len(LARGE)
    assert attempts[2] == 1
    assert [memory["content"] for memory in tenant.memories()] == LARGE
    assert_consistent(file)


def test_text_that_was_removed_too_early_is_staged_again(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    work = tenant.begin("POST", MEMORIES, batch()).todo
    assert isinstance(work, Work)
    attempts = 0

    def run(transaction: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return work.run(transaction)

    def sweep(transaction: Any) -> None:
        while transaction.sweep_texts(1 << 62):
            pass

    def first(transaction: Any) -> Any:
        if attempts == 1:  # all texts are staged
            process.store.submit([Write(run=sweep, org=9)])
        return run(transaction)

    process.store.write(first)

    assert attempts >= 2
    assert [memory["content"] for memory in tenant.memories()] == LARGE
    assert_consistent(file)


def test_equal_long_texts_of_a_batch_are_all_stored(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    same = [LARGE[0]] * 12
    assert tenant.send("POST", MEMORIES, batch(same, on_duplicate="store")).status == 201
    assert [memory["content"] for memory in tenant.memories()] == same
    assert_consistent(file)


def test_retry_of_a_large_batch_gets_the_first_response(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    first = tenant.send("POST", MEMORIES, batch(), once="the-same")
    again = tenant.send("POST", MEMORIES, batch(), once="the-same")
    assert first.status == again.status == 201
    assert first.body == again.body
    assert len(json_of(first)["memories"]) == len(tenant.memories()) == len(LARGE)
    assert_consistent(file)


def test_a_large_import_is_stored_in_steps(tmp_path: Path, file: Path) -> None:
    with Memtrace(f"sqlite:///{file}") as source, Memtrace(f"sqlite:///{tmp_path / 'x.db'}") as target:
        source.add_memories({"agent_id": "a", "content": content, "ttl": 9_999} for content in LARGE)
        records = list(source.export())
        target.import_(records)
        assert list(target.export()) == records
    for store in (file, tmp_path / "x.db"):
        assert staged(store) == 0
        assert len(assert_consistent(store)) == len(LARGE)


def test_forgotten_long_memories_leave_no_text(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    assert tenant.send("POST", MEMORIES, batch()).status == 201
    assert json_of(tenant.send("DELETE", MEMORIES, query="agent_id=a")) == {"deleted": len(LARGE)}
    process.store.vacuum()
    process.store.close()
    for path in file.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes()
    assert_consistent(file)


def test_others_write_while_long_memories_are_forgotten(process: InProcess, file: Path) -> None:
    ours, theirs = process.tenant("ours"), process.tenant("theirs")
    many = batch([f"{n} {'x' * texts.LONG}" for n in range(4 * texts.FORGOTTEN)])
    assert ours.send("POST", MEMORIES, many).status == 201
    work = ours.begin("DELETE", MEMORIES, query="agent_id=a").todo
    assert isinstance(work, Work)
    assert work.find is not None
    rows = process.store.read(work.find)
    small = other(theirs, 2, {"agent_id": "a", "content": "small"})
    left: list[int] = []

    def forget(transaction: Transaction) -> Any:
        if not left:
            process.store.submit([small], lambda _: left.append(len(ours.memories())))
        return work.run(transaction, Step(rows))

    assert json_of(process.store.write(forget)) == {"deleted": 4 * texts.FORGOTTEN}
    assert left
    assert left[0] >= 3 * texts.FORGOTTEN
    assert ours.memories() == []
    assert_consistent(file)


def test_queued_writes_forget_long_memories_in_several_transactions(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = process.tenant()
    contents = [f"{n} {'x' * texts.LONG}" for n in range(3 * texts.FORGOTTEN)]
    stored = json_of(tenant.send("POST", MEMORIES, batch(contents)))["memories"]
    removed: list[int] = []
    real = SqliteTransaction.finish

    def finish(transaction: Any) -> None:
        removed.append(transaction._long_forgotten)  # noqa: SLF001 - the slow part
        real(transaction)

    monkeypatch.setattr(SqliteTransaction, "finish", finish)
    while process.store.read(lambda transaction: transaction.unindexed(1, Filter(), 0, 1 << 62).found):
        process.store.tend()
    works = [tenant.begin("DELETE", f"{MEMORIES}/{memory['id']}").todo for memory in stored]
    outcomes: list[Outcome[Any]] = []
    done = threading.Event()

    def record(some: Sequence[tuple[Any, Outcome[Any]]]) -> None:
        outcomes.extend(outcome for _, outcome in some)
        if len(outcomes) == len(works):
            done.set()

    process.store.submit([Write(run=work.run, org=2) for work in works if isinstance(work, Work)], record)
    assert done.wait(60)
    assert [failure for _, failure in outcomes] == [None] * len(stored)
    assert [number for number in removed if number] == [texts.FORGOTTEN] * 3
    assert assert_consistent(file) == []


def test_long_memories_that_expired_are_swept_some_at_a_time(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    many = batch([f"{n} {'x' * texts.LONG}" for n in range(2 * texts.FORGOTTEN)], ttl=1)
    assert tenant.send("POST", MEMORIES, many).status == 201

    for left in (texts.FORGOTTEN, 0):
        swept = process.store.write(lambda transaction: cast("Any", transaction).sweep_long(1 << 62))
        assert swept == texts.FORGOTTEN
        assert len(assert_consistent(file)) == left


def test_expired_short_memories_are_swept_before_long_ones(process: InProcess, file: Path) -> None:
    tenant = process.tenant()
    many = batch([*[f"{n} {'x' * texts.LONG}" for n in range(40)], "short"], ttl=1)
    assert tenant.send("POST", MEMORIES, many).status == 201
    process.store.write(lambda transaction: cast("Any", transaction).sweep(1 << 62, 0, 10))
    assert len(assert_consistent(file)) == 40


def test_sweep_continues_with_long_memories_for_its_time(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_TIDY_EVERY", 3_600 * times.SECOND)
    monkeypatch.setattr(tidying, "_SWEEPS_FOR", 3_600)
    many = batch([f"{n} {'x' * texts.LONG}" for n in range(5 * texts.FORGOTTEN + 1)], ttl=9_999)
    assert process.tenant().send("POST", MEMORIES, many).status == 201
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.execute("UPDATE memories SET expires_at = 1")
    process.restart()
    process.tenant().add(content="a write, which sweeps")
    assert len(assert_consistent(file)) == 1


def test_long_memories_are_swept_faster_when_more_are_added(
    process: InProcess, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_TIDY_EVERY", 3_600 * times.SECOND)
    monkeypatch.setattr(tidying, "_SWEEPS_FOR", 0)
    many = batch([f"{n} {'x' * texts.LONG}" for n in range(4 * texts.FORGOTTEN)], ttl=9_999)
    process.restart()
    assert process.tenant().send("POST", MEMORIES, many).status == 201
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("UPDATE memories SET expires_at = 1")
    store: Any = process.store
    with store._writing.held(math.inf):  # noqa: SLF001 - like the thread that tidies
        rests = [store._tidy(times.now(), sweeps=True) for _ in range(2)]  # noqa: SLF001
    process.restart()
    store = process.store
    process.tenant()
    with store._writing.held(math.inf):  # noqa: SLF001 - as above
        rests.append(store._tidy(times.now(), sweeps=True))  # noqa: SLF001
    assert rests == [0.0, 0.0, 1.0]


# Stores a batch, and kills itself before or after one of its transactions.
STORE = f"""
from durability.in_process import MEMORIES, InProcess
from memtrace_server.store.sqlite import store, texts
texts._STEP = {2 * STEP}
end = store.SqliteStore._end
def ended(self, *given):
    step()
    outcomes = end(self, *given)
    step()
    return outcomes
with InProcess(Path(sys.argv[1])) as process:
    tenant = process.tenant()
    store.SqliteStore._end = ended
    memories = [{{"agent_id": "a", "content": content}} for content in {LARGE!r}]
    assert tenant.send("POST", MEMORIES, {{"memories": memories}}).status == 201
"""


def test_large_batch_killed_at_any_step_is_stored_fully_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[int] = []
    for file in killed_at_each_step(STORE, tmp_path):
        outcomes.append(len(assert_consistent(file)))
        monkeypatch.setattr(texts, "STAGED_FOR", 0)
        with InProcess(file) as process:
            assert list(process.store.check()) == []
            process.store.tend()
            while staged(file):
                pass
            process.store.vacuum()
        assert_consistent(file)
        assert (SECRET.encode() in file.read_bytes()) is (outcomes[-1] > 0)
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {0, len(LARGE)}
    assert len(outcomes) > 2 * len(LARGE) * 20_000 // (2 * STEP) + 4  # the batch is attempted twice


def test_long_texts_of_an_older_store_are_moved_out_of_their_rows(file: Path) -> None:
    with InProcess(file) as process:
        tenant = process.tenant()
        for fields in ({}, {"ttl": 9_999}, {"time": "2026-01-01T00:00:00Z"}, {"tags": ["a, b"]}):
            assert tenant.add(content=f'{fields}, "{"x" * texts.LONG}', **fields).status == 201
        assert tenant.add(content="short").status == 201
        before = tenant.memories()
        process.store.close()
        with closing(sqlite3.connect(file, isolation_level=None)) as store:
            store.execute(
                "UPDATE memories SET rest = rest || (SELECT text FROM texts WHERE id = memories.text)"
                " WHERE text IS NOT NULL"
            )
            for statement in (
                "ALTER TABLE memories DROP COLUMN text",
                "DROP TABLE texts",
                "DROP TABLE staged",
                "DELETE FROM migrations WHERE name LIKE '0014%'",
            ):
                store.execute(statement)
        process.restart()
        tenant = process.tenant()
        assert tenant.memories() == before
    assert len(assert_consistent(file)) == 5
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("SELECT count(*) FROM memories WHERE text IS NOT NULL").fetchone() == (4,)
        assert store.execute("SELECT max(length(rest)) < 1000 FROM memories").fetchone() == (1,)
