"""The full-text index: three FTS5 tables per organisation, for words, stems and trigrams.

Each organisation has its own tables because FTS5 scans whole tables: one tenant's memories must not slow down
another's search, or influence the rarity of words. The tables are contentless
(https://www.sqlite.org/fts5.html#contentless_tables). They receive text that `search.analysis` has split, so
that other databases find the same memories. A table of counts has the number of memories with each stem,
which FTS5 would have to count.

A memory is not indexed by the transaction that stores it, but in the background with some hundred others (see
`indexing`); in groups of 32, the usual size of a group of writes, indexing costs three times as much. A long
memory is indexed in parts, each in a transaction of its own (see `entries`).
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

# The tokenizer and details of each table. Words and stems are separated by spaces and have no ASCII
# punctuation, and the tokenizer ascii splits only there. Unneeded positions are not stored, which nearly
# halves the size. A part of a text is looked up by all of its trigrams, and compared in the memories that
# have them.
_OPTIONS = {
    "words": "tokenize='ascii'",
    "stems": "tokenize='ascii', detail=none",
    "pieces": "tokenize='trigram case_sensitive 1', detail=none",
}
TABLES = tuple(_OPTIONS)
"""The tables of an organisation, without its number."""

PIECE = 3
"""Characters in a trigram."""
_MAX_TRIGRAMS = 64  # of a text, which are looked up
# By default, FTS5 merges the segments of a level in the transactions that write, which took up to 31 ms; and
# all of them at once at the maximum number of segments, which took seconds. Here, separate transactions merge
# a few pages of a level (see `indexing`).
_MERGING = {"automerge": 0, "crisismerge": 256}
_MERGED = 16  # pages that one transaction writes, in some 9 ms
_CACHE_SIZE = 1 << 14  # facets, as agents, sessions and tags recur
_SMALL = 64  # blocks of some 4 KB; such a table is merged in 10 ms


def create(connection: sqlite3.Connection, org: int) -> None:
    """Create the tables of a new organisation."""
    for name in TABLES:
        table = f"{name}_{org}"
        create_table(connection, table, name)
    set_options(connection, org)


def tables(org: int) -> list[str]:
    """Return the tables of an organisation."""
    return [f"{name}_{org}" for name in TABLES]


def set_options(connection: sqlite3.Connection, org: int) -> None:
    """Set how the tables of an organisation are merged."""
    for name in TABLES:
        table = f"{name}_{org}"
        for option, value in _MERGING.items():
            connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", (option, value))


def create_table(connection: sqlite3.Connection, table: str, name: str) -> None:
    """Create a table like one of TABLES."""
    connection.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5(text, content='', columnsize=0, {_OPTIONS[name]})"
    )


def put(connection: sqlite3.Connection, table: str, texts: Sequence[tuple[int, str]]) -> None:
    """Write rows in one statement, because FTS5 writes its buffer at the end of each statement."""
    values = "value ->> 0, value ->> 1 FROM json_each(?)"
    connection.execute(f"INSERT INTO {table} (rowid, text) SELECT {values}", (encoded(texts),))


def take_out(connection: sqlite3.Connection, table: str, texts: Sequence[tuple[int, str]]) -> None:
    """Remove rows in one statement, given the texts with which they were written."""
    values = "'delete', value ->> 0, value ->> 1 FROM json_each(?)"
    connection.execute(f"INSERT INTO {table} ({table}, rowid, text) SELECT {values}", (encoded(texts),))


def merge(connection: sqlite3.Connection, table: str) -> bool:
    """Merge some segments of a table; return whether there were any (https://www.sqlite.org/fts5.html)."""
    before = connection.total_changes
    connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (_MERGED,))
    return connection.total_changes - before > 1  # the statement itself counts as one


def is_small(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether merging a table takes only some milliseconds."""
    blocks = f"SELECT count(*) FROM (SELECT 1 FROM {table}_data LIMIT ?)"
    return bool(connection.execute(blocks, (_SMALL + 1,)).fetchone()[0] <= _SMALL)


def optimize(connection: sqlite3.Connection, table: str) -> None:
    """Merge a whole table, which removes the last traces of removed rows."""
    connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


def facets(document: Document) -> list[str]:
    """Return facets: words for conditions of filters, which begin with a private character.

    With facets, FTS5 finds a rare agent's memories of a common word without reading those of all other
    agents.
    """
    found = [agent_word(document.agent_id), *(_facet("tag", tag) for tag in document.tags)]
    if document.session_id is not None:
        found.append(_facet("session", document.session_id))
    return found


def wanted_facets(wanted: Filter) -> list[str]:
    """Return the facets of every memory that passes a filter."""
    found = [_facet("tag", tag) for tag in wanted.tags]
    if wanted.session_id is not None:
        found.append(_facet("session", wanted.session_id))
    if wanted.agent_id is not None:
        found.append(agent_word(wanted.agent_id))
    return found


def piece_query(text: str) -> str | None:
    """Return the FTS5 query for contents that may contain a text, or None if it is shorter than a trigram."""
    folded = fold(text)
    last = len(folded) - PIECE
    if last < 0:
        return None
    step = last // _MAX_TRIGRAMS + 1
    return " AND ".join({_quote(folded[at : at + PIECE]): None for at in [*range(0, last, step), last]})


def phrase_query(phrases: Sequence[Sequence[str]], agent_id: str | None) -> str:
    """Return the FTS5 query for contents with every phrase, optionally of one agent."""
    agent = [] if agent_id is None else [[agent_word(agent_id)]]
    return " AND ".join(map(_phrase, [*agent, *phrases]))


def unwanted_query(unwanted: Sequence[Sequence[str]]) -> str:
    """Return the FTS5 query for contents with any of the excluded words and phrases."""
    return " OR ".join(map(_phrase, unwanted))


def stem_query(facets: Sequence[str], *groups: Sequence[str]) -> str:
    """Return the FTS5 query for memories with every facet and one stem of each group."""
    terms = [*map(_quote, facets), *(f"({' OR '.join(map(_quote, group))})" for group in groups)]
    return " AND ".join(terms)


def agent_word(agent_id: str) -> str:
    """Return the word for an agent, the first word of each of its memories."""
    return _facet("agent", agent_id)


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _facet(kind: str, value: str) -> str:
    return "\ue000" + hashlib.blake2b(f"{kind} {value}".encode(), digest_size=8).hexdigest()


def _phrase(words: Sequence[str]) -> str:
    return _quote(" ".join(words))


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
