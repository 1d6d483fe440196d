"""What can be wrong with a request: each problem has an HTTP status, and a code that stays the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from memtrace_api.error_codes import ErrorCode


@frozen
class Detail:
    """One thing that is wrong: the field, its place (path, query, header or body), and why."""

    field: str
    place: str
    message: str


class Problem(Exception):  # noqa: N818 - a response, and rarely an error of the server
    """What is reported by an error response.

    Attributes:
        status: The HTTP status.
        code: A word for programs, one of those that the contract lists.
        message: A sentence for people.
        details: For bad input, each field that is wrong.
        existing_id: For a conflict, the id of what exists already.
        headers: Headers that the status calls for.
    """

    def __init__(  # noqa: PLR0913 - one argument for each field of the contract's Error
        self,
        status: int,
        code: ErrorCode,
        message: str,
        *,
        details: Sequence[Detail] = (),
        existing_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.existing_id = existing_id
        self.headers = headers or {}


def invalid(details: Sequence[Detail]) -> Problem:
    """Return 400: the request is not what the contract says."""
    return Problem(400, "invalid_request", _told(details), details=details)


def _told(details: Sequence[Detail]) -> str:
    """Return the first few details in one line."""
    shown = "; ".join(f"{d.field}: {d.message}" for d in details[:3])
    more = f"; and {len(details) - 3} more" if len(details) > 3 else ""  # noqa: PLR2004 - as many as a line holds
    return shown + more


def malformed(message: str) -> Problem:
    """Return 400: the request is not HTTP, or could be read in several ways."""
    return Problem(400, "invalid_request", message)


def unauthorized(message: str) -> Problem:
    """Return 401: there is no key, or an unknown one."""
    return Problem(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> Problem:
    """Return 403: the key's role does not allow it."""
    return Problem(403, "forbidden", message)


def filter_required(names: Sequence[str]) -> Problem:
    """Return 403: without a filter, everything would be forgotten."""
    why = f"give at least one of {', '.join(names)}"
    message = f"Forgetting everything at once is not allowed; {why}"
    return Problem(403, "filter_required", message, details=[Detail("query", "query", why)])


def unknown_reference(detail: Detail) -> Problem:
    """Return 404: a field names something that does not exist."""
    return Problem(404, "not_found", f"{detail.field}: {detail.message}", details=[detail])


def not_found(what: str) -> Problem:
    """Return 404: it does not exist in this organisation."""
    return Problem(404, "not_found", f"No {what}")


def unknown_cursor(place: str) -> Problem:
    """Return 404: the cursor was not issued for this query."""
    why = "not issued for this query; take next_cursor of a page with the same filters and order"
    return Problem(404, "unknown_cursor", f"cursor: {why}", details=[Detail("cursor", place, why)])


def method_not_allowed(method: str, allowed: Sequence[str]) -> Problem:
    """Return 405: the path exists, but not for this method."""
    methods = ", ".join(allowed)
    message = f"{method} is not allowed here; allowed: {methods}"
    return Problem(405, "method_not_allowed", message, headers={"Allow": methods})


def conflict(
    code: ErrorCode,
    message: str | None = None,
    *,
    details: Sequence[Detail] = (),
    existing_id: str | None = None,
) -> Problem:
    """Return 409: it exists already; without a message, the details are the message."""
    return Problem(409, code, message or _told(details), details=details, existing_id=existing_id)


def too_large(limit: int) -> Problem:
    """Return 413: the body is larger than the server takes."""
    text = f"larger than {limit >> 20} MiB"
    return Problem(413, "payload_too_large", f"The body is {text}", details=[Detail("body", "body", text)])


def too_many_values(limit: int) -> Problem:
    """Return 413: the body has more JSON values than the server takes."""
    text = f"of more than {limit:,} JSON values"
    detail = Detail("body", "body", text)
    return Problem(413, "payload_too_large", f"The body is {text}", details=[detail])


def unsupported_media_type(content_type: str) -> Problem:
    """Return 415: the body is not JSON."""
    return _unsupported("Content-Type", content_type, "application/json")


def unsupported_coding(coding: str) -> Problem:
    """Return 415: the body is compressed."""
    return _unsupported("Content-Encoding", coding, "the body as it is", {"Accept-Encoding": "identity"})


def _unsupported(header: str, value: str, expected: str, headers: Mapping[str, str] | None = None) -> Problem:
    is_now = f"is {value[:100]}" if value else "is missing"
    detail = Detail(header.lower(), "header", f"send {expected}")
    message = f"{header} {is_now}; send {expected}"
    return Problem(415, "unsupported_media_type", message, details=[detail], headers=headers)


def timed_out(seconds: float) -> Problem:
    """Return 408: the rest of the request did not arrive in time."""
    message = f"The whole request did not come within {seconds:g} seconds"
    return Problem(408, "request_timeout", message, headers={"Connection": "close"})


def rate_limited(per_second: float, wait: int) -> Problem:
    """Return 429: too many requests with this key."""
    message = f"More than {per_second:g} requests a second with this key"
    return Problem(429, "rate_limited", message, headers={"Retry-After": str(wait)})


def too_many_failures(wait: int) -> Problem:
    """Return 429: too many requests without a valid key from this address."""
    message = "Too many failed authentications from this address; check the API key"
    return Problem(429, "rate_limited", message, headers={"Retry-After": str(wait)})


def head_too_large(what: str) -> Problem:
    """Return 431: the request line and the headers are more than the server takes."""
    return Problem(431, "headers_too_large", f"The request has {what} in its head")


def unavailable(message: str) -> Problem:
    """Return 503: the store is not available, and nothing was done."""
    return Problem(503, "unavailable", message, headers={"Retry-After": "1"})


def deadline_exceeded() -> Problem:
    """Return 503: the request took too long."""
    message = "The request took longer than the server allows (--request-timeout); ask for less at once"
    return Problem(503, "deadline_exceeded", message, headers={"Retry-After": "1"})


def outcome_unknown() -> Problem:
    """Return 503: the store was lost during a commit, which may have taken effect."""
    message = (
        "The storage was lost as it committed; the write may have been stored:"
        " retry it with its Idempotency-Key, or look for it first"
    )
    return Problem(503, "outcome_unknown", message)


def internal_error() -> Problem:
    """Return 500: the server has a defect; its log has the traceback."""
    message = "Internal server error; the server's log has the cause, under this request id"
    return Problem(500, "internal_error", message)
