"""The workers of a server, and connections to each of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from live import LiveServer

T = TypeVar("T")

_PATIENCE = 60.0  # seconds for a process to start, or to stop


def descendants(ancestor: int) -> list[int]:
    """Return the descendants of a process."""
    parents: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
    found = [ancestor]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def connect_to_each(server: LiveServer, workers: int, connect: Callable[[], T]) -> list[T]:
    """Return the result of `connect` for each worker.

    All other workers are stopped meanwhile: workers share a listening socket, and the first of them takes a
    connection.

    Args:
        server: A server that was started with `--workers`.
        workers: Their number.
        connect: Opens a connection that stays open, and waits for its first response.
    """
    pids = _workers(server, workers)
    connected: list[T] = []
    for pid in pids:
        with _stopped([other for other in pids if other != pid]):
            connected.append(connect())
    return connected


def _workers(server: LiveServer, number: int) -> list[int]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        pids = [pid for pid in descendants(server.pid) if b"spawn_main" in _command(pid)]
        if len(pids) == number:
            return pids
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            while _stat(pid)[0] != "T":
                assert time.monotonic() < deadline
                time.sleep(0.001)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _stat(pid: int) -> list[str]:
    """Return a process's state, its parent, and more."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
