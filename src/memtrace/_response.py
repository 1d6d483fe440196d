"""Responses: read as a model or an error, and returned together with a result."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

import attrs
import msgspec
from memtrace_api.types import decode

from memtrace import models
from memtrace._config import Config
from memtrace._request import Call
from memtrace.exceptions import (
    APIStatusError,
    ConflictError,
    NoArcInstanceError,
    ResponseValidationError,
)
from memtrace.models import ErrorDetail

if TYPE_CHECKING:
    from memtrace._http import Response

P = ParamSpec("P")
T = TypeVar("T")

# A method of either client, or of a session handle.
AsyncMethod = Callable[P, Awaitable[T]]
Method = Callable[P, T]

# Bytes, decompressed. A larger response is not read, so that no server can fill this process's memory.
MAX_BYTES = 64 * 1024 * 1024

_BY_STATUS = {
    status: kind
    for kind in APIStatusError.__subclasses__()
    for status in kind._statuses  # noqa: SLF001  # no business of its users
}
_CODINGS = frozenset({"", "identity", "gzip"})
_SUCCESS = range(200, 300)
_REDIRECTS = range(300, 400)
_UNAVAILABLE = 503
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_MAX_SHOWN = 200

# msgspec keeps what it builds for a model: if that is while a test has frozen the clock, it stays broken.
for _model in vars(models).values():
    if isinstance(_model, type) and issubclass(_model, msgspec.Struct):
        msgspec.json.Decoder(_model)


@attrs.define
class RawResponse:
    """A response, read to its end.

    Attributes:
        call: The request.
        config: The settings of the client that sent it.
        status: The HTTP status.
        headers: The headers, by name in lower case.
        content: The body, decompressed.
        original: The HTTP library's own response; None from an embedded store.
    """

    call: Call
    config: Config
    status: int
    headers: Mapping[str, str]
    content: bytes | bytearray
    original: Response | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return self.status in _SUCCESS

    @property
    def request_id(self) -> str | None:
        """The name of the request in the server's log, if the server gave one."""
        return self.config.shown(self.headers.get("x-request-id") or "") or None

    def require_readable(self) -> None:
        """Raise ResponseValidationError if the body is too large, or may not fit when it is decompressed."""
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in _CODINGS:
            raise self.invalid(f"cannot be decompressed: it is {coding!r}, and gzip was asked for")
        announced = self.headers.get("content-length", "")
        if announced.isdecimal():
            self.require_size(int(announced), "were announced")

    def require_size(self, size: int, how: str = "came, and more would have") -> None:
        """Raise ResponseValidationError if the body has, or will have, too many bytes."""
        if size > MAX_BYTES:
            problem = f"is larger than {MAX_BYTES} bytes, the most that is read: {size} bytes {how}"
            raise self.invalid(f"{problem}; ask for less, with a limit")

    def invalid(self, problem: str, body: object = None) -> ResponseValidationError:
        """Return the error for a problem of this response."""
        error = ResponseValidationError(
            f"The response to {self.call} {self.config.shown(problem)}",
            self.status,
            request_id=self.request_id,
            body=body,
        )
        error._raw = self  # noqa: SLF001  # no business of its users
        return error

    def as_httpx(self) -> Response:
        """Return a response of the HTTP library, with its request."""
        from memtrace import _http  # noqa: PLC0415  # few ask for it, and its import is long

        original: Any = self.original
        if original is None:
            library: Any = _http.httpx
            headers = {**self.config.headers, **self.call.headers}
            url, content = self.config.url_of(self.call), self.call.content
            request = library.Request(self.call.method, url, headers=headers, content=content)
            original = library.Response(self.status, request=request)
        # It is decompressed already.
        headers = {name: value for name, value in self.headers.items() if name != "content-encoding"}
        kind: type[Response] = type(original)
        request, extensions = original.request, original.extensions
        return kind(
            self.status, headers=headers, content=bytes(self.content), request=request, extensions=extensions
        )


@attrs.frozen(slots=False)  # for the property that is made once
class Answered(Generic[T]):
    """The result of a method, and the response that it was made from.

    Attributes:
        result: The value that the method returned.
        retries: How many retries there were.
    """

    result: T
    retries: int
    _raw: RawResponse = attrs.field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The name of the request in the server's log; None if the server gave none."""
        return self._raw.request_id

    @cached_property
    def response(self) -> Response:
        """The last response to the method: status, headers, body, and the request."""
        return self._raw.as_httpx()


@attrs.define
class Recorded:
    """The responses to a method, recorded while it runs."""

    raw: RawResponse | None = None
    retries: int = 0

    def with_result(self, result: T, method: Callable[..., object]) -> Answered[T]:
        """Return a result with the response; TypeError if none was recorded."""
        if self.raw is None:
            name = getattr(method, "__name__", repr(method))
            raise TypeError(f"{name}: it got no response before it returned; call it without with_response")
        return Answered(result, self.retries, self.raw)


_RECORDED: ContextVar[Recorded | None] = ContextVar("memtrace_recorded", default=None)


@contextmanager
def recording() -> Iterator[Recorded]:
    """Record each response to this task or thread while the block lasts."""
    recorded = Recorded()
    token = _RECORDED.set(recorded)
    try:
        yield recorded
    finally:
        _RECORDED.reset(token)


def record(raw: RawResponse | None = None, *, retries: int = 0) -> None:
    """Record a response of any status, or a retry."""
    recorded = _RECORDED.get()
    if recorded is not None:
        recorded.raw = raw or recorded.raw
        recorded.retries += retries


def model_of(raw: RawResponse, model: type[T]) -> T:
    """Read a response as a model; ResponseValidationError if it is not one.

    Where no body is expected, any JSON will do.
    """
    if model is NoneType:
        if raw.content:  # the HTML of a captive portal is not JSON
            model_of(raw, Any)
        return cast("T", None)
    try:
        if hasattr(model, "from_dict"):
            return decode(raw.content, model)
        return msgspec.json.decode(raw.content, type=model)  # of records, whose times stay as they are
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        kind = raw.headers.get("content-type") or "no content type"
        where = f" ({kind})" if "json" not in kind else ""
        raise raw.invalid(f"does not match the contract{where}: {error}", body=_body(raw)) from error


def error_of(raw: RawResponse) -> APIStatusError:
    """Return the error for a response whose status is not 2xx."""
    body = _body(raw)
    fields = body if isinstance(body, dict) else {}
    shown = raw.config.shown
    message = shown(_message(raw, body))
    kind = _BY_STATUS.get(raw.status, APIStatusError)
    if raw.status == _UNAVAILABLE and "arc instance" in message.lower():
        kind = NoArcInstanceError
    error = kind(
        message,
        raw.status,
        code=shown(_text(fields, "code")) or None,
        request_id=raw.request_id or shown(_text(fields, "request_id")) or None,
        details=_details(fields.get("details")),
        body=body,
        retry_after=_retry_after(raw.headers.get("retry-after")),
    )
    if isinstance(error, ConflictError):
        error.existing_id = shown(_text(fields, "existing_id")) or None
    error._raw = raw  # noqa: SLF001  # no business of its users
    return error


def _body(raw: RawResponse) -> object:
    try:
        body: object = json.loads(raw.content)
    except (ValueError, RecursionError):
        return raw.content.decode("utf-8", errors="replace")
    return body


def _message(raw: RawResponse, body: object) -> str:
    """Return the message of an error response; a proxy may send HTML, or nothing."""
    if raw.status in _REDIRECTS:
        where = raw.headers.get("location") or "nowhere"
        return (
            f"{raw.call}: the response is a redirect to {where}, which is not followed, so that the API key "
            "goes nowhere else; give the right base_url"
        )
    said = body if isinstance(body, str) else ""
    if isinstance(body, dict):
        error, hint = _text(body, "error"), _text(body, "hint")
        if error:
            return f"{error} ({hint})" if hint else error
        said = _text(body, "message") or _text(body, "detail")
    elif "<" in said:
        title = _TITLE.search(said)
        said = title[1] if title else ""
    phrase = "" if raw.original is None else raw.original.reason_phrase
    status = f"{raw.call}: the response is {raw.status} {phrase}".rstrip()
    said = " ".join(said.split())[:_MAX_SHOWN]
    return f"{status}: {said}" if said not in status else status


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _details(value: object) -> list[ErrorDetail]:
    try:
        return msgspec.convert(value, list[ErrorDetail])
    except msgspec.ValidationError:
        return []  # of another server; `body` still has them


def _retry_after(value: str | None) -> float | None:
    """Read Retry-After, which is in seconds or a date; None if it is neither."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value, re.ASCII):
        return float(value)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # rare

    try:
        date = parsedate_to_datetime(value)
        # An HTTP date is in GMT, even one that does not say so.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
