"""Control of a store's writer: keep it busy, and submit works to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from memtrace_server.deadlines import Deadline
from memtrace_server.store import Store
from memtrace_server.store.protocol import Outcome, Transaction, WantsOf, Write

T = TypeVar("T")

_PATIENCE = 60.0  # seconds


@contextmanager
def writer_busy(store: Store) -> Iterator[None]:
    """Keep the writer busy, so that works submitted meanwhile are committed together."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_: Transaction) -> None:
        begun.set()
        assert go_on.wait(_PATIENCE)

    busy = submit(store, work)
    assert begun.wait(_PATIENCE)
    try:
        yield
    finally:
        go_on.set()
        busy.result(_PATIENCE)


def submit(store: Store, work: Callable[[Transaction], T], deadline: Deadline | None = None) -> Future[T]:
    """Submit one work, and return a future with its result or exception."""
    future: Future[T] = Future()

    def record(done: Sequence[tuple[Write, Outcome[Any]]]) -> None:
        ((_, (result, failure)),) = done
        if failure is None:
            future.set_result(result)  # type: ignore[arg-type] # None only if the work returns that
        else:
            future.set_exception(failure)

    store.submit([Write(run=work, deadline=deadline)], record)
    return future


def together(
    store: Store, works: Sequence[Callable[[Transaction], Any]], wants: Sequence[WantsOf | None] = ()
) -> list[tuple[Any, BaseException | None]]:
    """Submit works that are committed together, and return their outcomes."""
    writes = [
        Write(run=run, wants=each) for run, each in zip(works, wants or [None] * len(works), strict=True)
    ]
    outcomes: dict[Write, tuple[Any, BaseException | None]] = {}
    is_done = threading.Event()

    def record(done: Sequence[tuple[Write, Outcome[Any]]]) -> None:
        outcomes.update(done)
        if len(outcomes) == len(writes):
            is_done.set()

    store.submit(writes, record)
    assert is_done.wait(_PATIENCE)
    return [outcomes[write] for write in writes]
