"""PostgreSQL's tables can be sharded by organisation: each query of a request stays within one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
from clusters import Cluster
from helpers.postgres import Statements
from psycopg import sql
from server.writers import together

from memtrace import ConflictError, Memtrace
from memtrace_server import tenants
from memtrace_server.store import open_store
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Wants
from memtrace_server.transport import EmbeddedTransport

PARTITIONS = 4
SHARED = {
    "audit",
    "keys",
    "migrations",
    "orgs",
    "places",
    "secrets",
}  # small: reference tables of a distributed database


@pytest.fixture
def sharded_url(make_postgres_url: Callable[[], str], postgres_cluster: Cluster) -> Iterator[str]:
    """Return a store with the same tables, partitioned by the organisation."""
    whole = make_postgres_url()
    with Memtrace(whole) as client:
        client.remember("a", "so that there are tables")
    found = re.search(r"search_path%3D(\w+)", whole)
    assert found
    name, shards = found[1], f"{found[1]}_shards"
    with psycopg.connect(postgres_cluster.url, autocommit=True) as connection:

        def run(text: str, *names: str) -> None:
            connection.execute(sql.SQL(text).format(*map(sql.Identifier, names)))

        run("CREATE SCHEMA {}", shards)
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", [name]
        ).fetchall()
        for (table,) in tables:
            if table in SHARED:
                run("CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)", shards, table, name, table)
                continue
            run(
                "CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL) PARTITION BY HASH (org)",
                shards,
                table,
                name,
                table,
            )
            for number in range(PARTITIONS):
                run(
                    f"CREATE TABLE {{}}.{{}} PARTITION OF {{}}.{{}}"
                    f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})",
                    shards, f"{table}_shard{number}", shards, table,
                )  # fmt: skip
        for table in ("migrations", "places", "secrets"):
            run("INSERT INTO {}.{} SELECT * FROM {}.{}", shards, table, name, table)
        yield whole.replace(name, shards)
        run("DROP SCHEMA {} CASCADE", shards)


def use_everything(client: Memtrace) -> None:
    """Send requests for all operations of a store."""
    session = client.create_session(agent_id="a", metadata={"k": 1})
    said: dict[str, Any] = {
        "agent_id": "a",
        "session_id": session.id,
        "tags": ["x"],
        "metadata": {"k": 1},
        "importance": 0.9,
    }
    first = client.add_memory(
        content="Where do the quick brown foxes run?", on_duplicate="reject", idempotency_key="one", **said
    )
    client.add_memory(
        content="Where do the quick brown foxes run?", on_duplicate="reject", idempotency_key="one", **said
    )
    with pytest.raises(ConflictError):
        client.add_memory(content="Where do the quick brown foxes run?", on_duplicate="reject", **said)
    newer = client.add_memory(content="They run home", supersedes=first.id, **said)
    client.add_memory(agent_id="b", content="An error", event_type="error", time="2030-01-01T00:00:00Z")
    for wanted in (
        {"query": "quick foxes"}, {"query": '"brown foxes" -cat', "agent_id": "a"}, {"query": "foxs runn"},
        {"content_contains": "brown"}, {"metadata": {"k": 1}}, {"tags": ["x"], "include_superseded": True},
        {"query": "foxes", "session_id": session.id, "since": "1h", "group_by": "session"},
        {"query": "foxes", "as_of": "2040-01-01T00:00:00Z"}, {"event_types": ["error"]},
        {"min_importance": 0.8, "order": "asc"}, {"query": "foxes", "order": "asc"},
    ):  # fmt: skip
        client.search_memories(**wanted)
    for filters in (
        {}, {"agent_id": "a"}, {"session_id": session.id}, {"event_type": "error", "agent_id": "b"},
        {"as_of": "2040-01-01T00:00:00Z"}, {"include_superseded": True}, {"order": "asc", "offset": 1},
    ):  # fmt: skip
        list(client.iter_memories(page_size=1, **filters))
    client.get_memory(str(newer.id))
    client.get_agent_context("a", query="foxes")
    client.get_session_context(session.id)
    client.register_agent(name="a", description="x")
    client.get_agent("a")
    client.get_agent_stats("a")
    client.list_agents()
    client.list_sessions(agent_id="a", status="active")
    client.get_session_memories(session.id)
    client.update_session(session.id, metadata={"more": True}, status="closed")
    page = client.tail_memories(start="beginning", limit=1)
    client.tail_memories(cursor=page.next_cursor)
    client.tail_memories(start="beginning", agent_id="a")
    exported = [*client.export()]
    client.forget(newer)
    client.forget_all(agent_id="b")
    client.delete_session(session.id, delete_memories=True)
    client.delete_agent("a", delete_memories=True)
    for record in exported:
        client.import_([record])


def partitions(plan: Any) -> Iterator[str]:
    """Return the tables and partitions that a plan reads."""
    if isinstance(plan, list):
        for each in plan:
            yield from partitions(each)
    elif isinstance(plan, dict):
        name = plan.get("Relation Name")
        if (
            name is not None and plan.get("Node Type", "ModifyTable") != "ModifyTable"
        ):  # names the parent table
            yield name
        for value in plan.values():
            if isinstance(value, dict | list):
                yield from partitions(value)


@pytest.mark.parametrize("is_much", [False, True], ids=["few", "much"])
def test_each_statement_of_a_request_stays_in_one_partition(
    sharded_url: str, statements: Statements, monkeypatch: pytest.MonkeyPatch, *, is_much: bool
) -> None:
    if is_much:  # as if there were millions
        for name in ("queries.FEW", "queries.NEAREST", "windows.NEAREST"):
            monkeypatch.setattr(f"memtrace_server.store.postgres.{name}", 1)
        for name in ("_COUNTED", "_RARE"):
            monkeypatch.setattr(f"memtrace_server.store.postgres.ranked.{name}", 0)
    with Memtrace(sharded_url) as client:
        client.remember("first", "so that the store is open")
        statements.seen.clear()
        use_everything(client)
    swept = (
        "FOR UPDATE SKIP LOCKED",
        "pg_current_snapshot()::text",
    )  # in the background, for all
    reached = {
        text.removeprefix("EXPLAIN (FORMAT JSON) "): values
        for text, values in statements.seen.items()
        if not any(s in text for s in swept)
    }
    assert len(reached) > 50
    wrong: list[str] = []
    several = 0
    with psycopg.connect(sharded_url, cursor_factory=psycopg.ClientCursor) as connection:
        for text, values in reached.items():
            (plan,) = connection.execute(f"EXPLAIN (FORMAT JSON) {text}".encode(), values).fetchone() or ((),)
            connection.rollback()
            read = set(partitions(plan))
            shards = {name.rpartition("_shard")[2] for name in read if "_shard" in name}
            if len(shards) > 1:
                wrong.append(f"{sorted(read)}: {text}")
            several += len(shards) == 1
    assert wrong == []
    assert several > 40
    for text in ("FILTER (WHERE lexemes", "ORDER BY seq DESC OFFSET", "count(*) FROM (SELECT 1"):
        assert any(text in each for each in reached) == is_much, text


def test_every_unique_index_begins_with_the_organisation(sharded_url: str) -> None:
    with psycopg.connect(sharded_url) as connection:
        found = connection.execute(
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            " WHERE i.indisunique AND c.relnamespace = current_schema()::regnamespace AND c.relkind = 'p'"
        ).fetchall()
        foreign = connection.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            " AND connamespace = current_schema()::regnamespace"
        ).fetchall()
    assert len(found) >= 7
    assert {column for _, column in found} == {"org"}
    assert {table for (table,) in foreign} <= SHARED


def test_a_group_of_writes_is_cut_by_organisation(sharded_url: str) -> None:
    seen: list[list[int]] = []
    with closing(open_store(sharded_url)) as store:
        orgs = [tenants.create_org(store, f"org {number}").number for number in range(2)]
        transactions: dict[int, list[int]] = {}

        def work(transaction: Transaction, org: int) -> None:
            transactions.setdefault(id(transaction), []).append(org)
            seen.append([org])

        works = [orgs[number % 2] for number in range(6)]
        done = together(
            store, [partial(work, org=org) for org in works], [partial(Wants, org=org) for org in works]
        )
        assert [failure for _, failure in done] == [None] * 6
    assert [org for (org,) in seen] == [*[orgs[0]] * 3, *[orgs[1]] * 3]


def test_organisations_with_the_same_ids_do_not_see_each_other(sharded_url: str) -> None:
    with closing(open_store(sharded_url)) as store:
        for name in ("one", "two"):
            tenants.create_org(store, name)
    with ExitStack() as stack:
        clients: list[Memtrace] = []
        for org in ("one", "two"):
            transport = EmbeddedTransport(sharded_url, org)
            http_client = stack.enter_context(httpx.Client(transport=transport))
            clients.append(stack.enter_context(Memtrace("http://embedded", http_client=http_client)))
        for client, said in zip(clients, ("mine", "yours"), strict=True):
            client.add_memory(agent_id="a", content=said, session_id="s", tags=["x"], idempotency_key="k")
        for client, said in zip(clients, ("mine", "yours"), strict=True):
            assert [memory.content for memory in client.recall("a").memories] == [said]
            assert [memory.content for memory in client.search_memories(tags=["x"]).results] == [said]
            assert client.get_agent_stats("a").memory_count == 1
