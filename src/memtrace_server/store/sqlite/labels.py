"""Labels by which memories are found: tags, and types and event types other than the usual ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from memtrace_server.store.tables import encoded

USUAL = {"type:episodic", "event:general"}
"""Not labels, because most memories have them, and an index of times serves as well."""

_ADD = "INSERT INTO labels (org, label, is_superseded, time, seq) VALUES (?, ?, 0, ?, ?)"
_FEW = 32  # for fewer labels the statement below is slower: 13 µs more for the two of a single memory
# With rows from JSON, in order, fifty labels for each of a thousand memories take half the time of rows from
# Python.
_ADD_MANY = (
    "WITH f AS MATERIALIZED (SELECT value ->> 0 AS org, value ->> 1 AS time, value ->> 2 AS seq,"
    " value -> 3 AS labels FROM json_each(?))"
    " INSERT INTO labels (org, label, is_superseded, time, seq)"
    " SELECT org, j.value, 0, time, seq FROM f CROSS JOIN json_each(f.labels) j ORDER BY j.value"
)
_LABEL = "(org, label, is_superseded, time, seq) = (?, ?, ?, ?, ?)"


class _Tagged(msgspec.Struct, frozen=True):
    tags: Sequence[str] = ()


_TAGGED = msgspec.json.Decoder(_Tagged)


def of(memory_type: str, event_type: str, tags: Sequence[str]) -> list[str]:
    """Return the labels of a memory."""
    of_kind = [label for label in (f"type:{memory_type}", f"event:{event_type}") if label not in USUAL]
    return of_kind + [f"tag:{tag}" for tag in tags]


def of_stored(memory_type: str, event_type: str, rest: str | bytes) -> list[str]:
    """Return the labels of a memory whose tags are in its JSON."""
    return of(memory_type, event_type, _TAGGED.decode(rest).tags)


def add(connection: sqlite3.Connection, labels: Sequence[tuple[int, int, int, Sequence[str]]]) -> None:
    """Store the labels of new memories, with their organisation, time and row."""
    if sum(len(found_by) for *_, found_by in labels) > _FEW:
        connection.execute(_ADD_MANY, (encoded(labels),))
    else:
        rows = [(org, label, time, seq) for org, time, seq, found_by in labels for label in found_by]
        connection.executemany(_ADD, rows)


def remove(  # noqa: PLR0913 - the fields of a label
    connection: sqlite3.Connection,
    org: int,
    labels: Sequence[str],
    time: int,
    seq: int,
    *,
    is_superseded: bool,
) -> None:
    """Remove the labels of a memory."""
    rows = [(org, label, is_superseded, time, seq) for label in labels]
    connection.executemany(f"DELETE FROM labels WHERE {_LABEL}", rows)


def mark(  # noqa: PLR0913 - as above
    connection: sqlite3.Connection,
    org: int,
    labels: Sequence[str],
    time: int,
    seq: int,
    *,
    is_superseded: bool,
) -> None:
    """Record in the labels of a memory whether it is superseded now, which it was not, or the reverse."""
    rows = [(is_superseded, org, label, not is_superseded, time, seq) for label in labels]
    connection.executemany(f"UPDATE labels SET is_superseded = ? WHERE {_LABEL}", rows)
