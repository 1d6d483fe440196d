"""The words of a query as they are written together or apart, abbreviated or in full."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from attrs import frozen

from memtrace_server.search import analysis

MAX_FORMS = 8
"""The largest number of forms that are searched; a cursor keeps their weights."""

_MAX_WORDS = 64  # of a query that are compared with their neighbours, which takes 5 µs each
_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[-_.]")  # between the words of a name, which may be stop words
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LEAST_OF_PART = 3  # characters: parts such as those of "k8s" and "v2" are everywhere


@frozen
class Form:
    """Another form of a word.

    Attributes:
        stem: The stem of the form.
        origin: The stem of the word of the query that contains the form, or that the form contains.
        is_part: Whether the word contains the form.
    """

    stem: str
    origin: str
    is_part: bool


def forms(text: str) -> list[Form]:
    """Return the other forms of the words of a query.

    Two consecutive words may be one, except numbers, and stop words that only a space separates.
    A capital or a digit begins a part of a word. Common abbreviations have their words as forms, and the
    reverse.

    Example:
        >>> [form.stem for form in forms("Where is read_header of the e-mail?")]
        ['readhead', 'email']
        >>> [form.stem for form in forms("parseConfig A1029")]
        ['pars', 'config', '1029']
        >>> [form.stem for form in forms("the db, the repository")]
        ['databas', 'repo']
    """
    return list(dict.fromkeys(islice(chain(_forms(text), _abbreviated(text)), MAX_FORMS)))


def _forms(text: str) -> Iterator[Form]:
    before: re.Match[str] | None = None
    for word in islice(_WORD.finditer(text), _MAX_WORDS):
        parts = _PART.findall(word[0])
        if len(parts) > 1 and "".join(parts) == word[0]:
            for part in parts:
                if len(part) >= _LEAST_OF_PART:
                    yield from _form(part, [word[0]], is_part=True)
        elif before is not None and _may_be_one(before[0], text[before.end() : word.start()], word[0]):
            yield from _form(before[0] + word[0], [before[0], word[0]], is_part=False)
        before = word


def _abbreviated(text: str) -> Iterator[Form]:
    """Yield the words that abbreviations stand for, and the abbreviations of words."""
    for stem, _ in analysis.question_stems(text):
        for other in analysis.abbreviations().get(stem, ()):
            yield Form(other, stem, is_part=False)


def _may_be_one(left: str, between: str, right: str) -> bool:
    if left[-1].isdigit() and right[0].isdigit():
        return False
    if _NAME.fullmatch(between):
        return True
    is_telling = not any(is_stop for _, is_stop in analysis.question_stems(f"{left} {right}"))
    return between.isspace() and len(left) > 1 < len(right) and is_telling


def _form(text: str, origins: Sequence[str], *, is_part: bool) -> Iterator[Form]:
    """Yield a form, unless it or each of its origins is a stop word."""
    told = [stem for stem, is_stop in analysis.question_stems("\n".join(origins)) if not is_stop]
    match analysis.question_stems(text):
        case [(stem, False)] if told:
            yield Form(stem, told[0], is_part)
