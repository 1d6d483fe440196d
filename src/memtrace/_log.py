"""What the logger `memtrace` says of each try, at level DEBUG; never a key, a query or a body.

A record has the facts once more as `record.memtrace`, for who logs JSON.
"""

from __future__ import annotations

import logging

from memtrace._answers import Answer
from memtrace._requests import Call
from memtrace.exceptions import MemtraceError

logger = logging.getLogger("memtrace")


def answer(answer: Answer, resends: int, seconds: float) -> None:
    """Tell of a try that was answered.

    Args:
        answer: The answer.
        resends: How many tries there were before.
        seconds: How long it took.
    """
    if not logger.isEnabledFor(logging.DEBUG):
        return
    call, status, named, milliseconds = answer.call, answer.status, answer.request_id, seconds * 1000
    facts = _facts(call, resends, status=status, duration_ms=milliseconds, request_id=named)
    logger.debug(
        "%s: %d in %.1f ms, try %d, request %s", call, status, milliseconds, resends + 1, named, extra=facts
    )


def failure(call: Call, error: MemtraceError, resends: int, seconds: float) -> None:
    """Tell of a try that got no answer, or none that can be read; arguments as of `answer`."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    milliseconds = seconds * 1000
    facts = _facts(call, resends, duration_ms=milliseconds, error=str(error))
    logger.debug("%s: no answer in %.1f ms, try %d: %s", call, milliseconds, resends + 1, error, extra=facts)


def consequence(call: Call, error: MemtraceError, pause: float | None, retries: int) -> None:
    """Tell what follows an error.

    Args:
        call: The request.
        error: What went wrong.
        pause: Seconds until it is tried again; None if it is not.
        retries: How many retries there were, or will have been then.
    """
    if not logger.isEnabledFor(logging.DEBUG):
        return
    if pause is None:
        facts = _facts(call, retries, error=str(error))
        logger.debug("%s: given up after %d retries: %s", call, retries, error, extra=facts)
    else:
        facts = _facts(call, retries, error=str(error), pause_ms=pause * 1000)
        logger.debug("%s: retry %d in %.2f s, because of: %s", call, retries, pause, error, extra=facts)


def _facts(call: Call, resends: int, **more: object) -> dict[str, object]:
    return {"memtrace": {"method": call.method, "path": call.path, "try": resends + 1, **more}}
