"""PostgreSQL's own: opening a store, and several servers on one database."""

from __future__ import annotations

import json
import logging
import random
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from clusters import Cluster
from helpers.commands import Commands
from helpers.postgres import Schemas
from psycopg import sql

from memtrace import APIConnectionError, ConflictError, Memtrace, MemtraceError
from memtrace_server import tenants
from memtrace_server.store import open_store
from memtrace_server.store.postgres import migrations
from memtrace_server.store.protocol import StoreUnavailable, Transaction
from memtrace_server.store.records import Filter, NewMemory

PATIENCE = 60.0
MANY = 64
SERVERS = 4


@pytest.fixture
def database(postgres_cluster: Cluster) -> Iterator[Callable[..., str]]:
    """Return a function that creates a database with SQL options, and returns its name."""
    made: list[str] = []
    with psycopg.connect(postgres_cluster.url, autocommit=True) as connection:

        def make(options: str = "") -> str:
            name = f"test_{secrets.token_hex(8)}"
            connection.execute(
                sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(options))
            )
            made.append(name)
            return name

        yield make
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def clients(postgres_url: str) -> Iterator[list[Memtrace]]:
    """Return clients that share a database, each with its own store."""
    with ExitStack() as stack:
        yield [stack.enter_context(Memtrace(postgres_url)) for _ in range(SERVERS)]


def error_of(url: str) -> str:
    """Return the error of a store that cannot be opened: one line."""
    with closing(open_store(url)) as store, pytest.raises(StoreUnavailable) as refused:
        tenants.list_orgs(store)
    error = str(refused.value)
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret/rest@host/db",
        "postgresql://user:s3cret@host:port/db",
        "postgresql://user:s3cret@host/db#fragment",
        "postgresql://user:s3cret@host/db?mode=rw",
        "postgresql://user:s3cret @host/db",
        "postgresql://user:100%s3cret@host/db",
        "postgresql://user:s3cret%00@host/db",
        "postgresql://user@host/db?password=100%s3cret",
        "mysql://user:s3cret@host/db",
        "user:s3cret@host",
    ],
)
def test_invalid_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"no valid URL|names no store|only mode") as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_password_is_in_no_repr_error_or_log(
    postgres_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password = postgres_cluster.password
    url = postgres_cluster.url_of("postgres", f"?password={password}&connect_timeout=7")
    with Memtrace(url) as client:
        assert client.base_url == (
            f"postgresql://memtrace@127.0.0.1:{postgres_cluster.port}/postgres?connect_timeout=7"
        )
        assert password not in repr(client)
    wrong = url.replace(password, "wr0ng")
    with Memtrace(wrong, max_retries=0) as client, pytest.raises(Exception, match="authentication") as failed:
        client.recall("a")
    shown = f"{failed.value!r} {failed.value} {caplog.text}"
    assert "wr0ng" not in shown
    assert password not in shown


def test_wrong_password_is_an_error_of_one_line(postgres_cluster: Cluster) -> None:
    said = error_of(f"postgresql://memtrace:wr0ng@127.0.0.1:{postgres_cluster.port}/postgres")
    assert 'password authentication failed for user "memtrace"' in said
    assert said.startswith(
        f"postgresql://memtrace@127.0.0.1:{postgres_cluster.port}/postgres: cannot connect: "
    )
    assert "wr0ng" not in said


def test_unreachable_hosts_are_an_error_of_one_line() -> None:
    said = error_of("postgresql://memtrace:s3cret@127.0.0.1:1,127.0.0.1:2/postgres")
    assert "port 1" in said
    assert "port 2" in said
    assert "s3cret" not in said


def test_message_names_url_and_cause_once() -> None:
    url = "postgresql://memtrace@127.0.0.1:1/postgres"
    with Memtrace(url, max_retries=0) as client, pytest.raises(APIConnectionError) as failed:
        client.recall("a")
    message = str(failed.value)
    assert message.startswith(f"GET /api/v1/memories at {url}: cannot connect: ")
    assert (message.count(url), message.count("cannot connect")) == (1, 1)


def test_old_server_is_an_error_of_one_line(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # No server that is too old is available; the private module has the oldest version.
    monkeypatch.setattr("memtrace_server.store.postgres.connecting.OLDEST", 99)
    assert "it must be 99 or newer" in error_of(postgres_url)


def test_database_in_another_encoding_is_an_error_of_one_line(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    name = database("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    assert "ENCODING 'UTF8'" in error_of(postgres_cluster.url_of(name))


def test_store_without_pg_trgm_finds_substrings_and_logs_one_line(
    postgres_cluster: Cluster, database: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    name = database()
    role = f"role_{name}"
    with psycopg.connect(postgres_cluster.url_of(name), autocommit=True) as connection:
        for statement in ("CREATE ROLE {} LOGIN PASSWORD 'p'", "CREATE SCHEMA mine AUTHORIZATION {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(role)))
    url = f"postgresql://{role}:p@127.0.0.1:{postgres_cluster.port}/{name}?options=-csearch_path%3Dmine"
    with Memtrace(url) as client:
        client.remember("a", "A needle in 100% hay")
        found = client.search_memories(content_contains="in 100% h").results
    assert [memory.content for memory in found] == ["A needle in 100% hay"]
    (said,) = [record.message for record in caplog.records if "pg_trgm" in record.message]
    assert "CREATE EXTENSION pg_trgm" in said


INDEXING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE relid = 'memories'::regclass"
INDEXED = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('memories_by_piece') AND indisvalid"


@contextmanager
def held_up(url: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Drop the index of trigrams; its creation waits for the end of the first connection's transaction."""
    with Memtrace(url) as client, psycopg.connect(url) as older, psycopg.connect(url, autocommit=True) as now:
        client.remember("a", "one")
        now.execute("DROP INDEX memories_by_piece")
        older.execute("DELETE FROM memories WHERE seq = 0")
        yield older, now


def test_a_server_indexes_trigrams_while_others_write(postgres_url: str) -> None:
    url = postgres_url
    with Memtrace(url) as client, psycopg.connect(url) as older, psycopg.connect(url, autocommit=True) as now:
        client.remember("a", "A needle in 100% hay")
        now.execute("DROP INDEX memories_by_piece")
        older.execute("DELETE FROM memories WHERE seq = 0")  # the creation of an index waits for its end
        with closing(open_store(url)) as store:
            store.tend()
            tenants.list_orgs(store)
            wait_for(now, INDEXING, 1)
            client.remember("a", "Another needle")
            assert len(client.search_memories(content_contains="needle").results) == 2
            assert now.execute(INDEXED).fetchone() == (0,)
            older.rollback()
            wait_for(now, INDEXED, 1)


def test_interrupted_index_is_created_by_the_next_server(postgres_url: str) -> None:
    url = postgres_url
    with held_up(url) as (older, now):
        with closing(open_store(url)) as store:
            store.tend()
            tenants.list_orgs(store)
            wait_for(now, INDEXING, 1)
        wait_for(now, INDEXING, 0)
        older.rollback()
        wait_for(now, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('memories_by_piece')", 1)
        wait_for(now, INDEXED, 0)
        with closing(open_store(url)) as store:
            store.tend()
            tenants.list_orgs(store)
            wait_for(now, INDEXED, 1)


def test_servers_that_start_at_once_create_one_index(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_url
    with (
        held_up(url) as (older, now),
        closing(open_store(url)) as first,
        closing(open_store(url)) as second,
    ):
        first.tend()
        tenants.list_orgs(first)
        wait_for(now, INDEXING, 1)
        second.tend()
        tenants.list_orgs(second)
        now.execute("SELECT pg_sleep(1.5)")  # longer than deadlock_timeout
        older.rollback()
        wait_for(now, INDEXED, 1)
        assert not [record for record in caplog.records if "is not made" in record.message]


def test_cancelled_index_frees_its_connection_and_is_created_later(
    postgres_url: str,
) -> None:
    url = postgres_url
    with held_up(url) as (older, now):
        with closing(open_store(url)) as store:
            store.tend()
            tenants.list_orgs(store)
            wait_for(now, INDEXING, 1)
            now.execute("CREATE TEMPORARY TABLE indexers AS SELECT pid FROM pg_stat_progress_create_index")
            now.execute("SELECT pg_cancel_backend(pid) FROM indexers")
            wait_for(now, "SELECT count(*) FROM pg_stat_activity JOIN indexers USING (pid)", 0)
        older.rollback()
        now.execute("DELETE FROM memories")  # like a new store, except for the index
        with closing(open_store(url)) as store:
            store.tend()
            tenants.list_orgs(store)
            wait_for(now, INDEXED, 1)


def wait_for(connection: psycopg.Connection[tuple[int]], query: str, count: int) -> None:
    """Wait until a query returns a count."""
    ends_at = time.monotonic() + PATIENCE
    while connection.execute(query.encode()).fetchone() != (count,):
        assert time.monotonic() < ends_at
        connection.execute("SELECT pg_sleep(0.01)")


def test_tables_are_in_their_own_schema(postgres_cluster: Cluster, database: Callable[..., str]) -> None:
    url = postgres_cluster.url_of(database())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE migrations (of_another_program text)")
        with Memtrace(url) as client:
            client.remember("a", "one")
            assert [memory.content for memory in client.recall("a").memories] == ["one"]
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('memtrace', 'public')"
        ).fetchall()
    assert [table for table in tables if table[0] == "public"] == [("public", "migrations")]
    assert {("memtrace", "migrations"), ("memtrace", "memories")} < set(tables)


def test_role_that_owns_a_schema_can_use_a_store(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    name = database()
    role = f"role_{name}"
    with psycopg.connect(postgres_cluster.url_of(name), autocommit=True) as connection:
        for statement in ("CREATE ROLE {} LOGIN PASSWORD 'p'", "CREATE SCHEMA memtrace AUTHORIZATION {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(role)))
    with Memtrace(f"postgresql://{role}:p@127.0.0.1:{postgres_cluster.port}/{name}") as client:
        client.remember("a", "one")


def test_missing_schema_is_an_error_of_one_line(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    name = database()
    role = f"role_{name}"
    with psycopg.connect(postgres_cluster.url_of(name), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(sql.Identifier(role)))
    login = f"postgresql://{role}:p@127.0.0.1:{postgres_cluster.port}/{name}"
    assert f"permission denied for database {name}" in error_of(login)
    assert "no schema of search_path=mine exists" in error_of(f"{login}?options=-csearch_path%3Dmine")


def test_store_of_a_newer_version_is_refused(postgres_url: str) -> None:
    with Memtrace(postgres_url) as client:
        client.remember("a", "one")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("INSERT INTO migrations VALUES ('9999-future', 1, '99.0')")
    assert "a newer Memtrace wrote the store (99.0" in error_of(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DELETE FROM migrations WHERE name = '9999-future'")


def test_store_of_an_older_version_is_migrated_under_its_clients(
    postgres_cluster: Cluster, database: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_cluster.url_of(database())
    caplog.set_level("INFO")
    with Memtrace(url) as older:
        older.remember("a", "one deployment")
        with psycopg.connect(url, autocommit=True, options="-csearch_path=memtrace,public") as connection:
            connection.execute("DELETE FROM migrations WHERE name = '0005-periods'")
            connection.execute("DROP INDEX memories_by_lexeme, memories_by_piece")
            connection.execute("CREATE INDEX memories_by_lexeme ON memories USING gin (lexemes)")
        assert not any("migrated" in message for message in caplog.messages)
        with Memtrace(url) as newer:
            newer.remember("a", "two deployments")
            assert [message for message in caplog.messages if "migrated" in message] == [
                "An older Memtrace wrote the store, which is migrated now; requests wait until then",
                "The store is migrated",
            ]
            until = datetime.now(UTC) + timedelta(hours=1)
            for client in (older, newer):
                phrase = client.search_memories('"two deployments"', since="1h", until=until)
                piece = client.search_memories(content_contains="TWO DEPL", since="1h", until=until)
                assert [m.content for m in (*phrase.results, *piece.results)] == ["two deployments"] * 2


def test_memories_of_an_older_version_are_found_by_parts_of_names(
    postgres_cluster: Cluster, database: Callable[..., str], command: Commands
) -> None:
    url = postgres_cluster.url_of(database())
    texts = ("HTTPServer", "Łódź", "the wi-fi", "plain", "Ǿre")
    with Memtrace(url) as older:
        older.add_memories({"agent_id": name, "content": text} for text in texts for name in ("one", "other"))
    with psycopg.connect(url, autocommit=True, options="-csearch_path=memtrace,public") as connection:
        connection.execute(
            "UPDATE memories SET words = replace(replace(words, 'lodz', 'łodz'), 'ore', 'øre'),"
            " lexemes = ts_delete(lexemes, ARRAY[org || 'slodz', org || 'shttp', org || 'sserver',"
            " org || 'swifi', org || 'sore'])"
            " WHERE words <> ' plain '"
        )
        assert "8 faults" in command.fail("check", "--store", url)
        connection.execute("DELETE FROM migrations WHERE name = '0007-parts-of-names'")
    with Memtrace(url) as newer:
        for query, content in {
            "server": "HTTPServer", "lodz": "Łódź", '"łódź"': "Łódź", "wifi": "the wi-fi", "ore": "Ǿre",
        }.items():  # fmt: skip
            assert [m.content for m in newer.search_memories(query).results] == [content] * 2, query
    assert command("check", "--store", url) == "The store is consistent.\n"


def test_migration_may_take_longer_than_a_request(
    postgres_cluster: Cluster, database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_cluster.url_of(database())
    with Memtrace(url) as client:
        client.remember("a", "one")
    steps: Any = migrations._STEPS  # noqa: SLF001 - the subject of the test
    monkeypatch.setitem(steps, "9999-slow", "SELECT pg_sleep(1)")
    with Memtrace(url, timeout=0.3) as client, pytest.raises(MemtraceError):
        client.recall("a")
    with Memtrace(url, timeout=0.3) as client:
        assert [memory.content for memory in client.recall("a").memories] == ["one"]


def test_stores_that_open_at_once_create_the_tables_once(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    url = postgres_cluster.url_of(database())
    with ExitStack() as stack, ThreadPoolExecutor(SERVERS) as threads:
        stores = [stack.enter_context(closing(open_store(url))) for _ in range(SERVERS)]
        found = list(threads.map(tenants.local_principal, stores, timeout=PATIENCE))
    assert len({principal.org for principal in found}) == 1


def test_read_only_store_can_be_read(postgres_url: str) -> None:
    with Memtrace(postgres_url) as client:
        client.remember("a", "one")
    read_only = f"{postgres_url}&mode=ro"
    with Memtrace(read_only) as client:
        assert [memory.content for memory in client.recall("a").memories] == ["one"]
        with pytest.raises(Exception, match="read only"):
            client.remember("a", "two")


def test_writes_with_one_key_through_several_servers_are_one(clients: list[Memtrace]) -> None:
    for number in range(5):
        start = threading.Barrier(MANY)

        def store(
            client: Memtrace, start: threading.Barrier = start, key: str = f"key-{number}"
        ) -> str | None:
            start.wait(PATIENCE)
            return client.add_memory(
                agent_id="a", content="the same", on_duplicate="store", idempotency_key=key
            ).id

        with ThreadPoolExecutor(MANY) as threads:
            ids = set(threads.map(store, [clients[n % SERVERS] for n in range(MANY)], timeout=PATIENCE))
        assert len(ids) == 1
    assert len(clients[0].recall("a").memories) == 5


def test_write_to_a_grown_store_reads_few_rows(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    url = postgres_cluster.url_of(database())
    with Memtrace(url) as client:  # its plans are made while tables are empty
        for start in ("first", "second"):
            client.remember("a", f"the {start} memory of all", on_duplicate="return")
        client.add_memories([
            {"agent_id": f"a{n}", "content": f"memory {n}", "on_duplicate": "return"} for n in range(1_000)
        ])  # fmt: skip
        for number in range(20):
            client.remember("a", f"later {number}", on_duplicate="return")
    with psycopg.connect(url, autocommit=True) as connection:
        inserted = "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname IN ('originals', 'memories')"
        wait_for(connection, inserted, 2 * 1_022)
        row = connection.execute(
            "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
            " WHERE relname IN ('agents', 'originals', 'memories')"
        ).fetchone()
        assert row is not None
        assert row[0] < 1_000  # each row once


def write_until_analysed(client: Memtrace, url: str, *tables: str) -> int:
    """Write until PostgreSQL has analysed large tables; return the number of writes."""
    until = time.monotonic() + PATIENCE
    with psycopg.connect(url, autocommit=True) as connection:
        for number in count():
            (known,) = connection.execute(
                "SELECT min(reltuples) FROM pg_class WHERE oid = ANY(%s::regclass[])", [list(tables)]
            ).fetchone() or (0,)
            if known > 1_000:
                return number
            assert time.monotonic() < until
            client.remember("a", f"{time.time_ns()}")
            time.sleep(0.05)
    raise AssertionError


def test_search_of_a_grown_store_reads_few_rows(
    postgres_cluster: Cluster, database: Callable[..., str]
) -> None:
    url = postgres_cluster.url_of(database())
    with Memtrace(url) as client, psycopg.connect(url, autocommit=True) as connection:

        def use() -> None:
            first, second = (client.remember("a", f"{time.time_ns()}", session_id="s") for _ in range(2))
            newer = client.remember("a", f"newer {time.time_ns()}", supersedes=first.id)
            client.get_memory(newer)
            for memory in (first, second):
                client.forget(memory)

        for _ in range(10):  # plans are made while tables are empty
            use()
        for batch in range(3):
            client.add_memories([
                {"agent_id": f"a{n}", "content": f"memory {batch} {n}"} for n in range(1_000)
            ])  # fmt: skip
        more = write_until_analysed(client, url, "memories")
        for _ in range(10):
            use()
    with psycopg.connect(url, autocommit=True) as connection:
        inserted = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'memories'"
        wait_for(connection, inserted, 2 * 30 + 3_000 + more)
        row = connection.execute(
            "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = ANY(%(names)s))"
            " + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY(%(names)s))",
            {"names": ["duplicates", "memories", "originals"]},
        ).fetchone()
        assert row is not None
        assert row[0] < 3_000  # each row once


def test_page_of_a_grown_store_reads_a_page(postgres_cluster: Cluster, database: Callable[..., str]) -> None:
    url = postgres_cluster.url_of(database())
    with Memtrace(url) as client:

        def turn_pages() -> None:
            client.list_agents(limit=2)
            client.list_agents(limit=2, cursor=client.list_agents(limit=1).next_cursor)
            filtered: list[dict[str, Any]] = [
                {},
                {"agent_id": "a1"},
                {"status": "active"},
                {"agent_id": "a1", "status": "active"},
            ]
            for filters in filtered:
                client.list_sessions(limit=2, **filters)

        client.remember("a", "first", session_id="s")
        turn_pages()  # its plans are made while tables are empty
        for start in range(0, 3_000, 1_000):
            client.add_memories([
                {"agent_id": f"a{n}", "session_id": f"s{n}", "content": f"memory {n}"}
                for n in range(start, start + 1_000)
            ])  # fmt: skip
        write_until_analysed(client, url, "agents", "sessions")
        for _ in range(20):
            turn_pages()
    with psycopg.connect(url, autocommit=True) as connection:
        inserted = "SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname IN ('agents', 'sessions')"
        wait_for(connection, inserted, 2 * 3_001)
        row = connection.execute(
            "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = ANY(%(names)s))"
            " + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY(%(names)s))",
            {"names": ["agents", "sessions"]},
        ).fetchone()
        assert row is not None
        assert row[0] < 3_000  # each row once


def test_one_of_many_servers_supersedes_a_memory(clients: list[Memtrace]) -> None:
    first = clients[0].remember("a", "the first")
    start = threading.Barrier(SERVERS)

    def supersede(client: Memtrace) -> str | None:
        start.wait(PATIENCE)
        try:
            return client.add_memory(
                agent_id="a", content="newer", supersedes=first.id, on_duplicate="store"
            ).id
        except ConflictError as conflict:
            return conflict.code or ""

    with ThreadPoolExecutor(SERVERS) as threads:
        outcomes = Counter(threads.map(supersede, clients, timeout=PATIENCE))
    (stored,) = [memory.id for memory in clients[0].recall("a").memories]
    assert outcomes == {stored: 1, "already_superseded": SERVERS - 1}


def test_one_of_many_servers_registers_an_agent(clients: list[Memtrace]) -> None:
    start = threading.Barrier(SERVERS)

    def register(client: Memtrace) -> bool:
        start.wait(PATIENCE)
        try:
            client.register_agent(name="a")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(SERVERS) as threads:
        assert sum(threads.map(register, clients, timeout=PATIENCE)) == 1


def test_a_tail_does_not_pass_a_memory_that_is_committed_late(postgres_url: str) -> None:
    with (
        closing(open_store(postgres_url)) as slow,
        Memtrace(postgres_url) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        org = tenants.local_principal(slow).org
        client.remember("a", "earlier")
        start = client.tail_memories().next_cursor
        written, go_on = threading.Event(), threading.Event()
        late = threads.submit(slow.write, partial(_store_slowly, org=org, written=written, go_on=go_on))
        try:
            assert written.wait(PATIENCE)
            client.remember("a", "after it, and committed before it")
            page = client.tail_memories(cursor=start)
            assert page.memories == []
        finally:
            go_on.set()
        late.result(PATIENCE)
        page = client.tail_memories(cursor=page.next_cursor)
    assert [memory.content for memory in page.memories] == ["late", "after it, and committed before it"]


def _store_slowly(
    transaction: Transaction, *, org: int, written: threading.Event, go_on: threading.Event
) -> None:
    seq = transaction.next_seq(1)
    doc = {
        "id": "mem_00000000000000000000000000", "time": "2026-01-01T00:00:00Z", "org_id": "org_default",
        "agent_id": "a", "memory_type": "episodic", "event_type": "general", "content": "late",
    }  # fmt: skip
    memory = NewMemory(
        id=doc["id"], rest=json.dumps(doc),
        seq=seq, time=1, agent_id="a", session_id=None, memory_type="episodic",
        event_type="general",
        importance=None, created_at=1, expires_at=None, tags=(),
    )  # fmt: skip
    transaction.add_memories(org, [(b"late", memory)], 1)
    transaction.memories(org, [seq], Filter())  # writes the pending row
    written.set()
    go_on.wait(PATIENCE)


def test_both_stores_rank_alike(postgres_url: str, tmp_path: Path) -> None:
    subjects = [
        "the parcel",
        "a refund",
        "Anna's dog",
        "the deployment",
        "search",
        "パスワード",
        "café prices",
    ]
    verbs = ["is late", "was running", "failed again", "was paid in March 2025", "works?", "has two tests"]
    random_ = random.Random(7)  # noqa: S311 - the same memories each time
    with Memtrace(f"sqlite:///{tmp_path / 'memtrace.db'}") as sqlite, Memtrace(postgres_url) as postgres:
        sqlite.add_memories(
            {
                "agent_id": random_.choice("ab"),
                "content": " and ".join(
                    f"{random_.choice(subjects)} {random_.choice(verbs)}"
                    for _ in "123"[: random_.randint(1, 3)]
                ),
                "session_id": random_.choice(["s", "t", None]),
                "tags": random_.sample(["x", "y", "paid"], random_.randint(0, 2)),
                "metadata": {"speaker": random_.choice(["Anna", "Bob"]), "n": number},
            }
            for number in range(400)
        )
        postgres.import_(sqlite.export())
        for query in (
            "Is the parcel late?", "annas dogs run", '"was paid" refund -café', "deploiment faild",
            "パスワード", "what works in March 2025", "refund", "the", "-search", "cafe price Bob",
        ):  # fmt: skip
            for filters in (
                {},
                {"agent_id": "a"},
                {"session_id": "s"},
                {"tags": ["x"]},
                {"group_by": "session"},
            ):
                found = [
                    [(memory.id, memory.score) for memory in client.iter_search(query=query, **filters)]
                    for client in (sqlite, postgres)
                ]
                assert found[0] == found[1], (query, filters)


@pytest.fixture(scope="module")
def url_of_many(postgres_schemas: Schemas) -> Iterator[str]:
    """Return the URL of a store with common, rare and other words, unevenly distributed over time."""
    schema = postgres_schemas.take()
    seconds = 0
    memories: list[dict[str, Any]] = []
    for number in range(3_600):
        seconds += 0 if number % 7 == 0 else 3_600 if number % 1_000 == 0 else number % 5
        words = [
            f"n{number}",
            "half" * (number % 2),
            "tenth" * (number % 10 == 0),
            "early" * (number < 1_200),
        ]
        words += ["fiftieth" * (number % 50 == 3), "seldom" * (number % 700 == 5), "late" * (number > 3_000)]
        time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        memories.append(
            {"agent_id": "ab"[number % 2], "content": " ".join(filter(None, words)), "time": time}
        )
    with Memtrace(postgres_schemas.url_of(schema)) as client:
        for at in range(0, len(memories), 900):
            client.add_memories(memories[at : at + 900])
    yield postgres_schemas.url_of(schema)
    postgres_schemas.give_back(schema)


@pytest.fixture(scope="module")
def many(url_of_many: str) -> Iterator[Memtrace]:
    """Return a client of the store with many memories."""
    with Memtrace(url_of_many) as client:
        yield client


@pytest.mark.parametrize("is_much", [False, True], ids=["few", "much"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_matches_of_many_memories_are_in_order(
    many: Memtrace, order: Literal["asc", "desc"], monkeypatch: pytest.MonkeyPatch, *, is_much: bool
) -> None:
    if is_much:  # as if there were hundreds of thousands
        monkeypatch.setattr("memtrace_server.store.postgres.queries.FEW", 5)
        for module in ("queries", "windows"):
            monkeypatch.setattr(f"memtrace_server.store.postgres.{module}.NEAREST", 40)
    filters: list[dict[str, Any]] = [
        {}, {"agent_id": "b"}, {"since": "2026-01-01T00:50:00Z", "until": "2026-01-01T01:20:00Z"}
    ]  # fmt: skip
    for more in filters:
        passed = [(memory.id, memory.content or "") for memory in many.iter_memories(order=order, **more)]
        for word in ("half", "tenth", "early", "fiftieth", "seldom", "late", "n17", "never"):
            expected = [memory_id for memory_id, content in passed if word in content]
            found = many.iter_search(content_contains=word, order=order, page_size=150, **more)
            assert [memory.id for memory in found] == expected, (word, more)
            if word != "n17":  # with which others begin
                found = many.iter_search(query=word, order=order, page_size=70, **more)
                assert [memory.id for memory in found] == expected, (word, more)


def test_the_newest_of_many_with_one_word_are_ranked(many: Memtrace, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[tuple[int, dict[str, Any]]] = [
        (100, {"query": "half"}),
        (100, {"query": "tenth"}),
        (100, {"query": "early"}),
        (100, {"query": "late"}),
        (6, {"query": "seldom"}),
        (100, {"query": "half", "content_contains": "early"}),
        (48, {"query": "half", "content_contains": "99"}),
        (100, {"query": "tenth", "agent_id": "a"}),
    ]

    def ranked() -> list[list[object]]:
        return [[memory.id for memory in many.iter_search(page_size=30, **each)] for _, each in questions]

    expected = ranked()
    assert [len(each) for each in expected] == [number for number, _ in questions]
    monkeypatch.setattr("memtrace_server.store.postgres.ranked._COUNTED", 30)  # as if many more had it
    assert ranked() == expected


@pytest.mark.parametrize("join", ["nestloop", "hashjoin", "mergejoin"])
def test_the_newest_with_one_word_are_ranked_however_tables_are_joined(
    many: Memtrace, url_of_many: str, join: str
) -> None:
    others = {"nestloop", "hashjoin", "mergejoin"} - {join}
    options = "".join(f"%20-cenable_{other}%3Doff" for other in sorted(others))
    passed = [(memory.id, memory.content or "") for memory in many.iter_memories(order="desc")]
    with Memtrace(url_of_many + options) as client:
        for word in ("half", "tenth", "early", "late"):
            newest = [memory_id for memory_id, content in passed if word in content][:100]
            assert {memory.id for memory in client.iter_search(query=word)} == set(newest), word


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_superseded_memories_are_found_at_the_ends_of_many(
    postgres_url: str, order: Literal["asc", "desc"], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("queries", "windows"):
        monkeypatch.setattr(f"memtrace_server.store.postgres.{module}.NEAREST", 40)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with Memtrace(postgres_url) as client:
        ends = [
            client.add_memory(agent_id="a", content=f"plan {day}", tags=["plan"], time=start + timedelta(day))
            for day in (0, 100)
        ]
        client.add_memories(
            [
                {"agent_id": "a", "content": f"note {number}", "time": start + timedelta(1, number)}
                for number in range(90)
            ]
        )
        as_of = datetime.now(UTC)
        for end in ends:
            client.add_memory(
                agent_id="a", content=f"not {end.id}", tags=["plan"], supersedes=end.id,
                time=start + timedelta(1, 45),
            )  # fmt: skip
        wanted: list[dict[str, Any]] = [
            {"include_superseded": True},
            {"as_of": as_of},
            {"as_of": as_of, "since": start, "until": start + timedelta(101)},
        ]
        for more in wanted:
            expected = [
                memory.id for memory in client.iter_memories(agent_id="a", order=order, **more) if memory.tags
            ]
            assert {end.id for end in ends} <= set(expected)
            for size in (1, 100):
                found = client.iter_memories(agent_id="a", tags=["plan"], order=order, page_size=size, **more)
                assert [memory.id for memory in found] == expected, (more, size)


def test_memories_are_copied_between_stores(postgres_url: str, tmp_path: Path, command: Commands) -> None:
    first, last = f"sqlite:///{tmp_path / 'first.db'}", f"sqlite:///{tmp_path / 'last.db'}"
    with Memtrace(first) as client:
        session = client.create_session(agent_id="a", metadata={"k": 1})
        older = client.remember("a", "older", session_id=session.id, tags=["x"])
        client.add_memory(agent_id="a", content="newer", supersedes=older.id)
        client.register_agent(name="b", description="registered")
        exported = [*client.export()]
    for source, target in ((first, postgres_url), (postgres_url, last), (first, postgres_url)):
        command("copy", source, target)
    for url in (postgres_url, last):
        with Memtrace(url) as client:
            assert [*client.export()] == exported
        assert command("check", "--store", url) == "The store is consistent.\n"


def test_check_reports_inconsistent_rows(postgres_url: str, command: Commands) -> None:
    with Memtrace(postgres_url) as client:
        session = client.create_session(agent_id="a")
        first = client.remember(
            "a", "The user's dog runs", session_id=session.id, tags=["x"], metadata={"k": 1.5}
        )
        client.add_memory(agent_id="a", content="newer", supersedes=first.id)
        client.forget(client.remember("b", "forgotten", importance=0.9))
        client.update_session(session.id, status="closed")
    assert command("check", "--store", postgres_url) == "The store is consistent.\n"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE counts SET number = number + 1 WHERE kind = 'episodic' AND agent_id = 'a'")
        connection.execute("UPDATE memories SET words = ' cat ' WHERE superseded_by IS NOT NULL")
    said = command.fail("check", "--store", postgres_url)
    assert "the store is not consistent: 3 faults" in said
    assert "counter a episodic" in command.printed
    assert "the texts of memory" in command.printed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["backup", "a copy"], "--file='a copy' --dbname="),
        (["restore", "copy"], "pg_restore"),
        (["vacuum"], "VACUUM"),
    ],
    ids=["backup", "restore", "vacuum"],
)
def test_backup_and_vacuum_name_the_tools_of_postgresql(
    postgres_url: str, command: Commands, arguments: list[str], named: str
) -> None:
    assert named in command.fail(*arguments, "--store", postgres_url, code=1)


def test_missing_driver_is_an_error_that_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("memtrace_server.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match="postgres") as refused:
        open_store("postgresql://user:s3cret@host/db")
    assert "pip install 'memtrace-sdk[postgres]'" in str(refused.value)
    assert "s3cret" not in str(refused.value)
