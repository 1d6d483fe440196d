"""The queue of a buffer: what it holds, when a batch is due, and what becomes of each memory.

No thread, task, clock or I/O stands here; `memtrace._async.buffer` brings those.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections import deque
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import attrs
from memtrace_api.limits import ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS

from memtrace.exceptions import BadRequestError, BufferedWriteError, MemtraceError
from memtrace.models import AddMemoryRequest

# Bytes of a request body. A Memtrace server takes more; proxies in between often stop at 1 MiB.
MAX_BODY = 1_000_000

_MICROSECOND = timedelta(microseconds=1)
_FIELD = re.compile(r"memories[.\[](\d+)")

# A memory that could not be stored, and the reason.
Failure = tuple[AddMemoryRequest, MemtraceError]


@attrs.frozen(kw_only=True)
class Limits:
    """How much a buffer holds, and for how long; `AsyncMemtrace.buffered` explains each."""

    max_batch: int
    max_delay: float
    max_pending: int
    max_bytes: int

    def __attrs_post_init__(self) -> None:
        for name, low, high in (
            ("max_batch", 1, ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS),
            ("max_delay", 0, threading.TIMEOUT_MAX),
            ("max_pending", self.max_batch, None),
            ("max_bytes", 1, None),
        ):
            value = getattr(self, name)
            if not (value >= low and (high is None or value <= high)):
                allowed = f"{low} or more" if high is None else f"from {low} to {high}"
                raise ValueError(f"{name}: {value!r} is out of range; give {allowed}")


class Queued(NamedTuple):
    """A memory in the queue: how many were added before it, when it was added, and its size as JSON."""

    number: int
    since: float
    size: int
    request: AddMemoryRequest


@attrs.frozen
class Batch:
    """Memories that are sent together, with the same idempotency key on every attempt."""

    memories: list[Queued]
    key: str = attrs.field(factory=lambda: os.urandom(16).hex())


class Queue:
    """Memories that are not stored yet, and those that could not be.

    One batch is sent at a time. `take` returns the same one until `settle`, `refuse` or `give_up` records its
    outcome, so that a batch whose sender was interrupted is sent again with its key.

    Attributes:
        added: How many memories were ever added.
        pending: How many memories are neither stored nor failed.
        failed: The memories that could not be stored, in that order; whoever reports them empties the list.
    """

    def __init__(self, limits: Limits) -> None:
        self.added: int = 0
        self.pending: int = 0
        self.failed: list[Failure] = []
        self._limits = limits
        self._last_time = datetime.min.replace(tzinfo=UTC)
        self._bytes = 0
        self._waiting: deque[Queued] = deque()
        self._waiting_bytes = 0
        # The batch that is being sent, then what is left of refused batches; all older than `_waiting`.
        self._batches: deque[Batch] = deque()

    def stamp(self, now: datetime) -> datetime:
        """Return a later time than the one before, even if the clock was set back: memories stay in order."""
        self._last_time = max(now, self._last_time + _MICROSECOND)
        return self._last_time

    def has_room(self, sizes: Sequence[int]) -> bool:
        """Return whether memories of these sizes fit in now; BadRequestError if they never would."""
        count, size, limits = len(sizes), sum(sizes), self._limits
        if count > limits.max_pending or size > limits.max_bytes:
            raise BadRequestError(
                f"memories: {counted(count)} of {size} bytes exceed max_pending={limits.max_pending} or "
                f"max_bytes={limits.max_bytes} of the buffer; add fewer at once",
                0,
                code="invalid_request",
            )
        return self.pending + count <= limits.max_pending and self._bytes + size <= limits.max_bytes

    def add(self, requests: Sequence[AddMemoryRequest], sizes: Sequence[int], now: float) -> None:
        """Append memories, for which there must be room."""
        for request, size in zip(requests, sizes, strict=True):
            self._waiting.append(Queued(self.added, now, size, request))
            self.added += 1
            self.pending += 1
            self._bytes += size
            self._waiting_bytes += size

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds a batch is due; None if there is nothing to send."""
        if self._batches:
            return 0.0
        if not self._waiting:
            return None
        if len(self._waiting) >= self._limits.max_batch or self._waiting_bytes >= MAX_BODY:
            return 0.0
        return max(0.0, self._waiting[0].since + self._limits.max_delay - now)

    def is_settled(self, number: int) -> bool:
        """Return whether the first memories, up to this number, are all stored or failed."""
        firsts = [batch.memories[0] for batch in self._batches] or [*itertools.islice(self._waiting, 1)]
        return all(memory.number >= number for memory in firsts)

    def take(self) -> Batch | None:
        """Return the batch to send next; None if there is nothing to send."""
        if not self._batches and self._waiting:
            self._batches.append(self._next())
        return self._batches[0] if self._batches else None

    def settle(self, batch: Batch, indexes: Collection[int]) -> None:
        """Record that the memories at these indexes of the batch are done with; the others are sent again."""
        self._batches.popleft()
        self.pending -= len(indexes)
        self._bytes -= sum(batch.memories[index].size for index in indexes)
        rest = [memory for index, memory in enumerate(batch.memories) if index not in indexes]
        if rest:
            self._batches.appendleft(Batch(rest))

    def refuse(self, batch: Batch, error: MemtraceError) -> None:
        """Record that the batch is refused: a memory alone fails, others are sent again in smaller batches.

        The memories that the error names are sent alone, after the others; if it names none, in two halves.
        """
        memories = batch.memories
        if len(memories) == 1:
            self.failed.append((memories[0].request, error))
            self.settle(batch, [0])
            return
        fields = [_FIELD.match(detail.field) for detail in error.details]
        named = sorted({int(field[1]) for field in fields if field} & set(range(len(memories))))
        parts = [[memory for index, memory in enumerate(memories) if index not in named]]
        parts += [[memories[index]] for index in named]
        if not named:
            middle = len(memories) // 2
            parts = [memories[:middle], memories[middle:]]
        self._batches.popleft()
        self._batches.extendleft(Batch(part) for part in reversed(parts) if part)

    def give_up(self, error: MemtraceError) -> None:
        """Record that the server cannot be reached: all memories fail, in order.

        To attempt one batch after the other would cost the caller as many timeouts.
        """
        memories = [memory for batch in self._batches for memory in batch.memories] + list(self._waiting)
        self.failed += [(memory.request, error) for memory in memories]
        self._batches.clear()
        self._waiting.clear()
        self.pending = self._bytes = self._waiting_bytes = 0

    def _next(self) -> Batch:
        memories: list[Queued] = []
        size = len(b'{"memories":[}')  # the first memory brings no comma
        while self._waiting and len(memories) < self._limits.max_batch:
            size += self._waiting[0].size + len(b",")
            if memories and size > MAX_BODY:
                break
            memories.append(self._waiting.popleft())
            self._waiting_bytes -= memories[-1].size
        return Batch(memories)


def write_error(failed: Sequence[Failure]) -> BufferedWriteError:
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
