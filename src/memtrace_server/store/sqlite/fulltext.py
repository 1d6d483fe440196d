"""The full-text index: three FTS5 tables an organisation, of words, of stems, and of trigrams.

An organisation has tables of its own because FTS5 scans whole tables: one tenant's memories must not slow
down another's search, nor tell how rare a word is. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables). What they are given has been taken apart already (see
`search.analysis`), so that other databases find the same; a table of counts tells in how many memories each
stem is, which FTS5 would have to count.

A memory is not indexed by the transaction that stores it, but in the background with some hundred others
(see `indexing`): in groups of 32, as writers form, indexing was measured to cost three times as much.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
from attrs import define, field, frozen

from memtrace_server.folding import fold
from memtrace_server.search import analysis
from memtrace_server.search.documents import Document
from memtrace_server.store.records import Filter

# How each table cuts up a text, and what it keeps. Words and stems come separated by spaces and without ASCII
# punctuation, and the tokenizer ascii splits at nothing else. Where their positions are of no use, they are
# not kept, which nearly halves the size; a piece of text is then looked up by all of its trigrams, and
# compared where they are found.
_OPTIONS = {
    "words": "tokenize='ascii'",
    "stems": "tokenize='ascii', detail=none",
    "pieces": "tokenize='trigram case_sensitive 1', detail=none",
}
TABLES = tuple(_OPTIONS)
"""The tables of an organisation, each without its number."""

_PIECE = 3  # characters in a trigram
_PIECES = 64  # of a text that are looked up, at most
# FTS5 merges the segments that have come together on a level in the transactions that write, which took up to
# 31 ms; at a level's last number, all of them at once, which took seconds. Here, a transaction of its own
# merges a few pages of a level that has some segments (see `indexing`).
_MERGING = {"automerge": 0, "crisismerge": 256}
_MERGED = 16  # pages that one transaction writes; it takes some 9 ms
_CACHED = 1 << 14  # facets at hand: agents, sessions and tags come again
_SMALL = 64  # blocks of some 4 KB in a table; all three were measured to be merged in 30 ms


@frozen
class Row:
    """A memory, as it is indexed.

    Attributes:
        org: Its organisation.
        entry: Its number in the organisation's tables.
        document: The memory.
    """

    org: int
    entry: int
    document: Document


def create(connection: sqlite3.Connection, org: int) -> None:
    """Make the tables of a new organisation."""
    for name in TABLES:
        table = f"{name}_{org}"
        create_table(connection, table, name)
    set_options(connection, org)


def set_options(connection: sqlite3.Connection, org: int) -> None:
    """Say how the tables of an organisation are merged."""
    for name in TABLES:
        table = f"{name}_{org}"
        for option, value in _MERGING.items():
            connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", (option, value))


def create_table(connection: sqlite3.Connection, table: str, name: str) -> None:
    """Make a table of the kind of one of TABLES."""
    connection.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5(text, content='', columnsize=0, {_OPTIONS[name]})"
    )


def merge(connection: sqlite3.Connection, table: str) -> bool:
    """Merge some segments of a table, and return whether there were any (https://www.sqlite.org/fts5.html)."""
    before = connection.total_changes
    connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (_MERGED,))
    return connection.total_changes - before > 1  # the statement itself counts as one


def is_small(connection: sqlite3.Connection, org: int) -> bool:
    """Return whether the tables of an organisation are merged so soon that nobody notices."""
    blocks = "SELECT count(*) FROM (SELECT 1 FROM {}_{}_data LIMIT {})"
    return all(
        connection.execute(blocks.format(name, org, _SMALL + 1)).fetchone()[0] <= _SMALL for name in TABLES
    )


def optimize(connection: sqlite3.Connection, org: int) -> None:
    """Merge the tables of an organisation, which drops the last traces of what was taken out of them."""
    for name in TABLES:
        connection.execute(f"INSERT INTO {name}_{org} ({name}_{org}) VALUES ('optimize')")


@define
class Entries:
    """What the index holds of memories; made without the database, as it takes longest.

    Attributes:
        texts: By table, what it is given: numbers and texts.
        counts: In how many of the memories each stem is.
    """

    texts: Mapping[str, list[tuple[int, str]]] = field(factory=lambda: {name: [] for name in TABLES})
    counts: Counter[str] = field(factory=Counter)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Entries:
        """Make the entries of an organisation's memories."""
        entries = cls()
        for row in sorted(rows, key=attrgetter("entry")):  # FTS5 takes rising rows at less cost
            document = row.document
            words, stems = analysis.words_and_stems(document.content)
            found = {*stems, *analysis.stems(document.labels), *facets(document)}
            entries.counts.update(found)
            for name, text in (
                ("words", " ".join([_agent(document.agent_id), *words])),
                ("stems", " ".join(found)),  # in any order, as no positions are kept
                ("pieces", fold(document.content)),
            ):
                entries.texts[name].append((row.entry, text))
        return entries

    def add(self, connection: sqlite3.Connection, org: int) -> None:
        """Put the entries into the index."""
        for name, texts in self.texts.items():
            _put(connection, f"{name}_{org} (rowid, text) SELECT value ->> 0, value ->> 1", texts)
        connection.execute(
            "INSERT INTO terms SELECT ?, key, value FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (org, _json(self.counts)),
        )

    def remove(self, connection: sqlite3.Connection, org: int) -> None:
        """Take the entries, which are in the index, out of it."""
        for name, texts in self.texts.items():
            table = f"{name}_{org}"
            _put(
                connection, f"{table} ({table}, rowid, text) SELECT 'delete', value ->> 0, value ->> 1", texts
            )
        counts = _json(self.counts)
        connection.execute(  # not UPDATE … FROM, which walks all words of the organisation for each
            "INSERT INTO terms SELECT ?, key, -value FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (org, counts),
        )
        connection.execute(
            "DELETE FROM terms WHERE org = ? AND count <= 0 AND term IN (SELECT key FROM json_each(?))",
            (org, counts),
        )


class Removals:
    """Rows that are to leave the index at the end of a transaction.

    They wait until then because FTS5 writes out all that it has gathered whenever a savepoint is released; of
    a group of small writes, each with a savepoint of its own, that was measured to take a third of the time.
    """

    def __init__(self) -> None:
        self._waiting: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row, exactly as it was indexed, out of the index."""
        self._waiting.append(row)

    def mark(self) -> int:
        """Return a point to go back to."""
        return len(self._waiting)

    def go_back(self, mark: int) -> None:
        """Drop the removals since a mark."""
        del self._waiting[mark:]

    def apply(self, connection: sqlite3.Connection) -> None:
        """Remove the rows."""
        for org, rows in by_org(self._waiting):
            Entries.of(rows).remove(connection, org)
        self._waiting.clear()


def by_org(rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    """Group rows by their organisation."""
    for org, found in groupby(sorted(rows, key=attrgetter("org")), key=attrgetter("org")):
        yield org, list(found)


def facets(document: Document) -> list[str]:
    """Return words that stand for what filters ask for; they begin with a private character.

    With them, FTS5 finds what a rare agent said of a common word without a look at what all the others said.
    """
    found = [_agent(document.agent_id), *(_facet("tag", tag) for tag in document.tags)]
    if document.session_id is not None:
        found.append(_facet("session", document.session_id))
    return found


def wanted_facets(wanted: Filter) -> list[str]:
    """Return the facets that every memory has that a filter lets pass."""
    found = [_facet("tag", tag) for tag in wanted.tags]
    if wanted.session_id is not None:
        found.append(_facet("session", wanted.session_id))
    if wanted.agent_id is not None:
        found.append(_agent(wanted.agent_id))
    return found


def piece_query(text: str) -> str | None:
    """Return the FTS5 query for contents that may contain a text; None for a text shorter than a trigram."""
    folded = fold(text)
    last = len(folded) - _PIECE
    if last < 0:
        return None
    step = last // _PIECES + 1
    return " AND ".join({_quote(folded[at : at + _PIECE]): None for at in [*range(0, last, step), last]})


def phrase_query(phrases: Sequence[Sequence[str]], agent_id: str | None) -> str:
    """Return the FTS5 query for contents that have every phrase, of one agent if given."""
    agent = [] if agent_id is None else [[_agent(agent_id)]]
    return " AND ".join(map(_phrase, [*agent, *phrases]))


def unwanted_query(unwanted: Sequence[Sequence[str]]) -> str:
    """Return the FTS5 query for contents that have any of the unwanted words and phrases."""
    return " OR ".join(map(_phrase, unwanted))


def stem_query(facets: Sequence[str], *groups: Sequence[str]) -> str:
    """Return the FTS5 query for memories with every facet and one stem of each group."""
    terms = [*map(_quote, facets), *(f"({' OR '.join(map(_quote, group))})" for group in groups)]
    return " AND ".join(terms)


def _agent(agent_id: str) -> str:
    return _facet("agent", agent_id)


@functools.lru_cache(maxsize=_CACHED)
def _facet(kind: str, value: str) -> str:
    return "\ue000" + hashlib.blake2b(f"{kind} {value}".encode(), digest_size=8).hexdigest()


def _put(connection: sqlite3.Connection, into: str, texts: Sequence[tuple[int, str]]) -> None:
    """Write rows in one statement, as FTS5 writes out all that it has gathered at the end of each."""
    connection.execute(f"INSERT INTO {into} FROM json_each(?)", (_json(texts),))


def _json(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    return msgspec.json.encode(value).decode()


def _phrase(words: Sequence[str]) -> str:
    return _quote(" ".join(words))


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
