"""Bodies of responses: too large, compressed, or not what their headers declare."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from helpers.clients import MEMORY, FakeServer, MakeClient, page
from helpers.peers import Serve

from memtrace import Memtrace, ResponseValidationError

MANY = 200 * 1024 * 1024
LIMIT = "is larger than 67108864 bytes, the most that is read"


def sends(head: str, chunk: bytes, times: int = 1) -> Serve:
    """Respond to every request with a head, and a repeated chunk of a body."""

    def serve(connection: socket.socket, is_over: threading.Event) -> None:
        while connection.recv(65536):
            connection.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode("latin-1"))
            for _ in range(0 if is_over.is_set() else times):
                connection.sendall(chunk)

    return serve


@pytest.mark.parametrize("status", ["200 OK", "503 Busy"])
def test_response_that_declares_200_mb_is_not_read(make_client: MakeClient, serve: Any, status: str) -> None:
    server = serve(sends(f"{status}\r\nx-request-id: req_1\r\ncontent-length: {MANY}", b" " * 65536, 4))

    with pytest.raises(ResponseValidationError) as caught:
        make_client(server.url).recall("agent_1")

    assert caught.value.message == (
        f"The response to GET /api/v1/memories {LIMIT}: {MANY} bytes were announced; "
        "ask for less, with a limit"
    )
    assert (caught.value.status_code, caught.value.request_id) == (int(status[:3]), "req_1")
    assert caught.value.body is None
    assert caught.value.response is not None
    assert caught.value.response.content == b""


def test_chunked_response_is_read_only_to_the_limit(make_client: MakeClient, serve: Any) -> None:
    size = 1024 * 1024
    chunk = f"{size:x}\r\n".encode() + b" " * size + b"\r\n"
    server = serve(sends("200 OK\r\ntransfer-encoding: chunked", chunk, MANY // size))

    with pytest.raises(ResponseValidationError, match=LIMIT):
        make_client(server.url).recall("agent_1")


def encoded(body: bytes, coding: str) -> httpx.Response:
    """Return a response that httpx has not decompressed."""
    return httpx.Response(200, stream=httpx.ByteStream(body), headers={"content-encoding": coding})


def test_compressed_response_is_decompressed_only_to_the_limit(make_client: MakeClient, serve: Any) -> None:
    bomb = gzip.compress(bytes(MANY))
    head = f"200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}"

    with pytest.raises(ResponseValidationError, match=f"{LIMIT}: [0-9]+ bytes came"):
        make_client(serve(sends(head, bomb)).url).recall("agent_1")


@pytest.mark.parametrize(
    ("body", "coding", "problem"),
    [
        (b"{}", "gzip", "incorrect header check"),
        (b"{}", "br", "it is 'br', and gzip was asked for"),
        (b"{}", "x-gzip", "it is 'x-gzip', and gzip was asked for"),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip", "it is 'gzip, gzip', and gzip was asked for"),
    ],
    ids=["no gzip", "brotli", "x-gzip", "twice"],
)
def test_response_that_cannot_be_decompressed_is_an_error_with_the_cause(
    sdk: Memtrace, fake_server: FakeServer, body: bytes, coding: str, problem: str
) -> None:
    fake_server.stand_in = lambda _: encoded(body, coding)

    with pytest.raises(ResponseValidationError, match=f"cannot be decompressed: .*{problem}") as caught:
        sdk.health()
    assert caught.value.status_code == 200

    assert len(fake_server.requests) == 1


@pytest.mark.parametrize("coding", ["gzip", " GZIP", "identity"])
def test_response_of_a_known_coding_is_decompressed(
    sdk: Memtrace, fake_server: FakeServer, coding: str
) -> None:
    plain = json.dumps(page(MEMORY)).encode()
    fake_server.stand_in = lambda _: encoded(plain if coding == "identity" else gzip.compress(plain), coding)

    assert sdk.recall("agent_1").memories[0].id == MEMORY["id"]


def test_response_header_may_have_any_bytes(make_client: MakeClient, serve: Any) -> None:
    server = serve(sends("200 OK\r\nx-request-id: \xff\r\ncontent-length: 2", b"[]"))

    with pytest.raises(ResponseValidationError) as caught:
        make_client(server.url).health()

    assert caught.value.request_id == "ÿ"


def test_response_as_large_as_the_limit_is_read(
    sdk: Memtrace, fake_server: FakeServer, limit_responses: Callable[[int], None]
) -> None:
    body = json.dumps(page(MEMORY)).encode()
    limit_responses(len(body))
    bodies = [body, gzip.compress(body) + b"", body + b" "]
    fake_server.stand_in = lambda _: encoded(
        bodies[len(fake_server.requests) - 1], "gzip" if len(fake_server.requests) == 2 else "identity"
    )

    assert sdk.recall("agent_1").count == 1
    assert sdk.recall("agent_1").count == 1
    with pytest.raises(ResponseValidationError, match=f"is larger than {len(body)} bytes"):
        sdk.recall("agent_1")


def test_limit_applies_to_a_body_that_a_hook_has_read(
    make_client: MakeClient, limit_responses: Callable[[int], None]
) -> None:
    limit_responses(100)

    def handle(request: httpx.Request) -> httpx.Response:
        body = b"x" * 101
        if request.url.path == "/ready":  # already read, as by a hook
            return httpx.Response(200, content=gzip.compress(body), headers={"content-encoding": "gzip"})
        return httpx.Response(200, stream=httpx.ByteStream(body))

    client = make_client(http_client=make_client.http_client(handle))

    for call in (client.ready, client.health):
        with pytest.raises(ResponseValidationError, match=r"is larger than 100 bytes, .*: 101 bytes came"):
            call()


def test_supplied_http_client_reads_no_more_than_the_limit(
    make_client: MakeClient, limit_responses: Callable[[int], None]
) -> None:
    limit_responses(100)
    read = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield b"x" * 60

    async def chunks_for_tasks() -> AsyncIterator[bytes]:
        for chunk in chunks():
            yield chunk

    content = chunks_for_tasks if make_client.is_async else chunks
    http_client = make_client.http_client(lambda _: httpx.Response(200, content=content()))

    with pytest.raises(ResponseValidationError, match="is larger than 100 bytes"):
        make_client(http_client=http_client).health()

    assert len(read) == 2


def test_body_as_large_as_the_limit_may_be_read_by_a_hook(
    make_client: MakeClient, limit_responses: Callable[[int], None]
) -> None:
    body = b'{"status": "ok"}'
    limit_responses(len(body))
    http_client = make_client.http_client(lambda _: httpx.Response(200, content=body))

    assert make_client(http_client=http_client).health().status == "ok"


def test_compressed_body_that_a_hook_has_read_is_not_decompressed_again() -> None:
    body = gzip.compress(json.dumps({"status": "ok"}).encode())
    server = FakeServer().respond(200, content=body, headers={"content-encoding": "gzip", "x-kept": "1"})
    with httpx.Client(transport=httpx.MockTransport(server.handle)) as http_client:
        client = Memtrace(http_client=http_client)
        answered = client.with_response(client.ready)

    assert answered.result.status == "ok"
    assert answered.response.json() == {"status": "ok"}
    assert answered.response.headers["x-kept"] == "1"
