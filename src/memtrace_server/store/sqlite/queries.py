"""From a filter to SQL that walks an index in the order asked for and stops when the page is full."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
from attrs import define, field

from memtrace_server.folding import fold
from memtrace_server.store.records import (
    IMPORTANT,
    IMPORTANT_EVENTS,
    IMPORTANT_TYPES,
    Direction,
    Filter,
)
from memtrace_server.store.sqlite import fulltext

_PLACE = ("m.time", "m.seq")
_LAST_ROW = 2**63 - 1
# As it is in the indexes: a query that repeats it is served by them.
_IMPORTANT = (
    f"(m.importance >= {IMPORTANT} OR (m.importance IS NULL AND (m.memory_type IN {IMPORTANT_TYPES}"
    f" OR m.event_type IN {IMPORTANT_EVENTS})))"
)
_USUAL = {"type:episodic", "event:general"}  # what most memories are: no label, the time index serves as well


def labels(memory_type: str, event_type: str, tags: Sequence[str]) -> list[str]:
    """What a memory is found by."""
    of_kind = [label for label in (f"type:{memory_type}", f"event:{event_type}") if label not in _USUAL]
    return of_kind + [f"tag:{tag}" for tag in tags]


NEWER = "(SELECT n.doc ->> 'id' FROM memories n WHERE n.seq = m.superseded_by)"
"""The id of the memory that supersedes `m`."""


@define
class Query:
    """A SELECT in the making.

    Attributes:
        sql: Its text.
        values: What its question marks stand for.
        has_newer: Whether it has a column `newer`: the id of the memory that supersedes the row.
    """

    sql: str
    values: list[Any] = field(factory=list)
    has_newer: bool = False

    def add(self, condition: str, *values: object) -> None:
        """Ask for one more condition."""
        self.sql += f" AND {condition}"
        self.values += values


def page(  # noqa: PLR0913 - a page is what it is
    org: int,
    wanted: Filter,
    now: int,
    *,
    order: Direction,
    limit: int,
    after: tuple[int, int] | None = None,
    offset: int = 0,
    in_order: bool = False,
    has_docs: bool = True,
) -> Query:
    """Return the query for a page of memories, in order of (time, seq).

    Args:
        org: The organisation.
        wanted: Which memories.
        now: The moment of the call, in ns.
        order: Newest first, or oldest.
        limit: Maximum number of rows.
        after: Where the page before ended.
        offset: How many rows to pass over.
        in_order: Whether the organisation's rows rise with its times, so that the full-text index can be read
            in its own order.
        has_docs: Whether to select `doc`, and `newer` if superseded memories are wanted, beside `seq` and
            `time`.
    """
    selects: list[str] = []
    values: list[Any] = []
    columns, has_newer = _columns(wanted, has_docs=has_docs)
    for part in _parts(wanted):
        query, place = _drive(org, wanted, part, in_order=in_order)
        narrow(query, org, wanted, now, is_bounded=place[0] == "l.time", is_part=part is not None)
        if after is not None:
            sign = "<" if order == "desc" else ">"
            query.add(f"({', '.join(place)}) {sign} ({', '.join('?' * len(place))})", *after[-len(place) :])
        time = place[0] if len(place) > 1 else "m.time"
        selects.append(f"SELECT {place[-1]} AS seq, {time} AS time{columns} {query.sql}")
        values += query.values
    # One of two parts is sorted by names, as SQLite merges them then, row by row.
    names = ("time", "seq")[-len(place) :]
    ordering = ", ".join(f"{name} {order}" for name in names)
    sql = f"{' UNION ALL '.join(selects)} ORDER BY {ordering} LIMIT ? OFFSET ?"
    return Query(sql, [*values, limit, offset], has_newer)


def tail(  # noqa: PLR0913 - a page is what it is
    org: int, wanted: Filter, now: int, *, after: int, end: int, limit: int
) -> Query:
    """Return the query for memories in the order of their rows, after one row and up to another."""
    columns, has_newer = _columns(wanted, has_docs=True)
    query = Query("m.seq > ? AND m.seq <= ? AND m.org = ?", [after, end, org], has_newer)
    narrow(query, org, wanted, now)
    sql = f"SELECT m.seq AS seq, m.time AS time{columns} FROM memories m NOT INDEXED WHERE {query.sql}"
    return Query(f"{sql} ORDER BY m.seq LIMIT ?", [*query.values, limit], has_newer)


def _columns(wanted: Filter, *, has_docs: bool) -> tuple[str, bool]:
    """The columns beside row and time, and whether `newer` is one of them."""
    if not (has_docs and wanted.include_superseded):
        return (", m.doc AS doc" if has_docs else ""), False
    newer = NEWER if wanted.as_of is None else f"iif(m.superseded_at <= {wanted.as_of:d}, {NEWER}, NULL)"
    return f", m.doc AS doc, {newer} AS newer", True


def _parts(wanted: Filter) -> tuple[int | None, ...]:
    """What to walk of each index: what is not superseded (0), what is (1); or else what full-text finds."""
    if is_driven_by_text(wanted):
        return (None,)
    return (0, 1) if wanted.include_superseded or wanted.as_of is not None else (0,)


def is_search(wanted: Filter) -> bool:
    """Whether the full-text index is asked."""
    return wanted.words is not None or _piece(0, wanted) is not None


def is_driven_by_text(wanted: Filter) -> bool:
    """Whether a query walks what the full-text index found."""
    return (_words(0, wanted) or _piece(0, wanted)) is not None


def narrow(  # noqa: PLR0913 - what drives the query decides what to ask
    query: Query, org: int, wanted: Filter, now: int, *, is_bounded: bool = False, is_part: bool = False
) -> None:
    """Ask for every condition of a filter, and that the memory `m` is known: the one place that does.

    Conditions that drive the query are asked again, at little cost. But SQLite sorts what comes in order when
    there are too many: so those on the time are not asked again, and those that no index serves are made one.

    Args:
        query: The query.
        org: The organisation.
        wanted: Which memories.
        now: The moment of the call, in ns.
        is_bounded: Whether the query is bounded by time already.
        is_part: Whether the query walks only memories that are superseded, or only those that are not.
    """
    as_of = now if wanted.as_of is None else wanted.as_of
    query.add("(m.expires_at IS NULL OR m.expires_at > ?)", max(now, as_of))
    conditions: list[tuple[str, object]] = [
        ("m.agent_id = ?", wanted.agent_id),
        ("m.session_id = ?", wanted.session_id),
        ("m.importance >= ?", wanted.min_importance),
        ("m.time >= ?", None if is_bounded else wanted.since),
        ("m.time < ?", None if is_bounded else wanted.until),
    ]
    for condition, value in conditions:
        if value is not None:
            query.add(condition, value)
    for column, values in (("memory_type", wanted.memory_types), ("event_type", wanted.event_types)):
        if values:
            query.add(f"m.{column} IN ({', '.join('?' * len(values))})", *values)
    rest = _known(wanted, is_part=is_part) + _rest(org, wanted)
    if rest:
        cases = " ".join(f"WHEN NOT ({condition}) THEN 0" for condition, *_ in rest)
        query.add(f"CASE {cases} ELSE 1 END", *chain.from_iterable(values for _, *values in rest))


def _known(wanted: Filter, *, is_part: bool) -> list[tuple[object, ...]]:
    """The conditions that a memory was stored and not superseded, now or by `as_of`; each with its values."""
    if wanted.as_of is None:
        return [] if wanted.include_superseded or is_part else [("m.superseded_by IS NULL",)]
    known: list[tuple[object, ...]] = [("m.created_at <= ?", wanted.as_of)]
    if not wanted.include_superseded:
        known.append(("(m.superseded_at IS NULL OR m.superseded_at > ?)", wanted.as_of))
    return known


def matches(doc: str, metadata: str) -> bool:
    """SQL function: whether a memory's metadata has every one of these values."""
    has = msgspec.json.decode(doc).get("metadata") or {}
    return all(
        name in has and _equal(has[name], value) for name, value in msgspec.json.decode(metadata).items()
    )


def contains(doc: str, folded: str) -> bool:
    """SQL function: whether a memory's content contains a text, whatever its case."""
    return folded in fold(msgspec.json.decode(doc)["content"])


def _drive(org: int, wanted: Filter, part: int | None, *, in_order: bool) -> tuple[Query, tuple[str, ...]]:
    """What the query walks, and the columns that tell a position in it.

    The full-text index if words or a piece of text are asked for; else the rarest of the labels that we can
    tell; else the time index of the session, the agent or the organisation. Of both, one part.
    """
    match = _words(org, wanted) or _piece(org, wanted)
    if match is not None:
        table, query_text = match
        sql = (
            f"FROM {table} CROSS JOIN memories m ON m.seq = {table}.rowid WHERE {table} MATCH ? AND m.org = ?"
        )
        query = Query(sql, [query_text, org])
        if not in_order:
            return query, _PLACE
        _bound_rows(query, org, wanted, f"{table}.rowid")
        return query, (f"{table}.rowid",)
    label = _rarest_label(wanted)
    if label is None:
        index, condition = _index(wanted)
        walked = f"FROM memories m INDEXED BY {index} WHERE m.org = ? AND m.is_superseded = {part}"
        return Query(f"{walked}{condition}", [org]), _PLACE
    sql = "FROM labels l CROSS JOIN memories m ON m.seq = l.seq WHERE l.org = ? AND l.label = ?"
    query = Query(f"{sql} AND l.is_superseded = {part}", [org, label])
    for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            query.add(f"l.time {sign} ?", bound)
    return query, ("l.time", "l.seq")


def _bound_rows(query: Query, org: int, wanted: Filter, row: str) -> None:
    """Where rows rise with times, a span of time is a span of rows."""
    first = "ifnull((SELECT seq FROM memories WHERE {} ORDER BY time, seq LIMIT 1), {})"
    parts = [f"org = ? AND is_superseded = {part} AND time >= ?" for part in (0, 1)]
    first_row = f"min({', '.join(first.format(part, _LAST_ROW) for part in parts)})"
    for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            query.add(f"{row} {sign} {first_row}", org, bound, org, bound)


def _rarest_label(wanted: Filter) -> str | None:
    if wanted.session_id is not None:
        return None  # a session is small
    if wanted.tags:
        return f"tag:{wanted.tags[0]}"
    return None if wanted.agent_id is not None else _rare_kind(wanted)


def _rare_kind(wanted: Filter) -> str | None:
    """The label of the event type or type asked for, if it is one, and not what most memories are."""
    kinds = [f"event:{e}" for e in wanted.event_types if len(wanted.event_types) == 1]
    kinds += [f"type:{t}" for t in wanted.memory_types if len(wanted.memory_types) == 1]
    return next((kind for kind in kinds if kind not in _USUAL), None)


def _index(wanted: Filter) -> tuple[str, str]:
    """The index of `memories` to walk, and the condition that a query must repeat to be served by it.

    Chosen here, as SQLite without statistics takes the one with most equal columns.
    """
    is_important = wanted.is_important or (wanted.min_importance or 0.0) >= IMPORTANT
    important = f" AND {_IMPORTANT}"
    if wanted.session_id is not None:
        return ("important_by_session", important) if is_important else ("memories_by_session", "")
    if wanted.agent_id is None:
        return "memories_by_time", ""
    kind = _rare_kind(wanted)
    if kind is not None and kind.startswith("event:"):
        return "memories_by_event", " AND m.event_type <> 'general'"
    if kind is not None:
        return "memories_by_type", " AND m.memory_type <> 'episodic'"
    return ("important_by_agent", important) if is_important else ("memories_by_agent", "")


def _rest(org: int, wanted: Filter) -> list[tuple[object, ...]]:
    """Conditions that no index of `memories` serves, each with its values."""
    has_tag = (
        "EXISTS (SELECT 1 FROM labels l WHERE"
        " (l.org, l.label, l.is_superseded, l.time, l.seq) = (m.org, ?, m.is_superseded, m.time, m.seq))"
    )
    rest: list[tuple[object, ...]] = [(has_tag, f"tag:{tag}") for tag in wanted.tags]
    if wanted.is_important:
        rest.append((_IMPORTANT,))
    if wanted.metadata:
        rest.append(("matches(m.doc, ?)", msgspec.json.encode(wanted.metadata)))
    if wanted.words and not wanted.words.wanted:
        table, unwanted = f"words_{org}", fulltext.unwanted_query(wanted.words)
        rest.append((f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table} MATCH ? AND rowid = m.seq)", unwanted))
    piece = _piece(org, wanted)
    if piece is not None and _words(org, wanted) is not None:
        rest.append((f"m.seq IN (SELECT rowid FROM {piece[0]} WHERE {piece[0]} MATCH ?)", piece[1]))
    if wanted.contains:
        rest.append(("contains(m.doc, ?)", fold(wanted.contains)))
    return rest


def _words(org: int, wanted: Filter) -> tuple[str, str] | None:
    """The table and the FTS5 query for the words wanted, if any is."""
    text = fulltext.word_query(wanted.words, wanted.agent_id) if wanted.words else None
    return (f"words_{org}", text) if text else None


def _piece(org: int, wanted: Filter) -> tuple[str, str] | None:
    """The table and the FTS5 query for the piece of text wanted, if it is long enough to be indexed."""
    text = fulltext.piece_query(wanted.contains) if wanted.contains else None
    return (f"pieces_{org}", text) if text else None


def _equal(left: object, right: object) -> bool:
    """JSON's equality, where true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right
