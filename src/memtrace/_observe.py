"""What the logger `memtrace` and OpenTelemetry record of each call; never a key, a query or a body.

A log record has its facts once more as `record.memtrace`, for those who log JSON.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from memtrace import __version__
from memtrace._request import Call
from memtrace._response import RawResponse
from memtrace._retry import Retries
from memtrace.exceptions import MemtraceError

logger = logging.getLogger("memtrace")

_NO_SPAN = nullcontext()


def span(call: Call, retries: Retries) -> AbstractContextManager[None]:
    """Trace a call, with all its attempts and delays; the attempts are traced by the HTTP library.

    The span is named for the method, has the operation, the number of retries and the error type, and is
    recorded as soon as the program has imported OpenTelemetry.
    """
    return _span(call, retries) if "opentelemetry.trace" in sys.modules else _NO_SPAN


@contextmanager
def _span(call: Call, retries: Retries) -> Iterator[None]:
    from opentelemetry import trace  # noqa: PLC0415  # the program has it

    tracer = trace.get_tracer("memtrace", __version__)
    with tracer.start_as_current_span(
        f"memtrace.{call.operation}",
        attributes={"memtrace.operation": call.operation},
        # The message of an error may have what a server said.
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


def log_attempt(call: Call, outcome: RawResponse | MemtraceError, retries: int, seconds: float) -> None:
    """Log an attempt, after this number of retries: the response, or why there was none that can be read."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    duration = seconds * 1000
    if isinstance(outcome, RawResponse):
        status, request_id = outcome.status, outcome.request_id
        text = f"{status} in {duration:.1f} ms, attempt {retries + 1}, request {request_id}"
        _log(call, retries, text, status=status, duration_ms=duration, request_id=request_id)
    else:
        text = f"no response in {duration:.1f} ms, attempt {retries + 1}: {outcome}"
        _log(call, retries, text, duration_ms=duration, error=str(outcome))


def log_retry(call: Call, error: MemtraceError, delay: float | None, retries: int) -> None:
    """Log what follows an error: the delay before the next attempt, in seconds, or None if there is none."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    if delay is None:
        _log(call, retries, f"failed after {retries} retries: {error}", error=str(error))
    else:
        text = f"retry {retries} in {delay:.2f} s, because of: {error}"
        _log(call, retries, text, error=str(error), delay_ms=delay * 1000)


def _log(call: Call, retries: int, text: str, **facts: object) -> None:
    known = {"method": call.method, "path": call.path, "attempt": retries + 1, **facts}
    logger.debug("%s: %s", call, text, extra={"memtrace": known})
