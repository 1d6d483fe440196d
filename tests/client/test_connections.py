"""Real sockets: lost and broken responses, timeouts, threads, forks and event loops; and opening a store."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from helpers.clients import KEY, MEMORY, MakeClient, page
from helpers.peers import Server

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    MemtraceError,
    ResponseValidationError,
)

LOST = b""
HALF = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{"
GARBAGE = b"SSH-2.0-OpenSSH_9.2\r\n"


def response_of(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    """Return the bytes of a response."""
    content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class RawServer(Server):
    """Send the next of its responses for each request; close the connection after one that is broken."""

    def __init__(self) -> None:
        self.responses: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.echo = False
        self._lock = threading.Lock()
        super().__init__(self._respond)

    def _respond(self, connection: socket.socket, is_over: threading.Event) -> None:
        self.connections += 1
        connection.settimeout(0.05)
        while request := self._read(connection):
            with self._lock:
                self.requests.append(request)
                response = self._echoed(request) if self.echo else self.responses.pop(0)
            if response is None:
                is_over.wait()
                return
            connection.sendall(response)
            if response in {LOST, HALF, GARBAGE}:
                return

    def _read(self, connection: socket.socket) -> bytes:
        read = b""
        while not self.is_over.is_set():
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return b""
            read += piece
            head, separator, body = read.partition(b"\r\n\r\n")
            if not piece or (separator and len(body) >= self._length(head)):
                return read
        return b""

    def _length(self, head: bytes) -> int:
        lines = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
        return int(lines[0].partition(b":")[2]) if lines else 0

    def _echoed(self, request: bytes) -> bytes:
        return response_of({**MEMORY, "id": request.split()[1].decode().rpartition("/")[2]})


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


def header(request: bytes, name: str) -> str:
    lines = request.partition(b"\r\n\r\n")[0].decode().splitlines()[1:]
    return dict(line.lower().split(": ", 1) for line in lines)[name]


@pytest.mark.usefixtures("no_delays")
@pytest.mark.parametrize("broken", [LOST, HALF, GARBAGE], ids=["lost", "half", "garbage"])
def test_retried_write_has_the_same_key_and_body(
    make_client: MakeClient, raw_server: RawServer, broken: bytes
) -> None:
    raw_server.responses = [broken, response_of(MEMORY, "201 Created")]

    assert make_client(raw_server.url).remember("a", "b").id == MEMORY["id"]

    first, second = raw_server.requests
    assert header(first, "idempotency-key") == header(second, "idempotency-key")
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("broken", [LOST, HALF, GARBAGE], ids=["lost", "half", "garbage"])
def test_broken_response_is_an_api_connection_error(
    make_client: MakeClient, raw_server: RawServer, broken: bytes
) -> None:
    raw_server.responses = [broken]

    with pytest.raises(APIConnectionError, match="the connection was lost"):
        make_client(raw_server.url, max_retries=0).recall("a")


def test_response_that_is_not_gzip_as_declared_is_an_error(
    make_client: MakeClient, raw_server: RawServer
) -> None:
    raw_server.responses = [response_of(MEMORY, content_encoding="gzip")]

    with pytest.raises(ResponseValidationError, match="decompressed"):
        make_client(raw_server.url).get_memory("mem_1")


def test_silent_server_is_a_timeout_error(make_client: MakeClient, raw_server: RawServer) -> None:
    raw_server.responses = [None]

    with pytest.raises(APITimeoutError, match="no response in time"):
        make_client(raw_server.url, timeout=0.05, max_retries=0).recall("a")


def test_refused_connection_is_an_error_that_names_the_url(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

    with pytest.raises(APIConnectionError, match="cannot connect") as caught:
        make_client(url, max_retries=0).recall("a")

    assert url in caught.value.message
    assert caught.value.message.endswith("is a Memtrace server running there?")


def test_unknown_host_is_an_api_connection_error(make_client: MakeClient) -> None:
    with pytest.raises(APIConnectionError, match="the name of the host cannot be resolved"):
        make_client("http://nowhere.invalid", max_retries=0).recall("a")


def test_requests_share_a_connection(make_client: MakeClient, raw_server: RawServer) -> None:
    raw_server.responses = [response_of(page())] * 3
    client = make_client(raw_server.url)

    client.recall("a")
    client.with_options(timeout=1).recall("a")
    client.recall("a")

    assert raw_server.connections == 1


def test_threads_can_share_a_client(raw_server: RawServer) -> None:
    from memtrace import Memtrace  # noqa: PLC0415  # for this test alone

    raw_server.echo = True
    with Memtrace(raw_server.url) as client, ThreadPoolExecutor(8) as pool:
        ids = [f"mem_{number}" for number in range(100)]
        assert [memory.id for memory in pool.map(client.get_memory, ids)] == ids


def test_tasks_can_share_a_client(raw_server: RawServer) -> None:
    async def run() -> None:
        async with AsyncMemtrace(raw_server.url) as client:
            ids = [f"mem_{number}" for number in range(100)]
            memories = await asyncio.gather(*map(client.get_memory, ids))
            assert [memory.id for memory in memories] == ids

    raw_server.echo = True
    asyncio.run(run())


def test_cancelled_call_leaves_the_client_usable(raw_server: RawServer) -> None:
    async def run() -> None:
        async with AsyncMemtrace(raw_server.url) as client:
            await client.ready()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get_memory("mem_1")
            assert (await client.get_memory("mem_1")).id == MEMORY["id"]

    raw_server.responses = [response_of({"status": "ok"}), None, response_of(MEMORY)]
    asyncio.run(run())

    assert len(raw_server.requests) == 3


@pytest.mark.usefixtures("no_delays")
def test_async_client_retries_on_trio(raw_server: RawServer) -> None:
    async def run() -> None:
        async with AsyncMemtrace(raw_server.url) as client:
            assert (await client.get_memory("mem_1")).id == MEMORY["id"]

    raw_server.responses = [LOST, response_of(MEMORY)]
    trio.run(run)

    assert len(raw_server.requests) == 2


LOOPS = """
import asyncio, sys
from memtrace import AsyncMemtrace

client = AsyncMemtrace(sys.argv[1], max_retries=0)
for _ in range(3):
    print(asyncio.run(client.get_memory("mem_1")).content)
asyncio.run(client.close())
"""


def test_an_async_client_survives_its_event_loop(raw_server: RawServer) -> None:
    # Its connections do not survive: they belong to the loop.
    raw_server.responses = [
        response_of({**MEMORY, "content": content}) for content in ("one", "two", "three")
    ]

    assert printed_by(LOOPS, raw_server.url) == ["one", "two", "three"]

    assert raw_server.connections == 3


async def ready_on_its_loop(client: AsyncMemtrace) -> weakref.ref[asyncio.AbstractEventLoop]:
    await client.ready()
    return weakref.ref(asyncio.get_running_loop())


@pytest.mark.skipif(
    tuple(map(int, version("anyio").split(".")[:2])) < (4, 15),
    reason="older ones keep each loop with threads",
)
def test_async_client_keeps_no_reference_to_an_ended_event_loop() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"status": "ok"}))
    client = AsyncMemtrace(http_client=httpx.AsyncClient(transport=transport))
    before = threading.enumerate()

    first = asyncio.run(ready_on_its_loop(client))
    asyncio.run(ready_on_its_loop(client))
    # The threads of an ended loop also refer to it until they end.
    for thread in set(threading.enumerate()).difference(before):
        thread.join(60)
    gc.collect()

    assert first() is None


def test_an_async_client_keeps_the_connections_of_each_running_loop(raw_server: RawServer) -> None:
    raw_server.responses = [response_of({"status": "ok"})] * 4
    client = AsyncMemtrace(raw_server.url, max_retries=0)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        for runner in (first, second, first, second):
            assert runner.run(client.ready()).status == "ok"
        assert raw_server.connections == 2
        second.run(client.close())
        first.run(client.close())


FORK = """
import os, sys
from memtrace import Memtrace

client = Memtrace(sys.argv[1])
print(client.remember("a", "before").content)
sys.stdout.flush()
child = os.fork()
if child == 0:
    try:
        print(client.remember("a", "in the child").content)
    except Exception as error:
        print(type(error).__name__, error)
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(client.remember("a", "after").content)
client.close()
"""


def printed_by(script: str, *arguments: str) -> list[str]:
    """Return the lines that a script prints in its own process."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_forked_process_opens_its_own_connection(raw_server: RawServer) -> None:
    raw_server.responses = [
        response_of({**MEMORY, "content": content}, "201 Created") for content in ("one", "two", "three")
    ]

    assert printed_by(FORK, raw_server.url) == ["one", "two", "three"]

    assert raw_server.connections == 2


def test_forked_process_can_use_the_store_of_its_parent(tmp_path: Path) -> None:
    assert printed_by(FORK, f"sqlite:///{tmp_path}/agent.db") == ["before", "in the child", "after"]


FORK_AND_LEAVE = """
import os, sys
from memtrace import Memtrace

url, makes_its_own, exits = sys.argv[1], "own" in sys.argv[2:], "exits" in sys.argv[2:]
client = Memtrace(url)
client.remember("a", "before")
stored, is_stored = os.pipe()
left, has_left = os.pipe()
if os.fork() == 0:
    os.close(has_left)
    if makes_its_own:
        client = Memtrace(url)
    client = client.with_options(max_retries=0)
    client.remember("a", "with the parent")
    os.write(is_stored, b".")
    os.read(left, 1)  # until the parent closes its end
    client.remember("a", "without")
    print(sorted(memory.content for memory in Memtrace(url).recall("a")))
    sys.exit()
os.read(stored, 1)
if exits:
    sys.exit()
client.close()
os.close(has_left)
os.wait()
"""


@pytest.mark.parametrize("how", ["inherited", "own"])
@pytest.mark.parametrize("parent", ["closes", "exits"])
def test_fork_keeps_the_store_after_its_parent_has_left(tmp_path: Path, how: str, parent: str) -> None:
    printed = printed_by(FORK_AND_LEAVE, f"sqlite:///{tmp_path}/agent.db", how, parent)

    assert printed == ["['before', 'with the parent', 'without']"]


FORK_WHILE_OPENING = """
import os, sys, threading
from memtrace import Memtrace
from memtrace_server import embedded

is_opening, may_open = threading.Event(), threading.Event()
parent = os.getpid()


class Slow(embedded.EmbeddedServer):
    def __init__(self, url):
        if os.getpid() == parent:
            is_opening.set()
            may_open.wait()
        super().__init__(url)


embedded.EmbeddedServer = Slow
client = Memtrace(sys.argv[1])
thread = threading.Thread(target=client.remember, args=("a", "from the parent"))
thread.start()
is_opening.wait()
if os.fork() == 0:
    client.remember("a", "from the child")
    os._exit(0)
assert os.wait()[1] == 0
may_open.set()
thread.join()
print(sorted(memory.content for memory in client.recall("a")))
client.close()
"""


def test_a_process_forked_while_a_thread_opens_the_store_opens_it_too(tmp_path: Path) -> None:
    printed = printed_by(FORK_WHILE_OPENING, f"sqlite:///{tmp_path}/agent.db")

    assert printed == ["['from the child', 'from the parent']"]


FORK_BESIDE_THREADS = """
import os, sys, threading
from memtrace import Memtrace

client = Memtrace(sys.argv[1])
client.remember("a", "before")
is_over = threading.Event()


def keep_busy(call):
    while not is_over.is_set():
        call()


calls = [
    lambda: client.remember("b", "x" * 2_000),
    lambda: client.recall("b"),
    lambda: client.search_memories("x"),
]
threads = [threading.Thread(target=keep_busy, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
for number in range(8):
    if os.fork() == 0:
        client.with_options(max_retries=0).remember("a", f"child {number}")
        Memtrace(sys.argv[1], max_retries=0).remember("a", f"again {number}")
        os._exit(0)
for _ in range(8):
    assert os.wait()[1] == 0
is_over.set()
for thread in threads:
    thread.join()
print(len(client.recall("a")))
client.close()
"""


def test_forks_beside_busy_threads_store_their_memories(tmp_path: Path) -> None:
    assert printed_by(FORK_BESIDE_THREADS, f"sqlite:///{tmp_path}/agent.db") == ["17"]


def test_store_in_memory_raises_in_a_forked_process() -> None:
    before, child, after = printed_by(FORK, "sqlite://")

    assert (before, after) == ("before", "after")
    assert child.startswith("APIConnectionError")
    assert "stays with the process that opened it" in child


def test_an_embedded_store_is_opened_at_the_first_request(make_client: MakeClient, tmp_path: Path) -> None:
    file = tmp_path / "agent.db"

    with make_client(f"sqlite:///{file}", None) as client:
        assert not file.exists()
        client.remember("agent_1", "User prefers dark mode")
        assert file.exists()
    with make_client(f"sqlite:///{file}") as client:
        assert [memory.content for memory in client.recall("agent_1").memories] == ["User prefers dark mode"]


def test_a_store_in_memory_is_private_to_a_client_and_its_copies(make_client: MakeClient) -> None:
    client = make_client("sqlite://", None)
    client.remember("agent_1", "User prefers dark mode")

    assert client.with_options(timeout=1).recall("agent_1").count == 1
    assert make_client("sqlite://", None).recall("agent_1").count == 0


def test_embedded_store_ignores_a_proxy_of_the_environment(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert make_client("sqlite://", None).ready().status == "ok"


@pytest.mark.usefixtures("delays")
def test_file_that_cannot_be_opened_is_a_memtrace_error(make_client: MakeClient, tmp_path: Path) -> None:
    with pytest.raises(MemtraceError):
        make_client(f"sqlite:///{tmp_path}/missing/agent.db").recall("a")


def test_embedded_store_without_the_server_names_what_to_install(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "memtrace_server.embedded", None)

    with pytest.raises(ImportError, match=r"pip install 'memtrace-sdk\[server\]'"):
        make_client("sqlite://").recall("a")


def test_unreadable_certificates_are_an_api_connection_error(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    wanted = "^GET /api/v1/memories at https://localhost:1: cannot be opened: SSL_CERT_FILE or SSL_CERT_DIR: "
    with pytest.raises(APIConnectionError, match=wanted):
        make_client("https://localhost:1").recall("a")


@pytest.mark.usefixtures("no_delays")
def test_log_has_a_line_for_each_attempt_and_never_the_key(
    make_client: MakeClient, raw_server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    raw_server.responses = [
        response_of({"error": "busy", "code": "unavailable"}, "503 Busy", x_request_id="req_1"),
        response_of(page(), x_request_id="req_2"),
        response_of({"error": "No", "code": "forbidden"}, "403 No", x_request_id="req_3"),
    ]
    client = make_client(raw_server.url)

    with caplog.at_level(logging.DEBUG, "memtrace"):
        client.recall("a", tags="not to be logged")
        with pytest.raises(MemtraceError):
            client.recall("a")

    lines = [record.getMessage() for record in caplog.records if record.name == "memtrace"]
    assert all(record.levelno == logging.DEBUG for record in caplog.records if record.name == "memtrace")
    assert [(line.partition(",")[0], line.partition(" status ")[2][:3]) for line in lines] == [
        ("GET /api/v1/memories: attempt 1", "503"),
        ("GET /api/v1/memories: attempt 2", "200"),
        ("GET /api/v1/memories: attempt 1", "403"),
    ]
    assert lines[0].endswith(
        "request_id req_1, error busy (HTTP 503, unavailable, request req_1), delay_ms 0"
    )
    assert lines[2].endswith("request_id req_3, error No (HTTP 403, forbidden, request req_3)")
    assert KEY not in "\n".join(lines)
    assert "not to be logged" not in "\n".join(lines)
