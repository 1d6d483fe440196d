"""Contents of memories, some 120 characters long, the same in every run."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator

COMMON_WORD = "customer"
_MEDIUM = 100
_LONG = 6  # characters
_SHARE = 0.3  # of the contents have the common word
_WORDS = 17
_LETTERS = "aeioubcdfglmnprst"


def vocabulary() -> list[str]:
    """Return two thousand words."""
    chance = random.Random(1)  # noqa: S311 - the same words in every run
    return ["".join(chance.choices(_LETTERS, k=chance.randint(3, 9))) for _ in range(2_000)]


def contents(number: int, *, seed: str) -> Iterator[str]:
    """Yield contents, the same for each seed, in a cycle."""
    chance = random.Random(seed)  # noqa: S311 - the same contents in every run
    words = vocabulary()
    # As in a language, few words are common and most are rare.
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))
    made = []
    for _ in range(number):
        text = " ".join(chance.choices(words, cum_weights=weights, k=_WORDS))
        made.append(f"{COMMON_WORD} {text}" if chance.random() < _SHARE else text)
    return itertools.cycle(made)


def medium_word(*, seed: str) -> str:
    """Return a word that is in 1 of 100 of ten thousand contents."""
    made = itertools.islice(contents(10_000, seed=seed), 10_000)
    counts = Counter(word for text in made for word in set(text.split()) if len(word) > _LONG)
    return min(counts, key=lambda word: (abs(counts[word] - _MEDIUM), word))
