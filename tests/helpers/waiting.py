"""Waiting for conditions that no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable

_PATIENCE = 60.0  # seconds
_LOOKS_EVERY = 0.01  # seconds


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after a minute."""
    ends_at = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < ends_at, "it never came"
        time.sleep(_LOOKS_EVERY)
