"""What a query asks for: words that rank, phrases that must be there, and what must not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from memtrace_server.search import analysis, dates
from memtrace_server.store.records import Words

MAX_PHRASES = 16
"""Phrases, and exclusions, that count; the contract says so at `query`."""

_TERM = re.compile(r'(?<!\S)(-?)"([^"]*)"|(\S+)')


@frozen
class Question:
    """A query, taken apart.

    Attributes:
        text: The query as it was asked.
        stems: What ranks: the stems of all wanted words, each once; stop words only if there are no others.
        phrases: The words of each phrase that must be there.
        unwanted: The words of each word or phrase that must not.
        is_whole: Whether all of the query counts.
        wanted: The query without what it excludes.
    """

    text: str
    stems: Sequence[str]
    phrases: Sequence[Sequence[str]]
    unwanted: Sequence[Sequence[str]]
    is_whole: bool = True
    wanted: str = ""

    def time(self, now: int) -> dates.Span | None:
        """Return the time that is asked about, with what else is; relative times as of `now` (ns)."""
        return None if self.phrases else dates.asked(self.wanted, now)

    @property
    def is_ranked(self) -> bool:
        """Whether anything is wanted, so that memories can match better or worse."""
        return bool(self.stems) or not self.unwanted

    @property
    def words(self) -> Words:
        """What a filter asks of memories that match."""
        return Words(
            stems=self.stems if self.is_ranked else None, phrases=self.phrases, unwanted=self.unwanted
        )


def parse(text: str) -> Question | None:
    """Take a query apart; None if it is white space, which asks for nothing.

    A term in double quotes is a phrase, a term after a hyphen is unwanted. The hyphen must begin the term and
    a word of two letters or digits and more: those of "e-mail", "--force", "-f" and "- item" exclude nothing.

    Example:
        >>> question = parse('Which "dark mode" did users run? -beta --force')
        >>> question.stems
        ['dark', 'mode', 'user', 'run', 'forc']
        >>> question.phrases, question.unwanted
        ([['dark', 'mode']], [['beta']])
    """
    if not text.strip():
        return None
    wanted: list[str] = []
    phrases: list[Sequence[str]] = []
    unwanted: list[Sequence[str]] = []
    for minus, phrase, term in _TERM.findall(text):
        if term:
            if excluded := _excluded(term):
                unwanted.append(excluded)
            else:
                wanted.append(term)
        elif words := analysis.words(phrase):
            if minus:
                unwanted.append(words)
            else:
                phrases.append(words)
                wanted.append(phrase)
    text_wanted = "\n".join(wanted)
    found = analysis.question_stems(text_wanted)
    stems = [stem for stem, is_stop in found if not is_stop] or [stem for stem, _ in found]
    return Question(
        text=text,
        stems=list(dict.fromkeys(stems)),
        phrases=phrases[:MAX_PHRASES],
        unwanted=unwanted[:MAX_PHRASES],
        is_whole=max(len(phrases), len(unwanted)) <= MAX_PHRASES,
        wanted=text_wanted,
    )


def _excluded(term: str) -> Sequence[str]:
    """Return the words that a term excludes: none if it is an option, a sign or a word with a hyphen."""
    rest = term[1:]
    if not term.startswith("-") or not rest or (rest[0].isascii() and not rest[0].isalnum()):
        return []
    words = analysis.words(rest)
    is_option = len(words) == 1 and len(words[0]) == 1 and words[0].isascii()
    return [] if is_option else words
