"""Whether to try a request again, and when."""

from __future__ import annotations

import os
from collections.abc import Collection

from memtrace._deadlines import Deadline
from memtrace._failures import is_passing, was_sent
from memtrace.exceptions import APIConnectionError, APIStatusError, MemtraceError, NoArcInstanceError

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

# Seconds. The wait before the n-th retry is random, from 0 to FIRST_WAIT * 2 ** (n - 1) or LONGEST_WAIT.
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
# A server that asks for a longer pause is not tried again: the caller knows better what to do with the time.
LONGEST_RETRY_AFTER = 60.0

_TOO_MANY_REQUESTS = 429


def chance() -> float:
    """Give a random number from 0 to 1, as random.SystemRandom does, whose import is a large one.

    It is the system's, so that forked processes do not all wait for the same time.
    """
    return int.from_bytes(os.urandom(7)) / (1 << 56)


class Retries:
    """The tries of one request.

    Attributes:
        deadline: When all of them have to be over.
        count: How many retries there were.
        may_have_landed: Whether one of the tries that failed may have been carried out all the same.
    """

    def __init__(self, most: int, deadline: Deadline, *, never_on: Collection[int] = ()) -> None:
        self.deadline = deadline
        self._most = most
        self._never_on = never_on
        self.count = 0
        self.may_have_landed = False

    def wait_after(self, error: MemtraceError) -> float | None:
        """Tell for how many seconds to wait before the next try; None if there is to be none.

        `Retry-After` is obeyed: the next try is never earlier than the server asked for, and later by a
        random time, so that clients that were all told the same do not come back together. No try begins
        after the deadline.
        """
        if not self._is_passing(error) or self.count >= self._most:
            return None
        asked_for = error.retry_after if isinstance(error, APIStatusError) else None
        if asked_for is not None and asked_for > LONGEST_RETRY_AFTER:
            return None
        wait = (asked_for or 0.0) + chance() * min(LONGEST_WAIT, FIRST_WAIT * 2.0**self.count)
        if not self.deadline.has_room_for(wait):
            return None
        self.count += 1
        if error.status_code != _TOO_MANY_REQUESTS and was_sent(error):
            self.may_have_landed = True
        return wait

    def _is_passing(self, error: MemtraceError) -> bool:
        if isinstance(error, APIConnectionError):
            return is_passing(error)
        if isinstance(error, NoArcInstanceError):
            # Until an administrator gives the organisation a database, the answer stays the same.
            return False
        return (
            isinstance(error, APIStatusError)
            and error.status_code in RETRIED_STATUSES
            and error.status_code not in self._never_on
        )
