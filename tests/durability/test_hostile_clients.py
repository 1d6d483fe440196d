"""Clients that stall, drip, vanish or never listen, and a full disk: nobody else is hurt, nothing is lost."""

from __future__ import annotations

import resource
import select
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess
from durability.sockets import PATIENCE, answer, connect, post
from durability.store_audit import assert_whole
from live import LiveServer

from memtrace_server.store.sqlite import store as sqlite_store

CLIENT_TIMEOUT = 3  # seconds
MANY = 30
AT_EASE = 5.0  # seconds; what others' requests take, and far from the server's and our patience


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that loses its patience soon."""
    arguments = ("--client-timeout", str(CLIENT_TIMEOUT))
    with LiveServer(tmp_path_factory.mktemp("hostile"), *arguments) as server:
        yield server
    assert server.returncode == 0
    assert "Traceback" not in "".join(server.log)


@pytest.fixture
def others(server: LiveServer) -> Iterator[Others]:
    """The clients that must not be hurt."""
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=AT_EASE) as client:
        yield Others(client)


@frozen
class Others:
    """Clients that behave."""

    client: httpx.Client

    def assert_served(self, number: int = 20) -> None:
        """Write and read, each within a short time."""
        for _ in range(number):
            content = f"polite {time.monotonic_ns()}"
            stored = self.client.post(MEMORIES, json={"agent_id": "polite", "content": content})
            assert stored.status_code == 201, stored.text
            assert self.contents("polite", limit=1) == [content]
        assert self.client.post("/api/v1/search", json={"query": "polite", "limit": 1}).status_code == 200

    def contents(self, agent_id: str, limit: int = 1000) -> list[str]:
        """What an agent remembers, newest first."""
        response = self.client.get(MEMORIES, params={"agent_id": agent_id, "limit": limit})
        assert response.status_code == 200, response.text
        return [memory["content"] for memory in response.json()["memories"]]


def test_who_sends_a_part_and_stalls_hurts_nobody(server: LiveServer, others: Others) -> None:
    request = _request(server, "staller", "a part")
    head = request.index(b"\r\n\r\n") + 4
    cuts = [head // 2, head - 1, head, (head + len(request)) // 2, len(request) - 1]
    with ExitStack() as stack:
        stalled = [(cut, stack.enter_context(connect(server.url))) for cut in cuts * (MANY // len(cuts))]
        for cut, connection in stalled:
            connection.sendall(request[:cut])

        others.assert_served()

        for cut, connection in stalled:
            if cut < head:
                assert connection.recv(1) == b""  # the server hangs up
            else:
                assert answer(connection).status == 408
    assert others.contents("staller") == []


def test_who_sends_a_byte_at_a_time_hurts_nobody(server: LiveServer, others: Others) -> None:
    request = _request(server, "dripper", "drop by drop")
    with connect(server.url) as connection, ThreadPoolExecutor(1) as threads:
        is_over = threading.Event()

        def drip() -> int:
            for sent, byte in enumerate(request):
                if is_over.wait(0.2) or select.select([connection], [], [], 0)[0]:
                    return sent
                connection.sendall(bytes([byte]))
            return len(request)

        dripping = threads.submit(drip)
        others.assert_served()
        assert connection.recv(1) == b""
        is_over.set()
        assert dripping.result(PATIENCE) < len(request)
    assert others.contents("dripper") == []


def test_who_is_slow_but_in_time_is_served(server: LiveServer, others: Others) -> None:
    request = _request(server, "slow", "in three parts")
    with connect(server.url) as connection:
        for part in (request[:-20], request[-20:-10], request[-10:]):
            others.assert_served(1)
            connection.sendall(part)
        assert answer(connection).status == 201
    assert others.contents("slow") == ["in three parts"]


@pytest.mark.parametrize("sent", [0.3, 0.9, 1.0])
def test_who_vanishes_leaves_all_of_a_request_or_nothing(
    server: LiveServer, others: Others, sent: float
) -> None:
    agent = f"vanisher_{sent}"
    sizes = dict.fromkeys(map(str, range(MANY)), 5)
    for number, size in sizes.items():
        memories = [{"agent_id": agent, "content": f"{number} {n}"} for n in range(size)]
        request = post(MEMORIES, server.key, msgspec.json.encode({"memories": memories}))
        with connect(server.url) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            connection.sendall(request[: int(len(request) * sent)])

    others.assert_served()

    stored = [content.split()[0] for content in others.contents(agent)]
    assert {stored.count(number) for number in sizes} <= ({0, 5} if sent == 1 else {0})


def test_who_never_listens_hurts_nobody(server: LiveServer, others: Others) -> None:
    large = [{"agent_id": "large", "content": f"{n} " + "x" * 20_000} for n in range(100)]
    assert others.client.post(MEMORIES, json={"memories": large}).status_code == 201
    lines = [f"GET {MEMORIES}?agent_id=large HTTP/1.1", "Host: test", f"x-api-key: {server.key}", "", ""]
    with ExitStack() as stack:
        for _ in range(MANY):
            connection = stack.enter_context(connect(server.url))
            connection.sendall("\r\n".join(lines).encode() * 3)

        others.assert_served()


def test_idle_connections_hurt_nobody(server: LiveServer, others: Others) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server.url)) for _ in range(200)]

        others.assert_served()

        for connection in idle:
            assert connection.recv(1) == b""  # none may stay for ever
    others.assert_served()


def test_who_stalls_does_not_keep_the_server_from_its_end(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--client-timeout", "1") as server, connect(server.url) as connection:
        connection.sendall(_request(server, "staller", "for ever")[:-1])
        with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
            stored = client.post(MEMORIES, json={"agent_id": "a", "content": "kept"})
            assert stored.status_code == 201
    assert server.returncode == 0
    assert [row.doc for row in assert_whole(tmp_path / "memtrace.db")] == [stored.json()]


@frozen
class Disk:
    """A disk that can be full.

    Attributes:
        server: Which keeps its file there.
        make_room: Lets it have room again.
        file: The server's file.
    """

    server: LiveServer
    fill: Callable[[], None]
    make_room: Callable[[], None]
    file: Path


@contextmanager
def _real_disk(folder: Path) -> Iterator[Disk]:
    """A small disk of its own, in a namespace of its own, which ends with the server."""
    mount = 'mount -t tmpfs -o size=8m tmpfs "$0" && cd "$0" && exec "$@"'
    namespace = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(folder))
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("no disk can be made here")
    with LiveServer(folder, memtrace=(*namespace, sys.executable, "-m", "memtrace_server")) as server:
        inside = Path(f"/proc/{server.pid}/root{folder}")
        ballast = inside / "ballast"

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass

        yield Disk(server, fill, ballast.unlink, inside / "memtrace.db")


@contextmanager
def _limited_files(folder: Path) -> Iterator[Disk]:
    """No file of the server may grow."""
    with LiveServer(folder) as server:
        file = folder / "memtrace.db"
        _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)

        def fill() -> None:
            size = Path(f"{file}-wal").stat().st_size
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, most))

        def make_room() -> None:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))

        yield Disk(server, fill, make_room, file)


def test_searches_that_wait_for_another_process_hurt_no_reader(server: LiveServer, others: Others) -> None:
    def search() -> int:
        with httpx.Client(headers={"x-api-key": server.key}, timeout=PATIENCE) as client:
            found = client.post(f"{server.url}/api/v1/search", json={"query": "unindexed"})
            return int(found.json()["count"])

    with closing(sqlite3.connect(server.store_url.removeprefix("sqlite:///"))) as another_process:
        assert others.client.post(MEMORIES, json={"agent_id": "a", "content": "unindexed"}).status_code == 201
        another_process.execute("BEGIN IMMEDIATE")  # as `memtrace vacuum` does, and an import
        with ThreadPoolExecutor(MANY) as threads:
            searches = [threads.submit(search) for _ in range(MANY)]
            try:
                for _ in range(20):
                    assert others.client.get(MEMORIES, params={"agent_id": "a"}).status_code == 200
            finally:
                another_process.execute("ROLLBACK")
            assert [found.result(PATIENCE) for found in searches] == [1] * MANY


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces and limits")
@pytest.mark.parametrize("make_disk", [_real_disk, _limited_files])
def test_a_full_disk_refuses_writes_and_loses_nothing(
    tmp_path: Path, make_disk: Callable[[Path], AbstractContextManager[Disk]]
) -> None:
    with make_disk(tmp_path) as disk, ExitStack() as stack:
        server = disk.server
        client = stack.enter_context(
            httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE)
        )
        stored: dict[str, dict[str, object]] = {}
        lost: list[tuple[str, bytes]] = []

        def write(writer: int) -> None:
            """Write until the disk is full."""
            for number in range(10_000):
                contents = [f"{writer} {number} {n} " + "full " * 50 for n in range(1 + number % 3 * 5)]
                memories = [{"agent_id": f"agent_{writer}", "content": content} for content in contents]
                body = msgspec.json.encode({"memories": memories} if len(memories) > 1 else memories[0])
                key = f"{writer} {number}".replace(" ", "-")
                response = _send(client, key, body)
                if response.status_code == 503:
                    assert response.json()["code"] == "unavailable"
                    assert int(response.headers["Retry-After"]) > 0
                    lost.append((key, body))
                    return
                assert response.status_code == 201, response.text
                answer = response.json()
                stored.update({m["content"]: m for m in answer.get("memories", [answer])})
                if writer == 0 and number == 20:
                    disk.fill()

        with ThreadPoolExecutor(4) as threads:
            for writer in [threads.submit(write, number) for number in range(4)]:
                writer.result(PATIENCE)

        assert len(lost) == 4
        assert _all(client) == stored
        assert client.get("/health").status_code == 200
        first = next(iter(stored.values()))
        assert client.get(f"{MEMORIES}/{first['id']}").json() == first
        found = client.post("/api/v1/search", json={"query": "full", "limit": 1000, "order": "asc"})
        assert found.status_code == 200
        assert found.json()["count"] == min(len(stored), 1000)
        refused = client.delete(f"{MEMORIES}/{first['id']}")
        assert refused.status_code in {204, 503}
        if refused.status_code == 204:
            del stored[str(first["content"])]

        disk.make_room()

        for key, body in lost:
            response = _send(client, key, body)
            assert response.status_code == 201, response.text
            answer = response.json()
            stored.update({m["content"]: m for m in answer.get("memories", [answer])})
            assert _send(client, key, body).content == response.content
        assert _all(client) == stored
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{disk.file}{suffix}", tmp_path / f"copy.db{suffix}")
    rows = assert_whole(tmp_path / "copy.db")
    assert {row.doc["content"]: row.doc for row in rows} == stored


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_what_is_committed_is_acknowledged_though_the_log_cannot_be_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_LONGEST_WAL", 0)
    contents = [f"when full {n} " + "x" * 2_000 for n in range(50)]
    with InProcess(tmp_path / "memtrace.db") as server:
        tenant = server.tenant()
        assert tenant.add(content="before").status == 201
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "memtrace.db").stat().st_size, limits[1]))
        try:
            statuses = {content: tenant.add(content=content).status for content in contents}
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        stored = {memory["content"] for memory in tenant.memories()}

        assert statuses == {content: (201 if content in stored else 503) for content in contents}
        assert 503 in statuses.values()
        assert tenant.add(content="after").status == 201


def _send(client: httpx.Client, key: str, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return client.post(MEMORIES, content=body, headers=headers)


def _all(client: httpx.Client) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    query: dict[str, str] = {"limit": "1000"}
    while True:
        response = client.get(MEMORIES, params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        assert not found.keys() & {memory["content"] for memory in page["memories"]}
        found |= {memory["content"]: memory for memory in page["memories"]}
        if not page["has_more"]:
            return found
        query["cursor"] = page["next_cursor"]


def _request(server: LiveServer, agent_id: str, content: str) -> bytes:
    return post(MEMORIES, server.key, msgspec.json.encode({"agent_id": agent_id, "content": content}))
