"""The full-text index: two FTS5 tables an organisation, one of words and one of pieces of three characters.

An organisation has tables of its own because FTS5 weighs and scans whole tables: one tenant's memories must
not slow down another's search. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables), and are filled by the transaction itself, since a
trigger costs three times as much.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable

from memtrace_server.store.records import Words

_PIECE = 3  # characters in a trigram


def create(connection: sqlite3.Connection, org: int) -> None:
    """Make the tables of a new organisation."""
    tokenizers = {"words": "unicode61 remove_diacritics 2", "pieces": "trigram case_sensitive 1"}
    for name, tokenizer in tokenizers.items():
        connection.execute(
            f"CREATE VIRTUAL TABLE {name}_{org} USING fts5(text, content='', tokenize='{tokenizer}')"
        )


def add(connection: sqlite3.Connection, org: int, contents: Iterable[tuple[int, str]]) -> None:
    """Index the contents of rows."""
    _change(connection, org, "INSERT INTO {table} (rowid, text) VALUES (?, ?)", contents)


def remove(connection: sqlite3.Connection, org: int, contents: Iterable[tuple[int, str]]) -> None:
    """Take the contents of rows, exactly as they were added, out of the index."""
    _change(connection, org, "INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)", contents)


def fold(text: str) -> str:
    """Text as substrings are compared: without case."""
    return text.casefold()


def piece_query(text: str) -> str | None:
    """The FTS5 query for contents that contain a text; None when it is too short to be looked up."""
    folded = fold(text)
    return _quote(folded) if len(folded) >= _PIECE else None


def word_query(words: Words) -> str | None:
    """The FTS5 query for the words wanted and not unwanted; None when none is wanted."""
    wanted = " AND ".join(map(_quote, words.wanted))
    return f"({wanted}) NOT ({unwanted_query(words)})" if wanted and words.unwanted else wanted or None


def unwanted_query(words: Words) -> str:
    """The FTS5 query for contents that have any of the unwanted words."""
    return " OR ".join(map(_quote, words.unwanted))


def has_word(text: str) -> bool:
    """Whether FTS5's unicode61 finds a word in a text: letters, numbers or private characters."""
    return any(
        unicodedata.category(character)[0] in "LN" or unicodedata.category(character) == "Co"
        for character in text
    )


def _change(
    connection: sqlite3.Connection, org: int, statement: str, contents: Iterable[tuple[int, str]]
) -> None:
    rows = list(contents)
    connection.executemany(statement.format(table=f"words_{org}"), rows)
    connection.executemany(statement.format(table=f"pieces_{org}"), [(seq, fold(text)) for seq, text in rows])


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
