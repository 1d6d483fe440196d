"""The SQLite store: writes that share a commit, closing, migrations, and deletion."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from durability.store_audit import assert_consistent
from helpers.files import opened_below
from server.writers import submit, together, writer_busy

from memtrace import ConflictError, Memtrace
from memtrace_server import tenants, times
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.store import Store, open_store, writing
from memtrace_server.store.protocol import StoreUnavailable, Transaction
from memtrace_server.store.sqlite import SqliteStore, duplicates
from memtrace_server.store.sqlite.forks import Users
from memtrace_server.store.sqlite.transaction import SqliteTransaction

PATIENCE = 10.0  # seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memtrace.db"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, file: Path) -> Iterator[Store]:
    url = f"sqlite:///{file}" if request.param == "file" else "sqlite://"
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def org(store: Store) -> int:
    return tenants.create_org(store, "ours").number


class Refused(Exception):  # noqa: N818 - an outcome, not an error
    pass


def register(org: int, name: str) -> Callable[[Transaction], str]:
    def work(transaction: Transaction) -> str:
        transaction.register_agent(org, name, None, None, times.now())
        return name

    return work


def register_and_fail(org: int, name: str, failure: Exception) -> Callable[[Transaction], str]:
    def work(transaction: Transaction) -> str:
        register(org, name)(transaction)
        raise failure

    return work


def names(store: Store, org: int) -> set[str]:
    return {agent.id for agent in store.read(lambda transaction: transaction.agents(org, None, 10_000))}


def test_write_returns_the_result_of_its_work_and_is_read_at_once(store: Store, org: int) -> None:
    assert store.write(register(org, "one")) == "one"
    assert submit(store, register(org, "two")).result(PATIENCE) == "two"

    assert names(store, org) == {"one", "two"}


def test_failing_work_changes_nothing_and_raises_its_error(store: Store, org: int) -> None:
    with pytest.raises(Refused, match="my own"):
        store.write(register_and_fail(org, "one", Refused("my own")))

    assert names(store, org) == set()
    store.write(register(org, "one"))


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Refused(), Refused),
        (sqlite3.IntegrityError("UNIQUE"), sqlite3.IntegrityError),
        (sqlite3.OperationalError("disk I/O error"), StoreUnavailable),
    ],
    ids=["of its own", "a constraint", "the disk"],
)
def test_failing_works_of_a_group_do_not_affect_others(
    store: Store, org: int, failure: Exception, raised: type[Exception]
) -> None:
    with writer_busy(store):
        futures = [
            submit(
                store, register_and_fail(org, f"bad_{n}", failure) if n % 3 == 1 else register(org, f"{n}")
            )
            for n in range(30)
        ]

    good = {n for n in range(30) if n % 3 != 1}
    assert {n for n, future in enumerate(futures) if future.exception(PATIENCE) is None} == good
    assert {type(futures[n].exception()) for n in range(30) if n not in good} == {raised}
    assert names(store, org) == {str(n) for n in good}


def test_each_of_many_threads_gets_its_own_outcome(store: Store, org: int) -> None:
    def write(n: int) -> str:
        name = f"agent_{n}"
        work = register_and_fail(org, name, Refused(name)) if n % 4 == 0 else register(org, name)
        try:
            return store.write(work) if n % 2 else submit(store, work).result(PATIENCE)
        except Refused as refused:
            return f"refused {refused}"

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(write, range(400)))

    assert outcomes == [f"refused agent_{n}" if n % 4 == 0 else f"agent_{n}" for n in range(400)]
    assert names(store, org) == {f"agent_{n}" for n in range(400) if n % 4}


def test_every_one_of_many_waiting_writes_is_done(
    store: Store, org: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "GROUP", 1)

    def write(thread: int) -> None:
        for n in range(20):
            store.write(register(org, f"{thread}_{n}"))

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert not any(thread.is_alive() for thread in threads)
    assert len(names(store, org)) == 240


def test_abandoned_write_does_not_affect_others(store: Store, org: int) -> None:
    with writer_busy(store):
        deadline = Deadline()
        given_up = submit(store, register(org, "given up"), deadline)
        deadline.cancel()
        others: list[Future[str]] = [submit(store, register(org, "neighbour"))]
    others.append(submit(store, register(org, "later")))

    assert isinstance(given_up.exception(PATIENCE), DeadlineExceeded)
    assert [other.result(PATIENCE) for other in others] == ["neighbour", "later"]
    assert names(store, org) == {"neighbour", "later"}


def test_later_works_of_a_group_see_earlier_writes(store: Store, org: int) -> None:
    with writer_busy(store):
        first = submit(store, register(org, "one"))
        second = submit(store, lambda transaction: transaction.agent(org, "one") is not None)

    assert (first.result(PATIENCE), second.result(PATIENCE)) == ("one", True)


def commit(store: Store, works: Sequence[Callable[[Transaction], str]]) -> list[str]:
    """Submit works together, and return the result of each, or the name of its exception."""
    return [result or type(error).__name__ for result, error in together(store, works)]


@pytest.mark.parametrize(
    "failure",
    [Refused(), sqlite3.IntegrityError("UNIQUE"), sqlite3.OperationalError("disk I/O error")],
    ids=repr,
)
def test_failing_work_does_not_affect_works_submitted_with_it(
    store: Store, org: int, failure: Exception
) -> None:
    works = [
        register_and_fail(org, f"bad_{n}", failure) if n == 3 else register(org, f"{n}") for n in range(9)
    ]
    raised = "StoreUnavailable" if isinstance(failure, sqlite3.OperationalError) else type(failure).__name__

    assert commit(store, works) == [raised if n == 3 else f"{n}" for n in range(9)]
    assert names(store, org) == {f"{n}" for n in range(9) if n != 3}


def test_work_that_fails_before_writing_repeats_no_other_work(store: Store, org: int) -> None:
    done: list[str] = []

    def work(_: Transaction) -> str:
        done.append("one")
        raise Refused

    assert commit(store, [register(org, "two"), work]) == ["two", "Refused"]
    assert done == ["one"]


@pytest.mark.parametrize("number", [1, 3])
def test_works_that_fail_together_are_attempted_one_by_one(
    store: Store, org: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    finish, failures = SqliteTransaction.finish, 1

    def fail(transaction: SqliteTransaction) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise sqlite3.OperationalError("disk I/O error")
        finish(transaction)

    monkeypatch.setattr(SqliteTransaction, "finish", fail)
    expected = [f"{n}" for n in range(number)]

    assert commit(store, [register(org, name) for name in expected]) == (
        expected if number > 1 else ["StoreUnavailable"]
    )
    assert names(store, org) == (set(expected) if number > 1 else set())


def test_a_submitted_write_waits_for_another_process(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store, closing(sqlite3.connect(file)) as other:
        org = tenants.create_org(store, "ours").number
        other.execute("BEGIN IMMEDIATE")
        waiting = submit(store, register(org, "one"))  # for as long as it takes
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        other.rollback()
        assert waiting.result(PATIENCE) == "one"


def test_group_on_a_full_disk_fails_and_leaves_the_store_usable(file: Path) -> None:
    with closing(SqliteStore(str(file))) as store:
        org = tenants.create_org(store, "ours").number
        assert store._writer is not None  # noqa: SLF001 - no other way to fill a disk
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]  # noqa: SLF001
        store._writer.execute(f"PRAGMA max_page_count = {pages}")  # noqa: SLF001
        many = [register(org, f"{n:04d}" * 60) for n in range(200)]
        outcomes = commit(store, many)
        assert outcomes[-1] == "StoreUnavailable"
        assert {name for name in outcomes if name != "StoreUnavailable"} == names(store, org)
        store._writer.execute("PRAGMA max_page_count = 1000000")  # noqa: SLF001
        assert commit(store, many) == [f"{n:04d}" * 60 for n in range(200)]
    assert_consistent(file)


class Interrupted:
    """A connection that Ctrl-C interrupts when its first transaction has just begun."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._is_over = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        cursor = self._connection.execute(sql, *parameters)
        if sql.startswith("BEGIN") and not self._is_over:
            self._is_over = True
            raise KeyboardInterrupt
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def assert_usable(store: Store, org: int, file: Path) -> None:
    if file.exists():
        with closing(sqlite3.connect(file, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
    assert store.write(register(org, "one")) == "one"
    assert names(store, org) == {"one"}


def test_write_interrupted_as_it_begins_leaves_the_store_usable(
    store: SqliteStore, org: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store._writer is not None  # noqa: SLF001 - no other way to interrupt it there
    monkeypatch.setattr(store, "_writer", Interrupted(store._writer))  # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        store.write(register(org, "lost"))
    assert_usable(store, org, file)


def test_read_interrupted_as_it_begins_leaves_the_store_usable(
    store: SqliteStore, org: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(store, org) == set()
    if file.exists():
        store._readers.append(Interrupted(store._readers.pop()))  # type: ignore[arg-type]  # noqa: SLF001
    else:
        monkeypatch.setattr(store, "_writer", Interrupted(store._writer))  # type: ignore[arg-type]  # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        names(store, org)
    assert_usable(store, org, file)


@pytest.mark.parametrize("use", ["write", "read", "probe", "vacuum"])
def test_a_transaction_that_was_left_open_is_rolled_back(
    store: SqliteStore, org: int, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = store._writing._begin  # noqa: SLF001 - an interrupt hits this moment once in many thousands

    def begin_and_be_interrupted() -> None:
        begin()
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.Writing, "_tidy_in_time", lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(store._writing, "_begin", begin_and_be_interrupted)  # noqa: SLF001
        with pytest.raises(KeyboardInterrupt):
            store.write(register(org, "lost"))
    uses: dict[str, Callable[[], Any]] = {
        "write": lambda: store.write(register(org, "one")),
        "read": lambda: names(store, org),
        "probe": store.probe,
        "vacuum": store.vacuum,
    }
    uses[use]()
    store.write(register(org, "two"))
    assert names(store, org) == ({"one", "two"} if use == "write" else {"two"})


def test_use_that_one_thread_began_can_end_in_another() -> None:
    users = Users()
    used = users.one()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(used.__enter__).result(PATIENCE)
        used.__exit__(None, None, None)
        assert users.shut(time.monotonic())


def test_readers_see_only_what_is_committed(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        org = tenants.create_org(store, "ours").number
        seen: list[set[str]] = []

        def work(transaction: Transaction) -> None:
            register(org, "half done")(transaction)
            seen.append(names(store, org))

        store.write(work)
        assert seen == [set()]
        assert names(store, org) == {"half done"}


def test_a_reader_cannot_write(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        org = tenants.create_org(store, "ours").number
        with pytest.raises(StoreUnavailable):
            store.read(register(org, "one"))
        assert names(store, org) == set()


def test_closing_completes_submitted_writes(file: Path) -> None:
    store = open_store(f"sqlite:///{file}")
    org = tenants.create_org(store, "ours").number
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    submit(store, hold)
    assert begun.wait(PATIENCE)
    futures = [submit(store, register(org, f"{n}")) for n in range(700)]
    closing_thread = threading.Thread(target=store.close)
    closing_thread.start()
    go_on.set()
    closing_thread.join(PATIENCE)

    assert all(future.done() for future in futures)
    with closing(open_store(f"sqlite:///{file}")) as again:
        assert len(names(again, org)) == 700


def test_closed_store_raises_and_can_be_closed_again(store: Store) -> None:
    store.write(lambda _: None)
    store.close()
    store.close()

    for use in (store.write, store.read, partial(submit, store)):
        with pytest.raises(StoreUnavailable, match="closed"):
            use(lambda _: None)


def test_a_store_that_is_closed_during_a_read_leaves_no_connection(file: Path) -> None:
    store = open_store(f"sqlite:///{file}")
    store.write(lambda _: None)

    store.read(lambda _: store.close())

    assert opened_below(file.parent) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.probe(),
        lambda store: list(store.check()),
        lambda store: store.backup("backup.db"),
        lambda store: store.vacuum(),
    ],
    ids=["probe", "check", "backup", "vacuum"],
)
def test_a_closed_store_is_not_opened_again(file: Path, use: Callable[[Any], Any]) -> None:
    store = open_store(f"sqlite:///{file}")
    store.write(lambda _: None)
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        use(store)

    assert opened_below(file.parent) == []


def test_a_store_that_was_never_used_makes_no_file_and_can_be_closed(file: Path) -> None:
    open_store(f"sqlite:///{file}").close()

    assert not file.exists()


def refuse_to_turn_on_the_wal(monkeypatch: pytest.MonkeyPatch, code: int, times: int) -> list[int]:
    """Fail to turn on the WAL of a file, as SQLite may when two processes do so; return the failures left."""
    to_come = [code] * times
    connect = sqlite3.connect

    class Contended(sqlite3.Connection):
        def execute(self, sql: str, /, *values: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA journal_mode = WAL" and to_come:
                error = sqlite3.OperationalError("refused")
                error.sqlite_errorcode = to_come.pop()
                raise error
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Contended, **k))
    return to_come


def test_a_new_file_may_be_opened_by_several_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_come = refuse_to_turn_on_the_wal(monkeypatch, sqlite3.SQLITE_BUSY | 1 << 8, 3)
    with closing(open_store(f"sqlite:///{file}")) as store:
        org = tenants.create_org(store, "ours").number
        assert store.write(register(org, "one")) == "one"
    assert to_come == []


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY], ids=["error", "busy"])
def test_failure_to_open_a_file_is_store_unavailable(
    file: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.05)
    to_come = refuse_to_turn_on_the_wal(monkeypatch, code, 1_000)
    with closing(open_store(f"sqlite:///{file}")) as store:
        with pytest.raises(
            StoreUnavailable, match=r"cannot be read or written|others write to it all the time"
        ):
            store.write(lambda _: None)
        assert (len(to_come) == 999) == (code == sqlite3.SQLITE_IOERR)
        to_come.clear()
        monkeypatch.setattr(writing, "PATIENCE", 60.0)
        store.write(lambda _: None)


def test_closing_removes_the_write_ahead_log(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        tenants.create_org(store, "ours")

    assert [path.name for path in file.parent.iterdir()] == [file.name]


FORK_WITHIN_A_READ = """
import os, sys
from memtrace_server import tenants
from memtrace_server.store.protocol import StoreUnavailable
from memtrace_server.store.sqlite import SqliteStore, duplicates

store = SqliteStore(sys.argv[1])
tenants.list_keys(store)
if store.read(lambda transaction: os.fork()) == 0:
    try:
        tenants.list_keys(SqliteStore(sys.argv[1]))
    except StoreUnavailable as error:
        print(error)
    sys.exit()
os.wait()
print(tenants.list_keys(store))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no forks")
def test_process_forked_during_a_read_gets_an_error_and_the_parent_none(file: Path) -> None:
    arguments = [sys.executable, "-I", "-c", FORK_WITHIN_A_READ, str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)

    child, parent = done.stdout.splitlines()
    assert "start processes in another way" in child
    assert parent == "[]"


def test_writes_are_durable_when_they_are_acknowledged(file: Path) -> None:
    with closing(SqliteStore(str(file))) as store:
        tenants.create_org(store, "ours")
        writer = store._writer  # noqa: SLF001 - durability shows only after a power cut
        assert writer is not None
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_new_file_has_all_tables_and_its_migrations(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.write(lambda _: None)

    with closing(sqlite3.connect(file)) as database:
        applied = [name for (name,) in database.execute("SELECT name FROM migrations ORDER BY name")]
        assert applied[0].startswith("0001-")
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert {"orgs", "keys", "memories", "agents", "sessions"} <= tables


def test_file_is_migrated_once_by_simultaneous_openers(file: Path) -> None:
    stores = [open_store(f"sqlite:///{file}") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda store: store.write(lambda _: None), stores))
    for store in stores:
        store.close()

    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) - count(DISTINCT name) FROM migrations").fetchone() == (0,)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.write(lambda _: None)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999-from-the-future', 0)")

    with closing(open_store(f"sqlite:///{file}")) as store:
        for use in (store.write, store.read):
            with pytest.raises(StoreUnavailable, match=r"newer than this .* and knows 9999-from-the-future"):
                use(lambda _: None)

    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM migrations WHERE name = '9999-from-the-future'")
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.write(lambda _: None)


def test_file_that_is_no_database_is_refused_and_unchanged(file: Path) -> None:
    file.write_text("no database at all, but a text of some length\n" * 100)
    before = file.read_bytes()

    with closing(open_store(f"sqlite:///{file}")) as store, pytest.raises(StoreUnavailable):
        store.write(lambda _: None)

    assert file.read_bytes() == before


def test_store_is_opened_once_its_folder_exists(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with closing(open_store(f"sqlite:///{folder / 'x.db'}")) as store:
        with pytest.raises(StoreUnavailable):
            store.write(lambda _: None)
        folder.mkdir()
        store.write(lambda _: None)


def test_forgotten_content_is_in_no_table(file: Path) -> None:
    secret = "Xyzzy plugh frotz, quoth the raven"
    with Memtrace(f"sqlite:///{file}") as client:
        kept = client.remember("a", "Kept, whatever happens", session_id="s")
        one = client.remember("a", secret, session_id="s", metadata={"x": secret}, tags=["xyzzy"])
        two = client.add_memories(
            [{"agent_id": "b", "content": f"{secret} {n}", "dedup_key": f"frotz {n}"} for n in range(3)]
        )
        by_ttl = client.remember("a", f"{secret} for a while", ttl=1)
        client.forget(one)
        client.forget(two[0])
        client.forget_all(agent_id="b")
        client.forget(by_ttl)
        assert [memory.id for memory in client.iter_memories()] == [kept.id]

    content = file.read_bytes()
    assert b"whatever happens" in content
    for gone in (secret, "Xyzzy", "plugh frotz", "quoth the"):
        assert gone.encode() not in content, gone
    with closing(sqlite3.connect(file)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            if not database.execute(
                "SELECT 1 FROM sqlite_schema WHERE name = ? AND sql LIKE 'CREATE VIRTUAL%'", (table,)
            ).fetchone():
                rows = database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - from the schema
                shown = repr(rows).lower()
                assert "xyzzy plugh" not in shown, table
                assert "raven" not in shown or table.endswith("_data"), table
    assert_consistent(file)


def test_a_read_whose_client_left_keeps_no_connection(store: Store) -> None:
    for _ in range(2_000):  # SQLite checks a deadline once in some 700 ends of a transaction
        deadline = Deadline(PATIENCE)
        with suppress(DeadlineExceeded):
            store.read(lambda _, deadline=deadline: deadline.cancel(), deadline)  # type: ignore[misc]
    assert store.read(lambda transaction: transaction.secret())


def test_agent_and_session_deleted_by_another_process_are_recreated(file: Path) -> None:
    with Memtrace(f"sqlite:///{file}") as one, Memtrace(f"sqlite:///{file}") as other:
        for content in ("1", "2"):  # one has cached them then
            one.remember("agent_1", content, session_id="s1")
        other.delete_session("s1")
        other.delete_agent("agent_1")

        memory = one.remember("agent_1", "3", session_id="s1")

        assert [session.id for session in other.list_sessions()] == ["s1"]
        assert other.get_agent("agent_1").last_active_at == memory.created_at
    assert_consistent(file)


def test_memory_is_late_after_a_later_one_of_another_process(file: Path) -> None:
    with Memtrace(f"sqlite:///{file}") as one, Memtrace(f"sqlite:///{file}") as other:
        for content in ("1", "2"):
            one.remember("agent_1", f"word {content}")
        other.remember("agent_1", "word 3", time=datetime.now(UTC) + timedelta(days=1))

        one.remember("agent_1", "word 4")

        found = [memory.content for memory in one.iter_search("word", order="desc")]
        assert found == ["word 3", "word 4", "word 2", "word 1"]
    assert_consistent(file)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"time": "2026-11-01T11:00:00.123456789+01:00"},
        {"ttl": 100},
        {"dedup_key": "k"},
        {"tags": ["b", "a", "b"], "importance": 1, "session_id": "s1", "event_type": "error"},
        {"metadata": {"b": 1.5e18, "a": [1, 1.0, -0.0, 2**63 - 1, "\u2028", None]}, "parent_id": "p"},
        {"content": "long " * 10_000},
    ],
    ids=["plain", "time", "ttl", "key", "kinds", "metadata", "long"],
)
def test_a_stored_memory_has_the_fingerprint_of_its_request(file: Path, fields: dict[str, Any]) -> None:
    memory = {"agent_id": "agent_1", "content": "hello", "on_duplicate": "return", **fields}
    with Memtrace(f"sqlite:///{file}") as client, closing(sqlite3.connect(file)) as database:
        (stored,) = client.add_memories([memory])
        assert client.add_memories([memory]) == [stored]
        assert database.execute("SELECT count(*) FROM duplicates").fetchone() == (1,)

        client.forget(stored)

        assert database.execute("SELECT count(*) FROM duplicates").fetchone() == (0,)


def test_a_memory_that_supersedes_has_the_fingerprint_of_its_request(file: Path) -> None:
    with Memtrace(f"sqlite:///{file}") as client, closing(sqlite3.connect(file)) as database:
        older = client.remember("agent_1", "red")
        memory = {"agent_id": "agent_1", "content": "blue", "supersedes": older.id}
        (newer,) = client.add_memories([{**memory, "on_duplicate": "return"}])
        client.forget(older)

        with pytest.raises(ConflictError) as refused:
            client.add_memories([{**memory, "on_duplicate": "reject"}])
        client.forget(newer)

        assert refused.value.code == "duplicate_memory"
        assert database.execute("SELECT count(*) FROM duplicates").fetchone() == (0,)


def test_memories_with_colliding_short_fingerprints_stay_distinct(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "short", lambda _: 7)
    with Memtrace(f"sqlite:///{file}") as client:
        batch = [{"agent_id": "agent_1", "content": text, "on_duplicate": "return"} for text in "abcab"]
        stored = client.add_memories(batch)
        assert stored.duplicates == [3, 4]
        assert [memory.id for memory in client.add_memories(batch)] == [memory.id for memory in stored]

        client.forget(stored[0])

        again = client.add_memories([*batch, {**batch[0], "content": "d"}])
        assert again.duplicates == [1, 2, 3, 4]
        assert [memory.id for memory in again[1:3]] == [memory.id for memory in stored[1:3]]
