"""Conversion of a filter to SQL that scans an index in the requested order until the page is full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Literal

import msgspec
from attrs import define, field

from memtrace_server.deadlines import check_observed
from memtrace_server.folding import fold
from memtrace_server.search import matching
from memtrace_server.search.documents import Document
from memtrace_server.store.records import (
    IMPORTANT,
    Direction,
    Filter,
    Words,
)
from memtrace_server.store.sqlite import fulltext, labels
from memtrace_server.store.tables import IS_IMPORTANT, LAST

_PLACE = ("m.time", "m.seq")
TAIL = 2_000
"""Number of the newest unindexed rows that a search scans."""

_Rows = Literal["all", "indexed", "unindexed"]
"""The rows that a query scans, by whether the full-text index has them."""


NEWER = "(SELECT 'mem_' || n.ulid FROM memories n WHERE n.seq = m.superseded_by)"
"""The id of the memory that supersedes `m`."""


LONG_TEXT = "(SELECT t.text FROM texts t WHERE t.id = m.text)"
"""The long text of the memory `m` in its own table; NULL if it has none."""

REST = f"iif(m.text IS NULL, m.rest, m.rest || {LONG_TEXT})"
"""The part of the memory `m` that is stored as JSON, with its long text."""


def _doc(rest: str) -> str:
    # Composed in SQL, which takes a microsecond and does not hold the interpreter's lock. `rest` begins with
    # the time, which for most memories also is the time of storing.
    return f"""printf(
    '{{"id":"mem_%s"%s,"agent_id":%s%s,"memory_type":%s,"event_type":%s,%s', m.ulid,
    iif(m.created_at = m.time, ',"created_at":' || substr(m.rest, 9, instr(m.rest, ',') - 9), ''),
    json_quote(m.agent_id), iif(m.session_id IS NULL, '', ',"session_id":' || json_quote(m.session_id)),
    json_quote(m.memory_type), json_quote(m.event_type), substr({rest}, 2)
)"""


DOC = _doc(REST)
"""The memory `m` as in responses, without its organisation."""

HEAD = _doc("m.rest")
"""Like `DOC` without a long text, which takes SQLite long to compose."""

WHOLE_DOC = (
    f"printf('{{\"org_id\":%s,%s', json_quote((SELECT id FROM orgs WHERE number = m.org)), substr({DOC}, 2))"
)
"""The memory `m` as in responses."""


@define
class Query:
    """A SELECT that is being composed.

    Attributes:
        sql: The text.
        values: The values of the question marks.
        has_newer: Whether there is a column `newer`, the id of the memory that supersedes the row.
    """

    sql: str
    values: list[Any] = field(factory=list)
    has_newer: bool = False

    def add(self, condition: str, *values: object) -> None:
        """Add a condition."""
        self.sql += f" AND {condition}"
        self.values += values


def page(  # noqa: PLR0913 - a page has many parameters
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
        wanted: The filter of the memories.
        now: The moment of the call, in ns.
        order: Whether the newest or the oldest come first.
        limit: Maximum number of rows.
        after: The end of the previous page.
        offset: The number of rows to skip.
        in_order: Whether the organisation's entries rise with its times, so that the full-text index can be
            read in its own order.
        has_docs: Whether to select, besides `seq` and `time`, `doc`, the row of the text at its end as
            `tail`, and `newer` if superseded memories are requested.
    """
    selects: list[str] = []
    values: list[Any] = []
    columns, has_newer = _columns(wanted, has_docs=has_docs)
    rows: _Rows = "indexed" if is_search(wanted) else "all"
    parts = _parts(wanted)
    # What has been superseded since is sorted: without the texts, which the page alone is to have.
    is_late = len(parts) > 1 and not wanted.include_superseded
    for part in parts:
        query, place = _drive(org, wanted, part, in_order=in_order)
        narrow(query, org, wanted, now, rows, is_bounded=place[0] == "l.time", is_part=part is not None)
        is_by_entry = len(place) == 1
        if after is not None and is_by_entry:
            bound, sign = (">=", "<") if order == "desc" else (">", ">=")
            _bound(query, org, f"{place[0]} {sign}", f"(time, seq) {bound} (?, ?)", *after)
        elif after is not None:
            query.add(f"({', '.join(place)}) {'<' if order == 'desc' else '>'} (?, ?)", *after)
        time, seq = _PLACE if is_by_entry else place
        selects.append(f"SELECT {seq} AS seq, {time} AS time{'' if is_late else columns} {query.sql}")
        values += query.values
    # One of two parts is sorted by names, as SQLite merges them then, row by row.
    names = place if is_by_entry else ("time", "seq")
    ordering = ", ".join(f"{name} {order}" for name in names)
    sql = f"{' UNION ALL '.join(selects)} ORDER BY {ordering} LIMIT ? OFFSET ?"
    if is_late:
        found = f"SELECT p.seq AS seq, p.time AS time{columns} FROM ({sql}) p"
        sql = f"{found} CROSS JOIN memories m ON m.seq = p.seq ORDER BY p.time {order}, p.seq {order}"
    return Query(sql, [*values, limit, offset], has_newer)


def tail(  # noqa: PLR0913 - a page has many parameters
    org: int, wanted: Filter, now: int, *, after: int, end: int, limit: int
) -> Query:
    """Return the query for memories in the order of their rows, after one row and up to another."""
    columns, has_newer = _columns(wanted, has_docs=True)
    query = Query("m.seq > ? AND m.seq <= ? AND m.org = ?", [after, end, org], has_newer)
    narrow(query, org, wanted, now, "all")
    sql = f"SELECT m.seq AS seq, m.time AS time{columns} FROM memories m NOT INDEXED WHERE {query.sql}"
    return Query(f"{sql} ORDER BY m.seq LIMIT ?", [*query.values, limit], has_newer)


def unindexed(  # noqa: PLR0913 - as a page is
    org: int,
    wanted: Filter,
    now: int,
    *,
    order: Direction,
    limit: int,
    after: tuple[int, int] | None = None,
    before: int = LAST,
    shown: Filter | None = None,
) -> Query:
    """Return the query for the same page among the newest unindexed rows below a row.

    `shown` determines the columns, by default `wanted`.
    """
    newest = "SELECT seq FROM unindexed WHERE org = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    sql = f"FROM ({newest}) u CROSS JOIN memories m ON m.seq = u.seq WHERE m.org = ?"
    query = Query(sql, [org, before, TAIL, org])
    narrow(query, org, wanted, now, "unindexed")
    if after is not None:
        query.add(f"({', '.join(_PLACE)}) {'<' if order == 'desc' else '>'} (?, ?)", *after)
    ordering = ", ".join(f"{column} {order}" for column in _PLACE)
    columns, has_newer = _columns(shown or wanted, has_docs=True)
    sql = f"SELECT m.seq AS seq, m.time AS time{columns} {query.sql} ORDER BY {ordering} LIMIT ?"
    return Query(sql, [*query.values, limit], has_newer)


def among(org: int, entries: Sequence[int], wanted: Filter, now: int, limit: int) -> Query:
    """Return the query for the matching ones of some indexed memories, in the given order."""
    sql = "FROM json_each(?) j CROSS JOIN memories m ON m.org = ? AND m.entry = j.value WHERE true"
    query = Query(sql, [_json(entries), org])
    narrow(query, org, wanted, now, "indexed")
    columns, has_newer = _columns(wanted, has_docs=True)
    sql = f"SELECT m.seq AS seq, m.time AS time{columns} {query.sql} ORDER BY j.key LIMIT ?"
    return Query(sql, [*query.values, limit], has_newer)


def these(org: int, rows: Sequence[int], wanted: Filter) -> Query:
    """Return the query for the memories with some rows."""
    columns, has_newer = _columns(wanted, has_docs=True)
    sql = f"SELECT m.seq AS seq, m.time AS time{columns} FROM json_each(?) j CROSS JOIN memories m"
    return Query(f"{sql} ON m.seq = j.value WHERE m.org = ?", [_json(rows), org], has_newer)


def following(org: int, rows: Sequence[int], wanted: Filter, now: int, before: int) -> Query:
    """Return the query for rows, each with the next row in its session."""
    parts: list[str] = []
    values: list[Any] = []
    for part in _parts(wanted):
        query = Query(
            "FROM memories m INDEXED BY memories_by_session"
            f" WHERE m.org = c.org AND m.session_id = c.session_id AND m.is_superseded = {part}"
            " AND (m.time, m.seq) > (c.time, c.seq)"
        )
        query.add("m.seq < ?", before)
        narrow(query, org, wanted, now, "all", is_part=True)
        parts.append(
            f"SELECT * FROM (SELECT m.time AS time, m.seq AS seq {query.sql} ORDER BY m.time, m.seq LIMIT 1)"
        )
        values += query.values
    first = f"SELECT seq FROM ({' UNION ALL '.join(parts)}) ORDER BY time, seq LIMIT 1"
    sql = f"SELECT c.seq, ({first}) FROM json_each(?) j CROSS JOIN memories c ON c.seq = j.value"
    return Query(f"{sql} WHERE c.org = ? AND c.session_id IS NOT NULL", [*values, _json(rows), org])


def in_time(org: int, wanted: Filter, limit: int) -> Query:
    """Return the query for the number of memories of the filter's time, at most `limit` of each part."""
    counts: list[str] = []
    values: list[Any] = []
    for part in (0, 1):
        walked = f"FROM memories m INDEXED BY memories_by_time WHERE m.org = ? AND m.is_superseded = {part}"
        query = Query(walked, [org])
        for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
            if bound is not None:
                query.add(f"m.time {sign} ?", bound)
        counts.append(f"(SELECT count(*) FROM (SELECT 1 {query.sql} LIMIT ?))")
        values += [*query.values, limit]
    return Query(f"SELECT {' + '.join(counts)}", values)


def entry_bounds(org: int, wanted: Filter) -> Query:
    """Return the conditions on rowid for a span of time, if entries rise with time; each begins with AND."""
    query = Query("")
    _bound_entries(query, org, wanted, "rowid")
    return query


def _columns(wanted: Filter, *, has_docs: bool) -> tuple[str, bool]:
    """Return the columns besides row and time (`doc` lacks the text of `tail`); whether one is `newer`."""
    if not (has_docs and wanted.include_superseded):
        return (f", {HEAD} AS doc, m.text AS tail" if has_docs else ""), False
    newer = NEWER if wanted.as_of is None else f"iif(m.superseded_at <= {wanted.as_of:d}, {NEWER}, NULL)"
    return f", {HEAD} AS doc, m.text AS tail, {newer} AS newer", True


def _parts(wanted: Filter) -> tuple[int | None, ...]:
    """Return the parts of an index to scan: current (0), superseded (1), or None for full-text search."""
    if is_search(wanted):
        return (None,)
    return (0, 1) if wanted.include_superseded or wanted.as_of is not None else (0,)


def is_search(wanted: Filter) -> bool:
    """Return whether a query scans the results of the full-text index."""
    return _match(0, wanted) is not None


def narrow(  # noqa: PLR0913 - the conditions depend on the driving index
    query: Query,
    org: int,
    wanted: Filter,
    now: int,
    rows: _Rows,
    *,
    is_bounded: bool = False,
    is_part: bool = False,
) -> None:
    """Add every condition of a filter, and the condition that the memory `m` is known.

    Conditions of the driving index are repeated, at little cost. But with too many conditions, SQLite sorts
    rows that are in order already: so conditions on the time are not repeated, and those without an index are
    combined.

    Args:
        query: The query.
        org: The organisation.
        wanted: The filter of the memories.
        now: The moment of the call, in ns.
        rows: The rows that the query scans.
        is_bounded: Whether the query is bounded by time already.
        is_part: Whether the query scans only superseded memories, or only current ones.
    """
    as_of = now if wanted.as_of is None else wanted.as_of
    query.add("(m.expires_at IS NULL OR m.expires_at > ?)", max(now, as_of))
    if rows == "indexed":  # the index has only a part of a memory that is being indexed
        query.add("m.seq NOT IN (SELECT seq FROM unindexed WHERE org = ? AND entered > 0)", org)
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
    rest = _known(wanted, is_part=is_part) + _rest(org, wanted, rows)
    if rest:
        cases = " ".join(f"WHEN NOT ({condition}) THEN 0" for condition, *_ in rest)
        query.add(f"CASE {cases} ELSE 1 END", *chain.from_iterable(values for _, *values in rest))


def _known(wanted: Filter, *, is_part: bool) -> list[tuple[object, ...]]:
    """Return the conditions, with values, that a memory was stored and not superseded, now or by `as_of`."""
    if wanted.as_of is None:
        return [] if wanted.include_superseded or is_part else [("m.superseded_by IS NULL",)]
    known: list[tuple[object, ...]] = [("m.created_at <= ?", wanted.as_of)]
    if not wanted.include_superseded:
        known.append(("(m.superseded_at IS NULL OR m.superseded_at > ?)", wanted.as_of))
    return known


def matches(rest: str, metadata: str) -> bool:
    """Return whether a memory's metadata has all of some values; an SQL function."""
    has = msgspec.json.decode(rest).get("metadata") or {}
    return all(
        name in has and _equal(has[name], value) for name, value in msgspec.json.decode(metadata).items()
    )


def contains(rest: str, folded: str) -> bool:
    """Return whether a memory's content contains a text, in any case; an SQL function."""
    check_observed()  # SQLite checks only after some rows, each of which can take 20 ms
    return folded in fold(msgspec.json.decode(rest)["content"])


def has_words(doc: str, words: str) -> bool:
    """Return whether a memory's text has the required words and no excluded word; an SQL function."""
    check_observed()
    stems, phrases, unwanted = msgspec.json.decode(words)
    return matching.has_words(Document.read(doc), stems, phrases, unwanted)


def _drive(org: int, wanted: Filter, part: int | None, *, in_order: bool) -> tuple[Query, tuple[str, ...]]:
    """Return the source that the query scans, and the columns of a position in it.

    The source is the full-text index if the filter has words or a part of a text; otherwise the rarest label;
    otherwise the time index of the session, the agent or the organisation. Labels and time indexes have two
    parts.
    """
    match = _match(org, wanted)
    if match is not None:
        table, query_text = match
        sql = (
            f"FROM {table} CROSS JOIN memories m ON m.org = ? AND m.entry = {table}.rowid"
            f" WHERE {table} MATCH ?"
        )
        query = Query(sql, [org, query_text])
        if not in_order:
            return query, _PLACE
        _bound_entries(query, org, wanted, f"{table}.rowid")
        return query, (f"{table}.rowid",)
    if part == 1 and wanted.as_of is not None and not wanted.include_superseded:
        # Memories that were superseded before `as_of` are not read. The rest is sorted.
        sql = "FROM memories m INDEXED BY memories_superseded WHERE m.org = ? AND m.superseded_at > ?"
        return Query(sql, [org, wanted.as_of]), _PLACE
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


def _bound_entries(query: Query, org: int, wanted: Filter, entry: str) -> None:
    """Bound entries by the filter's time, if entries rise with times."""
    for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            _bound(query, org, f"{entry} {sign}", "time >= ?", bound)


def _bound(query: Query, org: int, compared: str, condition: str, *values: object) -> None:
    """Add a comparison with the first entry whose time meets a condition, if entries rise with times."""
    first = "ifnull((SELECT entry FROM memories WHERE {} ORDER BY time, seq LIMIT 1), {})"
    parts = [f"org = ? AND is_superseded = {part} AND {condition}" for part in (0, 1)]
    first_entry = f"min({', '.join(first.format(part, LAST) for part in parts)})"
    query.add(f"{compared} {first_entry}", org, *values, org, *values)


def _rarest_label(wanted: Filter) -> str | None:
    if wanted.session_id is not None:
        return None  # a session is small
    if wanted.tags:
        return f"tag:{wanted.tags[0]}"
    return None if wanted.agent_id is not None else _rare_kind(wanted)


def _rare_kind(wanted: Filter) -> str | None:
    """Return the label of the filter's only event type or type, unless most memories have it."""
    kinds = [f"event:{e}" for e in wanted.event_types if len(wanted.event_types) == 1]
    kinds += [f"type:{t}" for t in wanted.memory_types if len(wanted.memory_types) == 1]
    return next((kind for kind in kinds if kind not in labels.USUAL), None)


def _index(wanted: Filter) -> tuple[str, str]:
    """Return the index of `memories` to scan, and the condition that a query must repeat to use it.

    Without statistics, SQLite would choose the index with the most equal columns.
    """
    is_important = wanted.is_important or (wanted.min_importance or 0.0) >= IMPORTANT
    important = f" AND {IS_IMPORTANT}"
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


def _rest(org: int, wanted: Filter, rows: _Rows) -> list[tuple[object, ...]]:
    """Return the conditions without an index of `memories`, each with its values."""
    has_tag = (
        "EXISTS (SELECT 1 FROM labels l WHERE"
        " (l.org, l.label, l.is_superseded, l.time, l.seq) = (m.org, ?, m.is_superseded, m.time, m.seq))"
    )
    rest: list[tuple[object, ...]] = [(has_tag, f"tag:{tag}") for tag in wanted.tags]
    if wanted.is_important:
        rest.append((f"{IS_IMPORTANT} IS TRUE",))  # not NULL, of which NOT makes NULL
    if wanted.metadata:
        rest.append((f"matches({REST}, ?)", _json(wanted.metadata)))
    if wanted.words is not None:
        rest += _word_conditions(org, wanted.words, rows)
    piece = _piece(org, wanted)
    if piece is not None and rows == "indexed":
        rest.append((f"m.entry IN (SELECT rowid FROM {piece[0]} WHERE {piece[0]} MATCH ?)", piece[1]))
    if wanted.contains:
        rest.append((f"contains({REST}, ?)", fold(wanted.contains)))
    return rest


def _word_conditions(org: int, words: Words, rows: _Rows) -> Iterator[tuple[object, ...]]:
    """Return conditions for words, in the index or, for unindexed memories, in the text."""
    table = f"words_{org}"
    looked_at = _json([words.stems, words.phrases, words.unwanted])
    if rows == "unindexed":
        yield f"has_words({DOC}, ?)", looked_at
        return
    if words.phrases:
        phrases = fulltext.phrase_query(words.phrases, None)
        yield f"m.entry IN (SELECT rowid FROM {table} WHERE {table} MATCH ?)", phrases
    if words.unwanted:
        unwanted = fulltext.unwanted_query(words.unwanted)
        has_none = f"m.entry NOT IN (SELECT rowid FROM {table} WHERE {table} MATCH ?)"
        if rows == "indexed":
            yield has_none, unwanted
        else:
            is_unindexed = "EXISTS (SELECT 1 FROM unindexed u WHERE (u.org, u.seq) = (m.org, m.seq))"
            condition = f"CASE WHEN {is_unindexed} THEN has_words({DOC}, ?) ELSE {has_none} END"
            yield condition, looked_at, unwanted


def _match(org: int, wanted: Filter) -> tuple[str, str] | None:
    """Return the full-text table and the query for a filter, if it has words or a text."""
    words = wanted.words
    if words is not None and words.phrases:  # every match has their words
        return f"words_{org}", fulltext.phrase_query(words.phrases, wanted.agent_id)
    if words is not None and words.stems is not None:
        text = fulltext.stem_query(fulltext.wanted_facets(wanted), words.stems) if words.stems else '""'
        return f"stems_{org}", text
    return _piece(org, wanted)


def _piece(org: int, wanted: Filter) -> tuple[str, str] | None:
    """Return the table and the FTS5 query for the filter's text, if it is at least a trigram."""
    text = fulltext.piece_query(wanted.contains) if wanted.contains else None
    return (f"pieces_{org}", text) if text else None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _equal(left: object, right: object) -> bool:
    """Return whether two values are equal as JSON, in which true differs from 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right
