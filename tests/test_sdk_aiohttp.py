"""A session of aiohttp's in place of a client's own connections: nothing but the speed is another."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from sdk_harness import KEY, MEMORY, page
from socket_server import Serve, Silent

from memtrace import (
    APIConnectionError,
    APITimeoutError,
    AsyncMemtrace,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Memtrace,
    MemtraceError,
    NotFoundError,
    ResponseValidationError,
    ServerError,
    _retries,
)

if TYPE_CHECKING:
    from memtrace.testing import MemtraceServer

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"


def ok(body: Any) -> bytes:
    content = json.dumps(body).encode()
    return OK % (len(content), content)


@asynccontextmanager
async def client_of(url: str, key: str | None = KEY, **settings: Any) -> AsyncIterator[AsyncMemtrace]:
    """A client with a session of its own."""
    of_session = settings.pop("session", {})
    async with (
        aiohttp.ClientSession(**of_session) as session,
        AsyncMemtrace(url, key, http_client=session, **settings) as client,
    ):
        yield client


def answers(*given: bytes) -> tuple[Serve, list[bytes]]:
    """Give each request the next answer, and close the connection after what is none."""
    left, requests = list(given), []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        while asked := connection.recv(65536):
            requests.append(asked)
            answer = left.pop(0)
            connection.sendall(answer)
            if not answer.startswith(b"HTTP/1.1") or b"cut" in answer:
                return

    return serve, requests


def test_it_does_what_any_client_does(memtrace_server: MemtraceServer) -> None:
    async def run() -> None:
        async with client_of(memtrace_server.url, memtrace_server.key) as client:
            first = await client.remember("agent_1", "Größe: 🙂", tags=["ui"], metadata={"a": [1]})
            await asyncio.gather(*[client.remember("agent_1", f"number {n}") for n in range(64)])
            assert (await client.get_memory(first.id or "")).content == "Größe: 🙂"
            assert (await client.recall("agent_1")).count == 65
            assert [m.content async for m in client.iter_search("Größe", agent_id="agent_1")] == [
                first.content
            ]
            async with client.session("agent:1@x") as session:
                await session.remember("in a session")
            assert (await client.list_memories(agent_id="agent:1@x")).count == 1
            answered = await client.with_response(client.forget, first)
            assert (answered.response.status_code, answered.response.reason_phrase) == (204, "No Content")
            with pytest.raises(NotFoundError):
                await client.get_memory(first.id or "")
            with pytest.raises(ConflictError) as caught:
                await client.remember("agent_1", "number 1", on_duplicate="reject")
            assert caught.value.existing_id
            with pytest.raises(BadRequestError):
                await client.list_memories(limit=2000)
            with pytest.raises(AuthenticationError):
                await client.with_options(api_key="mtk_" + "0" * 64).recall("agent_1")

    asyncio.run(run())


@pytest.mark.parametrize(
    "lost", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 201 cut\r\ncontent-length: 9\r\n\r\n{"]
)
def test_an_answer_that_is_lost_is_asked_for_again_as_the_same_write(
    serve: Any, lost: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retries, "FIRST_WAIT", 0.0)
    given, requests = answers(lost, ok(MEMORY))

    async def run() -> None:
        async with client_of(serve(given).url) as client:
            assert (await client.remember("agent_1", "text")).id == MEMORY["id"]

    asyncio.run(run())

    first, second = requests
    assert first == second
    assert b"dempotency-" in first


def test_one_that_is_lost_after_0_x_has_stored_it_is_no_conflict(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retries, "FIRST_WAIT", 0.0)
    conflict = b'{"error": "duplicate memory detected"}'
    refused = b"HTTP/1.1 409 Conflict\r\ncontent-length: %d\r\n\r\n%s" % (len(conflict), conflict)
    given, _ = answers(b"", refused, ok(page(MEMORY)))

    async def run() -> None:
        async with client_of(serve(given).url) as client:
            assert (await client.remember("agent_1", MEMORY["content"])).id == MEMORY["id"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("timeout", "said"), [(0.1, "no answer in time"), (httpx.Timeout(5, read=0.1), "no answer in time")]
)
def test_a_server_that_says_nothing_is_left_after_the_timeout(serve: Any, timeout: Any, said: str) -> None:
    async def run() -> None:
        async with client_of(serve(Silent()).url, timeout=timeout, max_retries=0) as client:
            with pytest.raises(APITimeoutError, match=said):
                await client.recall("agent_1")

    asyncio.run(run())


def test_without_a_timeout_it_is_the_sessions_own(serve: Any) -> None:
    async def run() -> None:
        session = {"timeout": aiohttp.ClientTimeout(total=0.1)}
        async with client_of(serve(Silent()).url, timeout=None, max_retries=0, session=session) as client:
            with pytest.raises(APITimeoutError):
                await client.recall("agent_1")

    asyncio.run(run())


def test_with_one_that_of_the_session_is_not_in_its_way(serve: Any) -> None:
    async def run() -> None:
        session = {"timeout": aiohttp.ClientTimeout(total=1e-6)}
        async with client_of(serve(given).url, timeout=30, max_retries=0, session=session) as client:
            assert (await client.recall("agent_1")).count == 0

    given, _ = answers(ok(page()))
    asyncio.run(run())


def test_who_waits_for_a_connection_longer_than_httpx_allows_is_told(serve: Any) -> None:
    silent = Silent()

    async def run() -> None:
        session = {"connector": aiohttp.TCPConnector(limit=1)}
        async with client_of(serve(silent).url, max_retries=0, session=session) as client:
            first = asyncio.create_task(client.ready())
            await asyncio.to_thread(silent.wait)
            with pytest.raises(APITimeoutError):
                async with asyncio.timeout(30):
                    await client.with_options(timeout=httpx.Timeout(60, pool=0.01)).ready()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(run())


def test_what_is_escaped_in_a_path_is_sent_as_it_is(serve: Any) -> None:
    async def run() -> None:
        async with client_of(serve(given).url) as client:
            await client.get_agent_memories("agent:1@x%2F")

    given, requests = answers(ok(page()))
    asyncio.run(run())

    assert requests[0].startswith(b"GET /api/v1/agents/agent%3A1%40x%252F/memories HTTP/1.1")


@pytest.mark.parametrize("reason", ["", "Overslept"])
def test_a_refusal_is_an_error_of_ours_in_the_words_of_the_server(serve: Any, reason: str) -> None:
    async def run() -> None:
        # Whatever the session would make of it.
        session = {"raise_for_status": True}
        async with client_of(serve(given).url, max_retries=0, session=session) as client:
            with pytest.raises(ServerError) as caught:
                await client.recall("agent_1")
            assert caught.value.message == f"GET /api/v1/memories was answered with 504 {reason}".strip()

    given, _ = answers(f"HTTP/1.1 504 {reason}\r\ncontent-length: 0\r\n\r\n".encode())
    asyncio.run(run())


def test_a_port_where_nobody_listens_was_never_sent_to() -> None:
    async def run(url: str) -> MemtraceError:
        async with client_of(url, max_retries=0) as client:
            with pytest.raises(
                APIConnectionError, match=r"cannot connect.* is a Memtrace server running"
            ) as e:
                await client.recall("agent_1")
        return e.value

    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = asyncio.run(run(url))

    from memtrace._failures import was_sent  # noqa: PLC0415  # private, and looked at on purpose

    assert not was_sent(error)


def test_a_session_that_is_closed_is_an_error_of_ours() -> None:
    async def run() -> None:
        async with client_of("http://localhost:9") as client:
            await client._sender.connection._given._client.close()  # type: ignore[union-attr]  # noqa: SLF001
            with pytest.raises(APIConnectionError, match="Session is closed"):
                await client.recall("agent_1")

    asyncio.run(run())


async def _redirected(client: AsyncMemtrace) -> None:
    with pytest.raises(MemtraceError, match="redirect to http://elsewhere/, which is not followed"):
        await client.recall("agent_1")


async def _too_large(client: AsyncMemtrace) -> None:
    with pytest.raises(ResponseValidationError, match="larger than 67108864 bytes"):
        await client.recall("agent_1")


async def _compressed(client: AsyncMemtrace) -> None:
    assert (await client.recall("agent_1")).count == 1


ZIPPED = gzip.compress(json.dumps(page(MEMORY)).encode())
BOMB = gzip.compress(b" " * (64 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("head", "body", "check"),
    [
        ("307 Away\r\nlocation: http://elsewhere/", b"", _redirected),
        (f"200 OK\r\ncontent-length: {200 * 1024 * 1024}", b" " * 99, _too_large),
        (f"200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(BOMB)}", BOMB, _too_large),
        (f"200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(ZIPPED)}", ZIPPED, _compressed),
    ],
    ids=["redirect", "large", "bomb", "gzip"],
)
def test_what_else_may_be_answered(
    serve: Any, head: str, body: bytes, check: Callable[[AsyncMemtrace], Awaitable[None]]
) -> None:
    async def run() -> None:
        length = "" if "length" in head else "\r\ncontent-length: 0"
        given, _ = answers(f"HTTP/1.1 {head}{length}\r\n\r\n".encode() + body)
        async with client_of(serve(given).url) as client:
            await check(client)

    asyncio.run(run())


def test_it_stays_open_when_the_client_is_closed() -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await AsyncMemtrace(http_client=session).close()
            assert not session.closed

    asyncio.run(run())


def test_it_is_for_tasks_alone() -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match=r"give an httpx.Client, not aiohttp.client.ClientSession"):
                Memtrace(http_client=session)  # type: ignore[arg-type]  # that is what is tested

    asyncio.run(run())
