"""Deadlines: the moment at which a client stops waiting for a response."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class DeadlineExceeded(Exception):  # noqa: N818 - the state, as in "503 Service Unavailable"
    """The deadline has passed; nothing was written."""


class Deadline:
    """A deadline.

    Args:
        seconds: The time from now; None for no deadline.
        clock: A monotonic clock, in seconds.

    Attributes:
        at: The moment, by the clock: inf without a deadline, -inf once it is cancelled.
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._on_cancel: Callable[[], None] | None = None
        self.at = math.inf if seconds is None else clock() + seconds

    def cancel(self) -> None:
        """End the deadline at once, as the client has left."""
        self.at = -math.inf
        call = self._on_cancel  # once: the block may end at any moment
        if call is not None:
            call()

    @contextmanager
    def when_cancelled(self, call: Callable[[], None]) -> Iterator[None]:
        """Call a function when the deadline is cancelled, for work that cannot check it meanwhile.

        Args:
            call: The function. The thread that cancels calls it; just after the end of the block, too.
        """
        self._on_cancel = call
        try:
            self.check()  # it may have been cancelled before
            yield
        finally:
            self._on_cancel = None

    def extend(self, seconds: float) -> None:
        """Move the deadline."""
        self.at += seconds

    def left(self) -> float:
        """Return the seconds that are left, as locks take them: -1 without a deadline."""
        return -1 if self.at == math.inf else max(0.0, self.at - self._clock())

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self._clock() >= self.at

    def check(self) -> None:
        """Stop work whose deadline has passed.

        Raises:
            DeadlineExceeded: The deadline has passed.
        """
        if self.is_over():
            raise DeadlineExceeded


_OBSERVED: ContextVar[Deadline | None] = ContextVar("memtrace_deadline", default=None)


@contextmanager
def observed(deadline: Deadline) -> Iterator[None]:
    """Make `check_observed` check a deadline, for functions that a database calls."""
    token = _OBSERVED.set(deadline)
    try:
        yield
    finally:
        _OBSERVED.reset(token)


def check_observed() -> None:
    """Stop the work of this thread if its deadline has passed.

    Raises:
        DeadlineExceeded: The deadline has passed.
    """
    deadline = _OBSERVED.get()
    if deadline is not None:
        deadline.check()


def end_of_wait(deadline: Deadline | None, patience: float) -> float:
    """Return when a wait ends, by `time.monotonic`: at the deadline, or else after `patience` seconds."""
    if deadline is not None and deadline.at != math.inf:
        return deadline.at
    return time.monotonic() + patience
