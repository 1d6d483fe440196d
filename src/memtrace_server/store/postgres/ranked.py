"""Queries of a ranked search: counts of lexemes, and the memories with the most weight.

The work of any search is bounded. Memories are found by rare stems; common stems only add weight to these
memories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate

from memtrace_server.store.postgres import lexemes, periods, queries
from memtrace_server.store.postgres.executing import Executor, memories_of
from memtrace_server.store.postgres.queries import Query
from memtrace_server.store.records import Candidates, Filter, Term

_RARE = 5_000  # maximum number of memories with the stems by which rows are found
_PASSED = 250  # memories that may be skipped for each one found
_NEWEST = 1_000
_PHRASES = 1_000  # maximum number of memories with a phrase that are all ranked
_COUNTED = 2_000  # maximum number of memories with a stem that are counted exactly
_ALL_COUNTED = 64  # stems; of more, other spellings of a word, those are counted that are found at once
_ROOM = 2  # factor for the expected number of memories to read
_SAMPLE = 2_000  # memories of the sample that estimates larger counts of a stem
_NOTHING = 1e-9


class Ranked:
    """The memories of an organisation, as a ranked search finds them.

    Args:
        executor: The executor of the transaction.
        org: The organisation.
        count: Returns the number of the organisation's memories.
    """

    def __init__(self, executor: Executor, org: int, count: Callable[[], int]) -> None:
        self._executor = executor
        self._org = org
        self._count = count

    # --- counts of lexemes

    def count_lexemes(self, wanted: Sequence[str]) -> Mapping[str, int]:
        """Return the number of memories with each lexeme: exact if small, otherwise from a sample."""
        if not wanted:
            return {}
        if len(wanted) == 1 and self._is_common(wanted):
            sampled = self._sample(wanted[0])
            if sampled > _COUNTED:  # statistics are not precise for rare lexemes
                return {wanted[0]: sampled}
        condition, value = queries.of_org(self._org, is_found=not self._executor.is_distributed)
        hits = Query(
            "WITH hits AS MATERIALIZED (SELECT m.lexemes FROM memories m"
            f" WHERE {condition} AND m.lexemes @@ %s::tsquery LIMIT {_COUNTED + 1})",
            [value, lexemes.query([], wanted)],
        )
        if len(wanted) <= _ALL_COUNTED:
            hits.then(
                " SELECT t.l, (SELECT count(*) FROM hits WHERE lexemes @@ t.q::tsquery),"
                " (SELECT count(*) FROM hits) FROM unnest(%s::text[], %s::text[]) t (l, q)",
                list(wanted), [lexemes.query([lexeme]) for lexeme in wanted],
            )  # fmt: skip
        else:
            hits.then(
                " SELECT lexeme, count(*), (SELECT count(*) FROM hits)"
                " FROM hits, unnest(tsvector_to_array(lexemes)) AS lexeme WHERE lexeme = ANY(%s)"
                " GROUP BY lexeme",
                list(wanted),
            )
        if 1 < len(wanted) <= _ALL_COUNTED and self._is_common(wanted):
            return self._count_each(wanted)
        rows = [row for row in self._executor.plan(hits) if row[1]]
        if not rows or rows[0][2] <= _COUNTED:
            return {lexeme: count for lexeme, count, _ in rows}
        if len(wanted) == 1:
            return {wanted[0]: max(_COUNTED + 1, self._sample(wanted[0]))}
        return self._count_each(wanted if len(wanted) <= _ALL_COUNTED else [row[0] for row in rows])

    def _count_each(self, wanted: Sequence[str]) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for lexeme in wanted:
            counts.update(self.count_lexemes([lexeme]))
        return counts

    def _is_common(self, wanted: Sequence[str]) -> bool:
        """Return whether lexemes are, by PostgreSQL's statistics, too common to be counted exactly.

        Counting would read the index for all of their memories.
        """
        if self._count() <= _COUNTED:
            return False
        condition, value = queries.of_org(self._org, is_found=False)
        query = Query(
            f"EXPLAIN (FORMAT JSON) SELECT 1 FROM memories m WHERE {condition} AND m.lexemes @@ %s::tsquery",
            [value, lexemes.query([], wanted)],
        )
        ((found,),) = self._executor.plan(query)
        return bool(found[0]["Plan"]["Plan Rows"] > _COUNTED)

    def _sample(self, lexeme: str) -> int:
        """Return an estimate of the number of memories with a lexeme, from the newest memories."""
        row = self._executor.row(
            "SELECT count(*) FILTER (WHERE lexemes @@ %s::tsquery), count(*)"
            " FROM (SELECT lexemes FROM memories"
            f" WHERE org = %s ORDER BY seq DESC LIMIT {_SAMPLE}) s",
            lexemes.query([lexeme]), self._org,
        )  # fmt: skip
        found, looked_at = row or (0, 1)
        return int(found * self._count() // max(looked_at, 1))

    # --- candidates

    def candidates(
        self, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        """Return the memories to rank, as `Transaction.candidates` does."""
        is_found = not self._executor.is_distributed and wanted.since is None and wanted.until is None
        ordered = sorted((term for term in terms if term.count), key=lambda term: (term.count, term.stem))
        ranked = partial(queries.ranked, self._org, wanted, now, ordered, before=before)
        if wanted.words is not None and wanted.words.phrases:
            rows = self._executor.plan(ranked((), limit=_PHRASES + 1, newest=None, is_found=is_found))
            if len(rows) <= _PHRASES:
                return Candidates(found=memories_of(rows), is_complete=True)
        if not ordered:
            return Candidates(found=[], is_complete=True)
        rare = self._rare(wanted, ordered)
        newest = self._newest(ordered, limit)
        ranked = partial(ranked, rare, limit=limit + 1, newest=newest)
        span = None if newest else self._span_of(wanted, ordered, before=before, limit=limit)
        rows = []
        if span is not None:
            is_close = not self._executor.is_distributed and periods.are_close(*span)
            rows = self._executor.plan(ranked(is_found=is_close, after=span[0], before=span[1] + 1))
        if len(rows) <= limit:
            rows = self._executor.plan(ranked(is_found=is_found and newest is None))
        is_complete = len(rare) == len(ordered) and newest is None and len(rows) <= limit
        return Candidates(found=memories_of(rows[:limit]), is_complete=is_complete)

    def _newest(self, ordered: Sequence[Term], limit: int) -> int | None:
        """Return the number of the newest rows to weigh, if scanning them in order is faster.

        A row from the index takes four times as long as a skipped row.
        """
        rarest = ordered[0].count
        if rarest <= _RARE or rarest**2 < _PASSED * self._count():
            return None
        return limit + 1 if len(ordered) == 1 else _NEWEST

    def _span_of(
        self, wanted: Filter, ordered: Sequence[Term], *, before: int, limit: int
    ) -> tuple[int, int] | None:
        """Return the rows before and at the end of those with enough memories of the only term; None for all.

        They weigh the same, so that the newest are wanted.
        """
        if len(ordered) > 1 or ordered[0].count <= _COUNTED or lexemes.is_narrow(self._org, wanted):
            return None
        passed = int(_ROOM * limit * self._count() / ordered[0].count)
        rows = "SELECT seq FROM memories WHERE org = %s AND seq < %s ORDER BY seq DESC"
        row = self._executor.row(
            f"SELECT ({rows} OFFSET %s LIMIT 1), ({rows} LIMIT 1)",
            self._org, before, passed, self._org, before,
        )  # fmt: skip
        return None if row is None or row[0] is None else (int(row[0]), int(row[1]))

    def _rare(self, wanted: Filter, ordered: Sequence[Term]) -> Sequence[Term]:
        """Return the terms by which rows are found, from terms in order of their count."""
        sums = list(accumulate(term.count for term in ordered))
        if sums[-1] <= _RARE:
            return ordered
        most = _RARE / self._share(wanted)
        return ordered[: max(1, sum(count <= most for count in sums))]

    def _share(self, wanted: Filter) -> float:
        """Return the fraction of memories that pass the filter; 0 if all of them can be read."""
        total = left = self._count() or 1
        if wanted.agent_id is not None:
            row = self._executor.row(
                "SELECT sum(number) FROM counts WHERE org = %s AND agent_id = %s AND kind NOT LIKE '#%%'",
                self._org, wanted.agent_id,
            )  # fmt: skip
            left = min(left, int((row and row[0]) or 0))
        facets = [*lexemes.wanted_facets(self._org, wanted), *lexemes.owners(self._org, wanted)]
        if facets or wanted.since is not None or wanted.until is not None:
            query = Query("SELECT count(*) FROM (SELECT 1 FROM memories m WHERE m.org = %s", [self._org])
            if facets:
                query.add("m.lexemes @@ %s::tsquery", lexemes.query(facets))
            for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
                if bound is not None:  # an index of times stores superseded memories separately
                    query.add(f"m.is_superseded = ANY('{{false,true}}') AND m.time {sign} %s", bound)
            ((count,),) = self._executor.plan(query.then(f" LIMIT {_RARE + 1}) s"))
            left = min(left, count) if count <= _RARE else left
        return _NOTHING if left <= _RARE else left / total
