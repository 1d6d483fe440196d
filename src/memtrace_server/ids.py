"""Ids that sort by time: a prefix and a ULID (https://github.com/ulid/spec)."""

from __future__ import annotations

import functools
import os
import random

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]  # half the steps of single digits
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_MILLISECOND = 1_000_000
_NOISE_BITS = 17
# An id must differ from all others and is no secret, so its random bits need no call of the operating system
# each. Not the generator that programs share: some seed it, to have the same numbers again.
_RANDOM = random.Random()  # noqa: S311 - as said
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def memory_id(time: int, seq: int) -> str:
    """Return the id of the memory with this time (ns) and row `seq`.

    The ULID's 48 bits of time are the memory's milliseconds (of 1970 for a time zone's few hours before
    it), its 80 bits of entropy are the row and some noise. So (time, id) orders as (time, row), and the id
    leads to its row.
    """
    milliseconds = max(time, 0) // _MILLISECOND
    entropy = seq << _NOISE_BITS | _RANDOM.getrandbits(_NOISE_BITS)
    return f"mem_{_render_time(milliseconds)}{_render_entropy(entropy)}"


def memory_seq(memory_id: str) -> int:
    """Return the row that a memory's id names; it may not exist, or belong to another id."""
    return (number(memory_id[4:]) & ((1 << 80) - 1)) >> _NOISE_BITS


def new_id(prefix: str, now: int) -> str:
    """Return a new id of something made at `now` (ns)."""
    return f"{prefix}{_render_time(now // _MILLISECOND)}{_render_entropy(_RANDOM.getrandbits(80))}"


@functools.lru_cache(maxsize=16)  # most are of this moment
def _render_time(milliseconds: int) -> str:
    return base32(milliseconds, 10)


def _render_entropy(value: int) -> str:
    """Return 80 bits in base 32, in half the time of `base32`: every request needs one."""
    p = _PAIRS
    return (
        p[value >> 70] + p[value >> 60 & 1023] + p[value >> 50 & 1023] + p[value >> 40 & 1023]
        + p[value >> 30 & 1023] + p[value >> 20 & 1023] + p[value >> 10 & 1023] + p[value & 1023]
    )  # fmt: skip


def base32(value: int, length: int) -> str:
    """Return a number in Crockford's base 32, with `length` digits, which sort as the numbers do."""
    first = _DIGITS[value >> 5 * (length - 1) & 31] if length % 2 else ""
    return first + "".join(
        [_PAIRS[value >> shift & 1023] for shift in range(5 * (length - length % 2 - 2), -1, -10)]
    )


def number(digits: str) -> int:
    """Return the number that digits of Crockford's base 32 stand for."""
    value = 0
    for digit in digits:
        value = value << 5 | _VALUES[digit]
    return value
