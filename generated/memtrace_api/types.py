"""Types and functions that the models and endpoints of this package share."""

from __future__ import annotations

import contextlib
import datetime
import re
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, cast, get_type_hints
from urllib.parse import quote

import attrs
import msgspec

from .errors import UnexpectedStatus

if TYPE_CHECKING:
    import httpx

TimePoint: TypeAlias = str | datetime.timedelta | datetime.date | datetime.datetime

T = TypeVar("T")

_FIRST_ERROR = 400

# The fields that are times.
_TIMES = frozenset(
    ["closed_at", "created_at", "expires_at", "last_active_at", "last_time", "time", "updated_at"]
)
_NANOSECONDS = re.compile(rb"\.[0-9]{7}")
_SUBMICROSECONDS = re.compile(r"(\.[0-9]{6})[0-9]+")

# In place of a value that was not given, where None would be one.
NOT_GIVEN: Any = object()

# Units of a duration in seconds, finest first, and how many of one a duration may have.
_UNITS = (("s", 1), ("m", 60), ("h", 3600), ("d", 86400))
_MOST_UNITS = 999_999


@attrs.define
class Response(Generic[T]):
    """A response: `parsed` is None if the contract does not have it, or its content cannot be read."""

    status_code: HTTPStatus | int
    content: bytes
    headers: Mapping[str, str]
    parsed: T | None


def time_point(value: TimePoint, name: str = "time") -> str:
    """Write a point in time as the API takes it.

    Args:
        value: A string, which is passed on as it is; a timedelta, meant as that long ago; a date, meant as
            its first moment in UTC; or a datetime with a time zone.
        name: The name of the value in errors.

    Returns:
        For a timedelta whole seconds, rounded up (`90s`); past 11 days, where the API takes no more digits,
        whole minutes, hours or days. For a datetime, RFC 3339 in UTC.

    Raises:
        TypeError: If the value is none of these.
        ValueError: If the timedelta is not positive, or the datetime has no time zone.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, datetime.datetime):
        return timestamp(value, name)
    if not isinstance(value, datetime.timedelta):
        raise TypeError(
            f"{name}: {value!r} is not a point in time; "
            "give '24h', a date, a timedelta or a datetime with a time zone"
        )
    if value <= datetime.timedelta(0):
        raise ValueError(f"{name}: {value} is not in the past; give a positive timedelta")
    for unit, seconds in _UNITS:
        whole, rest = divmod(value, datetime.timedelta(seconds=seconds))
        count = whole + bool(rest)
        if count <= _MOST_UNITS:
            return f"{count}{unit}"
    raise ValueError(f"{name}: {value} is too long; the most is {_MOST_UNITS} days")


def timestamp(value: datetime.datetime | str, name: str = "time") -> str:
    """Write a time in RFC 3339, in UTC.

    Args:
        value: A datetime with a time zone, or a string, which is passed on as it is.
        name: The name of the value in errors.

    Returns:
        For example `2026-11-01T09:30:00Z`.

    Raises:
        TypeError: If the value is neither.
        ValueError: If it has no time zone, or is outside the years 1 to 9999 in UTC.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, datetime.datetime):
        raise TypeError(
            f"{name}: {value!r} is not a time; give a datetime with a time zone, or ISO 8601 text"
        )
    if value.utcoffset() is None:
        raise ValueError(f"{name}: {value!r} has no time zone; give it one, for example datetime.UTC")
    try:
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"{name}: {value!r} is not in the years 1 to 9999 in UTC") from None


def require_value(value: object, name: str) -> None:
    """Check that a value is not None.

    Raises:
        TypeError: If it is None.
    """
    if value is None:
        raise TypeError(f"{name}: None is given; give a value, or leave it out to mean all")


def convert(data: object, model: type[T]) -> T:
    """Make a model of JSON data, with its times cut to microseconds.

    Raises:
        ValueError: If the data does not fit; the text names the field.
    """
    data = _with_cut_times(data)
    try:
        return msgspec.convert(data, model)
    except msgspec.ValidationError as error:
        fault = error
        try:
            return msgspec.convert(without_null(data), model)
        except msgspec.ValidationError as other:
            # A field that is missing now was the null itself.
            fault = error if "missing" in str(other) else other
        raise ValueError(f"{model.__name__}: {fault}") from fault


def decode(content: bytes | bytearray, model: type[T]) -> T:
    """Read a JSON text as a model.

    Raises:
        ValueError: If it is not JSON, or does not fit; the text names the field.
    """
    try:
        if not _NANOSECONDS.search(content):
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.json.decode(content, type=model)
        return convert(msgspec.json.decode(content), model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{model.__name__}: {error}") from error


def _with_cut_times(data: object) -> object:
    """Cut the times of JSON data to microseconds. Rounded up, a time would lie past its own memory.

    Free-form objects stay as they are.
    """
    if isinstance(data, list):
        return [_with_cut_times(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    cut = {
        name: _with_cut_times(value) if isinstance(value, list) else _SUBMICROSECONDS.sub(r"\1", value)
        for name, value in data.items()
        if isinstance(value, list) or (isinstance(value, str) and name in _TIMES)
    }
    return {**data, **cut}


def without_null(data: object) -> object:
    """Leave out the fields of JSON objects that are null, as a Memtrace 0.x server sends them for empty ones.

    Free-form objects stay as they are.
    """
    if isinstance(data, list):
        return [without_null(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    return {
        name: without_null(value) if isinstance(value, list) else value
        for name, value in data.items()
        if value is not None
    }


class FreeForm:
    """Marks a type with a free-form object, for pydantic: its JSON schema does not mention other keys.

    The schema of an object allows them anyway, and strict tools refuse a schema that says so.
    """

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:  # noqa: ANN401
        described: dict[str, Any] = handler(schema)
        for part in (described, *described.get("anyOf", ())):
            part.pop("additionalProperties", None)
        return described


class AttrsFields:
    """Finds the fields of a model of msgspec for attrs, so that `attrs.asdict` and its like work.

    Responses are read into classes of msgspec, in half the time and without work for the garbage collector.
    """

    def __init__(self) -> None:
        self._fields: dict[type, object] = {}

    def __get__(self, instance: object, owner: type[msgspec.Struct]) -> object:
        if owner not in self._fields:
            names = owner.__struct_fields__
            # Required fields come first.
            defaults = (*[attrs.NOTHING] * len(names), *owner.__struct_defaults__)[-len(names) :]
            annotations = ChainMap(*[vars(base).get("__annotations__", {}) for base in owner.__mro__])
            fields = {
                name: _attrs_field(default, annotations[name])
                for name, default in zip(names, defaults, strict=True)
            }
            self._fields[owner] = attrs.fields(attrs.make_class(owner.__name__, fields))
        return self._fields[owner]


def _attrs_field(default: Any, annotation: Any) -> Any:  # noqa: ANN401
    given = attrs.Factory(default.factory) if hasattr(default, "factory") else default
    return attrs.field(default=given, kw_only=True, type=annotation)


class PydanticSerializer:
    """Finds pydantic's serializer of a model, where pydantic meets one that it did not expect."""

    def __init__(self) -> None:
        self._serializers: dict[type, object] = {}

    def __get__(self, instance: object, owner: type) -> object:
        pydantic = sys.modules.get("pydantic")
        if pydantic is None:
            raise AttributeError("__pydantic_serializer__")
        if owner not in self._serializers:
            self._serializers[owner] = pydantic.TypeAdapter(owner).serializer
        return self._serializers[owner]


def pydantic_schema(model: type[Any], handler: Any) -> dict[str, Any]:  # noqa: ANN401  # of pydantic
    """Return pydantic's schema of a model. Only pydantic calls this, so nothing imports it."""
    hints = get_type_hints(model, localns={"TimePoint": TimePoint})
    fields = {
        field.name: {
            "type": "typed-dict-field",
            "schema": handler.generate_schema(Annotated[hints[field.name], FreeForm()]),
            "required": field.default is attrs.NOTHING,
        }
        for field in attrs.fields(model)
    }

    def validate(value: object, of_fields: Callable[[object], dict[str, Any]]) -> object:
        return value if isinstance(value, model) else model(**of_fields(value))

    return {
        "type": "function-wrap",
        "function": {"type": "no-info", "function": validate},
        "schema": {"type": "typed-dict", "cls_name": model.__name__, "fields": fields},
        "serialization": {"type": "function-plain", "function": model.to_dict},
    }


def path_segment(value: str, name: str) -> str:
    """Quote an id so that it stays one segment of a path, whatever it contains.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is empty: the path would be another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a string")
    if not value:
        raise ValueError(f"{name} is empty")
    if value in {".", ".."}:
        return value.replace(".", "%2E")
    return quote(value, safe="")


def query(values: Mapping[str, object]) -> dict[str, str | int | float | list[str]]:
    """Write query parameters as the API takes them.

    None is left out. A list becomes one value, joined by commas. If an item has a comma itself, the
    list stays a list, each item to be sent as a parameter of its own; a lone one twice, as it would be split.
    """
    return {name: _query_value(name, value) for name, value in values.items() if value is not None}


def _query_value(name: str, value: object) -> str | int | float | list[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Iterable):
        items = [str(item) for item in value]
        if not any("," in item for item in items):
            return ",".join(items)
        return items if len(items) > 1 else items * 2
    raise TypeError(f"{name}: {value!r} is neither a string, a number, a boolean nor a list")


def read_response(
    response: httpx.Response, models: Mapping[int, tuple[type[T], ...]], *, raise_on_unexpected_status: bool
) -> Response[T]:
    """Read a response as the first of its status's models that fits.

    Args:
        response: The response.
        models: The models that each documented status may have; none for a status without content.
        raise_on_unexpected_status: Whether to raise for an error status, for a status that the contract does
            not have, and for content that cannot be read.

    Raises:
        UnexpectedStatus: raise_on_unexpected_status is True, and there is such a response.
    """
    expected = models.get(response.status_code)
    parsed = None
    for model in expected or ():
        with contextlib.suppress(ValueError):
            # A page is text; no response of the contract is a JSON string.
            parsed = cast("T", response.text) if model is str else decode(response.content, model)
            break
    is_expected = response.status_code < _FIRST_ERROR and (parsed is not None or expected == ())
    if raise_on_unexpected_status and not is_expected:
        raise UnexpectedStatus(response.status_code, response.content)
    return Response(
        status_code=_status(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=parsed,
    )


def _status(code: int) -> HTTPStatus | int:
    try:
        return HTTPStatus(code)
    except ValueError:
        return code


__all__ = [
    "NOT_GIVEN",
    "AttrsFields",
    "FreeForm",
    "PydanticSerializer",
    "Response",
    "TimePoint",
    "convert",
    "decode",
    "path_segment",
    "pydantic_schema",
    "query",
    "read_response",
    "require_value",
    "time_point",
    "timestamp",
    "without_null",
]
