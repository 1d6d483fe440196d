"""JSON Schemas of the contract: what is wrong with a value, in words, and what its defaults are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError

from memtrace_server.problems import Detail

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Fill = Callable[[Any], Any]


class Document:
    """The OpenAPI document that schemas refer into."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.components = root["components"]

    def resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The node itself, or what its `$ref` leads to."""
        while "$ref" in node:
            _, _, section, name = node["$ref"].split("/")
            node = self.components[section][name]
        return node

    def kind(self, schema: Mapping[str, Any]) -> str | None:
        """The one JSON type, null aside, that a schema asks for; None when it takes several, or any."""
        schema = self.resolve(schema)
        given = schema.get("type", [])
        kinds: set[str | None] = {given} if isinstance(given, str) else set(given)
        kinds |= {self.kind(branch) for branch in schema.get("anyOf", ())}
        kinds -= {"null", None}
        return kinds.pop() if len(kinds) == 1 else None


class Schema:
    """One schema, compiled."""

    def __init__(self, document: Document, schema: Mapping[str, Any]) -> None:
        self._schema = document.resolve(schema)
        self._whole = {"$schema": _DIALECT, **self._schema, "components": document.components}
        self._validator = jsonschema_rs.validator_for(self._whole, validate_formats=True, mask="the value")
        self._fill = _filler(document, self._schema)
        self._required = frozenset(self._schema.get("required", ()))

    def check(self, value: object, place: str) -> list[Detail]:
        """What is wrong with a value; empty when it is valid.

        The texts never quote the value, which may be long, or secret.
        """
        if self._validator.is_valid(value):  # much faster than iterating, and nearly always true
            return []
        errors = self._validator.iter_errors(value)
        return [Detail(field or place, place, why) for error in errors for field, why in self._causes(error)]

    def has_required(self, value: object) -> bool:
        """Whether all required fields are there, valid or not."""
        return isinstance(value, dict) and self._required <= value.keys()

    def fill(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """A valid value with the contract's defaults, and without the nulls of optional fields."""
        return self._fill(value) if self._fill else value

    def _causes(self, error: ValidationError) -> Iterator[tuple[str, str]]:
        at = [str(step) for step in error.instance_path]
        kind, facts = error.kind.name, error.kind.as_dict()
        if kind in {"anyOf", "oneOf"}:
            branches = [b for b in facts["context"] if not _is_type_mismatch(b, error.instance_path)]
            if len(branches) == 1:
                for cause in branches[0]:
                    yield from self._causes(cause)
                return
        yield from _explain(at, kind, facts, error, self._around(error.schema_path))

    def _around(self, schema_path: Sequence[str | int]) -> Mapping[str, Any]:
        """The schema whose keyword a path leads to."""
        node: Any = self._whole
        for step in schema_path[:-1]:
            node = node[step]
        return node if isinstance(node, dict) else {}


def _explain(
    at: list[str], kind: str, facts: Mapping[str, Any], error: ValidationError, schema: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    field = ".".join(at)
    described = schema.get("description")
    if kind == "additionalProperties":
        known = ", ".join(schema.get("properties", ())) or "none"
        for name in facts["unexpected"]:
            yield ".".join([*at, name[:100]]), f"is unknown; known here: {known}"
    elif kind == "required":
        yield ".".join([*at, facts["property"]]), "is required"
    elif kind == "not" and "required" in facts["schema"]:
        first, *others = facts["schema"]["required"]
        yield ".".join([*at, first]), f"cannot be given together with {', '.join(others)}"
    elif kind == "enum":
        yield field, f"must be one of {', '.join(map(str, schema['enum']))}"
    elif isinstance(error.instance, str) and "\0" in error.instance:
        yield field, "must not have a NUL character"
    elif kind in {"pattern", "format", "anyOf", "oneOf"} and described:
        yield field, f"is not valid. {described}"
    else:
        yield field, error.message


def _is_type_mismatch(errors: Sequence[ValidationError], path: Sequence[str | int]) -> bool:
    return any(e.kind.name == "type" and list(e.instance_path) == list(path) for e in errors)


def _filler(document: Document, schema: Mapping[str, Any]) -> _Fill | None:
    """A function that fills in a schema's defaults, or None when there is nothing to fill."""
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
