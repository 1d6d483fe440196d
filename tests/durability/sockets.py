"""HTTP over sockets of our own, where it matters when each byte is sent."""

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
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body's JSON."""
        return msgspec.json.decode(self.body)


def connect(url: str) -> socket.socket:
    """A connection to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def post(path: str, key: str, body: bytes, *, once: str | None = None) -> bytes:
    """The bytes of a POST request; `once` is the Idempotency-Key."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        f"x-api-key: {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([] if once is None else [f"Idempotency-Key: {once}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(connection: socket.socket, method: str = "POST") -> Answer:
    """Read the answer to a request."""
    with HTTPResponse(connection, method=method) as response:  # else its file keeps the socket open
        response.begin()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def send_at_once(url: str, requests: Sequence[bytes]) -> list[Answer]:
    """Send requests, each on a connection of its own, so that they are complete at the same time."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[:-1])
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[-1:])
        return [answer(connection) for connection in connections]
