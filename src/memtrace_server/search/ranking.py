"""Ranking of memories by how well they match a question.

The score is BM25 with a fixed average length, so that it depends only on the memory, its session, and the
weights of the question's words, which the cursor keeps. Further rules concern how much of the question a
memory has, times that the question names, memories that follow or only repeat a question, and the best score
in the session. docs/search.md has a measurement of each rule. Source: Robertson and Zaragoza, The
Probabilistic Relevance Framework: BM25 and Beyond (2009).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from attrs import define, frozen

from memtrace_server.folding import fold
from memtrace_server.search import analysis, dates, matching, plan
from memtrace_server.search.documents import Document
from memtrace_server.search.query import Question
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Filter, Found

BEST = 100
"""Number of ranked memories, besides those that follow a question. The contract has it at `relevance`."""
SCALE = 1_000_000
"""A score is a whole number of millionths."""

LAST_ROW = 2**63 - 1
"""Exceeds every row."""

_COORDINATION = 0.5  # exponent of the fraction of the question's weight that a memory has
_LENGTH_WEIGHT = 0.4  # BM25's b; its k1 is 1
_USUAL_LENGTH = 20  # words
_MAX_SCORED = 2_000  # words of a memory that are scored
_PART = 0.5  # of a name, beside a word
_WIDENED = 30  # of the best memories: those that follow a question among them are added
_ANSWER = 0.3
_SHORT = 30  # words: a longer memory gains less from the question before it, and gives less
_SESSION = 0.3
_ECHO = 0.25  # below _ANSWER, so that the memory after a question ranks above the question
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")


@frozen
class Match:
    """A memory and its score."""

    memory: Found
    score: int
    session_id: str | None


@frozen
class Ranking:
    """The ranked matches of a question.

    Attributes:
        matches: The matches, the best first; among equal scores, the newest first.
        is_complete: Whether `matches` contains every matching memory.
        missed: The number of memories that were not searched, because they are not indexed yet.
        plan: The plan with which the next page has the same ranking.
        answered: The stems of the question that any memory has.
    """

    matches: Sequence[Match]
    is_complete: bool
    missed: int
    plan: plan.FrozenPlan
    answered: frozenset[str] = frozenset()


def rank(  # noqa: PLR0913 - a search has many parameters
    transaction: Transaction,
    org: int,
    wanted: Filter,
    question: Question,
    *,
    now: int,
    limit: int = BEST,
    before: int = LAST_ROW,
    known: plan.FrozenPlan | None = None,
) -> Ranking:
    """Rank the memories that pass a filter by how well they match a question.

    Args:
        transaction: The transaction.
        org: The organisation.
        wanted: The filter; its words are those of the question (`Question.words`).
        question: The question.
        now: The moment (ns) as of which expired memories are left out. Relative times ("yesterday") refer to
            it too, unless the filter has `as_of`.
        limit: The number of ranked memories, without those that are added because they follow a question.
        before: The row below which memories count.
        known: The plan of an earlier page.
    """
    if wanted.words is not None:
        wanted = attrs.evolve(wanted, words=attrs.evolve(wanted.words, stems=None))
    tail = transaction.unindexed(org, wanted, now, before)
    documents = {memory.seq: Document.read(memory.doc) for memory in tail.found}
    sets = {seq: set(analysis.found_by(document.text)) for seq, document in documents.items()}
    if known is None:
        unindexed = Counter(stem for stems in sets.values() for stem in stems)
        as_of = now if wanted.as_of is None else wanted.as_of
        used = plan.make(transaction, org, question, unindexed=unindexed, now=as_of)
    else:
        used = known.thaw(question)
    indexed = transaction.candidates(org, wanted, now, used.terms, before=before, limit=limit)
    scorer = _Scorer(used, asks=_asks(question.wanted))
    entries = [scorer.entry(memory) for memory in indexed.found]
    entries += [
        scorer.entry(memory)
        for memory in tail.found
        if memory.seq in tail.matching and not scorer.stems.isdisjoint(sets[memory.seq])
    ]
    entries.sort(key=lambda entry: (entry.weight, entry.memory.seq), reverse=True)
    best = entries[:limit]
    reader = _Reader(transaction, org, wanted, now, before)
    matches = sorted(
        _in_their_sessions(reader, scorer, best),
        key=lambda match: (match.score, match.memory.seq),
        reverse=True,
    )
    return Ranking(
        matches=matches,
        is_complete=(indexed.is_complete and used.is_whole and len(best) == len(entries) and not tail.missed),
        missed=tail.missed,
        plan=used.frozen,
        answered=frozenset(scorer.answered),
    )


def newest(  # noqa: PLR0913 - a search has many parameters
    transaction: Transaction,
    org: int,
    wanted: Filter,
    *,
    now: int,
    before: int = LAST_ROW,
    known: plan.FrozenPlan,
) -> Ranking:
    """Return the newest memories that pass a filter, as the ranking of a search without words."""
    found: list[Found] = []
    after: tuple[int, int] | None = None
    while len(found) <= BEST:
        page = transaction.page(org, wanted, now, order="desc", limit=BEST + 1, after=after)
        found += [memory for memory in page if memory.seq < before]
        if len(page) <= BEST:
            break
        after = page[-1].time, page[-1].seq
    return Ranking(
        matches=[Match(memory, 0, Document.read(memory.doc).session_id) for memory in found[:BEST]],
        is_complete=len(found) <= BEST,
        missed=transaction.count_unsearched(org, wanted),
        plan=known,
    )


@define(eq=False)
class _Entry:
    """A ranked memory.

    Attributes:
        weight: The sum of the weights of the memory's terms.
        score: The score without the rules about its session.
        share: The factor, from 0 to 1, for the score that it gives to the next memory or takes from the
            previous.
        asks: Whether the memory is a question.
        is_echo: Whether the memory repeats the query: both are questions, and most words of the memory are in
            the query.
    """

    memory: Found
    session_id: str | None
    weight: float
    score: float
    share: float
    asks: bool
    is_echo: bool


class _Scorer:
    """Scores memories without regard to their sessions.

    Attributes:
        stems: The stems to search for.
        answered: The stems of the question that any scored memory has.
    """

    def __init__(self, used: plan.Plan, *, asks: bool) -> None:
        self._asks = asks
        self.stems = frozenset(term.stem for term in used.terms)
        self.answered: set[str] = set()
        self._weights = [
            (term.stem, term.weight, origin) for term, origin in zip(used.terms, used.origins, strict=True)
        ]
        self._total = used.total
        self._periods = used.periods

    def entry(self, memory: Found, document: Document | None = None) -> _Entry:
        """Return a memory with its score."""
        document = document or Document.read(memory.doc)
        text = document.scored_text
        stems, parts = analysis.stems(text), analysis.further_stems(text)
        if len(stems) > _MAX_SCORED or (self.stems.isdisjoint(stems) and self.stems.isdisjoint(parts)):
            # The rest of the text may have a word.
            found = self.stems.intersection(analysis.found_by(document.text))
            stems = stems[:_MAX_SCORED]
            stems += sorted(found.difference(stems, parts))
        length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(stems) / _USUAL_LENGTH
        counts = Counter(stems)
        of_parts = Counter(parts) if parts else None
        weight = score = 0.0
        for stem, value, origin in self._weights:
            frequency: float = counts[stem]
            if of_parts:
                frequency += _PART * of_parts[stem]
            if frequency:
                self.answered.add(origin)
                weight += value
                score += value * 2 * frequency / (frequency + length)
        if weight:
            coordination = (weight / self._total) ** _COORDINATION
            score *= coordination * dates.weight(self._periods, memory.time)
        asks = _asks(document.content)
        return _Entry(
            memory=memory,
            session_id=document.session_id,
            weight=weight,
            score=score,
            share=min(1.0, _SHORT / max(len(stems), 1)),
            asks=asks,
            is_echo=asks and self._asks and self._is_echo(document.content),
        )

    def _is_echo(self, content: str) -> bool:
        words = {stem for stem, is_stop in analysis.question_stems(content) if not is_stop}
        return len(words & self.stems) > len(words) / 2


@frozen
class _Reader:
    """Reads the memories that follow found ones."""

    _transaction: Transaction
    _org: int
    _wanted: Filter
    _now: int
    _before: int

    def following(self, entries: Iterable[_Entry]) -> Mapping[int, int]:
        """Return, by row, the next row in each memory's session, whatever its text."""
        found = [entry.memory for entry in entries if entry.session_id is not None]
        if not found:
            return {}
        wanted = attrs.evolve(self._wanted, words=None, contains=None)
        return self._transaction.following(self._org, wanted, self._now, found, self._before)

    def memories(self, rows: Sequence[int]) -> Sequence[Found]:
        """Return the memories with some rows."""
        return self._transaction.memories(self._org, rows, self._wanted)

    def passes(self, document: Document) -> bool:
        """Return whether a memory to be added has the text that the filter asks for."""
        words, text = self._wanted.words, self._wanted.contains
        if words is not None and not matching.has_words(document, None, words.phrases, words.unwanted):
            return False
        return text is None or fold(text) in fold(document.content)


def _in_their_sessions(reader: _Reader, scorer: _Scorer, best: Sequence[_Entry]) -> Iterator[Match]:
    """Apply the rules about sessions to the best memories, and add those that follow a question."""
    entries = {entry.memory.seq: entry for entry in best}
    following = reader.following(entry for entry in best if entry.asks)
    widened = heapq.nlargest(_WIDENED, best, key=lambda entry: (entry.score, entry.memory.seq))
    # The memory after a question often answers it without sharing a word.
    answers = {following[entry.memory.seq] for entry in widened if entry.memory.seq in following}
    for memory in reader.memories(sorted(answers - entries.keys())):
        document = Document.read(memory.doc)
        if reader.passes(document):
            entries[memory.seq] = scorer.entry(memory, document)
    scores = {row: entry.score for row, entry in entries.items()}
    for asked, answered in following.items():
        if answered in entries:
            question, answer = entries[asked], entries[answered]
            scores[answered] += _ANSWER * question.share * question.score * answer.share
    sessions: dict[str, float] = {}
    for row, entry in entries.items():
        if entry.session_id is not None:
            sessions[entry.session_id] = max(sessions.get(entry.session_id, 0.0), scores[row])
    for row, entry in entries.items():
        of_session = scores[row] if entry.session_id is None else sessions[entry.session_id]
        score = scores[row] + _SESSION * of_session
        if entry.is_echo:
            score *= _ECHO
        yield Match(entry.memory, int(SCALE * score), entry.session_id)


def _asks(text: str) -> bool:
    return text.rstrip().endswith(_QUESTION_MARKS)
