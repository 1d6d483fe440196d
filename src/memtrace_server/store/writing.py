"""The queue of a store's writes, and their commits.

Durable writes are fast because queued writes share a transaction, and therefore a sync to disk.

A blocking caller (`write`) takes the writer's lock and commits all queued writes including its own, so that a
lone caller needs no thread switch. For callers that must not block (`submit`), a thread does the same.

Organisations take turns, by bytes: each write is due at the moment at which it would be done if all queued
organisations were served at the same rate (S. J. Golestani, "A self-clocked fair queueing scheme", 1994). So
a small write never waits for more than the current transaction and its fair share of the next ones, however
much other organisations have sent.
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
    Report,
    StoreBusy,
    StoreReadOnly,
    StoreUnavailable,
    Write,
)
from memtrace_server.store.turns import Turns

_LOG = logging.getLogger("memtrace_server")

PATIENCE = 60.0
"""Seconds that callers without a deadline wait."""

DELAYS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between attempts to write while other processes hold the lock; the last one is repeated."""

GROUP = 512 << 10
"""Maximum bytes of the writes in one transaction; a larger write has a transaction of its own."""

_OVERHEAD = 1 << 10  # bytes that a write counts besides its size, so that at most 512 share a transaction
_TIDY_EVERY = times.SECOND
_LEAST_REST = times.SECOND // 1_000


class Unfinished(msgspec.Struct, frozen=True):
    """The result of a partly done write, before whose rest other writes have their turns.

    Attributes:
        left: The rest of the write.
    """

    left: Write


@define(eq=False)
class _Waiting:
    """A queued write.

    Attributes:
        report: The function to call with the outcome; None for a blocking caller.
        left: The part that is still to be done.
        outcome: The outcome, or `promise` while another thread commits the write.
        promise: The future that a blocking caller waits for while another thread commits the write.
    """

    write: Write
    ends_at: float
    report: Report | None
    left: Write
    outcome: Outcome[Any] | None = None
    promise: Future[Any] | None = None

    @property
    def cost(self) -> int:
        return self.left.size + _OVERHEAD

    def is_late(self, now: float) -> bool:
        """Return whether the caller has stopped waiting."""
        deadline = self.write.deadline
        return now >= (self.ends_at if deadline is None else min(self.ends_at, deadline.at))


@define
class _Line:
    """Queued writes in the order of their turns; writes of one organisation in the order of arrival.

    The rest of a partly done write is added again, behind writes that arrived meanwhile.
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
        """Return the next write."""
        return self._queues[self._turns[0][2]][0]

    def take(self) -> _Waiting:
        """Remove and return the next write."""
        self._now, _, org = heappop(self._turns)
        queue = self._queues[org]
        taken = queue.popleft()
        if queue:
            self._line_up(queue[0])
        else:
            del self._queues[org]
        return taken

    def remove(self, is_gone: Callable[[_Waiting], bool]) -> set[_Waiting]:
        """Remove and return the writes for which `is_gone` is true."""
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
        begin: Prepares to write, or raises `StoreBusy` if another process is writing; called again then.
        commit: Does writes in one transaction, no later than a moment, and returns their outcomes. If an
            outcome is a future, the write is committed and is to be reported later; an `Unfinished` write has
            another turn. If another thread does the writes, so that the next ones need not wait, it returns a
            future of all outcomes, each of which is final.
        tidy: Does maintenance that no caller waits for, as of a moment (ns); with `sweeps`, also maintenance
            that depends on the clock. Returns None if it is complete, otherwise the time that others have
            before it continues, as a multiple of its own duration.
        is_open: Returns whether the store is open, so that maintenance is possible.
        ended: Called with the rest of each partly done write that is not continued.
        busy: Returns the error of a write whose time has ended.
        is_read_only: Whether the store is read only.
    """

    def __init__(  # noqa: PLR0913 - a store supplies several functions
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
        """Whether new writes are refused."""
        self._tidied_at = 0
        self._tidies_after = _TIDY_EVERY
        self._pace = times.Pace()

    def write(self, write: Write) -> Any:  # noqa: ANN401 - whatever the work returns
        """Do a write, and return its result when it is committed."""
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

    def submit(self, writes: Sequence[Write], report: Report | None) -> None:
        """Queue writes, and report their outcomes."""
        self._enqueue(writes, report or _report_to_nobody)
        self.start()

    def start(self) -> None:
        """Start the thread that commits submitted writes and does maintenance, until `close`."""
        with self._wake:
            if self._thread is None and not self.is_closed:
                self._thread = threading.Thread(target=self._run, name="memtrace-writer", daemon=True)
                self._thread.start()
            self._wake.notify()

    @contextmanager
    def held(self, ends_at: float) -> Iterator[None]:
        """Hold the writer's lock.

        Raises:
            StoreBusy: The lock was not free until then.
        """
        left = max(0.0, ends_at - time.monotonic())
        if not self._lock.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
            raise self._busy()
        try:
            yield
        finally:
            self._lock.release()

    def close(self) -> None:
        """Commit queued writes, and refuse new ones."""
        with self._wake:
            self.is_closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            while self._line:
                self._commit()

    def _enqueue(self, writes: Sequence[Write], report: Report | None) -> list[_Waiting]:
        waiting = [_Waiting(write, end_of_wait(write.deadline, PATIENCE), report, write) for write in writes]
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
        """Commit the next writes, and report their outcomes. The caller holds the writer's lock.

        Args:
            own: The caller's write. If it is not queued, the caller does not wait for other processes.
        """
        failure: BaseException | None = None
        try:
            if not self._begun(own):
                return  # no caller is left; newer callers have not been waited for yet
        except BaseException as error:  # noqa: BLE001 - any error must reach the waiting callers
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
            _report_when_done(group, outcomes)
        else:
            finished = self._finished(group, outcomes)
            self._end(waiting for waiting, _ in finished)
            _report(finished)
        self._tidy_in_time()

    def _finished(
        self, group: Sequence[_Waiting], outcomes: Sequence[Outcome[Any]]
    ) -> list[tuple[_Waiting, Outcome[Any]]]:
        """Return finished writes with their outcomes, and queue unfinished ones again."""
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
        """Prepare to write; return False if no write, or not the caller's own, is queued any more."""
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
        """Remove and return the writes of the next transaction."""
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
        _report((waiting, (None, self._too_late(waiting))) for waiting in late)
        return group

    def _refuse_late(self) -> None:
        """Fail the writes whose time has ended while other processes held the store."""
        now = time.monotonic()
        with self._wake:
            late = self._line.remove(lambda waiting: waiting.is_late(now))
            self._end(late)
            _report((waiting, (None, self._busy())) for waiting in late)

    def _too_late(self, waiting: _Waiting) -> Exception:
        deadline = waiting.write.deadline
        is_over = deadline is not None and deadline.is_over()
        return DeadlineExceeded("others wrote until then") if is_over else self._busy()

    def _tidy_in_time(self) -> None:
        """Do maintenance; if it fails now, for instance because the disk is full, it is done later."""
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
            _LOG.debug("Maintenance of the store is delayed, as other processes write")
        except (OSError, StoreUnavailable) as error:
            _LOG.warning("Maintenance of the store failed for now: %s", error)
        except Exception:  # noqa: BLE001 - writes continue after any error
            _LOG.exception("Maintenance of the store failed")


def _report(outcomes: Iterable[tuple[_Waiting, Outcome[Any]]]) -> None:
    """Report outcomes, in one call for several writes of one caller."""
    by_report: dict[Report, list[tuple[Write, Outcome[Any]]]] = {}
    for waiting, outcome in outcomes:
        result, _ = outcome
        if waiting.report is None:
            _settle(waiting, outcome)
        elif isinstance(result, Future):
            result.add_done_callback(partial(_report_late, waiting))
        else:
            by_report.setdefault(waiting.report, []).append((waiting.write, outcome))
    for report, reported in by_report.items():
        try:
            report(reported)
        except Exception:  # noqa: BLE001 - other outcomes must still be reported
            _LOG.exception("The outcome of committed writes could not be reported")


def _report_when_done(group: Sequence[_Waiting], outcomes: Future[Sequence[Outcome[Any]]]) -> None:
    """Report the outcomes of writes that another thread commits; blocking callers wait themselves."""
    for waiting in group:
        if waiting.report is None:
            waiting.promise = Future()
            waiting.outcome = (waiting.promise, None)
    outcomes.add_done_callback(partial(_report_done, group))


def _report_done(group: Sequence[_Waiting], done: Future[Sequence[Outcome[Any]]]) -> None:
    failure = done.exception()
    outcomes = [(None, failure)] * len(group) if failure else done.result()
    _report(zip(group, outcomes, strict=True))


def _settle(waiting: _Waiting, outcome: Outcome[Any]) -> None:
    """Give a blocking caller its outcome."""
    result, failure = outcome
    if waiting.promise is None:
        waiting.outcome = outcome
    elif failure is None:
        waiting.promise.set_result(result)
    else:
        waiting.promise.set_exception(failure)


def _report_late(waiting: _Waiting, result: Future[Any]) -> None:
    _report([(waiting, (result.result(), None))])


def _report_to_nobody(_: Sequence[tuple[Write, Outcome[Any]]]) -> None:
    pass
