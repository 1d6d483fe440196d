"""What a question looks for, and how much each word of it counts.

How rare words are changes while others write. A plan is made for a question's first page, and kept in the
cursor of the next, so that all pages are ranked alike.
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
"""Distinct words of a query that count: the rarest. The contract says so at `query`."""

_STEPS = 2_048  # of a weight, to 1: so two bytes hold one, and sums are exact
_MISSPELT = 6  # words of a query that are looked for with one edit
_SPELLINGS = 3  # of each
_SPELLING_WEIGHT = 0.8


@frozen
class Plan:
    """A question as it is ranked.

    Attributes:
        terms: What is looked for.
        origins: The word of the question (its stem) that each term is, or is another spelling of.
        periods: The times that the question names.
        is_whole: Whether all of its words count.
        frozen: What a cursor keeps of the plan.
    """

    terms: Sequence[Term]
    origins: Sequence[str]
    periods: Sequence[dates.Period] = field(repr=False)
    is_whole: bool
    frozen: FrozenPlan = field(repr=False)

    @property
    def total(self) -> float:
        """What a memory with every term weighs."""
        return sum(term.weight for term in self.terms)


class FrozenPlan(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor keeps of a plan: at most 430 bytes, as a cursor must be short.

    Attributes:
        now: The moment (ns) at which relative times were told.
        memories: How many memories the organisation had.
        words: Two bytes each: of every word that counts, its position in the question and its weight; and of
            every other spelling that is looked for, the position of the word after those of all words, its
            own position among the word's neighbours, and its weight.
    """

    now: int
    memories: int
    words: bytes
    spellings: bytes

    def thaw(self, question: Question) -> Plan:
        """Return the plan, as it was made for the same question."""
        terms: list[Term] = []
        origins: list[str] = []
        for at, weight in _unpacked(self.words, 2):
            origins.append(question.stems[at])
            terms.append(_term(question.stems[at], weight, self.memories))
        for at, neighbour, weight in _unpacked(self.spellings, 3):
            origins.append(question.stems[at])
            word = spelling.neighbours(question.stems[at])[neighbour]
            terms.append(_term(word, weight, self.memories))
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
        org: The organisation, whose memories alone say how rare a word is.
        question: The question.
        unindexed: In how many memories that are not indexed each stem is.
        now: The moment (ns) against which relative times are told.
    """
    memories = transaction.count_memories(org)

    def counted(stems: Sequence[str]) -> Counter[str]:
        counts = Counter({stem: unindexed[stem] for stem in stems if stem in unindexed})
        counts.update(transaction.count_terms(org, stems))
        return counts

    counts = counted(question.stems)
    positions = {stem: at for at, stem in enumerate(question.stems)}
    rarest = sorted(positions, key=lambda stem: (not counts[stem], counts[stem], stem))[:MAX_WORDS]
    words = [(positions[stem], _weight(counts[stem], memories)) for stem in rarest]
    spellings: list[tuple[int, int, int]] = []
    for stem in [stem for stem in rarest if not counts[stem]][:_MISSPELT]:
        neighbours = {word: at for at, word in enumerate(spelling.neighbours(stem)) if word not in counts}
        best = sorted(counted([*neighbours]).items(), key=lambda item: (-item[1], item[0]))[:_SPELLINGS]
        spellings += [
            (positions[stem], neighbours[word], _weight(count, memories, _SPELLING_WEIGHT))
            for word, count in best
        ]
    return FrozenPlan(now, memories, _packed(words), _packed(spellings)).thaw(question)


def _weight(count: int, memories: int, factor: float = 1.0) -> int:
    """Return the weight of a stem that `count` memories have, rounded to a step."""
    rarity = math.log(1 + (max(memories - count, 0) + 0.5) / (count + 0.5))
    return max(round(factor * rarity * _STEPS), 1)


def _term(stem: str, steps: int, memories: int) -> Term:
    """Return the term of a stem; its weight gives its frequency, nearly."""
    weight = steps / _STEPS
    return Term(stem=stem, weight=weight, count=round((memories + 1) / math.exp(weight) - 0.5))


def _packed(rows: Sequence[tuple[int, ...]]) -> bytes:
    return b"".join(number.to_bytes(2) for row in rows for number in row)


def _unpacked(packed: bytes, width: int) -> Iterator[tuple[int, ...]]:
    numbers = [int.from_bytes(packed[at : at + 2]) for at in range(0, len(packed), 2)]
    return (tuple(numbers[at : at + width]) for at in range(0, len(numbers), width))
