"""The search plan of a question: its terms and their weights.

The rarity of words changes when memories are written. A plan is made for the first page of a search and kept
in the cursor, so that all pages have the same ranking.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from attrs import field, frozen

from memtrace_server.search import dates, spelling
from memtrace_server.search.query import Question
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Term

MAX_WORDS = 64
"""Number of distinct words of a query that count, the rarest ones. The contract documents it at `query`."""

_STEPS = 2_048  # per unit of weight, so that two bytes hold a weight, and sums are exact
_MAX_MISSPELT = 6  # words of a query whose other spellings are searched
_MAX_SPELLINGS = 3  # for each of these words
_SPELLING_WEIGHT = 0.8


@frozen
class Plan:
    """The terms and times by which a question ranks memories.

    Attributes:
        terms: The terms to search for.
        origins: For each term, the stem in the question that it equals, or is another spelling of.
        periods: The times that the question names.
        is_whole: Whether all words of the question count.
        frozen: The part of the plan that a cursor keeps.
    """

    terms: Sequence[Term]
    origins: Sequence[str]
    periods: Sequence[dates.Period] = field(repr=False)
    is_whole: bool
    frozen: FrozenPlan = field(repr=False)

    @property
    def total(self) -> float:
        """The weight of a memory that has every term."""
        return sum(term.weight for term in self.terms)


class FrozenPlan(msgspec.Struct, frozen=True, array_like=True):
    """The part of a plan that a cursor keeps, of at most 430 bytes, because a cursor must be short.

    Attributes:
        now: The moment (ns) to which relative times refer.
        memories: The number of the organisation's memories.
        words: For each word that counts, its position in the question and its weight, two bytes each.
        spellings: For each other spelling, the position of its word in the question, its position among the
            word's neighbours, and its weight, two bytes each.
        forms: For each form, its position in `Question.forms` and its weight, two bytes each.
    """

    now: int
    memories: int
    words: bytes
    spellings: bytes
    forms: bytes = b""

    def thaw(self, question: Question) -> Plan:
        """Return the plan that was made for the same question."""
        terms: list[Term] = []
        origins: list[str] = []
        for at, weight in _unpacked(self.words, 2):
            origins.append(question.stems[at])
            terms.append(_term(question.stems[at], weight, self.memories))
        for at, neighbour, weight in _unpacked(self.spellings, 3):
            origins.append(question.stems[at])
            word = spelling.neighbours(question.stems[at])[neighbour]
            terms.append(_term(word, weight, self.memories))
        for at, weight in _unpacked(self.forms, 2):
            origins.append(question.forms[at].origin)
            terms.append(_term(question.forms[at].stem, weight, self.memories))
        is_whole = question.is_whole and len(self.words) == len(question.stems) * 4
        return Plan(terms, origins, dates.named(question.text, self.now), is_whole, self)


def make(
    transaction: Transaction, org: int, question: Question, *, unindexed: Counter[str], now: int
) -> Plan:
    """Make the plan of a question.

    Weights are BM25's inverse document frequency. Source: Robertson and Zaragoza, The Probabilistic Relevance
    Framework: BM25 and Beyond (2009).

    Args:
        transaction: The transaction.
        org: The organisation; the rarity of a word is measured over its memories only.
        question: The question.
        unindexed: For each stem, the number of unindexed memories that have it.
        now: The moment (ns) to which relative times refer.
    """
    memories = transaction.count_memories(org)

    def counted(stems: Sequence[str]) -> Counter[str]:
        counts = Counter({stem: unindexed[stem] for stem in stems if stem in unindexed})
        counts.update(transaction.count_terms(org, stems))
        return counts

    counts = counted([*question.stems, *(form.stem for form in question.forms)])
    positions = {stem: at for at, stem in enumerate(question.stems)}
    rarest = sorted(positions, key=lambda stem: (not counts[stem], counts[stem], stem))[:MAX_WORDS]
    words = [(positions[stem], _weight(counts[stem], memories)) for stem in rarest]
    spellings: list[tuple[int, int, int]] = []
    for stem in [stem for stem in rarest if not counts[stem]][:_MAX_MISSPELT]:
        neighbours = {word: at for at, word in enumerate(spelling.neighbours(stem)) if word not in counts}
        best = sorted(counted([*neighbours]).items(), key=lambda item: (-item[1], item[0]))[:_MAX_SPELLINGS]
        spellings += [
            (positions[stem], neighbours[word], _weight(count, memories, _SPELLING_WEIGHT))
            for word, count in best
        ]
    forms = [
        (at, _weight(counts[form.stem], memories, _SPELLING_WEIGHT))
        for at, form in enumerate(question.forms)
        if counts[form.stem] and not (form.is_part and counts[form.origin])
    ]
    return FrozenPlan(now, memories, _packed(words), _packed(spellings), _packed(forms)).thaw(question)


def _weight(count: int, memories: int, factor: float = 1.0) -> int:
    """Return the weight of a stem that `count` memories have, rounded to a step."""
    rarity = math.log(1 + (max(memories - count, 0) + 0.5) / (count + 0.5))
    return max(round(factor * rarity * _STEPS), 1)


def _term(stem: str, steps: int, memories: int) -> Term:
    """Return the term of a stem, with the count that its weight was computed from, up to rounding."""
    weight = steps / _STEPS
    return Term(stem=stem, weight=weight, count=round((memories + 1) / math.exp(weight) - 0.5))


def _packed(rows: Sequence[tuple[int, ...]]) -> bytes:
    return b"".join(number.to_bytes(2) for row in rows for number in row)


def _unpacked(packed: bytes, width: int) -> Iterator[tuple[int, ...]]:
    numbers = [int.from_bytes(packed[at : at + 2]) for at in range(0, len(packed), 2)]
    return (tuple(numbers[at : at + width]) for at in range(0, len(numbers), width))
