"""What Python values become on the wire, in paths, queries and bodies alike. Pure: nothing here does I/O.

| Python | wire |
|---|---|
| `str` and its subclasses | the text |
| members of an `Enum` | their value |
| `bool`, `int`, finite `float`, `None` | the same in JSON |
| `datetime` with a time zone, text in ISO 8601 | RFC 3339 |
| `date` as `since` and `until` | midnight in UTC |
| `timedelta` as `since` and `until` | that long ago |
| `timedelta` as `ttl` | whole seconds |

In metadata and other JSON objects, also

| Python | JSON |
|---|---|
| `datetime` with a time zone, `date` | text: RFC 3339 in UTC, `2026-11-20` |
| `UUID`, `Decimal` | text, so that no digit is lost |
| `list`, `tuple` | a list |
| `set`, `frozenset` | a list, sorted, so that equal sets give equal JSON |
| a mapping with keys of text | an object |

Everything else is refused, with the path of the field: `metadata.order.items[3]`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import attrs
from memtrace_api.requests import TIME_POINTS
from memtrace_api.types import NOT_GIVEN, time_point, timestamp

from memtrace.exceptions import BadRequestError
from memtrace.models import ErrorDetail

T = TypeVar("T")

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?")
_SECOND = timedelta(seconds=1)


def prepared(request: T, where: str = "") -> T:
    """Return a copy of a request object that holds only what JSON has, and shares nothing with it.

    Args:
        request: A request object, or filters.
        where: What comes before the names of its fields in errors.

    Raises:
        BadRequestError: If a value cannot be sent; `details` names its path.
        TypeError: If a value has a type that the field cannot have.
        ValueError: If a time has no time zone, or a duration is out of range.
    """
    model = type(request)
    given = {field: getattr(request, field.name) for field in attrs.fields(model)}  # type: ignore[arg-type]
    # None in a request object may be a field that was left out.
    known = {
        field.name: value
        for field, value in given.items()
        if value is not None or field.default is attrs.NOTHING
    }
    return model(**fields_of(model, known, where))


def fields_of(model: type, fields: Mapping[str, object], where: str = "") -> dict[str, Any]:
    """Return the fields of a model as they are sent, without those that are None; raises as `prepared`."""
    plain = {}
    for name, needs_value, convert in _converters(model):
        value = fields.get(name)
        if value is not None:
            plain[name] = convert(value, where + name)
        elif needs_value and name in fields:
            raise TypeError(f"{where}{name}: None is given; give a value")
    return plain


def identifier(value: object, name: str) -> str:
    """Return an id as text.

    Raises:
        BadRequestError: If it is empty, `.` or `..`, which would lead to another path.
        TypeError: If it is not text; None above all, which would mean all there is.
    """
    plain = _text(value, name)
    if plain in {"", ".", ".."}:
        raise _refusal(name, f"{plain!r} is not an id; give the id of what you mean")
    return plain


def parameter(value: object, name: str) -> Any:  # noqa: ANN401  # a value of any parameter
    """Return a value for a query or a header; raises as `prepared`."""
    if name.endswith("_id"):
        return identifier(value, name)
    if name in TIME_POINTS:
        return point(value, name)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return texts(value, name)
    return _scalar(value, name)


def point(value: object, name: str) -> str:
    """Return a point in time: a duration back from now, a date, or a time with a time zone.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it has no time zone, or the duration is not positive.
    """
    if isinstance(value, str | Enum):
        text = _text(value, name)
        return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else _with_zone(text, name)
    if not isinstance(value, timedelta | date):
        raise TypeError(
            f"{name}: {value!r} is not a point in time; "
            "give '24h', a date, a timedelta or a datetime with a time zone"
        )
    return time_point(value, name)


def moment(value: object, name: str) -> str:
    """Return a time, which needs a time zone.

    Raises:
        TypeError: If it is neither text nor a datetime.
        ValueError: If it has no time zone.
    """
    if isinstance(value, str | Enum):
        text = _text(value, name)
        if _DATE.fullmatch(text):
            raise ValueError(f"{name}: {text!r} is a date; give the time too, such as '{text}T00:00:00Z'")
        return _with_zone(text, name)
    if not isinstance(value, datetime):
        raise TypeError(
            f"{name}: {value!r} is not a time; give a datetime with a time zone, or ISO 8601 text"
        )
    return timestamp(value, name)


def seconds(value: object, name: str) -> object:
    """Return a duration in seconds.

    Raises:
        TypeError: If it is text.
        ValueError: If a timedelta is not of whole seconds.
    """
    if isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a duration; give seconds or a timedelta")
    if not isinstance(value, timedelta):
        return _scalar(value, name)
    whole, rest = divmod(value, _SECOND)
    if rest:
        raise ValueError(f"{name}: {value} is not a number of whole seconds; round it")
    return whole


def texts(value: object, name: str) -> list[str]:
    """Return any iterable of text as a list; a set is sorted.

    Raises:
        TypeError: If it is text itself, or not such an iterable.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: {value!r} is not a list of strings; give a list, such as ['ui']")
    plain = [_text(item, f"{name}[{index}]") for index, item in enumerate(value)]
    return sorted(plain) if isinstance(value, set | frozenset) else plain


def json_object(value: object, name: str) -> dict[str, Any]:
    """Return a mapping as a JSON object.

    Raises:
        BadRequestError: If something in it cannot be written as JSON.
        TypeError: If it is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: {value!r} is not a mapping; give a dict")
    try:
        return _object(value)
    except _UnencodableError as error:
        raise _refusal(name + "".join(reversed(error.path)), error.problem) from None
    except RecursionError:
        raise _refusal(name, "is nested too deeply") from None


class _UnencodableError(Exception):
    """A value that JSON does not have, and the steps of the path to it, innermost first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []


def _object(values: Mapping[Any, object]) -> dict[str, Any]:
    plain = {}
    for key, value in values.items():
        text = key.value if isinstance(key, Enum) else key
        if not isinstance(text, str):
            raise _UnencodableError(f"has the key {key!r}, and JSON has only text as keys; give str({key!r})")
        text = _plain(text)
        if text in plain:
            raise _UnencodableError(f"has the key {text!r} twice")
        try:
            plain[text] = _plain(value)
        except _UnencodableError as error:
            error.path.append(f".{text}")
            raise
    return plain


def _list(values: Iterable[object]) -> list[Any]:
    plain = []
    for index, value in enumerate(values):
        try:
            plain.append(_plain(value))
        except _UnencodableError as error:
            error.path.append(f"[{index}]")
            raise
    return plain


def _plain(value: Any) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912  # any value, one case after the other
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, str):
        return _encodable(str.__str__(value))
    if isinstance(value, int):
        return _writable(int.__int__(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _UnencodableError(f"{value!r} is not a number in JSON")
        return float.__float__(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, list | tuple):
        return _list(value)
    if isinstance(value, set | frozenset):
        return sorted(_list(value), key=repr)
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise _UnencodableError(f"{value!r} is not a number in JSON")
        return str(value)
    raise _UnencodableError(
        f"a value of type {type(value).__name__} cannot be written as JSON; convert it first"
    )


def _writable(number: int) -> int:
    try:
        str(number)
    except ValueError as error:
        raise _UnencodableError(f"cannot be written as JSON: {error}") from None
    return number


def _time(value: datetime) -> str:
    try:
        return timestamp(value, "")
    except ValueError as error:
        raise _UnencodableError(str(error).removeprefix(": ")) from None


def _encodable(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _UnencodableError(f"cannot be written in UTF-8: {error}") from None
    return text


def _scalar(value: object, name: str) -> Any:  # noqa: ANN401  # a value of any field
    try:
        return _plain(value)
    except _UnencodableError as error:
        raise _refusal(name + "".join(reversed(error.path)), error.problem) from None


def _text(value: object, name: str) -> str:
    plain = value.value if isinstance(value, Enum) else value
    if not isinstance(plain, str):
        raise TypeError(f"{name}: {value!r} is not text; give a string")
    text: str = _scalar(plain, name)
    return text


def _with_zone(text: str, name: str) -> str:
    if _WITHOUT_ZONE.fullmatch(text):
        raise ValueError(f"{name}: {text!r} has no time zone; give '{text}Z' for UTC, or '{text}+01:00'")
    return text


def _refusal(name: str, problem: str) -> BadRequestError:
    detail = ErrorDetail(field=name, location="body", message=problem)
    return BadRequestError(f"{name}: {problem}", 0, code="invalid_request", details=[detail])


@functools.cache
def _converters(model: type) -> list[tuple[str, bool, Callable[[Any, str], object]]]:
    """Return the name of each field, whether None is no value for it, and what converts it."""
    defaults: Mapping[str, object] = model.__init__.__kwdefaults__ or {}  # type: ignore[misc]  # of this class
    return [
        (
            field.name,
            defaults.get(field.name, NOT_GIVEN) is NOT_GIVEN,
            _converter(field.name, str(field.type)),
        )
        for field in attrs.fields(model)
    ]


def _converter(name: str, annotation: str) -> Callable[[Any, str], object]:
    if name.endswith("_id") or name in {"name", "supersedes"}:  # the name of an agent is its id
        return identifier
    if name == "ttl":
        return seconds
    for beginning, convert in _BY_ANNOTATION.items():
        if annotation.startswith(beginning):
            return convert
    return _scalar


_BY_ANNOTATION: dict[str, Callable[[Any, str], object]] = {
    "TimePoint": point,
    "datetime.datetime": moment,
    "dict[": json_object,
    "list[str] | str": parameter,
    "list[": texts,
}
