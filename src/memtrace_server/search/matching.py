"""Matching of a memory against a filter's words, without an index."""

from __future__ import annotations

from collections.abc import Sequence

from memtrace_server.search import analysis
from memtrace_server.search.documents import Document


def has_words(
    document: Document,
    stems: Sequence[str] | None,
    phrases: Sequence[Sequence[str]],
    unwanted: Sequence[Sequence[str]],
) -> bool:
    """Return whether a memory has any of the stems, every phrase, and no unwanted word or phrase."""
    if stems is not None and not phrases and set(stems).isdisjoint(analysis.found_by(document.text)):
        return False
    if not phrases and not unwanted:
        return True
    # Words have no spaces, so that they can be compared as one text.
    text = f" {' '.join(analysis.words(document.content))} "
    return all(map(text.__contains__, map(_spaced, phrases))) and not any(
        map(text.__contains__, map(_spaced, unwanted))
    )


def _spaced(phrase: Sequence[str]) -> str:
    return f" {' '.join(phrase)} "
