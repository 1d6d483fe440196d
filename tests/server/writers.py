"""A store's writer as tests need it: busy for as long as they want, and asked for one thing at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from memtrace_server.store import Store
from memtrace_server.store.protocol import Outcome, Transaction

T = TypeVar("T")

_PATIENCE = 10.0  # seconds


@contextmanager
def writer_held(store: Store) -> Iterator[None]:
    """Keeps the writer busy, so that what is submitted meanwhile waits, to be committed together."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_: Transaction) -> None:
        begun.set()
        assert go_on.wait(_PATIENCE)

    held = submit(store, work)
    assert begun.wait(_PATIENCE)
    try:
        yield
    finally:
        go_on.set()
        held.result(_PATIENCE)


def submit(store: Store, work: Callable[[Transaction], T]) -> Future[T]:
    """Submits one work; the future has what it returns or raises, and can be cancelled until it is begun."""
    submitted = store.submit([work])
    future: Future[T] = Future()

    def tell(done: Future[Sequence[Outcome[T]]]) -> None:
        if done.cancelled():
            return
        ((result, failure),) = done.result()
        if failure is None:
            future.set_result(result)  # type: ignore[arg-type] # None only if the work returns that
        else:
            future.set_exception(failure)

    def cancel(given_up: Future[T]) -> None:
        if given_up.cancelled():
            submitted.cancel()

    future.add_done_callback(cancel)
    submitted.add_done_callback(tell)
    return future
