"""A request and its response, whatever carries them: a socket or a call in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from memtrace_server.problems import Problem

JSON = "application/json"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks.

    This and all else that is made for each request is a struct, which is made in a fifth of the time.

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
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | bytearray = b""

    def __repr__(self) -> str:
        """Without the key, and what is to be remembered."""
        return f"Request({self.method} {self.path})"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers.

    Attributes:
        body: JSON, or empty.
        agent_id: The agent that the body tells about, if it is to be forgotten with that agent.
        resume: If there was nothing yet of what the client may wait for, the cursor from which to look again.
        forgotten: How many memories have been forgotten so far, if more are to be.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    agent_id: str | None = None
    resume: str | None = None
    forgotten: int | None = None

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing yet of what the client may wait for."""
        return self.resume is not None

    def __repr__(self) -> str:
        """Without what was remembered."""
        return f"Response({self.status}, {len(self.body)} bytes)"


def answer(
    status: int, value: object, headers: Mapping[str, str] | None = None, *, agent_id: str | None = None
) -> Response:
    """Return a response that carries `value` as JSON."""
    return Response(status=status, body=msgspec.json.encode(value), headers=headers or {}, agent_id=agent_id)


def refusal(problem: Problem, request_id: str) -> Response:
    """Return the response that reports a problem, by the contract's `Error` schema."""
    error: dict[str, Any] = {"error": problem.message, "code": problem.code, "request_id": request_id}
    if problem.details:
        error["details"] = [
            {"field": d.field, "location": d.place, "message": d.message} for d in problem.details
        ]
    if problem.existing_id is not None:
        error["existing_id"] = problem.existing_id
    return answer(problem.status, error, problem.headers)
