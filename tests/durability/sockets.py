"""HTTP over plain sockets, for tests that control when each byte is sent."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Any

import msgspec
from attrs import frozen

PATIENCE = 60.0  # seconds


@frozen
class RawResponse:
    """A response as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body's JSON."""
        return msgspec.json.decode(self.body)


def connect(url: str) -> socket.socket:
    """Return a connection to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def post(path: str, key: str, body: bytes, *, once: str | None = None) -> bytes:
    """Return the bytes of a POST request; `once` is the Idempotency-Key."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        f"x-api-key: {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([] if once is None else [f"Idempotency-Key: {once}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_response(connection: socket.socket, method: str = "POST") -> RawResponse:
    """Read the response to a request."""
    with HTTPResponse(connection, method=method) as response:  # otherwise its file keeps the socket open
        response.begin()
        return RawResponse(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def send_at_once(url: str, requests: Sequence[bytes]) -> list[RawResponse]:
    """Send each request over its own connection, so that all are complete at the same time."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[:-1])
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[-1:])
        return [read_response(connection) for connection in connections]
