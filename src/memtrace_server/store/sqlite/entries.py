"""What the full-text index holds of memories, and how much of it one transaction writes.

A transaction that writes to the index holds up all others that write. So the work of each is estimated, and
bounded: not by the memories in it, as one that repeats itself takes a hundredth of what one takes that does
not.
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

MOST = 0.012
"""Seconds of work in one transaction, estimated; of hostile texts, 0.017 were measured at the most."""

# Seconds that a word, a stem or a trigram takes: each, and on top of that each of those that differ.
_WORD, _NEW_WORD = 0.1e-6, 0.7e-6
_STEM, _NEW_STEM = 0.1e-6, 1.3e-6
_TRIGRAM, _NEW_TRIGRAM = 0.05e-6, 0.6e-6
_REMOVED_STEM = 2.5e-6  # whose count is looked up twice
_ENTERING = 0.75  # of that is what several memories take that enter the index together
_SAMPLED = 128  # trigrams in a row, of sixteen times as many, from which is estimated how many differ
_SAMPLES = 16
_OTHER = "\x80"  # no word: a control character


class Entry(msgspec.Struct, frozen=True):
    """What the index holds of a memory; made without the database, as it takes longest.

    Attributes:
        number: What the organisation's tables call the memory.
        words: Its words, in their order.
        stems: Its stems, and what filters ask for, each once; in any order, as no positions are kept.
        text: What is looked through for pieces of text.
    """

    number: int
    words: str
    stems: str
    text: str

    @classmethod
    def of(cls, number: int, document: Document) -> Entry:
        """Make the entry of a memory."""
        words, stems = analysis.words_and_stems(document.content)
        return cls(
            number,
            " ".join([agent_word(document.agent_id), *words]),
            " ".join({*stems, *analysis.stems(document.labels), *facets(document)}),
            fold(document.content),
        )


@frozen
class Entries:
    """What one transaction writes of an organisation's memories.

    Attributes:
        texts: By table, what it is given: numbers and texts.
        counts: In how many of the memories each stem is.
    """

    texts: Mapping[str, Sequence[tuple[int, str]]]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Entries:
        """Put entries together."""
        entries = sorted(entries, key=attrgetter("number"))  # FTS5 takes rising numbers at less cost
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
        """Return how many seconds it takes to write them, estimated: rather too many than too few."""
        words, stems, text = (" ".join([text for _, text in self.texts[name]]) for name in TABLES)
        of_words = _WORD * words.count(" ") + _STEM * stems.count(" ")
        of_words += _new_stem(is_removed=is_removed) * len(self.counts)
        total = of_words + _TRIGRAM * len(text) + _NEW_TRIGRAM * _different(text)
        return total if is_removed else _ENTERING * total

    def add(self, connection: sqlite3.Connection, org: int) -> None:
        """Put the entries into the index."""
        for name, texts in self.texts.items():
            put(connection, f"{name}_{org}", texts)
        connection.execute(
            "INSERT INTO terms SELECT ?, key, value FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (org, encoded(self.counts)),
        )

    def remove(self, connection: sqlite3.Connection, org: int) -> None:
        """Take the entries, which are in the index, out of it."""
        for name, texts in self.texts.items():
            take_out(connection, f"{name}_{org}", texts)
        counts = encoded(self.counts)
        connection.execute(  # not UPDATE … FROM, which walks all words of the organisation for each
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
    """Divide entries into those that one transaction writes, each with what it writes and what that costs.

    An entry that takes too long for one is alone, and nothing is written of it together.
    """
    if not entries:
        return
    together = Entries.of(entries)
    cost = together.cost(is_removed=is_removed)
    if cost <= MOST:
        yield entries, together, cost
    elif len(entries) == 1:
        yield entries, None, cost
    else:
        middle = len(entries) // 2
        for some in (entries[:middle], entries[middle:]):
            yield from groups(some, is_removed=is_removed)


@frozen
class Part:
    """What one transaction writes of an entry that takes too long for one.

    Attributes:
        number: What the organisation's tables call the memory.
        start: Where the part starts in the entry.
        end: Where it ends.
        entries: What is written.
        has_others: Whether words of other parts are in it, which stand for nothing.
    """

    number: int
    start: int
    end: int
    entries: Entries
    has_others: bool

    def add(self, connection: sqlite3.Connection, org: int) -> None:
        """Put the part into an index that has those before it."""
        self.entries.add(connection, org)
        # FTS5 counts how often an entry is put in and taken out, which is to be once for all parts.
        for table in tables(org):
            is_other = self.has_others and table.startswith("words")
            take_out(connection, table, [(self.number, _OTHER if is_other else "")])
            if self.start == 0:
                put(connection, table, [(self.number, "")])

    def remove(self, connection: sqlite3.Connection, org: int) -> None:
        """Take the part out of an index that has none of those after it."""
        for table in tables(org):
            put(connection, table, [(self.number, "")])
        self.entries.remove(connection, org)
        if self.start == 0:
            for table in tables(org):
                take_out(connection, table, [(self.number, "")])


class Parts:
    """An entry that takes too long for one transaction, cut up.

    It is a row of its different words, then its stems, then its trigrams; a part is from one place in that
    row to another. FTS5 takes an entry several times, and keeps what it was given last of each term. So all
    places of a word are in one part, in which other words stand for nothing; stems and trigrams have none.

    Args:
        entry: The entry.
        is_removed: Whether it leaves the index, which takes longer.
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
        """Return the parts that are left to be written, if the index has all before a place."""
        cuts = [0, *self._ends()]
        if self._is_removed:
            spans = pairwise([*(cut for cut in cuts if cut < at), at])
            return (self.part(start, end) for start, end in reversed(list(spans)))
        return (self.part(start, end) for start, end in pairwise([at, *(cut for cut in cuts if cut > at)]))

    def part(self, start: int, end: int) -> Part:
        """Return the part from one place to another."""
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
        """Return where parts end, each of which is as large as it may be."""
        words, stems = len(self._words), len(self._words) + len(self._stems)
        of_words = MOST - _WORD * len(self._all_words)
        of_stem = _new_stem(is_removed=self._is_removed)
        at, left = 0, of_words
        for end, cost, most in (
            (words, _NEW_WORD, of_words), (stems, of_stem, MOST), (len(self), _NEW_TRIGRAM, MOST),
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
    """Return about how many different trigrams a text has.

    Of a sample, they are counted: what comes of twice as many tells what comes of all (Heaps' law).
    """
    if len(text) <= _SAMPLED * _SAMPLES * 2:
        return len(text)
    first = random.randrange(_SAMPLED * _SAMPLES)  # noqa: S311 - so that nobody knows where it looks
    starts = range(first, len(text), _SAMPLED * _SAMPLES)
    seen: set[str] = set()
    half = 1
    for number, start in enumerate(starts):
        if number == len(starts) // 2:
            half = max(half, len(seen))
        seen.update([text[at : at + PIECE] for at in range(start, start + _SAMPLED)])
    growth = min(1.0, math.log2(len(seen) / half))
    return len(seen) * math.pow(len(text) / (len(starts) * _SAMPLED), growth)
