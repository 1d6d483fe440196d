"""Session blocks: started, bound and closed."""

from __future__ import annotations

import json
import logging

import pytest
from helpers.clients import MEMORY, SESSION, FakeServer, page

from memtrace import ContextOptions, Memtrace, MemtraceError, NotFoundError

CONTEXT = {"session_id": "sess_1", "context": "## Facts\n", "memory_count": 1}


def test_every_request_of_a_handle_is_bound_to_its_session(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(201, MEMORY).respond(201, MEMORY).respond(200, page(MEMORY))
    fake_server.respond(200, CONTEXT).respond(200, CONTEXT).respond(200, {**SESSION, "status": "closed"})

    with sdk.session("agent_1", metadata={"task": "onboarding"}) as session:
        assert (session.id, session.agent_id) == ("sess_1", "agent_1")
        assert repr(session).removeprefix("Async") == "SessionHandle('agent_1', id='sess_1')"
        session.remember("User prefers dark mode", tags=["ui"])
        session.decide("Use it", "They asked", importance=0.9)
        assert session.recall(limit=5).count == 1
        assert session.context(max_tokens=100).context == "## Facts\n"
        session.context(ContextOptions(since="2h", agent_id="another"))

    assert [(request.method, request.url.path) for request in fake_server.requests] == [
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/memories"),
        ("POST", "/api/v1/memories"),
        ("GET", "/api/v1/memories"),
        ("POST", "/api/v1/sessions/sess_1/context"),
        ("POST", "/api/v1/sessions/sess_1/context"),
        ("PUT", "/api/v1/sessions/sess_1"),
    ]
    bodies = [json.loads(request.content or b"null") for request in fake_server.requests]
    assert bodies[0] == {"agent_id": "agent_1", "metadata": {"task": "onboarding"}}
    assert [(body["agent_id"], body["session_id"]) for body in bodies[1:3]] == [("agent_1", "sess_1")] * 2
    assert bodies[2]["metadata"] == {"reasoning": "They asked"}
    assert dict(fake_server.requests[3].url.params) == {
        "agent_id": "agent_1",
        "session_id": "sess_1",
        "limit": "5",
        "order": "desc",
    }
    assert bodies[4:] == [
        {"agent_id": "agent_1", "max_tokens": 100},
        {"agent_id": "agent_1", "since": "2h"},
        {"status": "closed"},
    ]


def test_continued_session_becomes_active_again(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, SESSION).respond(200, {**SESSION, "status": "closed"})

    with sdk.session("agent_1", session_id="sess_1", metadata={"task": "onboarding"}):
        pass

    assert [(request.method, json.loads(request.content)) for request in fake_server.requests] == [
        ("PUT", {"status": "active", "metadata": {"task": "onboarding"}}),
        ("PUT", {"status": "closed"}),
    ]


def test_session_that_does_not_exist_begins_with_its_first_memory(
    sdk: Memtrace, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.respond(404, {"error": "No session"}).respond(201, MEMORY).respond(200, SESSION)

    caplog.set_level(logging.DEBUG, "memtrace")
    with sdk.session("agent_1", session_id="sess_1", metadata={"task": "onboarding"}) as session:
        session.remember("User prefers dark mode")

    assert "Session sess_1 begins with its first memory" in caplog.messages
    closing = json.loads(fake_server.requests[-1].content)
    assert closing == {"status": "closed", "metadata": {"task": "onboarding"}}


def test_session_is_closed_after_an_exception_which_is_raised(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(200, {**SESSION, "status": "closed"})

    with pytest.raises(ZeroDivisionError), sdk.session("agent_1"):
        _ = 1 / 0

    assert fake_server.requests[-1].method == "PUT"


def test_session_that_cannot_be_closed_is_an_error(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(404, {"error": "No session"})

    with pytest.raises(NotFoundError, match="No session"), sdk.session("agent_1"):
        pass


def test_failure_to_close_does_not_hide_an_earlier_exception(
    sdk: Memtrace, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.respond(201, SESSION).respond(404, {"error": "No session"})

    caplog.set_level(logging.WARNING, "memtrace")
    with pytest.raises(ZeroDivisionError), sdk.session("agent_1"):
        _ = 1 / 0

    assert [record.getMessage() for record in caplog.records] == [
        "Session sess_1 is left open: No session (HTTP 404)"
    ]


def test_session_that_cannot_be_started_begins_no_block(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, {"error": "No agent"})

    with pytest.raises(MemtraceError, match="No agent"), sdk.session("agent_1"):
        pytest.fail("the block was entered")


def test_handle_outside_of_a_block_raises(sdk: Memtrace) -> None:
    session = sdk.session("agent_1")

    assert repr(session).removeprefix("Async") == "SessionHandle('agent_1', id=None)"
    with pytest.raises(RuntimeError, match="with statement"):
        session.remember("too early")
