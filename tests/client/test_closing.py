"""Closing: as often as the caller likes, from any thread, and for all copies at once."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
from helpers.clients import FakeServer, MakeClient, page
from live import LiveServer

from memtrace import APIConnectionError, AsyncMemtrace, AsyncWriteBuffer, Memtrace


def assert_closed(client: Any) -> None:
    with pytest.raises(APIConnectionError, match="this client is closed; make a new one"):
        client.list_memories()


@pytest.mark.parametrize("is_used", [True, False])
def test_closing_a_closed_client_does_nothing(
    make_client: MakeClient, fake_server: FakeServer, *, is_used: bool
) -> None:
    client = make_client()
    if is_used:
        fake_server.respond(200, page())
        client.list_memories()

    for _ in range(3):
        client.close()
    with client:
        assert_closed(client)
    assert_closed(client)


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.parametrize("closes", ["the first", "a copy", "a copy of the copy", "all, and again"])
def test_a_client_and_its_copies_are_closed_together(
    make_client: MakeClient, fake_server: FakeServer, closes: str, *, is_used: bool
) -> None:
    client = make_client()
    copy = client.with_options(timeout=1)
    copy_of_copy = copy.with_options(api_key="mtk_other")
    if is_used:
        fake_server.respond(200, page())
        copy.list_memories()

    for one in {
        "the first": [client],
        "a copy": [copy],
        "a copy of the copy": [copy_of_copy],
        "all, and again": [copy_of_copy, client, copy, client, copy_of_copy],
    }[closes]:
        one.close()

    for one in (client, copy, copy_of_copy, client.with_options(max_retries=0)):
        assert_closed(one)


def test_a_caller_supplied_http_client_stays_open_after_close(make_client: MakeClient) -> None:
    http_client = make_client.http_client(lambda _: httpx.Response(200, json=page()))
    client = make_client(http_client=http_client)

    client.list_memories()
    client.with_options(timeout=1).close()
    client.close()

    assert_closed(client)
    assert make_client(http_client=http_client).list_memories().count == 0


@pytest.mark.parametrize("close", [AsyncMemtrace.close, AsyncMemtrace.aclose])
def test_close_and_aclose_can_be_mixed(close: Callable[[AsyncMemtrace], Any]) -> None:
    async def run() -> None:
        async with AsyncMemtrace("sqlite://") as client:
            assert (await client.ready()).status == "ok"
            await close(client)
            await asyncio.gather(client.close(), client.aclose(), close(client))

    asyncio.run(run())


@pytest.mark.parametrize("close", [AsyncWriteBuffer.close, AsyncWriteBuffer.aclose])
def test_close_and_aclose_of_a_buffer_can_be_mixed(
    close: Callable[[AsyncWriteBuffer], Any],
) -> None:
    async def run() -> None:
        async with AsyncMemtrace("sqlite://") as client:
            log = client.buffered()
            await log.remember("agent_1", "text")
            await close(log)
            await log.close()
            await log.aclose()
            assert (await client.recall("agent_1")).count == 1

    asyncio.run(run())


def test_many_threads_may_close_at_once(live_server: LiveServer) -> None:
    client = Memtrace(live_server.url)
    assert client.ready().status == "ok"

    with ThreadPoolExecutor(8) as pool:
        assert [future.result() for future in [pool.submit(client.close) for _ in range(32)]] == [None] * 32

    assert_closed(client)


def test_an_embedded_store_can_be_opened_again_by_another_client(
    make_client: MakeClient, tmp_path: Any
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    for number in range(3):
        client = make_client(url, None)
        client.remember("agent_1", f"number {number}")
        client.close()
        client.close()

    assert make_client(url, None).recall("agent_1").count == 3


def test_a_call_that_fails_as_its_client_closes_is_not_retried() -> None:
    def close(request: httpx.Request) -> httpx.Response:
        client.close()
        raise httpx.ReadError("closed", request=request)

    with httpx.Client(transport=httpx.MockTransport(close)) as http_client:
        client = Memtrace("http://memtrace.test", http_client=http_client)
        with pytest.raises(APIConnectionError, match="this client was closed while the call ran") as caught:
            client.list_memories()

    assert caught.value.__cause__ is None


def open_clients() -> list[object]:
    kinds = httpx.Client, httpx.AsyncClient
    # Not isinstance: it asks an object for its class, upon which some objects of openai make a client.
    return [found for found in gc.get_objects() if issubclass(type(found), kinds) and not found.is_closed]


def test_a_client_closed_during_its_first_call_leaves_nothing_open() -> None:
    async def main() -> list[object]:
        before = open_clients()
        client = AsyncMemtrace("https://127.0.0.1:9")
        call = asyncio.create_task(client.ready())
        await asyncio.sleep(0)  # lets a thread begin to make the connections
        await client.close()
        with pytest.raises(APIConnectionError, match=r"this client (was|is) closed"):
            await call
        return [found for found in open_clients() if found not in before]

    assert asyncio.run(main()) == []


def test_client_closed_by_a_thread_during_a_first_call_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = tmp_path / "certificates.pem"
    os.mkfifo(certificates)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    before = open_clients()
    client = Memtrace("https://127.0.0.1:9")

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.ready)
        with certificates.open("w") as file:  # opens as soon as the call reads it
            client.close()
            file.write(certifi.contents())

    with pytest.raises(APIConnectionError, match="this client was closed while the call ran"):
        call.result()
    assert [found for found in open_clients() if found not in before] == []
