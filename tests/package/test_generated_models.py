"""The generated package: its models, and a client without the generator's pitfalls."""

from __future__ import annotations

import copy
import datetime as dt
import gc
import importlib
import inspect
import pickle
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import anyio
import attrs
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memtrace_api import AuthenticatedClient, Client, errors, models, requests, types
from memtrace_api.api.agents import delete_agent, get_agent, list_agents
from memtrace_api.api.health import get_health
from memtrace_api.api.memories import (
    add_memory,
    forget_memories,
    forget_memory,
    get_memory,
    list_memories,
)
from memtrace_api.api.sessions import get_session_context
from memtrace_api.models import (
    AddMemoriesRequest,
    AddMemoryRequest,
    AgentStats,
    ContextOptions,
    Error,
    ForgetFilter,
    ForgetResult,
    Health,
    Memory,
    MemoryBatch,
    MemoryList,
    SearchQuery,
    Session,
)

PACKAGE = Path(str(files("memtrace_api")))
MODELS: dict[str, type[Any]] = {
    name: model for name, model in vars(models).items() if inspect.isclass(model) and attrs.has(model)
}
BERLIN = dt.timezone(dt.timedelta(hours=1))
NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
# Like a Memtrace 0.x server: no id, nulls, nine-digit fractions, an unknown type and an unknown field.
OLD_MEMORY = {
    "time": "2026-11-01T09:30:00.123456789Z",
    "org_id": "org_default",
    "agent_id": "support-bot",
    "session_id": None,
    "memory_type": "procedural",
    "event_type": "observation",
    "content": "User prefers dark mode",
    "metadata": {"reasoning": None, "n": {"deep": [1, None]}},
    "tags": None,
    "importance": 1,
    "hint": "unheard of",
}
ERROR = {"error": "No agent x", "code": "not_found", "request_id": "req_1"}


class Server:
    """Record requests, and send the same response each time."""

    def __init__(self, status: int = 404, content: bytes = b"{}") -> None:
        self.status, self.content = status, content
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, content=self.content, headers={"X-Request-Id": "req_1"})

    def client(self, **options: Any) -> Client:
        return Client("http://test", httpx_args={"transport": httpx.MockTransport(self)}, **options)

    @property
    def target(self) -> str:
        """Return the path and query of the last request, as they are sent."""
        return self.requests[-1].url.raw_path.decode()


json = msgspec.json.encode


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_model_has_slots_and_keywords_and_can_be_decoded(model: type[Any]) -> None:
    assert "__dict__" not in dir(model)
    assert all(field.kw_only for field in attrs.fields(model))
    msgspec.json.Decoder(model)
    for field in attrs.fields(model):
        assert f"{field.name}: " in (model.__doc__ or ""), "every field is described"


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_only_optional_fields_default_to_none(model: type[Any]) -> None:
    hints = get_type_hints(model)
    for field in attrs.fields(model):
        optional = get_origin(hints[field.name]) in {Union, UnionType} and type(None) in get_args(
            hints[field.name]
        )
        # Without a value it is empty, and not None.
        is_empty = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # it is a class
        assert optional == (field.default is None)
        assert is_empty or field.default in {None, attrs.NOTHING}


def test_annotations_are_those_that_a_person_would_write() -> None:
    written = {
        name: annotation for model in MODELS.values() for name, annotation in model.__annotations__.items()
    }
    assert "Unset" not in str(written)
    assert AddMemoryRequest.__annotations__["memory_type"] == "MemoryType | None"
    assert AddMemoryRequest.__annotations__["metadata"] == "dict[str, Any] | None"
    assert AddMemoryRequest.__annotations__["time"] == "datetime.datetime | None"
    assert SearchQuery.__annotations__["memory_types"] == "list[MemoryType] | None"
    assert SearchQuery.__annotations__["since"] == "TimePoint | None"
    assert AgentStats.__annotations__["memory_types"] == "dict[str, int]"
    assert Health.__annotations__["uptime"] == "float | str | None"
    assert get_args(models.MemoryType) == ("decision", "entity", "episodic", "session")


def test_a_default_of_the_server_is_left_to_the_server() -> None:
    request = AddMemoryRequest(agent_id="a", content="c")
    assert request.to_dict() == {"agent_id": "a", "content": "c"}
    assert "The server's default: 100." in (SearchQuery.__doc__ or "")


def test_a_free_form_object_is_a_dict() -> None:
    request = AddMemoryRequest(agent_id="a", content="c", metadata={"task": "x"})
    assert request.metadata is not None
    assert request.metadata.get("task") == "x"
    assert not hasattr(models, "JsonObject")
    assert not [path for path in (PACKAGE / "models").glob("*.py") if "json_object" in path.name]


def test_unset_is_nowhere_in_the_package() -> None:
    assert not [path for path in PACKAGE.rglob("*.py") if "unset" in path.read_text("utf-8").lower()]


def test_a_thousand_memories_of_an_old_server_are_decoded_at_once() -> None:
    page = types.decode(
        json({"memories": [OLD_MEMORY] * 1000, "count": 1000, "has_more": False, "took": 3}), MemoryList
    )
    memory = page.memories[999]
    assert memory.time == dt.datetime(2026, 11, 1, 9, 30, 0, 123456, tzinfo=dt.UTC)
    assert (memory.id, memory.memory_type, memory.tags) == (None, "procedural", [])
    assert (memory.importance, page.next_cursor) == (1.0, None)


def test_response_may_have_values_that_are_not_in_the_contract() -> None:
    # Type checkers check what clients send; an older client must accept values of a newer server.
    detail = {"field": "x", "location": "cookie", "message": "m"}
    assert Error.from_dict({**ERROR, "details": [detail]}).details[0].location == "cookie"  # type: ignore[index]
    for model in (Memory, MemoryList, Session, Error):
        assert "Literal" not in str(get_type_hints(model))


def test_from_dict_equals_decoding() -> None:
    memory = Memory.from_dict(OLD_MEMORY)
    assert memory == types.decode(json(OLD_MEMORY), Memory)
    assert memory.metadata == {"reasoning": None, "n": {"deep": [1, None]}}
    batch = MemoryBatch.from_dict({"memories": [OLD_MEMORY], "count": 1, "duplicates": [0]})
    assert batch.memories == [memory]


def test_times_are_cut_to_microseconds_except_in_free_form_objects() -> None:
    time = "2026-11-01T09:30:00.999999999Z"
    data = {**OLD_MEMORY, "time": time, "content": time, "metadata": {"time": time}}
    for memory in (Memory.from_dict(data), types.decode(json(data), Memory)):
        assert memory.time == dt.datetime(2026, 11, 1, 9, 30, 0, 999999, tzinfo=dt.UTC)
        assert (memory.content, memory.metadata) == (time, {"time": time})
    assert data["time"] == time


def test_from_dict_accepts_datetimes() -> None:
    assert AddMemoryRequest.from_dict({"agent_id": "a", "content": "c", "time": NOON}).time == NOON
    assert SearchQuery.from_dict({"since": dt.timedelta(hours=1)}).to_dict() == {"since": "3600s"}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"content": "c"}, "agent_id"),
        ({"agent_id": "a", "content": 7}, "content"),
        ({"agent_id": "a", "content": "c", "tags": ["ui", 7]}, "tags"),
        ({"agent_id": "a", "content": "c", "metadata": []}, "metadata"),
        ({"agent_id": "a", "content": "c", "memory_type": "procedural"}, "memory_type"),
        ({"agent_id": "a", "content": "c", "time": "yesterday"}, "time"),
    ],
)
def test_from_dict_names_the_field_that_is_missing_or_wrong(data: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        AddMemoryRequest.from_dict(data)


def test_from_dict_names_the_index_in_a_batch() -> None:
    data = {"memories": [{"agent_id": "a", "content": "c"}, {"agent_id": "a"}]}
    with pytest.raises(ValueError, match=r"content.*\$\.memories\[1\]"):
        AddMemoriesRequest.from_dict(data)


def test_from_dict_refuses_an_invalid_point_in_time() -> None:
    with pytest.raises(TypeError, match=r"SearchQuery\.since"):
        SearchQuery.from_dict({"since": 5})


def test_to_dict_can_be_encoded_as_json() -> None:
    when = dt.datetime(2026, 11, 1, 10, 30, 0, 120000, tzinfo=BERLIN)
    metadata = {"kept": None}
    request = AddMemoryRequest(agent_id="a", content="c", time=when, metadata=metadata, tags=[], importance=0)
    assert AddMemoriesRequest(memories=[request]).to_dict() == {
        "memories": [
            {
                "agent_id": "a",
                "content": "c",
                "time": "2026-11-01T09:30:00.120000Z",
                "metadata": {"kept": None},
                "tags": [],
                "importance": 0,
            }
        ]
    }
    assert request.to_dict()["metadata"] is metadata


def test_to_dict_and_from_dict_are_inverse() -> None:
    for memory in (
        Memory.from_dict(OLD_MEMORY),
        Memory.from_dict({**OLD_MEMORY, "expires_at": "2027-01-01T00:00:00Z"}),
    ):
        assert Memory.from_dict(memory.to_dict()) == memory


def test_a_time_without_a_zone_is_refused_by_name() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match=r"AddMemoryRequest\.time.*time zone"):
        AddMemoryRequest(agent_id="a", content="c", time=naive).to_dict()
    with pytest.raises(ValueError, match=r"ContextOptions\.since.*time zone"):
        ContextOptions(since=naive).to_dict()


def test_time_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"AddMemoryRequest\.time"):
        AddMemoryRequest(agent_id="a", content="c", time=5).to_dict()  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [SearchQuery, ContextOptions, ForgetFilter])
def test_since_and_until_take_all_four_forms(model: type[Any]) -> None:
    day = dt.timedelta(days=1)
    assert model(since="24h", until="2026-11-01T12:00:00Z").to_dict() == {
        "since": "24h",
        "until": "2026-11-01T12:00:00Z",
    }
    assert model(since=day, until=NOON).to_dict() == {"since": "86400s", "until": "2026-11-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (dt.timedelta(seconds=90), "90s"),
        (dt.timedelta(microseconds=1), "1s"),
        (dt.timedelta(seconds=89, microseconds=1), "90s"),
        (dt.timedelta(seconds=999_999), "999999s"),
        (dt.timedelta(days=30), "43200m"),
        (dt.timedelta(days=30, seconds=1), "43201m"),
        (dt.timedelta(days=365 * 5), "43800h"),
        (dt.timedelta(days=999_999), "999999d"),
        (NOON.astimezone(BERLIN), "2026-11-01T12:00:00Z"),
        ("anything", "anything"),
    ],
)
def test_point_in_time_is_written_as_the_api_accepts_it(value: types.TimePoint, written: str) -> None:
    assert types.time_point(value) == written


@given(st.timedeltas(min_value=dt.timedelta(microseconds=1), max_value=dt.timedelta(days=999_999)))
def test_timedelta_is_never_shortened_nor_lengthened_by_a_unit(value: dt.timedelta) -> None:
    written = types.time_point(value)
    unit = dt.timedelta(seconds={"s": 1, "m": 60, "h": 3600, "d": 86400}[written[-1]])
    assert value <= int(written[:-1]) * unit < value + unit
    assert len(written) <= 7


@pytest.mark.parametrize("value", [dt.timedelta(0), dt.timedelta(seconds=-1), dt.timedelta.max])
def test_negative_timedelta_is_refused(value: dt.timedelta) -> None:
    with pytest.raises(ValueError, match=r"^since: "):
        types.time_point(value, "since")


@pytest.mark.parametrize("value", [5, 5.0, True, None, dt.time(9)])
def test_invalid_point_in_time_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^since: "):
        types.time_point(value, "since")


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime.min.replace(tzinfo=BERLIN),
        dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=1))),
    ],
)
def test_datetime_outside_of_utc_is_refused(value: dt.datetime) -> None:
    with pytest.raises(ValueError, match=r"^time: "):
        types.timestamp(value)


def test_models_are_values() -> None:
    memory = Memory.from_dict(OLD_MEMORY)
    page = MemoryList(memories=[memory], count=1, has_more=False)
    assert pickle.loads(pickle.dumps(page)) == page  # noqa: S301 - pickled in this line
    assert copy.deepcopy(page) == page
    assert msgspec.structs.replace(page, count=2) != page
    assert repr(page).startswith("MemoryList(memories=[Memory(time=datetime.datetime(2026, 11, 1")
    with pytest.raises(AttributeError):
        page.cuont = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="agent"):
        AddMemoryRequest(agent="a", content="c")  # type: ignore[call-arg]


def test_response_is_not_tracked_by_the_garbage_collector() -> None:
    memory = Memory.from_dict(OLD_MEMORY)
    page = MemoryList(memories=[memory], count=1, has_more=False)
    assert not gc.is_tracked(memory)
    assert not gc.is_tracked(page)


def test_attrs_knows_the_fields_of_a_response() -> None:
    model: Any = Memory  # not known to type checkers as a class of attrs
    fields: dict[str, Any] = attrs.fields_dict(model)
    assert list(attrs.asdict(model.from_dict(OLD_MEMORY))) == list(fields)
    assert fields["tags"].default == attrs.Factory(list)
    assert (fields["content"].default, fields["content"].type) == (attrs.NOTHING, "str")

    class Note(Memory):
        """A response with additional methods."""

    derived: Any = Note
    assert list(attrs.fields_dict(derived)) == list(fields)


def test_a_request_is_what_the_contract_says() -> None:
    kwargs = requests.add_memory(body=AddMemoryRequest(agent_id="a", content="c"), idempotency_key="k")
    assert kwargs == {
        "method": "post",
        "url": "/api/v1/memories",
        "json": {"agent_id": "a", "content": "c"},
        "headers": {"Content-Type": "application/json", "Idempotency-Key": "k"},
    }


def test_arguments_left_out_are_not_sent() -> None:
    server = Server()
    list_memories.sync_detailed(client=server.client())
    assert server.target == "/api/v1/memories"
    get_session_context.sync_detailed("s", client=server.client())
    assert server.requests[-1].content == b""
    assert "content-type" not in server.requests[-1].headers
    add_memory.sync_detailed(client=server.client(), body=AddMemoryRequest(agent_id="a", content="c"))
    assert "idempotency-key" not in server.requests[-1].headers


def test_no_argument_has_a_default_but_none() -> None:
    for path in sorted((PACKAGE / "api").glob("*/[a-z]*.py")):
        module = importlib.import_module(f"memtrace_api.api.{path.parent.name}.{path.stem}")
        for name in ("sync_detailed", "sync", "asyncio_detailed", "asyncio"):
            parameters = inspect.signature(getattr(module, name)).parameters.values()
            assert {parameter.default for parameter in parameters} <= {None, inspect.Parameter.empty}


def test_list_is_one_parameter_and_a_boolean_a_word() -> None:
    server = Server()
    list_memories.sync_detailed(client=server.client(), tags=["ui", "ä&b"], limit=0, order="asc")
    assert server.requests[-1].url.params.multi_items() == [
        ("tags", "ui,ä&b"),
        ("order", "asc"),
        ("limit", "0"),
    ]
    for value, word in ((True, "true"), (False, "false")):
        delete_agent.sync_detailed("a", client=server.client(), delete_memories=value)
        assert server.target == f"/api/v1/agents/a?delete_memories={word}"


@pytest.mark.parametrize(
    ("tags", "sent"), [(["a,b"], ["a,b", "a,b"]), (["a,b", "c"], ["a,b", "c"])], ids=["one", "two"]
)
def test_item_with_a_comma_is_its_own_parameter(tags: list[str], sent: list[str]) -> None:
    server = Server(200, json({"memories": [], "count": 0, "has_more": False}))

    list_memories.sync_detailed(client=server.client(), tags=tags)

    assert server.requests[-1].url.params.multi_items() == [("tags", tag) for tag in sent]


def test_a_list_that_cannot_be_sent_is_refused() -> None:
    tags: Any = object()
    with pytest.raises(TypeError, match=r"^tags: "):
        list_memories.sync_detailed(client=Server().client(), tags=tags)


def test_each_filter_is_a_parameter_of_its_own() -> None:
    server = Server(200, json({"deleted": 3}))
    chosen = ForgetFilter(agent_id="a", tags=["x", "y"], memory_type="decision", until=dt.timedelta(days=2))
    answer = forget_memories.sync(client=server.client(), **chosen.to_dict(), idempotency_key="k")
    assert answer == ForgetResult(deleted=3)
    assert server.requests[-1].method == "DELETE"
    assert dict(server.requests[-1].url.params) == {
        "agent_id": "a",
        "memory_type": "decision",
        "tags": "x,y",
        "until": "172800s",
    }
    assert server.requests[-1].headers["Idempotency-Key"] == "k"


@pytest.mark.parametrize(
    ("agent_id", "segment"),
    [
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../memories", "..%2Fmemories"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("a b@c:d", "a%20b%40c%3Ad"),
        ("%2E", "%252E"),
        ("ä", "%C3%A4"),
    ],
)
def test_an_id_stays_one_segment_of_the_path(agent_id: str, segment: str) -> None:
    server = Server()
    get_agent.sync_detailed(agent_id, client=server.client())
    assert server.target == f"/api/v1/agents/{segment}"


def test_id_that_would_change_the_path_is_refused() -> None:
    server = Server()
    with pytest.raises(ValueError, match="memory_id is empty"):
        forget_memory.sync_detailed("", client=server.client())
    with pytest.raises(TypeError, match="memory_id: None"):
        get_memory.sync_detailed(None, client=server.client())  # type: ignore[arg-type]
    assert not server.requests


def test_each_response_is_read_as_its_model() -> None:
    body = AddMemoryRequest(agent_id="a", content="c")
    memory = Memory.from_dict(OLD_MEMORY)
    for content, expected in (
        (OLD_MEMORY, memory),
        ({"memories": [OLD_MEMORY], "count": 1}, MemoryBatch(memories=[memory], count=1)),
    ):
        answer = add_memory.sync_detailed(client=Server(201, json(content)).client(), body=body)
        assert (answer.parsed, answer.status_code) == (expected, HTTPStatus.CREATED)
        assert (answer.content, answer.headers["x-request-id"]) == (json(content), "req_1")
    refused = add_memory.sync(client=Server(409, json({**ERROR, "existing_id": "mem_1"})).client(), body=body)
    assert refused == Error.from_dict({**ERROR, "existing_id": "mem_1"})
    nothing = forget_memory.sync_detailed(
        "m", client=Server(204, b"").client(raise_on_unexpected_status=True)
    )
    assert (nothing.parsed, nothing.status_code) == (None, HTTPStatus.NO_CONTENT)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (529, json(ERROR)),
        (599, b""),
        (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        (503, b"<html>"),
        (200, b"<html>"),
        (200, b""),
        (200, b"null"),
        (200, b"\xff"),
        (200, b'{"status": "\xff"}'),
        (200, b'{"status": "ok", "x": ' + b"[" * 100_000),
        (200, json({"status": 7})),
        (200, json({"service": "memtrace"})),
        (418, json(ERROR)),
    ],
)
def test_response_outside_of_the_contract_is_not_parsed(status: int, content: bytes) -> None:
    answer = get_health.sync_detailed(client=Server(status, content).client())
    assert answer.parsed is None
    assert answer.status_code == status
    assert answer.content == content
    with pytest.raises(errors.UnexpectedStatus) as raised:
        get_health.sync(client=Server(status, content).client(raise_on_unexpected_status=True))
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - pickled in this line
    assert again.args == (status, content)
    assert str(status) in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [ERROR, {"error": "no such agent", "hint": "x"}],
    ids=["of Memtrace 1.x", "of Memtrace 0.x"],
)
def test_an_error_status_is_parsed_or_raised(body: dict[str, Any]) -> None:
    server = Server(404, json(body))
    assert get_agent.sync("a", client=server.client()) == Error.from_dict(body)
    with pytest.raises(errors.UnexpectedStatus) as raised:
        get_agent.sync("a", client=server.client(raise_on_unexpected_status=True))
    assert raised.value.status_code == 404
    assert types.decode(raised.value.content, Error).error == body["error"]


def test_a_status_that_python_knows_has_a_name() -> None:
    answer = get_health.sync_detailed(client=Server(502, b"").client())
    assert answer.status_code is HTTPStatus.BAD_GATEWAY
    assert get_health.sync_detailed(client=Server(529, b"").client()).status_code == 529


async def both_async() -> tuple[Any, Any]:
    server = Server(200, json({"agents": [], "count": 0}))
    async with server.client() as client:
        detailed = await list_agents.asyncio_detailed(client=client, limit=1)
        return detailed, await list_agents.asyncio(client=client, cursor="a")


def test_every_operation_can_be_awaited() -> None:
    detailed, parsed = anyio.run(both_async)
    assert detailed.parsed == parsed == models.AgentList(agents=[], count=0)


def test_no_repr_shows_the_key() -> None:
    client = AuthenticatedClient(
        "http://test",
        token="mtk_secret",
        headers={"x-api-key": "mtk_secret"},
        cookies={"key": "mtk_secret"},
        httpx_args={"auth": ("user", "mtk_secret")},
    )
    assert "mtk_secret" not in repr(client)
    assert "mtk_secret" not in repr(client.with_headers({"authorization": "mtk_secret"}))
    client.get_httpx_client()
    assert "mtk_secret" not in repr(client)


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({}, "Authorization", "Bearer mtk_1"),
        ({"prefix": "", "auth_header_name": "x-api-key"}, "x-api-key", "mtk_1"),
    ],
)
def test_key_is_sent_in_the_chosen_header(options: dict[str, Any], header: str, value: str) -> None:
    server = Server()
    transport = httpx.MockTransport(server)
    with AuthenticatedClient(
        "http://test", token="mtk_1", httpx_args={"transport": transport}, **options
    ) as client:
        get_agent.sync("a", client=client)
    assert server.requests[-1].headers[header] == value


def test_default_timeout_is_half_a_minute() -> None:
    assert Client("http://test").get_httpx_client().timeout == httpx.Timeout(30)
    assert Client("http://test").get_async_httpx_client().timeout == httpx.Timeout(30)
    assert Client("http://test").with_timeout(httpx.Timeout(5)).get_httpx_client().timeout == httpx.Timeout(5)
    assert Client("http://test", timeout=None).get_httpx_client().timeout == httpx.Timeout(None)


def test_copy_of_a_client_leaves_the_original_unchanged() -> None:
    client = Client("http://test", headers={"a": "1"}, cookies={"c": "1"})
    client.get_httpx_client()
    other = client.with_headers({"b": "2"}).with_cookies({"d": "2"})
    assert "b" not in client.get_httpx_client().headers
    assert "d" not in client.get_httpx_client().cookies
    assert {"a", "b"} <= set(other.get_httpx_client().headers)
    assert {"c", "d"} <= set(other.get_httpx_client().cookies)


def test_client_can_use_supplied_httpx_clients() -> None:
    mine, mine_too = httpx.Client(), httpx.AsyncClient()
    client = Client("http://test").set_httpx_client(mine).set_async_httpx_client(mine_too)
    assert client.get_httpx_client() is mine
    assert client.get_async_httpx_client() is mine_too


def test_package_has_the_contract_as_json() -> None:
    text = (PACKAGE / "openapi.json").read_text("utf-8")
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert msgspec.json.decode(text)["info"]["title"] == "Memtrace"
    assert (PACKAGE / "py.typed").is_file()
