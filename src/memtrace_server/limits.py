"""How much one key may ask for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from memtrace_server import auth, problems

_MANY = 10_000  # keys; so many are remembered before idle ones are dropped


class RateLimit:
    """At most so many requests a second with each key, in one process; a token bucket of one second's size.

    Args:
        per_second: Requests a second.
        clock: Seconds that only rise.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(per_second, 1.0)
        self._clock = clock
        self._buckets: dict[
            bytes, tuple[float, float]
        ] = {}  # key's digest → tokens, and when they were counted

    def check(self, headers: Mapping[str, str]) -> None:
        """Count one request; those without a key, which are refused anyhow, share one bucket.

        Raises:
            Problem: 429, with the seconds to wait.
        """
        now = self._clock()
        digest = auth.digest(auth.given_key(headers) or "")
        tokens, counted_at = self._buckets.get(digest, (self._most, now))
        tokens = min(self._most, tokens + (now - counted_at) * self._rate)
        if tokens < 1:
            raise problems.rate_limited(self._rate, math.ceil((1 - tokens) / self._rate))
        self._buckets[digest] = (tokens - 1, now)
        if len(self._buckets) > _MANY:
            self._forget_idle(now)

    def _forget_idle(self, now: float) -> None:
        """Drop the buckets that are full again; a new one is just the same."""
        recovery = self._most / self._rate
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < recovery}
