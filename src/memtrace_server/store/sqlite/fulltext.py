"""The full-text index: two FTS5 tables an organisation, one of words and one of pieces of three characters.

An organisation has tables of its own because FTS5 weighs and scans whole tables: one tenant's memories must
not slow down another's search. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables), and are filled by the transaction itself, since a
trigger costs three times as much.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from itertools import groupby

from memtrace_server.store.records import Words

TOKENIZERS = {"words": "unicode61 remove_diacritics 2", "pieces": "trigram case_sensitive 1"}
"""The tables of an organisation, each without its number, and how they cut up a text."""

_PIECE = 3  # characters in a trigram


def create(connection: sqlite3.Connection, org: int) -> None:
    """Make the tables of a new organisation."""
    for name, tokenizer in TOKENIZERS.items():
        connection.execute(
            f"CREATE VIRTUAL TABLE {name}_{org} USING fts5(text, content='', tokenize='{tokenizer}')"
        )


class Changes:
    """What is to change in the index at the end of a transaction.

    They wait until then because FTS5 writes out all that it has gathered whenever a savepoint is released; of
    a group of small writes, each with a savepoint of its own, that was measured to take a third of the time.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int, int, str]] = []

    def add(self, org: int, seq: int, content: str) -> None:
        """Index the content of a row."""
        self._waiting.append(("INSERT INTO {table} (rowid, text) VALUES (?, ?)", org, seq, content))

    def remove(self, org: int, seq: int, content: str) -> None:
        """Take the content of a row, exactly as it was added, out of the index."""
        delete = "INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)"
        self._waiting.append((delete, org, seq, content))

    def mark(self) -> int:
        """A point to go back to."""
        return len(self._waiting)

    def go_back(self, mark: int) -> None:
        """Drop the changes since a mark."""
        del self._waiting[mark:]

    def apply(self, connection: sqlite3.Connection) -> None:
        """Make the changes, in their order."""
        for (statement, org), changes in groupby(self._waiting, key=lambda change: change[:2]):
            contents = [(seq, content) for _, _, seq, content in changes]
            for name in TOKENIZERS:
                rows = [(seq, as_indexed(name, content)) for seq, content in contents]
                connection.executemany(statement.format(table=f"{name}_{org}"), rows)
        self._waiting.clear()


def as_indexed(name: str, content: str) -> str:
    """What a table is given of a content."""
    return fold(content) if name == "pieces" else content


def fold(text: str) -> str:
    """Text as substrings are compared: without case."""
    return text.casefold()


def piece_query(text: str) -> str | None:
    """The FTS5 query for contents that contain a text; None when it is too short to be looked up."""
    folded = fold(text)
    return _quote(folded) if len(folded) >= _PIECE else None


def word_query(words: Words) -> str | None:
    """The FTS5 query for the words wanted and not unwanted; None when none is wanted."""
    # A term without a word, such as "!", says nothing beside others; alone, it finds nothing.
    wanted = " AND ".join(map(_quote, filter(_has_word, words.wanted))) or " AND ".join(
        map(_quote, words.wanted)
    )
    return f"({wanted}) NOT ({unwanted_query(words)})" if wanted and words.unwanted else wanted or None


def unwanted_query(words: Words) -> str:
    """The FTS5 query for contents that have any of the unwanted words."""
    return " OR ".join(map(_quote, words.unwanted))


def _has_word(text: str) -> bool:
    """Whether FTS5's unicode61 finds a word in a text: letters, numbers or private characters."""
    return any(
        unicodedata.category(character)[0] in "LN" or unicodedata.category(character) == "Co"
        for character in text
    )


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
