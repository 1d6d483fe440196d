"""Faults of PostgreSQL, or of the connection to it, in the middle of a request."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import clusters
import httpx
import psycopg
import pytest
from clusters import Cluster
from live import LiveServer
from psycopg import sql
from psycopg.errors import ProgramLimitExceeded, SerializationFailure, UniqueViolation
from server.writers import together

from memtrace import MemoryTail, Memtrace
from memtrace_server import tenants, times
from memtrace_server.deadlines import Deadline
from memtrace_server.store import open_store
from memtrace_server.store.protocol import OutcomeUnknown, StoreUnavailable, Transaction, Write
from memtrace_server.store.records import Answer, Filter, Key, NewMemory

PATIENCE = 60.0


class Proxy:
    """Pass bytes to a cluster, and cut all connections when a response has certain bytes.

    Attributes:
        cuts_at: The bytes; None for never.
        accepted: The number of connections.
    """

    def __init__(self, port: int) -> None:
        self.cuts_at: bytes | None = None
        self.accepted = 0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)

    @property
    def port(self) -> int:
        """Return the port at which it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def through(self, url: str) -> str:
        """Return a URL of the cluster that leads through the proxy."""
        return url.replace(f":{self._to}/", f":{self.port}/")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection, and refuse new ones."""
        if not self._thread.is_alive():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with ExitStack() as stack:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    break
                self.accepted += 1
                server = socket.create_connection(("127.0.0.1", self._to))
                self._open += [stack.enter_context(client), stack.enter_context(server)]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()
            self.cut()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.cuts_at is not None and self.cuts_at in data:
                    self.cut()
                    return
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres_cluster: Cluster) -> Iterator[Proxy]:
    """Return a proxy between a store and its database."""
    with Proxy(postgres_cluster.port) as proxy:
        yield proxy


def keep(transaction: Transaction, *, org: int, key: str, looks: bool = False) -> str:
    """Keep a response, or return that there is one; `looks` makes the transaction several statements."""
    if looks:
        transaction.count_memories(org)
    if transaction.answer(org, key, 0) is not None:
        return "replayed"
    transaction.keep_answer(org, key, Answer(request=b"r", status=201), times.now())
    return "kept"


@pytest.mark.parametrize("is_alone", [True, False], ids=["one statement", "several"])
def test_lost_commit_makes_replays_of_its_group_unknown(
    postgres_url: str, proxy: Proxy, *, is_alone: bool
) -> None:
    with closing(open_store(proxy.through(postgres_url))) as store:
        org = tenants.local_principal(store).org
        store.write(partial(keep, org=org, key="earlier"))
        # Cuts the response to the commit: of the statement that commits itself, or of COMMIT.
        proxy.cuts_at = b"is_written\0" if is_alone else b"COMMIT\0"
        works = [
            partial(keep, org=org, key=key, looks=not is_alone)
            for key in ("earlier", "new", "new", "earlier")
        ]
        outcomes = together(store, works)
    assert outcomes[0] == ("replayed", None)
    assert [type(failure) for _, failure in outcomes[1:]] == [OutcomeUnknown] * 3


def in_commits(cluster: Cluster, function: str) -> None:
    """Call a function for each process that waits for a standby, once there is one."""
    ends_at = time.monotonic() + PATIENCE
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        waiting = sql.SQL("SELECT {}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        while not connection.execute(waiting.format(sql.Identifier(function))).fetchall():
            assert time.monotonic() < ends_at


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["deadline", "administrator"])
def test_a_commit_whose_standby_does_not_confirm_is_unknown(
    postgres_url: str, postgres_cluster: Cluster, *, is_cancelled: bool
) -> None:
    waiting = postgres_url.replace("options=", "options=-csynchronous_commit%3Don%20")
    with closing(open_store(postgres_url)) as store:
        org = tenants.local_principal(store).org
    with closing(open_store(waiting)) as store, ThreadPoolExecutor(1) as threads:
        tenants.local_principal(store)
        deadline = Deadline(PATIENCE if is_cancelled else 1)
        written = threads.submit(store.write, partial(keep, org=org, key="k"), deadline)
        try:
            if is_cancelled:
                in_commits(postgres_cluster, "pg_cancel_backend")
            with pytest.raises(OutcomeUnknown):
                written.result(PATIENCE)
        finally:
            if not is_cancelled:
                in_commits(postgres_cluster, "pg_terminate_backend")


@pytest.fixture(scope="module")
def young_cluster(postgres_binaries: Path) -> Iterator[Cluster]:
    """Return a new cluster, whose transactions have small numbers."""
    with Cluster(postgres_binaries, is_durable=True, wal_writer_delay="10s") as cluster:
        yield cluster


def test_tail_continues_after_a_crash_that_reuses_numbers(young_cluster: Cluster) -> None:
    cluster = young_cluster
    with Memtrace(cluster.url) as client, psycopg.connect(cluster.url, autocommit=True) as connection:
        client.remember("a", "before")
        for _ in range(20):  # numbers that do not become durable
            connection.execute("BEGIN")
            connection.execute("SELECT pg_current_xact_id()")
            connection.execute("ROLLBACK")
        page = client.tail_memories(start="beginning")
        cursors = [page.next_cursor, client.tail_memories().next_cursor]
        cluster.stop("immediate")
    cluster.start()
    with Memtrace(cluster.url) as client:
        client.remember("a", "after")
        found = [client.tail_memories(cursor=cursor).memories for cursor in cursors]
    assert [memory.content for memory in page.memories] == ["before"]
    assert [[memory.content for memory in each] for each in found] == [["after"]] * 2


def test_tail_continues_on_a_dump_restored_in_another_cluster(
    postgres_cluster: Cluster, young_cluster: Cluster
) -> None:
    dump = str(postgres_cluster.folder / "dump")
    for cluster in (postgres_cluster, young_cluster):
        cluster.run("createdb", "--maintenance-db", cluster.url, "restored")
    try:
        with (
            Memtrace(postgres_cluster.url_of("restored")) as client,
            psycopg.connect(postgres_cluster.url, autocommit=True) as connection,
        ):
            for _ in range(2_000):  # makes numbers larger than those of the other cluster
                connection.execute("SELECT pg_current_xact_id()")
            client.remember("a", "one")
            first = client.tail_memories(start="beginning").next_cursor
            client.remember("a", "two")
            postgres_cluster.run("pg_dump", "-Fc", "-f", dump, "-d", postgres_cluster.url_of("restored"))
            client.remember("a", "after the dump, and lost")
            last = client.tail_memories().next_cursor
        young_cluster.run("pg_restore", "-d", young_cluster.url_of("restored"), dump)
        with Memtrace(young_cluster.url_of("restored")) as client:
            assert contents(client.tail_memories(cursor=first)) == ["two"]
            client.remember("a", "three")
            assert contents(client.tail_memories(start="beginning")) == ["one", "two", "three"]
            assert contents(client.tail_memories(cursor=first)) == ["two", "three"]
            assert contents(client.tail_memories(cursor=last)) == ["three"]
    finally:
        postgres_cluster.run("dropdb", "--force", "--maintenance-db", postgres_cluster.url, "restored")


def contents(page: MemoryTail) -> list[str]:
    """Return the contents of the memories of a page."""
    return [memory.content for memory in page.memories]


def test_a_cluster_ends_with_the_process_that_started_it(postgres_binaries: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from clusters import Cluster\n"
        f"with Cluster(Path({str(postgres_binaries)!r})) as cluster:\n"
        "    print(cluster.folder, flush=True)\n"
        "    time.sleep(600)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(clusters.__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        process.kill()
    ends_at = time.monotonic() + PATIENCE
    while folder.exists() or Path(f"/proc/{server}").exists():
        assert time.monotonic() < ends_at


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "write"])
def test_statement_that_loses_its_connection_is_retried_twice(
    postgres_url: str, proxy: Proxy, *, is_read: bool
) -> None:
    with closing(open_store(proxy.through(postgres_url))) as store:
        org = tenants.local_principal(store).org
        before = proxy.accepted
        proxy.cuts_at = b"BEGIN\0" if is_read else b"SELECT 0\0"  # the first response
        do = store.read if is_read else store.write
        with pytest.raises(StoreUnavailable):
            do(partial(keep, org=org, key="k"))
    assert proxy.accepted <= before + 3


def test_a_write_on_a_connection_that_ended_idle_is_stored(postgres_url: str, proxy: Proxy) -> None:
    with closing(open_store(proxy.through(postgres_url))) as store:
        org = tenants.local_principal(store).org
        store.write(partial(remember, org=org, agent_id="a"))
        proxy.cut()
        store.write(partial(remember, org=org, agent_id="b"))


def test_write_that_postgresql_refuses_fails_alone(postgres_url: str) -> None:
    with Memtrace(postgres_url) as client, psycopg.connect(postgres_url, autocommit=True) as connection:
        client.remember("a", "before")
        for statement in (
            (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'program_limit_exceeded'; END $$"
            ),
            (
                "CREATE TRIGGER refuse BEFORE INSERT ON memories FOR EACH ROW WHEN (NEW.agent_id = 'refused')"
                " EXECUTE FUNCTION refuse()"
            ),
        ):
            connection.execute(statement)
        try:
            with closing(open_store(postgres_url)) as store:
                org = tenants.local_principal(store).org
                works = [partial(remember, org=org, agent_id=name) for name in ("a", "refused", "b")]
                outcomes = together(store, works)
        finally:
            connection.execute("DROP FUNCTION refuse CASCADE")
        stored = {memory.agent_id for memory in client.iter_memories(memory_type="entity")}
    assert [type(failure) for _, failure in outcomes] == [type(None), ProgramLimitExceeded, type(None)]
    assert stored == {"a", "b"}


def remember(
    transaction: Transaction, *, org: int, agent_id: str, content: str = "", expires_at: int | None = None
) -> None:
    """Store a memory of type `entity`."""
    now = times.now()
    seq = transaction.next_seq(now)
    doc = {
        "id": f"mem_{seq:026}", "time": "2026-01-01T00:00:00Z", "org_id": "org_default",
        "agent_id": agent_id, "memory_type": "entity", "event_type": "general", "content": content,
    }  # fmt: skip
    memory = NewMemory(
        id=doc["id"], rest=json.dumps(doc),
        seq=seq, time=now, agent_id=agent_id, session_id=None, memory_type="entity",
        event_type="general", importance=None, created_at=now, expires_at=expires_at, tags=(),
    )  # fmt: skip
    transaction.add_memories(org, [(agent_id.encode(), memory)], now)


def test_text_of_thousands_of_marks_is_stored_and_found(postgres_url: str) -> None:
    with Memtrace(postgres_url) as client:
        stored = client.remember("a", "\u0e01" + "\u0e48" * 3_000)
        assert [memory.id for memory in client.search_memories(query="\u0e01\u0e48").results] == []
        assert [memory.id for memory in client.search_memories(query="\u0e01" + "\u0e48" * 15).results] == [
            stored.id
        ]


def test_text_of_65536_random_ideographs_is_stored_and_found(postgres_url: str) -> None:
    with Memtrace(postgres_url) as client, psycopg.connect(postgres_url, autocommit=True) as connection:
        with closing(open_store(postgres_url)) as store:
            store.read(lambda transaction: transaction.orgs())  # creates the tables
        connection.execute("ALTER TABLE orgs ALTER number RESTART WITH 1000000000")
        try:
            signs = random.Random(7).choices(range(0x20000, 0x2A6DF), k=65_536)  # noqa: S311 - any will do
            content = "".join(map(chr, signs))
            stored = client.remember("a", content)
            found = client.search_memories(query=f'"{content[-9:]}"').results
            for seed in ("1", "2"):  # a check chooses the same lexemes, in whatever order sets are
                subprocess.run(
                    [sys.executable, "-m", "memtrace", "check", "--store", postgres_url],
                    env=os.environ | {"PYTHONHASHSEED": seed},
                    check=True,
                )
        finally:
            connection.execute("ALTER TABLE orgs ALTER number RESTART WITH 1")
    assert [memory.id for memory in found] == [stored.id]


def test_read_only_server_is_an_error_with_the_remedy(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        org = tenants.local_principal(store).org
    url = postgres_url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
    with (
        closing(open_store(url)) as store,
        pytest.raises(StoreUnavailable, match="target_session_attrs=read-write"),
    ):
        store.write(partial(keep, org=org, key="k"))


def test_read_that_a_standby_ends_is_retried(postgres_url: str) -> None:
    ended = iter([True, False, True, True, True])

    def read(transaction: Transaction) -> int:
        if next(ended):
            raise SerializationFailure
        return len(transaction.orgs())

    with closing(open_store(postgres_url)) as store:
        assert store.read(read) == 0
        with pytest.raises(StoreUnavailable):
            store.read(read)


@pytest.mark.parametrize("works", [1, 4], ids=["one work", "a group"])
def test_large_write_takes_several_statements_of_a_transaction(postgres_url: str, works: int) -> None:
    content = "x" * (3 << 20)

    def remember_some(transaction: Transaction, *, first: int) -> None:
        for number in range(first, first + 4 // works):
            remember(transaction, org=org, agent_id=f"a{number}", content=content)

    with closing(open_store(postgres_url)) as store, psycopg.connect(postgres_url) as connection:
        org = tenants.local_principal(store).org
        outcomes = together(store, [partial(remember_some, first=10 * n) for n in range(works)])
        sql = "SELECT count(*), count(DISTINCT xmin::text), count(DISTINCT cmin::text) FROM memories"
        memories, transactions, statements = connection.execute(sql).fetchone() or (0, 0, 0)
    assert outcomes == [(None, None)] * works
    assert (memories, transactions) == (4, 1)
    assert statements > 1


def test_reads_are_compared_again_though_a_group_is_written_between(postgres_url: str) -> None:
    """Check against another server that stores the same memory, or an old response, at that moment."""
    answer = Answer(request=b"r", status=201)
    wanted = Filter(include_superseded=True)

    def add(transaction: Transaction) -> None:
        transaction.originals(org, [b"b"], 0, times.now())
        assert transaction.answer(org, "key", times.now() - 2 * times.DAY) is None
        transaction.page(org, wanted, times.now(), order="asc", limit=1)  # writes the pending rows
        remember(transaction, org=org, agent_id="b")
        transaction.keep_answer(org, "key", answer, times.now())

    with closing(open_store(postgres_url)) as store, psycopg.connect(postgres_url) as connection:
        org = tenants.local_principal(store).org
        store.write(lambda transaction: transaction.keep_answer(org, "key", answer, 1))
        first = partial(remember, org=org, agent_id="a")
        assert together(store, [first, add]) == [(None, None)] * 2
        assert connection.execute("SELECT fingerprint FROM originals").fetchall() == [(b"b",)]
        assert connection.execute("SELECT count(*) FROM answers WHERE answered_at > 1").fetchone() == (1,)


def test_work_that_adds_a_row_twice_fails_alone_in_its_group(postgres_url: str) -> None:
    def fail(transaction: Transaction) -> None:
        for _ in range(2):
            transaction.add_key(b"the same", key)

    with closing(open_store(postgres_url)) as store:
        org = tenants.local_principal(store).org
        key = Key(id="key", org=org, org_id="", role="reader", name="", created_at=0)
        outcomes = together(
            store,
            [partial(remember, org=org, agent_id="a"), fail, partial(remember, org=org, agent_id="b")],
        )
    assert [type(failure) for _, failure in outcomes] == [type(None), UniqueViolation, type(None)]


def test_error_response_hides_the_address_of_the_database(
    postgres_url: str, postgres_cluster: Cluster, proxy: Proxy, tmp_path: Path
) -> None:
    with LiveServer(tmp_path, "--store", proxy.through(postgres_url)) as server:
        port = proxy.port
        proxy.close()
        requested = httpx.get(f"{server.url}/api/v1/memories", headers={"x-api-key": server.key})
        ends_at = time.monotonic() + PATIENCE
        while (probed := httpx.get(f"{server.url}/ready")).is_success:  # cached for a second
            assert time.monotonic() < ends_at
    for response in (requested, probed):
        assert response.status_code == 503
        assert response.json()["error"] == "The storage is not available: cannot connect", response.text
    log = "".join(server.log)
    assert f"port {port}" in log
    assert postgres_cluster.password not in log


def test_server_commits_while_a_group_waits_for_a_lock(postgres_url: str) -> None:
    with (
        closing(open_store(postgres_url)) as store,
        psycopg.connect(postgres_url) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        org = tenants.local_principal(store).org
        store.tend()
        other.execute(
            "INSERT INTO answers (org, key, answered_at, replaced, request, status, memories)"
            " VALUES (%s, 'one', 1, -1, 'r', 201, '[[],null]')",
            [org],
        )
        waiting = threads.submit(store.write, partial(keep, org=org, key="one"))
        while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            assert not waiting.done()
        assert [store.write(partial(keep, org=org, key=key)) for key in ("two", "two")] == [
            "kept",
            "replayed",
        ]
        assert not waiting.done()
        other.commit()
        assert waiting.result(PATIENCE) == "replayed"


def test_closing_a_store_commits_accepted_writes(postgres_url: str) -> None:
    outcomes: list[object] = []
    with closing(open_store(postgres_url)) as store:
        org = tenants.local_principal(store).org
        store.tend()
        for number in range(100):
            store.submit([Write(run=partial(keep, org=org, key=f"k{number}"))], outcomes.extend)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (100,)
    assert len(outcomes) == 100


def test_results_of_committed_writes_are_released(postgres_url: str) -> None:
    made: list[weakref.ref[set[int]]] = []

    def make(_: Transaction) -> set[int]:
        result = {1, 2, 3}
        made.append(weakref.ref(result))
        return result

    with closing(open_store(postgres_url)) as store:
        store.tend()
        for _ in range(5):
            assert store.write(make) == {1, 2, 3}
        ends_at = time.monotonic() + PATIENCE
        while any(each() is not None for each in made):
            assert time.monotonic() < ends_at


def test_sweep_keeps_up_with_added_memories(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        org = tenants.local_principal(store).org

    def remember_many(transaction: Transaction) -> None:
        for number in range(1_200):
            remember(transaction, org=org, agent_id=f"a{number}", expires_at=1)

    with closing(open_store(postgres_url)) as store, psycopg.connect(postgres_url) as connection:
        store.write(remember_many)
        assert connection.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_group_that_no_thread_takes_fails_and_frees_its_lane() -> None:
    store: Any = open_store("postgresql://nobody@127.0.0.1:1/x")
    store.tend()
    store._groups.close()  # noqa: SLF001 - as at the interpreter's end
    for _ in range(4):
        done: Future[Any] = Future()
        store.submit([Write(run=lambda _: None)], done.set_result)
        ((_, (_, failure)),) = done.result(PATIENCE)
        assert isinstance(failure, RuntimeError)
    store.close()
