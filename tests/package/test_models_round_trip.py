"""Round trips of every model: as data, as JSON, through a request and through a response.

Models, and values for them, are derived from their annotations, so a new model is tested without a change
here.
"""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import json
import math
import pickle
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memtrace_api.types import time_point

from memtrace import BadRequestError, Memtrace, StoredMemories, models

MODELS: dict[str, Any] = {
    name: model for name, model in vars(models).items() if inspect.isclass(model) and attrs.has(model)
}
# The filters of a list are sent as a query, and never read as a model.
READ = {name: model for name, model in MODELS.items() if hasattr(model, "from_dict")}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = TEXT.filter(lambda text: text not in {"", ".", ".."})
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
# Any offset of Python's, to the second; not so near to the limits that UTC has no such time.
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))
TIMES = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=OFFSETS)  # noqa: DTZ001  # bounds
AGES = st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(days=999_999))
POINTS = TIMES | AGES | TEXT


SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(),
    float: FLOATS,
    bool: st.booleans(),
    dt.datetime: TIMES,
    # TimePoint: at run time it is Any.
    Any: POINTS,
    dict[str, Any]: OBJECTS,
}


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Return values of a type, as annotations of the models have them."""
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    if attrs.has(annotation):
        return instances(annotation)
    arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
    made: dict[Any, typing.Callable[[], st.SearchStrategy[Any]]] = {
        Union: lambda: st.one_of(*map(values, arguments)),
        UnionType: lambda: st.one_of(*map(values, arguments)),
        Literal: lambda: st.sampled_from(arguments),
        list: lambda: st.lists(values(arguments[0]), max_size=3),
        dict: lambda: st.dictionaries(TEXT, values(arguments[1]), max_size=3),
    }
    return made[get_origin(annotation)]()


def instances(model: Any) -> st.SearchStrategy[Any]:
    """Return instances of a model, with and without its optional fields."""
    hints = get_type_hints(model)
    fields = attrs.fields(model)
    made = {
        field.name: IDS
        if field.name in {"name", "supersedes"} or field.name.endswith("_id")
        else values(hints[field.name])
        for field in fields
    }
    given_always = {field.name: made[field.name] for field in fields if field.default is not None}
    given_or_not = {field.name: made[field.name] for field in fields if field.default is None}
    return st.fixed_dictionaries(given_always, optional=given_or_not).map(lambda given: model(**given))


def read_back(value: Any) -> Any:
    """Return a value with each point in time as the text that is sent."""
    if isinstance(value, list):
        return [read_back(one) for one in value]
    if not attrs.has(type(value)):
        return value
    annotations = type(value).__annotations__
    changed = {
        name: time_point(held) if "TimePoint" in annotations[name] else read_back(held)
        for name, held in attrs.asdict(value, recurse=False).items()
        if held is not None
    }
    return type(value)(**changed)


each_model = pytest.mark.parametrize("model", READ.values(), ids=READ)
# Few examples for each, as there are many models.
thoroughly = settings(max_examples=8, deadline=None)


@each_model
@thoroughly
@given(data=st.data())
def test_a_model_is_the_same_after_to_dict_and_from_dict(model: Any, data: st.DataObject) -> None:
    instance = data.draw(instances(model))

    assert model.from_dict(instance.to_dict()) == read_back(instance)


@each_model
@thoroughly
@given(data=st.data())
def test_a_model_is_the_same_after_json(model: Any, data: st.DataObject) -> None:
    instance = data.draw(instances(model))

    written = json.dumps(instance.to_dict(), allow_nan=False)

    assert msgspec.json.decode(written, type=model) == read_back(instance)
    assert msgspec.json.decode(msgspec.json.encode(instance.to_dict()), type=model) == read_back(instance)


@each_model
@thoroughly
@given(data=st.data())
def test_null_is_the_same_as_absent_and_never_sent(model: Any, data: st.DataObject) -> None:
    sent = data.draw(instances(model)).to_dict()
    optional = {field.name: None for field in attrs.fields(model) if field.default is None}

    assert all(value is not None for value in sent.values())
    assert model.from_dict({**optional, **sent}) == model.from_dict(sent)


@each_model
@thoroughly
@given(data=st.data(), unheard_of=OBJECTS)
def test_fields_of_a_newer_server_are_ignored(
    model: Any, data: st.DataObject, unheard_of: dict[str, Any]
) -> None:
    sent = data.draw(instances(model)).to_dict()
    known = attrs.fields_dict(model)
    newer = {f"x_{name}": value for name, value in unheard_of.items() if f"x_{name}" not in known}

    assert model.from_dict({**newer, **sent}) == model.from_dict(sent)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@thoroughly
@given(data=st.data())
def test_a_model_can_be_copied_and_pickled(model: Any, data: st.DataObject) -> None:
    instance = data.draw(instances(model))

    assert pickle.loads(pickle.dumps(instance)) == instance  # noqa: S301  # pickled in this test
    assert copy.deepcopy(instance) == copy.copy(instance) == instance
    assert eval(repr(instance), {**MODELS, "datetime": dt}) == instance  # noqa: S307  # the repr of a model


@settings(max_examples=30, deadline=None)
@given(st.lists(instances(models.Memory), max_size=3), st.lists(st.integers(0, 2), max_size=2))
def test_result_of_a_batch_can_be_copied_and_pickled(
    memories: list[models.Memory], duplicates: list[int]
) -> None:
    stored = StoredMemories(memories, duplicates)

    for again in (copy.copy(stored), copy.deepcopy(stored), pickle.loads(pickle.dumps(stored))):  # noqa: S301  # pickled in this test
        assert type(again) is StoredMemories
        assert (again, again.duplicates) == (memories, duplicates)


# Through the client.


class Echo:
    """A client whose server records requests, and sends a given response."""

    def __init__(self) -> None:
        self.request = httpx.Request("GET", "http://memtrace.test")
        self.answer: bytes = b"{}"
        self.client = Memtrace(
            "http://memtrace.test",
            max_retries=0,
            http_client=httpx.Client(transport=httpx.MockTransport(self._handle)),
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return httpx.Response(200, content=self.answer)


ECHO = Echo()
METHODS = {
    name: method
    for name, method in inspect.getmembers(Memtrace)
    if inspect.isfunction(method) and not name.startswith("_")
}


def ids_of(method: str) -> dict[str, str]:
    """Return an id for each required argument."""
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    return {parameter.name: "x" for parameter in parameters if parameter.default is parameter.empty}


def requests() -> Iterator[tuple[str, str, Any]]:
    """Yield each method that takes a request object, its parameter, and the model."""
    for name, method in METHODS.items():
        hints = get_type_hints(method)
        for parameter in inspect.signature(method).parameters:
            for choice in get_args(hints.get(parameter)):
                if attrs.has(choice) and not name.startswith(("iter_", "forget_all", "buffered")):
                    yield name, parameter, choice


REQUESTS = [one for one in requests() if one[0] not in {"forget", "get_memory"}]


@pytest.mark.parametrize(("method", "parameter", "model"), REQUESTS)
@thoroughly
@given(data=st.data())
def test_request_object_reaches_the_server_unchanged(
    method: str, parameter: str, model: Any, data: st.DataObject
) -> None:
    instance = data.draw(instances(model))
    if model is models.AddMemoryRequest:  # otherwise a default is filled in
        instance.on_duplicate = data.draw(st.sampled_from(["reject", "return", "store"]))
    ECHO.answer = b"{}"
    with pytest.raises(Exception, match="does not match the contract"):
        getattr(ECHO.client, method)(**ids_of(method), **{parameter: instance})

    if model is models.ListOptions:
        hidden = {"agent_id": "get_agent_memories", "session_id": "get_session_memories"}
        asked = {
            name: value
            for name, value in instance.to_dict().items()
            if (value or name != "tags") and hidden.get(name) != method
        }
        tags = asked.pop("tags", [])
        expected = tags.split(",") if isinstance(tags, str) and tags else tags
        received = dict(ECHO.request.url.params)
        received.pop("tags", None)
        assert received == {name: _as_text(value) for name, value in asked.items()}
        sent = ECHO.request.url.params.get_list("tags")
        assert set(sent if len(sent) > 1 else ",".join(sent).split(",") if sent else ()) == set(expected)
    else:
        assert msgspec.json.decode(ECHO.request.content, type=model) == read_back(instance)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


ANSWERS = {
    name: get_type_hints(method)["return"]
    for name, method in METHODS.items()
    if hasattr(get_type_hints(method)["return"], "to_dict")
}


@pytest.mark.parametrize("method", ANSWERS)
@thoroughly
@given(data=st.data())
def test_response_reaches_the_caller_unchanged(method: str, data: st.DataObject) -> None:
    instance = data.draw(instances(ANSWERS[method]))
    ECHO.answer = json.dumps(instance.to_dict(), ensure_ascii=data.draw(st.booleans())).encode()
    needed = {"add_memory": AGENT_AND_CONTENT, "create_session": {"agent_id": "a"}, "register_agent": NAMED}

    answer = getattr(ECHO.client, method)(**ids_of(method), **needed.get(method, {}))

    assert answer == read_back(instance)


AGENT_AND_CONTENT = {"agent_id": "a", "content": "b"}
NAMED = {"name": "a"}


def test_client_sends_and_reads_every_model() -> None:
    met = {model for *_, model in REQUESTS} | set(ANSWERS.values())
    inside: set[type] = {models.Error, models.ErrorDetail}  # of errors
    inside |= {models.ContextEntry, models.ContextOmissions}  # of contexts
    inside |= {models.AddMemoriesRequest, models.MemoryBatch, models.ForgetFilter, models.ForgetResult}
    inside |= {models.ImportReport, models.RejectedRecord}  # made of several responses
    inside |= {models.ImportRequest, models.ImportAgent, models.ImportSession, models.ImportMemory}
    inside |= {models.ImportResult}  # of imports, which send records as they are

    assert set(MODELS.values()) - met == inside


# Values that JSON does not have.

UNWRITABLE: dict[str, Any] = {
    "a lone surrogate": "\ud800",
    "another, in the middle": "a\udfffb",
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "bytes": b"x",
    "more digits than Python writes": 10**5000,
    "an object": object(),
}


@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE)
@pytest.mark.parametrize(
    "wrapped", [lambda v: {"k": v}, lambda v: {"k": [{"deep": [v]}]}], ids=["flat", "deep"]
)
def test_value_that_is_not_json_is_refused_anywhere(wrapped: Any, value: Any) -> None:
    ECHO.request = httpx.Request("GET", "http://memtrace.test/untouched")

    with pytest.raises(BadRequestError, match=r"^metadata\.k(\.0\.deep\.0)?: "):
        ECHO.client.remember("a", "b", metadata=wrapped(value))

    assert ECHO.request.url.path == "/untouched"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogate_is_refused_anywhere(text: str) -> None:
    calls: list[typing.Callable[[], object]] = [
        lambda: ECHO.client.remember("a", text),
        lambda: ECHO.client.remember(text, "b"),
        lambda: ECHO.client.remember("a", "b", tags=[text]),
        lambda: ECHO.client.remember("a", "b", metadata={text: 1}),
        lambda: ECHO.client.remember("a", "b", idempotency_key=text),
        lambda: ECHO.client.add_memories([{"agent_id": "a", "content": text}]),
        lambda: ECHO.client.list_memories(event_type=text),
        lambda: ECHO.client.list_memories(tags=[text]),
        lambda: ECHO.client.get_agent(text),
        lambda: ECHO.client.search_memories(text),
    ]
    for call in calls:
        with pytest.raises(BadRequestError):
            call()


def test_object_that_contains_itself_is_refused() -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata

    with pytest.raises(BadRequestError, match="metadata: is nested too deeply"):
        ECHO.client.remember("a", "b", metadata=metadata)
