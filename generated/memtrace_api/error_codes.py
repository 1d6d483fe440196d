"""The error codes of the contract."""

from typing import Literal

ErrorCode = Literal[
    "invalid_request",
    "unauthorized",
    "forbidden",
    "filter_required",
    "not_found",
    "unknown_cursor",
    "method_not_allowed",
    "request_timeout",
    "duplicate_memory",
    "already_superseded",
    "agent_exists",
    "idempotency_key_reused",
    "answer_forgotten",
    "id_taken",
    "payload_too_large",
    "unsupported_media_type",
    "rate_limited",
    "headers_too_large",
    "internal_error",
    "unavailable",
    "deadline_exceeded",
    "outcome_unknown",
]
