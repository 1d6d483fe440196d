"""What the server answered, as a model or as an error."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC
from typing import Any, TypeVar

import msgspec
from memtrace_api.models import ErrorDetail

from memtrace._answers import Answer
from memtrace.exceptions import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NoArcInstanceError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseValidationError,
    ServerError,
)

T = TypeVar("T")

_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: BadRequestError,
    415: BadRequestError,
    422: BadRequestError,
    429: RateLimitError,
}
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_UNAVAILABLE = 503
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_MOST_SHOWN = 200


def model_of(answer: Answer, model: type[T]) -> T:
    """Read the answer to a call as a model.

    Raises:
        ResponseValidationError: If it is not one; the error says what is wrong and where.
    """
    try:
        decoded: T = _decoder(model).decode(answer.content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(answer, f"{model.__name__}: {error}") from error
    return decoded


def nothing_of(answer: Answer) -> None:
    """See to it that the answer to a call holds nothing, or JSON that nobody asked for.

    Raises:
        ResponseValidationError: If it is something else, such as the page of a portal in between.
    """
    if not answer.content:
        return
    try:
        msgspec.json.decode(answer.content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(answer, str(error)) from error


def error_of(answer: Answer) -> APIStatusError:
    """Make the error that an answer other than 2xx stands for."""
    status = answer.status
    body = _body(answer)
    fields = body if isinstance(body, dict) else {}
    message = _message(answer, body)
    kind = _BY_STATUS.get(status, APIStatusError)
    extra: dict[str, Any] = {}
    if kind is ConflictError:
        extra["existing_id"] = _text(fields.get("existing_id"))
    elif status in _SERVER_ERRORS:
        no_arc = status == _UNAVAILABLE and "arc instance" in message.lower()
        kind = NoArcInstanceError if no_arc else ServerError
    error = kind(
        message,
        status,
        code=_text(fields.get("code")),
        request_id=answer.request_id or _text(fields.get("request_id")),
        details=_details(fields.get("details")),
        body=body,
        retry_after=_retry_after(answer.header("retry-after")),
        **extra,
    )
    error._answer = answer  # noqa: SLF001  # no business of its users
    return error


def _decoder(model: type) -> msgspec.json.Decoder[Any]:
    if model not in _DECODERS:
        _DECODERS[model] = msgspec.json.Decoder(model)
    return _DECODERS[model]


def _invalid(answer: Answer, problem: str) -> ResponseValidationError:
    kind = answer.header("content-type") or "no content type"
    where = f" ({kind})" if "json" not in kind else ""
    return answer.invalid(f"is not what the contract says{where}: {problem}", body=_body(answer))


def _body(answer: Answer) -> object:
    try:
        body: object = json.loads(answer.content)
    except (ValueError, RecursionError):
        return answer.content.decode("utf-8", errors="replace")
    return body


def _message(answer: Answer, body: object) -> str:
    """Say what the server said. An old one adds a hint; a proxy may say it in HTML, or say nothing."""
    if answer.status in _REDIRECTS:
        where = answer.header("location") or "nowhere"
        return (
            f"{answer.call} was answered with a redirect to {where}, which is not followed, so that the API "
            "key goes nowhere else; give the right base_url"
        )
    if isinstance(body, dict):
        error, hint = _text(body.get("error")), _text(body.get("hint"))
        if error:
            return f"{error} ({hint})" if hint else error
        said = _text(body.get("message")) or _text(body.get("detail"))
    elif isinstance(body, str):
        title = _TITLE.search(body)
        said = title[1] if title else "" if "<" in body else body
    else:
        said = ""
    status = f"{answer.call} was answered with {answer.status} {answer.reason}".rstrip()
    said = " ".join((said or "").split())[:_MOST_SHOWN]
    return f"{status}: {said}" if said and said not in status else status


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _details(value: object) -> list[ErrorDetail]:
    try:
        return msgspec.convert(value, list[ErrorDetail])
    except msgspec.ValidationError:
        # Another server's details are not ours; they are still in the body.
        return []


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
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - time.time())
