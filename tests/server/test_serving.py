"""`memtrace serve` as a process: its log, its end, and several workers."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define, field
from durability.sockets import connect, read_response
from helpers.workers import connect_to_each
from live import LiveServer

from memtrace import Memtrace

MEMORIES = "/api/v1/memories"
WRONG_KEY = "mtk_" + "7" * 64
SECRET = "xyzzy-secret"  # must never be in a log


@define
class Finished:
    """A server that has ended, and its requests.

    Attributes:
        log: The lines of its log.
        requests: Each request's method, raw path, status and X-Request-Id.
    """

    server: LiveServer
    log: list[str] = field(factory=list)
    requests: list[tuple[str, str, int, str]] = field(factory=list)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run a server with requests that succeed, that fail, and that have a secret in them, to its end."""
    with LiveServer(tmp_path_factory.mktemp("serving")) as server:
        done = Finished(server)
        with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
            memory = {"agent_id": "a", "content": SECRET, "tags": [SECRET], "metadata": {"x": SECRET}}
            requests: list[tuple[str, str, dict[str, Any]]] = [
                ("GET", "/health", {}),
                ("GET", "/ready", {}),
                ("POST", MEMORIES, {"json": memory}),
                ("POST", MEMORIES, {"json": memory}),
                ("POST", MEMORIES, {"json": {"content": SECRET}}),
                ("POST", MEMORIES, {"content": SECRET.encode()}),
                ("GET", f"{MEMORIES}?tags={SECRET}", {}),
                ("POST", "/api/v1/search", {"json": {"query": SECRET}}),
                ("GET", "/api/v1/agents/nobody", {}),
                ("GET", "/api/v1/agents/a%2Fb", {}),
                ("GET", MEMORIES, {"headers": {"x-api-key": WRONG_KEY}}),
                ("GET", MEMORIES, {"headers": {"x-api-key": "", "authorization": f"Bearer {WRONG_KEY}"}}),
                ("PATCH", MEMORIES, {}),
                ("HEAD", MEMORIES, {}),
                ("DELETE", f"{MEMORIES}?agent_id=a", {}),
                ("GET", "/nowhere", {}),
            ]
            for method, path, arguments in requests:
                arguments.setdefault("headers", {})["content-type"] = "application/json"
                response = client.request(method, path, **arguments)
                request_id = response.headers["x-request-id"]
                done.requests.append((method, path.partition("?")[0], response.status_code, request_id))
    done.log = server.log
    return done


def requests_in(log: list[str]) -> Iterator[dict[str, Any]]:
    for line in log:
        if '"request_id"' in line:
            yield json.loads(line)


def test_each_request_is_one_json_line_with_its_request_id(finished: Finished) -> None:
    lines = list(requests_in(finished.log))

    logged = [(line["method"], line["path"], line["status"], line["request_id"]) for line in lines]
    assert logged == finished.requests
    assert len({line["request_id"] for line in lines}) == len(lines)
    for line in lines:
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
        expected = "warning" if line["status"] == 401 else "info"
        assert (line["level"], line["message"]) == (expected, "request")
        assert line["duration_ms"] >= 0
        assert re.fullmatch("req_[0-9A-Z]{26}", line["request_id"])
    operations = {line["path"]: line["operation"] for line in lines if line["method"] == "GET"}
    assert operations["/health"] == "getHealth"
    assert operations["/api/v1/agents/nobody"] == "getAgent"
    assert operations["/nowhere"] is None


def test_the_log_of_a_server_without_a_terminal_is_json(finished: Finished) -> None:
    assert {json.loads(line)["level"] for line in finished.log} <= {"info", "warning"}


def test_log_has_no_key_and_no_content(finished: Finished) -> None:
    log = "".join(finished.log)

    for secret in (finished.server.key, finished.server.key[4:], WRONG_KEY, WRONG_KEY[4:], SECRET):
        assert secret not in log


def test_stopped_server_exits_with_0_and_leaves_one_consistent_file(finished: Finished) -> None:
    assert finished.server.returncode == 0
    file = Path(finished.server.store_url[10:])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_sigterm_under_concurrent_writes_loses_no_acknowledged_write(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()
    stopped: list[str] = []

    def write(name: str, server: LiveServer) -> None:
        headers = {"x-api-key": server.key}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30.0) as client:
            for n in range(100_000):
                memory = {"agent_id": name, "content": f"Item {n}"}
                try:
                    response = client.post(MEMORIES, json=memory)
                except httpx.TransportError:  # the server has ended
                    stopped.append(name)
                    return
                if response.status_code == 503:
                    stopped.append(name)
                    return
                assert response.status_code == 201
                acknowledged.append(response.json()["id"])
                if len(acknowledged) >= 200:
                    enough.set()

    with ThreadPoolExecutor(8) as threads:
        with LiveServer(tmp_path) as server:
            writing = [threads.submit(write, f"agent_{n}", server) for n in range(8)]
            assert enough.wait(60)
        for each in writing:
            each.result()

    assert server.returncode == 0, "".join(server.log)[-2_000:]
    assert len(stopped) == 8
    with closing(sqlite3.connect(server.store_url[10:])) as database:
        stored = {f"mem_{ulid}" for (ulid,) in database.execute("SELECT ulid FROM memories")}
    assert set(acknowledged) <= stored
    assert len(stored) - len(acknowledged) <= 8  # committed, while the response was lost with its connection
    assert not any('"traceback"' in line for line in server.log)


def test_request_begun_before_sigterm_gets_a_response(tmp_path: Path) -> None:
    body = b'{"agent_id": "a", "content": "Finished"}'
    with LiveServer(tmp_path) as server, connect(server.url) as connection:
        head = (
            f"POST {MEMORIES} HTTP/1.1\r\nHost: x\r\nx-api-key: {server.key}\r\nExpect: 100-continue\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the server has begun the request
        ending = threading.Thread(target=server.__exit__, args=(None, None, None))
        ending.start()
        while ending.is_alive() and listens(server.url):
            pass
        connection.sendall(body)
        assert read_response(connection).status == 201
        ending.join(60)
        assert server.returncode == 0


def listens(url: str) -> bool:
    try:
        connect(url).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # it was in the queue that was just closed
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_two_workers_serve_one_file_and_stay_consistent(tmp_path: Path) -> None:
    # A worker that is busy for long closes no connection: its clients would reconnect to any worker.
    arguments = ("--workers", "2", "--client-timeout", "600")
    with LiveServer(tmp_path, *arguments) as server, ExitStack() as stack:

        def connect() -> list[httpx.Client]:
            headers = {"x-api-key": server.key}
            limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
            clients = [
                httpx.Client(base_url=server.url, headers=headers, limits=limits, timeout=60.0)
                for _ in range(4)
            ]
            for client in clients:
                assert stack.enter_context(client).get("/health").status_code == 200
            return clients

        by_worker = connect_to_each(server, 2, connect)
        one, other = (clients[0] for clients in by_worker)
        for n in range(10):
            for client in (one, other):
                response = client.post(MEMORIES, json={"agent_id": "a", "content": f"Item {n}"})
                # What one worker has stored, the other finds at once.
                assert response.status_code == (201 if client is one else 409)
        by_other = other.post(MEMORIES, json={"agent_id": "a", "content": "By the other"}).json()
        assert one.get(f"{MEMORIES}/{by_other['id']}").json() == by_other
        assert one.get("/api/v1/agents/a/stats").json()["memory_count"] == 11

        def write(numbers: range, client: httpx.Client) -> list[int]:
            bodies = [{"agent_id": "b", "content": str(n)} for n in numbers]
            return [client.post(MEMORIES, json=body).status_code for body in bodies]

        with ThreadPoolExecutor(8) as threads:
            parts = [range(n, 64, 8) for n in range(8)]
            written = threads.map(write, parts, chain.from_iterable(by_worker))
            assert list(written) == [[201] * 8] * 8
        listed = one.get(MEMORIES, params={"agent_id": "b", "limit": 1000}).json()["memories"]
        assert listed == other.get(MEMORIES, params={"agent_id": "b", "limit": 1000}).json()["memories"]
        assert {memory["content"] for memory in listed} == {str(n) for n in range(64)}
        assert one.get("/api/v1/agents/b/stats").json()["memory_count"] == 64

        key_id = server.run("key", "list").split("\t")[0]
        server.run("key", "revoke", key_id)
        assert (one.get(MEMORIES).status_code, other.get(MEMORIES).status_code) == (401, 401)
    assert server.returncode == 0, "".join(server.log)[-2_000:]


def test_every_client_of_a_server_without_auth_is_an_admin(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--no-auth") as server:
        with httpx.Client(base_url=server.url) as client:
            memory = client.post(MEMORIES, json={"agent_id": "a", "content": "c"})
            assert (memory.status_code, memory.json()["org_id"]) == (201, "org_default")
            assert client.get(MEMORIES, headers={"x-api-key": "any"}).json()["count"] == 1
            assert client.delete(MEMORIES, params={"agent_id": "a"}).json() == {"deleted": 1}
            assert client.get(MEMORIES, params={"limit": 0}).status_code == 400
        with Memtrace(server.url) as sdk:
            assert sdk.list_memories().count == 0
    assert server.returncode == 0


def test_every_response_names_its_request(live_server: LiveServer) -> None:
    for path in ("/health", "/nowhere", MEMORIES):
        ids = {httpx.get(live_server.url + path).headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3
