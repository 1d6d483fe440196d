"""The entries of memories in the full-text index, and the amount that one transaction writes.

Writes wait for a transaction that writes to the index, so the work of each transaction is estimated and
bounded. The number of memories is no measure, as a repetitive memory takes a hundredth of the time of
another.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter

import msgspec
from attrs import frozen

from memtrace_server.folding import fold
from memtrace_server.search import analysis
from memtrace_server.search.documents import Document
from memtrace_server.store.sqlite.fulltext import PIECE, TABLES, agent_word, facets, put, tables, take_out
from memtrace_server.store.tables import encoded

MAX_WORK = 0.012
"""Maximum estimated seconds of work in one transaction; hostile texts took up to 0.017."""

# Seconds per word, stem or trigram, and additional seconds per distinct one.
_WORD, _NEW_WORD = 0.1e-6, 0.7e-6
_STEM, _NEW_STEM = 0.1e-6, 1.3e-6
_TRIGRAM, _NEW_TRIGRAM = 0.05e-6, 0.6e-6
_REMOVED_STEM = 2.5e-6  # its count is read twice
_ENTERING = 0.75  # factor for several memories that are indexed together
_SAMPLED = 128  # consecutive trigrams per sample, to estimate the number of distinct ones
_SAMPLES = 16
_OTHER = "\x80"  # a control character, which is not a word


class Entry(msgspec.Struct, frozen=True):
    """The index entry of a memory; made outside of the transaction, as this takes longest.

    Attributes:
        number: The memory's number in the organisation's tables.
        words: The words, in their order.
        stems: The stems and facets, each once, in any order, as positions are not stored.
        text: The text in which parts are searched.
    """

    number: int
    words: str
    stems: str
    text: str

    @classmethod
    def of(cls, number: int, document: Document) -> Entry:
        """Make the entry of a memory."""
        words, stems = analysis.words_and_found_by(document.content)
        labels = document.labels
        if labels:
            stems += analysis.found_by(labels)
        return cls(
            number,
            " ".join([agent_word(document.agent_id), *words]),
            " ".join({*stems, *facets(document)}),
            fold(document.content),
        )


@frozen
class Entries:
    """The entries of an organisation's memories that one transaction writes.

    Attributes:
        texts: Numbers and texts by table.
        counts: The number of memories with each stem.
    """

    texts: Mapping[str, Sequence[tuple[int, str]]]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Entries:
        """Combine entries."""
        entries = sorted(entries, key=attrgetter("number"))  # rising numbers cost FTS5 less
        texts = {
            "words": [(entry.number, entry.words) for entry in entries],
            "stems": [(entry.number, entry.stems) for entry in entries],
            "pieces": [(entry.number, entry.text) for entry in entries],
        }
        counts: Counter[str] = Counter()
        for entry in entries:
            counts.update(entry.stems.split(" "))
        return cls(texts, counts)

    def cost(self, *, is_removed: bool = False) -> float:
        """Return the estimated seconds to write the entries, rather too many than too few."""
        words, stems, text = (" ".join([text for _, text in self.texts[name]]) for name in TABLES)
        of_words = _WORD * words.count(" ") + _STEM * stems.count(" ")
        of_words += _new_stem(is_removed=is_removed) * len(self.counts)
        total = of_words + _TRIGRAM * len(text) + _NEW_TRIGRAM * _different(text)
        return total if is_removed else _ENTERING * total

    def add(self, connection: sqlite3.Connection, org: int) -> None:
        """Add the entries to the index."""
        for name, texts in self.texts.items():
            put(connection, f"{name}_{org}", texts)
        connection.execute(
            "INSERT INTO terms SELECT ?, key, value FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (org, encoded(self.counts)),
        )

    def remove(self, connection: sqlite3.Connection, org: int) -> None:
        """Remove the entries from the index."""
        for name, texts in self.texts.items():
            take_out(connection, f"{name}_{org}", texts)
        counts = encoded(self.counts)
        connection.execute(  # UPDATE … FROM would scan all words of the organisation for each
            "INSERT INTO terms SELECT ?, key, -value FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (org, counts),
        )
        connection.execute(
            "DELETE FROM terms WHERE org = ? AND count <= 0 AND term IN (SELECT key FROM json_each(?))",
            (org, counts),
        )


def groups(
    entries: Sequence[Entry], *, is_removed: bool
) -> Iterator[tuple[Sequence[Entry], Entries | None, float]]:
    """Divide entries into transactions; yield the entries of each, what it writes, and the estimated cost.

    An entry that takes too long for one transaction is yielded alone, without anything to write.
    """
    if not entries:
        return
    together = Entries.of(entries)
    cost = together.cost(is_removed=is_removed)
    if cost <= MAX_WORK:
        yield entries, together, cost
    elif len(entries) == 1:
        yield entries, None, cost
    else:
        middle = len(entries) // 2
        for some in (entries[:middle], entries[middle:]):
            yield from groups(some, is_removed=is_removed)


@frozen
class Part:
    """The part of a long entry that one transaction writes.

    Attributes:
        number: The memory's number in the organisation's tables.
        start: The position of the part's start in the entry.
        end: The position of the part's end.
        entries: The entries to write.
        has_others: Whether the part has placeholders for words of other parts.
    """

    number: int
    start: int
    end: int
    entries: Entries
    has_others: bool

    def add(self, connection: sqlite3.Connection, org: int) -> None:
        """Add the part to an index that has the previous parts."""
        self.entries.add(connection, org)
        # FTS5 counts how often an entry is added and removed, which should be once for all parts.
        for table in tables(org):
            is_other = self.has_others and table.startswith("words")
            take_out(connection, table, [(self.number, _OTHER if is_other else "")])
            if self.start == 0:
                put(connection, table, [(self.number, "")])

    def remove(self, connection: sqlite3.Connection, org: int) -> None:
        """Remove the part from an index that has no later parts."""
        for table in tables(org):
            put(connection, table, [(self.number, "")])
        self.entries.remove(connection, org)
        if self.start == 0:
            for table in tables(org):
                take_out(connection, table, [(self.number, "")])


class Parts:
    """An entry that takes too long for one transaction, split into parts.

    The entry is a sequence of its distinct words, its stems and its trigrams; a part is a range of this
    sequence. FTS5 accepts an entry several times, and keeps the last positions of each term. So all positions
    of a word are in one part, in which placeholders replace other words; stems and trigrams have no
    positions.

    Args:
        entry: The entry.
        is_removed: Whether it is removed from the index, which takes longer.
    """

    def __init__(self, entry: Entry, *, is_removed: bool) -> None:
        self._entry = entry
        self._is_removed = is_removed
        self._all_words = entry.words.split(" ")
        self._words = sorted(set(self._all_words))
        self._stems = sorted(entry.stems.split(" "))

    def __len__(self) -> int:
        return len(self._words) + len(self._stems) + max(0, len(self._entry.text) - PIECE + 1)

    def left(self, at: int) -> Iterator[Part]:
        """Yield the parts that remain if the index has everything before a position."""
        cuts = [0, *self._ends()]
        if self._is_removed:
            spans = pairwise([*(cut for cut in cuts if cut < at), at])
            return (self.part(start, end) for start, end in reversed(list(spans)))
        return (self.part(start, end) for start, end in pairwise([at, *(cut for cut in cuts if cut > at)]))

    def part(self, start: int, end: int) -> Part:
        """Return the part between two positions."""
        chosen = self._words[start:end]
        has_others = not self._is_removed and 0 < len(chosen) < len(self._words)
        words = " ".join(chosen)
        if chosen and not self._is_removed:
            first, last = chosen[0], chosen[-1]
            words = " ".join([word if first <= word <= last else _OTHER for word in self._all_words])
        first_stem, last_stem = (max(0, at - len(self._words)) for at in (start, end))
        stems = self._stems[first_stem:last_stem]
        first_piece, last_piece = (max(0, at - len(self._stems)) for at in (first_stem, last_stem))
        text = self._entry.text[first_piece : last_piece + PIECE - 1] if last_piece > first_piece else ""
        given = {"words": words, "stems": " ".join(stems), "pieces": text}
        texts = {name: [(self._entry.number, text)] for name, text in given.items()}
        return Part(self._entry.number, start, end, Entries(texts, dict.fromkeys(stems, 1)), has_others)

    def _ends(self) -> Iterator[int]:
        """Yield the ends of parts of maximum size."""
        words, stems = len(self._words), len(self._words) + len(self._stems)
        of_words = MAX_WORK - _WORD * len(self._all_words)
        of_stem = _new_stem(is_removed=self._is_removed)
        at, left = 0, of_words
        for end, cost, most in (
            (words, _NEW_WORD, of_words), (stems, of_stem, MAX_WORK), (len(self), _NEW_TRIGRAM, MAX_WORK),
        ):  # fmt: skip
            while at < end:
                number = min(end - at, max(1, int(left / cost)))
                at += number
                left -= number * cost
                if at < end:
                    yield at
                    left = most
        yield at


def _new_stem(*, is_removed: bool) -> float:
    return _REMOVED_STEM if is_removed else _NEW_STEM


def _different(text: str) -> float:
    """Return an estimate of the number of distinct trigrams of a text.

    Distinct trigrams are counted in a sample and in half of it, and extrapolated (Heaps' law).
    """
    if len(text) <= _SAMPLED * _SAMPLES * 2:
        return len(text)
    first = random.randrange(_SAMPLED * _SAMPLES)  # noqa: S311 - an unpredictable position
    starts = range(first, len(text), _SAMPLED * _SAMPLES)
    seen: set[str] = set()
    half = 1
    for number, start in enumerate(starts):
        if number == len(starts) // 2:
            half = max(half, len(seen))
        seen.update([text[at : at + PIECE] for at in range(start, start + _SAMPLED)])
    growth = min(1.0, math.log2(len(seen) / half))
    return len(seen) * math.pow(len(text) / (len(starts) * _SAMPLED), growth)
