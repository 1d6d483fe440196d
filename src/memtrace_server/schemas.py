"""JSON Schemas of the contract: errors of a value in words, and its defaults."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, ValidationError

from memtrace_server.problems import Detail

MAX_DETAILS = 20
"""Errors that are computed, and that one response reports."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIZES: Sequence[tuple[type[Sized], str, str]] = (
    (str, "maxLength", "characters"),
    (list, "maxItems", "items"),
    (dict, "maxProperties", "keys"),
)
_LONGEST = 64  # bits of an integer
_Fill = Callable[[Any], Any]
_Error = tuple[Sequence[str], str]
"""A path to a value, and why the value is wrong."""
_Weigh = Callable[[Any, Sequence[str]], Iterator[_Error]]


class Document:
    """The OpenAPI document that schemas refer into."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.components = root["components"]

    def resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a node, or the target of its `$ref`."""
        while "$ref" in node:
            _, _, section, name = node["$ref"].split("/")
            node = self.components[section][name]
        return node

    def needed_by(self, schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the components that a schema refers to, directly or through others, by section and name."""
        found: dict[str, dict[str, Any]] = {}
        waiting: list[Any] = [schema]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                waiting += node.values()
                if "$ref" in node:
                    _, _, section, name = node["$ref"].split("/")
                    if name not in found.setdefault(section, {}):
                        found[section][name] = self.components[section][name]
                        waiting.append(found[section][name])
            elif isinstance(node, list):
                waiting += node
        return found

    def kind(self, schema: Mapping[str, Any]) -> str | None:
        """Return the JSON type of a schema, ignoring null; None if it allows several, or any."""
        schema = self.resolve(schema)
        given = schema.get("type", [])
        kinds: set[str | None] = {given} if isinstance(given, str) else set(given)
        kinds |= {self.kind(branch) for branch in schema.get("anyOf", ())}
        kinds -= {"null", None}
        return kinds.pop() if len(kinds) == 1 else None


class Schema:
    """One schema, compiled when the first value is checked: a client in one process uses few of them."""

    def __init__(self, document: Document, schema: Mapping[str, Any]) -> None:
        self._document = document
        self._schema = document.resolve(schema)
        self._required = frozenset(self._schema.get("required", ()))

    def check(self, value: object, place: str) -> list[Detail]:
        """Return the errors of a value, as many as a response has; none if the value is valid.

        The texts never quote the value, which may be long, or secret.
        """
        heavy = list(islice(self._weigh(value, []), MAX_DETAILS)) if self._weigh else []
        if not heavy and self._validator.is_valid(value):  # nearly always, and much faster than iterating
            return []
        # The validator takes milliseconds for each long integer, as often as there are levels.
        found = heavy or list(islice(_long_integers(value, []), MAX_DETAILS))
        found = found or list(islice(self._level.errors(value, []), MAX_DETAILS))
        return [Detail(".".join(at) or place, place, why) for at, why in found]

    def has_required(self, value: object) -> bool:
        """Return whether all required fields are present, valid or not."""
        return isinstance(value, dict) and self._required <= value.keys()

    def fill(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return a valid value with the contract's defaults, and without the nulls of optional fields."""
        return self._fill(value) if self._fill else value

    @functools.cached_property
    def _validator(self) -> Draft202012Validator:
        return _compile(self._document, self._schema)

    @functools.cached_property
    def _level(self) -> _Level:
        return _Level(self._document, self._schema)

    @functools.cached_property
    def _weigh(self) -> _Weigh | None:
        return _weigher(self._document, self._schema)

    @functools.cached_property
    def _fill(self) -> _Fill | None:
        return _filler(self._document, self._schema)


class _Level:
    """One level of a schema, which finds errors one by one.

    The validator computes all errors of a value before it reports the first, 20 µs each; a body may have a
    million. So the sizes of a level are checked first, then the level itself, and only then what is in it.
    """

    def __init__(self, document: Document, schema: Mapping[str, Any]) -> None:
        schema = document.resolve(schema)
        branches = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
        if len(branches) == 1:  # or null
            schema = document.resolve(branches[0])
        self._document = document
        self._schema = {**schema, **document.resolve(schema.get("then", {}))}
        self._known: Mapping[str, Any] = self._schema.get("properties", {})
        self._is_closed = self._schema.get("additionalProperties") is False

    def errors(self, value: Any, at: Sequence[str]) -> Iterator[_Error]:  # noqa: ANN401 - JSON
        """Return the errors of a value at a path, one by one."""
        if self._all.is_valid(value):
            return
        for kind, limit, unit in _SIZES:
            most = self._schema.get(limit)
            if isinstance(value, kind) and most is not None and len(value) > most:
                yield at, f"has more than {most} {unit}"
                return
        if isinstance(value, dict) and self._is_closed:
            known = ", ".join(self._known) or "none"
            unknown = (name for name in value if name not in self._known)
            yield from (([*at, name[:100]], f"is unknown; known here: {known}") for name in unknown)
            value = {name: inner for name, inner in value.items() if name in self._known}
        probe = value
        if isinstance(value, (dict, list)) and not self._has_inside(value):
            probe = type(value)()  # its type is what is wrong, whatever is in it
        explained = (each for error in self._own.iter_errors(probe) for each in self._explain(error))
        # Once each: a time that is none breaks its pattern and its format.
        own = list(dict.fromkeys((tuple(path), why) for path, why in explained))
        yield from (([*at, *path], why) for path, why in own)
        if not own or (isinstance(value, dict) and self._known):
            yield from self._inside(value, at)

    def _has_inside(self, value: dict[str, Any] | list[Any]) -> bool:
        return bool(self._known or self._additional) if isinstance(value, dict) else self._items is not None

    def _inside(self, value: Any, at: Sequence[str]) -> Iterator[_Error]:  # noqa: ANN401 - JSON
        if isinstance(value, list) and self._items is not None:
            for position, inner in enumerate(value):
                yield from self._items.errors(inner, [*at, str(position)])
        if isinstance(value, dict):
            for name, inner in value.items():
                level = self._property(name)
                if level is not None:
                    yield from level.errors(inner, [*at, name[:100]])

    @functools.cached_property
    def _all(self) -> Draft202012Validator:
        return _compile(self._document, self._schema)

    @functools.cached_property
    def _own(self) -> Draft202012Validator:
        return _compile(self._document, self._own_schema)

    @functools.cached_property
    def _own_schema(self) -> Mapping[str, Any]:
        """The schema, except for the values inside."""
        inside = {"if", "then", "items", "properties", "additionalProperties"}
        own = {name: part for name, part in self._schema.items() if name not in inside}
        return {**own, "properties": dict.fromkeys(self._known, True)}

    @functools.cached_property
    def _items(self) -> _Level | None:
        return _Level(self._document, self._schema["items"]) if "items" in self._schema else None

    @functools.cached_property
    def _additional(self) -> _Level | None:
        schema = self._schema.get("additionalProperties")
        return _Level(self._document, schema) if isinstance(schema, dict) else None

    @functools.cached_property
    def _properties(self) -> dict[str, _Level]:
        return {name: _Level(self._document, schema) for name, schema in self._known.items()}

    def _property(self, name: str) -> _Level | None:
        return self._properties.get(name, self._additional)

    def _explain(self, error: ValidationError) -> Iterator[_Error]:
        at = [str(step) for step in error.instance_path]
        kind, facts = error.kind.name, error.kind.as_dict()
        if kind in {"anyOf", "oneOf"}:
            branches = [b for b in facts["context"] if not _is_type_mismatch(b, error.instance_path)]
            if len(branches) == 1:
                for cause in branches[0]:
                    yield from self._explain(cause)
                return
        yield from _explain(at, kind, facts, error, self._around(error.schema_path))

    def _around(self, schema_path: Sequence[str | int]) -> Mapping[str, Any]:
        """Return the schema that holds the keyword at a path."""
        node: Any = {**self._own_schema, "components": self._document.components}
        for step in schema_path[:-1]:
            node = node[step]
        return node if isinstance(node, dict) else {}


def _compile(document: Document, schema: Mapping[str, Any]) -> Draft202012Validator:
    # With all components of the contract, each validator was measured to take 0.8 MB.
    whole = {"$schema": _DIALECT, **schema, "components": document.needed_by(schema)}
    return Draft202012Validator(whole, validate_formats=True, mask="the value")


def _explain(
    at: Sequence[str], kind: str, facts: Mapping[str, Any], error: ValidationError, schema: Mapping[str, Any]
) -> Iterator[_Error]:
    described = schema.get("description")
    if kind == "required":
        yield [*at, facts["property"]], "is required"
    elif kind == "not" and "required" in facts["schema"]:
        first, *others = facts["schema"]["required"]
        yield [*at, first], f"cannot be given together with {', '.join(others)}"
    elif kind == "minProperties":
        yield at, f"give at least one of {', '.join(schema.get('properties', ()))}"
    elif kind == "enum":
        yield at, f"must be one of {', '.join(map(str, schema['enum']))}"
    elif isinstance(error.instance, str) and "\0" in error.instance:
        yield at, "must not have a NUL character"
    elif kind in {"pattern", "format", "anyOf", "oneOf"} and described:
        yield at, f"is not valid. {described}"
    else:
        yield at, error.message


def _is_type_mismatch(errors: Sequence[ValidationError], path: Sequence[str | int]) -> bool:
    return any(e.kind.name == "type" and list(e.instance_path) == list(path) for e in errors)


def _long_integers(value: Any, at: Sequence[str]) -> Iterator[_Error]:  # noqa: ANN401 - JSON
    """Return the integers that no field of the contract takes."""
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        yield at, f"is an integer of more than {_LONGEST} bits"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _long_integers(inner, [*at, name[:100]])
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _long_integers(inner, [*at, str(position)])


def _weigher(document: Document, schema: Mapping[str, Any]) -> _Weigh | None:
    """Return a function that finds values larger than `x-max-bytes`, or None without such a limit."""
    schema = document.resolve(schema)
    if "x-max-bytes" in schema and "items" not in schema:  # a list is weighed as it is read
        return _weigh_one(schema["x-max-bytes"])
    for branch in schema.get("anyOf", ()):
        found = _weigher(document, branch)
        if found:
            return found
    inner = {name: _weigher(document, part) for name, part in schema.get("properties", {}).items()}
    heavy = {name: found for name, found in inner.items() if found}
    each = _weigher(document, schema["items"]) if "items" in schema else None
    return _weigh_inside(heavy, each, schema.get("maxItems")) if heavy or each else None


def too_heavy(most: int) -> str:
    """Return what is wrong with a value that is larger than `x-max-bytes`."""
    return f"is larger than {most >> 10} KiB as JSON"


def _weigh_one(most: int) -> _Weigh:
    def weigh(value: Any, at: Sequence[str]) -> Iterator[_Error]:  # noqa: ANN401 - JSON
        if value is not None and len(msgspec.json.encode(value)) > most:
            yield at, too_heavy(most)

    return weigh


def _weigh_inside(properties: Mapping[str, _Weigh], each: _Weigh | None, most: int | None) -> _Weigh:
    def weigh(value: Any, at: Sequence[str]) -> Iterator[_Error]:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            for name in properties.keys() & value.keys():
                yield from properties[name](value[name], [*at, name])
        elif isinstance(value, list) and each:
            for position, item in enumerate(value[:most]):
                yield from each(item, [*at, str(position)])

    return weigh


def _filler(document: Document, schema: Mapping[str, Any]) -> _Fill | None:
    """Return a function that fills in a schema's defaults, or None when there is nothing to fill."""
    resolved = document.resolve(schema)
    if document.kind(resolved) == "integer":
        return int  # JSON Schema takes 1.0 for an integer
    if "items" in resolved and "properties" not in resolved:
        each = _filler(document, resolved["items"]) if document.kind(resolved) == "array" else None
        return (lambda values: [each(value) for value in values]) if each else None
    if "properties" not in resolved:
        return None
    defaults: dict[str, Any] = {}
    inner: dict[str, _Fill] = {}
    for name, part in resolved["properties"].items():
        default = {**document.resolve(part), **part}.get("default")
        if default is not None:
            defaults[name] = default
        fill = _filler(document, part)
        if fill:
            inner[name] = fill

    def fill_object(value: Mapping[str, Any]) -> dict[str, Any]:
        given = {n: inner[n](v) if n in inner else v for n, v in value.items() if v is not None}
        return defaults | given

    return fill_object
