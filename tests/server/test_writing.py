"""The queue of writes that wait for a store: their order, and their outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from memtrace_server import times
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.store import writing
from memtrace_server.store.protocol import Outcome, StoreBusy, StoreUnavailable, Transaction, Write
from memtrace_server.store.writing import GROUP, Unfinished, Writing

PATIENCE = 60.0  # seconds
LARGE = GROUP // 2
NOTHING: Any = None


class FakeStore:
    """Record groups instead of committing them, once transactions may begin."""

    def __init__(self, tidy: Callable[..., float | None] | None = None) -> None:
        self.groups: list[list[int | None]] = []
        self.outcomes: dict[int | None, Outcome[Any]] = {}
        self.may_begin = threading.Event()
        self.ended: list[Write] = []
        self.queue = Writing(
            begin=self.begin,
            commit=self.commit,
            tidy=tidy or (lambda *_, **__: None),
            is_open=lambda: tidy is not None,
            busy=lambda: StoreBusy("others write"),
            is_read_only=False,
            ended=self.ended.append,
        )

    def begin(self) -> None:
        if not self.may_begin.is_set():
            raise StoreBusy("another process writes")

    def commit(self, writes: Sequence[Write], ends_at: float) -> Sequence[Outcome[Any]]:
        assert ends_at > 0
        for write in writes:
            write.run(NOTHING)
        self.groups.append([write.org for write in writes])
        return [self.outcomes.get(write.org, (write.org, None)) for write in writes]

    def submit(self, *writes: Write) -> Outcomes:
        """Submit writes of one caller, and return the record of their outcomes."""
        outcomes = Outcomes(len(writes))
        self.queue.submit(writes, outcomes.record)
        return outcomes


class Outcomes:
    """The outcomes that a caller gets."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_all = threading.Event()
        self.calls: list[list[Outcome[Any]]] = []

    def record(self, done: Sequence[tuple[Write, Outcome[Any]]]) -> None:
        self.calls.append([outcome for _, outcome in done])
        if sum(map(len, self.calls)) == self._number:
            self._is_all.set()

    def all(self) -> list[Outcome[Any]]:
        assert self._is_all.wait(PATIENCE)
        return [outcome for call in self.calls for outcome in call]


@pytest.fixture
def store() -> Iterator[FakeStore]:
    store = FakeStore()
    yield store
    store.may_begin.set()
    store.queue.close()


def write(org: int | None, size: int = 0, deadline: Deadline | None = None) -> Write:
    return Write(run=lambda _: None, org=org, size=size, deadline=deadline)


def test_writes_that_wait_share_a_transaction_and_a_call(store: FakeStore) -> None:
    outcomes = store.submit(*[write(1) for _ in range(100)], *[write(2) for _ in range(100)])
    store.may_begin.set()
    outcomes.all()
    assert [len(group) for group in store.groups] == [200]
    assert len(outcomes.calls) == 1


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([LARGE - 1_024] * 4, [2, 2]),
        ([LARGE - 1_023] * 2, [1, 1]),
        ([10 * LARGE] * 2, [1, 1]),
        ([0] * 513, [512, 1]),
    ],
    ids=["as many bytes as fit", "one byte too many", "too large for any", "many without a size"],
)
def test_a_transaction_is_bounded_by_bytes(store: FakeStore, sizes: list[int], groups: list[int]) -> None:
    outcomes = store.submit(*[write(1, size) for size in sizes])
    store.may_begin.set()
    outcomes.all()
    assert [len(group) for group in store.groups] == groups


def test_small_write_comes_before_the_excess_of_others(store: FakeStore) -> None:
    flood = [write(org, 64 << 20) for _ in range(3) for org in (1, 2, 3)]
    outcomes = store.submit(*flood, write(4), write(None))
    store.may_begin.set()
    outcomes.all()
    assert store.groups[0] == [4, None]
    assert store.groups[1:] == [[1], [2], [3]] * 3


def test_large_write_has_its_turn_among_small_ones(store: FakeStore) -> None:
    outcomes = store.submit(write(1, 4 * GROUP), *[write(2, LARGE) for _ in range(40)])
    store.may_begin.set()
    outcomes.all()
    before = store.groups.index([1])
    assert 2 * before * LARGE <= 2 * 4 * GROUP, "no more than as many bytes of another come before it"


def test_writes_of_one_organisation_keep_their_order(store: FakeStore) -> None:
    order: list[int] = []

    def work(_: Transaction, *, number: int) -> None:
        order.append(number)

    outcomes = store.submit(
        *[Write(run=partial(work, number=n), org=1, size=LARGE * (n % 3)) for n in range(50)]
    )
    store.may_begin.set()
    outcomes.all()
    assert order == list(range(50))


def test_late_outcome_is_reported_separately(store: FakeStore) -> None:
    late: Future[str] = Future()
    store.outcomes = {1: (late, None), 2: (None, ValueError("refused"))}
    outcomes = store.submit(write(1), write(2), write(3))
    blocked: list[Any] = []
    thread = threading.Thread(target=lambda: blocked.append(store.queue.write(write(1))))
    thread.start()
    store.may_begin.set()
    while not outcomes.calls:
        time.sleep(0.001)
    assert [str(failure or result) for result, failure in outcomes.calls[0]] == ["refused", "3"]
    assert not blocked
    late.set_result("stored")
    assert outcomes.all()[2:] == [("stored", None)]
    thread.join(PATIENCE)
    assert blocked == ["stored"]


@pytest.mark.parametrize("how", ["blocks", "is called back"])
def test_write_whose_deadline_ends_before_its_turn_is_not_done(store: FakeStore, how: str) -> None:
    other = store.submit(write(2))
    if how == "blocks":
        with pytest.raises(StoreBusy):
            store.queue.write(write(1, deadline=Deadline(0.05)))
    else:
        ((_, failure),) = store.submit(write(1, deadline=Deadline(0.05))).all()
        assert isinstance(failure, StoreBusy)
    store.may_begin.set()
    other.all()
    assert store.groups == [[2]]


def test_callers_give_up_at_their_deadlines_while_another_waits(store: FakeStore) -> None:
    with ThreadPoolExecutor(9) as threads:
        patient = threads.submit(store.queue.write, write(1))
        hasty = [threads.submit(store.queue.write, write(1, deadline=Deadline(0.05))) for _ in range(200)]
        assert {type(each.exception(PATIENCE)) for each in hasty} == {StoreBusy}
        assert not patient.done()
        store.may_begin.set()
        assert patient.result(PATIENCE) == 1


def test_a_write_whose_client_left_is_not_done(store: FakeStore) -> None:
    deadline = Deadline()
    outcomes = store.submit(write(1, deadline=deadline), write(2))
    deadline.cancel()
    store.may_begin.set()
    assert {type(failure) for _, failure in outcomes.all()} <= {DeadlineExceeded, StoreBusy, type(None)}
    assert store.groups == [[2]]


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("step", ["_begin", "_do"])
def test_failure_is_reported_to_all_of_its_group(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fail: Callable[..., None] = lambda *_: _raise(StoreUnavailable("no disk"))  # noqa: E731
    monkeypatch.setattr(store.queue, step, fail)
    outcomes = store.submit(write(1), write(2))
    store.may_begin.set()
    assert [str(failure) for _, failure in outcomes.all()] == ["no disk"] * 2


@pytest.mark.parametrize("how", ["stored", "refused", "lost"])
@pytest.mark.parametrize("is_called_back", [True, False], ids=["is called back", "blocks"])
def test_a_group_that_another_thread_commits_delays_no_other(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, how: str, *, is_called_back: bool
) -> None:
    late: Future[Sequence[Outcome[Any]]] = Future()
    begun = threading.Event()

    def commit(writes: Sequence[Write], _: float) -> Sequence[Outcome[Any]] | Future[Sequence[Outcome[Any]]]:
        if writes[0].org == 2:
            return [("second", None)]
        begun.set()
        return late

    monkeypatch.setattr(store.queue, "_do", commit)
    store.may_begin.set()
    with ThreadPoolExecutor(1) as threads:
        do = (
            (lambda: store.submit(write(1)).all()) if is_called_back else partial(store.queue.write, write(1))
        )
        first = threads.submit(do)
        assert begun.wait(PATIENCE)
        assert store.queue.write(write(2)) == "second"
        assert not first.done()
        error = ValueError(how)
        if how == "lost":
            late.set_exception(error)
        else:
            late.set_result([("stored", None) if how == "stored" else (None, error)])
        if is_called_back:
            assert first.result(PATIENCE) == [("stored", None) if how == "stored" else (None, error)]
        else:
            assert first.exception(PATIENCE) is (None if how == "stored" else error)


def test_waiting_writes_are_committed_before_a_queue_is_closed(store: FakeStore) -> None:
    store.may_begin.set()
    outcomes = store.submit(*[write(1, LARGE) for _ in range(9)])
    store.queue.close()
    assert len(outcomes.all()) == 9
    with pytest.raises(StoreUnavailable, match="closed"):
        store.queue.submit([write(1)], outcomes.record)


def test_rest_of_a_write_wakes_the_thread_that_commits_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "_TIDY_EVERY", 3_600 * times.SECOND)
    store = FakeStore()
    store.may_begin.set()
    store.submit(write(9)).all()  # the thread waits from now on
    store.outcomes[2] = (Unfinished(write(3)), None)
    outcomes = Outcomes(1)
    store.queue._enqueue([write(2)], outcomes.record)  # noqa: SLF001 - this does not wake it

    assert store.queue.write(write(1)) == 1

    assert outcomes.all() == [(3, None)]
    store.queue.close()


def test_end_of_a_write_with_staged_texts_is_reported(store: FakeStore) -> None:
    deadline = Deadline()
    rests = [write(3), write(4), write(2)]
    store.outcomes[1] = (Unfinished(rests[0]), None)
    store.outcomes[3] = (Unfinished(rests[1]), None)
    store.outcomes[4] = (None, StoreUnavailable("the disk is full"))
    late = Write(run=lambda _: deadline.cancel(), org=5, deadline=deadline)
    store.outcomes[5] = (Unfinished(rests[2]), None)
    outcomes = store.submit(write(1), late, write(6))
    store.may_begin.set()

    failures = [type(failure) for _, failure in outcomes.all()]

    assert sorted(failures, key=str) == sorted([type(None), DeadlineExceeded, StoreUnavailable], key=str)
    assert set(map(id, store.ended)) == {id(rests[1]), id(rests[2])}


def test_tidying_that_leaves_work_continues_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_TIDY_EVERY", 3_600 * times.SECOND)
    rests: list[float | None] = [0.0, 1.0, 0.0, None]
    is_done = threading.Event()

    def tidy(*_: object, **__: object) -> float | None:
        rest = rests.pop(0)
        if rest is None:
            is_done.set()
        return rest

    store = FakeStore(tidy)
    store.may_begin.set()
    store.submit(write(1)).all()
    assert is_done.wait(PATIENCE)
    store.queue.close()
