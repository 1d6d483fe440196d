"""Reading memories as documents, joined with the texts of long ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec

from memtrace_server.store.records import Found
from memtrace_server.store.sqlite import queries
from memtrace_server.store.tables import encoded


def read(connection: sqlite3.Connection, org: int, query: queries.Query) -> list[Found]:
    """Return the rows of a query for row, time and document, in any order, fetched in one step."""
    names = ("seq", "time", "doc", "newer") if query.has_newer else ("seq", "time", "doc")
    lines = ", ".join(f"group_concat(ifnull({name}, ''), char(10))" for name in names)
    tails = "group_concat(seq || ' ' || tail)"  # NULL tails are skipped
    sql = f"SELECT (SELECT json_quote(id) FROM orgs WHERE number = ?), {tails}, {lines} FROM ({query.sql})"
    org_id, long, *columns = connection.execute(sql, [org, *query.values]).fetchone()
    if columns[0] is None:
        return []
    head = f'{{"org_id":{org_id},'
    rows, moments, docs, *newer = [column.split("\n") for column in columns]  # JSON has no line breaks
    found = [
        Found(seq=seq, time=time, doc=head + doc[1:])
        for seq, time, doc in zip(map(int, rows), map(int, moments), docs, strict=True)
    ]
    if long is not None:
        ends = _texts(connection, dict(pair.split() for pair in long.split(",")))
        found = [
            Found(seq=m.seq, time=m.time, doc=m.doc + ends[m.seq]) if m.seq in ends else m for m in found
        ]
    if not newer:
        return found
    return [msgspec.structs.replace(m, superseded_by=by or None) for m, by in zip(found, *newer, strict=True)]


def _texts(connection: sqlite3.Connection, rows: Mapping[str, str]) -> Mapping[int, str]:
    """Return the long texts of memories by row, from the rows of the texts by row."""
    sql = "SELECT CAST(j.key AS INTEGER), t.text FROM json_each(?) j CROSS JOIN texts t ON t.id = j.value"
    return dict(connection.execute(sql, (encoded(rows),)).fetchall())
