"""Periods of time in the indexes of text, with which they find memories of a time span directly.

Each index has the periods of a memory beside its words or trigrams, and skips other memories. To intersect an
index of text with one of times, PostgreSQL would read all memories of the organisation with a word, and all
in the time span: 3 to 4 ms for a word in 1 of 100 and a span of 24,000 memories, where periods take 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

# The indexes store these numbers; other values need a step of `migrations` that creates both indexes again.
_LEVELS = (38, 42, 46, 50, 54)  # bits of a time within a period: from 5 minutes to 7 months
_MOST = 16  # maximum periods of a query, less one; each takes time if an index has a pending list
_LEVEL, _ORG = 25, 28  # bits before those of the level, and of the organisation, in the number of a period


def of_words(table: str = "") -> str:
    """Return SQL for the periods of a memory in the index of words, by its time and by its row."""
    return _array(table, ("time", "seq"))


def of_pieces(table: str = "") -> str:
    """Return SQL for the periods of a memory in the index of trigrams.

    They differ from those of the index of words; otherwise PostgreSQL might look them up there, and compare
    the text of all memories in the time span.
    """
    return _array(table, ("time",))


def covering(org: int, start: int | None, end: int | None) -> list[int] | None:
    """Return the periods that cover a time span, or None if they are too many.

    Args:
        org: The organisation.
        start: The first moment (ns) of the span; None if unbounded.
        end: The moment (ns) after the span; None if unbounded.
    """
    if start is None or end is None:
        return None
    for level, bits in enumerate(_LEVELS):
        first, last = start >> bits, (end - 1) >> bits
        if last - first <= _MOST:
            return [(org << _ORG) + (level << _LEVEL) + number for number in range(first, last + 1)]
    return None


def are_close(start: int | None, end: int | None) -> bool:
    """Return whether the covering periods are not much longer than the time span itself."""
    return start is not None and end is not None and 1 << _LEVELS[0] <= end - start <= _MOST << _LEVELS[-1]


def _array(table: str, columns: Sequence[str]) -> str:
    numbers = [
        f"({table}org << {_ORG}) + {level << _LEVEL} + ({table}{column} >> {bits})"
        for (level, bits), column in product(enumerate(_LEVELS), columns)
    ]
    return f"(ARRAY[{', '.join(numbers)}])"
