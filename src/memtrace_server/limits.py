"""Limits of rates: requests by key, and failed authentications by address."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from memtrace_server import problems

_MAX_BUCKETS = 10_000  # the least recently used go first
_SUBNET = 64  # bits; a customer of a provider usually has a whole /64 of IPv6 addresses


class Buckets:
    """Token buckets by name: each refills by `per_second` tokens, up to `size`.

    Args:
        per_second: Tokens a second.
        size: Tokens in a full bucket.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, per_second: float, size: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_second
        self._size = size
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when counted

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str) -> int:
        """Take one token and return 0; without a token, return the whole seconds until there is one."""
        now = self._clock()
        tokens, counted_at = self._buckets.get(name, (self._size, now))
        tokens = min(self._size, tokens + (now - counted_at) * self._rate)
        wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / self._rate)
        self._buckets[name] = (tokens if wait else tokens - 1, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return wait


class RateLimit:
    """A limit of requests a second for each key, in one process.

    Args:
        per_second: Requests a second, which is also the largest burst.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._buckets = Buckets(per_second, max(per_second, 1.0), clock=clock)

    def check(self, key_id: str) -> None:
        """Count one request with a key.

        Raises:
            Problem: 429, with the seconds to wait.
        """
        wait = self._buckets.take(key_id)
        if wait:
            raise problems.rate_limited(self._per_second, wait)


class FailureLimit:
    """A limit of failed authentications a minute for each address, in one process.

    Args:
        per_minute: Failures a minute, which is also the largest burst.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(per_minute / 60, per_minute, clock=clock)

    def count(self, address: str) -> None:
        """Count a failure.

        Raises:
            Problem: 429, with the seconds to wait, if the address has failed too often.
        """
        wait = self._buckets.take(_network(address))
        if wait:
            raise problems.too_many_failures(wait)


def _network(address: str) -> str:
    """Return the network from which one client can choose its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _SUBNET), strict=False))
