"""Responses with a wrong type anywhere are errors that name the path, for every model."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import httpx
import pytest
from helpers.clients import FakeServer

from memtrace import Memtrace, ResponseValidationError

METHODS = {
    name: method
    for name, method in inspect.getmembers(Memtrace)
    if inspect.isfunction(method) and not name.startswith("_")
}
RESULTS: dict[str, Any] = {
    name: get_type_hints(method)["return"]
    for name, method in METHODS.items()
    if name != "import_"  # its report is made of several responses
    and inspect.isclass(get_type_hints(method)["return"])
    and attrs.has(get_type_hints(method)["return"])
}
NEEDED = {
    "add_memory": {"agent_id": "a", "content": "b"},
    "create_session": {"agent_id": "a"},
    "register_agent": {"name": "a"},
}
RIGHT: dict[Any, Any] = {
    str: "x",
    int: 1,
    float: 0.5,
    bool: True,
    dt.datetime: "2026-11-01T09:30:00Z",
    dict[str, Any]: {"free": [1, None]},
    dict[str, int]: {"of a kind": 1},
    list[str]: ["x", "y"],
}
WRONG: dict[Any, list[Any]] = {
    str: [7, ["x"], {}],
    int: ["1", 1.5, []],
    float: ["0.5", []],
    bool: ["true", 1],
    dt.datetime: ["yesterday", 7, "2026-13-01T00:00:00Z", "2026-11-01"],
    dict[str, Any]: [[], "x"],
    dict[str, int]: [[], {"of a kind": "1"}],
    list[str]: [{}, "x", ["x", 7]],
}


def plain(annotation: Any) -> Any:
    """Return the type without None."""
    choices = [choice for choice in get_args(annotation) if choice is not NoneType]
    return choices[0] if NoneType in get_args(annotation) and len(choices) == 1 else annotation


def example(model: Any) -> dict[str, Any]:
    """Return JSON data of a model, with all its fields, and two items in each list."""
    data: dict[str, Any] = {}
    for name, annotation in get_type_hints(model).items():
        if name not in attrs.fields_dict(model):
            continue
        kind = plain(annotation)
        if kind in RIGHT:
            data[name] = RIGHT[kind]
        elif get_origin(kind) is list:
            data[name] = [example(get_args(kind)[0]), example(get_args(kind)[0])]
        elif attrs.has(kind):
            data[name] = example(kind)
        else:
            data[name] = 1
    return data


def breaks(model: Any, data: Any, where: str = "$") -> Iterator[tuple[str, Any, str, Any]]:
    """Yield the path of each value, its container, its key, and a wrong value."""
    for name, annotation in get_type_hints(model).items():
        if name not in attrs.fields_dict(model):
            continue
        kind = plain(annotation)
        path = f"{where}.{name}"
        if get_origin(kind) is list and attrs.has(get_args(kind)[0]):
            yield path, data, name, "no list"
            yield f"{path}[1]", data[name], 1, "no object"  # type: ignore[misc]  # a list's key is a number
            yield from breaks(get_args(kind)[0], data[name][1], f"{path}[1]")
        if attrs.has(kind):
            yield from breaks(kind, data[name], path)
        for wrong in WRONG.get(kind, [{"neither": "number nor text"}] if kind not in RIGHT else []):
            if get_origin(kind) is not list or kind in RIGHT:
                inside = {"[1]": isinstance(wrong, list) and kind == list[str]}
                inside["[...]"] = isinstance(wrong, dict) and kind == dict[str, int]
                yield path + "".join(part for part, applies in inside.items() if applies), data, name, wrong


@pytest.mark.parametrize("method", RESULTS)
def test_wrong_type_anywhere_is_reported_with_its_path(
    sdk: Memtrace, fake_server: FakeServer, method: str
) -> None:
    model = RESULTS[method]
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    arguments: dict[str, Any] = {p.name: "x" for p in parameters if p.default is p.empty}
    arguments |= NEEDED.get(method, {})
    right = example(model)
    responses: list[Any] = [right]
    fake_server.stand_in = lambda _: httpx.Response(200, json=responses[-1])
    getattr(sdk, method)(**arguments)

    paths = []
    count = len(list(breaks(model, right)))
    for number in range(count):
        responses.append(copy.deepcopy(right))
        path, holder, key, wrong = list(breaks(model, responses[-1]))[number]
        holder[key] = wrong
        with pytest.raises(ResponseValidationError) as caught:
            getattr(sdk, method)(**arguments)
        assert caught.value.message.endswith(f" - at `{path}`"), (path, wrong)
        assert f": {model.__name__}: " in caught.value.message
        assert caught.value.body == responses[-1]
        paths.append(path)

    assert {path.partition(".")[2].partition("[")[0].partition(".")[0] for path in paths} == {
        field.name for field in attrs.fields(model)
    }


@pytest.mark.parametrize("method", RESULTS)
def test_missing_field_is_reported_by_its_name(sdk: Memtrace, fake_server: FakeServer, method: str) -> None:
    model = RESULTS[method]
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    arguments: dict[str, Any] = {p.name: "x" for p in parameters if p.default is p.empty}
    arguments |= NEEDED.get(method, {})
    required = [field.name for field in attrs.fields(model) if field.default is attrs.NOTHING]
    assert required

    for name in required:
        answer = example(model)
        del answer[name]
        fake_server.respond(200, answer)
        with pytest.raises(ResponseValidationError, match=f"{model.__name__}: .*missing.*`{name}`"):
            getattr(sdk, method)(**arguments)
