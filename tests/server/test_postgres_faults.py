"""What becomes of requests when PostgreSQL, or the way to it, fails half way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Self

import psycopg
import pytest
from clusters import Cluster
from psycopg import sql

from memtrace import Memtrace
from memtrace_server import tenants, times
from memtrace_server.deadlines import Deadline
from memtrace_server.store import open_store
from memtrace_server.store.protocol import OutcomeUnknown, Transaction
from memtrace_server.store.records import Answer

PATIENCE = 60.0
_COMMITTED = b"COMMIT\0"  # the tag of a commit that is done


class Proxy:
    """Passes bytes to a cluster, and cuts both sides when the answer to a commit comes back, if it is to.

    Attributes:
        is_cutting: Whether it is to.
    """

    def __init__(self, port: int) -> None:
        self.is_cutting = False
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)

    @property
    def port(self) -> int:
        """The port at which it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
                server = socket.create_connection(("127.0.0.1", self._to))
                self._open += [stack.enter_context(client), stack.enter_context(server)]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()
            self.cut()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.is_cutting and _COMMITTED in data:
                    self.cut()
                    return
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres_cluster: Cluster) -> Iterator[Proxy]:
    """What lies between a store and its database."""
    with Proxy(postgres_cluster.port) as proxy:
        yield proxy


def keep(transaction: Transaction, *, org: int, key: str) -> str:
    """Keep an answer, or tell that there is one."""
    if transaction.answer(org, key, 0) is not None:
        return "replayed"
    transaction.keep_answer(org, key, Answer(request=b"r", status=201), times.now())
    return "kept"


def test_a_lost_commit_leaves_replays_of_its_group_unknown(
    postgres_url: str, postgres_cluster: Cluster, proxy: Proxy
) -> None:
    through = postgres_url.replace(f":{postgres_cluster.port}/", f":{proxy.port}/")
    with closing(open_store(through)) as store:
        org = tenants.local_principal(store).org
        store.write(partial(keep, org=org, key="earlier"))
        proxy.is_cutting = True
        works = [partial(keep, org=org, key=key) for key in ("earlier", "new", "new", "earlier")]
        outcomes = store.submit(works).result(PATIENCE)
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


def test_a_tail_goes_on_after_a_crash_that_gives_numbers_again(postgres_binaries: Path) -> None:
    with Cluster(postgres_binaries, is_durable=True, wal_writer_delay="10s") as cluster:
        with (
            Memtrace(cluster.url) as client,
            psycopg.connect(cluster.url, autocommit=True) as connection,
        ):
            client.remember("a", "before")
            for _ in range(20):  # numbers of which nothing is durable
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
