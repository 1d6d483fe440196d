"""An answer with a wrong type anywhere is an error that says where; found for every model, not listed."""

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
ANSWERS: dict[str, Any] = {
    name: get_type_hints(method)["return"]
    for name, method in METHODS.items()
    if name != "import_"  # whose report is made of several responses
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
    """The type without None."""
    choices = [choice for choice in get_args(annotation) if choice is not NoneType]
    return choices[0] if NoneType in get_args(annotation) and len(choices) == 1 else annotation


def example(model: Any) -> dict[str, Any]:
    """JSON data of a model, with all its fields, and two of each thing in a list."""
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
    """The place of each value, the object or list that has it, its key, and what is wrong there."""
    for name, annotation in get_type_hints(model).items():
        if name not in attrs.fields_dict(model):
            continue
        kind = plain(annotation)
        place = f"{where}.{name}"
        if get_origin(kind) is list and attrs.has(get_args(kind)[0]):
            yield place, data, name, "no list"
            yield f"{place}[1]", data[name], 1, "no object"  # type: ignore[misc]  # a list's key is a number
            yield from breaks(get_args(kind)[0], data[name][1], f"{place}[1]")
        if attrs.has(kind):
            yield from breaks(kind, data[name], place)
        for wrong in WRONG.get(kind, [{"neither": "number nor text"}] if kind not in RIGHT else []):
            if get_origin(kind) is not list or kind in RIGHT:
                inside = {"[1]": isinstance(wrong, list) and kind == list[str]}
                inside["[...]"] = isinstance(wrong, dict) and kind == dict[str, int]
                yield place + "".join(part for part, applies in inside.items() if applies), data, name, wrong


@pytest.mark.parametrize("method", ANSWERS)
def test_a_wrong_type_in_any_place_is_told_with_that_place(
    sdk: Memtrace, fake_server: FakeServer, method: str
) -> None:
    model = ANSWERS[method]
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    arguments: dict[str, Any] = {p.name: "x" for p in parameters if p.default is p.empty}
    arguments |= NEEDED.get(method, {})
    right = example(model)
    answers: list[Any] = [right]
    fake_server.stand_in = lambda _: httpx.Response(200, json=answers[-1])
    getattr(sdk, method)(**arguments)

    places = []
    count = len(list(breaks(model, right)))
    for number in range(count):
        answers.append(copy.deepcopy(right))
        place, holder, key, wrong = list(breaks(model, answers[-1]))[number]
        holder[key] = wrong
        with pytest.raises(ResponseValidationError) as caught:
            getattr(sdk, method)(**arguments)
        assert caught.value.message.endswith(f" - at `{place}`"), (place, wrong)
        assert f": {model.__name__}: " in caught.value.message
        assert caught.value.body == answers[-1]
        places.append(place)

    assert {place.partition(".")[2].partition("[")[0].partition(".")[0] for place in places} == {
        field.name for field in attrs.fields(model)
    }


@pytest.mark.parametrize("method", ANSWERS)
def test_a_field_that_is_missing_is_told_by_its_name(
    sdk: Memtrace, fake_server: FakeServer, method: str
) -> None:
    model = ANSWERS[method]
    parameters = list(inspect.signature(METHODS[method]).parameters.values())[1:]
    arguments: dict[str, Any] = {p.name: "x" for p in parameters if p.default is p.empty}
    arguments |= NEEDED.get(method, {})
    required = [field.name for field in attrs.fields(model) if field.default is attrs.NOTHING]
    assert required

    for name in required:
        answer = example(model)
        del answer[name]
        fake_server.answer(200, answer)
        with pytest.raises(ResponseValidationError, match=f"{model.__name__}: .*missing.*`{name}`"):
            getattr(sdk, method)(**arguments)
