"""The queues of memories that enter and leave the full-text index.

A long memory is processed in several transactions (see `entries.Parts`), and a row says how much of it the
index has. So nothing is lost or done twice, even if other processes do the same, or this process is killed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain

import msgspec
from attrs import field, frozen

from memtrace_server.search.documents import Document
from memtrace_server.store.sqlite import queries
from memtrace_server.store.sqlite.commits import immediate
from memtrace_server.store.sqlite.entries import Entries, Entry, Part, Parts, groups
from memtrace_server.store.tables import encoded

_LONG = 2_000  # characters of a document that count as one more memory
_TEXT = 128 << 10  # maximum characters of documents that are analysed together, except a single longer one
_DRAINED = 1_000  # memories that leave the index together

_LEAVING_DOC = "iif(l.text IS NULL, l.doc, l.doc || (SELECT t.text FROM texts t WHERE t.id = l.text))"

Connect = Callable[[], AbstractContextManager[sqlite3.Connection]]


def weight(length: int) -> int:
    """Return the work of indexing a memory with some number of characters; 1 for a short one."""
    return 1 + length // _LONG


class Queued(msgspec.Struct, frozen=True):
    """A queued memory.

    Attributes:
        number: The memory's number in the index, which no other memory gets; an import may use its row again.
        doc: The memory as JSON.
        at: How much of the memory the index has, if it has a part.
    """

    number: int
    doc: str
    at: int | None


@frozen
class Batch:
    """Memories of one organisation that enter or leave its index.

    Attributes:
        org: The organisation.
        is_leaving: Whether the memories leave the index.
        queued: The memories.
        weight: The work of the memories.
    """

    org: int
    is_leaving: bool
    queued: Sequence[Queued]
    weight: int


def next_org(connection: sqlite3.Connection, after: int) -> int | None:
    """Return the first organisation after one that has queued memories."""
    first = "SELECT min(org) AS org FROM {} WHERE org > ?"
    either = f"{first.format('unindexed')} UNION ALL {first.format('leaving')}"
    (org,) = connection.execute(f"SELECT min(org) FROM ({either})", (after, after)).fetchone()
    return None if org is None else int(org)


def take(connection: sqlite3.Connection, org: int, size: int) -> Batch:
    """Return queued memories of an organisation, up to a size: those that leave, or the newest that enter."""
    found = _leaving(connection, org, size)
    if found.queued:
        return found
    entering = connection.execute(
        f"SELECT m.entry, {queries.DOC}, nullif(u.entered, 0) FROM unindexed u"
        " CROSS JOIN memories m ON m.seq = u.seq WHERE u.org = ? ORDER BY u.seq DESC",
        (org,),
    )
    return _batch(org, entering, size, is_leaving=False)


def write(writer: Connect, batch: Batch) -> tuple[float, float]:
    """Add memories to the index, or remove them, in short transactions.

    Args:
        writer: Lends the connection for writing, for one transaction.
        batch: The memories.

    Returns:
        The seconds of work, and their estimate.
    """
    positions = {each.number: each.at for each in batch.queued}
    whole: list[Entry] = []
    begun: list[Entry] = []
    for each in batch.queued:
        entry = Entry.of(each.number, Document.read(each.doc))
        (whole if each.at is None else begun).append(entry)
    held = estimated = 0.0
    for some, together, cost in groups(whole, is_removed=batch.is_leaving):
        estimated += cost
        if together is None:
            begun += some
            continue
        with writer() as connection:
            started = time.thread_time()
            _write_whole(connection, batch, some, together)
            held += time.thread_time() - started
    for entry in begun:
        held += _write_in_parts(writer, batch, entry, positions[entry.number])
    return held, estimated


def drain(writer: Connect) -> None:
    """Remove all memories from the index that are queued to leave it."""
    while True:
        with writer() as connection:
            (org,) = connection.execute("SELECT min(org) FROM leaving").fetchone()
            if org is None:
                return
            batch = _leaving(connection, org, _DRAINED)
        write(writer, batch)


@frozen
class Indexed:
    """A memory that an index has, in full or in part.

    Attributes:
        number: The memory's number in the index.
        doc: The memory as JSON.
        entered: How much of the memory has entered the index; None for all.
        remaining: How much of that is still in the index; None if nothing has left.
    """

    number: int
    doc: str = field(repr=False)
    entered: int | None = None
    remaining: int | None = None


def indexed(connection: sqlite3.Connection, org: int) -> Iterator[Indexed]:
    """Yield the memories that an organisation's index should have, including those that are leaving."""
    found = connection.execute(
        f"SELECT m.entry, {queries.DOC}, u.entered FROM memories m"
        " LEFT JOIN unindexed u ON (u.org, u.seq) = (m.org, m.seq)"
        " WHERE m.org = ? AND u.entered IS NOT 0 ORDER BY m.entry",
        (org,),
    )
    return chain((Indexed(*row) for row in found), leaving(connection, org))


def leaving(connection: sqlite3.Connection, org: int) -> Iterator[Indexed]:
    """Yield the memories that are leaving an organisation's index."""
    sql = f"SELECT entry, {_LEAVING_DOC}, entered, remaining FROM leaving l WHERE org = ? ORDER BY entry"
    return (Indexed(*row) for row in connection.execute(sql, (org,)))


def index_anew(connection: sqlite3.Connection, org: int, some: Sequence[Indexed]) -> None:
    """Add memories to an index, each as far as it should be there."""
    whole: list[Entry] = []
    for each in some:
        entry = Entry.of(each.number, Document.read(each.doc))
        if each.entered is None and each.remaining is None:
            whole.append(entry)
            continue
        parts = Parts(entry, is_removed=False)
        entered = len(parts) if each.entered is None else each.entered
        parts.part(0, entered).add(connection, org)
        if each.remaining is not None:
            parts.part(each.remaining, entered).remove(connection, org)
    Entries.of(whole).add(connection, org)


def _leaving(connection: sqlite3.Connection, org: int, size: int) -> Batch:
    found = connection.execute(
        f"SELECT l.entry, {_LEAVING_DOC}, ifnull(l.remaining, l.entered)"
        " FROM leaving l WHERE l.org = ? ORDER BY l.entry",
        (org,),
    )
    return _batch(org, found, size, is_leaving=True)


def _batch(org: int, found: sqlite3.Cursor, size: int, *, is_leaving: bool) -> Batch:
    queued: list[Queued] = []
    taken = characters = 0
    for row in found:
        each = Queued(*row)
        queued.append(each)
        taken += weight(len(each.doc))
        characters += len(each.doc)
        if taken >= size or characters >= _TEXT:
            break
    found.close()
    return Batch(org, is_leaving, queued, taken)


def _write_whole(
    connection: sqlite3.Connection, batch: Batch, some: Sequence[Entry], together: Entries
) -> None:
    values = (batch.org, encoded([entry.number for entry in some]))
    with immediate(connection):
        if batch.is_leaving:
            still = (
                "org = ? AND entry IN (SELECT value FROM json_each(?)) AND ifnull(remaining, entered) IS NULL"
            )
            texts = f"SELECT text FROM leaving WHERE {still} AND text IS NOT NULL"
            connection.execute(f"DELETE FROM texts WHERE id IN ({texts})", values)
            sql = f"DELETE FROM leaving WHERE {still} RETURNING entry"
        else:
            sql = (
                "DELETE FROM unindexed WHERE org = ?1 AND seq IN (SELECT m.seq FROM json_each(?2) j"
                " CROSS JOIN memories m ON m.org = ?1 AND m.entry = j.value) AND entered = 0"
                " RETURNING (SELECT entry FROM memories m WHERE m.seq = unindexed.seq)"
            )
        left = {number for (number,) in connection.execute(sql, values).fetchall()}
        if len(left) < len(some):  # others have been forgotten, or written by another process
            together = Entries.of([entry for entry in some if entry.number in left])
        (together.remove if batch.is_leaving else together.add)(connection, batch.org)


def _write_in_parts(writer: Connect, batch: Batch, entry: Entry, at: int | None) -> float:
    parts = Parts(entry, is_removed=batch.is_leaving)
    if at is None:
        at = len(parts) if batch.is_leaving else 0
    write_part = _take_out if batch.is_leaving else _put_in
    held = 0.0
    for part in parts.left(at):
        with writer() as connection:
            started = time.thread_time()
            with immediate(connection):
                is_ours = write_part(connection, batch.org, part, len(parts))
            held += time.thread_time() - started
        if not is_ours:  # it has been forgotten, or another process does the same
            break
    return held


def _put_in(connection: sqlite3.Connection, org: int, part: Part, size: int) -> bool:
    row = "(org, seq) = (?1, (SELECT seq FROM memories WHERE (org, entry) = (?1, ?2)))"
    sql = f"UPDATE unindexed SET entered = ?4 WHERE {row} AND entered = ?3"
    if not connection.execute(sql, (org, part.number, part.start, part.end)).rowcount:
        return False
    part.add(connection, org)
    if part.end == size:
        connection.execute(f"DELETE FROM unindexed WHERE {row}", (org, part.number))
    return True


def _take_out(connection: sqlite3.Connection, org: int, part: Part, size: int) -> bool:
    row = "(org, entry) = (?1, ?2)"
    sql = f"UPDATE leaving SET remaining = ?3 WHERE {row} AND coalesce(remaining, entered, ?4) = ?5"
    if not connection.execute(sql, (org, part.number, part.start, size, part.end)).rowcount:
        return False
    part.remove(connection, org)
    if part.start == 0:
        sql = f"DELETE FROM texts WHERE id = (SELECT text FROM leaving WHERE {row})"
        connection.execute(sql, (org, part.number))
        connection.execute(f"DELETE FROM leaving WHERE {row}", (org, part.number))
    return True
