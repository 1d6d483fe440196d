"""Check of a SQLite store: all data derived from memories is derived again and compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice

from memtrace_server.store.sqlite import fulltext, labels, queries, queued
from memtrace_server.store.tables import encoded

# Stored data, and the query that derives it from the memories. Each pair must give the same rows.
_DERIVED = {
    "counter": (
        "SELECT org, agent_id, memory_type, memories FROM agent_counts WHERE memories != 0",
        "SELECT org, agent_id, memory_type, count(*) FROM memories GROUP BY 1, 2, 3",
    ),
    "session counter": (
        "SELECT org, agent_id, sessions, active FROM session_counts WHERE sessions != 0",
        "SELECT org, agent_id, count(*), sum(closed_at IS NULL) FROM sessions GROUP BY 1, 2",
    ),
    "unindexed row": (
        "SELECT org, seq FROM unindexed",
        "SELECT u.org, u.seq FROM unindexed u JOIN memories m ON (m.org, m.seq) = (u.org, u.seq)",
    ),
    "label": (
        "SELECT org, label, is_superseded, time, seq FROM labels",
        (
            "SELECT m.org, l.value, m.is_superseded, m.time, m.seq FROM memories m,"
            f" json_each(labels_of(m.memory_type, m.event_type, {queries.REST})) l"
        ),
    ),
    "long text": (
        "SELECT org, id FROM texts WHERE id NOT IN (SELECT id FROM staged)",
        (
            "SELECT org, text FROM memories WHERE text IS NOT NULL"
            " UNION SELECT org, text FROM leaving WHERE text IS NOT NULL"
        ),
    ),
    "superseding": (
        "SELECT org, seq, superseded_by, superseded_at FROM memories WHERE superseded_by IS NOT NULL",
        "SELECT org, supersedes, seq, created_at FROM memories WHERE supersedes IS NOT NULL",
    ),
}
_STEP = 1_000  # memories that are indexed again at once
_NAMED = {
    "agent": "SELECT DISTINCT org, agent_id FROM memories EXCEPT SELECT org, id FROM agents",
}


def inspect(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a description of each fault of a store; nothing if it is consistent.

    The check reads the whole store, so a million memories take minutes. The store may be in use meanwhile.
    """
    connection.create_function("labels_of", 3, _labels_of, deterministic=True)
    connection.execute("BEGIN")  # one state of the store, while others write
    try:
        yield from _file(connection)
        for kind, (stored, derived) in _DERIVED.items():
            yield from _differences(connection, kind, stored, derived)
        for kind, missing in _NAMED.items():
            for org, name in connection.execute(missing):
                yield f"organisation {org}: memories name the {kind} {name}, which is missing"
        for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
            yield from _index(connection, org)
    finally:
        connection.execute("ROLLBACK")


def inspect_quickly(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the faults of a file and its number of memories, without comparing indexes."""
    yield from _file(connection)
    yield from _differences(connection, "counter", *_DERIVED["counter"])


def _file(connection: sqlite3.Connection) -> Iterator[str]:
    for (message,) in connection.execute("PRAGMA integrity_check"):
        if message != "ok":
            yield f"the file is damaged: {message}"


def _differences(connection: sqlite3.Connection, kind: str, stored: str, derived: str) -> Iterator[str]:
    for what, left, right in (("should not be there", stored, derived), ("is missing", derived, stored)):
        for org, *facts in connection.execute(f"{left} EXCEPT SELECT * FROM ({right})"):
            yield f"organisation {org}: the {kind} {' '.join(map(str, facts))} {what}"


def _index(connection: sqlite3.Connection, org: int) -> Iterator[str]:
    """Compare an index with a new one, by the number of memories with each term."""
    # The temporary tables have the same names, as SQLite searches temporary tables first.
    connection.execute("CREATE TEMP TABLE terms (org, term, count, PRIMARY KEY (org, term))")
    for name, table in zip(fulltext.TABLES, fulltext.tables(org), strict=True):
        fulltext.create_table(connection, f"temp.{table}", name)
    rows = queued.indexed(connection, org)
    while some := list(islice(rows, _STEP)):
        queued.index_anew(connection, org, some)
    fields = f"SELECT {org}, term, count FROM"
    stored, derived = (f"{fields} {schema}.terms WHERE org = {org}" for schema in ("main", "temp"))
    yield from _differences(connection, "word count", stored, derived)
    for table in fulltext.tables(org):
        for schema in ("main", "temp"):
            connection.execute(
                f"CREATE VIRTUAL TABLE temp.{schema}_terms USING fts5vocab({schema}, {table}, row)"
            )
        fields = f"SELECT {org}, '{table}', term, doc FROM"
        stored, derived = (f"{fields} temp.{schema}_terms" for schema in ("main", "temp"))
        yield from _differences(connection, "index entry", stored, derived)
        for temporary in ("main_terms", "temp_terms", table):
            connection.execute(f"DROP TABLE temp.{temporary}")
    connection.execute("DROP TABLE temp.terms")


def _labels_of(memory_type: str, event_type: str, rest: str) -> str:
    """Return the labels of a memory as a JSON array; an SQL function."""
    return encoded(labels.of_stored(memory_type, event_type, rest))
