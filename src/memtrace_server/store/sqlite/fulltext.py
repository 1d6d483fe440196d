"""The full-text index: two FTS5 tables an organisation, one of words and one of pieces of three characters.

An organisation has tables of its own because FTS5 weighs and scans whole tables: one tenant's memories must
not slow down another's search. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables), and are filled by the transaction itself, since a
trigger costs three times as much.
"""

from __future__ import annotations

import hashlib
import sqlite3
import unicodedata
from itertools import groupby
from operator import itemgetter

from memtrace_server.folding import fold, plain
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


def optimize(connection: sqlite3.Connection, org: int) -> None:
    """Merge the tables of an organisation, which drops the last traces of what was taken out of them."""
    for name in TOKENIZERS:
        connection.execute(f"INSERT INTO {name}_{org} ({name}_{org}) VALUES ('optimize')")


class Changes:
    """What is to change in the index at the end of a transaction.

    They wait until then because FTS5 writes out all that it has gathered whenever a savepoint is released; of
    a group of small writes, each with a savepoint of its own, that was measured to take a third of the time.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str, int, str, str]] = []

    def add(self, org: int, seq: int, content: str, agent_id: str) -> None:
        """Index a row."""
        self._waiting.append((org, "INSERT INTO {table} (rowid, text) VALUES (?, ?)", seq, content, agent_id))

    def remove(self, org: int, seq: int, content: str, agent_id: str) -> None:
        """Take a row, exactly as it was added, out of the index."""
        delete = "INSERT INTO {table} ({table}, rowid, text) VALUES ('delete', ?, ?)"
        self._waiting.append((org, delete, seq, content, agent_id))

    def mark(self) -> int:
        """A point to go back to."""
        return len(self._waiting)

    def go_back(self, mark: int) -> None:
        """Drop the changes since a mark."""
        del self._waiting[mark:]

    def apply(self, connection: sqlite3.Connection) -> None:
        """Make the changes, those of an organisation in their order."""
        self._waiting.sort(key=itemgetter(0))
        for (org, statement), changes in groupby(self._waiting, key=itemgetter(0, 1)):
            texts = [change[2:] for change in changes]
            for name in TOKENIZERS:
                rows = [(seq, as_indexed(name, content, agent_id)) for seq, content, agent_id in texts]
                connection.executemany(statement.format(table=f"{name}_{org}"), rows)
        self._waiting.clear()


def as_indexed(name: str, content: str, agent_id: str) -> str:
    """What a table is given of a memory.

    The words are followed by one that stands for the agent: with it, FTS5 finds what a rare agent said of a
    common word without a look at what all the others said.
    """
    return fold(content) if name == "pieces" else f"{plain(content)}\n{_agent_word(agent_id)}"


def piece_query(text: str) -> str | None:
    """The FTS5 query for contents that contain a text; None when it is too short to be looked up."""
    folded = fold(text)
    return _quote(folded) if len(folded) >= _PIECE else None


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
