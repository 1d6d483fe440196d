"""What kept a request from being answered, as an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from memtrace._requests import Call
from memtrace.exceptions import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    MemtraceError,
    ResponseValidationError,
)

# What an error means, by the name of its class or of one that it is derived from. httpx calls its errors as
# httpcore does, of which it is made; and no library need be imported for that. The last ones are aiohttp's.
_MEANINGS: dict[str, tuple[Callable[[str], MemtraceError], str]] = {
    "ConnectTimeout": (APITimeoutError, "cannot connect in time"),
    "ConnectError": (APIConnectionError, "cannot connect"),
    "PoolTimeout": (APITimeoutError, "no connection of the pool became free in time"),
    "TimeoutException": (APITimeoutError, "no answer in time"),
    "TimeoutError": (APITimeoutError, "no answer in time"),
    "DecodingError": (ResponseValidationError, "the answer cannot be decompressed"),
    "InvalidURL": (partial(BadRequestError, code="invalid_request"), "cannot be sent"),
    "LocalProtocolError": (APIConnectionError, "cannot be sent"),
    "UnsupportedProtocol": (APIConnectionError, "cannot be sent"),
    "ProxyError": (APIConnectionError, "the proxy failed"),
    "NetworkError": (APIConnectionError, "the connection was lost"),
    "ProtocolError": (APIConnectionError, "the connection was lost"),
    "ConnectionTimeoutError": (APITimeoutError, "cannot connect in time"),
    "ServerTimeoutError": (APITimeoutError, "no answer in time"),
    "ClientConnectorError": (APIConnectionError, "cannot connect"),
    "ClientConnectionError": (APIConnectionError, "the connection was lost"),
    "ClientPayloadError": (APIConnectionError, "the connection was lost"),
    "ClientResponseError": (APIConnectionError, "the connection was lost"),
    "Exception": (APIConnectionError, "failed"),
}
_NEVER_SENT = {
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "ConnectionTimeoutError",
    "ClientConnectorError",
}
_UNREACHED = {"ConnectError", "ClientConnectorError"}
_PASSING = {
    "TimeoutException",
    "NetworkError",
    "RemoteProtocolError",
    "ProxyError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ClientResponseError",
}


def failure_of(error: Exception, call: Call, base_url: str) -> MemtraceError:
    """Make the error that stands for another library's, which becomes its cause."""
    kind, meaning = next(_MEANINGS[name] for name in _names(error) if name in _MEANINGS)
    # An embedded store says for itself why it cannot be opened.
    is_at_server = not _UNREACHED.isdisjoint(_names(error)) and base_url.startswith("http")
    advice = "; is a Memtrace server running there?" if is_at_server else ""
    made = kind(f"{call} at {base_url}: {meaning}: {_reason(error)}{advice}")
    made.__cause__ = error
    return made


def was_sent(error: MemtraceError) -> bool:
    """Tell whether the request may have reached the server before it failed."""
    return _NEVER_SENT.isdisjoint(_names(error.__cause__))


def is_passing(error: APIConnectionError) -> bool:
    """Tell whether another try may fare better."""
    return not _PASSING.isdisjoint(_names(error.__cause__))


def _names(error: BaseException | None) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _reason(error: Exception) -> str:
    name = type(error).__name__
    return f"{error} ({name})" if str(error) else name
