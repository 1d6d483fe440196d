"""Every argument of every method arrives in its request; a request object equals its fields."""

from __future__ import annotations

import datetime as dt
import inspect
import json
import typing
from typing import Any

import attrs
import httpx
import pytest
from helpers.clients import MEMORY, SESSION, FakeServer

from memtrace import APIStatusError, Memtrace, SessionHandle, WriteBuffer

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)

# A value for every argument that any method takes; none is a default.
VALUES: dict[str, Any] = {
    "agent_id": "agent_9",
    "config": {"model": "m"},
    "content": "What happened",
    "as_of": NOON,
    "content_contains": "happen",
    "cursor": "CURSOR",
    "decision": "What was decided",
    "dedup_key": "the same",
    "delete_memories": True,
    "description": "Handles support",
    "dry_run": True,
    "event_type": "observation",
    "event_types": ["error", "warning"],
    "format": "json",
    "idempotency_key": "my-key",
    "importance": 0.25,
    "include_superseded": True,
    "include_types": ["decision", "entity"],
    "layout": "sections",
    "limit": 7,
    "max_tokens": 700,
    "memories": [{"agent_id": "a", "content": "b", "on_duplicate": "return"}],
    "memory": "mem_9",
    "memory_id": "mem_8",
    "memory_type": "decision",
    "memory_types": ["decision", "entity"],
    "metadata": {"ticket": 4711},
    "min_importance": 0.75,
    "name": "agent_8",
    "offset": 70,
    "on_duplicate": "return",
    "order": "asc",
    "page_size": 17,
    "parent_id": "mem_7",
    "query": "dark mode -beta",
    "reasoning": "Because",
    "session_id": "sess_9",
    "since": NOON,
    "start": "beginning",
    "show": ["tags"],
    "status": "closed",
    "supersedes": "mem_6",
    "tags": ["ui", "dark"],
    "time": NOON,
    "timezone": "Europe/Berlin",
    "ttl": 70,
    "until": dt.timedelta(hours=2),
    "wait": 0,
}
# How values are sent that are not sent as they are.
WRITTEN: dict[str, Any] = {
    "as_of": "2026-11-01T12:00:00Z",
    "since": "2026-11-01T12:00:00Z",
    "time": "2026-11-01T12:00:00Z",
    "until": "7200s",
}
EXAMPLES: dict[Any, Any] = {
    str: "a text",
    int: 7,
    float: 0.5,
    bool: True,
    list: ["one", "two"],
    dict: {"k": 1},
}
FIELDS = {"decision": "content", "page_size": "limit"}
# Arguments, and methods, that send nothing by themselves.
NOT_SENT = {"count_tokens"}
NOT_SENDING = {"aclose", "base_url", "buffered", "close", "id", "session", "with_options", "with_response"}
# Methods that take records, and not fields.
NOT_SENDING |= {"export", "import_"}


def sending(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_") and name not in NOT_SENDING]


def arguments(kind: type, method: str) -> tuple[str | None, dict[str, Any]]:
    """Return the name of the parameter for a request object, if any, and a value for each other one."""
    hints = typing.get_type_hints(getattr(kind, method))
    request_name = None
    values = {}
    for name in list(inspect.signature(getattr(kind, method)).parameters)[1:]:
        if any(attrs.has(choice) for choice in typing.get_args(hints[name])) and name != "memory":
            request_name = name
        if (request_name != name or name == "query") and name not in NOT_SENT:
            values[name] = VALUES.get(name) or example(hints[name])
    return request_name, values


def example(hint: Any) -> Any:
    """Return a value for an argument that comes from a field of the contract."""
    for choice in typing.get_args(hint) or (hint,):
        if typing.get_origin(choice) is typing.Literal:
            return typing.get_args(choice)[-1]
        if choice in EXAMPLES:
            return EXAMPLES[choice]
    return EXAMPLES[typing.get_origin(typing.get_args(hint)[0]) or str]


def has_arrived(request: httpx.Request, name: str, value: Any) -> bool:
    value = WRITTEN.get(name, value)
    if name == "idempotency_key":
        return bool(request.headers["idempotency-key"] == value)
    if value in request.url.path.split("/"):
        return True
    field = FIELDS.get(name, name)
    if request.content and field not in request.url.params:
        sent = json.loads(request.content)
        if name in {"metadata", "reasoning"}:
            kept = sent["metadata"]
            return bool(kept["reasoning"] == value if name == "reasoning" else kept.items() >= value.items())
        return bool(sent[field] == value)
    as_text = {True: "true"}.get(value, str(value)) if not isinstance(value, list) else ",".join(value)
    return bool(request.url.params[field] == as_text)


def only_sessions(request: httpx.Request) -> httpx.Response:
    """Return an error for every request except those about sessions."""
    is_session = request.url.path.startswith("/api/v1/sessions") and not request.url.path.endswith("/context")
    if is_session and request.method in {"POST", "PUT"}:
        return httpx.Response(200, json=SESSION)
    return httpx.Response(418, json={"error": "No"})


def send(target: Any, method: str, given: dict[str, Any]) -> None:
    """Call a method until it has sent its first request."""
    try:
        answer = getattr(target, method)(**given)
        if method.startswith("iter_") or method == "tail":
            next(answer)
    except APIStatusError as error:
        assert error.status_code == 418  # noqa: PT017  # some methods raise nothing


@pytest.mark.parametrize("method", sending(Memtrace))
def test_every_argument_of_a_client_arrives(sdk: Memtrace, fake_server: FakeServer, method: str) -> None:
    fake_server.stand_in = only_sessions
    _, values = arguments(Memtrace, method)

    send(sdk, method, values)

    assert [name for name, value in values.items() if not has_arrived(fake_server.request, name, value)] == []


@pytest.mark.parametrize("method", sending(SessionHandle))
def test_every_argument_of_a_session_arrives_with_the_session(
    sdk: Memtrace, fake_server: FakeServer, method: str
) -> None:
    fake_server.stand_in = only_sessions
    _, values = arguments(SessionHandle, method)

    with sdk.session("agent_1") as session:
        send(session, method, values)

    begun, request, closed = fake_server.requests
    assert [name for name, value in values.items() if not has_arrived(request, name, value)] == []
    assert (begun.method, closed.method) == ("POST", "PUT")
    sent = json.loads(request.content) if request.content else dict(request.url.params)
    if method == "context":
        assert request.url.path == "/api/v1/sessions/sess_1/context"
    else:
        assert (sent["agent_id"], sent["session_id"]) == ("agent_1", "sess_1")


@pytest.mark.parametrize("method", ["remember", "decide", "add_memory"])
def test_every_argument_of_a_buffer_arrives_in_its_batch(
    sdk: Memtrace, fake_server: FakeServer, method: str
) -> None:
    fake_server.respond(201, {"memories": [MEMORY], "count": 1})
    _, values = arguments(WriteBuffer, method)

    with sdk.buffered() as log:
        getattr(log, method)(**values)

    (memory,) = fake_server.sent["memories"]
    alone = httpx.Request("POST", fake_server.request.url, json=memory)
    assert [name for name, value in values.items() if not has_arrived(alone, name, value)] == []


@pytest.mark.parametrize("method", [name for name in sending(Memtrace) if arguments(Memtrace, name)[0]])
def test_request_object_is_sent_like_its_fields(sdk: Memtrace, fake_server: FakeServer, method: str) -> None:
    fake_server.stand_in = only_sessions
    request_name, values = arguments(Memtrace, method)
    choices = typing.get_args(typing.get_type_hints(getattr(Memtrace, method))[str(request_name)])
    model: Any = next(choice for choice in choices if attrs.has(choice))
    known = attrs.fields_dict(model)
    as_fields = {FIELDS.get(name, name): value for name, value in values.items()}
    parameters = inspect.signature(getattr(Memtrace, method)).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    fields = {name: value for name, value in as_fields.items() if name in known and name not in required}
    others = {name: value for name, value in as_fields.items() if name not in fields}

    send(sdk, method, values)
    send(sdk, method, {**others, str(request_name): model(**fields)})

    one, other = fake_server.requests
    assert (one.method, one.url, one.content) == (other.method, other.url, other.content)
    assert one.headers == other.headers
    assert fields.keys() >= known.keys() - {"offset", "cursor"} - required
