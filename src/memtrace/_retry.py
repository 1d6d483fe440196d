"""How long a call may take, what its failures mean, and whether and when to retry."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from memtrace._request import Call, unsendable
from memtrace.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    MemtraceError,
    NoArcInstanceError,
    ResponseValidationError,
)

if TYPE_CHECKING:
    from memtrace._http import Timeout

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

# Seconds. The delay before the n-th retry is random, from 0 to FIRST_DELAY * 2 ** (n - 1) or MAX_DELAY.
FIRST_DELAY = 0.5
MAX_DELAY = 8.0
_MAX_DOUBLINGS = 16
# A server that asks for a longer delay is not asked again: the caller knows better what to do with the time.
MAX_RETRY_AFTER = 60.0
# Seconds. A host may have several addresses, and only the next one may answer.
MAX_CONNECT = 5.0

_MIN_STEP = 0.001
_TOO_MANY_REQUESTS = 429

# What an error means, by the name of its class or of a base class: every HTTP library that a caller may
# supply has these names, and none needs to be imported for them.
_MEANINGS: dict[str, tuple[Callable[[str], MemtraceError], str]] = {
    "ConnectTimeout": (APITimeoutError, "cannot connect in time"),
    "ConnectError": (APIConnectionError, "cannot connect"),
    "PoolTimeout": (APITimeoutError, "no connection of the pool became free in time"),
    "TimeoutException": (APITimeoutError, "no response in time"),
    "TimeoutError": (APITimeoutError, "no response in time"),
    "DecodingError": (ResponseValidationError, "the response cannot be decompressed"),
    "InvalidURL": (unsendable, "cannot be sent"),
    "UnicodeError": (unsendable, "cannot be sent"),
    "LocalProtocolError": (APIConnectionError, "cannot be sent"),
    "UnsupportedProtocol": (APIConnectionError, "cannot be sent"),
    "ProxyError": (APIConnectionError, "the proxy failed"),
    "NetworkError": (APIConnectionError, "the connection was lost"),
    "ProtocolError": (APIConnectionError, "the connection was lost"),
    "Exception": (APIConnectionError, "failed"),
}
# What OpenSSL says of a connection that was lost.
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
_TRANSIENT = {"TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"}


class Deadline:
    """When a call has to be over; or how long each step of its attempts may take, if that was asked for.

    Args:
        timeout: Seconds for the whole call: its attempts, the delays between them, and reading the response.
            Or an `httpx.Timeout`, which bounds each step of each attempt and not the call. None bounds
            nothing.

    Attributes:
        seconds: Seconds for the whole call; None if it is not bounded.
    """

    def __init__(self, timeout: float | Timeout | None) -> None:
        self.seconds: float | None = None
        # For the HTTP library, which takes these for each request.
        self.extensions: dict[str, Any] = {}
        if isinstance(timeout, float | int):
            self.seconds = timeout
            self._end = monotonic() + timeout
            self.extensions["timeout"] = _StepTimeouts(self)
        elif timeout is not None:
            self.extensions["timeout"] = timeout.as_dict()

    def left(self) -> float | None:
        """Return the seconds that are left, 0 if none are; None if the call is not bounded."""
        return None if self.seconds is None else max(0.0, self._end - monotonic())

    def check(self) -> None:
        """Raise TimeoutError if no time is left."""
        if self.left() == 0:
            raise TimeoutError("timed out")

    def has_room_for(self, delay: float) -> bool:
        """Return whether time is left after a delay."""
        return self.seconds is None or self._end - monotonic() > delay


class _StepTimeouts(Mapping[str, float]):
    """What each step of an attempt may take: what is left of the call when the step begins."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __getitem__(self, step: str) -> float:
        left = self._deadline.left() or 0.0
        # A limit of 0 would make a socket that never waits.
        return max(_MIN_STEP, min(MAX_CONNECT, left / 2) if step == "connect" else left)

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return 4


class Retries:
    """The attempts of one call.

    Attributes:
        deadline: When all of them have to be over.
        count: How many retries there were.
        may_have_been_applied: Whether an attempt that failed may have been carried out all the same.
    """

    def __init__(self, limit: int, deadline: Deadline, *, never_on: Collection[int] = ()) -> None:
        self.deadline = deadline
        self._limit = limit
        self._never_on = never_on
        self.count = 0
        self.may_have_been_applied = False

    def delay_after(self, error: MemtraceError) -> float | None:
        """Return the seconds to wait before the next attempt; None if there is to be none.

        `Retry-After` is honoured: the next attempt is never earlier than the server asked for, and later by a
        random time, so that clients that were all told the same do not come back together. No attempt begins
        after the deadline.
        """
        if not self._is_transient(error) or self.count >= self._limit:
            return None
        asked_for = error.retry_after if isinstance(error, APIStatusError) else None
        if asked_for is not None and asked_for > MAX_RETRY_AFTER:
            return None
        delay = (asked_for or 0.0) + jitter() * min(
            MAX_DELAY, FIRST_DELAY * 2.0 ** min(self.count, _MAX_DOUBLINGS)
        )
        if not self.deadline.has_room_for(delay):
            return None
        self.count += 1
        if error.status_code != _TOO_MANY_REQUESTS and was_sent(error):
            self.may_have_been_applied = True
        return delay

    def _is_transient(self, error: MemtraceError) -> bool:
        if isinstance(error, APIConnectionError):
            return _is_transient_failure(error)
        if isinstance(error, NoArcInstanceError):
            # Until an administrator gives the organisation a database, the response stays the same.
            return False
        return (
            isinstance(error, APIStatusError)
            and error.status_code in RETRIED_STATUSES
            and error.status_code not in self._never_on
        )


def jitter() -> float:
    """Return a random number from 0 to 1.

    It comes from the system, so that forked processes differ; random.SystemRandom is a large import.
    """
    return int.from_bytes(os.urandom(7)) / (1 << 56)


def failure_of(error: Exception, call: Call, base_url: str, proxy: object = None) -> MemtraceError:
    """Make the error that stands for another library's, which becomes its cause.

    Args:
        error: What the HTTP library, or the embedded store, raised.
        call: The request that failed.
        base_url: Where it was sent, as it may be shown.
        proxy: The proxy that it was sent through, as it may be shown.
    """
    kind, meaning = next(_MEANINGS[name] for name in _names(error) if name in _MEANINGS)
    reason = f"{error} ({type(error).__name__})" if str(error) else type(error).__name__
    advice = ""
    if isinstance(permanent := _permanent_cause(error), ssl.SSLError):
        meaning = "the certificate or the TLS handshake is refused"
        advice = "; check base_url, SSL_CERT_FILE, or the certificates of the http_client"
    elif permanent is not None:
        meaning, advice = "the name of the host cannot be resolved", "; check base_url"
    elif "ConnectError" in _names(error) and base_url.startswith("http"):
        advice = "; is a Memtrace server running there?"
    is_unreached = not _NEVER_SENT.isdisjoint(_names(error)) and not isinstance(permanent, ssl.SSLError)
    if proxy is not None and is_unreached:
        meaning, advice = f"cannot connect through the proxy {proxy}", "; check the proxy"
    made = kind(f"{call} at {base_url}: {meaning}: {reason}{advice}")
    made.__cause__ = error
    return made


def was_sent(error: MemtraceError) -> bool:
    """Return whether the request may have reached the server before it failed."""
    return _NEVER_SENT.isdisjoint(_names(error.__cause__))


def _is_transient_failure(error: APIConnectionError) -> bool:
    cause = error.__cause__
    return not _TRANSIENT.isdisjoint(_names(cause)) and _permanent_cause(cause) is None


def _permanent_cause(error: BaseException | None) -> ssl.SSLError | socket.gaierror | None:
    """Return what in the chain of causes no retry will mend."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(
            error, ssl.SSLEOFError | ssl.SSLZeroReturnError
        ):
            return error
        if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
            return error
        error = error.__cause__ or error.__context__
    return None


def _names(error: BaseException | None) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]
