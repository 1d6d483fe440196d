"""`tail()`: an iterator over memories as they are stored."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import anyio
import pytest
from helpers.clients import MEMORY, FakeServer, error
from live import LiveServer

from memtrace import APIConnectionError, AsyncMemtrace, AuthenticationError, Memtrace, ServerError

_PATIENCE = 60


def followed(client: Memtrace, found: Queue[str], **options: Any) -> None:
    for memory in client.tail(**options):
        found.put(memory.content)
        if memory.content == "last":
            return


def test_a_tail_survives_restarts_without_gap_or_repeat(tmp_path: Path) -> None:
    found: Queue[str] = Queue()
    with LiveServer(tmp_path) as first, Memtrace(first.url, first.key, max_retries=0) as client:
        port, key = first.url.rpartition(":")[2], first.key
        client.remember("a", "before")
        thread = threading.Thread(target=followed, args=(client, found), kwargs={"start": "beginning"})
        thread.start()
        assert found.get(timeout=_PATIENCE) == "before"
        client.remember("a", "one")
        assert found.get(timeout=_PATIENCE) == "one"
        first.kill()
        for content in ("two", "three", "last"):
            with LiveServer(tmp_path, "--port", port) as again, Memtrace(again.url, key) as writer:
                writer.remember("a", content)
                assert found.get(timeout=_PATIENCE) == content
                again.kill()
        thread.join(_PATIENCE)
    assert found.empty()


def test_tail_of_an_unreachable_server_fails_at_once() -> None:
    with Memtrace("http://127.0.0.1:1", max_retries=0) as client, pytest.raises(APIConnectionError):
        next(iter(client.tail()))


def test_a_tail_whose_key_is_revoked_fails(memtrace_server: Any) -> None:
    with Memtrace(memtrace_server.url, "mtk_" + "0" * 64) as client, pytest.raises(AuthenticationError):
        next(iter(client.tail()))


def test_a_tail_continues_from_a_cursor_with_filters(tmp_path: Path) -> None:
    async def work() -> list[str]:
        async with AsyncMemtrace(f"sqlite:///{tmp_path}/agent.db", timeout=4) as client:
            cursor = (await client.tail_memories(agent_id="a")).next_cursor
            for agent in ("a", "b", "a"):
                await client.remember(agent, f"of {agent}")
            found: list[str] = []
            async for memory in client.tail(agent_id="a", cursor=cursor):
                found.append(memory.content)
                if len(found) == 2:
                    break
            return found

    assert anyio.run(work) == ["of a", "of a"]


def test_an_embedded_tail_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    async def work() -> bool:
        async with AsyncMemtrace(f"sqlite:///{tmp_path}/agent.db") as client:
            with anyio.move_on_after(0.2) as scope:
                await client.tail_memories(wait=30)
            return scope.cancelled_caught

    assert anyio.run(work)


def test_an_embedded_tail_ends_when_its_client_is_closed(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        client = Memtrace(f"sqlite:///{tmp_path}/agent.db", max_retries=0)
        client.remember("a", "before")
        waiting = threads.submit(client.tail_memories, wait=30)
        time.sleep(0.2)  # lets it wait first; otherwise the test proves less
        client.close()
        with pytest.raises(ServerError) as caught:
            waiting.result(10)
    assert caught.value.code == "unavailable"


@pytest.mark.usefixtures("call_clock", "longest_delays")
def test_tail_continues_after_an_outage(sdk: Memtrace, fake_server: FakeServer, delays: list[float]) -> None:
    def page(content: str) -> dict[str, Any]:
        memories = [MEMORY | {"content": content}]
        return {"memories": memories, "count": 1, "has_more": False, "next_cursor": "c"}

    fake_server.respond(200, page("one"))
    for _ in range(3):
        fake_server.respond(503, error("unavailable"))
    fake_server.respond(200, page("two"))

    found = iter(sdk.tail(start="beginning"))

    assert [next(found).content for _ in range(2)] == ["one", "two"]
    assert delays == [0.5, 1.0, 0.5]  # two retries of one request, and one of the tail
    # Half of the timeout.
    assert [request.url.params["wait"] for request in fake_server.requests] == ["15"] * 5


@pytest.mark.usefixtures("longest_delays")
def test_a_tail_without_a_first_response_fails(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float]
) -> None:
    for _ in range(3):
        fake_server.respond(503, error("unavailable"))

    with pytest.raises(ServerError):
        next(iter(sdk.tail()))

    assert delays == [0.5, 1.0]
