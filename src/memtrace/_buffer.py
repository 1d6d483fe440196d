"""What buffers of both clients share: memories that are not stored yet, and a thread that stores them."""

from __future__ import annotations

import atexit
import inspect
import logging
import math
import os
import re
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakSet

import attrs
import msgspec
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
# Seconds. The end of the main thread, or of an event loop, wakes no other thread, so a thread has to look.
POLL = 0.1
# Seconds to wait for a thread, as its `on_failure` may wait for the caller.
_JOIN = 5.0

_NAME = "memtrace-buffer"
_MICROSECOND = timedelta(microseconds=1)
_FIELD = re.compile(r"memories[.\[](\d+)")
# What the server says of memories, and not of itself.
_REFUSALS = (BadRequestError, ConflictError, NotFoundError)

# A memory that could not be stored, and the reason.
Failure = tuple[AddMemoryRequest, MemtraceError]

logger = logging.getLogger("memtrace")


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


@attrs.define(eq=False, repr=False, slots=False)
class Buffer(ABC):
    """A queue of memories, and a thread that stores them for as long as there are any.

    One batch is sent at a time, and again with its key if its sender was interrupted. Callers that must wait
    take turns with the thread at sending. So all is stored if no thread can be started, and a call by
    `on_failure` never waits for its own thread. `AsyncMemtrace.buffered` explains the limits.
    """

    # Whether every call may wait; if not, those of `_send`, `_drain` and `_end` alone.
    _may_wait = True

    _client: Any
    _max_batch: int
    _max_delay: float
    _max_pending: int
    _max_bytes: int
    _on_failure: Callable[[BufferedWriteError], None] | None

    def __attrs_post_init__(self) -> None:
        most, report = ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS, self._on_failure
        require_number("max_batch", self._max_batch, 1, most, whole=True)
        require_number("max_delay", self._max_delay, 0, threading.TIMEOUT_MAX)
        require_number("max_pending", self._max_pending, self._max_batch)
        require_number("max_bytes", self._max_bytes, 1)
        if inspect.iscoroutinefunction(report) or not (report is None or callable(report)):
            raise TypeError(f"on_failure: {report!r} cannot be called; give a function without async")
        self._is_closed = False
        self._start_empty()
        self._client._buffers.add(self)  # noqa: SLF001  # it closes them with itself
        _BUFFERS.add(self)

    def _start_empty(self) -> None:
        self._held: deque[Queued] = deque()
        self._bytes = self._added = 0
        # Those that are held first: the batch that is being sent, then the parts of a refused one.
        self._batches: deque[Batch] = deque()
        self._failed: list[Failure] = []
        self._last_time = datetime.min.replace(tzinfo=UTC)
        self._thread: threading.Thread | None = None
        self._mutex = threading.RLock()  # guards all of this; never held during I/O
        self._turn = threading.Lock()  # held while a batch is sent
        self._sender: int | None = None  # the thread that sends it
        self._wake = threading.Event()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.base_url!r})"

    @property
    def pending(self) -> int:
        """How many memories are neither stored nor failed."""
        return len(self._held)

    @property
    def failed(self) -> list[Failure]:
        """The memories that could not be stored and are not raised yet, each with its reason."""
        return list(self._failed)

    @abstractmethod
    def _store(self, batch: Batch) -> int:
        """Store a batch, and return how many of its first memories are stored; called by any thread."""

    def _queued(self, requests: Sequence[AddMemoryRequest]) -> list[Queued]:
        """Return memories as they are stored, with later times than those before, whatever the clock does."""
        for request in requests:
            if request.time is None:
                with self._mutex:
                    request.time = self._last_time = max(datetime.now(UTC), self._last_time + _MICROSECOND)
        now = monotonic()
        return [Queued(each, now, len(msgspec.json.encode(each.to_dict()))) for each in requests]

    def _take(self, memories: Sequence[Queued]) -> bool:
        """Take memories and return True; False if there is no room now. BadRequestError if there never is."""
        with self._mutex:
            if self._is_closed:
                raise BufferedWriteError("This buffer is closed; make a new one")
            self._raise_failed()
            if not self._has_room(memories):
                return False
            if self._thread is None:
                self._start_thread()
            self._held += memories
            self._added += len(memories)
            self._bytes += _size(memories)
            self._keep()
            if self._due_in(_now()) == 0:
                self._wake.set()
        if self._thread is None and self._may_wait and self._sender != threading.get_ident():
            self._drain()
        return True

    def _has_room(self, memories: Sequence[Queued]) -> bool:
        count, size = len(memories), _size(memories)
        if count > self._max_pending or size > self._max_bytes:
            problem = (
                f"{_counted(count)} of {size} bytes exceed max_pending={self._max_pending} or "
                f"max_bytes={self._max_bytes} of the buffer; add fewer at once"
            )
            raise refusal("memories", problem)
        return len(self._held) + count <= self._max_pending and self._bytes + size <= self._max_bytes

    def _drain(self) -> None:
        """Send all memories taken so far."""
        last = self._added
        while self._added - len(self._held) < last:
            self._send()

    def _end(self) -> None:
        """Take no more memories, send all, and wait a while for the thread."""
        with self._mutex:
            self._is_closed = True
        self._drain()
        self._wake.set()
        thread = self._thread
        # Threads that work in the background wait for no other.
        if thread is not None and threading.current_thread().name != _NAME:
            thread.join(_JOIN)

    def _conclude(self, exception: BaseException | None) -> None:
        """Raise failures at the end of a block; an exception that ended the block is not replaced."""
        if exception is None:
            self._raise_failed()
        elif self._failed:
            exception.add_note(f"{write_error(self._failed)}; see `failed` of the buffer")

    def _raise_failed(self) -> None:
        with self._mutex:
            failed, self._failed = self._failed, []
            self._keep()
        if failed:
            raise write_error(failed)

    def _keep(self) -> None:
        """Outlive the last reference as long as a memory is neither stored nor reported."""
        (_KEPT.add if self._held or self._failed else _KEPT.discard)(self)

    def _start_thread(self) -> None:
        # A daemon would be stopped in mid-request, and forks of multiprocessing call no function of atexit.
        self._thread = threading.Thread(target=self._work, name=_NAME, daemon=False)
        try:
            self._thread.start()
        except BaseException as error:  # too many threads, the interpreter ends, or Ctrl-C
            self._thread = None
            if not (self._may_wait and isinstance(error, RuntimeError)):
                raise
            logger.debug("Sending at once, as no thread can be started: %s", error)

    def _work(self) -> None:
        """Send what is due until nothing is left."""
        try:
            while True:
                with self._mutex:
                    now = _now()
                    delay = self._due_in(now)
                    if delay is None:
                        self._thread = None
                        return
                if delay > 0:
                    self._wake.wait(min(delay, POLL))
                    self._wake.clear()
                else:
                    self._send(now)
        except BaseException:  # a hook of the caller's http_client ends the thread
            self._thread = None
            self._drain()
            raise

    def _due_in(self, now: float) -> float | None:
        """Return in how many seconds a batch is due; None if there is nothing to send."""
        if not self._held:
            return None
        if self._batches or len(self._held) >= self._max_batch or self._bytes >= MAX_BODY:
            return 0.0
        return max(0.0, self._held[0].since + self._max_delay - now)

    def _send(self, now: float = math.inf, waiting: Sequence[Queued] = ()) -> None:
        """Send the batch that is due by then, unless there is room by now for memories that waited for it."""
        if self._sender == threading.get_ident():
            raise BufferedWriteError("A hook or a log handler that is called by a batch cannot wait for it")
        with self._turn:
            with self._mutex:
                if self._due_in(now) != 0 or (waiting and self._has_room(waiting)):
                    return
                if not self._batches:
                    self._batches.append(self._next())
                batch = self._batches[0]
            error: MemtraceError | None = None
            try:
                self._sender = threading.get_ident()
                stored = self._store(batch)
            except MemtraceError as raised:
                error = raised
            except Exception as raised:  # noqa: BLE001  # hooks of the caller's http_client may raise anything
                error = MemtraceError(f"Sending a batch failed: {raised!r}")
                error.__cause__ = raised
            finally:
                self._sender = None
            with self._mutex:
                failed = self._fail(error) if error else self._settle(stored)
                if not self._on_failure:
                    self._failed += failed
                self._keep()
        # Not in the turn, as what follows may well use this buffer.
        if failed:
            self._report(failed)

    def _next(self) -> Batch:
        memories: list[Queued] = []
        size = len(b'{"memories":[}')  # the first memory brings no comma
        for memory in islice(self._held, self._max_batch):
            size += memory.size + len(b",")
            if memories and size > MAX_BODY:
                break
            memories.append(memory)
        return Batch(memories)

    def _settle(self, count: int) -> list[Failure]:
        """Record that the first memories of the batch are done with; the others are sent again."""
        rest = self._batches.popleft().memories[count:]
        if rest:
            self._batches.appendleft(Batch(rest))
        self._bytes -= sum(self._held.popleft().size for _ in range(count))
        return []

    def _fail(self, error: MemtraceError) -> list[Failure]:
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
            self._settle(1)
            return [(memories[0].request, error)]
        fields = [_FIELD.match(detail.field) for detail in error.details]
        named = {int(field[1]) for field in fields if field}
        cuts = (named | {index + 1 for index in named}) & {*range(1, len(memories))}
        edges = [0, *sorted(cuts or {len(memories) // 2}), len(memories)]
        self._batches.popleft()
        self._batches.extendleft([Batch(memories[i:j]) for i, j in pairwise(edges)][::-1])
        return []

    def _report(self, failed: list[Failure]) -> None:
        error = write_error(failed)
        logger.warning("%s", error)
        if self._on_failure:
            try:
                self._on_failure(error)
            except BaseException as raised:
                with self._mutex:
                    self._failed += failed
                    self._keep()
                if not isinstance(raised, Exception):  # Ctrl-C, say
                    raise
                logger.exception("on_failure: it raised an error; what it was given is raised instead")


# All buffers; and those with memories that are not stored, which must not vanish with the last reference.
_BUFFERS: WeakSet[Buffer] = WeakSet()
_KEPT: set[Buffer] = set()


def write_error(failed: list[Failure]) -> BufferedWriteError:
    """Return the error that hands over memories that failed."""
    first = failed[0][1]
    problem = f"{_counted(len(failed))} could not be stored: {first.message}"
    error = BufferedWriteError(problem, first.status_code, code=first.code, failed=failed)
    error.request_id, error.details, error.body = first.request_id, first.details, first.body
    error.__cause__ = first
    return error


@atexit.register
def finish_at_exit() -> None:
    """Store what buffers still hold, or log that it is lost; threads and event loops have ended by then."""
    for buffer in list(_KEPT):
        try:
            buffer._end()  # noqa: SLF001  # no method for users
            buffer._raise_failed()  # noqa: SLF001  # the same
        except BufferedWriteError as error:
            logger.error("Lost: %s", error)  # noqa: TRY400  # the traceback ends here


def _after_fork() -> None:
    """Empty the buffers in a forked process; its parent stores what they hold."""
    _KEPT.clear()
    for buffer in list(_BUFFERS):
        buffer._start_empty()  # noqa: SLF001  # no method for users


# Windows has no forks.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)


def _now() -> float:
    """Return the time; infinity, by which all is due, if the interpreter waits only for such threads."""
    return monotonic() if threading.main_thread().is_alive() else math.inf


def _size(memories: Sequence[Queued]) -> int:
    return sum(memory.size for memory in memories)


def _counted(memories: int) -> str:
    return "1 memory" if memories == 1 else f"{memories} memories"
