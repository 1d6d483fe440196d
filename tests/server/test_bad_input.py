"""Bad input gets a 4xx that names the field, never a 500, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from durability.sockets import connect, read_response
from server.operations import CONTRACT, METHODS, OPERATIONS

if TYPE_CHECKING:
    from live import LiveServer
    from server.conftest import Api

MEMORIES, SEARCH, AGENTS, SESSIONS = (f"/api/v1/{n}" for n in ("memories", "search", "agents", "sessions"))
VALID: dict[str, Any] = {"agent_id": "a", "content": "c"}
LONG = "x" * 70_000
BATCH = {"memories": [VALID, {**VALID, "content": ""}]}
MANY = dict.fromkeys(map(str, range(101)), 1)


@pytest.fixture(scope="module")
def tenant(shared_api: Api) -> Iterator[Api]:
    """Return a tenant for all tests of this module, none of which may change anything."""
    shared_api.add(agent_id="known", content="kept", session_id="s")
    yield shared_api
    assert shared_api.contents() == ["kept"]
    assert [agent["id"] for agent in shared_api.get(AGENTS)["agents"]] == ["known"]
    assert [session["id"] for session in shared_api.get(SESSIONS)["sessions"]] == ["s"]


def assert_refused(response: httpx.Response, status: int, location: str, *fields: str) -> None:
    error = response.json()
    assert (response.status_code, error["request_id"]) == (status, response.headers["x-request-id"]), error
    assert response.headers["content-type"] == "application/json"
    assert {(d["field"], d["location"]) for d in error["details"]} == {
        (field, location) for field in fields
    }, error
    assert all(detail["message"] for detail in error["details"])
    assert len({(d["field"], d["message"]) for d in error["details"]}) == len(error["details"]), error
    assert len(response.content) < 2_000


# Each: the fault, the body of addMemory, the named fields.
BAD_MEMORIES: list[tuple[str, Any, str]] = [
    ("no object", ["a"], "body"),
    ("a string", "a", "body"),
    ("null", None, "body"),
    ("nothing in it", {}, "agent_id content"),
    ("no content", {"agent_id": "a"}, "content"),
    ("an unknown field", {**VALID, "contents": "c"}, "contents"),
    ("another field's alias", {**VALID, "id": "mem_1"}, "id"),
    ("both one and many", {**VALID, "memories": []}, "memories"),
    ("null where a value is required", {**VALID, "content": None}, "content"),
    ("a number for a string", {**VALID, "content": 1}, "content"),
    ("a list for a string", {**VALID, "agent_id": ["a"]}, "agent_id"),
    ("a string for a number", {**VALID, "importance": "0.5"}, "importance"),
    ("a boolean for a number", {**VALID, "importance": True}, "importance"),
    ("a string for a list", {**VALID, "tags": "a,b"}, "tags"),
    ("a list for an object", {**VALID, "metadata": []}, "metadata"),
    ("a number below its least", {**VALID, "importance": -0.1}, "importance"),
    ("a number above its most", {**VALID, "importance": 1.01}, "importance"),
    ("a fraction for an integer", {**VALID, "ttl": 1.5}, "ttl"),
    ("an integer of 2**63", {**VALID, "ttl": 2**63}, "ttl"),
    ("an integer of 10**18", {**VALID, "ttl": 10**18}, "ttl"),
    ("an unknown enum value", {**VALID, "memory_type": "dream"}, "memory_type"),
    ("an enum value in capitals", {**VALID, "memory_type": "Episodic"}, "memory_type"),
    ("too long a content", {**VALID, "content": LONG}, "content"),
    ("an empty content", {**VALID, "content": ""}, "content"),
    ("too long an id", {**VALID, "agent_id": "a" * 129}, "agent_id"),
    ("an id with a space at its end", {**VALID, "session_id": "a "}, "session_id"),
    ("an id with a line separator", {**VALID, "session_id": "a\u2028b"}, "session_id"),
    ("an id with a line break", {**VALID, "agent_id": "a\n"}, "agent_id"),
    ("an id of dots", {**VALID, "agent_id": ".."}, "agent_id"),
    ("too long an event type", {**VALID, "event_type": "e" * 129}, "event_type"),
    ("a control character in the event type", {**VALID, "event_type": "a\tb"}, "event_type"),
    ("too long a tag", {**VALID, "tags": ["ok", "t" * 129]}, "tags.1"),
    ("an empty tag", {**VALID, "tags": [""]}, "tags.0"),
    ("too many tags", {**VALID, "tags": [str(n) for n in range(51)]}, "tags"),
    ("a control character in a tag", {**VALID, "tags": ["a\x9bb"]}, "tags.0"),
    ("a time of before 1970", {**VALID, "time": "1970-01-01T00:00:00+14:00"}, "time"),
    ("a time of after 2199", {**VALID, "time": "2199-12-31T23:59:59-14:00"}, "time"),
    ("ttl and supersedes", {**VALID, "ttl": 60, "supersedes": "mem_" + "0" * 26}, "ttl"),
    ("an unknown on_duplicate", {**VALID, "on_duplicate": "drop"}, "on_duplicate"),
    ("no id to supersede", {**VALID, "supersedes": "mem_1"}, "supersedes"),
    ("NUL in the content", {**VALID, "content": "a\0b"}, "content"),
    ("NUL in a tag", {**VALID, "tags": ["a\0b"]}, "tags.0"),
    ("NUL in the event type", {**VALID, "event_type": "\0"}, "event_type"),
    ("NUL in the dedup key", {**VALID, "dedup_key": "\0"}, "dedup_key"),
    ("NUL in a metadata value", {**VALID, "metadata": {"a": {"b": ["c\0"]}}}, "metadata.a.b.0"),
    ("too long a dedup key", {**VALID, "dedup_key": "d" * 257}, "dedup_key"),
    ("2**63 in the metadata", {**VALID, "metadata": {"n": 2**63}}, "metadata.n"),
    ("-2**63-1 in the metadata", {**VALID, "metadata": {"n": [-(2**63) - 1]}}, "metadata.n.0"),
    ("1e300 in the metadata", {**VALID, "metadata": {"n": 1e300}}, "metadata.n"),
    ("too many keys in the metadata", {**VALID, "metadata": MANY}, "metadata"),
    ("too long a value in the metadata", {**VALID, "metadata": {"v": LONG}}, "metadata"),
    ("too long a list in the metadata", {**VALID, "metadata": {"v": [0] * 1_001}}, "metadata.v"),
    ("a date without a time", {**VALID, "time": "2026-01-01"}, "time"),
    ("a time without a zone", {**VALID, "time": "2026-01-01T00:00:00"}, "time"),
    ("a day that is none", {**VALID, "time": "2026-02-29T00:00:00Z"}, "time"),
    ("a leap second", {**VALID, "time": "2026-06-30T23:59:60Z"}, "time"),
    ("ten digits of a second", {**VALID, "time": "2026-01-01T00:00:00.0000000001Z"}, "time"),
    ("a year before 1970", {**VALID, "time": "1969-12-31T23:59:59Z"}, "time"),
    ("a time as a number", {**VALID, "time": 1_700_000_000}, "time"),
    ("an empty batch", {"memories": []}, "memories"),
    ("a batch that is no list", {"memories": VALID}, "memories"),
    ("too large a batch", {"memories": [VALID] * 1_001}, "memories"),
    ("one bad memory in a batch", BATCH, "memories.1.content"),
    ("an unknown field beside a batch", {"memories": [VALID], "atomic": True}, "atomic"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "fields"), [bad[1:] for bad in BAD_MEMORIES], ids=[b[0] for b in BAD_MEMORIES]
)
def test_invalid_memory_is_refused_by_its_field(tenant: Api, body: Any, fields: str) -> None:
    content = msgspec.json.encode(body)

    response = tenant("POST", MEMORIES, content=content, headers={"content-type": "application/json"})

    assert_refused(response, 400, "body", *fields.split())


def test_invalid_key_of_metadata_is_named(tenant: Api) -> None:
    for key in ("a\0b", "k" * 257):
        response = tenant("POST", MEMORIES, json={**VALID, "metadata": {"deep": {key: 1}}})
        assert_refused(response, 400, "body", "metadata.deep")


def test_ten_to_the_power_of_four_hundred_is_refused(tenant: Api) -> None:
    for number, field in (("metadata", "metadata.n"), ("ttl", "ttl")):
        value = f'{{"n": {10**400}}}' if number == "metadata" else str(10**400)
        body = f'{{"agent_id": "a", "content": "c", "{number}": {value}}}'
        response = tenant("POST", MEMORIES, content=body, headers={"content-type": "application/json"})
        assert_refused(response, 400, "body", field)


def test_error_names_up_to_twenty_invalid_fields(tenant: Api) -> None:
    response = tenant("POST", MEMORIES, json={"memories": [{"agent_id": "a"}] * 30})

    assert_refused(response, 400, "body", *(f"memories.{n}.content" for n in range(20)))


JSON = {"content-type": "application/json"}

# Each: the body as bytes.
NO_JSON: dict[str, bytes] = {
    "broken": b'{"agent_id": "a", "content": "c"',
    "two values": b'{"agent_id": "a", "content": "c"} {}',
    "single quotes": b"{'agent_id': 'a', 'content': 'c'}",
    "a trailing comma": b'{"agent_id": "a", "content": "c",}',
    "a form": b"agent_id=a&content=c",
    "spaces": b"   ",
    "a byte order mark": b'\xef\xbb\xbf{"agent_id": "a", "content": "c"}',
    "UTF-16": '{"agent_id": "a", "content": "c"}'.encode("utf-16"),
    "NaN": b'{"agent_id": "a", "content": "c", "importance": NaN}',
    "Infinity": b'{"agent_id": "a", "content": "c", "importance": -Infinity}',
    "invalid UTF-8": b'{"agent_id": "a", "content": "\xff\xfe"}',
    "an overlong NUL": b'{"agent_id": "a", "content": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"agent_id": "a", "content": "\xed\xa0\x80"}',
    "a raw control character": b'{"agent_id": "a", "content": "a\x01b"}',
    "a lone surrogate": rb'{"agent_id": "a", "content": "\ud800"}',
    "surrogates in the wrong order": rb'{"agent_id": "a", "content": "\udc00\ud800"}',
    "1e400": b'{"agent_id": "a", "content": "c", "metadata": {"n": 1e400}}',
}  # fmt: skip


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_body_that_is_not_json_is_refused(tenant: Api, body: bytes) -> None:
    response = tenant("POST", MEMORIES, content=body, headers={"content-type": "application/json"})

    assert_refused(response, 400, "body", "body")


def test_a_lone_surrogate_in_a_key_is_refused(tenant: Api) -> None:
    body = rb'{"agent_id": "a", "content": "c", "metadata": {"\udfff": 1}}'

    response = tenant("POST", MEMORIES, content=body, headers={"content-type": "application/json"})

    assert_refused(response, 400, "body", "body")


@pytest.mark.parametrize("depth", [99, 250, 500, 980, 1_000, 3_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_too_deeply_is_refused(tenant: Api, depth: int, opening: str, closing: str) -> None:
    metadata = f'"metadata": {{"n": {opening * depth}1{closing * depth}}}'
    for method, path, body in (
        ("POST", MEMORIES, f'{{"agent_id": "a", "content": "c", {metadata}}}'),
        ("POST", SEARCH, f"{{{metadata}}}"),
        ("POST", SESSIONS, f'{{"agent_id": "a", {metadata}}}'),
        ("PUT", f"{SESSIONS}/s", f"{{{metadata}}}"),
    ):
        response = tenant(method, path, content=body, headers={"content-type": "application/json"})
        assert_refused(response, 400, "body", "body")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_accepted_nesting_can_be_read_searched_and_merged(api: Api, opening: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    deep = {"n": msgspec.json.decode(f"{opening * 98}1{closing * 98}")}
    memory = api.add(content="c", metadata=deep)

    assert api.get(f"{MEMORIES}/{memory['id']}") == memory
    assert api("POST", SEARCH, json={"metadata": deep}).json()["results"] == [memory]
    session = api("POST", SESSIONS, json={"agent_id": "a", "metadata": deep}).json()
    merged = api("PUT", f"{SESSIONS}/{session['id']}", json={"metadata": deep})
    assert (merged.status_code, merged.json()["metadata"]) == (200, deep)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS.values() if o.bodies], ids=lambda o: o.id)
def test_body_with_an_unknown_field_or_of_another_type_is_refused(tenant: Api, operation: Any) -> None:
    request = operation.request()
    for wrong in ("text", 1, True, [1]):
        assert_refused(tenant(**{**request, "json": wrong}), 400, "body", "body")
    unknown = {**request["json"], "unknown_field": 1}
    assert_refused(tenant(**{**request, "json": unknown}), 400, "body", "unknown_field")


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        (None, False),
        ("", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/jsonx", False),
        ("application/json; charset=latin-1", False),
        ("x" * 5_000, False),
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json;charset=UTF-8", True),
        ('application/json; charset="utf-8"', True),
    ],
    ids=str,
)  # fmt: skip
def test_a_body_is_json_by_its_content_type(tenant: Api, content_type: str | None, is_json: bool) -> None:  # noqa: FBT001 - a column of the table
    headers = {} if content_type is None else {"content-type": content_type}

    response = tenant("POST", SEARCH, content=b"{}", headers=headers)

    if is_json:
        assert response.status_code == 200
    else:
        assert_refused(response, 415, "header", "content-type")


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "identity, gzip", "x" * 5_000, ""], ids=lambda coding: coding[:9] or "nothing"
)
def test_compressed_body_is_refused(tenant: Api, coding: str) -> None:
    """Refuse JSON, too, if its content-encoding says that it is compressed."""
    response = tenant("POST", SEARCH, content=b"{}", headers={**JSON, "content-encoding": coding})

    assert_refused(response, 415, "header", "content-encoding")
    assert response.headers["accept-encoding"] == "identity"


def test_content_encoding_identity_is_accepted(tenant: Api) -> None:
    headers = {**JSON, "content-encoding": "Identity"}

    assert tenant("POST", SEARCH, content=b"{}", headers=headers).status_code == 200


# Each: the query of listMemories, and the named field.
BAD_QUERIES: list[tuple[str, str]] = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=-1", "limit"),
    ("limit=ten", "limit"),
    ("limit=", "limit"),
    ("limit=1.0", "limit"),
    ("limit=1e2", "limit"),
    ("limit=0x10", "limit"),
    ("limit=+1", "limit"),
    ("limit=%201", "limit"),
    ("limit=1_0", "limit"),
    ("limit=%D9%A1", "limit"),
    ("limit=9223372036854775808", "limit"),
    (f"limit={10**400}", "limit"),
    (f"limit={'9' * 20_000}", "limit"),
    ("limit=10&limit=20", "limit"),
    ("offset=-1", "offset"),
    ("offset=9223372036854775808", "offset"),
    ("order=newest", "order"),
    ("order=", "order"),
    ("order=asc&order=asc", "order"),
    ("memory_type=dream", "memory_type"),
    ("event_type=", "event_type"),
    ("event_type=a%00b", "event_type"),
    ("agent_id=", "agent_id"),
    ("agent_id=..", "agent_id"),
    ("agent_id=a%0Ab", "agent_id"),
    ("as_of=yesterday", "as_of"),
    ("as_of=1970-01-01T00:00:00%2B14:00", "as_of"),
    ("include_superseded=1", "include_superseded"),
    ("agent_id=a&agent_id=b", "agent_id"),
    ("tags=", "tags.0"),
    ("tags=a,,b", "tags.1"),
    ("tags=a%00b", "tags.0"),
    (f"tags={','.join(map(str, range(51)))}", "tags"),
    ("since=yesterday", "since"),
    ("since=0h", "since"),
    ("since=1000000h", "since"),
    ("since=2026-01-01T00:00:00 00:00", "since"),
    ("until=2026-13-01T00:00:00Z", "until"),
    ("cursor=", "cursor"),
    ("cursor=a.b", "cursor"),
    (f"cursor={'Z' * 1025}", "cursor"),
    ("unknown=1", "unknown"),
    ("=1", "query"),
    ("Limit=1", "Limit"),
    ("limit%00=1", "limit\0"),
    ("memory_id=1", "memory_id"),
    (f"{'n' * 5_000}=1", "n" * 100),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES, ids=[q[:40] for q, _ in BAD_QUERIES])
def test_invalid_query_is_refused_by_its_parameter(tenant: Api, query: str, field: str) -> None:
    assert_refused(tenant("GET", f"{MEMORIES}?{query}"), 400, "query", field)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda o: o.id)
def test_every_operation_refuses_an_unknown_parameter(tenant: Api, operation: Any) -> None:
    request = operation.request()

    assert_refused(
        tenant(**{**request, "params": {**request["params"], "unknown": "1"}}), 400, "query", "unknown"
    )


def test_invalid_idempotency_key_is_refused(tenant: Api) -> None:
    for key in ("", "k" * 256, "with space", "ü"):
        response = tenant("POST", MEMORIES, json=VALID, headers={"idempotency-key": key.encode("latin-1")})
        assert_refused(response, 400, "header", "Idempotency-Key")


def test_key_header_that_is_sent_twice_is_refused(tenant: Api, http: httpx.Client) -> None:
    valid = [("content-type", "application/json"), ("x-api-key", tenant.key), ("idempotency-key", "one")]

    twice = http.post(MEMORIES, json=VALID, headers=[*valid, ("idempotency-key", "two")])
    assert_refused(twice, 400, "header", "Idempotency-Key")
    for keys in (("mtk_0", tenant.key), (tenant.key, "mtk_0")):
        assert http.get(MEMORIES, headers=[("x-api-key", key) for key in keys]).status_code == 401


def test_forgetting_without_a_filter_is_refused(tenant: Api) -> None:
    response = tenant("DELETE", MEMORIES, headers={"idempotency-key": "k"})
    assert_refused(response, 403, "query", "query")
    assert response.json()["code"] == "filter_required"
    assert_refused(tenant("DELETE", f"{MEMORIES}?limit=1"), 400, "query", "limit")


# Each: the path as it is sent, the status, and the named parameter.
BAD_PATHS: list[tuple[bytes, int, str]] = [
    (b"/api/v1/agents/..", 400, "agent_id"),
    (b"/api/v1/agents/.", 400, "agent_id"),
    (b"/api/v1/agents/%2e%2e", 400, "agent_id"),
    (b"/api/v1/agents/%2E%2e/memories", 400, "agent_id"),
    (b"/api/v1/agents/../memories", 400, "agent_id"),
    (b"/api/v1/sessions/..", 400, "session_id"),
    (b"/api/v1/memories/..", 400, "memory_id"),
    (b"/api/v1/memories/%2e%2e%2fagents", 400, "memory_id"),
    (b"/api/v1/agents/known%2Fmemories", 404, ""),
    (b"/api/v1/agents/known%2fmemories", 404, ""),
    (b"/api/v1/agents/known%252Fmemories", 404, ""),
    (b"/api/v1/agents/", 400, "agent_id"),
    (b"/api/v1/agents//memories", 400, "agent_id"),
    (b"/api/v1/agents/a%00b", 400, "agent_id"),
    (b"/api/v1/agents/%ff", 400, "path"),
    (b"/api/v1/agents/%c3%a4", 404, ""),
    (b"/api/v1/agents/%", 400, "agent_id"),
    (b"/api/v1/agents/%zz", 400, "agent_id"),
    (b"/api/v1/agents/a;b", 404, ""),
    (b"/api/v1/agents/a%20", 400, "agent_id"),
    (b"/api/v1/agents/%2E%2e", 400, "agent_id"),
    (b"/api/v1/agents/" + b"a" * 129, 400, "agent_id"),
    (b"/api/v1/agents/" + b"a" * 4_000, 400, "agent_id"),
    (b"/api/v1/agents/" + b"a" * 50_000, 431, ""),
    (b"/api/v1/memories/mem_0", 400, "memory_id"),
    (b"/api/v1/memories/mem_8" + b"0" * 25, 400, "memory_id"),
    (b"/api/v1/memories/mem_01jd5p8e6w3m9v2qxa7rkb4tnc", 400, "memory_id"),
    (b"/api/v1/memories/9223372036854775808", 400, "memory_id"),
    (b"/api/v1/agents/known/", 404, ""),
    (b"/api/v1/agents/known/unknown", 404, ""),
    (b"/api/v1/agents/known/memories/", 404, ""),
    (b"/api/v1", 404, ""),
    (b"//api/v1/agents", 404, ""),
    (b"/api/v1/../v1/agents", 404, ""),
    (b"/API/v1/agents", 404, ""),
    (b"/api%2Fv1%2Fagents", 404, ""),
    (b"/health/", 404, ""),
    (b"/docs/", 404, ""),
]  # fmt: skip


@pytest.mark.parametrize(("path", "status", "field"), BAD_PATHS, ids=[repr(p[:40]) for p, _, _ in BAD_PATHS])
def test_invalid_path_is_400_or_404(
    tenant: Api, live_server: LiveServer, path: bytes, status: int, field: str
) -> None:
    with connect(live_server.url) as connection:
        connection.sendall(
            b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nx-api-key: " + tenant.key.encode() + b"\r\n\r\n"
        )
        response = read_response(connection, "GET")

    assert (response.status, response.json["request_id"]) == (status, response.headers["x-request-id"])
    assert [d["field"] for d in response.json.get("details", [])] == ([field] if field else [])


@pytest.mark.parametrize("query", [b"tags=%ff", b"tags=%c3", b"%ff=1", b"since=%ed%a0%80"], ids=repr)
def test_query_that_is_not_utf_8_is_refused(tenant: Api, live_server: LiveServer, query: bytes) -> None:
    with connect(live_server.url) as connection:
        connection.sendall(
            b"GET /api/v1/memories?"
            + query
            + b" HTTP/1.1\r\nHost: x\r\nx-api-key: "
            + tenant.key.encode()
            + b"\r\n\r\n"
        )
        response = read_response(connection, "GET")

    assert response.status == 400
    assert [d["location"] for d in response.json["details"]] == ["query"]


@pytest.mark.parametrize("path", CONTRACT["paths"])
def test_unknown_method_is_405_with_the_allowed_ones(tenant: Api, path: str) -> None:
    takes = {method.upper() for method in METHODS if method in CONTRACT["paths"][path]}
    ids = {"memory_id": "mem_01JD5P8E6W3M9V2QXA7RKB4TNC", "agent_id": "a", "session_id": "s"}
    url = path.format(**ids, file="page.css")
    others = {"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"} - takes

    for method in others:
        response = tenant(method, url)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed"), method
        assert set(response.headers["allow"].split(", ")) == takes
        assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS.values() if o.method == "GET"], ids=lambda o: o.id
)
def test_head_has_the_response_of_get_without_the_body(api: Api, operation: Any) -> None:
    for ids in ({}, {"agent_id": "..", "session_id": "-", "memory_id": "x"}):
        request = operation.request(**ids)
        full = api(**request)
        head = api(**{**request, "method": "HEAD"})
        assert head.status_code == full.status_code
        assert head.content == b""
        assert head.headers.keys() == full.headers.keys()
        assert head.headers["content-type"] == full.headers["content-type"]


def test_head_of_a_path_for_post_alone_is_405(api: Api) -> None:
    response = api("HEAD", SEARCH)

    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")


def test_a_body_of_100_mb_is_refused_before_it_is_sent(tenant: Api, live_server: LiveServer) -> None:
    head = (
        f"POST {MEMORIES} HTTP/1.1\r\nHost: x\r\nx-api-key: {tenant.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
    )
    with connect(live_server.url) as connection:
        connection.sendall(head.encode())
        response = read_response(connection)

    assert (response.status, response.json["code"]) == (413, "payload_too_large")
    assert [d["field"] for d in response.json["details"]] == ["body"]
    assert response.json["request_id"] == response.headers["x-request-id"]


def test_body_of_100_mb_that_is_sent_is_refused(tenant: Api) -> None:
    response = tenant(
        "POST", MEMORIES, content=bytes(100 << 20), headers={"content-type": "application/json"}
    )

    assert_refused(response, 413, "body", "body")


def test_chunked_body_is_refused_once_it_is_too_large(tenant: Api) -> None:
    chunks = (bytes(1 << 20) for _ in range(82))

    response = tenant("POST", MEMORIES, content=chunks, headers={"content-type": "application/json"})

    assert_refused(response, 413, "body", "body")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/agents/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/memories?tags=café HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"BREW /api/v1/agents HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda b: repr(b[:50]),
)
def test_invalid_http_gets_a_4xx(live_server: LiveServer, request_bytes: bytes) -> None:
    with connect(live_server.url) as connection:
        connection.sendall(request_bytes)
        assert 400 <= read_response(connection).status < 500


def test_request_to_upgrade_the_connection_is_no_server_error(tenant: Api) -> None:
    headers = {
        "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip

    assert tenant("GET", AGENTS, headers=headers).status_code < 500


def test_each_list_of_a_large_import_is_checked_and_stored(api: Api) -> None:
    at = {"created_at": "2026-01-01T00:00:00Z"}
    agents: list[dict[str, Any]] = [
        {"id": f"a{n}", "is_registered": True, "config": {"c": "x" * 9_000}, **at} for n in range(9)
    ]
    sessions: list[dict[str, Any]] = [
        {"id": f"s{n}", "agent_id": "a0", "metadata": {"m": "x" * 9_000}, **at} for n in range(9)
    ]
    stored = api("POST", "/api/v1/import", json={"agents": agents, "sessions": sessions})
    assert (stored.status_code, stored.json()) == (200, {"imported": 18, "existing": 0})
    assert len(api.get(AGENTS)["agents"]) == len(api.get(SESSIONS)["sessions"]) == 9

    agents[1] |= {"config": 1}
    sessions[7] |= {"agent_id": 1}
    wrong = api("POST", "/api/v1/import", json={"agents": agents, "sessions": sessions})
    assert_refused(wrong, 400, "body", "agents.1.config", "sessions.7.agent_id")
