"""What kept a request from being answered, as an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from memtrace._requests import Call
from memtrace.exceptions import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    MemtraceError,
    ResponseValidationError,
)

# All that httpx raises: RuntimeError is for a client that is closed, or whose event loop is.
FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError, RuntimeError)

# What the first of these that an error is an instance of means.
_MEANINGS: tuple[tuple[type[Exception], Callable[[str], MemtraceError], str], ...] = (
    (httpx.ConnectTimeout, APITimeoutError, "cannot connect in time"),
    (httpx.ConnectError, APIConnectionError, "cannot connect"),
    (httpx.PoolTimeout, APITimeoutError, "no connection of the pool became free in time"),
    (httpx.TimeoutException, APITimeoutError, "no answer in time"),
    (httpx.DecodingError, ResponseValidationError, "the answer cannot be decompressed"),
    (httpx.InvalidURL, partial(BadRequestError, code="invalid_request"), "cannot be sent"),
    (httpx.LocalProtocolError, APIConnectionError, "cannot be sent"),
    (httpx.UnsupportedProtocol, APIConnectionError, "cannot be sent"),
    (httpx.TransportError, APIConnectionError, "the connection was lost"),
    (Exception, APIConnectionError, "failed"),
)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NEVER_BETTER = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)


def failure_of(error: Exception, call: Call, base_url: str) -> MemtraceError:
    """Make the error that stands for one of FAILURES, which becomes its cause."""
    kind, meaning = next((kind, meaning) for cause, kind, meaning in _MEANINGS if isinstance(error, cause))
    # An embedded store says for itself why it cannot be opened.
    is_at_server = isinstance(error, httpx.ConnectError) and base_url.startswith("http")
    advice = "; is a Memtrace server running there?" if is_at_server else ""
    made = kind(f"{call} at {base_url}: {meaning}: {_reason(error)}{advice}")
    made.__cause__ = error
    return made


def was_sent(error: MemtraceError) -> bool:
    """Tell whether the request may have reached the server before it failed."""
    return not isinstance(error.__cause__, _NEVER_SENT)


def is_passing(error: APIConnectionError) -> bool:
    """Tell whether another try may fare better."""
    return isinstance(error.__cause__, httpx.TransportError) and not isinstance(
        error.__cause__, _NEVER_BETTER
    )


def _reason(error: Exception) -> str:
    name = type(error).__name__
    return f"{error} ({name})" if str(error) else name
