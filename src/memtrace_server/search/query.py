"""Parsing of a query into words to rank by, required phrases, and exclusions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import field, frozen

from memtrace_server.search import analysis, dates
from memtrace_server.search.forms import Form, forms
from memtrace_server.store.records import Words

MAX_PHRASES = 16
"""Number of phrases, and of exclusions, that count; the contract documents it at `query`."""

_TERM = re.compile(r'(?<!\S)(-?)"([^"]*)"|(\S+)')


@frozen
class Question:
    """A parsed query.

    Attributes:
        text: The query.
        stems: The stems to rank by, each once; stems of stop words only if there are no others.
        phrases: The words of each required phrase.
        unwanted: The words of each excluded word or phrase.
        is_whole: Whether all phrases and exclusions count.
        wanted: The query without its exclusions.
        forms: Its words as they are written together or apart.
    """

    text: str
    stems: Sequence[str]
    phrases: Sequence[Sequence[str]]
    unwanted: Sequence[Sequence[str]]
    is_whole: bool = True
    wanted: str = ""
    forms: Sequence[Form] = field(default=(), repr=False)

    def time(self, now: int) -> dates.Span | None:
        """Return the time that the query asks about, and the stems of its other words.

        Args:
            now: The moment (ns) to which relative times refer.
        """
        return None if self.phrases else dates.asked(self.wanted, now)

    @property
    def is_ranked(self) -> bool:
        """Whether the query has more than exclusions, so that memories can match better or worse."""
        return bool(self.stems) or not self.unwanted

    @property
    def words(self) -> Words:
        """The words of the filter that matches the query."""
        return Words(
            stems=self.stems if self.is_ranked else None, phrases=self.phrases, unwanted=self.unwanted
        )


def parse(text: str) -> Question | None:
    """Parse a query; return None if it is only white space.

    A term in double quotes is a phrase, and a term after a hyphen is excluded. The hyphen must begin the term
    and precede a word of at least two letters or digits: "e-mail", "--force", "-f" and "- item" exclude
    nothing.

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
        forms=[form for form in forms(text_wanted) if form.stem not in stems],
    )


def _excluded(term: str) -> Sequence[str]:
    """Return the words that a term excludes; empty for an option, a sign or a word with a hyphen."""
    rest = term[1:]
    if not term.startswith("-") or not rest or (rest[0].isascii() and not rest[0].isalnum()):
        return []
    words = analysis.words(rest)
    is_option = len(words) == 1 and len(words[0]) == 1 and words[0].isascii()
    return [] if is_option else words
