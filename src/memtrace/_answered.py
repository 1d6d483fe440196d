"""A result together with the answer that it was made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Generic, ParamSpec, TypeVar

import attrs

from memtrace._answers import Answer
from memtrace._httpx import Response

P = ParamSpec("P")
T = TypeVar("T")

# A method of either client, or of a session handle.
AsyncMethod = Callable[P, Awaitable[T]]
Method = Callable[P, T]


@attrs.frozen(slots=False)  # for the property that is made once
class Answered(Generic[T]):
    """What a method returned, and the answer of the server that it was made of.

    Attributes:
        result: What the method returned.
        retries: How often a request was sent again.
    """

    result: T
    retries: int
    _answer: Answer = attrs.field(repr=False)

    @property
    def request_id(self) -> str | None:
        """Names the request in the server's log; None if the server gave no name."""
        return self._answer.request_id

    @cached_property
    def response(self) -> Response:
        """The last answer that the method got, as httpx has it: status, headers, body, and its request."""
        return self._answer.response()


@attrs.define
class Heard:
    """What was answered while somebody listens."""

    answer: Answer | None = None
    retries: int = 0

    def with_result(self, result: T, method: Callable[..., object]) -> Answered[T]:
        """Put a result to what was heard.

        Raises:
            TypeError: If nothing was.
        """
        if self.answer is None:
            name = getattr(method, "__name__", repr(method))
            raise TypeError(f"{name} got no answer before it returned, so there is none to give")
        return Answered(result, self.retries, self.answer)


_LISTENING: ContextVar[Heard | None] = ContextVar("memtrace_listening", default=None)


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear each answer to this task or thread while the block lasts."""
    heard = Heard()
    token = _LISTENING.set(heard)
    try:
        yield heard
    finally:
        _LISTENING.reset(token)


def hear_answer(answer: Answer) -> None:
    """Tell of an answer, whatever it says, to who listens."""
    heard = _LISTENING.get()
    if heard is not None:
        heard.answer = answer


def hear_retry() -> None:
    """Tell that a request is sent again to who listens."""
    heard = _LISTENING.get()
    if heard is not None:
        heard.retries += 1
