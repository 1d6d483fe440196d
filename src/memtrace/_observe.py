"""What the logger `memtrace` and OpenTelemetry record of each call; never a key, a query or a body.

A log record has its facts once more as `record.memtrace`, for those who log JSON.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from memtrace._request import Call
from memtrace._response import RawResponse
from memtrace._retry import Retries
from memtrace._version import __version__
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


def log_response(response: RawResponse, retries: int, seconds: float) -> None:
    """Log an attempt that got a response.

    Args:
        response: The response.
        retries: How many attempts there were before.
        seconds: How long the attempt took.
    """
    if not logger.isEnabledFor(logging.DEBUG):
        return
    call, milliseconds = response.call, seconds * 1000
    facts = _facts(
        call, retries, status=response.status, duration_ms=milliseconds, request_id=response.request_id
    )
    logger.debug(
        "%s: %d in %.1f ms, attempt %d, request %s",
        call,
        response.status,
        milliseconds,
        retries + 1,
        response.request_id,
        extra=facts,
    )


def log_failure(call: Call, error: MemtraceError, retries: int, seconds: float) -> None:
    """Log an attempt that got no response, or none that can be read; arguments as for `log_response`."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    facts = _facts(call, retries, duration_ms=seconds * 1000, error=str(error))
    logger.debug(
        "%s: no response in %.1f ms, attempt %d: %s", call, seconds * 1000, retries + 1, error, extra=facts
    )


def log_retry(call: Call, error: MemtraceError, delay: float | None, retries: int) -> None:
    """Log what follows an error.

    Args:
        call: The request.
        error: What went wrong.
        delay: Seconds until the next attempt; None if there is none.
        retries: How many retries there were, with the next one.
    """
    if not logger.isEnabledFor(logging.DEBUG):
        return
    if delay is None:
        facts = _facts(call, retries, error=str(error))
        logger.debug("%s: failed after %d retries: %s", call, retries, error, extra=facts)
    else:
        facts = _facts(call, retries, error=str(error), delay_ms=delay * 1000)
        logger.debug("%s: retry %d in %.2f s, because of: %s", call, retries, delay, error, extra=facts)


def _facts(call: Call, retries: int, **more: object) -> dict[str, object]:
    return {"memtrace": {"method": call.method, "path": call.path, "attempt": retries + 1, **more}}
