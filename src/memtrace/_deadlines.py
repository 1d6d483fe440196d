"""How long a call may take."""

from __future__ import annotations

from time import monotonic

from memtrace._httpx import Timeout


class Deadline:
    """When a call has to be over; or how long each step of its tries may take, if that was asked for.

    Args:
        timeout: Seconds for the whole call: its tries, the pauses between them, and reading the answer. Or
            an `httpx.Timeout`, which bounds each step of each try and not the call. None bounds nothing.

    Attributes:
        seconds: Seconds for the whole call; None if it is not bounded.
        steps: Seconds for the steps `connect`, `read`, `write` and `pool` of each try, as httpx has them;
            None if they are not bounded by themselves.
    """

    def __init__(self, timeout: float | Timeout | None) -> None:
        self.seconds: float | None = None
        self.steps: dict[str, float | None] | None = None
        if isinstance(timeout, float | int):
            self.seconds = timeout
            self._end = monotonic() + timeout
        elif timeout is not None:
            self.steps = timeout.as_dict()

    def left(self) -> float | None:
        """Give the seconds that are left, 0 if none are; None if the call is not bounded."""
        return None if self.seconds is None else max(0.0, self._end - monotonic())

    def check(self) -> None:
        """See to it that there is time left.

        Raises:
            TimeoutError: If there is none.
        """
        if self.left() == 0:
            raise TimeoutError("timed out")

    def wait(self) -> float | None:
        """Give the seconds that waiting for a connection may take; None if they are not bounded."""
        return self.left() if self.steps is None else self.steps["pool"]

    def moment(self) -> Moment | None:
        """Give the end; None if the call is not bounded."""
        return None if self.seconds is None else Moment(self._end)

    def has_room_for(self, pause: float) -> bool:
        """Tell whether there is time left after a pause of so many seconds."""
        return self.seconds is None or self._end - monotonic() > pause


class Moment(float):
    """A time of `time.monotonic`, in a place where others put a number of seconds."""

    __slots__ = ()


def seconds_until(limit: float | None) -> float | None:
    """Give the seconds until a moment, 0 if it has passed. What is no moment is a number of seconds."""
    return max(0.0, limit - monotonic()) if isinstance(limit, Moment) else limit
