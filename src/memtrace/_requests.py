"""A request, made from an operation and its arguments; nothing here sends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec
from urllib.parse import quote, urlencode

import attrs

from memtrace._values import fields_of, identifier, parameter, prepared
from memtrace.exceptions import BadRequestError
from memtrace.models import AddMemoryRequest, ListOptions, Memory

P = ParamSpec("P")

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# As in httpx; servers take less.
_LONGEST_URL = 65536
_WITH_BODY = {"PATCH", "POST", "PUT"}
_BATCH_FIELDS = frozenset(attrs.fields_dict(AddMemoryRequest))


@attrs.frozen
class Call:
    """One request, to be sent as often as it takes.

    Attributes:
        method: The HTTP method.
        path: The path, without query: what may be logged and shown.
        query: The query, encoded; may be empty.
        content: The body.
        headers: The headers that are this request's own.
    """

    method: str
    path: str
    query: str
    content: bytes | None
    headers: dict[str, str] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def target(self) -> bytes:
        """Path and query, as they are sent."""
        return f"{self.path}?{self.query}".encode() if self.query else self.path.encode()

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers, as they are sent, with the length of the body if there can be one."""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if self.content is not None or self.method in _WITH_BODY:
            headers.append((b"Content-Length", b"%d" % len(self.content or b"")))
        return headers


def call(operation: Callable[P, dict[str, Any]], /, *args: P.args, **kwargs: P.kwargs) -> Call:
    """Make the request of an operation.

    Raises:
        BadRequestError: If it cannot be sent.
        ValueError: If a time has no time zone.
        TypeError: If an id is no string.
    """
    # A body is prepared where it is made, with the names that the caller knows.
    names: tuple[str, ...] = operation.__code__.co_varnames
    path: Any = [identifier(value, name) for value, name in zip(args, names, strict=False)]
    others: Any = {
        name: value if name == "body" or isinstance(value, OwnKey) else parameter(value, name)
        for name, value in kwargs.items()
        if value is not None
    }
    try:
        request = operation(*path, **others)
        query = urlencode(request.get("params") or {}, doseq=True, quote_via=quote, safe="")
    except UnicodeEncodeError as error:
        raise BadRequestError(
            f"The request cannot be written in UTF-8: {error}", 0, code="invalid_request"
        ) from None
    if len(request["url"]) + len(query) > _LONGEST_URL:
        raise BadRequestError(
            f"The URL would be too long: {len(request['url']) + len(query)} characters; the most is "
            f"{_LONGEST_URL}",
            0,
            code="invalid_request",
        )
    headers: dict[str, str] = request["headers"]
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise BadRequestError(
                f"{name}: {value!r} has characters that no header can carry", 0, code="invalid_request"
            )
    return Call(
        method=request["method"].upper(),
        path=request["url"],
        query=query,
        content=_content(request["json"]) if "json" in request else None,
        headers=headers,
    )


class OwnKey(str):
    """An idempotency key that nobody asked for: it serves to try again when an answer was lost on its way."""

    __slots__ = ()


def idempotent(key: str | None) -> str:
    """Give the caller's idempotency key, or a new one."""
    return OwnKey(os.urandom(16).hex()) if key is None else key


def parameters_of(given: ListOptions | Mapping[str, Any]) -> dict[str, Any]:
    """Return filters as the query parameters of an operation; an empty list of tags filters nothing.

    Raises:
        TypeError: If `since` or `until` is no point in time.
        ValueError: If one of them has no time zone.
    """
    parameters = given.to_dict() if isinstance(given, ListOptions) else dict(given)
    if not parameters.get("tags", True):
        del parameters["tags"]
    return parameters


def memory_id_of(memory: Memory | str) -> str:
    """Give the id of a memory.

    Raises:
        BadRequestError: If it has none.
        TypeError: If it is neither a memory nor an id.
    """
    if not isinstance(memory, Memory):
        return identifier(memory, "memory")
    if not memory.id:
        raise BadRequestError(
            "The memory has no id, as a Memtrace 0.x server gives none, and cannot be forgotten",
            0,
            code="invalid_request",
        )
    return memory.id


def as_event(request: AddMemoryRequest) -> AddMemoryRequest:
    """Return a request with the default of `on_duplicate` filled in.

    What happens twice is two events, however alike they are; a `dedup_key` says that they are one.
    """
    if request.on_duplicate is not None:
        return request
    return attrs.evolve(request, on_duplicate="store" if request.dedup_key is None else "reject")


def batch(memories: Iterable[AddMemoryRequest | Mapping[str, Any]]) -> list[AddMemoryRequest]:
    """Return the memories of a batch as request objects.

    Raises:
        TypeError: If one is neither a request object nor a mapping.
        ValueError: If a mapping has an unknown field, lacks a required one, or has one of a wrong type.
    """
    return [_batched(place, memory) for place, memory in enumerate(memories)]


def _batched(place: int, memory: AddMemoryRequest | Mapping[str, Any]) -> AddMemoryRequest:
    where = f"memories[{place}]."
    if isinstance(memory, AddMemoryRequest):
        return prepared(memory, where)
    try:
        fields = dict(memory)
    except (TypeError, ValueError):
        raise TypeError(
            f"memories[{place}] is neither an AddMemoryRequest nor a mapping, but {type(memory).__name__}"
        ) from None
    unknown = sorted(map(str, fields.keys() - _BATCH_FIELDS))
    if unknown:
        known = ", ".join(sorted(_BATCH_FIELDS))
        raise ValueError(f"memories[{place}] has unknown fields: {', '.join(unknown)}; known are {known}")
    plain = fields_of(AddMemoryRequest, fields, where)
    try:
        AddMemoryRequest.from_dict(plain)  # it checks the types
    except ValueError as error:
        raise ValueError(f"memories[{place}]: {error}") from None
    return AddMemoryRequest(**plain)


def _content(body: object) -> bytes:
    try:
        return _JSON.encode(body).encode()
    # Not JSON are NaN, infinity and lone surrogates (ValueError), and objects of any other class (TypeError).
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequestError(
            f"The request cannot be written as JSON: {error}", 0, code="invalid_request"
        ) from None
