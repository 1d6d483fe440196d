"""The statement that writes a transaction's pending changes.

A group of small writes becomes one statement, with rows from JSON. Facts that must not have changed since
they were read are compared when they are replaced: an original by its row, a response by its moment, a memory
by whether it is superseded. If another server has changed them, fewer rows are returned than were sent, the
statement fails, and the group is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from psycopg import errors

from memtrace_server.folding import fold
from memtrace_server.search import analysis
from memtrace_server.search.documents import Document
from memtrace_server.store.counting import ACTIVE, SESSIONS
from memtrace_server.store.pending import Kept, Pending, Said
from memtrace_server.store.postgres import lexemes
from memtrace_server.store.postgres.connecting import Connection
from memtrace_server.store.records import NewMemory
from memtrace_server.store.tables import encoded

PLACES = 1 << 20
"""Number of positions of a transaction, more than a group has memories."""

FIRST_PLACE = 1 << 62
"""The first position of memories that are stored; imported memories have their rows as positions."""

MEMORIES = "#memories"
"""The kind of the count of an organisation's memories."""

LARGE = 16 << 20
"""Maximum characters of memories and their search texts in a statement; a larger memory has its own.
PostgreSQL accepts at most 1 GB."""

NOTHING = -1
"""Stands for a missing row or moment that is replaced."""

_FLUSH = f"""
WITH memory AS (
    INSERT INTO memories (org, seq, place, agent_id, session_id, memory_type, event_type, time, importance,
        created_at, expires_at, supersedes, lexemes, folded, words, doc)
    SELECT %(org)s, s, CASE WHEN n IS NULL THEN s
            ELSE (SELECT first FROM places) + (pg_current_xact_id()::text::bigint * {PLACES}) + n END,
        a, ss, mt, et, t, i, c, e, su, l, f, w, d
    FROM json_to_recordset(%(memories)s) AS x (s bigint, n integer, a text, ss text, mt text,
        et text, t bigint, i double precision, c bigint, e bigint, su bigint, l tsvector, f text, w text,
        d text)
), original AS (
    INSERT INTO originals (org, fingerprint, seq, replaced)
    SELECT %(org)s, decode(f, 'hex'), s, r FROM json_to_recordset(%(originals)s)
        AS x (f text, s bigint, r bigint) ORDER BY 2
    ON CONFLICT (org, fingerprint) DO UPDATE SET seq = excluded.seq, replaced = excluded.replaced,
        stored_at = NULL
        WHERE originals.seq = excluded.replaced
    RETURNING 1
), duplicate AS (
    INSERT INTO duplicates (org, fingerprint, seq)
    SELECT %(org)s, decode(f, 'hex'), s FROM json_to_recordset(%(duplicates)s) AS x (f text, s bigint)
), answer AS (
    INSERT INTO answers
    SELECT %(org)s, k, t, r, decode(q, 'hex'), s, decode(b, 'base64'), a, l, m
    FROM json_to_recordset(%(answers)s)
        AS x (k text, t bigint, r bigint, q text, s integer, b text, a text, l text, m text)
        ORDER BY 2
    ON CONFLICT (org, key) DO UPDATE SET answered_at = excluded.answered_at, replaced = excluded.replaced,
        request = excluded.request, status = excluded.status, body = excluded.body,
        agent_id = excluded.agent_id, location = excluded.location, memories = excluded.memories
        WHERE answers.answered_at = excluded.replaced
    RETURNING 1
), superseded AS (
    UPDATE memories m SET superseded_by = n, superseded_at = t FROM json_to_recordset(%(superseded)s)
        AS x (s bigint, n bigint, t bigint)
    WHERE m.org = %(org)s AND m.seq = s AND m.superseded_by IS NULL
        -- Row by row, and not all of the organisation's beside one another.
        AND m.seq = ANY(ARRAY(SELECT s FROM json_to_recordset(%(superseded)s) AS x (s bigint)))
    RETURNING 1
), agent AS (
    INSERT INTO agents (org, id, created_at)
    SELECT %(org)s, a, t FROM json_to_recordset(%(agents)s) AS x (a text, t bigint) ORDER BY 2
    ON CONFLICT DO NOTHING
), returned AS (
    UPDATE agents g SET is_deleted = false, created_at = t, last_active_at = NULL
    FROM json_to_recordset(%(agents)s) AS x (a text, t bigint)
    WHERE g.org = %(org)s AND g.id = a AND g.is_deleted
), session AS (
    INSERT INTO sessions (org, id, agent_id, metadata, created_at, updated_at)
    SELECT %(org)s, s, a, m, t, t FROM json_to_recordset(%(sessions)s)
        AS x (s text, a text, m text, t bigint) ORDER BY 2
    ON CONFLICT DO NOTHING
    RETURNING agent_id
), count AS (
    INSERT INTO counts
    SELECT %(org)s, a, k, %(slot)s, sum(n), max(t) FROM (
        SELECT * FROM json_to_recordset(%(counts)s) AS x (a text, k text, n bigint, t bigint)
        UNION ALL
        SELECT agent_id, kind, 1, NULL FROM session, (VALUES ('{SESSIONS}'), ('{ACTIVE}')) AS k (kind)
    ) AS x (a, k, n, t) GROUP BY a, k ORDER BY 2, 3
    ON CONFLICT (org, agent_id, kind, slot) DO UPDATE SET number = counts.number + excluded.number,
        active_at = greatest(counts.active_at, excluded.active_at)
), recent AS (
    INSERT INTO recent_counts
    SELECT %(org)s, a, p, %(slot)s, m, e FROM json_to_recordset(%(recent)s)
        AS x (a text, p bigint, m bigint, e bigint) ORDER BY 2, 3
    ON CONFLICT (org, agent_id, period, slot) DO UPDATE SET
        memories = recent_counts.memories + excluded.memories,
        errors = recent_counts.errors + excluded.errors
)
SELECT 1 / (((SELECT count(*) FROM original) = %(compared)s AND (SELECT count(*) FROM answer) = %(answered)s
    AND (SELECT count(*) FROM superseded) = %(replaced)s)::integer) AS is_written
"""

_Row = dict[str, Any]


class Conflict(Exception):  # noqa: N818 - a signal to begin again
    """Facts that were read have been changed by another server."""


class Statement(msgspec.Struct, frozen=True):
    """A statement that writes data of one organisation.

    Attributes:
        org: The organisation.
        slot: The slot in which the thread counts.
        values: The rows for each part of the statement.
    """

    org: int
    slot: int
    values: Mapping[str, Sequence[_Row]]

    def run(self, connection: Connection) -> None:
        """Run the statement.

        Raises:
            Conflict: Facts that were read have been changed since.
        """
        values: dict[str, Any] = {name: encoded(rows) for name, rows in self.values.items()}
        for name, rows in (("compared", "originals"), ("answered", "answers"), ("replaced", "superseded")):
            values[name] = len(self.values[rows])
        try:
            connection.execute(_FLUSH.encode(), {**values, "org": self.org, "slot": self.slot})
        except errors.DivisionByZero:
            raise Conflict from None


def statements(pending: Pending, slot: int, places: int) -> Iterator[Statement]:
    """Yield the statements that write pending changes.

    Args:
        pending: The pending changes.
        slot: The slot in which this thread counts.
        places: The number of positions that the transaction has used already.
    """
    values = _values(pending, places)
    orgs = sorted({row["o"] for rows in values.values() for row in rows})
    for org in orgs:
        of_org = values
        if len(orgs) > 1:
            of_org = {name: [row for row in rows if row["o"] == org] for name, rows in values.items()}
        *parts, last = _parts(of_org["memories"])
        for part in parts:
            yield Statement(org, slot, {**dict.fromkeys(of_org, ()), "memories": part})
        yield Statement(org, slot, {**of_org, "memories": last})


def _values(pending: Pending, places: int) -> dict[str, list[_Row]]:
    """Return the rows for each part of the statement, with their organisation."""
    counted: Counter[int] = Counter()
    for (org, _, kind), number in pending.counts.items():
        counted[org] += 0 if kind in {SESSIONS, ACTIVE} else number
    active = {key: activity.last for key, activity in pending.agents.items()}
    idle = active.keys() - {(org, agent) for org, agent, _ in pending.counts}
    return {
        "memories": [
            memory_row(org, memory, None if pending.is_imported else place)
            for place, ((org, _), memory) in enumerate(pending.memories.items(), places)
        ],
        "originals": [
            {**_said(said), "r": NOTHING if said.replaced is None else said.replaced}
            for said in pending.said
            if said.is_first
        ],
        "duplicates": [_said(said) for said in pending.said if not said.is_first],
        "answers": [_answer(org, key, kept) for (org, key), kept in pending.answers.items()],
        "superseded": [
            {"o": org, "s": older, "n": newer.seq, "t": newer.created_at}
            for (org, older), newer in pending.superseded.items()
        ],
        "agents": [
            {"o": org, "a": agent, "t": activity.first} for (org, agent), activity in pending.agents.items()
        ],
        "sessions": [
            {"o": org, "s": s.id, "a": s.agent_id, "m": s.metadata, "t": s.created_at}
            for (org, _), s in pending.sessions.items()
        ],
        "counts": [
            *({"o": org, "a": agent, "k": kind, "n": number, "t": active.get((org, agent))}
              for (org, agent, kind), number in pending.counts.items()),
            *({"o": org, "a": agent, "k": SESSIONS, "n": 0, "t": active[org, agent]} for org, agent in idle),
            *({"o": org, "a": "", "k": MEMORIES, "n": number, "t": None}
              for org, number in counted.items() if number),
        ],
        "recent": [
            {"o": org, "a": agent, "p": period, "m": number, "e": pending.recent_errors[org, agent, period]}
            for (org, agent, period), number in pending.recent.items()
        ],
    }  # fmt: skip


def memory_row(org: int, memory: NewMemory, place: int | None) -> _Row:
    """Return the row of a memory; `place` is its position in the transaction, None if it is imported."""
    doc = memory.doc
    folded, words, found_by = texts(org, memory, Document.read(doc))
    return {
        "o": org, "s": memory.seq, "n": place, "a": memory.agent_id, "ss": memory.session_id,
        "mt": memory.memory_type, "et": memory.event_type, "t": memory.time, "i": memory.importance,
        "c": memory.created_at, "e": memory.expires_at, "su": memory.supersedes,
        "l": found_by, "f": folded, "w": words, "d": doc,
    }  # fmt: skip


def texts(org: int, memory: NewMemory, document: Document) -> tuple[str, str, str]:
    """Return the search texts of a memory.

    Returns:
        The folded content, in which parts of texts are searched; the words of the content, each between
        spaces; and the lexemes, as the text of a `tsvector`.
    """
    words, stems = analysis.words_and_found_by(document.content)
    labels = document.labels
    if labels:
        stems += analysis.found_by(labels)
    folded = storable(fold(document.content))
    return folded, f" {' '.join(words)} ", lexemes.of(org, memory, document.metadata, stems)


def _said(said: Said) -> _Row:
    return {"o": said.org, "f": said.fingerprint.hex(), "s": said.seq}


def _answer(org: int, key: str, kept: Kept) -> _Row:
    answer = kept.answer
    return {
        "o": org, "k": key, "t": kept.at, "r": NOTHING if kept.replaced is None else kept.replaced,
        "q": answer.request.hex(), "s": answer.status, "b": answer.body, "a": answer.agent_id,
        "l": answer.location, "m": encoded([answer.rows, answer.duplicates]),
    }  # fmt: skip


def _parts(memories: Sequence[_Row]) -> Sequence[Sequence[_Row]]:
    """Split memories into parts that fit into a statement; at least one part, which may be empty."""
    parts: list[list[_Row]] = [[]]
    size = 0
    for memory in memories:
        size += _size(memory)
        if size > LARGE and parts[-1]:
            parts.append([])
            size = _size(memory)
        parts[-1].append(memory)
    return parts


def _size(memory: _Row) -> int:
    return sum(len(memory[name]) for name in ("d", "f", "w", "l"))


def storable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL does not support."""
    return text.replace("\0", "\ue000")


def pattern(piece: str) -> str:
    r"""Return the pattern of LIKE for texts that contain a part.

    Example:
        >>> pattern("50%")
        '%50\\%%'
    """
    escaped = storable(piece).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
