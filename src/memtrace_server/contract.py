"""The contract at run time: the operation that a request means, and whether the request is valid.

Nothing here knows a path, field, limit or default: all come from the copy of openapi.yaml that `make regen`
leaves in the generated package.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec
from attrs import evolve

from memtrace_server import problems
from memtrace_server.messages import Request
from memtrace_server.payloads import Payload
from memtrace_server.problems import Detail
from memtrace_server.schemas import MAX_DETAILS, Document, Schema

_METHODS = ("get", "put", "post", "delete", "patch")
_PLACES = ("path", "query", "header")
_MAX_PAIRS = 100  # parameters in a query; the contract has some fifty at most
_MAX_ITEMS = 1_000  # items of an array in a query that are looked at
_LONGEST_NAME = 300  # characters of a parameter's name that are looked at, encoded
_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")  # percent-encoding
_LONGEST_INTEGER = 20  # characters of -2⁶³


class Arguments(msgspec.Struct, frozen=True):
    """The parameters and the body of a valid request, with the contract's defaults filled in."""

    parameters: Mapping[str, Any]
    body: Any = None


class Operation:
    """One operation of the contract.

    Attributes:
        id: The contract's `operationId`.
        method: In capitals.
        path: The template, such as `/api/v1/agents/{agent_id}`.
        role: The role that a key must have; None when no key is needed.
        is_write: Whether it changes anything (it then takes an `Idempotency-Key`).
        takes_body: Whether it takes a body.
        parameter_names: The names of its parameters.
        body_names: The names of its body's properties.
    """

    def __init__(self, document: Document, path: str, method: str, item: Mapping[str, Any]) -> None:
        spec = item[method]
        parameters = [document.resolve(p) for p in [*item.get("parameters", ()), *spec.get("parameters", ())]]
        self.id: str = spec["operationId"]
        self.method = method.upper()
        self.path = path
        self.role: str | None = spec.get("x-role")
        self.is_write = any(p["name"] == "Idempotency-Key" for p in parameters)
        self._places = [
            _Place(document, place, [p for p in parameters if p["in"] == place]) for place in _PLACES
        ]
        queried = [p["name"] for p in parameters if p["in"] == "query"]
        self._needed_filters = queried if spec.get("x-requires-filter") else []
        self._body = Payload(document, spec["requestBody"]) if "requestBody" in spec else None
        self.takes_body = self._body is not None
        self.parameter_names = frozenset(p["name"] for p in parameters)
        self.body_names = self._body.names if self._body else frozenset()

    def read(self, request: Request, path_values: Mapping[str, str]) -> Arguments:
        """Return the request's arguments.

        Raises:
            Problem: 400 that names each wrong field, 403 for a lack of filters, or 415.
        """
        details: list[Detail] = []
        parameters: dict[str, Any] = {}
        for place in self._places:
            values, wrong = place.read(request, path_values)
            parameters |= values
            details += wrong
        body = None
        if self._body is not None:
            body, wrong = self._body.read(request)
            details += wrong
        if details:
            raise problems.invalid(details[:MAX_DETAILS])
        if self._needed_filters and not parameters.keys() & set(self._needed_filters):
            raise problems.filter_required(self._needed_filters)
        return Arguments(parameters, body)


class Contract:
    """The whole contract.

    Attributes:
        document: openapi.yaml, parsed.
        operations: Every operation by its id.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations: dict[str, Operation] = {}
        schemas = self._schemas = Document(document)
        by_path: dict[str, dict[str, Operation]] = {}
        for path, item in document["paths"].items():
            found = [Operation(schemas, path, method, item) for method in _METHODS if method in item]
            by_path[path] = {operation.method: operation for operation in found}
            self.operations |= {operation.id: operation for operation in found}
        self._plain = {path: found for path, found in by_path.items() if "{" not in path}
        self._templates = [(path.split("/"), found) for path, found in by_path.items() if "{" in path]

    @classmethod
    @functools.cache  # compiling the schemas takes longer than opening a store
    def load(cls) -> Contract:
        """Return the contract that this server was built with."""
        return cls(msgspec.json.decode(files("memtrace_api").joinpath("openapi.json").read_bytes()))

    def match(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """Return the operation of a method and a raw path, and the values in the path.

        The path is cut into segments before it is decoded, so a `%2F` in an id cannot reach another route;
        that is why Starlette's router, which sees decoded paths only, does not do this.

        Raises:
            Problem: 404 or 405.
        """
        operations, values = self._find(path)
        operation = operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            raise problems.method_not_allowed(method, list(operations))
        return operation, values

    def check(self, name: str, value: object, field: str) -> list[Detail]:
        """Return the details of what is wrong with a value of the body, checked by a component's schema."""
        found = self._component(name).check(value, "body")
        return [evolve(d, field=field if d.field == "body" else f"{field}.{d.field}") for d in found]

    @functools.cache  # noqa: B019 - a contract lives as long as the process
    def _component(self, name: str) -> Schema:
        return Schema(self._schemas, self._schemas.components["schemas"][name])

    def _find(self, path: str) -> tuple[dict[str, Operation], dict[str, str]]:
        if path in self._plain:
            return self._plain[path], {}
        segments = path.split("/")
        for template, operations in self._templates:
            values = _match(template, segments)
            if values is not None:
                return operations, values
        raise problems.not_found("such path")


class _Place:
    """The parameters of one place: path, query or header."""

    def __init__(self, document: Document, place: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        self._place = place
        self._kinds: dict[str, str | None] = {}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": False,
        }
        for parameter in parameters:
            name = parameter["name"]
            schema["properties"][name] = parameter["schema"]
            if parameter.get("required"):
                schema["required"].append(name)
            self._kinds[name] = document.kind(parameter["schema"])
        self._headers = [(name, name.lower()) for name in self._kinds]
        self._schema = Schema(document, schema)

    def read(self, request: Request, path_values: Mapping[str, str]) -> tuple[dict[str, Any], list[Detail]]:
        broken = [name for name, text in path_values.items() if _BROKEN.search(text)]
        if broken and self._place == "path":
            return {}, [Detail(name, "path", "has a % without two hexadecimal digits") for name in broken]
        if self._place == "query" and request.query.count("&") >= _MAX_PAIRS:
            return {}, [Detail("query", "query", f"has more than {_MAX_PAIRS} parameters")]
        try:
            texts = self._texts(request, path_values)
        except UnicodeDecodeError:
            return {}, [Detail(self._place, self._place, "not UTF-8")]
        if not texts:
            return self._values_of_nothing
        repeated = [n for n, found in texts.items() if len(found) > 1 and self._kinds.get(n) != "array"]
        if repeated:
            return {}, [Detail(name, self._place, "given more than once") for name in repeated]
        return self._check({name: _coerce(self._kinds.get(name), found) for name, found in texts.items()})

    @functools.cached_property
    def _values_of_nothing(self) -> tuple[dict[str, Any], list[Detail]]:
        return self._check({})

    def _check(self, values: dict[str, Any]) -> tuple[dict[str, Any], list[Detail]]:
        details = self._schema.check(values, self._place)
        return ({} if details else self._schema.fill(values)), details

    def _texts(self, request: Request, path_values: Mapping[str, str]) -> Mapping[str, list[str]]:
        if self._place == "path":
            return {name: [unquote(text, errors="strict")] for name, text in path_values.items()}
        if self._place == "header":
            given = request.headers
            return {name: [given[low]] for name, low in self._headers if low in given}
        texts: dict[str, list[str]] = {}
        for pair in filter(None, request.query.split("&")):
            raw_name, _, raw_text = pair.partition("=")
            name = unquote_plus(raw_name[:_LONGEST_NAME], errors="strict")
            found = texts.setdefault(name, [])
            if len(found) < _MAX_ITEMS:
                found.extend(self._values(name, raw_text))
        for name, found in texts.items():
            if len(found) == 1 and self._kinds.get(name) == "array":
                # Older clients encode the commas between items, too.
                items = found[0].split(",", _MAX_ITEMS)[:_MAX_ITEMS]
                wrong = self._schema.check({name: items}, self._place) if len(items) > 1 else ()
                if not any(detail.field.partition(".")[0] == name for detail in wrong):
                    texts[name] = items  # else it is one item, with a comma in it
        return texts

    def _values(self, name: str, raw_text: str) -> list[str]:
        """Return the decoded values of a query parameter; those of unknown ones stay undecoded."""
        if name not in self._kinds:
            return [""]
        if self._kinds[name] != "array":
            return [unquote_plus(raw_text, errors="strict")]
        parts = raw_text.split(",", _MAX_ITEMS)
        return [unquote_plus(part, errors="strict") for part in parts[:_MAX_ITEMS]]


def _match(template: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    values: dict[str, str] = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            values[expected[1:-1]] = segment
        elif expected != segment:
            return None
    return values


def _coerce(kind: str | None, texts: Sequence[str]) -> object:
    """Return the JSON value of a text, or else the text itself, which the schema refuses."""
    text = texts[0]
    if kind == "array":
        return list(texts)
    if (
        kind == "integer"
        and text.isascii()
        and text.removeprefix("-").isdecimal()
        and len(text) <= _LONGEST_INTEGER
    ):
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text
