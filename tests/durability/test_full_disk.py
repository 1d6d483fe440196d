"""A full disk: writes fail, reads go on, and no acknowledged write is lost."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess
from durability.sockets import PATIENCE
from durability.store_audit import assert_consistent
from live import LiveServer

from memtrace_server.store.sqlite import tidying


@frozen
class Disk:
    """A disk that can be full.

    Attributes:
        server: The server that keeps its file there.
        make_room: Frees room again.
        file: The server's file.
    """

    server: LiveServer
    fill: Callable[[], None]
    make_room: Callable[[], None]
    file: Path


@contextmanager
def _real_disk(folder: Path) -> Iterator[Disk]:
    """Mount a small disk in a new namespace, which ends with the server."""
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
    """Limit the size of the server's files to what it is."""
    with LiveServer(folder) as server:
        file = folder / "memtrace.db"
        _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)

        def fill() -> None:
            size = Path(f"{file}-wal").stat().st_size
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, most))

        def make_room() -> None:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))

        yield Disk(server, fill, make_room, file)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces and limits")
@pytest.mark.parametrize("make_disk", [_real_disk, _limited_files])
def test_full_disk_fails_writes_and_loses_nothing(
    tmp_path: Path, make_disk: Callable[[Path], AbstractContextManager[Disk]]
) -> None:
    with make_disk(tmp_path) as disk, ExitStack() as stack:
        server = disk.server
        client = stack.enter_context(
            httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE)
        )
        stored: dict[str, dict[str, object]] = {}
        lost: list[tuple[str, bytes]] = []
        is_filled = threading.Lock()

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
                # Only one thread fills the disk: others might fill it with memories, which nobody removes.
                if number == 20 and is_filled.acquire(blocking=False):
                    disk.fill()

        with ThreadPoolExecutor(4) as threads:
            for writer in [threads.submit(write, number) for number in range(4)]:
                writer.result(PATIENCE)

        assert len(lost) == 4
        assert _all(client) == stored
        assert client.get("/health").status_code == 200
        if make_disk is _real_disk:  # /ready fails before a write does
            assert client.get("/ready").status_code == 503
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
    rows = assert_consistent(tmp_path / "copy.db")
    assert {row.doc["content"]: row.doc for row in rows} == stored


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_committed_write_is_acknowledged_if_the_log_cannot_be_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "_LONGEST_LOG", 0)
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
