"""How well a memory matches the words that were asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memtrace_server.folding import plain

_WORD = re.compile(r"[^\W_]+")
_SATURATION = 1.2  # BM25's k1
_LENGTH_WEIGHT = 0.75  # BM25's b
_USUAL_LENGTH = 20  # words
_SCALE = 1 << 40


def score(wanted: Sequence[str], content: str) -> int:
    """BM25's score of a content for words and phrases, as a whole number.

    Every match has every word that is wanted, so the words' rarity (IDF) tells matches apart by nothing and
    is left out; and the length is weighed against a fixed one. So a memory's score depends on itself alone,
    and a page's cursor holds while others write. Source: Robertson and Zaragoza, The Probabilistic
    Relevance Framework: BM25 and Beyond (2009).
    """
    words = _words(content)
    length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(words) / _USUAL_LENGTH
    frequencies = [_occurrences(_words(phrase), words) for phrase in wanted]
    return int(_SCALE * sum(f / (f + _SATURATION * length) for f in frequencies))


def _words(text: str) -> list[str]:
    return _WORD.findall(plain(text))


def _occurrences(phrase: Sequence[str], words: Sequence[str]) -> int:
    if len(phrase) == 1:
        return words.count(phrase[0])
    return (
        sum(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
        if phrase
        else 0
    )
