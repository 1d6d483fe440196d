"""Whether a store can be written, asked by strangers as often as they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from memtrace_server.deadlines import Deadline, end_of_wait
from memtrace_server.store.protocol import StoreUnavailable

_PATIENCE = 2.0  # seconds, within what those who probe a server usually wait
_HOLDS = 1.0  # seconds for which a probe's outcome holds


class Probes:
    """Probes of a store, at most one a second.

    Args:
        probe: Writes something that changes nothing, until a moment.
    """

    def __init__(self, probe: Callable[[float], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._at = -_HOLDS
        self._failure: StoreUnavailable | None = None

    def failure(self, deadline: Deadline | None) -> StoreUnavailable | None:
        """Return why the store cannot be written; None if it can."""
        with self._lock:
            if time.monotonic() - self._at >= _HOLDS:
                self._failure = None
                try:
                    self._probe(end_of_wait(deadline, _PATIENCE))
                except StoreUnavailable as error:
                    self._failure = error
                self._at = time.monotonic()
            return self._failure
