"""Probes of whether a store can be written, limited because strangers can request them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from memtrace_server.deadlines import Deadline, end_of_wait
from memtrace_server.store.protocol import StoreUnavailable

_TIMEOUT = 2.0  # seconds, less than the usual timeout of readiness probes
_LIFETIME = 1.0  # seconds for which an outcome is reused


class Probes:
    """Probes of a store, at most one per second.

    Args:
        probe: Commits a write that changes nothing, before a moment.
    """

    def __init__(self, probe: Callable[[float], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._at = -_LIFETIME
        self._failure: StoreUnavailable | None = None

    def failure(self, deadline: Deadline | None) -> StoreUnavailable | None:
        """Return why the store cannot be written, or None if it can."""
        with self._lock:
            if time.monotonic() - self._at >= _LIFETIME:
                self._failure = None
                try:
                    self._probe(end_of_wait(deadline, _TIMEOUT))
                except StoreUnavailable as error:
                    self._failure = error
                self._at = time.monotonic()
            return self._failure
