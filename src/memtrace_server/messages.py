"""A request and its response, whatever carries them: a socket or a call in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import field, frozen

from memtrace_server.problems import Problem

JSON = "application/json"


@frozen(kw_only=True)
class Request:
    """What a client asks.

    Attributes:
        method: In capitals.
        path: As it was sent, still percent-encoded, without the query.
        query: What follows the question mark, still percent-encoded.
        headers: Names in lower case.
        body: The whole body.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class Response:
    """What the server answers.

    Attributes:
        body: JSON, or empty.
        agent_id: The agent that the body tells about, if it is to be forgotten with that agent.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict)
    agent_id: str | None = None


def answer(
    status: int, value: object, headers: Mapping[str, str] | None = None, *, agent_id: str | None = None
) -> Response:
    """A response that carries `value` as JSON."""
    return Response(status=status, body=msgspec.json.encode(value), headers=headers or {}, agent_id=agent_id)


def refusal(problem: Problem, request_id: str) -> Response:
    """The response that tells a problem, in the contract's `Error` schema."""
    error: dict[str, Any] = {"error": problem.message, "code": problem.code, "request_id": request_id}
    if problem.details:
        error["details"] = [
            {"field": d.field, "location": d.place, "message": d.message} for d in problem.details
        ]
    if problem.existing_id is not None:
        error["existing_id"] = problem.existing_id
    return answer(problem.status, error, problem.headers)
