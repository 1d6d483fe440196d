"""The attempts of a call: their deadline, failures, retries, log and trace.

The logger `memtrace` and OpenTelemetry never record a key, a query or a body. The facts of a log record are
also in `record.memtrace`, for logs in JSON.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import attrs

from memtrace import __version__
from memtrace._request import Call
from memtrace._response import RawResponse
from memtrace.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    MemtraceError,
    NoArcInstanceError,
    RateLimitError,
    ResponseValidationError,
)

if TYPE_CHECKING:
    from memtrace._http import Timeout

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

# Seconds. The delay before a retry is random, from 0 to this, which doubles with each retry up to 8 seconds.
FIRST_DELAY = 0.5
_MAX_DOUBLINGS = 4
# After a longer `Retry-After`, the error is raised: the caller knows better how to use the time.
MAX_RETRY_AFTER = 60.0
# Seconds. A host may have several addresses, and only the second may respond.
MAX_CONNECT = 5.0

# Seconds. With a limit of 0, a socket does not wait at all.
_MIN_STEP = 0.002

_unsendable = partial(BadRequestError, status_code=0, code="invalid_request")

# The error for a missing response, and its description, by the name of an exception's class or base class in
# Python or an HTTP library: all that a caller may supply have these names, and none is imported. RuntimeError
# is for a closed client or event loop, UnicodeError for an impossible host.
_MEANINGS: dict[str, tuple[Callable[[str], MemtraceError], str]] = {
    "ConnectTimeout": (APITimeoutError, "cannot connect in time"),
    "ConnectError": (APIConnectionError, "cannot connect"),
    "PoolTimeout": (APITimeoutError, "no connection of the pool became free in time"),
    "TimeoutException": (APITimeoutError, "no response in time"),
    "TimeoutError": (APITimeoutError, "no response in time"),
    "DecodingError": (ResponseValidationError, "the response cannot be decompressed"),
    "InvalidURL": (_unsendable, "cannot be sent"),
    "UnicodeError": (_unsendable, "cannot be sent"),
    "LocalProtocolError": (APIConnectionError, "cannot be sent"),
    "UnsupportedProtocol": (APIConnectionError, "cannot be sent"),
    "ProxyError": (APIConnectionError, "the proxy failed"),
    "NetworkError": (APIConnectionError, "the connection was lost"),
    "ProtocolError": (APIConnectionError, "the connection was lost"),
    "HTTPError": (APIConnectionError, "failed"),
    "StreamError": (APIConnectionError, "failed"),
    "CookieConflict": (APIConnectionError, "failed"),
    "RuntimeError": (APIConnectionError, "failed"),
}
# OpenSSL's errors for a lost connection.
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
_TRANSIENT = {"TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"}

logger = logging.getLogger("memtrace")


class Deadline(Mapping[str, float]):
    """The time by which a call has to end; or limits for each step of its attempts, if the caller gave those.

    As a mapping, for the HTTP library, it has the seconds that each step may take: those that are left of the
    call when the step begins.

    Args:
        timeout: Seconds for the whole call: its attempts, the delays between them, and reading the response.
            Or an `httpx.Timeout`, which bounds each step of each attempt and not the call. None bounds
            nothing.
    """

    def __init__(self, timeout: float | Timeout | None) -> None:
        self._timeout = timeout
        self._end = monotonic() + timeout if isinstance(timeout, float | int) else math.inf

    @property
    def extensions(self) -> dict[str, Any]:
        """The `extensions` of each request."""
        if self._timeout is None:
            return {}
        return {"timeout": self if isinstance(self._timeout, float | int) else self._timeout.as_dict()}

    def left(self) -> float | None:
        """Return the seconds that are left, 0 if none are; None if the call is not bounded."""
        return None if self._end == math.inf else max(0.0, self._end - monotonic())

    def check(self) -> None:
        """Raise TimeoutError if no time is left."""
        if self.left() == 0:
            raise TimeoutError("timed out")

    def __getitem__(self, step: str) -> float:
        left = max(_MIN_STEP, self._end - monotonic())
        return min(MAX_CONNECT, left / 2) if step == "connect" else left

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return 4


@attrs.define
class Retries:
    """The attempts of one call.

    Attributes:
        limit: How many retries there may be.
        deadline: When all attempts have to be over.
        never_on: Statuses that are final here.
        count: How many retries there were.
        may_have_been_applied: Whether an attempt that failed may have been carried out all the same.
    """

    limit: int
    deadline: Deadline
    never_on: Collection[int] = ()
    count: int = 0
    may_have_been_applied: bool = False

    def delay_after(self, error: MemtraceError) -> float | None:
        """Return the delay before the next attempt, in seconds; None if the error is final.

        `Retry-After` is honoured: the next attempt is never earlier than the server asked for, and later by a
        random time, so that clients with the same `Retry-After` do not all come together. No attempt begins
        after the deadline.
        """
        if not self._is_transient(error) or self.count >= self.limit:
            return None
        asked_for = error.retry_after if isinstance(error, APIStatusError) else None
        if asked_for is not None and asked_for > MAX_RETRY_AFTER:
            return None
        from random import SystemRandom  # noqa: PLC0415  # a large import, and retries are rare

        longest = FIRST_DELAY * 2.0 ** min(self.count, _MAX_DOUBLINGS)
        # From the system, so that forked processes differ, and those that set the same seed.
        delay = (asked_for or 0.0) + SystemRandom().random() * longest
        left = self.deadline.left()
        if left is not None and left <= delay:
            return None
        self.count += 1
        if not isinstance(error, RateLimitError) and was_sent(error):
            self.may_have_been_applied = True
        return delay

    def _is_transient(self, error: MemtraceError) -> bool:
        if isinstance(error, APIConnectionError):
            cause = error.__cause__
            return not _TRANSIENT.isdisjoint(_names(cause)) and _permanent_cause(cause) is None
        # Until an administrator gives an organisation of 0.x a database, the response stays the same.
        if not isinstance(error, APIStatusError) or isinstance(error, NoArcInstanceError):
            return False
        return error.status_code in RETRIED_STATUSES.difference(self.never_on)


def failure_of(error: Exception, call: Call, base_url: str, proxy: str | None) -> MemtraceError | None:
    """Return our error for one of the HTTP library or the embedded store; None if it is neither's."""
    names = _names(error)
    kind, meaning = next((_MEANINGS[name] for name in names if name in _MEANINGS), (None, ""))
    if kind is None:
        return None
    name = type(error).__name__
    # The message of an embedded store may have the URL and the meaning.
    message = str(error).removeprefix(f"{base_url}: ").removeprefix(f"{meaning}: ")
    reason = f"{message} ({name})" if message else name
    permanent, advice = _permanent_cause(error), ""
    if isinstance(permanent, ssl.SSLError):
        meaning = "the certificate or the TLS handshake is refused"
        advice = "; check base_url, SSL_CERT_FILE, or the certificates of the http_client"
    elif proxy is not None and not _NEVER_SENT.isdisjoint(names):
        meaning, advice = f"cannot connect through the proxy {proxy}", "; check the proxy"
    elif permanent is not None:
        meaning, advice = "the name of the host cannot be resolved", "; check base_url"
    elif "ConnectError" in names and base_url.startswith("http"):
        advice = "; is a Memtrace server running there?"
    return kind(f"{call} at {base_url}: {meaning}: {reason}{advice}")


def was_sent(error: MemtraceError) -> bool:
    """Return whether the request may have reached the server before it failed."""
    return _NEVER_SENT.isdisjoint(_names(error.__cause__))


@contextmanager
def span(call: Call, retries: Retries) -> Iterator[None]:
    """Trace a call, with all its attempts and delays; the attempts are traced by the HTTP library.

    The span is named for the method, has the operation, the number of retries and the error type, and is
    recorded as soon as the program has imported OpenTelemetry.
    """
    if "opentelemetry.trace" not in sys.modules:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415  # the program has it

    tracer = trace.get_tracer("memtrace", __version__)
    with tracer.start_as_current_span(
        f"memtrace.{call.operation}",
        attributes={"memtrace.operation": call.operation},
        # The message of an error may have text from a server.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__qualname__)
            current.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            current.set_attribute("memtrace.retries", retries.count)


def log_attempt(  # noqa: PLR0913, PLR0917  # two of them are for failures
    call: Call,
    attempt: int,
    started: float,
    raw: RawResponse | None,
    error: MemtraceError | None = None,
    delay: float | None = None,
) -> None:
    """Log an attempt: its response, its error, and the delay before the next one."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    facts = {
        "attempt": attempt,
        "duration_ms": round((perf_counter() - started) * 1000, 2),
        "status": raw and raw.status,
        "request_id": raw and raw.request_id,
        "error": error and str(error),
        "delay_ms": None if delay is None else round(delay * 1000),
    }
    known = {name: value for name, value in facts.items() if value is not None}
    text = ", ".join(f"{name} {value}" for name, value in known.items())
    logger.debug(
        "%s: %s", call, text, extra={"memtrace": {"method": call.method, "path": call.path, **known}}
    )


def _permanent_cause(error: BaseException | None) -> ssl.SSLError | socket.gaierror | None:
    """Return the cause of an error that makes retries useless, if there is one."""
    while error is not None:
        if isinstance(error, ssl.SSLError | socket.gaierror) and not (
            isinstance(error, _LOST) or error.errno == socket.EAI_AGAIN
        ):
            return error
        error = error.__cause__ or error.__context__
    return None


def _names(error: BaseException | None) -> list[str]:
    """Return the names of an error's classes that are Python's, an HTTP library's or the embedded server's.

    Others may have the same names: a hook of the caller's http_client may raise an HTTPError of urllib.
    """
    return [kind.__name__ for kind in type(error).__mro__ if _is_known(kind.__module__)]


def _is_known(module: str) -> bool:
    name = module.partition(".")[0]
    library = sys.modules.get(name)
    return name in {"builtins", "memtrace_server"} or (
        hasattr(library, "Client") and hasattr(library, "HTTPError")
    )
