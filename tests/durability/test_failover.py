"""Writes while the primary database is lost: with PostgreSQL's own programs, on loopback."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from attrs import define, field
from clusters import Cluster
from helpers.waiting import wait_until
from live import LiveServer

from memtrace import Memtrace, ServerError
from memtrace_server.store import open_store

PATIENCE = 120.0
DEADLINE = 5  # seconds; the server's --request-timeout
WRITERS = 8


@define
class Pair:
    """A primary and its synchronous standby."""

    primary: Cluster
    standby: Cluster

    @property
    def url(self) -> str:
        """Return the URL that leads to the current primary."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        login = f"memtrace:{self.primary.password}"
        return f"postgresql://{login}@{hosts}/postgres?target_session_attrs=read-write&connect_timeout=2"


@pytest.fixture
def pair(postgres_binaries: Path) -> Iterator[Pair]:
    """Return two clusters, whose commits are durable on both."""
    with (
        Cluster(postgres_binaries, is_durable=True, synchronous_standby_names="*") as primary,
        Cluster(postgres_binaries, is_durable=True, primary=primary) as standby,
    ):
        ends_at = time.monotonic() + PATIENCE
        with psycopg.connect(primary.url, autocommit=True) as connection:
            while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != ("sync",):
                assert time.monotonic() < ends_at
                connection.execute("SELECT pg_sleep(0.05)")
        yield Pair(primary, standby)


@define
class Outcomes:
    """The responses that writers got."""

    stored: set[str] = field(factory=set)
    unknown: set[str] = field(factory=set)
    refused: set[str] = field(factory=set)
    longest: float = 0.0


def write_on(server: LiveServer, stop: threading.Event, writer: int, outcomes: Outcomes) -> None:
    """Write until `stop` is set, without retrying, and without an Idempotency-Key."""
    number = 0
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as client:
        while not stop.is_set():
            number += 1
            said = f"{writer} {number}"
            started = time.monotonic()
            response = client.post("/api/v1/memories", json={"agent_id": "a", "content": said})
            outcomes.longest = max(outcomes.longest, time.monotonic() - started)
            if response.status_code == 201:
                outcomes.stored.add(said)
                continue
            assert response.status_code == 503, response.text
            code = response.json()["code"]
            assert code in {"outcome_unknown", "unavailable", "deadline_exceeded"}
            (outcomes.unknown if code == "outcome_unknown" else outcomes.refused).add(said)
            stop.wait(0.05)


def test_failover_loses_no_acknowledged_write(pair: Pair, tmp_path: Path) -> None:
    stop = threading.Event()
    outcomes = Outcomes()
    with (
        LiveServer(tmp_path, "--store", pair.url, "--request-timeout", str(DEADLINE)) as server,
        ThreadPoolExecutor(WRITERS + 1) as threads,
    ):
        try:
            writing = [threads.submit(write_on, server, stop, writer, outcomes) for writer in range(WRITERS)]
            wait_until(lambda: len(outcomes.stored) > 300)
            pair.primary.stop("immediate")
            with Memtrace(server.url, server.key, max_retries=1000, timeout=PATIENCE) as patient:
                retried = threads.submit(patient.remember, "b", "with a key, and retried")
                wait_until(lambda: len(outcomes.refused) > WRITERS)
                pair.standby.promote()
                before = len(outcomes.stored)
                wait_until(lambda: len(outcomes.stored) > before + 100)
                retried.result(PATIENCE)
        finally:
            stop.set()
        for each in writing:
            each.result(PATIENCE)
        with Memtrace(server.url, server.key) as client:
            stored = [memory.content for memory in client.iter_memories(agent_id="a")]
            again = [memory.content for memory in client.iter_memories(agent_id="b")]
    assert again == ["with a key, and retried"]
    assert len(stored) == len(set(stored))
    assert outcomes.stored <= set(stored)
    assert not outcomes.refused & set(stored)
    assert set(stored) <= outcomes.stored | outcomes.unknown
    assert outcomes.longest < 10 * DEADLINE
    assert "SELECT" not in "".join(server.log)
    assert pair.primary.password not in "".join(server.log)


def test_no_request_outlasts_its_deadline_when_the_database_hangs(
    postgres_binaries: Path, tmp_path: Path
) -> None:
    with (
        Cluster(postgres_binaries) as cluster,
        LiveServer(tmp_path, "--store", cluster.url, "--request-timeout", str(DEADLINE)) as server,
        Memtrace(server.url, server.key, max_retries=0, timeout=PATIENCE) as client,
        closing(open_store(cluster.url)) as hanging,
    ):
        client.remember("a", "before")
        cluster.signal(signal.SIGSTOP)
        try:
            # Called on the event loop: a query to the database would never return.
            version = hanging.version()
            assert hanging.version() >= version
            with ThreadPoolExecutor(4) as threads:
                calls = [threads.submit(client.remember, "a", f"meanwhile {n}") for n in range(2)]
                calls += [threads.submit(client.recall, "a") for _ in range(2)]  # type: ignore[arg-type]
                for each in calls:
                    with pytest.raises(ServerError) as failed:
                        each.result(10 * DEADLINE)
                    assert failed.value.status_code == 503
        finally:
            cluster.signal(signal.SIGCONT)
        with suppress(ServerError):  # a lost connection is noticed now
            client.recall("a")
        client.remember("a", "after")
        assert "after" in {memory.content for memory in client.iter_memories()}
