"""The full-text index: two FTS5 tables an organisation, one of words and one of pieces of three characters.

An organisation has tables of its own because FTS5 weighs and scans whole tables: one tenant's memories must
not slow down another's search. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables).

A memory is not indexed by the transaction that stores it, but with some thousand others: in groups of 32, as
writers form, indexing was measured to cost 140 µs a memory, and 45 µs in groups of 1,000. What was
stored last is indexed before a search looks (see `SqliteStore.read`), so it is found at once all the same.
"""

from __future__ import annotations

import hashlib
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from memtrace_server.folding import fold, plain
from memtrace_server.store.records import Words

Row = tuple[int, int, str, str]
"""Of a memory: organisation, row, content, agent."""

# How each table cuts up a text, and what it keeps. Pieces are kept without their places, which nearly halves
# what they cost; a text is then looked up by all of its pieces, and compared where they are found.
_OPTIONS = {
    "words": "tokenize='unicode61 remove_diacritics 2'",
    "pieces": "tokenize='trigram case_sensitive 1', detail=none",
}
TABLES = tuple(_OPTIONS)
"""The tables of an organisation, each without its number."""

_PIECE = 3  # characters in a trigram
_PIECES = 64  # of a text that are looked up, at most
_SEGMENTS = 16  # of one level that FTS5 lets come together before it merges them; its default is 4


def create(connection: sqlite3.Connection, org: int) -> None:
    """Make the tables of a new organisation."""
    for name in TABLES:
        create_table(connection, f"{name}_{org}", name)
        connection.execute(f"INSERT INTO {name}_{org} ({name}_{org}, rank) VALUES ('automerge', {_SEGMENTS})")


def create_table(connection: sqlite3.Connection, table: str, name: str) -> None:
    """Make a table of the kind of one of TABLES."""
    connection.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5(text, content='', columnsize=0, {_OPTIONS[name]})"
    )


def optimize(connection: sqlite3.Connection, org: int) -> None:
    """Merge the tables of an organisation, which drops the last traces of what was taken out of them."""
    for name in TABLES:
        connection.execute(f"INSERT INTO {name}_{org} ({name}_{org}) VALUES ('optimize')")


def add(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Index rows that are not."""
    for org, texts in _by_org(rows):
        for name in TABLES:
            _put(connection, name, f"{name}_{org} (rowid, text) SELECT value ->> 0, value ->> 1", texts)


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
        """A point to go back to."""
        return len(self._waiting)

    def go_back(self, mark: int) -> None:
        """Drop the removals since a mark."""
        del self._waiting[mark:]

    def apply(self, connection: sqlite3.Connection) -> None:
        """Remove the rows."""
        for org, texts in _by_org(self._waiting):
            for name in TABLES:
                table = f"{name}_{org}"
                into = f"{table} ({table}, rowid, text) SELECT 'delete', value ->> 0, value ->> 1"
                _put(connection, name, into, texts)
        self._waiting.clear()


def _put(connection: sqlite3.Connection, name: str, into: str, rows: Sequence[Row]) -> None:
    """Write rows in one statement, as FTS5 writes out all that it has gathered at the end of each."""
    texts = [(seq, as_indexed(name, content, agent_id)) for _, seq, content, agent_id in rows]
    connection.execute(f"INSERT INTO {into} FROM json_each(?)", (msgspec.json.encode(texts).decode(),))


def _by_org(rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    for org, found in groupby(sorted(rows, key=itemgetter(0)), key=itemgetter(0)):
        yield org, list(found)


def as_indexed(name: str, content: str, agent_id: str) -> str:
    """What a table is given of a memory.

    The words are followed by one that stands for the agent: with it, FTS5 finds what a rare agent said of a
    common word without a look at what all the others said.
    """
    return fold(content) if name == "pieces" else f"{plain(content)}\n{_agent_word(agent_id)}"


def piece_query(text: str) -> str | None:
    """The FTS5 query for contents that may contain a text; None when it is too short to be looked up."""
    folded = fold(text)
    last = len(folded) - _PIECE
    if last < 0:
        return None
    step = last // _PIECES + 1
    return " AND ".join({_quote(folded[at : at + _PIECE]): None for at in [*range(0, last, step), last]})


def word_query(words: Words, agent_id: str | None = None) -> str | None:
    """The FTS5 query for the words wanted and not unwanted, of one agent if given; None if none is wanted."""
    # A term without a word, such as "!", says nothing beside others; alone, it finds nothing.
    terms = [plain(term) for term in words.wanted]
    wanted = " AND ".join(map(_quote, filter(_has_word, terms))) or " AND ".join(map(_quote, terms))
    if wanted and agent_id is not None:
        wanted = f"{_quote(_agent_word(agent_id))} AND {wanted}"
    return f"({wanted}) NOT ({unwanted_query(words)})" if wanted and words.unwanted else wanted or None


def unwanted_query(words: Words) -> str:
    """The FTS5 query for contents that have any of the unwanted words."""
    return " OR ".join(_quote(plain(term)) for term in words.unwanted)


def _agent_word(agent_id: str) -> str:
    """A word for an agent, which nobody writes: it begins with a private character."""
    return "\ue000" + hashlib.blake2b(agent_id.encode(), digest_size=8).hexdigest()


def _has_word(text: str) -> bool:
    """Whether FTS5's unicode61 finds a word in a text: letters, numbers or private characters."""
    return any(
        unicodedata.category(character)[0] in "LN" or unicodedata.category(character) == "Co"
        for character in text
    )


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
