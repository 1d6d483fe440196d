"""Conversion of filters to SQL. Every query has the organisation as a condition on each table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field, frozen

from memtrace_server.folding import fold
from memtrace_server.store.postgres import lexemes, periods
from memtrace_server.store.postgres.writing import pattern
from memtrace_server.store.records import (
    IMPORTANT,
    Direction,
    Filter,
    Term,
)
from memtrace_server.store.tables import IS_IMPORTANT

FEW = 1_000
"""Maximum results of the full-text index for a page; if there are more, memories are scanned in order."""

NEAREST = 1_000
"""Number of memories in the first window of time of a page."""

_PIECE = 3  # characters in a trigram
_HAS_LEXEMES, _HAS_PIECE = "m.lexemes @@ %s::tsquery", "m.folded LIKE %s"
_PERIODS = {_HAS_LEXEMES: periods.of_words("m."), _HAS_PIECE: periods.of_pieces("m.")}


@define
class Query:
    """A SELECT that is being composed.

    Attributes:
        sql: The text.
        values: The values of the placeholders.
    """

    sql: str
    values: list[object] = field(factory=list)

    def add(self, condition: str, *values: object) -> None:
        """Add a condition."""
        self.sql += f" AND {condition}"
        self.values += values

    def then(self, sql: str, *values: object) -> Query:
        """Add text."""
        self.sql += sql
        self.values += values
        return self


@frozen(kw_only=True)
class Page:
    """A page of matching memories, in order of (time, row).

    Attributes:
        org: The organisation.
        wanted: The filter.
        now: The moment of the call, in ns.
        order: Whether the newest come first.
        limit: Maximum number of memories.
        after: The (time, row) after which the page begins; None for the first page.
        offset: The number of memories to skip.
    """

    org: int
    wanted: Filter
    now: int
    order: Direction
    limit: int
    after: tuple[int, int] | None = None
    offset: int = 0


def is_search(wanted: Filter) -> bool:
    """Return whether an index of words, labels or trigrams serves a filter."""
    return has_lexemes(wanted) or bool(wanted.contains and len(fold(wanted.contains)) >= _PIECE)


def has_lexemes(wanted: Filter) -> bool:
    """Return whether lexemes serve a filter."""
    words = wanted.words
    return bool(
        wanted.tags
        or wanted.metadata
        or (words is not None and (words.phrases or words.stems is not None))
        or (wanted.agent_id is None and wanted.session_id is None and lexemes.wanted_facets(0, wanted))
    )


def of_org(org: int, *, is_found: bool) -> tuple[str, int]:
    """Return the condition that a memory belongs to an organisation.

    Args:
        org: The organisation.
        is_found: Whether another index finds few rows. The condition then has a form that uses no index, so
            that PostgreSQL does not also read all rows of the organisation; nor does it name a partition.
    """
    return ("(m.org = %s) IS TRUE" if is_found else "m.org = %s"), org


def found(asked: Page, *, is_found: bool) -> Query:
    """Return the query for a page of the full-text index's results, and their number up to `FEW`."""
    condition, value = of_org(asked.org, is_found=is_found)
    query = Query(
        f"WITH hits AS MATERIALIZED (SELECT m.seq, m.time FROM memories m WHERE {condition}", [value]
    )
    narrow(query, asked.org, asked.wanted, asked.now)
    _continue(query, asked.order, asked.after)
    query.then(f" LIMIT {FEW + 1})")
    columns, values = _columns(asked.org, asked.wanted)
    return query.then(
        f" SELECT m.seq, m.time, {columns}, (SELECT count(*) FROM hits) FROM"
        f" (SELECT seq FROM hits ORDER BY time {asked.order}, seq {asked.order} LIMIT %s) h"
        " JOIN memories m ON m.org = %s AND m.seq = h.seq"
        f" ORDER BY m.time {asked.order}, m.seq {asked.order}",
        *values, asked.limit, asked.org,
    )  # fmt: skip


def page(asked: Page) -> Query:
    """Return the query that scans memories in order of (time, row) until the page is full."""
    ordering = f"ORDER BY time {asked.order}, seq {asked.order}"
    columns, values = _columns(asked.org, asked.wanted)
    parts: list[str] = []
    whole = Query("")
    for part in _parts(asked.wanted):
        query = Query(
            f"SELECT m.seq, m.time, {columns} FROM memories m WHERE m.org = %s", [*values, asked.org]
        )
        query.add(f"m.is_superseded = {part}")
        narrow(query, asked.org, asked.wanted, asked.now, is_walk=True, part=part)
        _continue(query, asked.order, asked.after)
        if len(_parts(asked.wanted)) == 1:
            return query.then(f" {ordering} LIMIT %s OFFSET %s", asked.limit, asked.offset)
        query.then(f" {ordering} LIMIT %s", asked.limit + asked.offset)
        parts.append(f"({query.sql})")
        whole.values += query.values
    whole.sql = f"{' UNION ALL '.join(parts)} {ordering} LIMIT %s OFFSET %s"
    whole.values += [asked.limit, asked.offset]
    return whole


def nearest(asked: Page) -> Query:
    """Return the query for the number of the next memories, up to `NEAREST`, and their first and last time.

    Superseded memories do not count, and may precede them.
    """
    query = Query(
        "SELECT count(*), min(time), max(time) FROM (SELECT m.time FROM memories m WHERE m.org = %s",
        [asked.org],
    )
    query.add("NOT m.is_superseded")
    wanted = asked.wanted
    for condition, value in (
        ("m.agent_id = %s", wanted.agent_id),
        ("m.session_id = %s AND m.session_id IS NOT NULL", wanted.session_id),
        ("m.time >= %s", wanted.since),
        ("m.time < %s", wanted.until),
    ):
        if value is not None:
            query.add(condition, value)
    _continue(query, asked.order, asked.after)
    return query.then(f" ORDER BY time {asked.order}, seq {asked.order} LIMIT {NEAREST}) s")


def matching(org: int, wanted: Filter, now: int) -> Query:
    """Return the query for all matching rows, newest first."""
    query = Query("SELECT m.seq FROM memories m WHERE m.org = %s", [org])
    narrow(query, org, wanted, now)
    return query.then(" ORDER BY m.time DESC, m.seq DESC")


def tail(org: int, wanted: Filter, now: int, *, after: int, end: int, limit: int) -> Query:  # noqa: PLR0913
    """Return the query for memories in order of their positions, after one and up to another."""
    columns, values = _columns(org, wanted)
    query = Query(
        f"SELECT m.seq, m.time, {columns}, m.place FROM memories m WHERE m.org = %s", [*values, org]
    )
    query.add("m.place > %s", after)
    query.add("m.place <= %s", end)
    narrow(query, org, wanted, now, is_walk=True)
    return query.then(" ORDER BY m.place LIMIT %s", limit)


def these(org: int, rows: Sequence[int], wanted: Filter) -> Query:
    """Return the query for the memories with some rows."""
    columns, values = _columns(org, wanted)
    sql = f"SELECT m.seq, m.time, {columns} FROM memories m WHERE m.org = %s AND m.seq = ANY(%s)"
    return Query(sql, [*values, org, list(rows)])


def following(org: int, rows: Sequence[int], wanted: Filter, now: int, before: int) -> Query:
    """Return the query for rows, each with the next row in its session."""
    whole = Query("SELECT c.seq")
    ordering = "ORDER BY time, seq LIMIT 1"
    parts: list[str] = []
    for part in _parts(wanted):
        query = Query("SELECT m.time, m.seq FROM memories m WHERE m.org = %s", [org])
        query.add("m.session_id = c.session_id AND m.session_id IS NOT NULL")
        query.add(f"m.is_superseded = {part}")
        query.add("(m.time, m.seq) > (c.time, c.seq)")
        query.add("m.seq < %s", before)
        narrow(query, org, wanted, now, is_walk=True, part=part)
        parts.append(f"({query.sql} {ordering})")
        whole.values += query.values
    together = parts[0] if len(parts) == 1 else f"{' UNION ALL '.join(parts)} {ordering}"
    whole.sql += f", (SELECT seq FROM ({together}) s)"
    return whole.then(
        " FROM memories c WHERE c.org = %s AND c.seq = ANY(%s) AND c.session_id IS NOT NULL", org, list(rows)
    )


def ranked(  # noqa: PLR0913 - a search has many parameters
    org: int,
    wanted: Filter,
    now: int,
    terms: Sequence[Term],
    rare: Sequence[Term],
    *,
    before: int,
    limit: int,
    newest: int | None,
    is_found: bool,
    after: int | None = None,
) -> Query:
    """Return the query for the rows with the most weight, among rows with a rare term, in this order.

    Args:
        org: The organisation.
        wanted: The filter.
        now: The moment of the call, in ns.
        terms: All terms, each of which adds its weight.
        rare: The terms of which a row must have at least one.
        before: The row below which rows count.
        limit: Maximum number of rows.
        newest: The number of the newest rows that are weighed, if there are too many.
        is_found: The argument of `of_org`.
        after: The row above which rows count.
    """
    condition, value = of_org(org, is_found=is_found)
    query = Query(
        "WITH terms AS MATERIALIZED"
        " (SELECT q::tsquery AS q, w FROM unnest(%s::text[], %s::float8[]) AS t (q, w)),"
        f" hits AS MATERIALIZED (SELECT m.seq, m.lexemes FROM memories m WHERE {condition} AND m.seq < %s",
        [
            [lexemes.query([lexemes.stem_lexeme(org, term.stem)]) for term in terms],
            [term.weight for term in terms],
            value,
            before,
        ],
    )
    if after is not None:
        query.add("m.seq > %s", after)
        _within(query, org, after, before, _HAS_LEXEMES)
    group = [lexemes.stem_lexeme(org, term.stem) for term in rare]
    if newest is None:
        narrow(query, org, wanted, now, stems=group)
    else:
        narrow(query, org, wanted, now, is_walk=True, stems=group)
        query.then(" ORDER BY m.seq DESC LIMIT %s", newest)
    columns, values = _columns(org, wanted)
    query.then(
        "), best AS MATERIALIZED (SELECT h.seq,"
        " (SELECT sum(t.w) FROM terms t WHERE h.lexemes @@ t.q) AS weight FROM hits h"
        " ORDER BY weight DESC NULLS LAST, h.seq DESC LIMIT %s)"
        f" SELECT m.seq, m.time, {columns} FROM best b JOIN memories m ON m.org = %s AND m.seq = b.seq"
        " ORDER BY b.weight DESC NULLS LAST, b.seq DESC",
        limit, *values, org,
    )  # fmt: skip
    return query


def narrow(  # noqa: PLR0913 - the conditions depend on the driving index
    query: Query,
    org: int,
    wanted: Filter,
    now: int,
    *,
    is_walk: bool = False,
    part: bool | None = None,
    stems: Sequence[str] = (),
) -> None:
    """Add every condition of a filter, and the condition that the memory `m` is known.

    Args:
        query: The query.
        org: The organisation.
        wanted: The filter of the memories.
        now: The moment of the call, in ns.
        is_walk: Whether the query scans rows in order, so that the full-text index must not be used.
        part: Whether the query reads only superseded memories, or only current ones.
        stems: Lexemes of which a memory must have at least one.
    """
    as_of = now if wanted.as_of is None else wanted.as_of
    query.add("(m.expires_at IS NULL OR m.expires_at > %s)", max(now, as_of))
    conditions: list[tuple[str, object]] = [
        ("m.agent_id = %s", wanted.agent_id),
        ("m.session_id = %s AND m.session_id IS NOT NULL", wanted.session_id),
        ("m.importance >= %s", wanted.min_importance),
        ("m.time >= %s", wanted.since),
        ("m.time < %s", wanted.until),
    ]
    for condition, value in conditions:
        if value is not None:
            query.add(condition, value)
    for column, usual, values in (
        ("memory_type", "episodic", wanted.memory_types),
        ("event_type", "general", wanted.event_types),
    ):
        if values:
            query.add(f"m.{column} = ANY(%s)", list(values))
        if len(values) == 1 and values[0] != usual:
            query.add(f"m.{column} = %s AND m.{column} <> '{usual}'", values[0])
    if wanted.is_important or (wanted.min_importance or 0.0) >= IMPORTANT:
        query.add(IS_IMPORTANT)
    _know(query, wanted, part)
    for condition, value in _text(org, wanted, stems, is_walk=is_walk):
        query.add(f"({condition}) IS TRUE" if is_walk else condition, *value)
        if not is_walk and condition in _PERIODS:
            _within(query, org, wanted.since, wanted.until, condition)


def _within(query: Query, org: int, start: int | None, end: int | None, condition: str) -> None:
    """Bound a condition's index by a time span, if the span has few periods."""
    passed = periods.covering(org, start, end)
    if passed is not None:
        query.add(f"{_PERIODS[condition]} && %s::bigint[]", passed)


def _know(query: Query, wanted: Filter, part: bool | None) -> None:  # noqa: FBT001 - as in `narrow`
    """Add the condition that a memory was stored and not superseded, now or by `as_of`."""
    if wanted.as_of is None:
        if not wanted.include_superseded and part is None:
            query.add("NOT m.is_superseded")
        return
    query.add("m.created_at <= %s", wanted.as_of)
    if not wanted.include_superseded and part is not False:
        query.add("(m.superseded_at IS NULL OR m.superseded_at > %s)", wanted.as_of)


def _text(
    org: int, wanted: Filter, stems: Sequence[str], *, is_walk: bool
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield conditions on the text and the labels of a memory."""
    required = lexemes.wanted_facets(org, wanted)
    groups = [stems] if stems else []
    words = wanted.words
    if words is not None and words.phrases:
        required += lexemes.phrase_lexemes(org, words)
    elif words is not None and words.stems is not None:
        if not words.stems:
            yield "false", ()
            return
        groups.append([lexemes.stem_lexeme(org, stem) for stem in words.stems])
    if required or groups:
        if not is_walk:
            required += lexemes.owners(org, wanted)
        yield _HAS_LEXEMES, (lexemes.query(required, *groups),)
    if words is not None:
        for phrase in words.phrases:
            yield "m.words LIKE %s", (pattern(f" {' '.join(phrase)} "),)
        for phrase in words.unwanted:
            yield "m.words NOT LIKE %s", (pattern(f" {' '.join(phrase)} "),)
    if wanted.contains:
        yield _HAS_PIECE, (pattern(fold(wanted.contains)),)


def _continue(query: Query, order: Direction, after: tuple[int, int] | None) -> None:
    if after is not None:
        query.add(f"(m.time, m.seq) {'<' if order == 'desc' else '>'} (%s, %s)", *after)


def _parts(wanted: Filter) -> tuple[bool, ...]:
    """Return the parts of each index to scan: current memories, superseded memories."""
    return (False, True) if wanted.include_superseded or wanted.as_of is not None else (False,)


def _columns(org: int, wanted: Filter) -> tuple[str, list[object]]:
    """Return the columns besides row and time: the document, optionally that of the superseding memory."""
    if not wanted.include_superseded:
        return "m.doc, NULL", []
    newer = "(SELECT n.doc FROM memories n WHERE n.org = %s AND n.seq = m.superseded_by)"
    if wanted.as_of is None:
        return f"m.doc, {newer}", [org]
    return f"m.doc, CASE WHEN m.superseded_at <= %s THEN {newer} END", [wanted.as_of, org]
