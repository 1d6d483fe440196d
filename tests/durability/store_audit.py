"""Invariants of every store, whatever happened to the process that wrote it.

A SQLite file is read directly, without the server's own `memtrace check`, and all that is stored beside the
memories is derived from their documents alone.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from attrs import frozen

from memtrace_server import times
from memtrace_server.store import open_store
from memtrace_server.store.sqlite import fulltext, labels, queries, queued

_STEP = 10_000  # index entries compared at once


@frozen
class Row:
    """A memory as the store has it.

    Attributes:
        entry: Its number in SQLite's full-text index.
    """

    seq: int
    org: int
    entry: int | None
    time: int
    is_superseded: bool
    doc: Mapping[str, Any]


def assert_consistent_at(url: str) -> list[Row]:
    """Compare everything in a store with its memories, and return these in the order of their rows."""
    if url.startswith("sqlite:"):
        return assert_consistent(Path(url.removeprefix("sqlite:///")))
    with closing(open_store(url)) as store:
        assert list(store.check()) == []
    with psycopg.connect(url) as database:
        sql = "SELECT seq, org, NULL, time, is_superseded, doc FROM memories ORDER BY org, seq"
        return [
            Row(seq, org, entry, time, is_superseded, msgspec.json.decode(doc))
            for seq, org, entry, time, is_superseded, doc in database.execute(sql)
        ]


def assert_consistent(path: Path) -> list[Row]:
    """Compare everything in a store with its memories, and return these in the order of storing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("BEGIN")  # one snapshot, even if others write
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sql = f"SELECT seq, org, entry, time, is_superseded, {queries.WHOLE_DOC} FROM memories m"  # noqa: S608 - constant
        rows = [
            Row(seq, org, entry, time, bool(is_superseded), msgspec.json.decode(doc))
            for seq, org, entry, time, is_superseded, doc in store.execute(f"{sql} ORDER BY seq")
        ]
        _assert_columns(store, rows)
        _assert_superseded(store, rows)
        _assert_labels(store, rows)
        _assert_counts(store, rows)
        _assert_named(store, rows)
        _assert_order(store, rows)
        _assert_queued(store, rows)
        for (org,) in store.execute("SELECT number FROM orgs").fetchall():
            _assert_index(store, org, [row for row in rows if row.org == org])
    return rows


def _assert_columns(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    sql = (
        "SELECT agent_id, session_id, memory_type, event_type, importance, expires_at, time, created_at"
        " FROM memories"
    )
    for row, columns in zip(rows, store.execute(f"{sql} ORDER BY seq"), strict=True):
        *texts, expires_at, time, created_at = columns
        names = ("agent_id", "session_id", "memory_type", "event_type", "importance")
        assert texts == [row.doc.get(name) for name in names]
        assert row.doc.get("expires_at") == (None if expires_at is None else times.render(expires_at))
        assert row.doc["time"] == times.render(time)
        assert row.doc["created_at"] == times.render(created_at)


def _assert_superseded(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Check that each link of a chain is stored at both ends, and leads from an older to a newer memory."""
    sql = "SELECT seq, supersedes, superseded_by, superseded_at, created_at FROM memories"
    links = {seq: link for seq, *link in store.execute(sql)}
    agents = {row.seq: (row.org, row.doc["agent_id"]) for row in rows}
    for seq, (older, newer, superseded_at, created_at) in links.items():
        if older is not None:
            assert older < seq
            assert agents[older] == agents[seq]
            assert links[older][1:3] == [seq, created_at]
        if newer is None:
            assert superseded_at is None
        else:
            assert links[newer][0] == seq


def _assert_labels(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    sql = "SELECT seq FROM memories WHERE superseded_by IS NOT NULL"
    superseded = {seq for (seq,) in store.execute(sql)}
    expected = sorted(
        (row.org, label, row.seq in superseded, row.time, row.seq)
        for row in rows
        for label in labels.of(row.doc["memory_type"], row.doc["event_type"], row.doc.get("tags", []))
    )
    assert sorted(store.execute("SELECT org, label, is_superseded, time, seq FROM labels")) == expected


def _assert_counts(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    stored = store.execute(
        "SELECT org, agent_id, memory_type, memories FROM agent_counts WHERE memories != 0"
    )
    counted = Counter((row.org, row.doc["agent_id"], row.doc["memory_type"]) for row in rows)
    assert {(org, agent, kind): number for org, agent, kind, number in stored} == counted


def _assert_named(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    agents = {(row.org, row.doc["agent_id"]) for row in rows}
    sessions = {(row.org, row.doc["session_id"]) for row in rows if "session_id" in row.doc}
    assert agents <= set(store.execute("SELECT org, id FROM agents"))
    assert sessions <= set(store.execute("SELECT org, id FROM sessions"))


def _assert_order(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    for org, in_order in store.execute("SELECT number, in_order FROM orgs"):
        moments = [row.time for row in rows if row.org == org]
        if in_order:  # otherwise a memory that came late may have been forgotten since
            assert all(earlier <= later for earlier, later in pairwise(moments)), org


def _assert_queued(store: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Check that queued rows are memories, and that no memory has an entry that leaves the index."""
    assert set(store.execute("SELECT org, seq FROM unindexed")) <= {(row.org, row.seq) for row in rows}
    leaving = set(store.execute("SELECT org, entry FROM leaving"))
    assert not leaving & {(row.org, row.entry) for row in rows}
    texts = store.execute("SELECT id FROM texts WHERE id NOT IN (SELECT id FROM staged)").fetchall()
    sql = "SELECT text FROM {} WHERE text IS NOT NULL"
    owned = store.execute(f"{sql.format('memories')} UNION ALL {sql.format('leaving')}").fetchall()
    assert sorted(texts) == sorted(owned)


def _assert_index(store: sqlite3.Connection, org: int, rows: Sequence[Row]) -> None:
    """Compare each entry (term, row, position) of the full-text index with those of a new index."""
    with closing(sqlite3.connect(":memory:")) as anew:
        fulltext.create(anew, org)
        anew.execute("CREATE TABLE terms (org, term, count, PRIMARY KEY (org, term))")
        tables = _indexes(store, org)
        assert tables
        assert tables.keys() == _indexes(anew, org).keys()
        entered = dict(store.execute("SELECT seq, entered FROM unindexed WHERE org = ?", (org,)))
        indexed = [
            queued.Indexed(row.entry or 0, msgspec.json.encode(row.doc).decode(), entered.get(row.seq))
            for row in rows
            if entered.get(row.seq) != 0
        ]
        queued.index_anew(anew, org, [*indexed, *queued.leaving(store, org)])
        counts = "SELECT term, count FROM terms WHERE org = ? ORDER BY term"
        assert store.execute(counts, (org,)).fetchall() == anew.execute(counts, (org,)).fetchall()
        for table in tables:
            for stored, derived in zip_longest(_entries(store, table), _entries(anew, table)):
                assert stored == derived, table


def _indexes(connection: sqlite3.Connection, org: int) -> dict[str, str]:
    """Return the full-text tables of an organisation, and the SQL that created each."""
    sql = r"SELECT name, sql FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%fts5(%' AND name LIKE ?"
    return dict(connection.execute(rf"{sql} ESCAPE '\'", (rf"%\_{org}",)).fetchall())


def _entries(connection: sqlite3.Connection, table: str) -> Iterator[list[Any]]:
    connection.execute("DROP TABLE IF EXISTS temp.entries")
    connection.execute(f"CREATE VIRTUAL TABLE temp.entries USING fts5vocab(main, {table}, instance)")
    entries = connection.execute("SELECT term, doc, col, offset FROM temp.entries")
    return iter(lambda: entries.fetchmany(_STEP), [])
