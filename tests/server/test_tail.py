"""A server's tail: other tenants, other workers, and the end of the server."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from live import LiveServer

from memtrace import Memtrace


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


def test_a_tail_through_one_worker_sees_what_another_stores(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--workers", "2") as server:
        clients = [Memtrace(server.url, server.key) for _ in range(8)]  # connections to both
        cursors = [client.tail_memories().next_cursor for client in clients]
        with ThreadPoolExecutor(len(clients)) as threads:
            tails = [
                threads.submit(client.tail_memories, cursor=cursor, wait=8)
                for client, cursor in zip(clients, cursors, strict=True)
            ]
            with Memtrace(server.url, server.key) as writer:
                writer.remember("a", "one")
            assert [[memory.content for memory in tail.result().memories] for tail in tails] == [["one"]] * 8
        for client in clients:
            client.close()


def test_a_server_that_stops_answers_those_who_wait_at_once(tmp_path: Path) -> None:
    """With a second to end, it would cut off a request that waits for eight."""
    with (
        LiveServer(tmp_path, "--client-timeout", "1") as server,
        Memtrace(server.url, server.key, max_retries=0) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(client.tail_memories, wait=8)
        time.sleep(1)  # so that it waits; if it does not yet, the test is weaker
        os.kill(server.pid, signal.SIGTERM)
        assert waiting.result().memories == []
