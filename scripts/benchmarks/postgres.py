"""PostgreSQL: writing against pgbench with the same effects, and reading as the data grows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
from clusters import Cluster, find_binaries
from psycopg import sql

from benchmarks import data, flatness
from benchmarks.environments import Interpreter, Process
from benchmarks.load import WARM_UP, Load, apply
from benchmarks.pgbench import Pgbench
from benchmarks.report import Row, at_least, median, milliseconds
from benchmarks.server import KEY, Server
from memtrace import Memtrace
from memtrace_server import tenants, times
from memtrace_server.auth import Principal
from memtrace_server.core import Core
from memtrace_server.store import open_store
from memtrace_server.store.facts import session_of
from memtrace_server.store.pending import Pending
from memtrace_server.store.postgres.connecting import Connection
from memtrace_server.store.postgres.writing import memory_row, statements
from memtrace_server.store.records import NewMemory

_PEER = Path(__file__).with_name("postgres_peer.py")
_PEER_NEEDS = ["langgraph-checkpoint-postgres==3.2.0", "psycopg[binary]==3.3.9"]
_CLIENTS = 32
_COLUMNS = {
    "seq": "s", "agent_id": "a", "session_id": "ss", "memory_type": "mt", "event_type": "et", "time": "t",
    "importance": "i", "created_at": "c", "expires_at": "e", "lexemes": "l", "folded": "f", "words": "w",
    "doc": "d",
}  # fmt: skip


def measure(
    folder: Path, environments: Path, *, sizes: list[int], rounds: tuple[int, int], seconds: float
) -> list[Row]:
    """Measure on a new cluster, whose commits are durable.

    Args:
        folder: For files.
        environments: For environments, which stay.
        sizes: Numbers of memories, each of a store that is read.
        rounds: Of writing, and of reading.
        seconds: Of a round of writing.
    """
    binaries = find_binaries()
    if binaries is None:
        return [Row("PostgreSQL is not installed", "")]
    with Cluster(binaries, is_durable=True, shared_buffers="512MB") as cluster:
        files = [_build(cluster, size) for size in sizes]
        rows = _writing(cluster, folder, rounds[0], seconds)
        rows += _writing(cluster, folder, rounds[0], seconds, workers=2)
        rows += flatness.measure_files(files, rounds=rounds[1], has_medium=True)
        return rows + _beside_langgraph(cluster, environments, files[1], rounds[1])


def _writing(cluster: Cluster, folder: Path, rounds: int, seconds: float, *, workers: int = 1) -> list[Row]:
    """Measure writing over HTTP to some processes, which takes turns with pgbench."""
    pgbench = Pgbench(cluster, _schema(cluster, f"pgbench_{workers}"), _CLIENTS)
    rates: list[tuple[float, float]] = []
    costs: list[tuple[float, float, float]] = []
    url = _schema(cluster, f"ours_{workers}")
    with Server(folder, f"postgres-{workers}", store=url, workers=workers) as server:
        load = Load(url=server.url, key=KEY, seconds=seconds, writers=_CLIENTS)
        apply(load)
        for _ in range(rounds):
            before = cluster.cpu(), server.cpu()
            outcome = apply(load)
            of_database, of_server = cluster.cpu() - before[0], server.cpu() - before[1]
            writes = len(outcome.writes) * (1 + WARM_UP / seconds)
            other = pgbench.run(seconds)
            rates.append((outcome.rate, other.rate))
            costs.append((of_server / writes, of_database / writes, other.cost))
    rate, floor = (median(pair[n] for pair in rates) for n in (0, 1))
    of_server, of_database, of_pgbench = (median(each[n] for each in costs) for n in (0, 1, 2))
    return [
        at_least(
            f"{_CLIENTS} clients, single writes, --workers {workers}", f"{rate:,.0f}/s",
            f"pgbench, the same effects: {floor:,.0f}/s",
            median(one / other for one, other in rates), 0.75,
        ),
        Row(
            "CPU of such a write",
            f"server {milliseconds(of_server)}, PostgreSQL {milliseconds(of_database)}",
            f"pgbench and PostgreSQL: {milliseconds(of_pgbench)}",
            median(other / (one + more) for one, more, other in costs),
        ),
    ]  # fmt: skip


def _beside_langgraph(cluster: Cluster, environments: Path, file: data.File, rounds: int) -> list[Row]:
    """Measure the newest memories of an agent that has half of all, and lone writes, beside LangGraph's."""
    cluster.run("createdb", "--maintenance-db", cluster.url, "langgraph")
    folder = environments / f"peer-langgraph-postgres-{sys.implementation.cache_tag}"
    peer = Interpreter(folder, _PEER, _PEER_NEEDS)
    request = flatness.newest_of_agent()
    with (
        Process(peer, cluster.url_of("langgraph")) as theirs,
        closing(open_store(file.url)) as store,
        Memtrace(_schema(cluster, "lone")) as client,
    ):
        core = Core(store, local=Principal(data.ORG, tenants.DEFAULT_ORG, "reader"))
        theirs.ask(f"load {file.memories}")
        reads, writes = [], []
        for number in range(rounds):
            reads.append((_seconds(lambda: core.handle(request)), theirs.ask("read 1")))
            content = f"A memory of some hundred characters, as the others {number} {'word ' * 12}"
            writes.append((_seconds(partial(client.remember, "new", content)), theirs.ask("put 1")))
    (read, other_read), (write, other_write) = (
        [median(pair[n] for pair in pairs) for n in (0, 1)] for pairs in (reads, writes)
    )
    return [
        at_least(
            f"newest 100 of an agent, of {file.memories:,}", milliseconds(read),
            f"LangGraph's PostgresStore: {milliseconds(other_read)}", other_read / read, 10,
        ),
        Row(
            "a lone write, indexed", milliseconds(write),
            f"LangGraph's PostgresStore, which indexes no text: {milliseconds(other_write)}",
            other_write / write,
        ),
    ]  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _schema(cluster: Cluster, name: str) -> str:
    """Return the URL of a new store."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    return cluster.url_of("postgres", f"?options=-csearch_path%3D{name},public")


def _build(cluster: Cluster, memories: int) -> data.File:
    """Return a store with memories that are copied into its tables before its indexes are created."""
    url = _schema(cluster, f"memories_{memories}")
    step = data.SPAN // memories
    first = times.now() - data.SPAN
    with closing(open_store(url)) as store:
        for number in range(data.ORGS):
            tenants.create_org(store, f"tenant-{number}")
    with psycopg.connect(url, autocommit=True) as connection:
        indexes = connection.execute(
            "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = 'memories'::regclass AND NOT i.indisprimary"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        _copy(connection, data.rows(first, step, 0, memories), first + step * memories)
        connection.execute("SET maintenance_work_mem = '1GB'")
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")
    print(f"  {memories:,} memories are stored", flush=True)
    return data.File(url, memories, first + step * memories, step)


def _copy(connection: Connection, memories: Iterator[tuple[int, NewMemory]], now: int) -> None:
    """Copy memories into an empty store, and write the rows that follow from them."""
    pending = Pending()
    names = sql.SQL(", ").join(map(sql.Identifier, ("org", "place", *_COLUMNS)))
    with connection.cursor().copy(sql.SQL("COPY memories ({}) FROM STDIN").format(names)) as copy:
        for org, memory in memories:
            pending.count(org, memory, now)
            pending.touch(org, memory.agent_id, now)
            session = session_of(memory, now)
            if session is not None:
                pending.start(org, session)
            row = memory_row(org, memory, None)
            copy.write_row([org, row["s"], *(row[key] for key in _COLUMNS.values())])
    for statement in statements(pending, 0, 0):
        statement.run(connection)
