"""What is remembered and not stored yet: how much it may be, when it is sent, and what becomes of it.

There are no threads, no tasks, no clock and no I/O in here: those are in `memtrace._async.flusher`.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import attrs

from memtrace._requests import idempotent
from memtrace.exceptions import BadRequestError, BufferedWriteError, MemtraceError
from memtrace.models import AddMemoryRequest

# What the contract allows in a batch.
MOST_IN_BATCH = 1000
# Bytes of a batch's body. Our server takes more, but a proxy in between often no more than 1 MiB.
LARGEST_BODY = 1_000_000

_TICK = timedelta(microseconds=1)
_PLACE = re.compile(r"memories[.\[](\d+)\]?\.?")


@attrs.frozen(kw_only=True)
class Limits:
    """How much a buffer holds, and for how long.

    Attributes:
        max_batch: Memories in a batch at the most; as many are sent at once.
        max_delay: Seconds that a memory waits for others at the most.
        max_pending: Memories held at the most.
        max_bytes: Bytes of JSON held at the most.

    Raises:
        ValueError: If one of them cannot work.
    """

    max_batch: int
    max_delay: float
    max_pending: int
    max_bytes: int

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.max_batch <= MOST_IN_BATCH:
            raise ValueError(f"max_batch must be from 1 to {MOST_IN_BATCH}, not {self.max_batch!r}")
        if not (self.max_delay >= 0 and math.isfinite(self.max_delay)):
            raise ValueError(f"max_delay must be 0 or more seconds, not {self.max_delay!r}")
        if self.max_pending < self.max_batch:
            raise ValueError(
                f"max_pending must be at least max_batch ({self.max_batch}), not {self.max_pending!r}"
            )
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be 1 or more, not {self.max_bytes!r}")


# A memory that failed, as JSON, and the reason.
Failure = tuple[bytes, MemtraceError]


class Held(NamedTuple):
    """A memory that is held.

    Attributes:
        number: Which one it is, counted from 0.
        since: When it came.
        content: The request to store it, as JSON.
    """

    number: int
    since: float
    content: bytes


@attrs.frozen
class Batch:
    """Memories that are sent together.

    Attributes:
        memories: The memories, in order.
        key: The idempotency key: the same whenever these memories are sent.
    """

    memories: tuple[Held, ...]
    key: str = attrs.field(factory=lambda: idempotent(None))

    def __len__(self) -> int:
        return len(self.memories)

    @property
    def content(self) -> bytes:
        """The body of the request."""
        return b'{"memories":[%b]}' % b",".join(memory.content for memory in self.memories)

    @property
    def requests(self) -> list[AddMemoryRequest]:
        """The memories as request objects."""
        return [_request(memory.content) for memory in self.memories]


class Backlog:
    """The memories that a buffer holds: those that wait, those that are being sent, those that failed.

    One batch is sent at a time: `take` gives it, again and again until `stored`, `refused` or `given_up` says
    what became of it. So a batch whose sender was interrupted is not lost, and is sent again with its key.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Held] = deque()
        self._waiting_bytes = 0
        # What is left of batches that were refused; it came before all that waits.
        self._parts: deque[Batch] = deque()
        self._sending: Batch | None = None
        self._failed: list[Failure] = []
        self._count = 0
        self._bytes = 0
        self._stamp = datetime.min.replace(tzinfo=UTC)
        self.added = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held, not even what failed."""
        return self._count == 0

    @property
    def pending(self) -> int:
        """How many memories are held that are neither stored nor failed yet."""
        return self._count - len(self._failed)

    def stamp(self, now: datetime) -> datetime:
        """Give the time of a memory that has none: later than any before it, even if the clock was set back.

        It tells equal memories apart, and keeps them in order.
        """
        self._stamp = max(now, self._stamp + _TICK)
        return self._stamp

    def has_room(self, contents: Sequence[bytes]) -> bool:
        """Tell whether memories can be added now.

        Raises:
            BadRequestError: If they could not even be added to an empty backlog.
        """
        size = sum(map(len, contents))
        if len(contents) > self._limits.max_pending or size > self._limits.max_bytes:
            raise BadRequestError(
                f"{counted(len(contents))} of {size} bytes are more than the buffer ever holds "
                f"(max_pending={self._limits.max_pending}, max_bytes={self._limits.max_bytes})",
                code="invalid_request",
            )
        return (
            self._count + len(contents) <= self._limits.max_pending
            and self._bytes + size <= self._limits.max_bytes
        )

    def add(self, contents: Sequence[bytes], now: float) -> None:
        """Add memories, for which there must be room."""
        size = sum(map(len, contents))
        self._waiting.extend(
            Held(number, now, content) for number, content in enumerate(contents, start=self.added)
        )
        self._waiting_bytes += size
        self._bytes += size
        self._count += len(contents)
        self.added += len(contents)

    def due_in(self, now: float) -> float | None:
        """Tell in how many seconds a batch has to be sent; None if there is nothing to send."""
        if self._sending is not None or self._parts:
            return 0.0
        if not self._waiting:
            return None
        if len(self._waiting) >= self._limits.max_batch or self._waiting_bytes >= LARGEST_BODY:
            return 0.0
        return max(0.0, self._waiting[0].since + self._limits.max_delay - now)

    def is_settled(self, number: int) -> bool:
        """Tell whether all memories before the one of a number are stored or have failed."""
        first = self._sending or (self._parts[0] if self._parts else None)
        if first is not None:
            return first.memories[0].number >= number
        return not self._waiting or self._waiting[0].number >= number

    def take(self) -> Batch | None:
        """Give the batch to send next; None if there is nothing to send."""
        if self._sending is None:
            self._sending = self._parts.popleft() if self._parts else self._next()
        return self._sending

    def stored(self, batch: Batch, places: Collection[int] | None = None) -> None:
        """Note that the batch that was taken is stored: all of it, or the memories of these places."""
        self._sending = None
        rest = [] if places is None else _without(batch, places)
        self._let_go(memory.content for memory in batch.memories)
        self._again(rest)

    def refused(self, batch: Batch, error: MemtraceError) -> None:
        """Note that the batch that was taken is refused, and have it sent again without the culprits.

        They are those that the error names. If it names none, they are found by halving the batch.
        """
        self._sending = None
        self._let_go(memory.content for memory in batch.memories)
        culprits = _culprits(batch, error)
        if not culprits and len(batch) > 1:
            middle = len(batch) // 2
            self._again(batch.memories[middle:])
            self._again(batch.memories[:middle])
            return
        for place, reason in (culprits or {0: error}).items():
            self._fail(batch.memories[place].content, reason)
        self._again(_without(batch, culprits or {0}))

    def given_up(self, error: MemtraceError) -> None:
        """Note that there is no way to the server: all that is held has failed, in its order.

        To try batch after batch in vain would keep the caller waiting for as many timeouts.
        """
        batches = [self._sending] if self._sending is not None else []
        batches += self._parts
        contents = [memory.content for batch in batches for memory in batch.memories]
        contents += [memory.content for memory in self._waiting]
        self._sending = None
        self._parts.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._let_go(contents)
        for content in contents:
            self._fail(content, error)

    @property
    def failed(self) -> list[Failure]:
        """The memories that failed, in the order in which they did."""
        return list(self._failed)

    def hand_over(self) -> list[Failure]:
        """Give the memories that failed, and hold them no longer."""
        failed, self._failed = self._failed, []
        self._let_go(content for content, _ in failed)
        return failed

    def take_back(self, failed: Sequence[Failure]) -> None:
        """Hold memories again that were handed over to nobody."""
        for content, reason in failed:
            self._fail(content, reason)

    def _next(self) -> Batch | None:
        memories: list[Held] = []
        size = len(Batch(()).content)
        while self._waiting and len(memories) < self._limits.max_batch:
            size += len(self._waiting[0].content) + 1
            if memories and size > LARGEST_BODY:
                break
            memories.append(self._waiting.popleft())
            self._waiting_bytes -= len(memories[-1].content)
        return Batch(tuple(memories)) if memories else None

    def _again(self, memories: Sequence[Held]) -> None:
        """Send memories before all others, with a key of their own."""
        if memories:
            self._parts.appendleft(Batch(tuple(memories)))
            self._count += len(memories)
            self._bytes += sum(len(memory.content) for memory in memories)

    def _fail(self, content: bytes, reason: MemtraceError) -> None:
        self._failed.append((content, reason))
        self._count += 1
        self._bytes += len(content)

    def _let_go(self, contents: Iterable[bytes]) -> None:
        for content in contents:
            self._count -= 1
            self._bytes -= len(content)


def not_stored(failed: Sequence[Failure]) -> BufferedWriteError:
    """Make the error that hands over memories that failed."""
    first = failed[0][1]
    error = BufferedWriteError(
        f"{counted(len(failed))} could not be stored: {first.message}",
        first.status_code,
        code=first.code,
        request_id=first.request_id,
        details=first.details,
        body=first.body,
        failed=requests_of(failed),
    )
    error.__cause__ = first
    return error


def counted(memories: int) -> str:
    """Say how many memories there are."""
    return "1 memory" if memories == 1 else f"{memories} memories"


def requests_of(failed: Iterable[Failure]) -> list[tuple[AddMemoryRequest, MemtraceError]]:
    """Give memories that failed as request objects, each with the reason."""
    return [(_request(content), reason) for content, reason in failed]


def _request(content: bytes) -> AddMemoryRequest:
    # Not by from_dict, which refuses what a server may have refused too.
    fields = json.loads(content)
    if "time" in fields:
        fields["time"] = datetime.fromisoformat(fields["time"])
    return AddMemoryRequest(**fields)


def _without(batch: Batch, places: Collection[int]) -> list[Held]:
    return [memory for place, memory in enumerate(batch.memories) if place not in places]


def _culprits(batch: Batch, error: MemtraceError) -> dict[int, MemtraceError]:
    """Give the places of the memories that an error names, each with what it says of that memory."""
    details: dict[int, list[str]] = {}
    narrowed: dict[int, MemtraceError] = {}
    for detail in error.details:
        named = _PLACE.match(detail.field)
        place = int(named[1]) if named else len(batch)
        if named is None or place >= len(batch):
            continue
        reason = narrowed.setdefault(place, copy.copy(error))
        if place not in details:
            reason.details = []
        own = attrs.evolve(detail, field=detail.field[named.end() :])
        reason.details.append(own)
        details.setdefault(place, []).append(f"{own.field}: {own.message}" if own.field else own.message)
    for place, reason in narrowed.items():
        reason.message = "; ".join(details[place])
        reason.args = (reason.message,)
    return dict(sorted(narrowed.items()))
