"""Types as editors show them: each argument with its type and text, and a request or its fields, never both.

Type checkers read the user code in tests/package/typing; the tests here check that it is complete.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from helpers.clients import SESSION, FakeServer

import memtrace
from memtrace import (
    AsyncMemtrace,
    AsyncSessionHandle,
    AsyncWriteBuffer,
    Memtrace,
    SessionHandle,
    WriteBuffer,
)

USAGE = Path(__file__).parent / "typing" / "sdk_usage.py"
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Memtrace, AsyncMemtrace, SessionHandle, AsyncSessionHandle, WriteBuffer, AsyncWriteBuffer)
}
# Users call no constructor of the other classes.
MADE_BY_A_METHOD = {(name, "__init__") for name in KINDS if not name.endswith("Memtrace")}
BY_THE_SYSTEM = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def methods(kind: type) -> dict[str, list[inspect.Parameter]]:
    """Return the public methods of a class with their parameters, and the constructor."""
    found = {
        name: method
        for name, method in inspect.getmembers(kind)
        if inspect.isfunction(method) and not name.startswith("_")
    }
    found["__init__"] = kind.__init__  # type: ignore[misc]  # of a class that has no other
    return {name: list(inspect.signature(method).parameters.values())[1:] for name, method in found.items()}


def used() -> Iterator[tuple[str, str, ast.Call | None]]:
    """Return the uses in the file: the class, the attribute of it, and the call if it is one."""
    for function in ast.parse(USAGE.read_text("utf-8")).body:
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        of_class = {
            argument.arg: argument.annotation.id
            for argument in function.args.args
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id in KINDS
        }
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)):
                    if name in of_class:
                        yield of_class[name], attribute, node
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in of_class:
                    yield of_class[name], attribute, None
                case ast.Call(func=ast.Name(id=name)) if name in KINDS:
                    yield name, "__init__", node
                case _:
                    pass


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_checkers_read_a_use_of_every_public_name(kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")}

    assert public <= {attribute for of_class, attribute, _ in used() if of_class == kind.__name__}


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (kind, method)
        for kind in (Memtrace, SessionHandle, WriteBuffer)
        for method in methods(kind)
        if (kind.__name__, method) not in MADE_BY_A_METHOD
    ],
)
def test_checkers_read_a_use_of_every_argument(kind: type, method: str) -> None:
    # Arguments from a new field of the contract are checked in test_regen.py.
    code = inspect.unwrap(getattr(kind, method)).__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    parameters = [parameter for parameter in methods(kind)[method] if parameter.name in own]
    given: set[str | None] = set()
    for of_class, attribute, call in used():
        if (of_class, attribute) == (kind.__name__, method) and call is not None:
            given |= {parameter.name for parameter, _ in zip(parameters, call.args, strict=False)}
            given |= {keyword.arg for keyword in call.keywords}

    assert {parameter.name for parameter in parameters if parameter.kind not in BY_THE_SYSTEM} <= given


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_argument_is_described(kind: Any) -> None:
    missing = []
    for method, parameters in methods(kind).items():
        docstring = inspect.getdoc(kind if method == "__init__" else getattr(kind, method)) or ""
        _, _, section = docstring.partition("Args:\n")
        described = re.findall(r"^    (\w+): \S", section.partition("\n\n")[0], re.MULTILINE)
        named = [parameter.name for parameter in parameters if parameter.kind not in BY_THE_SYSTEM]
        if described != named and (kind.__name__, method) not in MADE_BY_A_METHOD:
            missing.append((method, described, named))

    assert missing == []


def request_of(parameter: inspect.Parameter, hints: dict[str, Any]) -> type[Any] | None:
    """Return the model that a parameter accepts as a request object."""
    optional = isinstance(hints[parameter.name], types.UnionType) and parameter.default is None
    choices = typing.get_args(hints[parameter.name]) if optional else ()
    return next((choice for choice in choices if attrs.has(choice)), None)


@attrs.frozen
class Form:
    """A method that takes a request object, and a field that it takes as a keyword instead."""

    kind: type
    method: str
    parameter: str
    model: type[Any]
    field: str

    def __str__(self) -> str:
        return f"{self.kind.__name__}.{self.method}-{self.field}"

    @property
    def arguments(self) -> dict[str, Any]:
        """Return both at once, and all other required arguments."""
        parameters = methods(self.kind)[self.method]
        ids = {p.name: "id" for p in parameters if p.default is p.empty}
        required = {f.name: "x" for f in attrs.fields(self.model) if f.default is attrs.NOTHING}
        return {**ids, self.parameter: self.model(**required), self.field: EMPTY.get(self.field, "x")}


# Values that code might take for missing ones.
EMPTY: dict[str, Any] = {
    "metadata": {},
    "config": {},
    "tags": [],
    "importance": 0.0,
    "limit": 0,
    "page_size": 0,
    "offset": 0,
}


def forms() -> Iterator[Form]:
    """Return all such methods, including new ones."""
    for kind in (Memtrace, SessionHandle, WriteBuffer):
        for method, parameters in methods(kind).items():
            if method == "__init__":
                continue
            hints = typing.get_type_hints(getattr(kind, method))
            for parameter in parameters:
                if model := request_of(parameter, hints):
                    fields = {field.name for field in attrs.fields(model)} | {"page_size"}
                    for other in parameters:
                        if other.kind is other.KEYWORD_ONLY and other.name in fields:
                            yield Form(kind, method, parameter.name, model, other.name)


FORMS = list(forms())


def test_the_methods_with_two_forms_are_found() -> None:
    assert {f"{form.kind.__name__}.{form.method}" for form in FORMS} >= {
        "Memtrace.add_memory",
        "Memtrace.create_session",
        "Memtrace.forget_all",
        "Memtrace.get_agent_context",
        "Memtrace.get_session_context",
        "Memtrace.iter_memories",
        "Memtrace.iter_search",
        "Memtrace.list_memories",
        "Memtrace.register_agent",
        "Memtrace.search_memories",
        "Memtrace.update_session",
        "SessionHandle.context",
        "WriteBuffer.add_memory",
    }


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_request_and_its_fields_are_never_mixed(sdk: Memtrace, fake_server: FakeServer, form: Form) -> None:
    expected = pytest.raises(TypeError, match=rf"{form.model.__name__} or its fields as keywords, not both")
    if form.kind is Memtrace:
        with expected:
            getattr(sdk, form.method)(**form.arguments)
        return
    if form.kind is WriteBuffer:
        with sdk.buffered() as log, expected:
            getattr(log, form.method)(**form.arguments)
        return
    fake_server.respond(201, SESSION).respond(200, SESSION)
    with sdk.session("agent_1") as session, expected:
        getattr(session, form.method)(**form.arguments)


def test_every_exported_name_has_a_docstring() -> None:
    values = {name: getattr(memtrace, name) for name in memtrace.__all__}
    classes = {name: value for name, value in values.items() if inspect.isclass(value)}

    assert len(classes) > 30
    assert [name for name, value in classes.items() if not (value.__doc__ or "").strip()] == []
