"""Errors, as a tree.

MemtraceError
├── APIConnectionError          never reached the server, or lost it      (status_code 0)
│   └── APITimeoutError
├── APIStatusError
│   ├── BadRequestError         400, 413, 415, 422, 431
│   ├── AuthenticationError     401
│   ├── PermissionDeniedError   403
│   ├── NotFoundError           404
│   ├── ConflictError           409, .existing_id
│   ├── RateLimitError          429, .retry_after
│   └── ServerError             5xx
│       └── NoArcInstanceError  503 of a Memtrace 0.x server whose tenant has no database
├── BufferedWriteError          memories that a buffer could not store, .failed
└── ResponseValidationError     the response does not match the contract

All of them can be pickled and copied with their attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from memtrace_api.models import AddMemoryRequest, ErrorDetail

if TYPE_CHECKING:
    from memtrace._http import Response
    from memtrace._response import RawResponse

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BufferedWriteError",
    "ConflictError",
    "MemtraceError",
    "NoArcInstanceError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ResponseValidationError",
    "ServerError",
]


def _summary(error: MemtraceError) -> str:
    """Return the first line of the docstring, for an error that a mock raises without a message."""
    return next(kind.__doc__ for kind in type(error).__mro__ if kind.__doc__).partition("\n")[0]


@attrs.define(slots=False, repr=False, eq=False, auto_exc=False)
class MemtraceError(Exception):
    """Something went wrong between this client and a Memtrace server.

    Attributes:
        message: What went wrong and what to do about it, for people.
        status_code: The HTTP status of the response; 0 if there was none.
        code: What went wrong, in a word that stays the same (`not_found`); None if the server, such as
            a Memtrace 0.x, gave none.
        request_id: Names the request in the server's log; None if the server gave none.
        details: For bad input, each field that is wrong.
        body: The body of the response: the parsed JSON, or else the text; None if there was no response.
    """

    message: str = attrs.field(default=attrs.Factory(_summary, takes_self=True))
    status_code: int = attrs.field(default=attrs.Factory(lambda self: self._statuses[0], takes_self=True))
    code: str | None = attrs.field(default=None, kw_only=True)
    request_id: str | None = attrs.field(default=None, kw_only=True)
    details: list[ErrorDetail] = attrs.field(factory=list, kw_only=True)
    body: Any = attrs.field(default=None, kw_only=True)
    _raw: RawResponse | None = attrs.field(default=None, init=False)

    # The statuses that raise it; the first is that of an error made without a response.
    _statuses: ClassVar[Sequence[int]] = (0,)

    def __attrs_post_init__(self) -> None:
        # One argument, so that pickle can call the class with it and restore the rest from __dict__.
        super().__init__(self.message)

    @property
    def response(self) -> Response | None:
        """The response as an httpx.Response; None if there was none, and in a copy or after pickling."""
        return None if self._raw is None else self._raw.as_httpx()

    def __reduce__(self) -> tuple[Any, ...]:
        # With the response goes the request, and the key with that.
        return type(self), self.args, {name: value for name, value in vars(self).items() if name != "_raw"}

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status_code}" if self.status_code else "",
            self.code or "",
            f"request {self.request_id}" if self.request_id else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        return f"{self.message} ({known})" if known else self.message


class APIConnectionError(MemtraceError):
    """The server was never reached, or was lost before it had responded."""


class APITimeoutError(APIConnectionError):
    """There was no response in time."""


@attrs.define(slots=False, repr=False, eq=False, auto_exc=False)
class APIStatusError(MemtraceError):
    """The server responded with an error.

    Attributes:
        retry_after: Seconds after which the server asks for another attempt; None if it did not say.
    """

    retry_after: float | None = attrs.field(default=None, kw_only=True)


class BadRequestError(APIStatusError):
    """The request does not match the contract (400, 413, 415, 422, 431); `details` names each field.

    A request that cannot be sent, such as one for an empty id, raises this error with `status_code` 0.
    """

    _statuses = (400, 413, 415, 422, 431)


class AuthenticationError(APIStatusError):
    """No API key, or one that is unknown or revoked (401)."""

    _statuses = (401,)


class PermissionDeniedError(APIStatusError):
    """The key's role does not allow this (403)."""

    _statuses = (403,)


class NotFoundError(APIStatusError):
    """The key's organisation has no such agent, session or memory (404)."""

    _statuses = (404,)


@attrs.define(slots=False, repr=False, eq=False, auto_exc=False)
class ConflictError(APIStatusError):
    """It exists already, such as a duplicate memory or an agent of that name (409).

    Attributes:
        existing_id: Id of the existing memory or agent; None if the server did not say.
    """

    _statuses = (409,)
    existing_id: str | None = attrs.field(default=None, kw_only=True)


class RateLimitError(APIStatusError):
    """Too many requests with this key (429); `retry_after` has the seconds to wait."""

    _statuses = (429,)


class ServerError(APIStatusError):
    """The server failed (5xx)."""

    _statuses: ClassVar[Sequence[int]] = range(500, 600)


class NoArcInstanceError(ServerError):
    """A Memtrace 0.x server has no Arc database for the key's organisation (503).

    An administrator of that server must run `memtrace org add-arc <org_id>` first.
    """

    _statuses = (503,)


@attrs.define(slots=False, repr=False, eq=False, auto_exc=False)
class BufferedWriteError(MemtraceError):
    """Memories that a buffer could not store; or a buffer that is closed and takes no more.

    The other attributes are those of the first memory's error, which is also the cause.

    Attributes:
        failed: The memories, each with the reason. The buffer holds them no longer.
    """

    failed: list[tuple[AddMemoryRequest, MemtraceError]] = attrs.field(factory=list, kw_only=True)


class ResponseValidationError(MemtraceError):
    """The response does not match the contract."""
