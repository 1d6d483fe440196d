"""Requests: what each method sends, and arguments that are refused unsent."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from helpers.clients import AGENT, MEMORY, SESSION, FakeServer, page

from memtrace import (
    AddMemoryRequest,
    BadRequestError,
    ContextOptions,
    CreateSessionRequest,
    ErrorDetail,
    ForgetFilter,
    ListOptions,
    Memory,
    Memtrace,
    RegisterAgentRequest,
    SearchQuery,
    UpdateSessionRequest,
)

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
FOUND = {"results": [MEMORY], "count": 1, "query_time_ms": 1}
CONTEXT = {"session_id": "s", "agent_id": "a", "context": "", "memory_count": 0}


def line(request: httpx.Request) -> str:
    """Return the request line, with the query decoded."""
    query = "&".join(f"{name}={value}" for name, value in request.url.params.multi_items())
    return f"{request.method} {request.url.raw_path.decode().partition('?')[0]}{'?' if query else ''}{query}"


def test_remember_sends_the_required_fields(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY)

    assert sdk.remember("agent_1", "User prefers dark mode").content == "User prefers dark mode"

    assert line(fake_server.request) == "POST /api/v1/memories"
    assert fake_server.request.headers["content-type"] == "application/json"
    assert fake_server.request.headers["accept"] == "application/json"
    assert fake_server.sent == {
        "agent_id": "agent_1",
        "content": "User prefers dark mode",
        "on_duplicate": "store",
    }


def test_remember_sends_every_field(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY)

    sdk.remember(
        "agent_1",
        "Größe: 🙂",
        session_id="sess_1",
        memory_type="entity",
        event_type="observation",
        tags=["ui"],
        importance=0.7,
        metadata={"ticket": 4711, "nested": {"none": None}},
        parent_id="mem_1",
        dedup_key="key",
        on_duplicate="return",
        supersedes="mem_2",
        time=NOON,
        ttl=60,
        idempotency_key="my-key",
    )

    assert fake_server.request.headers["idempotency-key"] == "my-key"
    assert "Größe: 🙂".encode() in fake_server.request.content
    assert fake_server.sent == {
        "agent_id": "agent_1",
        "content": "Größe: 🙂",
        "session_id": "sess_1",
        "memory_type": "entity",
        "event_type": "observation",
        "tags": ["ui"],
        "importance": 0.7,
        "metadata": {"ticket": 4711, "nested": {"none": None}},
        "parent_id": "mem_1",
        "dedup_key": "key",
        "on_duplicate": "return",
        "supersedes": "mem_2",
        "time": "2026-11-01T12:00:00Z",
        "ttl": 60,
    }


def test_decide_stores_a_decision_with_its_reasoning(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY).respond(201, MEMORY)

    sdk.decide("agent_1", "Use PostgreSQL", "Better JSON support")
    sdk.decide("agent_1", "Use it", "Because", metadata={"ticket": 1, "reasoning": "old"}, tags=["db"])

    first, second = (json.loads(request.content) for request in fake_server.requests)
    assert first == {
        "agent_id": "agent_1",
        "content": "Use PostgreSQL",
        "memory_type": "decision",
        "event_type": "decision",
        "metadata": {"reasoning": "Better JSON support"},
        "on_duplicate": "store",
    }
    assert second["metadata"] == {"ticket": 1, "reasoning": "Because"}
    assert second["tags"] == ["db"]


def test_decide_leaves_the_callers_metadata_alone(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY)
    metadata = {"ticket": 1}

    sdk.decide("agent_1", "Use it", "Because", metadata=metadata)

    assert metadata == {"ticket": 1}


def test_recall_returns_the_newest_however_old(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page(MEMORY)).respond(200, page()).respond(200, page())

    assert [memory.id for memory in sdk.recall("agent_1").memories] == [MEMORY["id"]]
    sdk.recall("agent_1", "7d")
    sdk.recall("agent_1", since=None, until="1d", tags="a,b", memory_type="decision", limit=5)

    assert [line(request) for request in fake_server.requests] == [
        "GET /api/v1/memories?agent_id=agent_1&order=desc",
        "GET /api/v1/memories?agent_id=agent_1&since=7d&order=desc",
        "GET /api/v1/memories?agent_id=agent_1&memory_type=decision&tags=a,b&until=1d&order=desc&limit=5",
    ]


@pytest.mark.parametrize("as_keywords", [True, False])
def test_list_memories_sends_its_filters(
    sdk: Memtrace, fake_server: FakeServer, *, as_keywords: bool
) -> None:
    fake_server.respond(200, page())
    filters: dict[str, Any] = {
        "agent_id": "a/b",
        "session_id": "s",
        "memory_type": "decision",
        "event_type": "über & mehr",
        "tags": ["ui", "x y"],
        "since": NOON,
        "until": "2h",
        "limit": 50,
        "offset": 0,
        "order": "asc",
        "cursor": "C",
    }

    if as_keywords:
        sdk.list_memories(**filters)
    else:
        sdk.list_memories(ListOptions(**filters))

    assert dict(fake_server.request.url.params) == {
        **{name: str(value) for name, value in filters.items()},
        "tags": "ui,x y",
        "since": "2026-11-01T12:00:00Z",
    }


def test_list_memories_without_filters_sends_no_query(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page()).respond(200, page()).respond(200, page())

    sdk.list_memories()
    sdk.list_memories(ListOptions(tags=[]))
    sdk.list_memories(ListOptions(tags=""))

    assert {str(request.url) for request in fake_server.requests} == {"http://memtrace.test/api/v1/memories"}


@pytest.mark.parametrize(
    ("tags", "sent"),
    [
        (["a", "b"], b"tags=a%2Cb"),
        (["a,b"], b"tags=a%2Cb&tags=a%2Cb"),
        (["a,b", "c"], b"tags=a%2Cb&tags=c"),
    ],
    ids=["no comma", "one tag", "two tags"],
)
def test_tag_with_a_comma_is_refused(
    sdk: Memtrace, fake_server: FakeServer, tags: list[str], sent: bytes
) -> None:
    fake_server.respond(200, page())

    sdk.list_memories(tags=tags)

    assert fake_server.request.url.query == sent


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        ("24h", "24h"),
        ("2026-11-01T09:30:00Z", "2026-11-01T09:30:00Z"),
        (dt.timedelta(hours=24), "86400s"),
        (NOON, "2026-11-01T12:00:00Z"),
        (NOON.astimezone(dt.timezone(dt.timedelta(hours=2))), "2026-11-01T12:00:00Z"),
    ],
)
def test_since_and_until_take_four_forms_everywhere(
    sdk: Memtrace, fake_server: FakeServer, since: Any, sent: str
) -> None:
    fake_server.respond(200, page()).respond(200, page()).respond(200, FOUND).respond(200, CONTEXT)
    fake_server.respond(200, CONTEXT).respond(200, {"deleted": 0})
    times = {"since": since, "until": since}

    sdk.list_memories(**times)
    sdk.get_agent_memories("a", ListOptions(**times))
    sdk.search_memories(SearchQuery(**times))
    sdk.get_session_context("s", ContextOptions(**times))
    sdk.get_agent_context("s", **times)
    sdk.forget_all(**times)

    for request in fake_server.requests:
        parameters = json.loads(request.content) if request.content else request.url.params
        assert (parameters["since"], parameters["until"]) == (sent, sent)


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_time_without_a_zone_is_refused_by_name(sdk: Memtrace, name: str) -> None:
    times: dict[str, Any] = {name: dt.datetime(2026, 11, 1, 12)}  # noqa: DTZ001  # the error under test
    calls: list[Callable[[], object]] = [
        lambda: sdk.list_memories(**times),
        lambda: sdk.recall("a", **times),
        lambda: sdk.search_memories(**times),
        lambda: sdk.get_session_context("s", **times),
        lambda: sdk.forget_all(agent_id="a", **times),
        lambda: list(sdk.iter_memories(**times)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"{name}.* has no time zone"):
            call()


def test_a_memorys_time_without_a_zone_is_refused(sdk: Memtrace) -> None:
    with pytest.raises(ValueError, match="time zone"):
        sdk.remember("a", "b", time=dt.datetime(2026, 11, 1, 12))  # noqa: DTZ001  # the error under test


def test_add_memory_takes_a_request_or_its_fields(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, MEMORY).respond(200, MEMORY)

    sdk.add_memory(AddMemoryRequest(agent_id="a", content="c", tags=["t"]))
    sdk.add_memory(agent_id="a", content="c", tags=["t"])

    one, other = (request.content for request in fake_server.requests)
    assert one == other == b'{"agent_id":"a","content":"c","tags":["t"],"on_duplicate":"store"}'


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "store"),
        ({"dedup_key": "k"}, "reject"),
        ({"on_duplicate": "return"}, "return"),
        ({"on_duplicate": "store", "dedup_key": "k"}, "store"),
        ({"on_duplicate": "reject"}, "reject"),
    ],
    ids=["nothing", "a key", "return", "a key and store", "reject"],
)
def test_on_duplicate_defaults_to_store_without_a_dedup_key(
    sdk: Memtrace, fake_server: FakeServer, fields: dict[str, Any], expected: str
) -> None:
    request = AddMemoryRequest(agent_id="a", content="c", **fields)
    batch = {"memories": [MEMORY], "count": 1}
    for body in (MEMORY, MEMORY, MEMORY, MEMORY, batch, batch, batch):
        fake_server.respond(201, body)

    sdk.remember("a", "c", **fields)
    sdk.decide("a", "c", "because", **fields)
    sdk.add_memory(agent_id="a", content="c", **fields)
    sdk.add_memory(request)
    sdk.add_memories([request])
    sdk.add_memories([{"agent_id": "a", "content": "c", **fields}])
    with sdk.buffered() as log:
        log.remember("a", "c", **fields)

    sent = [json.loads(request.content) for request in fake_server.requests]
    memories = [memory for body in sent for memory in body.get("memories", [body])]
    assert [memory["on_duplicate"] for memory in memories] == [expected] * 7
    assert request.on_duplicate == fields.get("on_duplicate")


def test_add_memories_takes_requests_and_mappings(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, {"memories": [MEMORY, MEMORY], "count": 2, "duplicates": [1]})

    stored = sdk.add_memories(
        [
            AddMemoryRequest(agent_id="a", content="First"),
            {"agent_id": "a", "content": "Second", "time": "2026-11-01T12:00:00Z", "metadata": {"k": None}},
        ]
    )

    assert line(fake_server.request) == "POST /api/v1/memories"
    assert fake_server.sent == {
        "memories": [
            {"agent_id": "a", "content": "First", "on_duplicate": "store"},
            {
                "agent_id": "a",
                "content": "Second",
                "on_duplicate": "store",
                "time": "2026-11-01T12:00:00Z",
                "metadata": {"k": None},
            },
        ]
    }
    assert isinstance(stored, list)
    assert (len(stored), stored[0].id, stored.duplicates) == (2, MEMORY["id"], [1])


def test_batch_may_be_any_iterable_and_is_sent_as_one(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, {"error": "memories: more than 1000", "code": "invalid_request"})

    with pytest.raises(BadRequestError, match="more than 1000"):
        sdk.add_memories({"agent_id": "a", "content": str(i)} for i in range(1001))

    assert len(fake_server.sent["memories"]) == 1001


@pytest.mark.parametrize(
    ("memory", "kind", "said"),
    [
        ({"agent_id": "a", "contnet": "typo"}, TypeError, r"memories\.1.*contnet"),
        ({"agent_id": "a"}, ValueError, r"^memories\.1: Object missing required field `content`$"),
        ({"agent_id": "a", "content": 1}, ValueError, r"memories\.1.*content"),
        (1, TypeError, r"^memories\.1: give an AddMemoryRequest or a mapping, not int$"),
        ("text", TypeError, r"^memories\.1: give an AddMemoryRequest or a mapping, not str$"),
        (None, TypeError, r"^memories\.1: give an AddMemoryRequest or a mapping, not NoneType$"),
    ],
)
def test_invalid_item_of_a_batch_is_named_by_its_index(
    sdk: Memtrace, memory: Any, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        sdk.add_memories([{"agent_id": "a", "content": "c"}, memory])


@pytest.mark.parametrize(
    "memories", [{"agent_id": "a", "content": "x"}, "text", 7], ids=["one memory", "text", "number"]
)
def test_batch_that_is_no_iterable_of_memories_is_a_type_error(sdk: Memtrace, memories: Any) -> None:
    with pytest.raises(TypeError, match=r"^memories: give a list of memories, not (dict|str|int)$"):
        sdk.add_memories(memories)


def test_an_unknown_field_of_a_memory_is_named_beside_the_known_ones(sdk: Memtrace) -> None:
    with pytest.raises(TypeError) as caught:
        sdk.add_memories([{"agent_id": "a", "content": "c", "mood": "good"}])

    assert str(caught.value).startswith(
        "memories.0.mood: unknown field; AddMemoryRequest has agent_id, content, memory_type, "
    )


def test_a_request_and_keywords_cannot_be_mixed(sdk: Memtrace) -> None:
    calls: list[Any] = [
        lambda: sdk.add_memory(AddMemoryRequest(agent_id="a", content="c"), tags=["t"]),  # type: ignore[call-overload]
        lambda: sdk.list_memories(ListOptions(), agent_id="a"),
        lambda: sdk.iter_memories(ListOptions(), agent_id="a"),
        lambda: sdk.search_memories(SearchQuery(), agent_id="a"),
        lambda: sdk.iter_search(SearchQuery(), agent_id="a"),
        lambda: sdk.forget_all(ForgetFilter(), agent_id="a"),
        lambda: sdk.register_agent(RegisterAgentRequest(name="n"), description="d"),  # type: ignore[call-overload]
        lambda: sdk.create_session(CreateSessionRequest(agent_id="a"), metadata={}),  # type: ignore[call-overload]
        lambda: sdk.update_session("s", UpdateSessionRequest(), status="closed"),
        lambda: sdk.get_session_context("s", ContextOptions(), max_tokens=1),
        lambda: sdk.get_agent_context("a", ContextOptions(), max_tokens=1),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="not both"):
            call()


def test_another_object_in_place_of_the_request_is_refused(sdk: Memtrace) -> None:
    with pytest.raises(TypeError, match=r"^give an AddMemoryRequest or its fields as keywords, not list$"):
        sdk.add_memory([("agent_id", "a")])  # type: ignore[call-overload]  # the error under test
    with pytest.raises(TypeError, match=r"^give a ListOptions or its fields as keywords, not SearchQuery$"):
        sdk.list_memories(SearchQuery())  # type: ignore[arg-type]  # the error under test


def test_a_required_field_that_is_missing_is_named(sdk: Memtrace) -> None:
    with pytest.raises(TypeError, match="content"):
        sdk.add_memory(agent_id="a")  # type: ignore[call-overload]


def test_search_takes_a_query_object_or_words_and_conditions(sdk: Memtrace, fake_server: FakeServer) -> None:
    for _ in range(4):
        fake_server.respond(200, FOUND)

    found = sdk.search_memories(SearchQuery(content_contains="dark", min_importance=0.5))
    sdk.search_memories("dark mode -beta", agent_id="a", order="relevance")
    sdk.search_memories(query="dark")
    sdk.search_memories(
        session_id="s",
        memory_types=["episodic"],
        event_types=["e"],
        tags=["t"],
        metadata={"k": 1},
        since="7d",
        until="1d",
        limit=3,
        cursor="C",
    )

    assert [memory.id for memory in found.results] == [MEMORY["id"]]
    assert {line(request) for request in fake_server.requests} == {"POST /api/v1/search"}
    assert [json.loads(request.content) for request in fake_server.requests] == [
        {"content_contains": "dark", "min_importance": 0.5},
        {"query": "dark mode -beta", "agent_id": "a", "order": "relevance"},
        {"query": "dark"},
        {
            "session_id": "s",
            "memory_types": ["episodic"],
            "event_types": ["e"],
            "tags": ["t"],
            "metadata": {"k": 1},
            "since": "7d",
            "until": "1d",
            "limit": 3,
            "cursor": "C",
        },
    ]


def test_forget_takes_an_id_or_the_memory_itself(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(204).respond(204)

    sdk.forget("mem_1")
    sdk.forget(Memory.from_dict(MEMORY))

    assert [line(request) for request in fake_server.requests] == [
        "DELETE /api/v1/memories/mem_1",
        f"DELETE /api/v1/memories/{MEMORY['id']}",
    ]


def test_a_memory_without_an_id_cannot_be_forgotten(sdk: Memtrace) -> None:
    with pytest.raises(
        BadRequestError,
        match=r"^memory: it has no id, as a Memtrace 0\.x server gives none; it cannot be named",
    ) as caught:
        sdk.forget(Memory.from_dict({**MEMORY, "id": None}))

    assert caught.value.code == "invalid_request"


def test_forgetting_something_else_than_a_memory_is_a_type_error(sdk: Memtrace) -> None:
    with pytest.raises(TypeError, match=r"^memory: None is not text"):
        sdk.forget(None)  # type: ignore[arg-type]  # the error under test
    with pytest.raises(TypeError, match=r"^memory: 7 is not text"):
        sdk.forget(7)  # type: ignore[arg-type]  # the error under test


def test_forget_all_returns_the_number_of_memories(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"deleted": 3}).respond(200, {"deleted": 0})

    assert sdk.forget_all(agent_id="a", tags=["t", "u"], until=NOON, memory_type="entity") == 3
    assert sdk.forget_all(ForgetFilter(session_id="s")) == 0

    assert [line(request) for request in fake_server.requests] == ["POST /api/v1/forget"] * 2
    assert [json.loads(request.content) for request in fake_server.requests] == [
        {"agent_id": "a", "tags": ["t", "u"], "until": "2026-11-01T12:00:00Z", "memory_type": "entity"},
        {"session_id": "s"},
    ]


def test_forget_all_sends_dry_run(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"deleted": 0, "matched": 3}).respond(200, {"deleted": 0, "matched": 0})

    assert sdk.forget_all(metadata={"customer": "anna"}, dry_run=True) == 3
    assert sdk.forget_all(metadata={"customer": "ben"}, dry_run=True) == 0

    assert [line(request) for request in fake_server.requests] == ["POST /api/v1/forget?dry_run=true"] * 2


def test_forget_all_without_a_filter_names_the_filters(sdk: Memtrace) -> None:
    with pytest.raises(BadRequestError, match="forget_all: no filter given; give at least one of") as caught:
        sdk.forget_all()

    assert (caught.value.code, caught.value.status_code) == ("filter_required", 0)
    for name in (
        "agent_id",
        "session_id",
        "memory_types",
        "event_types",
        "tags",
        "metadata",
        "since",
        "until",
    ):
        assert name in caught.value.message


@pytest.mark.parametrize("empty", [{"tags": []}, {"metadata": {}}], ids=["tags", "metadata"])
def test_forget_all_with_an_empty_filter_names_it(sdk: Memtrace, empty: dict[str, Any]) -> None:
    (name,) = empty
    with pytest.raises(BadRequestError) as caught:
        sdk.forget_all(agent_id="a", **empty)

    assert caught.value.message == f"{name}: it is empty; leave it out to mean all"
    assert caught.value.details == [
        ErrorDetail(field=name, location="body", message="it is empty; leave it out to mean all")
    ]


def test_agent_methods_send_their_requests(sdk: Memtrace, fake_server: FakeServer) -> None:
    stats = {
        "agent_id": "a",
        "memory_count": 2,
        "memories_24h": 1,
        "errors_24h": 0,
        "session_count": 1,
        "active_sessions": 1,
        "memory_types": {"episodic": 2},
    }
    fake_server.respond(201, AGENT).respond(201, AGENT).respond(200, AGENT).respond(200, stats)
    fake_server.respond(200, {"agents": [AGENT], "count": 1}).respond(200, {"agents": [], "count": 0})
    fake_server.respond(204).respond(204)

    assert sdk.register_agent(RegisterAgentRequest(name="a", config={"model": "m"})).id == "agent_1"
    sdk.register_agent(name="a", description="d", config={})
    assert sdk.get_agent("a").name == "agent_1"
    assert sdk.get_agent_stats("a").memory_types == {"episodic": 2}
    assert [agent.id for agent in sdk.list_agents().agents] == ["agent_1"]
    sdk.list_agents(limit=2, cursor="b")
    sdk.delete_agent("a")
    sdk.delete_agent("a", delete_memories=True)

    assert [line(request) for request in fake_server.requests] == [
        "POST /api/v1/agents",
        "POST /api/v1/agents",
        "GET /api/v1/agents/a",
        "GET /api/v1/agents/a/stats",
        "GET /api/v1/agents",
        "GET /api/v1/agents?limit=2&cursor=b",
        "DELETE /api/v1/agents/a",
        "DELETE /api/v1/agents/a?delete_memories=true",
    ]
    assert json.loads(fake_server.requests[0].content) == {"name": "a", "config": {"model": "m"}}
    assert json.loads(fake_server.requests[1].content) == {"name": "a", "description": "d", "config": {}}


def test_session_methods_send_their_requests(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(201, SESSION).respond(200, SESSION)
    fake_server.respond(200, {"sessions": [SESSION], "count": 1}).respond(200, {"sessions": [], "count": 0})
    for _ in range(3):
        fake_server.respond(200, SESSION)

    assert sdk.create_session(CreateSessionRequest(agent_id="a", metadata={"task": "t"})).id == "sess_1"
    sdk.create_session(agent_id="a")
    assert sdk.get_session("s").status == "active"
    assert [session.id for session in sdk.list_sessions("a").sessions] == ["sess_1"]
    sdk.list_sessions(status="closed", limit=1, cursor="c")
    sdk.update_session("s", metadata={"gone": None})
    sdk.update_session("s", UpdateSessionRequest(status="active"))
    sdk.close_session("s")

    assert [line(request) for request in fake_server.requests] == [
        "POST /api/v1/sessions",
        "POST /api/v1/sessions",
        "GET /api/v1/sessions/s",
        "GET /api/v1/sessions?agent_id=a",
        "GET /api/v1/sessions?status=closed&limit=1&cursor=c",
        "PUT /api/v1/sessions/s",
        "PUT /api/v1/sessions/s",
        "PUT /api/v1/sessions/s",
    ]
    assert [json.loads(request.content) for request in fake_server.requests if request.content] == [
        {"agent_id": "a", "metadata": {"task": "t"}},
        {"agent_id": "a"},
        {"metadata": {"gone": None}},
        {"status": "active"},
        {"status": "closed"},
    ]


def test_memories_of_an_agent_or_session_have_its_id_in_the_path_alone(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    for _ in range(4):
        fake_server.respond(200, page())
    options = ListOptions(agent_id="other", session_id="another", limit=5)

    sdk.get_agent_memories("a", options)
    sdk.get_session_memories("s", options)
    sdk.get_agent_memories("a")
    sdk.get_session_memories("s")

    assert [line(request) for request in fake_server.requests] == [
        "GET /api/v1/agents/a/memories?session_id=another&limit=5",
        "GET /api/v1/sessions/s/memories?agent_id=other&limit=5",
        "GET /api/v1/agents/a/memories",
        "GET /api/v1/sessions/s/memories",
    ]


def test_context_is_requested_with_a_body_as_0_x_requires(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, CONTEXT).respond(200, CONTEXT).respond(200, CONTEXT)

    sdk.get_session_context("s")
    sdk.get_session_context("s", ContextOptions(max_tokens=10, include_types=["decision"]))
    sdk.get_agent_context("a", max_tokens=10)

    assert [line(request) for request in fake_server.requests] == [
        "POST /api/v1/sessions/s/context",
        "POST /api/v1/sessions/s/context",
        "POST /api/v1/agents/a/context",
    ]
    assert [json.loads(request.content) for request in fake_server.requests] == [
        {},
        {"max_tokens": 10, "include_types": ["decision"]},
        {"max_tokens": 10},
    ]


def test_context_of_0_x_that_fits_in_no_budget_is_empty(sdk: Memtrace, fake_server: FakeServer) -> None:
    # A second response with the same text is the last one.
    for _ in range(2):
        fake_server.respond(200, {"session_id": "s", "context": "# Context", "memory_count": 3})

    context = sdk.get_session_context("s", max_tokens=5, count_tokens=lambda text: 1_000 if text else 0)

    assert (context.session_id, context.context, context.memory_count) == ("s", "", 0)
    # A 0.x server does not report what it omitted.
    assert (context.omitted_count, context.memory_ids, context.omitted) == (None, None, None)


def test_health_and_ready_send_their_requests(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"status": "ok", "uptime": 1.5}).respond(200, {"status": "ok", "uptime": "3h2m"})

    assert sdk.health().uptime == 1.5
    assert sdk.ready().uptime == "3h2m"

    assert [line(request) for request in fake_server.requests] == ["GET /health", "GET /ready"]


@pytest.mark.parametrize(
    ("given", "raw"),
    [
        ("a/../b", b"a%2F..%2Fb"),
        ("a b?c#d%2F", b"a%20b%3Fc%23d%252F"),
        ("ä", b"%C3%A4"),
        ("a:b@c", b"a%3Ab%40c"),
    ],
)
def test_an_id_stays_one_segment_of_the_path(
    sdk: Memtrace, fake_server: FakeServer, given: str, raw: bytes
) -> None:
    stats = {"error": "No", "code": "not_found"}
    fake_server.respond(404, stats).respond(404, stats)

    for call in (sdk.get_agent_stats, sdk.get_session_memories):
        with pytest.raises(Exception, match="No"):
            call(given)

    assert [request.url.raw_path for request in fake_server.requests] == [
        b"/api/v1/agents/" + raw + b"/stats",
        b"/api/v1/sessions/" + raw + b"/memories",
    ]


def test_an_id_that_is_no_string_is_refused(sdk: Memtrace) -> None:
    with pytest.raises(TypeError, match="agent_id"):
        sdk.get_agent(None)  # type: ignore[arg-type]  # the error under test


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, object(), "\ud800", b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_value_that_is_not_json_is_refused_unsent(sdk: Memtrace, value: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        sdk.remember("a", "b", metadata={"k": value})

    assert caught.value.code == "invalid_request"


def test_metadata_that_contains_itself_is_refused(sdk: Memtrace) -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata

    with pytest.raises(BadRequestError):
        sdk.remember("a", "b", metadata=metadata)


def test_lone_surrogate_is_refused_in_any_argument(sdk: Memtrace) -> None:
    for call in (sdk.get_agent, sdk.recall):
        with pytest.raises(BadRequestError):
            call("\ud800")


def test_a_url_that_is_too_long_is_refused(sdk: Memtrace) -> None:
    with pytest.raises(BadRequestError, match="too long"):
        sdk.list_memories(cursor="x" * 70_000)


def test_every_write_has_an_idempotency_key_of_its_own(sdk: Memtrace, fake_server: FakeServer) -> None:
    batch = {"memories": [MEMORY], "count": 1}
    writes: list[tuple[Any, int, Any]] = [
        (lambda **key: sdk.remember("a", "c", **key), 201, MEMORY),
        (lambda **key: sdk.decide("a", "c", "r", **key), 201, MEMORY),
        (lambda **key: sdk.add_memory(agent_id="a", content="c", **key), 201, MEMORY),
        (lambda **key: sdk.add_memories([{"agent_id": "a", "content": "c"}], **key), 201, batch),
        (lambda **key: sdk.forget("mem_1", **key), 204, None),
        (lambda **key: sdk.forget_all(agent_id="a", **key), 200, {"deleted": 1}),
        (lambda **key: sdk.register_agent(name="a", **key), 201, AGENT),
        (lambda **key: sdk.delete_agent("a", **key), 204, None),
        (lambda **key: sdk.create_session(agent_id="a", **key), 201, SESSION),
        (lambda **key: sdk.update_session("s", status="closed", **key), 200, SESSION),
        (lambda **key: sdk.close_session("s", **key), 200, SESSION),
    ]
    for write, status, answer in writes:
        fake_server.respond(status, answer).respond(status, answer)
        write()
        write(idempotency_key="mine")

    keys = [request.headers["idempotency-key"] for request in fake_server.requests]
    assert keys[1::2] == ["mine"] * len(writes)
    assert len(set(keys[::2])) == len(writes)
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys[::2])


def test_no_read_has_an_idempotency_key(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page()).respond(200, FOUND).respond(200, CONTEXT)

    sdk.list_memories()
    sdk.search_memories("x")
    sdk.get_session_context("s")

    assert not any("idempotency-key" in request.headers for request in fake_server.requests)


@pytest.mark.parametrize("key", ["a\r\nx-other: b", "ü", "\x00"])
def test_idempotency_key_that_is_no_valid_header_is_refused(sdk: Memtrace, key: str) -> None:
    with pytest.raises(BadRequestError, match="Idempotency-Key"):
        sdk.remember("a", "b", idempotency_key=key)


def test_an_empty_idempotency_key_is_not_replaced(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, {"error": "Idempotency-Key", "code": "invalid_request"})

    with pytest.raises(BadRequestError):
        sdk.remember("a", "b", idempotency_key="")

    assert fake_server.request.headers["idempotency-key"] == ""


def test_special_characters_in_a_query_are_quoted(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page())

    sdk.list_memories(event_type="a b/c&d=e+f")

    assert fake_server.request.url.query == b"event_type=a%20b%2Fc%26d%3De%2Bf"


def test_request_refused_unsent_is_a_bad_request_error(sdk: Memtrace) -> None:
    calls: dict[str, Callable[[], object]] = {
        "event_type: cannot be written as JSON: 'utf-8' codec": lambda: sdk.list_memories(
            event_type="\ud800"
        ),
        "importance: nan cannot be written as JSON": lambda: sdk.remember("a", "b", importance=math.nan),
        "agent_id: '' is not an id; give the id of what you mean": lambda: sdk.get_agent(""),
        "Idempotency-Key: 'ä' has characters that no header can carry": lambda: sdk.forget(
            "mem_1", idempotency_key="ä"
        ),
    }
    for said, send in calls.items():
        with pytest.raises(BadRequestError) as caught:
            send()
        assert caught.value.message.startswith(said)
        assert (caught.value.code, caught.value.status_code) == ("invalid_request", 0)
        (detail,) = caught.value.details
        assert said.startswith(f"{detail.field}: ")
        assert (detail.location == "header") == (detail.field == "Idempotency-Key")


def test_every_keyword_mixed_with_a_request_object_is_named(sdk: Memtrace) -> None:
    with pytest.raises(TypeError) as caught:
        sdk.add_memory(AddMemoryRequest(agent_id="a", content="c"), tags=["t"], ttl=1)  # type: ignore[call-overload]

    assert str(caught.value) == ("give an AddMemoryRequest or its fields as keywords, not both: tags, ttl")


def test_unknown_field_is_named_even_if_none(sdk: Memtrace) -> None:
    calls: list[Callable[[], object]] = [
        lambda: sdk.remember("a", "b", mood=None),  # type: ignore[call-arg]
        lambda: sdk.add_memory({"agent_id": "a", "content": "c", "mood": None}),
        lambda: sdk.list_memories(mood="calm"),  # type: ignore[call-arg]
        lambda: sdk.search_memories("dark", mood="calm"),  # type: ignore[call-arg]
        lambda: sdk.forget_all(mood="calm"),  # type: ignore[call-arg]
        lambda: sdk.list_agents(mood="calm"),  # type: ignore[call-arg]
    ]
    for call in calls:
        with pytest.raises(TypeError, match="mood"):
            call()


def test_id_or_name_may_replace_a_request_object(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, SESSION).respond(201, AGENT).respond(201, MEMORY)

    sdk.create_session("agent_1", metadata={"task": "onboarding"})
    sdk.register_agent("agent_1", description="Support")
    sdk.add_memory({"agent_id": "agent_1", "content": "c", "time": "2026-11-01T09:30:00Z"})

    assert [json.loads(request.content) for request in fake_server.requests] == [
        {"agent_id": "agent_1", "metadata": {"task": "onboarding"}},
        {"name": "agent_1", "description": "Support"},
        {
            "agent_id": "agent_1",
            "content": "c",
            "on_duplicate": "store",
            "time": "2026-11-01T09:30:00Z",
        },
    ]
    with pytest.raises(TypeError, match="agent_id is given twice"):
        sdk.create_session("agent_1", agent_id="agent_2")  # type: ignore[call-overload]


def test_create_session_without_an_agent_is_a_type_error(sdk: Memtrace) -> None:
    with pytest.raises(TypeError, match="agent_id"):
        sdk.create_session()  # type: ignore[call-overload]
