"""Requests, built from the arguments of methods; nothing here sends them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

import attrs
from memtrace_api.fields import ForgetFilters

from memtrace._values import fields_of, identifier, parameter, refusal
from memtrace.models import (
    AddMemoryRequest,
    CreateSessionRequest,
    ForgetFilter,
    Memory,
    RegisterAgentRequest,
    SearchQuery,
)

P = ParamSpec("P")
T = TypeVar("T")

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# The name of a header.
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAMELESS: dict[type, str] = {
    CreateSessionRequest: "agent_id",
    RegisterAgentRequest: "name",
    SearchQuery: "query",
}


@attrs.frozen
class Call:
    """One request, which may be sent several times.

    Attributes:
        operation: The operation of the contract, as its builder is named.
        method: The HTTP method.
        path: The path, without query: what may be logged and shown.
        query: The query, percent-encoded.
        content: The body.
        headers: The headers of this request alone.
    """

    operation: str
    method: str
    path: str
    query: str
    content: bytes | None
    headers: dict[str, str] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def call(operation: Callable[P, dict[str, Any]], /, *args: P.args, **kwargs: P.kwargs) -> Call:
    """Build the request of an operation from its arguments.

    A write without an idempotency key gets a new one.
    """
    names: tuple[str, ...] = operation.__code__.co_varnames
    path: Any = [
        memory_id_of(value) if name == "memory_id" else identifier(value, name)
        for value, name in zip(args, names, strict=False)
    ]
    # A body is converted by `request_of`, under the names that the caller knows.
    others: Any = {
        name: value if name == "body" else parameter(value, name)
        for name, value in kwargs.items()
        if value is not None
    }
    if "idempotency_key" in names:
        others.setdefault("idempotency_key", OwnKey(os.urandom(16).hex()))
    request = operation(*path, **others)
    headers: dict[str, str] = request["headers"]
    for name, value in headers.items():
        if not is_header_value(value):
            raise refusal(name, f"{value!r} has characters that no header can carry", location="header")
    return Call(
        operation=operation.__name__,
        method=request["method"].upper(),
        path=request["url"],
        query=urlencode(request.get("params") or {}, doseq=True, quote_via=quote, safe=""),
        content=_JSON.encode(request["json"]).encode() if "json" in request else None,
        headers=headers,
    )


def is_header_value(text: str) -> bool:
    """Return whether a header can carry a text."""
    return text.isascii() and text.isprintable() and text == text.strip()


class OwnKey(str):
    """An idempotency key that the caller did not give; it makes retries safe when a response is lost."""

    __slots__ = ()


def request_of(model: type[T], given: object, fields: Mapping[str, object], where: str = "") -> T:
    """Return a new request object, from the object, the mapping or the keywords that a method was given.

    A string is the field that may be given without its name. In errors, `where` comes before each field.
    A memory to store gets the default of `on_duplicate`: equal events are two events, unless a `dedup_key`
    makes them one.
    """
    made = _made(model, given, fields, where)
    if isinstance(made, AddMemoryRequest) and made.on_duplicate is None:
        made.on_duplicate = "store" if made.dedup_key is None else "reject"  # it was made here
    return made


def fields_of_pages(fields: Mapping[str, object], page_size: int | None) -> dict[str, object]:
    """Return the fields of the request for a page."""
    if "limit" in fields:  # which could mean the page or the iteration
        raise TypeError("limit: the iterator returns every match; give page_size, or stop the iteration")
    return {**fields, "limit": page_size}


def forget_filter_of(given: ForgetFilter | None, fields: Mapping[str, object]) -> ForgetFilter:
    """Return the filters of memories to forget; BadRequestError if there is none, or one is empty."""
    filters = request_of(ForgetFilter, given, fields)
    values = filters.to_dict()
    empty = [name for name, value in values.items() if value in ([], {})]
    if empty:
        raise refusal(empty[0], "it is empty; leave it out to mean all")
    if not values:
        names = ", ".join(ForgetFilters.__annotations__)
        raise refusal("forget_all", f"no filter given; give at least one of {names}", "filter_required")
    return filters


def memory_id_of(memory: object) -> str:
    """Return the id of a memory, which may be given instead."""
    if not isinstance(memory, Memory):
        return identifier(memory, "memory")
    if not memory.id:
        raise refusal("memory", "it has no id, as a Memtrace 0.x server gives none; it cannot be named")
    return memory.id


def batch(memories: Iterable[AddMemoryRequest | Mapping[str, Any]]) -> list[AddMemoryRequest]:
    """Return the memories of a batch as request objects."""
    if isinstance(memories, str | Mapping) or not isinstance(memories, Iterable):
        raise TypeError(f"memories: give a list of memories, not {type(memories).__name__}")
    return [
        request_of(AddMemoryRequest, memory, {}, f"memories.{index}.")
        for index, memory in enumerate(memories)
    ]


def _made(model: type[T], given: object, fields: Mapping[str, object], where: str) -> T:
    if isinstance(given, str) and (name := _NAMELESS.get(model)):
        if name in fields:
            raise TypeError(f"{name} is given twice: {given!r} and {fields[name]!r}")
        given, fields = None, {name: given, **fields}
    known = attrs.fields_dict(model)  # type: ignore[arg-type]  # it is a class of attrs
    for name in (*fields, *(given if isinstance(given, Mapping) else ())):
        if name not in known:
            raise TypeError(f"{where}{name}: unknown field; {model.__name__} has {', '.join(known)}")
    if given is None and not where:
        return model(**fields_of(model, fields))
    named = [name for name, value in fields.items() if value is not None]
    if named or not isinstance(given, Mapping | model):
        article = "an" if model.__name__[0] in "AEIOU" else "a"
        wrong = f"both: {', '.join(named)}" if named else type(given).__name__
        or_else = "a mapping" if where else "its fields as keywords"
        problem = f"give {article} {model.__name__} or {or_else}, not {wrong}"
        raise TypeError(f"{where[:-1]}: {problem}" if where else problem)
    if not isinstance(given, Mapping):
        # None in a request object may be a field that was left out.
        set_to = {n: v for n in known if (v := getattr(given, n)) is not known[n].default}
        return model(**fields_of(model, set_to, where))
    plain = fields_of(model, given, where)
    try:
        model.from_dict(plain)  # type: ignore[attr-defined]  # a generated model has it, and it checks the types
    except ValueError as error:
        name, _, problem = str(error).partition(": ")
        raise ValueError(f"{where[:-1] or name}: {problem}") from None
    return model(**plain)
