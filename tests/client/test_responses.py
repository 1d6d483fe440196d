"""Responses: those of this server and of a 0.x server, and bodies that are neither."""

from __future__ import annotations

import datetime as dt
import gzip
import time
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from helpers.clients import AGENT, MEMORY, SESSION, FakeServer, MakeClient, error, page

from memtrace import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Memtrace,
    MemtraceError,
    NoArcInstanceError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseValidationError,
    ServerError,
)
from memtrace.models import ErrorDetail


@pytest.fixture
def once(make_client: MakeClient, fake_server: FakeServer) -> Memtrace:
    """Return a client that does not retry."""
    assert fake_server.requests == []
    return make_client(max_retries=0)


# Responses of a 0.x server.


def test_memory_of_0_x_without_id_with_nulls_and_nanoseconds_is_read(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    memory = {
        **{name: value for name, value in MEMORY.items() if name != "id"},
        "time": "2026-11-01T09:30:00.123456789Z",
        "session_id": None,
        "metadata": None,
        "tags": None,
        "importance": None,
    }
    fake_server.respond(200, page(memory))

    (read,) = sdk.list_memories().memories

    assert (read.id, read.session_id, read.importance) == (None,) * 3
    assert (read.metadata, read.tags) == ({}, [])
    assert read.time == dt.datetime(2026, 11, 1, 9, 30, 0, 123456, tzinfo=dt.UTC)


def test_error_names_the_wrong_field_rather_than_an_allowed_null(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, page({**MEMORY, "metadata": None, "tags": [5]}))

    with pytest.raises(ResponseValidationError, match=r"got `int` - at .*tags"):
        sdk.list_memories()


def test_unknown_type_status_or_field_of_a_response_is_accepted(
    sdk: Memtrace, fake_server: FakeServer
) -> None:
    fake_server.respond(200, page({**MEMORY, "memory_type": "dream", "mood": "good"}))
    fake_server.respond(200, {**SESSION, "status": "paused"})

    assert sdk.list_memories().memories[0].memory_type == "dream"
    assert sdk.get_session("s").status == "paused"


def test_search_of_0_x_has_neither_has_more_nor_a_cursor(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, {"results": [MEMORY], "count": 1, "query_time_ms": 0})

    found = sdk.search_memories("x")

    assert (found.has_more, found.next_cursor) == (None, None)


def test_status_200_of_a_write_is_a_success(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(200, MEMORY)

    assert sdk.remember("a", "b").id == MEMORY["id"]


def test_a_batch_of_0_x_has_no_duplicates(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(201, {"memories": [MEMORY], "count": 1})

    stored = sdk.add_memories([{"agent_id": "a", "content": "b"}])

    assert (len(stored), stored.duplicates) == (1, [])


def test_an_error_of_0_x_may_have_a_hint(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(404, {"error": "agent not found", "hint": "register it first"})
    fake_server.respond(401, {"error": "invalid key", "hint": None})

    with pytest.raises(NotFoundError) as missing:
        once.get_agent("a")
    with pytest.raises(AuthenticationError) as unknown:
        once.get_agent("a")

    assert missing.value.message == "agent not found (register it first)"
    assert (missing.value.code, missing.value.request_id, missing.value.details) == (None, None, [])
    assert missing.value.body == {"error": "agent not found", "hint": "register it first"}
    assert unknown.value.message == "invalid key"


@pytest.mark.parametrize(
    "body", [{"error": "no arc instance configured for this org"}, {"error": "No Arc Instance configured"}]
)
def test_tenant_without_a_database_is_an_error_class_without_retries(
    sdk: Memtrace, fake_server: FakeServer, delays: list[float], body: dict[str, str]
) -> None:
    fake_server.respond(503, body)

    with pytest.raises(NoArcInstanceError) as caught:
        sdk.recall("a")

    assert caught.value.status_code == 503
    assert delays == []


def test_other_server_error_is_no_arc_instance_error(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(500, {"error": "the arc instance crashed"})

    with pytest.raises(ServerError) as caught:
        once.recall("a")

    assert type(caught.value) is ServerError


# Errors.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIStatusError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIStatusError),
        (408, APIStatusError),
        (409, ConflictError),
        (413, BadRequestError),
        (415, BadRequestError),
        (418, APIStatusError),
        (422, BadRequestError),
        (429, RateLimitError),
        (500, ServerError),
        (501, ServerError),
        (503, ServerError),
        (529, ServerError),
        (599, ServerError),
        (600, APIStatusError),
        (999, APIStatusError),
        (304, APIStatusError),
    ],
)
def test_each_status_has_its_error_class(
    once: Memtrace, fake_server: FakeServer, status: int, kind: type[APIStatusError]
) -> None:
    fake_server.respond(status, error("No, not so"), headers={"x-request-id": "req_header"})

    with pytest.raises(APIStatusError) as caught:
        once.get_agent("a")

    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert caught.value.code == "a_code"
    assert caught.value.request_id == "req_header"
    assert caught.value.body == error("No, not so")
    assert status < 400 or caught.value.message == "No, not so"


def test_status_without_a_name_is_reported_as_a_number(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(599)

    with pytest.raises(ServerError) as caught:
        once.get_agent("a")

    assert caught.value.message == "GET /api/v1/agents/a: the response is 599"


def test_a_bad_request_names_each_field(once: Memtrace, fake_server: FakeServer) -> None:
    detail = {"field": "limit", "location": "query", "message": "2000 is too large"}
    fake_server.respond(400, error("limit: 2000 is too large", "invalid_request", details=[detail]))

    with pytest.raises(BadRequestError) as caught:
        once.list_memories(limit=2000)

    assert caught.value.details == [ErrorDetail(field="limit", location="query", message="2000 is too large")]
    assert caught.value.request_id == "req_body"
    assert str(caught.value) == "limit: 2000 is too large (HTTP 400, invalid_request, request req_body)"


def test_conflict_has_the_id_of_the_existing_memory(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(409, error("stored already", "duplicate_memory", existing_id="mem_1"))

    with pytest.raises(ConflictError) as caught:
        once.remember("a", "b")

    assert caught.value.existing_id == "mem_1"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        ("99999999999999999999", 1e20),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds(
    once: Memtrace, fake_server: FakeServer, header: str, seconds: float | None
) -> None:
    fake_server.respond(429, error(), headers={"retry-after": header})

    with pytest.raises(RateLimitError) as caught:
        once.recall("a")

    assert caught.value.retry_after == seconds


def test_retry_after_in_other_digits_is_ignored(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(429, error(), headers=[(b"retry-after", "٣".encode())])

    with pytest.raises(RateLimitError) as caught:
        once.recall("a")

    assert caught.value.retry_after is None


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone of this machine."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("suffix", ["GMT", "-0000", "+0000"])
def test_retry_after_may_be_a_date(once: Memtrace, fake_server: FakeServer, suffix: str) -> None:
    date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=40))
    fake_server.respond(503, error(), headers={"retry-after": date.replace("+0000", suffix)})

    with pytest.raises(ServerError) as caught:
        once.recall("a")

    assert caught.value.retry_after == pytest.approx(40, abs=3)


def test_retry_after_as_a_date_of_another_zone_is_converted(once: Memtrace, fake_server: FakeServer) -> None:
    moment = dt.datetime.now(dt.timezone(dt.timedelta(hours=2))) + dt.timedelta(seconds=40)
    fake_server.respond(503, error(), headers={"retry-after": format_datetime(moment)})

    with pytest.raises(ServerError) as caught:
        once.recall("a")

    assert caught.value.retry_after == pytest.approx(40, abs=3)


# Responses of proxies and gateways.


HTML = "<html>\n<head><title>nginx:\n502</title></head><body><h1>Sorry</h1></body></html>"


def test_html_error_page_is_an_error_with_its_title(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(502, html=HTML)

    with pytest.raises(ServerError) as caught:
        once.recall("a")

    assert caught.value.message == "GET /api/v1/memories: the response is 502 Bad Gateway: nginx: 502"
    assert caught.value.body == HTML


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({}, "the response is 504 Gateway Timeout"),
        ({"text": "upstream\n timed out"}, "the response is 504 Gateway Timeout: upstream timed out"),
        ({"text": "x" * 10_000}, "x" * 200),
        ({"html": "<title>504 Gateway Timeout</title>"}, "the response is 504 Gateway Timeout"),
        ({"html": "<p>no title</p>"}, "the response is 504 Gateway Timeout"),
        ({"json": {"message": "no route"}}, "the response is 504 Gateway Timeout: no route"),
        ({"json": {"detail": "no route"}}, "the response is 504 Gateway Timeout: no route"),
        ({"json": {"error": {"nested": 1}}}, "the response is 504 Gateway Timeout"),
        ({"json": ["a", "list"]}, "the response is 504 Gateway Timeout"),
        ({"json": None}, "the response is 504 Gateway Timeout"),
        ({"content": b"\xff\xfe"}, "the response is 504 Gateway Timeout: \ufffd\ufffd"),
        ({"content": b"[" * 100_000}, "[" * 200),
    ],
)
def test_error_with_any_body_has_a_short_message(
    once: Memtrace, fake_server: FakeServer, response: dict[str, Any], message: str
) -> None:
    fake_server.respond(504, **response)

    with pytest.raises(ServerError) as caught:
        once.recall("a")

    assert caught.value.message.endswith(message)
    assert len(caught.value.message) < 300


def test_details_of_an_unknown_shape_are_ignored(once: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(422, {"error": "No", "code": 7, "details": "see above", "request_id": []})

    with pytest.raises(BadRequestError) as caught:
        once.recall("a")

    assert (caught.value.code, caught.value.request_id, caught.value.details) == (None, None, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_an_error_that_names_the_target(
    make_client: MakeClient, fake_server: FakeServer, status: int
) -> None:
    fake_server.respond(status, headers={"location": "https://elsewhere/api/v1/agents/a"})

    with pytest.raises(APIStatusError) as caught:
        make_client().get_agent("a")

    assert caught.value.status_code == status
    assert caught.value.message == (
        "GET /api/v1/agents/a: the response is a redirect to https://elsewhere/api/v1/agents/a, which is "
        "not followed, so that the API key goes nowhere else; give the right base_url"
    )


def test_redirect_without_a_target_is_an_error(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(301)

    with pytest.raises(APIStatusError, match="the response is a redirect to nowhere, which is not followed"):
        sdk.get_agent("a")


def test_supplied_http_client_follows_no_redirect(make_client: MakeClient) -> None:
    server = FakeServer().respond(307, headers={"location": "https://elsewhere/"})
    http_client = make_client.http_client(server.handle, follow_redirects=True)

    with pytest.raises(APIStatusError, match="redirect"):
        make_client(http_client=http_client).get_agent("a")

    assert len(server.requests) == 1


# Bodies that break the contract.


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (page(MEMORY, MEMORY, MEMORY, {**MEMORY, "time": "yesterday"}), "$.memories[3].time"),
        (page({**MEMORY, "content": 7}), "$.memories[0].content"),
        (page({k: v for k, v in MEMORY.items() if k != "agent_id"}), "`agent_id`"),
        ({"memories": []}, "`count`"),
        ({"memories": None, "count": 0, "has_more": False}, "$.memories"),
        ([], "`object`"),
    ],
)
def test_a_response_that_breaks_the_contract_is_reported_with_its_path(
    sdk: Memtrace, fake_server: FakeServer, body: Any, message: str
) -> None:
    fake_server.respond(200, body, headers={"x-request-id": "req_1"})

    with pytest.raises(ResponseValidationError, match="MemoryList") as caught:
        sdk.list_memories()

    assert message in caught.value.message
    assert "GET /api/v1/memories" in caught.value.message
    assert (caught.value.status_code, caught.value.request_id) == (200, "req_1")
    assert caught.value.body == body
    assert caught.value.response is not None
    assert caught.value.response.headers["x-request-id"] == "req_1"


@pytest.mark.parametrize(
    "response",
    [
        {"html": "<html><title>Log in to the hotel's network</title></html>"},
        {"text": ""},
        {"text": "OK"},
        {"content": b'{"memories": ['},
        {"content": b'"\xff"', "headers": {"content-type": "application/json"}},
        {"content": b'{"x":' * 100_000},
    ],
)
def test_success_without_json_is_a_response_validation_error(
    sdk: Memtrace, fake_server: FakeServer, response: dict[str, Any]
) -> None:
    fake_server.respond(200, **response)

    with pytest.raises(ResponseValidationError):
        sdk.list_memories()


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"html": "<html></html>"}, " (text/html; charset=utf-8): "),
        ({"content": b"{"}, " (no content type): "),
        ({"content": b"{", "headers": {"content-type": "application/problem+json"}}, ": "),
    ],
)
def test_response_without_json_is_an_error_that_names_its_type(
    sdk: Memtrace, fake_server: FakeServer, response: dict[str, Any], message: str
) -> None:
    fake_server.respond(200, **response).respond(200, **response)

    for method, call in (("GET", sdk.get_agent), ("DELETE", sdk.delete_agent)):
        with pytest.raises(ResponseValidationError) as caught:
            call("a")
        beginning = f"The response to {method} /api/v1/agents/a does not match the contract{message}"
        assert caught.value.message.startswith(beginning)
        assert caught.value.message.removeprefix(beginning) not in {"", "None"}


def test_status_204_instead_of_a_memory_is_an_error(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(204)

    with pytest.raises(ResponseValidationError):
        sdk.remember("a", "b")


def test_deletion_succeeds_with_any_body_except_html(sdk: Memtrace, fake_server: FakeServer) -> None:
    fake_server.respond(204).respond(200).respond(200, {"deleted": True}).respond(
        200, html="<html>Log in</html>"
    )

    for _ in range(3):
        sdk.delete_agent("a")
    with pytest.raises(ResponseValidationError):
        sdk.delete_agent("a")


def test_broken_compression_is_a_response_validation_error(sdk: Memtrace, fake_server: FakeServer) -> None:
    class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            yield b"not gzip"

        async def __aiter__(self) -> Any:
            yield b"not gzip"

    fake_server.respond(200, headers={"content-encoding": "gzip"}, stream=Broken())

    with pytest.raises(ResponseValidationError, match="decompressed"):
        sdk.get_agent("a")


def test_gzip_is_accepted_and_decompressed(sdk: Memtrace, fake_server: FakeServer) -> None:
    body = gzip.compress(httpx.Response(200, json=AGENT).content)
    fake_server.respond(200, content=body, headers={"content-encoding": "gzip"})

    assert sdk.get_agent("a").id == "agent_1"
    assert fake_server.request.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.CloseError(""),
        httpx.LocalProtocolError(""),
        httpx.RemoteProtocolError(""),
        httpx.ProxyError(""),
        httpx.UnsupportedProtocol(""),
        httpx.DecodingError(""),
        httpx.TooManyRedirects(""),
        httpx.InvalidURL(""),
        httpx.CookieConflict(""),
        httpx.StreamConsumed(),
        httpx.HTTPStatusError("", request=None, response=None),  # type: ignore[arg-type]  # never read
        RuntimeError("Event loop is closed"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_every_exception_of_httpx_becomes_a_memtrace_error(
    make_client: MakeClient, failure: Exception
) -> None:
    server = FakeServer().fail(failure)

    with pytest.raises(MemtraceError) as caught:
        make_client(http_client=make_client.http_client(server.handle), max_retries=0).recall("a")

    assert caught.value.__cause__ is failure
    assert type(failure).__name__ in str(caught.value)
    assert "GET /api/v1/memories at http://memtrace.test" in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (httpx.ReadTimeout("late"), "no response in time: late (ReadTimeout)"),
        (httpx.ReadTimeout(""), "no response in time: ReadTimeout"),
        (
            httpx.ConnectError("refused"),
            "cannot connect: refused (ConnectError); is a Memtrace server running there?",
        ),
    ],
)
def test_message_mentions_the_server_only_if_it_cannot_be_reached(
    once: Memtrace, fake_server: FakeServer, failure: Exception, message: str
) -> None:
    fake_server.fail(failure)

    with pytest.raises(APIConnectionError) as caught:
        once.get_agent("a")

    assert caught.value.message == f"GET /api/v1/agents/a at http://memtrace.test: {message}"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.LocalProtocolError(""),
        httpx.RemoteProtocolError(""),
        httpx.UnsupportedProtocol(""),
        RuntimeError("Event loop is closed"),
        UnicodeError("no name of a host"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_every_failure_of_the_transport_becomes_a_memtrace_error(
    once: Memtrace, fake_server: FakeServer, failure: Exception
) -> None:
    fake_server.fail(failure)

    with pytest.raises(MemtraceError) as caught:
        once.recall("a")

    assert caught.value.__cause__ is failure
    assert type(failure).__name__ in str(caught.value)
    assert "GET /api/v1/memories at http://memtrace.test" in str(caught.value)


def test_time_is_cut_to_microseconds_and_similar_text_is_not(sdk: Memtrace, fake_server: FakeServer) -> None:
    finer = "2026-11-01T09:30:00.123456999Z"
    fake_server.respond(200, page({**MEMORY, "time": finer, "content": finer, "metadata": {"time": finer}}))

    [memory] = sdk.recall("a").memories

    assert memory.time.microsecond == 123456
    assert (memory.content, memory.metadata) == (finer, {"time": finer})
