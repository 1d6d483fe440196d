"""Requests of exports and imports, and the records that an import rejects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.clients import AGENT, MEMORY, SESSION, FakeServer

from memtrace import BadRequestError, Memtrace, RejectedRecord

RECORD = {"kind": "memory", "id": "mem_1", "content": "one"}
DONE = {"imported": 1, "existing": 0}


def tail(*memories: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    return {"memories": list(memories), "count": len(memories), "has_more": has_more, "next_cursor": "next"}


def wrong(*fields: str) -> dict[str, Any]:
    """Return an error response about fields."""
    details = [{"field": field, "location": "body", "message": "is wrong"} for field in fields]
    return {"error": "wrong", "code": "invalid_request", "request_id": "r", "details": details}


def requested(fake_server: FakeServer) -> list[str]:
    return [f"{request.url.path}?{request.url.query.decode()}" for request in fake_server.requests]


def test_export_requests_every_page_of_each_kind(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"agents": [AGENT], "count": 1, "next_cursor": "a"})
    fake_server.respond(200, {"agents": [AGENT], "count": 1})
    fake_server.respond(200, {"sessions": [SESSION], "count": 1, "next_cursor": "s"})
    fake_server.respond(200, {"sessions": [], "count": 0})
    fake_server.respond(200, tail(MEMORY, has_more=True)).respond(200, tail())

    records = list(sdk.export())

    assert [record["kind"] for record in records] == ["agent", "agent", "session", "memory"]
    assert records[-1] == {**MEMORY, "kind": "memory"}
    assert requested(fake_server) == [
        "/api/v1/agents?",
        "/api/v1/agents?cursor=a",
        "/api/v1/sessions?",
        "/api/v1/sessions?cursor=s",
        "/api/v1/tail?limit=1000&start=beginning",
        "/api/v1/tail?limit=1000&cursor=next",
    ]


def test_memory_without_an_id_is_exported_unchanged(sdk: Memtrace, fake_server: FakeServer) -> None:
    nameless = {name: value for name, value in MEMORY.items() if name != "id"}
    fake_server.respond(200, {"agents": [], "count": 0}).respond(200, {"sessions": [], "count": 0})
    fake_server.respond(200, tail(nameless))

    assert list(sdk.export()) == [{**nameless, "kind": "memory"}]


def test_filtered_export_requests_the_agents_and_sessions_of_memories(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    gone = {**MEMORY, "agent_id": "deleted", "session_id": "deleted"}
    plain = {**MEMORY, "agent_id": "a", "session_id": None}
    later = {**plain, "session_id": "s"}
    fake_server.respond(200, tail(plain, plain, later, gone))
    fake_server.respond(200, AGENT).respond(200, SESSION)
    for _ in range(2):
        fake_server.respond(404, {"error": "No such thing", "code": "not_found", "request_id": "r"})

    records = list(sdk.export(event_type="error"))

    assert [record["kind"] for record in records] == ["agent", *["memory"] * 2, "session", *["memory"] * 2]
    assert requested(fake_server) == [
        "/api/v1/tail?event_type=error&limit=1000&start=beginning",
        "/api/v1/agents/a?",
        "/api/v1/sessions/s?",
        "/api/v1/agents/deleted?",
        "/api/v1/sessions/deleted?",
    ]


def test_a_filter_that_is_none_or_empty_is_no_filter(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"agents": [], "count": 0}).respond(200, {"sessions": [], "count": 0})
    fake_server.respond(200, tail())

    assert list(sdk.export(memory_type=None, since=None, tags=[])) == []


@pytest.mark.parametrize("name", ["limit", "start", "cursor", "wait", "moods"])
def test_export_with_an_unknown_filter_is_a_type_error(sdk: Memtrace, name: str) -> None:
    unknown: Any = {name: 1}

    with pytest.raises(TypeError, match=f"^{name}: unknown filter; export has agent_id, "):
        list(sdk.export(**unknown))


def test_import_sends_records_without_fields_of_their_origin(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"imported": 3, "existing": 1})

    report = sdk.import_(
        [
            {**AGENT, "kind": "agent"},
            json.dumps({**SESSION, "kind": "session"}),
            json.dumps({**RECORD, "org_id": "org_1", "superseded_by": "mem_2"}).encode(),
            "\n",
            RECORD,
        ]
    )

    assert (report.imported, report.existing, report.rejected) == (3, 1, [])
    sent = fake_server.sent
    assert list(sent) == ["agents", "sessions", "memories"]
    assert "org_id" not in sent["agents"][0]
    assert "name" not in sent["agents"][0]
    assert "status" not in sent["sessions"][0]
    assert sent["memories"] == [{"id": "mem_1", "content": "one"}] * 2
    assert fake_server.request.headers["idempotency-key"]


def test_many_records_are_imported_in_batches(sdk: Memtrace, fake_server: FakeServer) -> None:
    for _ in range(3):
        fake_server.respond(200, DONE)

    report = sdk.import_([RECORD] * 1_001)

    assert report.imported == 3
    sizes = [len(json.loads(request.content)["memories"]) for request in fake_server.requests]
    assert sizes == [500, 500, 1]


def test_long_records_are_imported_in_batches_bounded_in_bytes(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    for _ in range(2):
        fake_server.respond(200, DONE)
    line = json.dumps({**RECORD, "content": "x" * (5 << 20)})

    sdk.import_([line] * 3)

    sizes = [len(json.loads(request.content)["memories"]) for request in fake_server.requests]
    assert sizes == [2, 1]


@pytest.mark.parametrize("kind", ["agent", "session"])
def test_large_agents_and_sessions_are_imported_in_batches_of_some_size(
    sdk: Memtrace, fake_server: FakeServer, kind: str
) -> None:
    for _ in range(3):
        fake_server.respond(200, DONE)
    record = {"kind": kind, "id": "a", "config": "x" * 65_000}

    sdk.import_([record] * 150)

    sizes = [len(request.content) for request in fake_server.requests]
    assert len(sizes) == 3
    assert max(sizes) < 5 << 20  # a server takes 8 MiB


def test_records_named_by_an_error_are_left_out_of_the_next_request(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(400, wrong("memories.1.content", "memories.1.time", "agents.0"))
    fake_server.respond(409, wrong("memories.0.id"))
    fake_server.respond(200, DONE)
    records = [RECORD, {"kind": "agent", "id": "a"}, {**RECORD, "id": "mem_2"}, {**RECORD, "id": "mem_3"}]

    report = sdk.import_(records)

    assert report.rejected == [
        RejectedRecord(1, "id: is wrong"),
        RejectedRecord(2, "is wrong"),
        RejectedRecord(3, "content: is wrong"),
    ]
    last = json.loads(fake_server.requests[-1].content)
    assert last == {"memories": [{"id": "mem_3", "content": "one"}]}


def test_batch_of_rejected_records_alone_is_not_sent_again(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, wrong("memories.0.content"))

    report = sdk.import_([RECORD])

    assert (report.imported, len(report.rejected)) == (0, 1)


@pytest.mark.parametrize("field", ["body", "things.0.id", "memories", "memories.x"])
def test_an_error_that_names_no_record_is_raised(field: str, sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(400, wrong(field))

    with pytest.raises(BadRequestError, match="wrong"):
        sdk.import_([RECORD])


def test_strict_import_names_the_first_invalid_record(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, DONE)
    fake_server.respond(400, wrong("memories.1.content"))

    with pytest.raises(
        BadRequestError, match="record 502: content: is wrong; 1 were imported before it"
    ) as caught:
        sdk.import_([RECORD] * 1_001, strict=True)

    assert (caught.value.code, caught.value.status_code) == ("invalid_request", 0)


def test_strict_import_sends_no_batch_with_an_unreadable_line(sdk: Memtrace, fake_server: FakeServer) -> None:
    with pytest.raises(BadRequestError, match="record 2: it is not JSON"):
        sdk.import_([RECORD, "{", RECORD], strict=True)

    assert fake_server.requests == []


def test_import_reports_lines_that_another_format_cannot_read(sdk: Memtrace) -> None:
    unreadable: Any = ValueError("no line of this format")

    report = sdk.import_([unreadable])

    assert report.rejected == [RejectedRecord(1, "no line of this format")]


def test_record_whose_kind_is_not_a_string_is_rejected(sdk: Memtrace) -> None:
    report = sdk.import_(['{"kind": ["memory"]}', {"kind": {}}])

    assert [each.position for each in report.rejected] == [1, 2]
    assert report.rejected[1].reason == "its kind is {}; a record's kind is one of agent, session, memory"


@pytest.mark.parametrize("name", [None, ["mem_1"]], ids=["none", "a list"])
def test_memory_without_an_id_is_sent_and_rejected_by_the_server(
    name: object, sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(400, wrong("memories.1.id")).respond(200, DONE)

    report = sdk.import_([{**RECORD, "superseded_by": "mem_2"}, {**RECORD, "id": name}])

    assert report.rejected == [RejectedRecord(2, "id: is wrong")]
