"""Lost responses of a 0.x server: comparing its records with what an earlier attempt sent."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from helpers.clients import AGENT, MEMORY, FakeServer, MakeClient, page

from memtrace import BadRequestError, ConflictError, Memtrace, NotFoundError

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
OLD_CONFLICT = {"error": "duplicate memory detected"}
SENT: dict[str, Any] = {
    "agent_id": "agent_1",
    "content": "User prefers light mode",
    "session_id": "sess_1",
    "memory_type": "entity",
    "event_type": "observation",
    "tags": ["ui"],
    "importance": 0.7,
    "metadata": {"ticket": 4711},
    "parent_id": "mem_0",
    "dedup_key": "key",
}
STORED = {**SENT, "time": "2026-11-01T12:00:00Z", "org_id": "org_1"}


def lose_the_response(fake_server: FakeServer) -> FakeServer:
    return fake_server.fail(httpx.ReadError("lost")).respond(409, OLD_CONFLICT)


def test_memory_made_from_the_request_has_all_of_its_fields(sdk: Memtrace, fake_server: FakeServer) -> None:
    lose_the_response(fake_server).respond(200, page())

    memory = sdk.add_memory(**SENT, time=NOON)

    assert memory.to_dict() == {**STORED, "org_id": ""}


def test_memory_made_from_the_request_has_the_time_of_the_attempt(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    lose_the_response(fake_server).respond(400, {"error": "broken"})

    before = dt.datetime.now(dt.UTC)
    memory = sdk.add_memory(**SENT)

    assert before <= memory.time <= dt.datetime.now(dt.UTC)
    assert memory.time.tzinfo is not None


@pytest.mark.parametrize(
    "another",
    [
        {"session_id": "sess_2"},
        {"session_id": None},
        {"memory_type": "episodic"},
        {"event_type": "general"},
        {"content": "User prefers light mode."},
        {"metadata": None},
        {"metadata": {"ticket": 4712}},
        {"dedup_key": None},
        {"agent_id": "agent_2"},
    ],
    ids=str,
)
def test_memory_that_differs_in_a_field_is_not_taken_for_the_sent_one(
    sdk: Memtrace, fake_server: FakeServer, another: dict[str, Any]
) -> None:
    lose_the_response(fake_server).respond(200, page({**STORED, **another}))

    assert sdk.add_memory(**SENT).org_id == ""


@pytest.mark.parametrize("empty", [{"metadata": {}}, {"metadata": None}, {"session_id": "", "dedup_key": ""}])
def test_empty_field_equals_a_field_left_out(
    sdk: Memtrace, fake_server: FakeServer, empty: dict[str, Any]
) -> None:
    plain: dict[str, Any] = {"agent_id": "a", "content": "b"}
    kept = {**plain, "memory_type": "episodic", "event_type": "general", **empty}
    lose_the_response(fake_server).respond(200, page({**kept, "time": STORED["time"], "org_id": "org_1"}))

    assert sdk.add_memory(**plain).org_id == "org_1"


def test_a_batch_is_looked_up_agent_by_agent(sdk: Memtrace, fake_server: FakeServer) -> None:
    looked_up = []

    def respond(request: httpx.Request) -> httpx.Response:
        if len(fake_server.requests) == 1:
            raise httpx.ReadError("lost")
        if request.method == "POST":
            return httpx.Response(409, json=OLD_CONFLICT)
        looked_up.append(dict(request.url.params))
        agent = request.url.params["agent_id"]
        return httpx.Response(200, json=page({**MEMORY, "agent_id": agent, "content": f"of {agent}"}))

    fake_server.stand_in = respond

    stored = sdk.add_memories(
        [{"agent_id": agent, "content": f"of {agent}"} for agent in ("ann", "ben", "ann")]
    )

    assert [memory.content for memory in stored] == ["of ann", "of ben", "of ann"]
    assert sorted(looked_up, key=lambda params: params["agent_id"]) == [
        {"agent_id": "ann", "order": "desc", "limit": "1000"},
        {"agent_id": "ben", "order": "desc", "limit": "1000"},
    ]


def test_batch_refused_at_its_first_attempt_is_not_looked_up(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(409, OLD_CONFLICT)

    with pytest.raises(ConflictError) as caught:
        sdk.add_memories([{"agent_id": "agent_1", "content": "x"}])

    assert caught.value.message == "duplicate memory detected"


def test_error_of_a_first_attempt_is_raised(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(409, {"error": "agent name taken"}).respond(404, {"error": "agent not found"})

    with pytest.raises(ConflictError, match="agent name taken"):
        sdk.register_agent(name="agent_1")
    with pytest.raises(NotFoundError, match="agent not found"):
        sdk.delete_agent("agent_1")


@pytest.mark.parametrize(
    "call",
    [
        lambda sdk: sdk.get_agent("agent_1"),
        lambda sdk: sdk.update_session("sess_1", status="closed"),
        lambda sdk: sdk.forget("mem_1"),
        lambda sdk: sdk.add_memory(**SENT),
    ],
    ids=["a read", "a change", "a memory to forget", "a memory to store"],
)
def test_not_found_by_a_retry_is_raised(
    sdk: Memtrace, fake_server: FakeServer, call: Callable[[Memtrace], object]
) -> None:
    fake_server.fail(httpx.ReadError("lost")).respond(404, {"error": "not found"})

    with pytest.raises(NotFoundError, match="not found"):
        call(sdk)


@pytest.mark.parametrize("timeout", [10.0, httpx.Timeout(7.0)], ids=["a number", "of httpx"])
def test_lookup_counts_towards_the_timeout_of_the_call(
    make_client: MakeClient, call_clock: list[float], delays: list[float], timeout: Any
) -> None:
    server = FakeServer().fail(httpx.ReadError("lost")).respond(409, OLD_CONFLICT).respond(200, page())
    bounds: list[float | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bounds.append(request.extensions["timeout"]["read"])
        call_clock[0] += 3
        return server.handle(request)

    client = make_client(timeout=timeout, http_client=make_client.http_client(handle))
    client.add_memory(**SENT)

    assert bounds == ([10, 7, 4] if timeout == 10 else [7, 7, 7])
    assert len(delays) == 1


def test_conflict_of_a_batch_stored_in_part_names_the_missing_memories(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    lose_the_response(fake_server).respond(200, page(MEMORY))

    with pytest.raises(ConflictError) as caught:
        sdk.add_memories(
            [{"agent_id": "agent_1", "content": content} for content in ("x", MEMORY["content"], "y")]
        )

    assert caught.value.message == (
        "duplicate memory detected; an earlier attempt of this batch was stored in part, "
        "2 of its 3 memories are missing: [0, 2]"
    )


@pytest.mark.parametrize(
    ("registered", "is_the_same"),
    [
        ({"config": {"model": "m"}}, True),
        ({"config": {"model": "other"}}, False),
        ({"config": None}, False),
        ({"config": {"model": "m"}, "description": "d"}, False),
        ({"config": {"model": "m"}, "description": ""}, True),
    ],
    ids=str,
)
def test_an_agent_is_compared_with_its_configuration(
    sdk: Memtrace, fake_server: FakeServer, registered: dict[str, Any], *, is_the_same: bool
) -> None:
    fake_server.fail(httpx.ReadError("lost")).respond(400, {"error": "agent name taken"})
    others = {**AGENT, "name": "other", "config": {"model": "m"}}
    fake_server.respond(200, {"agents": [others, {**AGENT, **registered}], "count": 2})

    if is_the_same:
        assert sdk.register_agent(name="agent_1", config={"model": "m"}).name == "agent_1"
    else:
        with pytest.raises(BadRequestError, match="agent name taken"):
            sdk.register_agent(name="agent_1", config={"model": "m"})


def test_agent_missing_from_the_list_is_a_bad_request(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.fail(httpx.ReadError("lost")).respond(400, {"error": "agent name taken"})
    fake_server.respond(200, {"agents": [{**AGENT, "name": "other"}], "count": 1})

    with pytest.raises(BadRequestError, match="agent name taken"):
        sdk.register_agent(name="agent_1")


def test_agent_sent_without_config_differs_from_one_with_config(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.fail(httpx.ReadError("lost")).respond(400, {"error": "agent name taken"})
    fake_server.respond(200, {"agents": [{**AGENT, "config": {"model": "m"}}], "count": 1})

    with pytest.raises(BadRequestError, match="agent name taken"):
        sdk.register_agent(name="agent_1")


def test_lookup_after_a_lost_response_is_logged(
    sdk: Memtrace, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    lose_the_response(fake_server).respond(400, {"error": "broken"})

    with caplog.at_level(logging.DEBUG, "memtrace"):
        sdk.add_memory(**SENT)

    lines = [record.getMessage() for record in caplog.records]
    assert "The memory was stored by an earlier attempt: duplicate memory detected (HTTP 409)" in lines
    assert "The memory cannot be looked up: broken (HTTP 400)" in lines
