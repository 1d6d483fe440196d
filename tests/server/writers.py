"""A writer that is busy for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memtrace_server.store import Store
from memtrace_server.store.protocol import Transaction

_PATIENCE = 10.0  # seconds


@contextmanager
def writer_held(store: Store) -> Iterator[None]:
    """Keeps the writer busy, so that what is submitted meanwhile waits, to be committed together."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_: Transaction) -> None:
        begun.set()
        assert go_on.wait(_PATIENCE)

    held = store.submit(work)
    assert begun.wait(_PATIENCE)
    try:
        yield
    finally:
        go_on.set()
        held.result(_PATIENCE)
