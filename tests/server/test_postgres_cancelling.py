"""Reads on PostgreSQL that nobody waits for any more: they are cancelled at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from attrs import frozen
from clusters import Cluster
from durability.sockets import PATIENCE, connect, post, read_response
from helpers.postgres import Schemas
from helpers.waiting import wait_until
from live import LiveServer
from psycopg import sql

from memtrace import APITimeoutError, AsyncMemtrace, Memtrace
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.store import open_store
from memtrace_server.store.postgres import connecting

CONTAINED = "a b"


@frozen
class Database:
    """A store in whose schema the comparison of a search can be made to run forever."""

    url: str
    schema: str
    watching: psycopg.Connection[tuple[Any, ...]]

    def _run(self, *statements: str) -> None:
        for each in statements:
            self.watching.execute(sql.SQL(each).format(sql.Identifier(self.schema)))

    @contextmanager
    def endless(self) -> Iterator[None]:
        """Make each search run forever."""
        self._run(
            "CREATE FUNCTION {}.endless(text, text) RETURNS boolean LANGUAGE sql"
            " AS 'SELECT pg_sleep(1000000) IS NULL'",
            "CREATE OPERATOR {0}.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = {0}.endless)",
        )
        try:
            yield
        finally:
            self._run("DROP OPERATOR {}.~~ (text, text)", "DROP FUNCTION {}.endless")

    def running(self) -> set[int]:
        """Return the PostgreSQL processes that run a search."""
        found = self.watching.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        return {pid for (pid,) in found}

    def connected(self) -> set[int]:
        """Return the PostgreSQL processes that serve a store."""
        found = self.watching.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'memtrace'")
        return {pid for (pid,) in found}


@pytest.fixture
def database(postgres_schemas: Schemas, postgres_cluster: Cluster) -> Iterator[Database]:
    """Return a store in which a search can run forever."""
    schema = postgres_schemas.take()
    url = postgres_schemas.url_of(schema).replace(f"{schema},", f"{schema},pg_catalog,")
    with psycopg.connect(postgres_cluster.url, autocommit=True) as watching:
        yield Database(url, schema, watching)
    postgres_schemas.give_back(schema)


def test_a_search_whose_client_left_is_cancelled_and_its_connection_kept(
    tmp_path: Path, database: Database
) -> None:
    with LiveServer(tmp_path, "--request-timeout", "100000", store=database.url) as server:
        search = post("/api/v1/search", server.key, msgspec.json.encode({"content_contains": CONTAINED}))
        with connect(server.url) as connection:
            memory = {"agent_id": "a", "content": CONTAINED}
            connection.sendall(post("/api/v1/memories", server.key, msgspec.json.encode(memory)))
            assert read_response(connection).status == 201
        with database.endless():
            with connect(server.url) as connection:
                connection.sendall(search)
                wait_until(lambda: len(database.running()) == 1)
                searching = database.running()
            wait_until(lambda: not database.running())
            assert searching <= database.connected()
        with connect(server.url) as connection:
            connection.sendall(search)
            assert read_response(connection).json["count"] == 1
        assert searching <= database.connected()
    assert server.returncode == 0


def test_a_search_of_an_embedded_client_is_cancelled_at_its_deadline(database: Database) -> None:
    with Memtrace(database.url) as client, Memtrace(database.url, timeout=1.0) as hasty:
        client.remember("a", CONTAINED)
        assert hasty.search_memories(content_contains=CONTAINED).count == 1
        with database.endless(), pytest.raises(APITimeoutError):
            hasty.search_memories(content_contains=CONTAINED)
        assert not database.running()
        before = database.connected()
        assert hasty.search_memories(content_contains=CONTAINED).count == 1
        assert database.connected() == before


def test_search_of_a_cancelled_async_caller_is_cancelled_at_once(database: Database) -> None:
    async def run() -> None:
        async with AsyncMemtrace(database.url, timeout=100_000.0) as client:
            await client.remember("a", CONTAINED)
            searching = asyncio.create_task(client.search_memories(content_contains=CONTAINED))
            with database.endless():
                await asyncio.to_thread(wait_until, lambda: len(database.running()) == 1)
                searching.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(searching, PATIENCE)
                await asyncio.to_thread(wait_until, lambda: not database.running())
            assert (await client.search_memories(content_contains=CONTAINED)).count == 1

    asyncio.run(run())


@pytest.mark.parametrize("arrives", ["late", "never"])
def test_late_cancel_does_not_hit_the_next_query(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, arrives: str
) -> None:
    """Let the first read end while its cancel request is under way, which must not hit the next read."""
    begun, go_on, sent = threading.Event(), threading.Event(), threading.Event()
    cancel = psycopg.Connection.cancel_safe

    def late(connection: Any, **options: Any) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        try:
            if arrives == "never":
                raise psycopg.errors.CancellationTimeout("for this test")
        finally:
            cancel(connection, **options)
            sent.set()

    monkeypatch.setattr(psycopg.Connection, "cancel_safe", late)
    monkeypatch.setattr(connecting, "_CANCEL_TIMEOUT", PATIENCE)  # no cut meanwhile
    deadline = Deadline()
    processes: list[int] = []

    def first(transaction: Any) -> None:
        processes.append(process_of(transaction))
        deadline.cancel()
        assert begun.wait(PATIENCE)

    def second(transaction: Any) -> int:
        go_on.set()
        assert sent.wait(PATIENCE)
        transaction.executor.connection.execute("SELECT pg_sleep(0.2)")  # a cancel would end it
        return process_of(transaction)

    def both(transaction: Any) -> set[int]:
        return {process_of(transaction), store.read(process_of)}

    with closing(open_store(postgres_url)) as store, ThreadPoolExecutor(1) as threads:
        store.write(lambda transaction: transaction.orgs())
        reading = threads.submit(store.read, first, deadline)
        assert begun.wait(PATIENCE)
        others = set().union(*(store.read(both) for _ in range(20))) | {store.read(second)}
        reading.result(PATIENCE)
        again = store.read(both)
    assert others.isdisjoint(processes)
    assert again <= (others | set(processes) if arrives == "late" else others)


def process_of(transaction: Any) -> int:
    """Return the PostgreSQL process that runs a transaction."""
    process: int = transaction.executor.connection.info.backend_pid
    return process


def test_a_read_is_not_continued_after_its_deadline_in_python(postgres_url: str) -> None:
    deadline = Deadline()

    def work(transaction: Any) -> None:
        transaction.orgs()
        deadline.cancel()
        transaction.orgs()
        raise AssertionError("a second query was made")

    with closing(open_store(postgres_url)) as store:
        store.write(lambda transaction: transaction.orgs())
        with pytest.raises(DeadlineExceeded):
            store.read(work, deadline)
        assert store.read(lambda transaction: len(transaction.secret())) == 32
