"""Several servers, some with several workers, on one PostgreSQL database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from helpers.postgres import Schemas
from live import LiveServer

from memtrace import APIConnectionError, AuthenticationError, ConflictError, Memtrace
from memtrace_server import tenants
from memtrace_server.store import open_store

MANY = 64
PATIENCE = 120.0


class Fleet:
    """Three servers on one database, the last two with two workers each."""

    def __init__(self, folder: Path, store: str) -> None:
        self.store = store
        self._folder = folder
        self._number = 0
        self._stack = ExitStack()
        self.servers = [self.start(workers) for workers in (1, 2, 2)]

    def start(self, workers: int) -> LiveServer:
        """Start another server."""
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        server = LiveServer(folder, "--store", self.store, "--workers", str(workers))
        return self._stack.enter_context(server)

    def create_key(self) -> tuple[str, str]:
        """Create an organisation, and return a key of it and the key's id."""
        with closing(open_store(self.store)) as store:
            org = tenants.create_org(store, f"org {len(tenants.list_orgs(store))}")
            key = tenants.create_key(store, org.id, "admin", "")
            return key, next(each.id for each in tenants.list_keys(store) if each.org_id == org.id)

    def close(self) -> None:
        """Stop all servers."""
        self._stack.close()


@pytest.fixture(scope="module")
def fleet(postgres_schemas: Schemas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Return the servers of all tests of this module."""
    schema = postgres_schemas.take()
    store = postgres_schemas.cluster.url_of("postgres", f"?options=-csearch_path%3D{schema},public")
    with closing(Fleet(tmp_path_factory.mktemp("fleet"), store)) as fleet:
        yield fleet
    postgres_schemas.give_back(schema)


@pytest.fixture
def clients(fleet: Fleet) -> Iterator[Sequence[Memtrace]]:
    """Return clients with one key, each of a different server."""
    key, _ = fleet.create_key()
    with ExitStack() as stack:
        yield [
            stack.enter_context(Memtrace(server.url, key, max_retries=0, timeout=PATIENCE))
            for server in fleet.servers
        ]


class Balanced(httpx.BaseTransport):
    """Send each request to the next server, like a load balancer."""

    def __init__(self, servers: Callable[[], Sequence[LiveServer]]) -> None:
        self._servers = servers
        self._transport = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._turn = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        servers = self._servers()
        self._turn += 1
        url = httpx.URL(servers[self._turn % len(servers)].url)
        request.url = request.url.copy_with(host=url.host, port=url.port)
        return self._transport.handle_request(request)


def contents(client: Memtrace) -> list[str]:
    return [memory.content for memory in client.iter_memories()]


def test_one_of_equal_writes_over_all_servers_is_stored(clients: Sequence[Memtrace]) -> None:
    for number in range(3):
        start = threading.Barrier(MANY)

        def store(
            client: Memtrace, start: threading.Barrier = start, said: str = f"said {number}"
        ) -> str | None:
            start.wait(PATIENCE)
            try:
                return client.add_memory(agent_id="a", content=said, on_duplicate="reject").id
            except ConflictError as conflict:
                return f"existing {conflict.existing_id}"

        with ThreadPoolExecutor(MANY) as threads:
            outcomes = Counter(threads.map(store, [clients[n % 3] for n in range(MANY)], timeout=PATIENCE))
        (stored,) = [memory_id for memory_id in outcomes if not str(memory_id).startswith("existing ")]
        assert outcomes == {stored: 1, f"existing {stored}": MANY - 1}
    assert len(contents(clients[0])) == 3


def test_a_revoked_key_stops_at_once_on_every_server(fleet: Fleet) -> None:
    key, key_id = fleet.create_key()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Memtrace(server.url, key)) for server in fleet.servers for _ in range(4)
        ]
        for client in clients:
            client.remember("a", "allowed")
        fleet.servers[0].run("key", "revoke", key_id, "--store", fleet.store)
        for client in clients:
            with pytest.raises(AuthenticationError):
                client.recall("a")
            with pytest.raises(AuthenticationError):
                client.remember("a", "refused")


def test_a_tail_through_one_server_sees_what_others_store(clients: Sequence[Memtrace]) -> None:
    start = clients[0].tail_memories().next_cursor
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(clients[0].tail_memories, cursor=start, wait=8)
        clients[1].remember("a", "through the second")
        assert [memory.content for memory in waiting.result(PATIENCE).memories] == ["through the second"]
    clients[2].remember("a", "through the third")
    page = clients[0].tail_memories(cursor=waiting.result().next_cursor, wait=8)
    assert [memory.content for memory in page.memories] == ["through the third"]


def test_killed_server_loses_no_acknowledged_write(fleet: Fleet) -> None:
    key, _ = fleet.create_key()
    doomed = fleet.start(1)
    outcomes: list[str] = []
    enough = threading.Event()

    def write(writer: int) -> None:
        with Memtrace(doomed.url, key, max_retries=0) as client, suppress(APIConnectionError):
            for number in range(10_000):
                client.remember("a", f"{writer} {number}")
                outcomes.append(f"{writer} {number}")
                if len(outcomes) > 100:
                    enough.set()

    with ThreadPoolExecutor(8) as threads:
        writing = [threads.submit(write, writer) for writer in range(8)]
        assert enough.wait(PATIENCE)
        doomed.kill()
        for each in writing:
            each.result(PATIENCE)
    with Memtrace(fleet.servers[1].url, key) as client:
        stored = contents(client)
    assert set(outcomes) <= set(stored)
    assert len(stored) == len(set(stored))
    assert len(set(stored) - set(outcomes)) <= 8


def test_a_rolling_restart_drops_no_request_of_a_client_that_retries(fleet: Fleet) -> None:
    key, _ = fleet.create_key()
    servers = [fleet.start(1), fleet.start(1)]
    stop = threading.Event()

    def write(writer: int) -> list[str]:
        outcomes: list[str] = []
        transport = Balanced(lambda: servers)
        with (
            httpx.Client(transport=transport) as http_client,
            Memtrace("http://balanced", key, http_client=http_client, max_retries=10) as client,
        ):
            while not stop.is_set():
                client.remember("a", f"{writer} {len(outcomes)}")
                outcomes.append(f"{writer} {len(outcomes)}")
        return outcomes

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write, writer) for writer in range(4)]
        for at in range(2):
            old = servers[at]
            servers[at] = fleet.start(1)
            old.__exit__(None, None, None)
        stop.set()
        outcomes = [said for each in writing for said in each.result(PATIENCE)]
    with Memtrace(fleet.servers[1].url, key) as client:
        assert sorted(contents(client)) == sorted(outcomes)
