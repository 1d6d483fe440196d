"""`with_response`: the server's response beside the result."""

from __future__ import annotations

import functools
from typing import Any

import anyio
import httpx
import pytest
from helpers.clients import MEMORY, SESSION, FakeServer, error, page

from memtrace import Answered, AsyncMemtrace, Memory, Memtrace, NotFoundError, SessionHandle
from memtrace.testing import FailNext


def method(of: Memtrace | SessionHandle, name: str) -> Any:
    """Return a method of the client itself: of the async one, the coroutine function."""
    return getattr(getattr(of, "_value", of), name)


def test_with_response_returns_the_result_and_the_response(sdk: Memtrace, fake_server: FakeServer) -> None:
    extensions = {"reason_phrase": b"Stored"}
    fake_server.respond(201, MEMORY, headers={"X-Request-Id": "req_1", "X-Node": "7"}, extensions=extensions)

    answered = sdk.with_response(method(sdk, "remember"), "agent_1", "User prefers dark mode", tags=["ui"])

    assert isinstance(answered, Answered)
    assert answered.result == Memory.from_dict(MEMORY)
    assert isinstance(answered.response, httpx.Response)
    assert answered.response.status_code == 201
    assert answered.response.headers["x-node"] == "7"
    assert answered.response.json() == MEMORY
    assert answered.response.reason_phrase == "Stored"
    assert answered.response.request.method == "POST"
    assert answered.response.request.content == fake_server.request.content
    assert answered.response is answered.response
    assert answered.request_id == "req_1"
    assert answered.retries == 0
    assert fake_server.sent["tags"] == ["ui"]


def test_method_that_returns_nothing_has_a_response(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(204)

    answered = sdk.with_response(method(sdk, "forget"), "mem_1")

    assert answered.result is None
    assert (answered.response.status_code, answered.request_id) == (204, None)


def test_retries_are_counted_and_the_last_response_is_returned(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(503, error(), headers={"X-Request-Id": "req_1"}).fail(httpx.ConnectError("refused"))
    fake_server.respond(200, page(), headers={"X-Request-Id": "req_3"})

    answered = sdk.with_response(method(sdk, "recall"), "agent_1")

    assert (answered.request_id, answered.retries) == ("req_3", 2)


def test_result_made_of_an_error_response_has_the_response(sdk: Memtrace, fake_server: FakeServer) -> None:
    # A 0.x server responds 404 to a retried deletion that it has already applied.
    fake_server.fail(httpx.ReadTimeout("lost")).respond(404, {"error": "agent not found"})

    answered = sdk.with_response(method(sdk, "delete_agent"), "agent_1")

    assert (answered.result, answered.response.status_code, answered.retries) == (None, 404, 1)


def test_method_of_a_session_has_a_response(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(201, MEMORY, headers={"X-Request-Id": "req_2"}).respond(
        200, SESSION
    )

    with sdk.session("agent_1") as session:
        answered = sdk.with_response(method(session, "remember"), "User prefers dark mode")

    assert (answered.result.id, answered.request_id) == (MEMORY["id"], "req_2")


def test_error_is_raised_and_has_the_response(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(404, error(), headers={"X-Request-Id": "req_1"})

    with pytest.raises(NotFoundError) as caught:
        sdk.with_response(method(sdk, "get_memory"), "mem_1")

    assert caught.value.request_id == "req_1"
    assert caught.value.response is not None
    assert caught.value.response.headers["x-request-id"] == "req_1"


def test_response_belongs_to_its_own_call(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(), headers={"X-Request-Id": "req_1"})
    fake_server.respond(200, page(), headers={"X-Request-Id": "req_2"})

    first = sdk.with_response(method(sdk, "recall"), "agent_1")
    sdk.recall("agent_2")

    assert first.request_id == "req_1"


def test_iterator_method_is_a_type_error(sdk: Memtrace) -> None:
    with pytest.raises(TypeError):
        sdk.with_response(method(sdk, "iter_memories"))


def test_method_without_a_request_is_a_type_error(memtrace: Memtrace, async_memtrace: AsyncMemtrace) -> None:
    problem = "close: it got no response before it returned"
    with pytest.raises(TypeError, match=problem):
        memtrace.with_response(memtrace.close)
    with pytest.raises(TypeError, match=r"functools\.partial\(.*\): it got no response"):
        memtrace.with_response(functools.partial(memtrace.close))

    async def close() -> None:
        await async_memtrace.with_response(async_memtrace.close)

    with pytest.raises(TypeError, match=problem):
        anyio.run(close)


def test_simultaneous_tasks_get_their_own_responses(
    async_memtrace: AsyncMemtrace, fail_next: FailNext
) -> None:
    results: list[Answered[Memory]] = []
    client = async_memtrace.with_options(max_retries=5)

    async def remember(number: int) -> None:
        results.append(await client.with_response(client.remember, f"agent_{number}", "The same"))

    async def remember_all() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(remember, number)

    fail_next(status=503, times=5)
    anyio.run(remember_all)

    assert len({answered.request_id for answered in results}) == 20
    assert all(answered.response.json()["id"] == answered.result.id for answered in results)
    assert sum(answered.retries for answered in results) == 5


def test_repr_of_answered_shows_no_key(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page())

    shown = repr(sdk.with_response(method(sdk, "recall"), "agent_1"))

    assert shown.startswith("Answered(result=MemoryList(")
    assert "mtk_" not in shown
