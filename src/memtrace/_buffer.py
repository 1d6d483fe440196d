"""The queue of a buffer: what it holds, when a batch is due, and what becomes of each memory.

No thread, task, clock or I/O stands here; `memtrace._async.buffer` brings those.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import NamedTuple

import attrs
from memtrace_api.limits import ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS

from memtrace._config import require_number
from memtrace._values import refusal
from memtrace.exceptions import (
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    MemtraceError,
    NotFoundError,
)
from memtrace.models import AddMemoryRequest

# Bytes of a request body. A Memtrace server takes more; proxies in between often stop at 1 MiB.
MAX_BODY = 1_000_000

_MICROSECOND = timedelta(microseconds=1)
_FIELD = re.compile(r"memories[.\[](\d+)")
# What the server says of memories, and not of itself.
_REFUSALS = (BadRequestError, ConflictError, NotFoundError)

# A memory that could not be stored, and the reason.
Failure = tuple[AddMemoryRequest, MemtraceError]


class Queued(NamedTuple):
    """A memory in the queue: when it was added, and its size as JSON."""

    request: AddMemoryRequest
    since: float
    size: int


@attrs.frozen
class Batch:
    """Memories that are sent together, with the same idempotency key on every attempt."""

    memories: list[Queued]
    key: str = attrs.field(factory=lambda: os.urandom(16).hex())


@attrs.define(eq=False)
class Queue:
    """Memories that are not stored yet, and those that could not be, in their order.

    One batch is sent at a time. `take` returns the same one until `settle` or `fail` records its outcome, so
    that a batch whose sender was interrupted is sent again with its key.

    Attributes:
        max_batch: Most memories in a batch; `AsyncMemtrace.buffered` explains all four limits.
        max_delay: Most seconds that a memory waits for others.
        max_pending: Most memories held.
        max_bytes: Most bytes held.
        added: How many memories were ever added.
        failed: The memories that could not be stored; whoever reports them removes them.
    """

    max_batch: int
    max_delay: float
    max_pending: int
    max_bytes: int
    added: int = attrs.field(default=0, init=False)
    failed: list[Failure] = attrs.field(factory=list, init=False)
    _last_time: datetime = attrs.field(default=datetime.min.replace(tzinfo=UTC), init=False)
    _held: deque[Queued] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    # The first memories that are held: the batch that is being sent, then the parts of a refused one.
    _batches: deque[Batch] = attrs.field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        most = ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS
        require_number("max_batch", self.max_batch, 1, most, whole=True)
        require_number("max_delay", self.max_delay, 0, threading.TIMEOUT_MAX)
        require_number("max_pending", self.max_pending, self.max_batch)
        require_number("max_bytes", self.max_bytes, 1)

    def __len__(self) -> int:
        return len(self._held)

    def stamp(self, now: datetime) -> datetime:
        """Return a later time than the one before, even if the clock was set back: memories stay in order."""
        self._last_time = max(now, self._last_time + _MICROSECOND)
        return self._last_time

    def has_room(self, memories: Sequence[Queued]) -> bool:
        """Return whether these memories fit in now; BadRequestError if they never would."""
        count, size = len(memories), _size(memories)
        if count > self.max_pending or size > self.max_bytes:
            problem = (
                f"{counted(count)} of {size} bytes exceed max_pending={self.max_pending} or "
                f"max_bytes={self.max_bytes} of the buffer; add fewer at once"
            )
            raise refusal("memories", problem)
        return len(self) + count <= self.max_pending and self._bytes + size <= self.max_bytes

    def add(self, memories: Sequence[Queued]) -> None:
        """Append memories, for which there must be room."""
        self._held += memories
        self.added += len(memories)
        self._bytes += _size(memories)

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds a batch is due; None if there is nothing to send."""
        if not self._held:
            return None
        if self._batches or len(self._held) >= self.max_batch or self._bytes >= MAX_BODY:
            return 0.0
        return max(0.0, self._held[0].since + self.max_delay - now)

    def take(self, now: float) -> Batch | None:
        """Return the batch to send next; None if none is due by then."""
        if self.due_in(now) != 0:
            return None
        if not self._batches:
            self._batches.append(self._next())
        return self._batches[0]

    def settle(self, count: int) -> list[Failure]:
        """Record that the first memories of the batch are done with; the others are sent again."""
        rest = self._batches.popleft().memories[count:]
        if rest:
            self._batches.appendleft(Batch(rest))
        self._bytes -= sum(self._held.popleft().size for _ in range(count))
        return []

    def fail(self, error: MemtraceError) -> list[Failure]:
        """Record that the batch could not be stored, and return the memories that have failed.

        A memory that the server refuses fails alone. A batch that it refuses is sent again in parts: the
        memories that the error names alone; if it names none, two halves. If the server cannot be reached,
        all memories fail: to attempt one batch after the other would cost the caller as many timeouts.
        """
        if not isinstance(error, _REFUSALS):
            failed = [(memory.request, error) for memory in self._held]
            self._held.clear()
            self._batches.clear()
            self._bytes = 0
            return failed
        memories = self._batches[0].memories
        if len(memories) == 1:
            self.settle(1)
            return [(memories[0].request, error)]
        fields = [_FIELD.match(detail.field) for detail in error.details]
        named = {int(field[1]) for field in fields if field}
        cuts = (named | {index + 1 for index in named}) & {*range(1, len(memories))}
        edges = [0, *sorted(cuts or {len(memories) // 2}), len(memories)]
        self._batches.popleft()
        self._batches.extendleft([Batch(memories[i:j]) for i, j in pairwise(edges)][::-1])
        return []

    def _next(self) -> Batch:
        memories: list[Queued] = []
        size = len(b'{"memories":[}')  # the first memory brings no comma
        for memory in islice(self._held, self.max_batch):
            size += memory.size + len(b",")
            if memories and size > MAX_BODY:
                break
            memories.append(memory)
        return Batch(memories)


def write_error(failed: list[Failure]) -> BufferedWriteError:
    """Return the error that hands over memories that failed."""
    first = failed[0][1]
    problem = f"{counted(len(failed))} could not be stored: {first.message}"
    error = BufferedWriteError(problem, first.status_code, code=first.code, failed=failed)
    error.request_id, error.details, error.body = first.request_id, first.details, first.body
    error.__cause__ = first
    return error


def counted(memories: int) -> str:
    """Return a number of memories in words."""
    return "1 memory" if memories == 1 else f"{memories} memories"


def _size(memories: Sequence[Queued]) -> int:
    return sum(memory.size for memory in memories)
