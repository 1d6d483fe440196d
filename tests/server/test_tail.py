"""A server's tail: other tenants, other workers, and the end of the server."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from durability.in_process import InProcess
from helpers.workers import connect_to_each
from live import LiveServer

from memtrace import Memtrace
from memtrace_server.core import Work


@pytest.mark.both_stores
def test_a_tail_does_not_see_another_tenant(live_server: LiveServer) -> None:
    with (
        Memtrace(live_server.url, live_server.create_tenant("tail-one")) as one,
        Memtrace(live_server.url, live_server.create_tenant("tail-two")) as two,
    ):
        start = one.tail_memories(agent_id="a").next_cursor
        for number in range(3):
            two.remember("a", f"secret {number}")
            one.remember("a", f"mine {number}")
        page = one.tail_memories(agent_id="a", cursor=start)
        assert [memory.content for memory in page.memories] == ["mine 0", "mine 1", "mine 2"]


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_tail_through_one_worker_sees_what_another_stores(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--workers", "2") as server, ExitStack() as stack:

        def connect() -> tuple[Memtrace, str]:
            client = stack.enter_context(Memtrace(server.url, server.key))
            return client, client.tail_memories().next_cursor

        tailing = connect_to_each(server, 2, connect)
        with ThreadPoolExecutor(len(tailing)) as threads:
            tails = [
                threads.submit(client.tail_memories, cursor=cursor, wait=8) for client, cursor in tailing
            ]
            with Memtrace(server.url, server.key) as writer:
                writer.remember("a", "one")
            assert [[memory.content for memory in tail.result().memories] for tail in tails] == [["one"]] * 2


@pytest.mark.parametrize("seconds", [0, 1, 30])
def test_tail_waits_as_long_as_its_wait(tmp_path: Path, seconds: int) -> None:
    with InProcess(tmp_path / "x.db") as process:
        work = process.tenant().begin("GET", "/api/v1/tail", query=f"wait={seconds}").todo
    assert isinstance(work, Work)
    assert work.wait == seconds


def test_stopping_server_responds_to_waiting_tails_at_once(tmp_path: Path) -> None:
    """Stop a server with a second to end: it would cut off a request that waits for thirty."""
    with (
        LiveServer(tmp_path, "--client-timeout", "1") as server,
        Memtrace(server.url, server.key, max_retries=0) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(client.tail_memories, wait=30)
        time.sleep(1)  # lets it wait first; otherwise the test proves less
        os.kill(server.pid, signal.SIGTERM)
        assert waiting.result().memories == []
