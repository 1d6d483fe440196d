"""The cost of requests to a server: CPU time and memory of its process, never wall time."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path

from live import LiveServer

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"
_ROUNDS = 3
_TRIVIAL = 20  # fewer would be too few to measure


def cpu(server: LiveServer) -> float:
    """Return the CPU time (s) of all threads of the server."""
    tasks = Path(f"/proc/{server.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def memory(server: LiveServer) -> int:
    """Return the memory (bytes) that the server uses."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found
    return int(found[1]) << 10


def cost(server: LiveServer, act: Callable[[], None], trivial: Callable[[], None], times: int) -> float:
    """Return the cost of an action in trivial requests (`GET /health`), each the minimum of some rounds.

    The trivial requests come first, so that background work of an action does not count for them.
    """
    least = _trivial(server, trivial, times)
    return min(_spent(server, act, times) for _ in range(_ROUNDS)) / least


def assert_costs(
    server: LiveServer, act: Callable[[], None], trivial: Callable[[], None], *, most: float, times: int
) -> None:
    """Assert that some round of an action costs at most a number of trivial requests."""
    least = _trivial(server, trivial, times)
    costs: list[float] = []
    while not costs or costs[-1] > most:
        assert len(costs) < 2 * _ROUNDS, costs
        costs.append(_spent(server, act, times) / least)


def wait_until_indexed(server: LiveServer) -> None:
    """Wait for the background work after a write."""
    with closing(sqlite3.connect(server.store_url.removeprefix("sqlite:///"), timeout=60.0)) as store:
        while store.execute("SELECT 1 FROM unindexed LIMIT 1").fetchone():
            store.rollback()
            time.sleep(0.01)


def status_of(connection: socket.socket, request: bytes, method: str = "GET") -> int:
    """Send a request, read the response to its end, and return its status."""
    connection.sendall(request)
    return read(connection, method)


def read(connection: socket.socket, method: str = "GET") -> int:
    """Read a response to its end, and return its status."""
    with HTTPResponse(connection, method=method) as response:  # otherwise its file keeps the socket open
        response.begin()
        response.read()
        return response.status


def _trivial(server: LiveServer, trivial: Callable[[], None], times: int) -> float:
    return min(_spent(server, trivial, max(times, _TRIVIAL)) for _ in range(_ROUNDS))


def _spent(server: LiveServer, act: Callable[[], None], times: int) -> float:
    before = cpu(server)
    for _ in range(times):
        act()
    return (cpu(server) - before) / times


def open_files(server: LiveServer) -> int:
    """Return the number of files and connections that the server has open."""
    return len(_open(server))


def open_sockets(server: LiveServer) -> int:
    """Return the number of connections that the server has open, including a few of its own sockets."""
    return sum(name.startswith("socket:") for name in _open(server))


def _open(server: LiveServer) -> list[str]:
    names: list[str] = []
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            names.append(str(entry.readlink()))
    return names
