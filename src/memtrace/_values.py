"""Python values as they are sent, in paths, queries and bodies alike; docs/values.md has the tables.

Every error names the path of the field, such as `metadata.order.items.3`: TypeError for a type, ValueError
for a range, and BadRequestError, as from a server, for a value that JSON or a URL cannot hold.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
from memtrace_api.requests import TIME_POINTS
from memtrace_api.types import NOT_GIVEN, time_point, timestamp

from memtrace.exceptions import BadRequestError
from memtrace.models import ErrorDetail

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?")
_SECOND = timedelta(seconds=1)


def fields_of(model: type, fields: Mapping[str, object], where: str = "") -> dict[str, Any]:
    """Return the fields of a model as they are sent, without those that are None.

    The result is JSON data, and shares nothing with the fields given. In errors, `where` comes before a name.
    """
    plain = {}
    for name, needs_value, convert in _converters(model):
        value = fields.get(name)
        if value is not None:
            plain[name] = convert(value, where + name)
        elif needs_value and name in fields:
            raise TypeError(f"{where}{name}: None is given; give a value")
    return plain


def identifier(value: object, name: str) -> str:
    """Return an id as text; None is refused, as it would mean all."""
    plain = _text(value, name)
    if plain in {"", ".", ".."}:  # which lead to another path
        raise refusal(name, f"{plain!r} is not an id; give the id of what you mean")
    return plain


def parameter(value: object, name: str) -> Any:  # noqa: ANN401  # a value of any parameter
    """Return a value for a query or a header."""
    if name.endswith("_id"):
        return identifier(value, name)
    if name in TIME_POINTS:
        return _point(value, name)
    if name == "tags":
        return _tags(value, name) or None  # an empty list filters nothing
    return {"limit": _number}.get(name, _plain)(value, name)


def _point(value: Any, name: str) -> str:  # noqa: ANN401  # any value
    """Return a point in time: a duration back from now, a date, or a time with a time zone."""
    value = _unwrapped(value)
    text = _text(value, name) if isinstance(value, str) else time_point(value, name)
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else _with_zone(text, name)


def _moment(value: Any, name: str) -> str:  # noqa: ANN401  # any value
    """Return a time, which needs a time zone; a date alone is refused."""
    value = _unwrapped(value)
    text = _text(value, name) if isinstance(value, str) else timestamp(value, name)
    if _DATE.fullmatch(text):
        raise ValueError(f"{name}: {text!r} is a date; give the time too, such as '{text}T00:00:00Z'")
    return _with_zone(text, name)


def _seconds(value: object, name: str) -> object:
    """Return a duration in seconds, from a number or a timedelta; text is refused."""
    if isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a duration; give seconds or a timedelta")
    if not isinstance(value, timedelta):
        return _plain(value, name)
    whole, rest = divmod(value, _SECOND)
    if rest:
        raise ValueError(f"{name}: {value} is not a number of whole seconds; round it")
    return whole


def _number(value: object, name: str) -> object:
    """Return a number; text is refused, though a query could not tell them apart."""
    if isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a number; give an int")
    return _plain(value, name)


def _texts(value: object, name: str) -> list[str]:
    """Return any iterable of text, except text itself, as a list; a set is sorted."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: {value!r} is not a list of strings; give a list, such as ['ui']")
    plain = [_text(item, f"{name}.{index}") for index, item in enumerate(value)]
    return sorted(plain) if isinstance(value, set | frozenset) else plain


def _tags(value: object, name: str) -> str | list[str]:
    """Return one tag, or several, by which to filter."""
    return _text(value, name) if isinstance(_unwrapped(value), str) else _texts(value, name)


def _in_order(values: list[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # of several types
        return sorted(values, key=repr)


def _json_object(value: object, name: str) -> dict[str, Any]:
    """Return a mapping as a JSON object."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: {value!r} is not a mapping; give a dict")
    try:
        return _object(value, name)
    except RecursionError:
        raise refusal(name, "is nested too deeply") from None


def _object(values: Mapping[Any, object], path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in values.items():
        text = _unwrapped(key)
        if not isinstance(text, str):
            raise refusal(path, f"has the key {key!r}, and JSON has only text as keys; give str({key!r})")
        text = _plain(text, path)
        if text in plain:
            raise refusal(path, f"has the key {text!r} twice")
        plain[text] = _plain(value, f"{path}.{text}")
    return plain


def _plain(value: Any, path: str) -> Any:  # noqa: ANN401, C901, PLR0911  # any value, one case after the other
    try:
        match value:
            case None | bool():
                return value
            case Enum():
                return _plain(value.value, path)
            case str():
                value.isascii() or value.encode()  # raises for a lone surrogate
                return str.__str__(value)
            case int():
                str(value)  # raises for too many digits
                return int.__int__(value)
            case float() if math.isfinite(value):
                return float.__float__(value)
            case Decimal() if value.is_finite():
                return str(value)
            case UUID():
                return str(value)
            case datetime():
                return timestamp(value, "")
            case date():
                return value.isoformat()
            case Mapping():
                return _object(value, path)
            case list() | tuple() | set() | frozenset():
                plain = [_plain(item, f"{path}.{index}") for index, item in enumerate(value)]
                return _in_order(plain) if isinstance(value, set | frozenset) else plain
    except ValueError as error:
        raise refusal(path, f"cannot be written as JSON: {str(error).removeprefix(': ')}") from None
    given = repr(value) if isinstance(value, float | Decimal) else f"a value of type {type(value).__name__}"
    raise refusal(path, f"{given} cannot be written as JSON; convert it first")


def _text(value: object, name: str) -> str:
    text = _unwrapped(value)
    if not isinstance(text, str):
        raise TypeError(f"{name}: {value!r} is not text; give a string")
    plain: str = _plain(text, name)
    return plain


def _zone(value: object, name: str) -> str:
    """Return the name of a time zone."""
    if isinstance(value, tzinfo):
        key = getattr(value, "key", "UTC")
        raise TypeError(f"{name}: {value!r} is not the name of a time zone; give {key!r}")
    return _text(value, name)


def _unwrapped(value: Any) -> Any:  # noqa: ANN401  # any value
    """Return the value that a member of an Enum has, and other values as they are."""
    return value.value if isinstance(value, Enum) else value


def _with_zone(text: str, name: str) -> str:
    if _WITHOUT_ZONE.fullmatch(text):
        raise ValueError(f"{name}: {text!r} has no time zone; give '{text}Z' for UTC, or '{text}+01:00'")
    return text


def refusal(
    name: str, problem: str, code: str = "invalid_request", location: str = "body"
) -> BadRequestError:
    """Return the error for a value that cannot be sent."""
    detail = ErrorDetail(field=name, location=location, message=problem)
    return BadRequestError(f"{name}: {problem}", 0, code=code, details=[detail])


@functools.cache
def _converters(model: Any) -> list[tuple[str, bool, Callable[[Any, str], object]]]:  # noqa: ANN401  # a class
    """Return the name of each field, whether None is refused, and its converter."""
    defaults: Mapping[str, object] = model.__init__.__kwdefaults__ or {}
    return [
        (name, defaults.get(name, NOT_GIVEN) is NOT_GIVEN, _converter(name, str(field.type)))
        for name, field in attrs.fields_dict(model).items()
    ]


def _converter(name: str, annotation: str) -> Callable[[Any, str], object]:
    if name.endswith("_id") or name in {"name", "supersedes"}:  # the name of an agent is its id
        return identifier
    if name in _BY_NAME:
        return _BY_NAME[name]
    return next((convert for start, convert in _BY_ANNOTATION if annotation.startswith(start)), _plain)


_BY_NAME: dict[str, Callable[[Any, str], object]] = {"ttl": _seconds, "timezone": _zone}
_BY_ANNOTATION: list[tuple[str, Callable[[Any, str], object]]] = [
    ("TimePoint", _point),
    ("datetime.datetime", _moment),
    ("dict[", _json_object),
    ("list[str] | str", _tags),
    ("int", _number),
    ("list[", _texts),
]
