"""Run honest and hostile clients on one server in parallel.

Hostile clients run at the lowest priority (`nice 19`): clients of a network take no processor from the
server, and who waits for what the server does is to be measured, not how the machine shares its processors.

It fails if a memory that was acknowledged is not there at the end, if the 99th percentile of honest requests
is above 250 ms, if the server's memory grows, or if an honest client or the server fails.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field
from live import LiveServer

P99 = 0.25  # seconds
GROWTH = 1.15  # of the server's memory, between the second and the last third of the time
_HONEST = 4
_LOWEST = 19  # priority
_THINK = 0.05  # seconds between two honest requests
_PATIENCE = 60.0  # seconds
_MEMORIES = "/api/v1/memories"
_UNKNOWN_KEY = "mtk_" + "0" * 64
_SLOW_TEXT = "e\u0301\u0323" * 21_000  # which takes long to be compared with anything
_CHUNK = 4_096  # bytes of a response, which is all that a deaf client reads


def main() -> int:
    """Run for the requested time; return 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="run for this time (default: 10)")
    parser.add_argument(
        "--attacks", nargs="*", choices=WAYS, default=list(WAYS), help="run these attacks (default: all)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with LiveServer(Path(folder)) as server:
            honest = [Honest(server.url, server.create_tenant(f"honest-{n}")) for n in range(_HONEST)]
            sizes, attacks = run(server, honest, options.minutes * 60, options.attacks)
        with LiveServer(Path(folder)) as again:
            lost = sum(client.lost(again.url) for client in honest)
    return report(honest, sizes, attacks, lost, server)


def run(
    server: LiveServer, honest: Sequence[Honest], seconds: float, attacks: Sequence[str]
) -> tuple[Sequence[int], Counter[str]]:
    """Run all clients; return the sizes of the server's memory, and the number of attacks of each kind."""
    # In a separate process, so that they do not slow down the honest clients here.
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[Counter[str]] = context.Queue()
    until = time.time() + seconds
    neighbour = server.create_tenant("neighbour")
    hostile = context.Process(target=attack, args=(server.url, neighbour, until, attacks, counts))
    hostile.start()
    threads = [threading.Thread(target=client.work, args=(until,)) for client in honest]
    for thread in threads:
        thread.start()
    sizes: list[int] = []
    while time.time() < until:
        sizes.append(memory_of(server.pid))
        time.sleep(1)
    for thread in threads:
        thread.join()
    done = counts.get(timeout=2 * _PATIENCE)
    hostile.join()
    return sizes, done


def report(
    honest: Sequence[Honest], sizes: Sequence[int], attacks: Counter[str], lost: int, server: LiveServer
) -> int:
    """Print the measurements; return 1 if a guarantee was broken."""
    print(f"attacks: {', '.join(f'{number} {name}' for name, number in sorted(attacks.items()))}")
    taken = sorted(seconds for client in honest for seconds in client.taken)
    p50, p99 = (taken[int(len(taken) * part)] for part in (0.5, 0.99))
    print(f"honest requests: {len(taken)}; p50 {p50:.3f} s, p99 {p99:.3f} s, longest {taken[-1]:.3f} s")
    for name in sorted({name for client in honest for name in client.by_name}):
        some = sorted(seconds for client in honest for seconds in client.by_name.get(name, ()))
        print(f"  {name:8} {len(some):6}; p99 {some[int(len(some) * 0.99)]:.3f} s, longest {some[-1]:.3f} s")
    third = len(sizes) // 3
    before, after = statistics.median(sizes[third : 2 * third]), statistics.median(sizes[2 * third :])
    print(
        f"memory: {before / 2**20:.0f} MiB, then {after / 2**20:.0f} MiB; most {max(sizes) / 2**20:.0f} MiB"
    )
    kept = sum(len(client.acknowledged) for client in honest)
    print(f"acknowledged memories: {kept}, lost: {lost}")
    failures = [line for client in honest for line in client.failures]
    failures += [line for line in server.log if '"level":"error"' in line or "raceback" in line]
    print(f"failures: {len(failures)}", *failures[:10])
    broken = {
        "an acknowledged memory is lost": lost > 0,
        f"the 99th percentile is above {P99} s": p99 > P99,
        "memory grows": after > before * GROWTH,
        "an honest client or the server failed": bool(failures) or server.returncode != 0,
    }
    for promise, is_broken in broken.items():
        if is_broken:
            print(f"soak: {promise}")
    return int(any(broken.values()))


@define
class Honest:
    """A client that stores, reads, lists, searches and requests contexts, for its own organisation.

    Attributes:
        acknowledged: The content of each memory, by its id.
        taken: Seconds that each request took.
        by_name: The same by what was asked for.
        failures: Responses that it should not have got.
    """

    url: str
    key: str
    acknowledged: dict[str, str] = field(factory=dict)
    taken: list[float] = field(factory=list)
    by_name: dict[str, list[float]] = field(factory=dict)
    failures: list[str] = field(factory=list)

    def work(self, until: float) -> None:
        """Send requests until a time."""
        headers = {"x-api-key": self.key}
        with httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE) as client:
            number = 0
            while time.time() < until:
                number += 1
                content = f"Honest memory {number} of what the user said about ticket {number % 97}"
                body = {"agent_id": "honest", "session_id": f"s{number % 9}", "content": content}
                stored = self._ask(client, "write", "POST", _MEMORIES, json=body)
                if stored is not None:
                    self.acknowledged[stored["id"]] = content
                    self._ask(client, "read", "GET", f"{_MEMORIES}/{stored['id']}")
                self._ask(client, "list", "GET", _MEMORIES, params={"limit": 20})
                self._ask(client, "search", "POST", "/api/v1/search", json={"query": f"ticket {number % 97}"})
                self._ask(client, "context", "POST", "/api/v1/sessions/s1/context", json={"max_tokens": 500})

    def lost(self, url: str) -> int:
        """Return how many acknowledged memories a server lacks, or has with other contents."""
        found: dict[str, str] = {}
        cursor: dict[str, str] = {}
        with httpx.Client(base_url=url, headers={"x-api-key": self.key}, timeout=_PATIENCE) as client:
            while True:
                page = client.get(_MEMORIES, params={"limit": 1000, **cursor}).raise_for_status().json()
                found |= {memory["id"]: memory["content"] for memory in page["memories"]}
                if not page["has_more"]:
                    return sum(found.get(id_) != content for id_, content in self.acknowledged.items())
                cursor = {"cursor": page["next_cursor"]}

    def _ask(self, client: httpx.Client, name: str, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - httpx's; JSON
        time.sleep(random.uniform(0, 2 * _THINK))  # noqa: S311 - nothing here is secret
        before = time.perf_counter()
        try:
            response = client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.failures.append(f"{name}: {error!r}")
            return None
        seconds = time.perf_counter() - before
        self.taken.append(seconds)
        self.by_name.setdefault(name, []).append(seconds)
        if response.is_error:
            self.failures.append(f"{name}: {response.status_code} {response.text[:200]}")
            return None
        return response.json()


# --- hostile clients


def attack(
    url: str, key: str, until: float, names: Sequence[str], counts: multiprocessing.Queue[Counter[str]]
) -> None:
    """Attack a server in several ways at once until a time; `key` is a neighbour's."""
    os.nice(_LOWEST)
    with httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=_PATIENCE) as client:
        for start in (0, 100):
            slow = [{"agent_id": "slow", "content": f"{n} {_SLOW_TEXT}"} for n in range(start, start + 100)]
            client.post(_MEMORIES, json={"memories": slow}).raise_for_status()
    done: Counter[str] = Counter()

    def go_on(name: str) -> None:
        while time.time() < until:
            with suppress(OSError, httpx.HTTPError):  # the server closes the connection, as expected
                WAYS[name](url, key)
            done[name] += 1

    threads = [threading.Thread(target=go_on, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.put(done)


def stall(url: str, key: str) -> None:
    """Keep connections in each state for some seconds."""
    body = request(_MEMORIES, key, "POST", b'{"agent_id": "a", "content": "never"}')
    starts = [b"", b"GE", request("/health", key)[:-2], body[:-5], request("/health", key)]
    with ExitStack() as stack:
        for start in starts * 20:
            stack.enter_context(connect(url)).sendall(start)
        time.sleep(5)


def send_nonsense(url: str, _: str) -> None:
    """Send requests without a key that would be expensive to read."""
    many = b'{"memories":[' + b",".join([b"{}"] * 100_000) + b"]}"
    for costly in (
        request(_MEMORIES, "", "POST", many),
        request(f"{_MEMORIES}?tags={',' * 60_000}", ""),
        b"GET /health HTTP/1.1\r\nHost: x\r\nh: " + b"x" * (1 << 20),
        b"\x16\x03\x01" * 20_000,
    ):
        with suppress(OSError), connect(url) as connection:
            connection.sendall(costly)
            connection.recv(_CHUNK)
    time.sleep(0.2)


def guess_keys(url: str, _: str) -> None:
    """Send unknown keys, over one connection."""
    with httpx.Client(base_url=url, headers={"x-api-key": _UNKNOWN_KEY}, timeout=_PATIENCE) as client:
        for _attempt in range(20):
            client.get(_MEMORIES)
    time.sleep(0.2)


def read_nothing(url: str, key: str) -> None:
    """Request large pages and read a small part of them."""
    with ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(connect(url))
            connection.sendall(request(f"{_MEMORIES}?limit=1000", key) * 3)
            connection.recv(_CHUNK)
        time.sleep(5)


def leave_searches(url: str, key: str) -> None:
    """Begin searches that take seconds, and leave."""
    search = request("/api/v1/search", key, "POST", b'{"content_contains": "zq"}')
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(url)).sendall(search)
        time.sleep(1)


def leave_tails(url: str, key: str) -> None:
    """Wait for memories on many connections, and leave."""
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(url)).sendall(request("/api/v1/tail?wait=30", key))
        time.sleep(5)


def store_much(url: str, key: str) -> None:
    """Store the largest batch, and forget it."""
    headers = {"x-api-key": key}
    with httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE) as client:
        content = "x" * 65_000
        batch = [{"agent_id": "large", "content": f"{n} {content}"} for n in range(1000)]
        client.post(_MEMORIES, json={"memories": batch})
        client.delete(_MEMORIES, params={"agent_id": "large"})
    time.sleep(15)


WAYS: Mapping[str, Callable[[str, str], None]] = {
    way.__name__: way
    for way in (stall, send_nonsense, guess_keys, read_nothing, leave_searches, leave_tails, store_much)
}
"""The attacks, by their names."""


def request(path: str, key: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: soak", f"Content-Length: {len(body)}"]
    lines += [f"x-api-key: {key}"] if key else []
    lines += ["Content-Type: application/json"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(url: str) -> socket.socket:
    """Return a connection to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), _PATIENCE)


def memory_of(pid: int) -> int:
    """Return the bytes of a process's memory that are in use."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError(f"process {pid}: /proc does not tell its memory; run this on Linux")
    return int(found[1]) << 10


if __name__ == "__main__":
    sys.exit(main())
