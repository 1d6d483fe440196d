"""What a client without a key can do to a server: almost nothing, at almost no cost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
import uvloop
from attrs import frozen
from durability.in_process import MEMORIES
from durability.sockets import PATIENCE, connect, post, read_response
from durability.store_audit import assert_consistent_at
from helpers.waiting import wait_until
from hostile.server_cost import HEALTH, assert_costs, memory, open_files, open_sockets, read, status_of
from live import LiveServer
from starlette.applications import Starlette
from uvicorn.server import ServerState

from memtrace_server.app import create_app
from memtrace_server.connections import Connection, Limits, Slots, accept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of processes")

MAX_CONNECTIONS = 12
MAX_HEAD = 64 << 10
OWN_SOCKETS = 4  # of a server without connections: it listens, and wakes itself
UNKNOWN_KEY = b"x-api-key: mtk_" + b"0" * 64 + b"\r\n"
MANY_ITEMS = b'{"memories":[' + b",".join([b"{}"] * 100_000) + b"]}"


def get(path: bytes, headers: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: test\r\n" + headers + b"\r\n"


def send_body(body: bytes, headers: bytes = b"") -> bytes:
    return (
        b"POST /api/v1/memories HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        + headers
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def chunked(key: str, chunks: bytes) -> bytes:
    head = f"POST {MEMORIES} HTTP/1.1\r\nHost: test\r\nx-api-key: {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server with default settings."""
    with LiveServer(tmp_path_factory.mktemp("strangers")) as server:
        yield server
    assert server.returncode == 0
    assert "traceback" not in "".join(server.log)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server with a short time limit for clients, and few connections."""
    arguments = ("--client-timeout", "1", "--max-connections", str(MAX_CONNECTIONS))
    with LiveServer(tmp_path_factory.mktemp("impatient"), *arguments) as server:
        with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
            large = [{"agent_id": "large", "content": f"{n} " + "x" * 60_000} for n in range(100)]
            assert client.post(MEMORIES, json={"memories": large}).status_code == 201
        yield server
    assert server.returncode == 0
    assert "traceback" not in "".join(server.log)


# --- what a connection holds


@pytest.mark.parametrize("loops", [uvloop, asyncio], ids=["uvloop", "asyncio"])
def test_no_more_than_64_kib_are_read_at_once(monkeypatch: pytest.MonkeyPatch, loops: Any) -> None:
    sent = os.urandom(1 << 20)
    received: list[bytes] = []
    is_whole = asyncio.Event()

    def receive(_: Connection, data: bytes) -> None:
        received.append(data)
        if sum(map(len, received)) == len(sent):
            is_whole.set()

    monkeypatch.setattr(Connection, "data_received", receive)
    config = uvicorn.Config(Starlette())
    config.load()
    limits = Limits(client_timeout=PATIENCE, slots=Slots(1))

    async def run() -> None:
        make = partial(accept, config=config, server_state=ServerState(), app_state={}, limits=limits)
        serving = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        host, port = serving.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(host, port)
        writer.write(sent)
        await asyncio.wait_for(is_whole.wait(), PATIENCE)
        writer.close()
        await writer.wait_closed()
        serving.close()
        await serving.wait_closed()

    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(run())
    assert b"".join(received) == sent
    assert max(map(len, received)) <= 64 << 10


# --- the key is checked first

COSTLY = {
    "no key": get(b"/api/v1/memories"),
    "an unknown key": get(b"/api/v1/memories", UNKNOWN_KEY),
    "a long key": get(b"/api/v1/memories", b"x-api-key: mtk_" + b"0" * 60_000 + b"\r\n"),
    "many items": send_body(MANY_ITEMS),
    "many items and an unknown key": send_body(MANY_ITEMS, UNKNOWN_KEY),
    "many small chunks": (
        b"POST /api/v1/memories HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 50_000
    ),
    "many commas in the query": get(b"/api/v1/memories?tags=" + b"," * 60_000),
    "many ampersands in a query without a key": get(b"/health?" + b"&" * 60_000),
    "many names in a query without a key": get(
        b"/health?" + b"&".join([b"%%41%d=1" % n for n in range(9_000)])
    ),
    "many escapes in a query without a key": get(b"/health?a=" + b"%41" * 20_000),
    "many escapes in the path": get(b"/" + b"%41" * 20_000),
    "a long path": get(b"/" + b"%41" * 1_300),
    "many requests behind a body": send_body(b"{}") + b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 2_000,
    "many headers": get(b"/api/v1/memories", b"".join([b"h%d: x\r\n" % n for n in range(5_000)])),
    "long headers": get(b"/api/v1/memories", b"".join([b"h%d: %s\r\n" % (n, b"x" * 600) for n in range(98)])),
    "an endless header": get(b"/api/v1/memories", b"h: " + b"x" * 250_000),
    "empty lines": b"\r\n" * 100_000 + HEALTH,
    "no HTTP": b"\x16\x03\x01" * 20_000,
    "an unknown path": get(b"/nowhere"),
    "a body where none is wanted": get(b"/health", b"Content-Length: 300000\r\n") + b"x" * 300_000,
    "readiness": get(b"/ready"),
    "the reference": get(b"/docs"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_any_request_without_a_key_costs_little(server: LiveServer, name: str) -> None:
    def act(request: bytes) -> Callable[[], None]:
        def send() -> None:
            with connect(server.url) as connection:
                connection.sendall(request)
                assert read(connection) in {200, 400, 401, 404, 429, 431}

        return send

    assert_costs(server, act(COSTLY[name]), act(HEALTH), most=3, times=20)


def test_unknown_keys_on_one_connection_cost_little(server: LiveServer) -> None:
    def health() -> None:
        with connect(server.url) as stranger:
            assert_status(stranger, HEALTH, 200)

    with connect(server.url) as connection:
        refused = send_body(b'{"memories":[{}]}', UNKNOWN_KEY)
        assert_costs(
            server,
            lambda: assert_status(connection, refused, 401, 429),
            health,
            most=3,
            times=100,
        )


def assert_status(connection: socket.socket, request: bytes, *statuses: int) -> None:
    assert status_of(connection, request) in statuses


def test_connections_without_a_key_hold_little_of_what_they_send(server: LiveServer) -> None:
    request = send_body(b"x" * (1 << 20), UNKNOWN_KEY)[: 256 << 10]
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server.url)) for _ in range(200)]
        before = memory(server)
        for connection in connections:  # one after the other, as the event loop reads 256 KB at once
            connection.sendall(request)
            assert read(connection) in {401, 429}
        assert (memory(server) - before) / len(connections) <= 64 << 10


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_requests_behind_a_body_are_parsed_one_at_a_time(server: LiveServer, framing: str) -> None:
    """Send many requests in one packet: parsing them at once would take 6 MiB a connection."""
    first = {
        "length": send_body(b"x" * 100, UNKNOWN_KEY),
        "chunks": chunked(server.key, b"2\r\n{}\r\n0\r\n\r\n"),
    }[framing]
    request = first + b"GET /docs HTTP/1.1\r\nHost:\r\n\r\n" * 2_000
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server.url)) for _ in range(50)]
        before = memory(server)
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.sendall(request)
            assert read(connection) in {400, 401, 429}
        assert (memory(server) - before) / len(connections) <= 128 << 10


def test_body_is_not_requested_before_the_key_is_checked(server: LiveServer) -> None:
    with connect(server.url) as connection:
        connection.sendall(send_body(b"{}", b"Expect: 100-continue\r\n")[:-2])
        response = read_response(connection)
        assert response.status in {401, 429}
        assert response.headers["connection"] == "close"  # so that no next request follows
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 70000000", b"Transfer-Encoding: chunked"], ids=["length", "chunks"]
)
def test_response_does_not_wait_for_an_unwanted_body(server: LiveServer, framing: bytes) -> None:
    for path in (b"/health", b"/docs", b"/openapi.json"):
        with connect(server.url) as connection:
            connection.sendall(get(path, framing + b"\r\n"))
            assert read_response(connection).status == 200


UNREAD = {
    "much of a body and no key": send_body(b"x" * 300_000),
    "a large body and no key": send_body(b"x" * 70_000),
    "chunks and no key": (
        b"POST /api/v1/memories HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    ),
    "an unknown path": b"POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 70000\r\n\r\n",
    "a body where none is wanted": get(b"/health", b"Content-Length: 70000\r\n"),
}


@pytest.mark.parametrize("request_", UNREAD.values(), ids=UNREAD.keys())
def test_response_without_reading_the_body_closes_the_connection(server: LiveServer, request_: bytes) -> None:
    """Send requests whose bodies are not read: a client would lose its next request on that connection."""
    for attempt in range(5):  # a busy machine may take the second that the server leaves for reading
        # Connections of other tests have ended, of which the server keeps 100 for that second.
        wait_until(lambda: open_sockets(server) <= OWN_SOCKETS)
        with connect(server.url) as connection:
            connection.sendall(request_)
            try:
                assert read_response(connection).headers["connection"] == "close"
                assert connection.recv(1) == b""
            except ConnectionResetError:  # the client or a proxy may lose the response
                assert attempt < 4
            else:
                return


def test_small_body_without_a_key_leaves_the_connection_usable(server: LiveServer) -> None:
    with connect(server.url) as connection:
        for _ in range(3):
            assert status_of(connection, send_body(b'{"agent_id": "a", "content": "c"}', UNKNOWN_KEY)) in {
                401,
                429,
            }
            assert status_of(connection, HEALTH) == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (MANY_ITEMS, ["memories"]),
        (b'{"memories":[' + b",".join([b"{}"] * 1_000) + b"]}", None),
        (b'{"agent_id": "a", "content": "' + b"x" * 2_000_000 + b'"}', ["content"]),
        (b'{"agent_id": "a", "content": "' + b"x" * 1_000_000 + b'\\u0000"}', ["content"]),
        (b'{"agent_id": "a", "content": "c", "tags": [' + b'"t",' * 500_000 + b'"t"]}', ["tags"]),
        (b'{"agent_id": "a", "content": "c", "metadata": {"": [' + b"[]," * 300_000 + b"[]]}}", ["metadata"]),
        (b'{"agent_id": "a", "content": "c", "metadata": {"m": [' + b'"\\u0000",' * 990 + b'""]}}', None),
        (b'{"agent_id": ["' + b'","' * 300_000 + b'"], "content": "c"}', ["agent_id"]),
        (b"[" + b"[]," * 300_000 + b"[]]", ["body"]),
        (b"{" + b",".join([b'"k%d": 1' % n for n in range(100_000)]) + b"}", None),
    ],
    ids=[
        "too many items", "wrong items", "long content", "long and wrong content", "many tags",
        "much metadata", "wrong metadata", "another type", "a list", "unknown fields",
    ],
)  # fmt: skip
def test_errors_of_a_large_body_are_few_and_cheap(
    server: LiveServer, body: bytes, fields: list[str] | None
) -> None:
    request = post(MEMORIES, server.key, body)
    with connect(server.url) as connection:

        def send() -> None:
            connection.sendall(request)
            response = read_response(connection)
            assert response.status == 400
            details = response.json["details"]
            assert 0 < len(details) <= 20
            if fields is not None:
                assert [detail["field"] for detail in details] == fields

        # 300,000 lists, which must be parsed to be refused, cost 1,000 to 1,200; 100,000 errors cost 20,000.
        health = partial(assert_status, connection, HEALTH, 200)
        assert_costs(server, send, health, most=2_000, times=3)


LONG_NUMBERS = b"[" + b",".join([b"9" * 4_000] * 5_000) + b"]"
OVER = {
    "one object": (b'{"agent_id": "a", "content": "c", "metadata": {"n": ' + LONG_NUMBERS + b"}}", "body"),
    "a listed object": (
        b'{"memories": [{"agent_id": "a", "content": "c", "metadata": {"n": ' + LONG_NUMBERS + b"}}]}",
        "memories.0",
    ),
    "no object": (LONG_NUMBERS, "body"),
    "many keys": (b"{" + b",".join([b'"%075d": 1' % n for n in range(100_000)]) + b"}", "body"),
}


@pytest.mark.parametrize(("body", "field"), OVER.values(), ids=OVER.keys())
def test_object_larger_than_any_valid_one_is_not_decoded(server: LiveServer, body: bytes, field: str) -> None:
    """Send 20 MB of long numbers, which take 0.8 s to decode, in which nothing else can run."""
    with connect(server.url) as connection:

        def send() -> None:
            connection.sendall(post(MEMORIES, server.key, body))
            refused = read_response(connection)
            assert (refused.status, refused.json["code"]) == (400, "invalid_request")
            assert [detail["field"] for detail in refused.json["details"]] == [field]

        assert_costs(server, send, partial(assert_status, connection, HEALTH, 200), most=2_000, times=2)


def test_largest_memory_with_escaped_characters_is_stored(server: LiveServer) -> None:
    face = "\U0001f600"
    memory: dict[str, Any] = {"agent_id": face * 128, "session_id": face * 128, "content": face * 65_536}
    memory["tags"] = [face * 126 + f"{n:02}" for n in range(50)]
    written = json.dumps({**memory, "metadata": {"k": "*" * 65_528}}).encode().replace(b"*", b"\\u0061")
    assert len(written) > 1_200_000
    with connect(server.url) as connection:
        connection.sendall(post(MEMORIES, server.key, written))
        assert read_response(connection).status == 201


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 40", b"Transfer-Encoding: chunked"], ids=["length", "chunks"]
)
def test_spaces_after_the_value_of_a_header_are_ignored(server: LiveServer, framing: bytes) -> None:
    body = b'{"agent_id": "spaces", "content": "' + framing[:3].lower() + b'"}'
    headers = b"  \r\n".join(
        [b"x-api-key: " + server.key.encode(), b"Content-Type: application/json", framing, b""]
    )
    head = b"POST /api/v1/memories HTTP/1.1\r\nHost: test\r\n" + headers + b"\r\n"
    sent = body if framing.startswith(b"C") else b"28\r\n" + body + b"\r\n0\r\n\r\n"
    with connect(server.url) as connection:
        connection.sendall(head + sent)
        assert read_response(connection).status == 201
        connection.sendall(get(b"/health"))
        assert read_response(connection).status == 200


def test_error_of_a_large_body_names_its_field(server: LiveServer) -> None:
    memories = [{"agent_id": "a", "content": f"{n} {'x' * 60_000}"} for n in range(50)]
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as client:
        unknown = client.post(MEMORIES, json={"memories": memories, "unknown": 1})
        assert unknown.status_code == 400
        assert "only lists of objects may be, and is no such list" in unknown.json()["error"]
        assert "unknown field `unknown`" in unknown.json()["error"]
        wrong = client.post(MEMORIES, json={"memories": [*memories, {"agent_id": "a"}]})
        assert [detail["field"] for detail in wrong.json()["details"]] == ["memories.50.content"]


def test_body_of_ten_million_values_is_refused_before_decoding(server: LiveServer) -> None:
    values = b'{"agent_id": "a", "content": "c", "metadata": {"m": [' + b"{}," * 10_000_000 + b"{}]}}"
    before = memory(server)
    with connect(server.url) as connection:
        connection.sendall(post(MEMORIES, server.key, values))
        response = read_response(connection)
    assert (response.status, response.json["code"]) == (413, "payload_too_large")
    assert memory(server) - before < 3 * len(values)  # as objects they take 700 MiB


@pytest.mark.parametrize(
    "start",
    [b'"' + b'\\"' * 500, b'"' * 3_000_000, b'"' + b"\\\\" * 3_000_000],
    ids=["escapes", "quotes", "slashes"],
)
def test_values_behind_unterminated_strings_are_counted_cheaply(server: LiveServer, start: bytes) -> None:
    """Send quotes, each of which might begin a string whose end is searched for: 70 ms a quote."""
    request = post(MEMORIES, server.key, start + b"," * 1_000_001)
    with connect(server.url) as connection:

        def send() -> None:
            connection.sendall(request)
            assert read_response(connection).status in {400, 413}

        assert_costs(server, send, partial(assert_status, connection, HEALTH, 200), most=2_000, times=2)


@pytest.mark.parametrize("escaped", ['\\"', "\\\\", "\\n"], ids=["quotes", "backslashes", "lines"])
def test_signs_between_escapes_are_not_counted_as_values(server: LiveServer, escaped: str) -> None:
    content = "".join(f"{escaped},[" for _ in range(12_000))
    memories = [{"agent_id": "escapes", "content": f"{n} {content}"} for n in range(90)]
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as client:
        assert client.post(MEMORIES, json={"memories": memories}).status_code == 201


def test_commas_in_a_content_are_not_counted_as_values(server: LiveServer) -> None:
    memories = [{"agent_id": "commas", "content": f"{n}" + ",[{" * 20_000} for n in range(100)]
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as client:
        assert client.post(MEMORIES, json={"memories": memories}).status_code == 201


def test_long_integers_in_a_small_body_cost_little(server: LiveServer) -> None:
    """Send sixteen integers of 4,000 digits, which take 165 ms to decode."""
    numbers = b",".join([b"9" * 4_000] * 16)
    body = b'{"agent_id": "a", "content": "c", "metadata": {"m": [' + numbers + b"]}}"
    with connect(server.url) as connection:

        def send() -> None:
            connection.sendall(post(MEMORIES, server.key, body))
            fields = [detail["field"] for detail in read_response(connection).json["details"]]
            assert fields == [f"metadata.m.{n}" for n in range(16)]

        assert_costs(server, send, partial(assert_status, connection, HEALTH, 200), most=100, times=5)


def test_a_query_with_many_items_costs_little(server: LiveServer) -> None:
    query = b"&".join([b"tags=" + b"%41," * 160] * 99)
    key = f"x-api-key: {server.key}\r\n".encode()
    with connect(server.url) as connection:
        assert_costs(
            server,
            lambda: assert_status(connection, get(b"/api/v1/memories?" + query, key), 400),
            partial(assert_status, connection, HEALTH, 200),
            most=60,
            times=10,
        )


# --- every state of a connection ends


@frozen
class State:
    """A state of a connection, and how a client reaches it."""

    enter: Callable[[socket.socket, LiveServer], None]


def sends(*requests: bytes) -> State:
    """Send requests, read a response to each but the last, and send no more."""

    def enter(connection: socket.socket, _: LiveServer) -> None:
        *earlier, last = requests
        for request in earlier:
            status_of(connection, request)
        connection.sendall(last)

    return State(enter)


def stalls_in_the_body(connection: socket.socket, server: LiveServer) -> None:
    connection.sendall(post(MEMORIES, server.key, b'{"agent_id": "a", "content": "c"}')[:-5])


def stalls_in_a_chunk(connection: socket.socket, server: LiveServer) -> None:
    connection.sendall(chunked(server.key, b"ff\r\n{"))


def reads_nothing(connection: socket.socket, server: LiveServer) -> None:
    for _ in range(3):
        path = f"{MEMORIES}?agent_id=large&limit=100".encode()
        connection.sendall(get(path, f"x-api-key: {server.key}\r\n".encode()))


def unread(request: bytes) -> State:
    """Get a response to a request whose body is never read to its end."""

    def enter(connection: socket.socket, _: LiveServer) -> None:
        status_of(connection, request)
        with suppress(ConnectionError):  # the server may have closed it already
            connection.sendall(b"x")

    return State(enter)


STATES = {
    "connected": State(lambda *_: None),
    "two bytes": sends(b"GE"),
    "in the head": sends(HEALTH[:-2]),
    "before a head": sends(b"\r\n"),
    "between requests": sends(HEALTH, b""),
    "a line between requests": sends(HEALTH, b"\r\n"),
    "in a second head": sends(HEALTH, HEALTH[:-2]),
    "in the body": State(stalls_in_the_body),
    "in a chunk": State(stalls_in_a_chunk),
    "in an unwanted body": sends(send_body(b"{}")[:-1]),
    "after a 401": unread(send_body(b"x" * 70_000)[:-1]),
    "after a 401 of a small body": unread(send_body(b"x" * 100)[:-2]),
    "after a 401 of chunks": unread(
        b"POST /api/v1/memories HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxx"
    ),
    "after a 404": unread(b"POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"),
    "after a 405": unread(b"POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"),
    "after a 413": unread(b"POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n"),
    "after a 431": unread(get(b"/", b"h: " + b"x" * MAX_HEAD)),
    "after a 400": unread(b"no HTTP\r\n\r\n"),
    "an upgrade": sends(get(b"/health", b"Connection: upgrade\r\nUpgrade: websocket\r\n"), b"x"),
    "reading nothing": State(reads_nothing),
    "after HTTP/1.0": sends(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b""),
}


def wait_for_room(server: LiveServer) -> None:
    """Wait until a new connection is served, with pauses, as each refused one lingers for a second."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError), httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            if client.get("/health").status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_ends(connection: socket.socket) -> None:
    connection.settimeout(PATIENCE)
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_every_state_of_a_connection_ends_and_makes_room(impatient: LiveServer, state: State) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(impatient.url)) for _ in range(MAX_CONNECTIONS)]
        for connection in connections:
            state.enter(connection, impatient)
        wait_for_room(impatient)
        for connection in connections:
            assert_ends(connection)


def test_body_that_stalls_is_408_and_stores_nothing(impatient: LiveServer) -> None:
    request = add_one(impatient, "staller", "a part")
    head = request.index(b"\r\n\r\n") + 4
    with ExitStack() as stack:
        stalled = [stack.enter_context(connect(impatient.url)) for _ in range(3)]
        for connection, end in zip(stalled, (head, (head + len(request)) // 2, -1), strict=True):
            connection.sendall(request[:end])
        for connection in stalled:
            refused = read_response(connection)
            assert (refused.status, refused.json["code"]) == (408, "request_timeout")
    assert contents(impatient, "staller") == []


def test_request_that_comes_byte_by_byte_ends_in_time(impatient: LiveServer) -> None:
    request = add_one(impatient, "dripper", "drop by drop")
    with connect(impatient.url) as connection:
        sent = 0
        while not select.select([connection], [], [], 0.1)[0]:  # until the server closes the connection
            connection.sendall(request[sent : sent + 1])
            sent += 1
        assert sent < len(request)
        assert_ends(connection)
    assert contents(impatient, "dripper") == []


def test_request_that_comes_in_parts_but_in_time_is_served(server: LiveServer) -> None:
    request = add_one(server, "slow", "in three parts")
    with connect(server.url) as connection:
        for part in (request[:-20], request[-20:-10], request[-10:]):
            assert contents(server, "slow") == []
            connection.sendall(part)
        assert read_response(connection).status == 201
    assert contents(server, "slow") == ["in three parts"]


@pytest.mark.both_stores
@pytest.mark.parametrize("sent", [0.3, 0.9, 1.0])
def test_request_of_a_client_that_vanishes_is_stored_fully_or_not(
    live_server: LiveServer, tenant_key: str, sent: float
) -> None:
    for number in range(30):
        memories = [{"agent_id": "vanisher", "content": f"{number} {n}"} for n in range(5)]
        request = post(MEMORIES, tenant_key, json.dumps({"memories": memories}).encode())
        with connect(live_server.url) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
            connection.sendall(request[: int(len(request) * sent)])
    stored = [content.split()[0] for content in contents(live_server, "vanisher", tenant_key)]
    assert {stored.count(f"{number}") for number in range(30)} <= ({0, 5} if sent == 1 else {0})


@pytest.mark.both_stores
def test_stalled_client_does_not_keep_the_server_from_stopping(tmp_path: Path, store_url: str) -> None:
    with (
        LiveServer(tmp_path, "--client-timeout", "1", store=store_url) as server,
        connect(server.url) as connection,
    ):
        connection.sendall(add_one(server, "staller", "for ever")[:-1])
        with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
            stored = client.post(MEMORIES, json={"agent_id": "a", "content": "kept"})
            assert stored.status_code == 201
    assert server.returncode == 0
    assert [row.doc for row in assert_consistent_at(store_url)] == [stored.json()]


def add_one(server: LiveServer, agent_id: str, content: str) -> bytes:
    """Return the bytes of a request that adds a memory."""
    return post(MEMORIES, server.key, json.dumps({"agent_id": agent_id, "content": content}).encode())


def contents(server: LiveServer, agent_id: str, key: str | None = None) -> list[str]:
    """Return the contents of an agent, newest first, with the server's own key by default."""
    url = f"{server.url}{MEMORIES}?agent_id={agent_id}&limit=1000"
    response = httpx.get(url, headers={"x-api-key": key or server.key}, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    return [memory["content"] for memory in response.json()["memories"]]


def test_connections_with_unread_responses_are_closed(impatient: LiveServer) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            reads_nothing(stack.enter_context(connect(impatient.url)), impatient)
        deadline = time.monotonic() + PATIENCE
        while open_sockets(impatient) > OWN_SOCKETS:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_response_that_is_read_late_but_in_time_is_complete(server: LiveServer) -> None:
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        large = [{"agent_id": "late", "content": f"{n} " + "x" * 60_000} for n in range(100)]
        assert client.post(MEMORIES, json={"memories": large}, timeout=PATIENCE).status_code == 201
        with client.stream("GET", MEMORIES, params={"agent_id": "late"}) as response:
            time.sleep(0.2)
            assert json.loads(response.read())["count"] == 100


def test_pipelined_requests_get_responses_in_their_order(server: LiveServer) -> None:
    key = f"x-api-key: {server.key}\r\n".encode()
    body = b'{"agent_id": "pipeline", "content": "second"}'
    requests = [
        get(b"/health"), send_body(body, key), get(b"/nowhere"), send_body(body, UNKNOWN_KEY), get(b"/docs"),
        send_body(b"", key), get(b"/ready"),
    ]  # fmt: skip
    with connect(server.url) as connection, connection.makefile("rb") as responses:
        connection.sendall(b"".join(requests))
        statuses = [next_status(responses) for _ in requests]
    assert statuses[3] in {401, 429}  # other tests have failed authentications, too
    assert statuses[:3] + statuses[4:] == [200, 201, 404, 200, 400, 200]


def next_status(responses: Any) -> int:
    head = b"".join(takewhile(b"\r\n".__ne__, responses))
    length = re.search(rb"content-length: (\d+)", head)
    responses.read(int(length[1]) if length else 0)
    return int(head.split()[1])


def test_invalid_http_behind_a_request_does_not_lose_its_response(server: LiveServer) -> None:
    body = b'{"agent_id": "nonsense", "content": "before"}'
    with connect(server.url) as connection:
        connection.sendall(get(b"/health") + b"no HTTP\r\n\r\n")
        with connection.makefile("rb") as responses:  # one buffer, as both may come in one packet
            assert [next_status(responses) for _ in range(2)] == [200, 400]
            assert responses.read() == b""
    with connect(server.url) as connection, connection.makefile("rb") as responses:
        connection.sendall(post(MEMORIES, server.key, body) + b"no HTTP\r\n\r\n")
        assert [next_status(responses) for _ in range(2)] == [201, 400]
        assert responses.read() == b""


@pytest.mark.parametrize("last", [1, 2, 3, 4])
@pytest.mark.parametrize("first", ["a body", "an unwanted body", "no body"])
def test_head_in_two_parts_behind_a_request_gets_a_response(
    server: LiveServer, first: str, last: int
) -> None:
    """Split the head within its end, which might be taken for empty lines."""
    request = {
        "a body": post(MEMORIES, server.key, b"{}"),
        "an unwanted body": send_body(b"{}", UNKNOWN_KEY),
        "no body": HEALTH,
    }[first]
    with connect(server.url) as connection, connection.makefile("rb") as responses:
        connection.sendall(request + HEALTH[:-last])
        assert next_status(responses) in {200, 400, 401, 429}
        connection.sendall(HEALTH[-last:])
        assert next_status(responses) == 200


def test_bytes_behind_chunks_before_the_response_close_the_connection(server: LiveServer) -> None:
    """Pipeline behind chunks: only the parser finds their end, and it cannot be stopped there."""
    with connect(server.url) as connection:
        connection.sendall(chunked(server.key, b"2\r\n{}\r\n0\r\n\r\n") + HEALTH)
        response = read_response(connection)
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert connection.recv(1) == b""
    with connect(server.url) as connection:
        for _ in range(3):
            # An empty line after a request is ignored (RFC 9112, section 2.2).
            assert status_of(connection, chunked(server.key, b"2\r\n{}\r\n0\r\n\r\n\r\n")) == 400
            assert status_of(connection, HEALTH) == 200


@pytest.mark.parametrize("split", [0, 60, -60, -3], ids=["whole", "early", "late", "in its end"])
def test_upgrade_to_http_2_is_ignored_with_and_without_a_body(server: LiveServer, split: int) -> None:
    """Send the headers that Java's HttpClient sends by default."""
    upgrade = (
        "Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    )
    stored = post(MEMORIES, server.key, json.dumps({"agent_id": "java", "content": f"{split}"}).encode())
    head, _, body = stored.replace(b"Host:", f"{upgrade}Host:".encode()).partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    chunks = head.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked")
    with connect(server.url) as connection:
        for request, status in (
            (get(b"/health", upgrade.encode()), 200),
            (head + body, 201),
            (chunks + b"2\r\n{}\r\n0\r\n\r\n", 400),
            (HEALTH, 200),
        ):
            connection.sendall(request[: len(head) + split] if split < 0 else request[:split])
            connection.sendall(request[len(head) + split :] if split < 0 else request[split:])
            assert read(connection) == status
    assert contents(server, "java")[0] == f"{split}"


def test_client_of_http_1_0_gets_no_100_continue(server: LiveServer) -> None:
    with connect(server.url) as connection:
        request = post(MEMORIES, server.key, b"{}").replace(b"Host", b"Expect: 100-continue\r\nHost")
        connection.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_connections_beyond_the_limit_affect_no_earlier_one(tmp_path: Path) -> None:
    limited = ("sh", "-c", 'ulimit -n 400 && exec "$@"', "sh", sys.executable, "-m", "memtrace_server")
    with (
        LiveServer(tmp_path, "--max-connections", "50", "--client-timeout", "60", memtrace=limited) as server,
        ExitStack() as stack,
        httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE) as polite,
    ):
        assert polite.get("/health").status_code == 200
        os.kill(server.pid, signal.SIGSTOP)  # so that all of them arrive at once
        connections = [stack.enter_context(connect(server.url)) for _ in range(600)]
        os.kill(server.pid, signal.SIGCONT)
        assert status_of(connections[50], HEALTH) == 503
        for n in range(20):
            stored = polite.post(MEMORIES, json={"agent_id": "polite", "content": f"{n}"})
            assert stored.status_code == 201
        for connection in connections[200:]:
            assert_ends(connection)
        assert open_files(server) < 250
        stack.close()
        wait_for_room(server)
    assert '"level":"error"' not in "".join(server.log)


def test_max_connections_beyond_the_limit_of_files_is_refused(tmp_path: Path) -> None:
    command = (
        'ulimit -n 300 && exec "$0" -m memtrace_server serve --port 0 --max-connections 1000 --store "$1"'
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, f"sqlite:///{tmp_path / 'x.db'}"],
        capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "--max-connections: 1000 need 1256 open files, but the system allows 300" in done.stderr


# --- the head


def head_of(size: int) -> bytes:
    padding = size - len(get(b"/health", b"h: \r\n"))
    return get(b"/health", b"h: " + b"x" * padding + b"\r\n")


@pytest.mark.parametrize("comes", ["first", "in two parts", "behind another", "behind another and its part"])
def test_malformed_body_is_refused_at_once_after_earlier_requests(server: LiveServer, comes: str) -> None:
    """Send malformed chunks: after --client-timeout, the response would be a 408."""
    malformed = chunked(server.key, b"5\r\nabcde\r\nno size\r\n")
    before = post(MEMORIES, server.key, msgspec.json.encode({"agent_id": "malformed", "content": comes}))
    parts = {
        "first": [malformed],
        "in two parts": [malformed[:-9], malformed[-9:]],
        "behind another": [before + malformed],
        "behind another and its part": [before + malformed[:-9], malformed[-9:]],
    }[comes]
    expected = [400] if parts[0].startswith(malformed[:-9]) else [201, 400]
    with connect(server.url) as connection, connection.makefile("rb") as responses:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.1 * (len(parts) > 1))
        assert [next_status(responses) for _ in expected] == expected
        assert responses.read() == b""


def test_too_many_trailers_are_refused_at_once(server: LiveServer) -> None:
    with connect(server.url) as connection:
        connection.sendall(chunked(server.key, b"2\r\n{}\r\n0\r\n" + b"t: x\r\n" * 101 + b"\r\n"))
        response = read_response(connection)
        assert (response.status, response.json["code"]) == (431, "headers_too_large")


HEADS = {
    "as large as is allowed": (head_of(MAX_HEAD), 200),
    "a byte larger": (head_of(MAX_HEAD + 1), 431),
    "96 MiB": (get(b"/health", b"h: " + b"x" * (96 << 20)), 431),
    "100 headers": (get(b"/health", b"h: x\r\n" * 99), 200),
    "101 headers": (get(b"/health", b"h: x\r\n" * 100), 431),
    "a path of 4 KiB": (get(b"/" + b"x" * 4_095), 404),
    "a path of 4 KiB and a byte": (get(b"/" + b"x" * 4_096), 431),
    "no Host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (get(b"/health", b"Host: other\r\n"), 400),
    "no Host in HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", 200),
    "two lengths": (get(b"/health", b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    "a length and chunks": (get(b"/health", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
    "two codings": (get(b"/health", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), 400),
    "a coding besides chunks": (get(b"/health", b"Transfer-Encoding: gzip, chunked\r\n"), 400),
    "a tunnel with a body": (b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 400),
    "a tunnel": (b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "status"), HEADS.values(), ids=HEADS.keys())
def test_head_beyond_its_limits_is_refused(server: LiveServer, request_: bytes, status: int) -> None:
    with connect(server.url) as connection:
        try:
            connection.sendall(request_)
        except ConnectionError:  # refused before all of it was sent
            assert status == 431
        response = read_response(connection, "GET")

    assert response.status == status
    if status != 200:
        assert response.json["request_id"] == response.headers["x-request-id"]
        assert (
            response.json["code"]
            == {400: "invalid_request", 404: "not_found", 431: "headers_too_large"}[status]
        )


# --- rates


def test_failed_authentication_is_limited_by_address_and_logged(tmp_path: Path) -> None:
    arguments = ("--auth-failure-limit", "3", "--forwarded-allow-ips", "127.0.0.1", "--log-level", "warning")
    with LiveServer(tmp_path, *arguments) as server, httpx.Client(base_url=server.url) as client:

        def request_as(address: str, key: str) -> httpx.Response:
            return client.get(MEMORIES, headers={"x-api-key": key, "x-forwarded-for": address})

        assert request_as("203.0.113.1", server.key).status_code == 200
        assert [request_as("203.0.113.1", f"mtk_{n:064}").status_code for n in range(5)] == [401] * 3 + [
            429
        ] * 2
        refused = request_as("203.0.113.1", "")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 20
        # Valid keys still pass, including new ones; other addresses are not affected.
        assert request_as("203.0.113.1", server.key).status_code == 200
        assert request_as("203.0.113.1", server.create_tenant("other")).status_code == 200
        assert request_as("203.0.113.2", "mtk_" + "1" * 64).status_code == 401

    lines = [json.loads(line) for line in server.log if line.startswith("{")]
    failed = [(line["client"], line["status"]) for line in lines if line.get("status") == 401]
    assert failed == [("203.0.113.1", 401)] * 3 + [("203.0.113.2", 401)]


def test_address_in_a_header_counts_only_if_a_proxy_sends_it(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--auth-failure-limit", "2") as server:
        statuses = [
            httpx.get(f"{server.url}{MEMORIES}", headers={"x-forwarded-for": f"203.0.113.{n}"}).status_code
            for n in range(4)
        ]
    assert statuses == [401, 401, 429, 429]
    assert {json.loads(line)["client"] for line in server.log if '"status"' in line} == {"127.0.0.1"}


def test_requests_are_counted_by_key_in_either_header(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--rate-limit", "1") as server, httpx.Client(base_url=server.url) as client:
        other = server.create_tenant("other")
        bearer = {"authorization": f"Bearer {server.key}"}
        both = [{"x-api-key": server.key}, bearer] * 20
        assert {client.get(MEMORIES, headers=headers).status_code for headers in both} == {200, 429}
        assert client.get(MEMORIES, headers={"x-api-key": other}).status_code == 200
        assert client.get("/health", headers=bearer).status_code == 200


# --- without keys, and browsers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9100", 200),
        ("agent.localhost", 200),
        ("127.0.0.1:9100", 200),
        ("127.1.2.3", 200),
        ("[::1]", 200),
        ("[::1]:9100", 200),
        ("evil.example", 400),
        ("evil.example:9100", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("192.168.0.1", 400),
        ("0.0.0.0:9100", 400),
        ("[::2]:9100", 400),
        ("", 400),
    ],
)
def test_server_without_keys_accepts_only_names_of_this_machine(
    keyless: LiveServer, host: str, status: int
) -> None:
    for path in (MEMORIES, "/health", "/docs"):
        response = httpx.get(f"{keyless.url}{path}", headers={"host": host})
        assert response.status_code == status
        if status == 400:
            assert response.json()["details"][0]["field"] == "host"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 404),
        ("http://127.0.0.1:9100", 404),
        ("http://[::1]:9100", 404),
        ("https://app.example", 404),
        ("https://evil.example", 400),
        ("http://app.example", 400),
        ("http://localhost.evil.example", 400),
        ("null", 400),
        ("localhost", 400),
        ("", 400),
    ],
)
def test_server_without_keys_refuses_requests_of_other_origins(origin: str, status: int) -> None:
    """Send a POST without a body, which browsers send to any server; they only hide the response."""

    async def run() -> httpx.Response:
        app = create_app("sqlite://", auth=False, cors_origins=["https://app.example"])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9100") as client:
            assert (await client.get("/health")).status_code == 200
            return await client.post("/api/v1/agents/a/context", headers={"origin": origin})

    response = asyncio.run(run())
    assert response.status_code == status  # 404: the request was accepted
    if status == 400:
        assert response.json()["details"][0]["field"] == "origin"


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("keyless"), "--no-auth") as server:
        yield server


def test_server_without_keys_refuses_an_address_of_the_network(tmp_path: Path) -> None:
    everywhere = ["--host", "0.0.0.0", "--port", "0"]  # noqa: S104 - it is refused
    arguments = ["serve", "--no-auth", *everywhere, "--store", f"sqlite:///{tmp_path}/x.db"]
    done = subprocess.run(
        [sys.executable, "-m", "memtrace_server", *arguments],
        capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "--insecure-no-auth-on-network" in done.stderr


def test_option_allows_an_address_of_the_network_without_keys(tmp_path: Path) -> None:
    arguments = ("--no-auth", "--insecure-no-auth-on-network", "--host", "0.0.0.0")  # noqa: S104 - as users do
    with LiveServer(tmp_path, *arguments) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - the address that was bound
        response = httpx.get(f"{url}{MEMORIES}", headers={"host": "memory.example"})
    assert response.status_code == 200


def test_only_named_origins_get_cors_headers(tmp_path: Path, server: LiveServer) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    with LiveServer(
        tmp_path, "--cors-origin", "https://app.example", "--cors-origin", "https://b.example"
    ) as cors:
        for url, origin, is_named in (
            (cors.url, "https://app.example", True),
            (cors.url, "https://b.example", True),
            (cors.url, "https://evil.example", False),
            (server.url, "https://app.example", False),
        ):
            earlier = httpx.options(f"{url}{MEMORIES}", headers={"origin": origin, **preflight})
            listed = httpx.get(f"{url}/health", headers={"origin": origin})
            allowed = origin if is_named else None
            assert earlier.headers.get("access-control-allow-origin") == allowed
            assert listed.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in listed.headers
            if url == cors.url:
                assert re.fullmatch("req_[0-9A-Z]{26}", earlier.headers["x-request-id"])
                assert earlier.status_code == (200 if is_named else 400)
            if earlier.status_code == 400:
                assert earlier.headers["content-type"] == "application/json"
                assert earlier.json()["code"] == "invalid_request"
                assert earlier.json()["request_id"] == earlier.headers["x-request-id"]
            if is_named:
                assert "x-request-id" in listed.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/health"),
        get(b"/docs"),
        get(b"/openapi.json"),
        get(b"/nowhere"),
        get(b"/api/v1/memories"),
        send_body(b"{}"),
        b"DELETE /health HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"no HTTP\r\n\r\n",
        head_of(MAX_HEAD + 1),
    ],
    ids=[
        "health", "docs", "contract", "404", "401", "401 of a body", "405", "400", "400 of the parser", "431",
    ],
)  # fmt: skip
def test_every_response_has_an_id_and_forbids_caching_and_sniffing(
    server: LiveServer, request_: bytes
) -> None:
    with connect(server.url) as connection:
        connection.sendall(request_)
        headers = read_response(connection, "GET").headers
    assert re.fullmatch("req_[0-9A-Z]{26}", headers["x-request-id"])
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_reference_loads_only_its_own_style_and_script(server: LiveServer) -> None:
    page = httpx.get(f"{server.url}/docs")
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"].split("; ")
    own = {f"style-src 'sha256-{digest}'", "script-src 'self'", "connect-src 'self'"}
    assert {"default-src 'none'", "frame-ancestors 'none'", *own} <= set(policy)
    (script,) = re.findall("<script.*?</script>", page.text, re.DOTALL)
    assert script == '<script type="module" src="ui/docs.js"></script>'
