"""From a filter to SQL that walks an index in the order asked for and stops when the page is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import define, field

from memtrace_server.folding import fold
from memtrace_server.store.records import Direction, Filter
from memtrace_server.store.sqlite import fulltext

_PLACE = ("m.time", "m.seq")
_LAST_ROW = 2**63 - 1
_IMPORTANT = 0.7  # from here on there is an index
_USUAL = {"type:episodic", "event:general"}  # what most memories are: no label, the time index serves as well


def labels(memory_type: str, event_type: str, tags: Sequence[str]) -> list[str]:
    """What a memory is found by."""
    of_kind = [label for label in (f"type:{memory_type}", f"event:{event_type}") if label not in _USUAL]
    return of_kind + [f"tag:{tag}" for tag in tags]


@define
class Query:
    """A SELECT in the making.

    Attributes:
        sql: Its text.
        values: What its question marks stand for.
    """

    sql: str
    values: list[Any] = field(factory=list)

    def add(self, condition: str, *values: object) -> None:
        """Ask for one more condition."""
        self.sql += f" AND {condition}"
        self.values += values


def page(  # noqa: PLR0913 - a page is what it is
    org: int,
    wanted: Filter,
    now: int,
    *,
    columns: str,
    order: Direction,
    limit: int,
    after: tuple[int, int] | None = None,
    offset: int = 0,
    in_order: bool = False,
) -> Query:
    """The query for a page of memories, in order of (time, seq).

    `in_order` says that the organisation's rows rise with its times, so that the full-text index can be read
    in its own order.
    """
    query, place = _drive(org, wanted, in_order=in_order)
    query.add("(m.expires_at IS NULL OR m.expires_at > ?)", now)
    _narrow(query, org, wanted, is_bounded=place[0] == "l.time")
    if after is not None:
        sign = "<" if order == "desc" else ">"
        query.add(f"({', '.join(place)}) {sign} ({', '.join('?' * len(place))})", *after[-len(place) :])
    ordering = ", ".join(f"{column} {order}" for column in place)
    query.sql = f"SELECT {columns} {query.sql} ORDER BY {ordering} LIMIT ? OFFSET ?"
    query.values += [limit, offset]
    return query


def is_search(wanted: Filter) -> bool:
    """Whether the full-text index is asked."""
    return wanted.words is not None or _piece(0, wanted) is not None


def matches(doc: str, metadata: str) -> bool:
    """SQL function: whether a memory's metadata has every one of these values."""
    has = msgspec.json.decode(doc).get("metadata") or {}
    return all(
        name in has and _equal(has[name], value) for name, value in msgspec.json.decode(metadata).items()
    )


def contains(doc: str, folded: str) -> bool:
    """SQL function: whether a memory's content contains a text, whatever its case."""
    return folded in fold(msgspec.json.decode(doc)["content"])


def _drive(org: int, wanted: Filter, *, in_order: bool) -> tuple[Query, tuple[str, ...]]:
    """What the query walks, and the columns that tell a place in it.

    The full-text index if words or a piece of text are asked for; else the rarest of the labels that we can
    tell; else the time index of the session, the agent or the organisation.
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
        return Query(f"FROM memories m INDEXED BY {index} WHERE m.org = ?{condition}", [org]), _PLACE
    sql = "FROM labels l CROSS JOIN memories m ON m.seq = l.seq WHERE l.org = ? AND l.label = ?"
    query = Query(sql, [org, label])
    for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            query.add(f"l.time {sign} ?", bound)
    return query, ("l.time", "l.seq")


def _bound_rows(query: Query, org: int, wanted: Filter, row: str) -> None:
    """Where rows rise with times, a span of time is a span of rows."""
    first = "(SELECT seq FROM memories WHERE org = ? AND time >= ? ORDER BY time, seq LIMIT 1)"
    if wanted.since is not None:
        query.add(f"{row} >= {first}", org, wanted.since)
    if wanted.until is not None:
        query.add(f"{row} < coalesce({first}, {_LAST_ROW})", org, wanted.until)


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
    is_important = wanted.min_importance is not None and wanted.min_importance >= _IMPORTANT
    important = f" AND m.importance >= {_IMPORTANT}"
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


def _narrow(query: Query, org: int, wanted: Filter, *, is_bounded: bool) -> None:
    """Ask for every condition; those that drive the query are asked again, at little cost.

    But SQLite sorts what comes in order when there are too many: so those on the time are not asked again,
    and those that no index serves are made one.
    """
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
    rest = _rest(org, wanted)
    if rest:
        cases = " ".join(f"WHEN NOT ({condition}) THEN 0" for condition, _ in rest)
        query.add(f"CASE {cases} ELSE 1 END", *[value for _, value in rest])


def _rest(org: int, wanted: Filter) -> list[tuple[str, object]]:
    """Conditions that no index of `memories` serves, each with its value."""
    has_tag = "EXISTS (SELECT 1 FROM labels WHERE (org, label, time, seq) = (m.org, ?, m.time, m.seq))"
    rest: list[tuple[str, object]] = [(has_tag, f"tag:{tag}") for tag in wanted.tags]
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
