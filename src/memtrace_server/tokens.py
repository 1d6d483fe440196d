"""How many tokens a text takes at the most, whatever the tokenizer."""

from __future__ import annotations

import re

_PIECES = re.compile(r" ?([A-Za-z]+)|([0-9]+)|[\x21-\x7e]|([\x00-\x20]+)|([^\x00-\x7f]+)")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")


def upper_bound(text: str) -> int:
    """A number of tokens that a text does not exceed.

    A byte-level tokenizer never makes more tokens than a text has bytes in UTF-8. Words are bounded more
    tightly: what looks like a word of a language takes no more than a token for every two letters.
    """
    total = 0
    for match in _PIECES.finditer(text):
        word, digits, blank, foreign = match.groups()
        if word:
            vowels = len(_VOWEL.findall(word))
            total += (len(word) + 1) // 2 if len(word) <= 4 * vowels else len(word)
        elif digits or blank:
            total += len(match[0])
        elif foreign:
            total += len(foreign.encode(errors="replace"))
        else:
            total += 1
    return total
