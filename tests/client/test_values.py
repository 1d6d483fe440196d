"""Values that cannot be sent: the error names the field by its path, and nothing is sent."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from helpers.clients import MEMORY as STORED
from helpers.clients import page

from memtrace import BadRequestError, Memtrace

if TYPE_CHECKING:
    from helpers.clients import FakeServer

NAIVE = datetime(2026, 11, 20, 9, 30)  # noqa: DTZ001  # the error under test
MEMORY = {"agent_id": "a", "content": "b"}
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("metadata", "field", "problem"),
    [
        ({"order": {"items": [1, 2, 3, object()]}}, "metadata.order.items.3", "type object cannot be"),
        ({"file": b"\x00"}, "metadata.file", "a value of type bytes cannot be written as JSON; convert it"),
        ({"for": timedelta(1)}, "metadata.for", "a value of type timedelta cannot be"),
        ({"at": time(12)}, "metadata.at", "a value of type time cannot be"),
        ({"at": NAIVE}, "metadata.at", "at: cannot be written as JSON: datetime.* has no time zone"),
        ({"x": float("nan")}, "metadata.x", "nan cannot be written as JSON; convert it first"),
        ({"x": [float("-inf")]}, "metadata.x.0", "-inf cannot be written as JSON"),
        ({"x": Decimal("NaN")}, "metadata.x", r"Decimal\('NaN'\) cannot be written as JSON"),
        ({"x": {1: "one"}}, "metadata.x", r"the key 1, and JSON has only text as keys; give str\(1\)"),
        ({"x": {None: "one"}}, "metadata.x", "the key None"),
        ({"x": (1, {"y": "\ud800"})}, "metadata.x.1.y", "cannot be written as JSON: .*surrogates"),
        ({"\ud800": 1}, "metadata", "cannot be written as JSON: .*surrogates not allowed"),
        ({"x": CYCLE}, "metadata", "is nested too deeply"),
        (UserDict({"x": object()}), "metadata.x", "type object cannot be"),
    ],
    ids=[
        "deep", "bytes", "timedelta", "time", "naive", "nan", "infinity", "decimal", "int key", "None key",
        "surrogate", "surrogate key", "cycle", "mapping",
    ],
)  # fmt: skip
def test_metadata_that_is_no_json_is_named_by_its_path(
    sdk: Memtrace, metadata: dict[str, Any], field: str, problem: str
) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("", lambda: sdk.remember("a", "b", metadata=metadata)),
        ("memories.1.", lambda: sdk.add_memories([MEMORY, {**MEMORY, "metadata": metadata}])),
        ("", lambda: sdk.create_session("a", metadata=metadata)),
        ("", lambda: sdk.search_memories(metadata=metadata)),
        ("", lambda: sdk.buffered().remember("a", "b", metadata=metadata)),
    ]
    for where, call in calls:
        with pytest.raises(BadRequestError, match=problem) as caught:
            call()
        assert caught.value.message.startswith(f"{where}{field}: ")
        assert [detail.field for detail in caught.value.details] == [where + field]
        assert (caught.value.status_code, caught.value.code) == (0, "invalid_request")


def test_two_keys_that_become_one_are_refused(sdk: Memtrace) -> None:
    class Key(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    with pytest.raises(BadRequestError, match="metadata: has the key 'x' twice"):
        sdk.remember("a", "b", metadata={"x": 1, Key("x"): 2})


@pytest.mark.parametrize(
    ("fields", "kind", "problem"),
    [
        ({"tags": "ui"}, TypeError, r"tags: 'ui' is not a list of strings; give a list, such as \['ui'\]"),
        ({"tags": b"ui"}, TypeError, "tags: b'ui' is not a list of strings"),
        ({"tags": {"ui": 1}}, TypeError, "tags: .* is not a list of strings"),
        ({"tags": 5}, TypeError, "tags: 5 is not a list of strings"),
        ({"tags": ["ui", 5]}, TypeError, r"tags\.1: 5 is not text"),
        ({"tags": [None]}, TypeError, r"tags\.0: None is not text"),
        ({"time": NAIVE}, ValueError, "time: .* has no time zone"),
        ({"time": "2026-11-20T09:30"}, ValueError, "time: .* no time zone; give '2026-11-20T09:30Z' for UTC"),
        ({"time": "2026-11-20 09:30:01.5"}, ValueError, "time: .* has no time zone"),
        ({"time": "2026-11-20"}, ValueError, "time: '2026-11-20' is a date; give the time too, such as"),
        ({"time": date(2026, 11, 20)}, TypeError, "time: .* is not a time; give a datetime with a time zone"),
        ({"time": 1763631000}, TypeError, "time: 1763631000 is not a time"),
        ({"ttl": "1h"}, TypeError, "ttl: '1h' is not a duration; give seconds or a timedelta"),
        ({"ttl": timedelta(seconds=1.5)}, ValueError, "ttl: 0:00:01.500000 is not a number of whole seconds"),
        ({"metadata": [1]}, TypeError, r"metadata: \[1\] is not a mapping; give a dict"),
        ({"content": b"b"}, BadRequestError, "content: a value of type bytes cannot be written as JSON"),
        (
            {"content": "\udc80"},
            BadRequestError,
            "content: cannot be written as JSON: .*surrogates not allowed",
        ),
        ({"importance": float("nan")}, BadRequestError, "importance: nan cannot be written as JSON"),
        ({"session_id": 5}, TypeError, "session_id: 5 is not text; give a string"),
        ({"agent_id": b"a"}, TypeError, "agent_id: b'a' is not text"),
    ],
    ids=[
        *("text as tags", "bytes as tags", "mapping as tags", "number as tags", "number in tags", "no tag"),
        *(
            "datetime without a zone",
            "text without a zone",
            "no zone nor T",
            "date as text",
            "date",
            "number",
        ),
        *("text as ttl", "ttl below a second", "list as metadata", "bytes as content", "surrogate", "nan"),
        *("number as an id", "bytes as an id"),
    ],
)
def test_impossible_field_of_a_memory_is_named(
    sdk: Memtrace, fields: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    for call in (
        lambda: sdk.add_memory(**{**MEMORY, **fields}),
        lambda: sdk.add_memories([MEMORY, {**MEMORY, **fields}]),
        lambda: sdk.buffered().add_memory(**{**MEMORY, **fields}),
    ):
        with pytest.raises(kind, match=problem):
            call()


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        ("2026-11-20T09:30:00", ValueError, "no time zone; give '2026-11-20T09:30:00Z' for UTC, or '2026"),
        ("2026-11-20T09", ValueError, "has no time zone"),
        (NAIVE, ValueError, "has no time zone"),
        (timedelta(0), ValueError, "give a positive timedelta"),
        (24, TypeError, "24 is not a point in time; give '24h', a date, a timedelta or a datetime"),
        (["24h"], TypeError, "is not a point in time"),
    ],
    ids=["text", "hour", "datetime", "no duration", "number", "list"],
)
def test_impossible_point_in_time_is_named(
    sdk: Memtrace, name: str, value: Any, kind: type[Exception], problem: str
) -> None:
    for call in (
        sdk.list_memories,
        sdk.search_memories,
        sdk.forget_all,
        lambda **filters: sdk.get_agent_context("a", **filters),
        lambda **filters: next(sdk.iter_memories(**filters)),
        lambda **filters: sdk.get_agent_memories("a", **filters),
    ):
        with pytest.raises(kind, match=f"^{name}: .*{problem}"):
            call(**{name: value})


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("24h", "24h"),
        (timedelta(hours=2), "7200s"),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
        (date(2026, 11, 20), "2026-11-20T00:00:00Z"),
        ("2026-11-20T09:30:00.123456789+01:00", "2026-11-20T09:30:00.123456789+01:00"),
        (datetime(2026, 11, 20, 9, 30, tzinfo=UTC), "2026-11-20T09:30:00Z"),
    ],
    ids=["duration", "timedelta", "date text", "date", "text", "datetime"],
)
def test_point_in_time_is_sent_as_the_contract_writes_it(
    sdk: Memtrace, fake_server: FakeServer, value: Any, wire: str
) -> None:
    for _ in range(2):
        fake_server.respond(
            200, {"memories": [], "count": 0, "has_more": False, "results": [], "query_time_ms": 1}
        )
    sdk.list_memories(since=value, until=value)
    sdk.search_memories(since=value)

    listed, searched = fake_server.requests
    assert (listed.url.params["since"], listed.url.params["until"]) == (wire, wire)
    assert f'"since":"{wire}"' in searched.content.decode()


def test_a_number_of_too_many_digits_is_named_by_its_path(sdk: Memtrace) -> None:
    with pytest.raises(BadRequestError, match=r"metadata\.n cannot be written as JSON|metadata\.n: cannot"):
        sdk.remember("a", "b", metadata={"n": 10**5_000})


def test_a_set_of_several_types_is_sent_in_one_order(sdk: Memtrace, fake_server: FakeServer) -> None:
    found = {"results": [], "count": 0, "query_time_ms": 0}
    fake_server.respond(200, found).respond(200, found)

    for mixed in ({1, "x", None}, {None, "x", 1}):
        sdk.search_memories(metadata={"mixed": mixed})

    for request in fake_server.requests:
        assert b'{"mixed":["x",1,null]}' in request.content


@pytest.mark.parametrize("is_buffered", [False, True], ids=["direct", "buffered"])
def test_subclasses_of_numbers_and_text_are_sent_as_plain_ones(
    sdk: Memtrace, fake_server: FakeServer, *, is_buffered: bool
) -> None:
    class Level(int):
        def __repr__(self) -> str:
            return "high"

    class Share(float):
        def __repr__(self) -> str:
            return "half"

    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "LOUD"

    stored = {**MEMORY, "time": "2026-11-01T09:30:00Z", "org_id": "o", "memory_type": "episodic"}
    fake_server.respond(201, {"memories": [{**stored, "event_type": "general"}], "count": 1})
    metadata: dict[str, Any] = {Loud("key"): [Level(3), Share(0.5), Loud("text")]}
    if is_buffered:
        with sdk.buffered() as log:
            log.remember("a", Loud("b"), metadata=metadata, importance=Share(0.5))
    else:
        sdk.add_memories([{**MEMORY, "metadata": metadata, "importance": Share(0.5)}])

    [request] = fake_server.requests
    assert b'"metadata":{"key":[3,0.5,"text"]}' in request.content
    assert b'"importance":0.5' in request.content


@pytest.mark.parametrize(
    ("zone", "name"),
    [(ZoneInfo("Europe/Berlin"), "Europe/Berlin"), (UTC, "UTC")],
    ids=["ZoneInfo", "UTC"],
)
def test_a_time_zone_is_asked_for_by_its_name(
    sdk: Memtrace, fake_server: FakeServer, zone: Any, name: str
) -> None:
    for call in (sdk.get_agent_context, sdk.get_session_context):
        with pytest.raises(TypeError, match=f"^timezone: .* is not the name of a time zone; give '{name}'$"):
            call("id", timezone=zone)

    assert fake_server.requests == []


class Odd(Enum):
    UNIQUE = UUID(int=1)
    DAY = date(2026, 1, 1)
    MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [*Odd, *(member.value for member in Odd)], ids=str)
def test_enum_whose_value_is_not_text_is_refused(sdk: Memtrace, fake_server: FakeServer, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^agent_id: .* is not text"):
        sdk.remember(value, "b")
    with pytest.raises(TypeError, match=r"^tags\.0: .* is not text"):
        sdk.remember("a", "b", tags=[value])
    with pytest.raises(BadRequestError, match=r"^metadata: has the key .*; give str"):
        sdk.remember("a", "b", metadata={value: 1})

    assert fake_server.requests == []


def test_a_time_in_an_enum_is_that_time(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, page())

    sdk.recall("a", since=Odd.MOMENT)  # type: ignore[arg-type]  # its value is a time

    assert fake_server.request.url.params["since"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"tags": 5}, "tags: 5 is not a list of strings"),
        ({"tags": [5]}, r"tags\.0: 5 is not text"),
        ({"limit": "5"}, "limit: '5' is not a number"),
        ({"order": "asc"}, "order: recall returns the newest first; list_memories has an order"),
    ],
    ids=["tags", "one tag", "limit", "order"],  # no backslash: mutmut collects twice in a process
)
def test_a_filter_of_another_type_is_refused(
    sdk: Memtrace, fake_server: FakeServer, filters: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=f"^{said}"):
        sdk.recall("a", **filters)

    assert fake_server.requests == []


def test_limit_of_another_list_is_refused_if_it_is_text(sdk: Memtrace) -> None:
    limit: Any = "5"
    with pytest.raises(TypeError, match=r"^limit: '5' is not a number"):
        sdk.list_agents(limit=limit)


@pytest.mark.parametrize("filters", [{"tags": 5}, {"agent_id": None}, {"session_id": None}], ids=str)
def test_export_refuses_an_empty_filter_that_would_match_all(
    sdk: Memtrace, fake_server: FakeServer, filters: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(filters))}: "):
        list(sdk.export(**filters))

    assert fake_server.requests == []


@pytest.mark.parametrize("metadata", [5, 0, "x", [("a", 1)]], ids=repr)
def test_a_decision_needs_a_mapping_as_metadata(
    sdk: Memtrace, fake_server: FakeServer, metadata: Any
) -> None:
    with pytest.raises(TypeError, match=r"^metadata: .* is not a mapping; give a dict$"):
        sdk.decide("a", "b", "c", metadata=metadata)

    assert fake_server.requests == []


def test_a_set_of_several_types_is_a_list_in_one_order(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, STORED)

    sdk.remember("a", "b", metadata={"seen": {2, "x", 1}})

    assert fake_server.sent["metadata"] == {"seen": ["x", 1, 2]}
