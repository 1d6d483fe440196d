"""Embedded stores: responses, timeouts, and what a missing server needs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from helpers.clients import MakeClient

from memtrace import APITimeoutError, AsyncMemtrace, NotFoundError


def test_with_response_has_a_response_as_over_http(make_client: MakeClient) -> None:
    client = make_client("sqlite://", None)

    # Of the async client, the coroutine function.
    remember = getattr(client, "_value", client).remember
    answered = client.with_response(remember, "agent_1", "Größe: 🙂")

    response = answered.response
    assert response.status_code == 201
    assert response.json()["content"] == "Größe: 🙂"
    assert response.headers["content-type"].startswith("application/json")
    assert (response.request.method, str(response.request.url)) == (
        "POST",
        "http://embedded/api/v1/memories",
    )
    assert response.request.headers["user-agent"].startswith("memtrace-sdk/")
    assert json.loads(response.request.content)["content"] == "Größe: 🙂"
    assert answered.request_id
    assert response.http_version == "HTTP/1.1"


def test_error_of_an_embedded_store_has_a_response(make_client: MakeClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        make_client("sqlite://", None).get_memory("mem_01JD5P8E6W3M9V2QXA7RKB4TNC")

    assert caught.value.response is not None
    assert str(caught.value.response.request.url).endswith("/memories/mem_01JD5P8E6W3M9V2QXA7RKB4TNC")
    assert caught.value.request_id


def test_first_request_compiles_few_schemas_of_the_contract() -> None:
    """Measure memory: all schemas of the contract at once take 97 MiB."""
    program = """if True:
        import resource
        import memtrace_server.embedded
        from memtrace import Memtrace
        peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
        with Memtrace("sqlite://") as client:
            client.remember("agent_1", "likes dark mode")
            assert client.recall("agent_1").count == 1
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print((peaks[1] - peaks[0]) >> 10)
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, stdout=subprocess.PIPE, timeout=60
    )
    assert int(done.stdout) < 30  # MiB; 7 were measured


def test_filters_with_special_characters_are_applied(make_client: MakeClient) -> None:
    client = make_client("sqlite://", None)
    for content, tag in (("one", "ä&b"), ("two", "c")):
        client.remember("agent_1", content, tags=[tag])

    assert [memory.content for memory in client.recall("agent_1", tags=["ä&b"]).memories] == ["one"]


def test_only_supplied_idempotency_keys_are_stored(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(f"sqlite:///{tmp_path}/agent.db", None)
    client.remember("agent_1", "without a key")
    first = client.remember("agent_1", "with mine", idempotency_key="mine")

    assert client.remember("agent_1", "with mine", idempotency_key="mine").id == first.id
    with closing(sqlite3.connect(tmp_path / "agent.db")) as store:
        assert store.execute("SELECT key FROM answers").fetchall() == [("mine",)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_write_waits_for_another_process_up_to_its_timeout(tmp_path: Path, backend: str) -> None:
    file = tmp_path / "agent.db"

    async def run() -> None:
        async with AsyncMemtrace(f"sqlite:///{file}") as client:
            await client.remember("agent_1", "first")
            with closing(sqlite3.connect(file, check_same_thread=False)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(APITimeoutError, match="others write to it all the time"):
                    await client.with_options(timeout=0.1).remember("agent_1", "in vain")
                release = threading.Timer(0.3, other.rollback)
                release.start()
                assert (await client.remember("agent_1", "second")).content == "second"
                release.join()
            listed = await client.list_memories(order="asc")
            assert [memory.content for memory in listed.memories] == ["first", "second"]

    anyio.run(run, backend=backend)


def test_call_that_gets_no_thread_in_time_is_a_timeout_error(tmp_path: Path) -> None:
    async def run() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        async with AsyncMemtrace(f"sqlite:///{tmp_path}/agent.db", max_retries=0) as client:
            assert (await client.ready()).status == "ok"
            taken = [object() for _ in range(int(limiter.total_tokens))]
            for one in taken:
                await limiter.acquire_on_behalf_of(one)
            with pytest.raises(APITimeoutError, match="no response in time: TimeoutError"):
                await client.with_options(timeout=0.02).recall("agent_1")
            for one in taken:
                limiter.release_on_behalf_of(one)
            assert (await client.recall("agent_1")).count == 0

    asyncio.run(run())


def test_missing_server_is_an_error_that_names_store_and_remedy(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "memtrace_server.embedded", None)
    monkeypatch.setitem(sys.modules, "memtrace_server.transport", None)

    with pytest.raises(ImportError) as caught:
        make_client(f"sqlite:///{tmp_path}/a.db").recall("a")

    assert str(caught.value).startswith(f"sqlite:///{tmp_path}/a.db: an embedded store needs the server: ")
    assert str(caught.value).endswith("; pip install 'memtrace-sdk[server]'")
    assert "memtrace_server" in str(caught.value.__cause__)
    assert str(caught.value.__cause__) in str(caught.value)
