"""The full-text index: three FTS5 tables an organisation, of words, of stems, and of trigrams.

An organisation has tables of its own because FTS5 scans whole tables: one tenant's memories must not slow
down another's search, nor tell how rare a word is. They hold no content, only the index of it
(https://www.sqlite.org/fts5.html#contentless_tables). What they are given has been taken apart already (see
`search.analysis`), so that other databases find the same; a table of counts tells in how many memories each
stem is, which FTS5 would have to count.

A memory is not indexed by the transaction that stores it, but in the background with some hundred others
(see `indexing`): in groups of 32, as writers form, indexing was measured to cost three times as much. One
that takes long by itself is indexed in parts, each in a transaction of its own (see `entries`).
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
from collections.abc import Sequence

from memtrace_server.folding import fold
from memtrace_server.search.documents import Document
from memtrace_server.store.records import Filter
from memtrace_server.store.tables import encoded

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

PIECE = 3
"""Characters in a trigram."""
_PIECES = 64  # of a text that are looked up, at most
# FTS5 merges the segments that have come together on a level in the transactions that write, which took up to
# 31 ms; at a level's last number, all of them at once, which took seconds. Here, a transaction of its own
# merges a few pages of a level that has some segments (see `indexing`).
_MERGING = {"automerge": 0, "crisismerge": 256}
_MERGED = 16  # pages that one transaction writes; it takes some 9 ms
_CACHED = 1 << 14  # facets at hand: agents, sessions and tags come again
_SMALL = 64  # blocks of some 4 KB in a table, which is merged in 10 ms


def create(connection: sqlite3.Connection, org: int) -> None:
    """Make the tables of a new organisation."""
    for name in TABLES:
        table = f"{name}_{org}"
        create_table(connection, table, name)
    set_options(connection, org)


def tables(org: int) -> list[str]:
    """Return the tables of an organisation."""
    return [f"{name}_{org}" for name in TABLES]


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


def put(connection: sqlite3.Connection, table: str, texts: Sequence[tuple[int, str]]) -> None:
    """Write rows in one statement, as FTS5 writes out all that it has gathered at the end of each."""
    values = "value ->> 0, value ->> 1 FROM json_each(?)"
    connection.execute(f"INSERT INTO {table} (rowid, text) SELECT {values}", (encoded(texts),))


def take_out(connection: sqlite3.Connection, table: str, texts: Sequence[tuple[int, str]]) -> None:
    """Take rows out in one statement, given what they were written with."""
    values = "'delete', value ->> 0, value ->> 1 FROM json_each(?)"
    connection.execute(f"INSERT INTO {table} ({table}, rowid, text) SELECT {values}", (encoded(texts),))


def merge(connection: sqlite3.Connection, table: str) -> bool:
    """Merge some segments of a table, and return whether there were any (https://www.sqlite.org/fts5.html)."""
    before = connection.total_changes
    connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (_MERGED,))
    return connection.total_changes - before > 1  # the statement itself counts as one


def is_small(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether a table is merged so soon that nobody notices."""
    blocks = f"SELECT count(*) FROM (SELECT 1 FROM {table}_data LIMIT ?)"
    return bool(connection.execute(blocks, (_SMALL + 1,)).fetchone()[0] <= _SMALL)


def optimize(connection: sqlite3.Connection, table: str) -> None:
    """Merge a table, which drops the last traces of what was taken out of it."""
    connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


def facets(document: Document) -> list[str]:
    """Return words that stand for what filters ask for; they begin with a private character.

    With them, FTS5 finds what a rare agent said of a common word without a look at what all the others said.
    """
    found = [agent_word(document.agent_id), *(_facet("tag", tag) for tag in document.tags)]
    if document.session_id is not None:
        found.append(_facet("session", document.session_id))
    return found


def wanted_facets(wanted: Filter) -> list[str]:
    """Return the facets that every memory has that a filter lets pass."""
    found = [_facet("tag", tag) for tag in wanted.tags]
    if wanted.session_id is not None:
        found.append(_facet("session", wanted.session_id))
    if wanted.agent_id is not None:
        found.append(agent_word(wanted.agent_id))
    return found


def piece_query(text: str) -> str | None:
    """Return the FTS5 query for contents that may contain a text; None for a text shorter than a trigram."""
    folded = fold(text)
    last = len(folded) - PIECE
    if last < 0:
        return None
    step = last // _PIECES + 1
    return " AND ".join({_quote(folded[at : at + PIECE]): None for at in [*range(0, last, step), last]})


def phrase_query(phrases: Sequence[Sequence[str]], agent_id: str | None) -> str:
    """Return the FTS5 query for contents that have every phrase, of one agent if given."""
    agent = [] if agent_id is None else [[agent_word(agent_id)]]
    return " AND ".join(map(_phrase, [*agent, *phrases]))


def unwanted_query(unwanted: Sequence[Sequence[str]]) -> str:
    """Return the FTS5 query for contents that have any of the unwanted words and phrases."""
    return " OR ".join(map(_phrase, unwanted))


def stem_query(facets: Sequence[str], *groups: Sequence[str]) -> str:
    """Return the FTS5 query for memories with every facet and one stem of each group."""
    terms = [*map(_quote, facets), *(f"({' OR '.join(map(_quote, group))})" for group in groups)]
    return " AND ".join(terms)


def agent_word(agent_id: str) -> str:
    """Return the word that stands for an agent; the first of each memory."""
    return _facet("agent", agent_id)


@functools.lru_cache(maxsize=_CACHED)
def _facet(kind: str, value: str) -> str:
    return "\ue000" + hashlib.blake2b(f"{kind} {value}".encode(), digest_size=8).hexdigest()


def _phrase(words: Sequence[str]) -> str:
    return _quote(" ".join(words))


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
