"""`memtrace serve` as processes: the address that it prints, and the environment of its workers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest
from helpers.workers import descendants
from live import LiveServer


def test_url_of_an_ipv6_address_has_brackets(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--host", "::1") as server:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
        assert httpx.get(f"{server.url}/health").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="the environment of a process is in /proc")
def test_workers_do_not_inherit_the_bootstrap_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "mtk_" + "8" * 64
    monkeypatch.setenv("MEMTRACE_BOOTSTRAP_KEY", key)
    with LiveServer(tmp_path, "--workers", "2") as server:
        # A worker has taken the request, so its environment is complete.
        ready = httpx.get(f"{server.url}/ready", headers={"x-api-key": key}, timeout=60)
        assert ready.status_code == 200
        workers = descendants(server.pid)
        readable = b"".join(
            (Path("/proc") / str(pid) / name).read_bytes() for pid in workers for name in READABLE
        )

    assert len(workers) >= 2
    assert b"MEMTRACE_WORKER_OPTIONS" in readable
    assert key.encode() not in readable
    assert server.key.encode() not in readable


READABLE = ("environ", "cmdline")
