"""Fingerprints of the last day's memories, by which duplicates are found.

The first 64 bits of each are stored; memories with the same bits are compared themselves. There is no index
from a memory to its fingerprint, which is computed again when needed: this saves one page per write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from memtrace_server import fingerprints, times
from memtrace_server.store.facts import Original
from memtrace_server.store.pending import Said
from memtrace_server.store.records import Found
from memtrace_server.store.sqlite import bulk, queries

Position = tuple[int, int, int]
"""An organisation, a fingerprint and a row."""

START: Position = (0, 0, 0)
"""The first position."""

_FIRST = (
    "SELECT d.seq FROM duplicates d JOIN memories o ON o.seq = d.seq"
    " WHERE d.org = ? AND d.fingerprint = f.column1 AND d.seq > f.column2"
    " AND ifnull(d.stored_at, d.seq) >= ? AND (o.expires_at IS NULL OR o.expires_at > ?)"
    " ORDER BY d.seq LIMIT 1"
)


def short(fingerprint: bytes) -> int:
    """Return the bits of a fingerprint that are stored."""
    return int.from_bytes(fingerprint[:8], "big", signed=True)


def add(connection: sqlite3.Connection, said: Iterable[Said]) -> None:
    """Store fingerprints."""
    # The row is the time of storing, also if the clock is behind, and for a while if it is ahead.
    rows = [(each.org, short(each.fingerprint), each.seq, None) for each in said]
    bulk.insert(connection, "INSERT INTO duplicates", rows)


def remove(  # noqa: PLR0913, PLR0917 - the fields of a fingerprint
    connection: sqlite3.Connection, org: int, seq: int, doc: str, created_at: int, expires_at: int | None
) -> None:
    """Remove the fingerprint of a memory."""
    made = fingerprints.of_memory(doc, created_at, expires_at)
    connection.executemany(
        "DELETE FROM duplicates WHERE (org, fingerprint, seq) = (?, ?, ?)",
        [(org, short(each), seq) for each in made],
    )


def originals(
    connection: sqlite3.Connection, org: int, wanted: Sequence[bytes], since: int, now: int
) -> dict[bytes, list[Original]]:
    """Return the first memory of each fingerprint, stored since a moment (ns) and not expired."""
    found: dict[bytes, list[Original]] = {}
    asked: dict[int, list[bytes]] = {}
    for fingerprint in wanted:
        asked.setdefault(short(fingerprint), []).append(fingerprint)
    after = dict.fromkeys(asked, since - 1)  # a row is never less than its time of storing
    while after:
        others: dict[int, int] = {}
        for some in bulk.parts(list(after.items())):
            rows = connection.execute(
                "SELECT f.column1, m.seq, m.time, m.created_at, m.expires_at,"
                f" {queries.WHOLE_DOC}, {queries.NEWER} FROM (VALUES {', '.join(['(?, ?)'] * len(some))}) f"
                f" JOIN memories m ON m.seq = ({_FIRST})",
                (*(value for pair in some for value in pair), org, since, now),
            )
            for bits, seq, time, created_at, expires_at, doc, newer in rows:
                memory = Found(seq=seq, time=time, doc=doc, superseded_by=newer)
                equal = fingerprints.of_memory(doc, created_at, expires_at)
                for fingerprint in asked[bits]:
                    if fingerprint in found:
                        continue
                    if fingerprint in equal:
                        found[fingerprint] = [Original(seq, seq, memory, expires_at)]  # not stored later
                    else:
                        others[bits] = seq
        after = others
    return found


def sweep(connection: sqlite3.Connection, after: Position, since: int, now: int, limit: int) -> Position:
    """Remove fingerprints stored before a moment (ns), among some; return the position to continue from.

    Fingerprints that were stored while the clock was ahead get the current time, as they would otherwise be
    kept until their own time. If all are later than now, the clock is behind, and they are not changed.
    """
    rows = connection.execute(
        "SELECT org, fingerprint, seq, ifnull(stored_at, seq) FROM duplicates"
        " WHERE (org, fingerprint, seq) > (?, ?, ?) ORDER BY org, fingerprint, seq LIMIT ?",
        (*after, limit),
    ).fetchall()
    connection.executemany(
        "DELETE FROM duplicates WHERE (org, fingerprint, seq) = (?, ?, ?)",
        [position for *position, stored_at in rows if stored_at < since],
    )
    if any(stored_at <= now for *_, stored_at in rows):
        connection.executemany(
            "UPDATE duplicates SET stored_at = ? WHERE (org, fingerprint, seq) = (?, ?, ?)",
            [(now, *position) for *position, stored_at in rows if stored_at > now + times.SECOND],
        )
    return rows[-1][:3] if len(rows) == limit else START
