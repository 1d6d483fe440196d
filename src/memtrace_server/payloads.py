"""What bodies say: JSON that is checked by the contract, without a moment in which nothing else can run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import evolve

from memtrace_server import problems
from memtrace_server.messages import JSON, Request
from memtrace_server.problems import Detail
from memtrace_server.schemas import MAX_DETAILS, Document, Schema, too_heavy

MAX_VALUES = 1_000_000
"""JSON values in a body; the contract says so at PayloadTooLarge."""

MAX_OBJECT = 2 << 20
"""Bytes of a body, or of an object that it lists.

What is valid has 1.3 MB, if each character is escaped; what is larger is refused as invalid. To decode 80 MiB
of long numbers in one go takes 3 s.
"""

_OF_ITEMS = {"items", "x-max-bytes"}  # keywords of a list that its length cannot decide
_CONTAINERS = (dict, list)
_LARGE = 64 << 10  # bytes of a body that is worth a look before it is decoded
_SLICE = 64 << 10  # bytes; a slice of quotes takes some milliseconds
_SIGNS = (b",", b"[", b"{")  # before a value
_DEEPEST = 100  # levels of a body, which is to be checked, stored and compared without a RecursionError
_TOO_DEEP = Detail("body", "body", f"is nested more than {_DEEPEST} levels deep")


class Payload:
    """What the body of an operation may be; of a `oneOf`, the schema whose required fields are present.

    Attributes:
        names: The names of its properties.
    """

    def __init__(self, document: Document, body: Mapping[str, Any]) -> None:
        schema = body["content"][JSON]["schema"]
        branches = [document.resolve(branch) for branch in schema.get("oneOf", [schema])]
        self._is_required = body.get("required", False)
        self._schemas = [Schema(document, branch) for branch in branches]
        self.names = frozenset(name for branch in branches for name in branch.get("properties", ()))
        self._lists = [lists for branch in branches if (lists := _Lists.found_in(document, branch))]

    def read(self, request: Request) -> tuple[Any, list[Detail]]:
        """Return the value of a request's body, or the details of what is wrong with it.

        Raises:
            Problem: 400, 413 or 415.
        """
        if not request.body:
            details = [Detail("body", "body", "is required")] if self._is_required else []
            return self._schemas[0].fill({}), details
        content_type = request.headers.get("content-type", "")
        if not _is_json(content_type):
            raise problems.unsupported_media_type(content_type)
        coding = request.headers.get("content-encoding", "identity")
        if coding.strip().lower() != "identity":
            raise problems.unsupported_coding(coding)
        try:
            return self._read(request.body)
        except (ValueError, RecursionError) as error:  # no JSON, or nested deeper than can be checked
            return None, [Detail("body", "body", f"cannot be read as JSON: {error}")]

    def _read(self, body: bytes | bytearray) -> tuple[Any, list[Detail]]:
        if len(body) > _LARGE:
            if has_more_values(body, MAX_VALUES):
                raise problems.too_many_values(MAX_VALUES)
            why = "which nothing valid is"
            for lists in self._lists:
                try:
                    return lists.read(body)
                except msgspec.ValidationError as error:  # it is none
                    why = f"which only lists of objects may be, and is no such list: {error}"
            if len(body) > MAX_OBJECT:
                raise _larger_than_valid("body", why)
        value = msgspec.json.decode(body)
        if body.count(b"[") + body.count(b"{") > _DEEPEST and _is_deep(value, _DEEPEST):
            return None, [_TOO_DEEP]
        schema = next((s for s in self._schemas if s.has_required(value)), self._schemas[0])
        details = schema.check(value, "body")
        return (None if details else schema.fill(value)), details


class _Lists:
    """A body that lists objects, which is read object by object.

    To decode and validate a large one in one go takes a second in which no other thread runs.

    Args:
        document: The contract.
        schema: The schema of the body.
        items: The schemas of its lists, by the names of its properties.
    """

    def __init__(
        self, document: Document, schema: Mapping[str, Any], items: Mapping[str, Mapping[str, Any]]
    ) -> None:
        listed = {
            name: {key: part for key, part in each.items() if key not in _OF_ITEMS}
            for name, each in items.items()
        }
        known = schema["properties"]
        self._around = Schema(document, {**schema, "properties": {**known, **listed}})
        self._items = {name: Schema(document, each["items"]) for name, each in items.items()}
        self._most = {name: each["maxItems"] + 1 for name, each in items.items()}
        self._heaviest = {name: each.get("x-max-bytes", math.inf) for name, each in items.items()}
        kinds = {name: list[msgspec.Raw] if name in items else msgspec.Raw for name in known}
        required = schema.get("required", ())
        fields: list[Any] = [(name, kinds[name]) for name in required]
        fields += [
            (name, kinds[name] | msgspec.UnsetType, msgspec.UNSET) for name in known if name not in required
        ]
        self._undecoded = msgspec.defstruct("Body", fields, kw_only=True, forbid_unknown_fields=True)

    @classmethod
    def found_in(cls, document: Document, schema: Mapping[str, Any]) -> _Lists | None:
        """Return the lists of objects that a schema describes, or None without any."""
        properties = {name: document.resolve(part) for name, part in schema.get("properties", {}).items()}
        items = {
            name: part
            for name, part in properties.items()
            if document.kind(part) == "array" and document.kind(part.get("items", {})) == "object"
        }
        return cls(document, schema, items) if items else None

    def read(self, body: bytes | bytearray) -> tuple[Any, list[Detail]]:
        """Return the value of a body, or the details of what is wrong with it.

        Raises:
            ValidationError: A list is none, or there is a field that is not known.
            Problem: 400.
        """
        parts = msgspec.structs.asdict(msgspec.json.decode(body, type=self._undecoded))
        parts = {name: part for name, part in parts.items() if part is not msgspec.UNSET}
        lists: dict[str, Sequence[msgspec.Raw]] = {
            name: parts.pop(name) for name in self._items if name in parts
        }
        around = {name: _decoded(raw, name) for name, raw in parts.items()}
        sizes = {name: [None] * min(len(raws), self._most[name]) for name, raws in lists.items()}
        details = self._around.check({**around, **sizes}, "body")
        details += [
            Detail(name, "body", too_heavy(self._heaviest[name]))
            for name, raws in lists.items()
            if sum(map(len, raws)) > self._heaviest[name]
        ]
        read: dict[str, list[Any]] = {name: [] for name in lists}
        for name, raws in () if details else lists.items():
            for position, raw in enumerate(raws):
                field = f"{name}.{position}"
                item = _decoded(raw, field)
                if _is_deep(item, _DEEPEST - 2):
                    return None, [_TOO_DEEP]
                wrong = self._items[name].check(item, "body")
                details += [evolve(d, field=f"{field}.{d.field}".removesuffix(".body")) for d in wrong]
                if len(details) >= MAX_DETAILS:
                    return None, details
                if not details:
                    read[name].append(self._items[name].fill(item))
        return (None if details else {**self._around.fill(around), **read}), details


def _decoded(raw: msgspec.Raw, field: str) -> Any:  # noqa: ANN401 - JSON
    if len(raw) > MAX_OBJECT:
        raise _larger_than_valid(field)
    return msgspec.json.decode(raw)


def _larger_than_valid(field: str, why: str = "which nothing valid is") -> problems.Problem:
    detail = Detail(field, "body", f"is larger than {MAX_OBJECT >> 20} MiB, {why}")
    return problems.invalid([detail])


def has_more_values(body: bytes | bytearray, most: int) -> bool:
    """Return whether JSON has more values than `most`, roughly; without making any of them.

    A value takes two bytes in a body, and up to a hundred in memory. Other threads run between two slices.
    """
    slices = range(0, len(body), _SLICE)
    if sum(body.count(sign, start, start + _SLICE) for start in slices for sign in _SIGNS) <= most:
        return False
    found = quotes = start = 0
    while start < len(body):
        part = bytes(body[start : start + _SLICE])
        if (len(part) - len(part.rstrip(b"\\"))) % 2:  # the last one escapes the next character
            part += body[start + len(part) : start + len(part) + 1]
        start += len(part)
        # Without escapes, each quote begins or ends a string; what is in strings does not count.
        texts = part.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        outside = b"".join(texts[quotes % 2 :: 2])
        found += sum(map(outside.count, _SIGNS))
        quotes += len(texts) - 1
        if found > most or quotes > 4 * most:  # a value is one string at most, and has a key
            return True
    return False


def _is_deep(value: Any, deepest: int) -> bool:  # noqa: ANN401 - JSON
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(deepest):
        if not level:
            return False
        level = [
            inner
            for each in level
            for inner in (each.values() if type(each) is dict else each)
            if type(inner) in _CONTAINERS
        ]
    return bool(level)


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    return kind.strip().lower() == JSON and charset in {"", "utf-8"}
