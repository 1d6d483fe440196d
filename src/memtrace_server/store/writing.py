"""The queue of writes that wait for a store, and who commits them.

What makes durable writes fast is that writes which wait share a transaction, and so a sync to disk.

Who commits: a caller that blocks (`write`) takes the writer's lock and commits whatever waits, its own write
included, so a lone caller pays for no thread switch. For callers that must not block (`submit`), a thread
does the same.

Organisations take turns, by bytes: each write is due at the moment when it would be done if all organisations
that wait were served at the same rate (S. J. Golestani, "A self-clocked fair queueing scheme", 1994). So a
small write never waits for more than the transaction that is being committed and its fair share of the next
ones, however much its neighbours have sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from itertools import chain, count, repeat
from typing import Any

import msgspec
from attrs import define, field

from memtrace_server import times
from memtrace_server.deadlines import DeadlineExceeded, end_of_wait
from memtrace_server.store.protocol import (
    Outcome,
    StoreBusy,
    StoreReadOnly,
    StoreUnavailable,
    Told,
    Write,
)
from memtrace_server.store.turns import Turns

_LOG = logging.getLogger("memtrace_server")

PATIENCE = 60.0
"""Seconds to wait, for callers without a deadline."""

DELAYS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between attempts to write to what others have locked; the last one is repeated."""

GROUP = 512 << 10
"""Bytes of the writes in one transaction, but for a larger one, which has a transaction of its own."""

_BESIDES = 1 << 10  # bytes that a write counts besides its size: no more than 512 share a transaction
_TIDY_EVERY = times.SECOND
_LEAST_REST = times.SECOND // 1_000


class Unfinished(msgspec.Struct, frozen=True):
    """What a write returns that was done in part, so that others have their turns before the rest of it.

    Attributes:
        left: The rest.
    """

    left: Write


@define(eq=False)
class _Waiting:
    """A write that waits for its turn.

    Attributes:
        told: Who is told what came of it; None for a caller that blocks.
        left: What is still to be done of it.
        outcome: What came of it; its promise while another thread commits it.
        promise: What a caller that blocks waits for while another thread commits it.
    """

    write: Write
    ends_at: float
    told: Told | None
    left: Write
    outcome: Outcome[Any] | None = None
    promise: Future[Any] | None = None

    @property
    def cost(self) -> int:
        return self.left.size + _BESIDES

    def is_late(self, now: float) -> bool:
        """Return whether nobody waits for it any more."""
        deadline = self.write.deadline
        return now >= (self.ends_at if deadline is None else min(self.ends_at, deadline.at))


@define
class _Line:
    """Writes, in the order of their turns; those of one organisation in the order in which they were added.

    The rest of a write that was done in part is added anew, behind those that came meanwhile.
    """

    _queues: dict[int | None, deque[_Waiting]] = field(factory=dict)
    _turns: list[tuple[int, int, int | None]] = field(factory=list)  # when the first write of each is due
    _numbers: Iterator[int] = field(factory=count)
    _now: int = 0  # bytes

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, waiting: _Waiting) -> None:
        org = waiting.write.org
        if org in self._queues:
            self._queues[org].append(waiting)
        else:
            self._queues[org] = deque([waiting])
            self._line_up(waiting)

    def first(self) -> _Waiting:
        """Return the write whose turn it is."""
        return self._queues[self._turns[0][2]][0]

    def take(self) -> _Waiting:
        """Remove and return the write whose turn it is."""
        self._now, _, org = heappop(self._turns)
        queue = self._queues[org]
        taken = queue.popleft()
        if queue:
            self._line_up(queue[0])
        else:
            del self._queues[org]
        return taken

    def remove(self, is_gone: Callable[[_Waiting], bool]) -> set[_Waiting]:
        """Remove and return the writes for which this is true."""
        everything = list(chain.from_iterable(self._queues.values()))
        gone = {waiting for waiting in everything if is_gone(waiting)}
        if gone:
            self._queues.clear()
            self._turns.clear()
            for waiting in everything:
                if waiting not in gone:
                    self.add(waiting)
        return gone

    def _line_up(self, waiting: _Waiting) -> None:
        heappush(self._turns, (self._now + waiting.cost, next(self._numbers), waiting.write.org))


class Writing:
    """The queue of a store's writes, its writer's lock, and the thread that commits for others.

    Args:
        begin: Makes ready to write, or raises `StoreBusy` if another process is writing; asked again then.
        commit: Does writes in one transaction, no later than a moment, and returns their outcomes; one that
            is a future of its result is committed, and to be told later; one that is `Unfinished` has
            another turn. Returns a future of all outcomes if another thread does the writes, so that the next
            ones need not wait for them; each is final then.
        tidy: Does what nobody waits for, as of a moment (ns); with `sweeps`, what depends on the clock, too.
            Returns for how many times as long as it took others have their turns before it goes on with what
            it left; None if it left nothing.
        is_open: Returns whether there is anything to tidy.
        ended: Is told the rest of each write that was done in part, when nothing more comes of it.
        busy: Returns the error of a write whose time has ended.
        is_read_only: Whether nothing may be written.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that a store does
        self,
        *,
        begin: Callable[[], None],
        commit: Callable[[Sequence[Write], float], Sequence[Outcome[Any]] | Future[Sequence[Outcome[Any]]]],
        tidy: Callable[..., float | None],
        is_open: Callable[[], bool],
        busy: Callable[[], StoreBusy],
        is_read_only: bool,
        ended: Callable[[Write], None] = lambda _: None,
    ) -> None:
        self._begin = begin
        self._do = commit
        self._tidy = tidy
        self._is_open = is_open
        self._busy = busy
        self._is_read_only = is_read_only
        self._ended = ended
        self._line = _Line()
        self._lock = Turns()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self.is_closed = False
        """Whether nothing is accepted any more."""
        self._tidied_at = 0
        self._tidies_after = _TIDY_EVERY
        self._pace = times.Pace()

    def write(self, write: Write) -> Any:  # noqa: ANN401 - whatever the work returns
        """Return what a write returns, once it is committed."""
        (own,) = self._enqueue([write], None)
        while own.outcome is None:  # a group may be full before its turn comes
            left = max(0.0, own.ends_at - time.monotonic())
            if not self._lock.acquire(timeout=left):
                with self._wake:
                    if self._line.remove(lambda waiting: waiting is own):
                        self._end([own])
                        raise self._busy()
                    if own.outcome is not None:  # another caller, who waits for other processes, said so
                        break
                self._lock.acquire()  # it is being committed
            try:
                if own.outcome is None:
                    self._commit(own)
            finally:
                self._lock.release()
        result, failure = own.outcome
        if failure is not None:
            raise failure
        return result.result() if isinstance(result, Future) else result

    def submit(self, writes: Sequence[Write], told: Told | None) -> None:
        """Have writes committed, and tell what came of them."""
        self._enqueue(writes, told or _tell_nobody)
        self.start()

    def start(self) -> None:
        """Commit for others, and tidy also while nobody writes, until `close`."""
        with self._wake:
            if self._thread is None and not self.is_closed:
                self._thread = threading.Thread(target=self._run, name="memtrace-writer", daemon=True)
                self._thread.start()
            self._wake.notify()

    @contextmanager
    def held(self, ends_at: float) -> Iterator[None]:
        """Hold the writer's lock.

        Raises:
            StoreBusy: It was not free until then.
        """
        left = max(0.0, ends_at - time.monotonic())
        if not self._lock.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
            raise self._busy()
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Commit what waits, and accept nothing more."""
        with self._wake:
            self.is_closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            while self._line:
                self._commit()

    def _enqueue(self, writes: Sequence[Write], told: Told | None) -> list[_Waiting]:
        waiting = [_Waiting(write, end_of_wait(write.deadline, PATIENCE), told, write) for write in writes]
        with self._wake:
            if self.is_closed:
                raise StoreUnavailable("the store is closed")
            if self._is_read_only:
                raise StoreReadOnly
            for each in waiting:
                self._line.add(each)
        return waiting

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._line or self.is_closed, self._tidies_after / times.SECOND)
                if self.is_closed and not self._line:
                    return
            with self._lock:
                if self._line:
                    self._commit()
                else:
                    self._tidy_in_time()

    def _commit(self, own: _Waiting | None = None) -> None:
        """Commit the writes whose turn it is, and tell what came of them. Needs the writer's lock.

        Args:
            own: The caller's write; without one that waits, it has no reason to wait for other processes.
        """
        failure: BaseException | None = None
        try:
            if not self._begun(own):
                return  # nobody is left; who came since has not been waited for yet
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            failure = error
        group = self._take()
        outcomes: Sequence[Outcome[Any]] | Future[Sequence[Outcome[Any]]]
        outcomes = [(None, failure)] * len(group)
        if failure is None:
            ends_at = max((waiting.ends_at for waiting in group), default=0.0)
            try:
                outcomes = self._do([waiting.left for waiting in group], ends_at)
            except BaseException as error:  # noqa: BLE001 - as above
                outcomes = [(None, error)] * len(group)
        if isinstance(outcomes, Future):
            _tell_when_done(group, outcomes)
        else:
            finished = self._finished(group, outcomes)
            self._end(waiting for waiting, _ in finished)
            _tell(finished)
        self._tidy_in_time()

    def _finished(
        self, group: Sequence[_Waiting], outcomes: Sequence[Outcome[Any]]
    ) -> list[tuple[_Waiting, Outcome[Any]]]:
        """Return the writes that are done, with their outcomes; have the others wait for their next turn."""
        finished: list[tuple[_Waiting, Outcome[Any]]] = []
        for waiting, outcome in zip(group, outcomes, strict=True):
            result, _ = outcome
            if isinstance(result, Unfinished):
                waiting.left = result.left
                with self._wake:
                    self._line.add(waiting)
                    self._wake.notify()
            else:
                finished.append((waiting, outcome))
        return finished

    def _end(self, over: Iterable[_Waiting]) -> None:
        for waiting in over:
            if waiting.left is not waiting.write:
                self._ended(waiting.left)

    def _begun(self, own: _Waiting | None) -> bool:
        """Make ready to write; return False when no write, or not the caller's own, waits any more."""
        for delay in chain(DELAYS, repeat(DELAYS[-1])):
            try:
                self._begin()
            except StoreBusy:
                self._refuse_late()
            else:
                return True
            if not self._line or (own is not None and own.outcome is not None):
                break
            time.sleep(delay)
        return False

    def _take(self) -> list[_Waiting]:
        """Remove and return the writes that share the next transaction."""
        group: list[_Waiting] = []
        late: list[_Waiting] = []
        size = 0
        now = time.monotonic()
        with self._wake:
            while self._line and (not group or size + self._line.first().cost <= GROUP):
                taken = self._line.take()
                if taken.is_late(now):
                    late.append(taken)
                else:
                    group.append(taken)
                    size += taken.cost
        self._end(late)
        _tell((waiting, (None, self._too_late(waiting))) for waiting in late)
        return group

    def _refuse_late(self) -> None:
        """Tell that the time of writes has ended while other processes held the store."""
        now = time.monotonic()
        with self._wake:
            late = self._line.remove(lambda waiting: waiting.is_late(now))
            self._end(late)
            _tell((waiting, (None, self._busy())) for waiting in late)

    def _too_late(self, waiting: _Waiting) -> Exception:
        deadline = waiting.write.deadline
        is_over = deadline is not None and deadline.is_over()
        return DeadlineExceeded("others wrote until then") if is_over else self._busy()

    def _tidy_in_time(self) -> None:
        """Do what nobody waits for; what fails now, as the disk is full, say, is done another time."""
        now = times.now()
        if not self._is_open() or 0 <= now - self._tidied_at <= self._tidies_after:
            return
        self._tidied_at = now
        self._tidies_after = _TIDY_EVERY
        started = time.monotonic_ns()
        try:
            rest = self._tidy(now, sweeps=self._pace.is_steady())
            if rest is not None:
                self._tidied_at = times.now()
                self._tidies_after = max(_LEAST_REST, round(rest * (time.monotonic_ns() - started)))
        except StoreBusy:
            _LOG.debug("The store is tidied later, as others write")
        except (OSError, StoreUnavailable) as error:
            _LOG.warning("The store cannot be tidied now: %s", error)
        except Exception:  # noqa: BLE001 - whatever it is, others' writes go on
            _LOG.exception("The store could not be tidied")


def _tell(outcomes: Iterable[tuple[_Waiting, Outcome[Any]]]) -> None:
    """Tell what came of writes: in one call whoever waits for several of them."""
    by_told: dict[Told, list[tuple[Write, Outcome[Any]]]] = {}
    for waiting, outcome in outcomes:
        result, _ = outcome
        if waiting.told is None:
            _settle(waiting, outcome)
        elif isinstance(result, Future):
            result.add_done_callback(partial(_tell_late, waiting))
        else:
            by_told.setdefault(waiting.told, []).append((waiting.write, outcome))
    for told, heard in by_told.items():
        try:
            told(heard)
        except Exception:  # noqa: BLE001 - others must hear of theirs
            _LOG.exception("A writer could not be told that its writes are committed")


def _tell_when_done(group: Sequence[_Waiting], outcomes: Future[Sequence[Outcome[Any]]]) -> None:
    """Tell what came of writes that another thread commits; callers that block wait for it on their own."""
    for waiting in group:
        if waiting.told is None:
            waiting.promise = Future()
            waiting.outcome = (waiting.promise, None)
    outcomes.add_done_callback(partial(_tell_done, group))


def _tell_done(group: Sequence[_Waiting], done: Future[Sequence[Outcome[Any]]]) -> None:
    failure = done.exception()
    outcomes = [(None, failure)] * len(group) if failure else done.result()
    _tell(zip(group, outcomes, strict=True))


def _settle(waiting: _Waiting, outcome: Outcome[Any]) -> None:
    """Let a caller that blocks have its outcome."""
    result, failure = outcome
    if waiting.promise is None:
        waiting.outcome = outcome
    elif failure is None:
        waiting.promise.set_result(result)
    else:
        waiting.promise.set_exception(failure)


def _tell_late(waiting: _Waiting, result: Future[Any]) -> None:
    _tell([(waiting, (result.result(), None))])


def _tell_nobody(_: Sequence[tuple[Write, Outcome[Any]]]) -> None:
    pass
