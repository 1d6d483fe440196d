"""Queries of a ranked search to the full-text index: counts of stems, and the memories with the most weight.

The work of any search is bounded. Memories are found by rare stems; common stems only add weight to these
memories. Until they are read, memories are identified by their entries in the index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from memtrace_server.store.records import Filter, Term, Words
from memtrace_server.store.sqlite import fulltext, queries
from memtrace_server.store.tables import LAST

_RARE = 5_000  # maximum number of memories with the stems by which rows are found
_NEWEST = 5_000  # newest entries with a stem that are read
_PHRASES = 1_000  # maximum number of memories with a phrase that are all ranked
_NOTHING = 1e-9
_ENTRIES = 500_000  # entries of the index that are read, in some 10 ns each


def count_memories(connection: sqlite3.Connection, org: int) -> int:
    """Return the number of an organisation's memories."""
    sql = "SELECT coalesce(sum(memories), 0) FROM agent_counts WHERE org = ?"
    (found,) = connection.execute(sql, (org,)).fetchone()
    return int(found)


def count_terms(connection: sqlite3.Connection, org: int, stems: Sequence[str]) -> dict[str, int]:
    """Return, for each stem that occurs, the number of indexed memories that have it."""
    sql = "SELECT term, count FROM json_each(?) j CROSS JOIN terms t ON t.org = ? AND t.term = j.value"
    return dict(connection.execute(sql, (msgspec.json.encode(stems).decode(), org)))


def count_missed(connection: sqlite3.Connection, org: int) -> int:
    """Return the number of unindexed memories that a search does not scan."""
    (found,) = connection.execute("SELECT count(*) FROM unindexed WHERE org = ?", (org,)).fetchone()
    return max(0, int(found) - queries.TAIL)


class Scope:
    """The indexed memories that may pass a filter, according to the full-text index.

    Args:
        connection: The connection.
        org: The organisation.
        wanted: The filter.
        before: The row below which rows count; None for all.
        in_order: Whether entries rise with times.
    """

    def __init__(
        self, connection: sqlite3.Connection, org: int, wanted: Filter, before: int | None, *, in_order: bool
    ) -> None:
        self._db = connection
        self._org = org
        self._facets = fulltext.wanted_facets(wanted)
        self._bounds = queries.entry_bounds(org, wanted) if in_order else queries.Query("")
        self._before = before
        self._wanted = wanted

    def entries(self, terms: Sequence[Term]) -> tuple[list[int], bool]:
        """Return entries by weight, then newest first, and whether these are all entries with any term."""
        ordered = sorted((term for term in terms if term.count), key=lambda term: (term.count, term.stem))
        rare, common = self._divide(ordered)
        weights: dict[int, float] = {}
        is_complete = len(rare) == len(ordered)
        for term in rare:
            entries = self._entries(fulltext.stem_query(self._facets, [term.stem]))
            is_complete = is_complete and len(entries) < _NEWEST
            for entry in entries:
                weights[entry] = weights.get(entry, 0.0) + term.weight
        stems = [term.stem for term in rare]
        for term in common:
            for entry in self._entries(fulltext.stem_query(self._facets, stems, [term.stem])):
                weights[entry] = weights.get(entry, 0.0) + term.weight
        best = sorted(zip(weights.values(), weights, strict=True), reverse=True)
        return [entry for _, entry in best], is_complete

    def phrase_entries(self, words: Words) -> list[int] | None:
        """Return the entries with every required phrase, or None if there are many."""
        match = fulltext.phrase_query(words.phrases, self._wanted.agent_id)
        query = self._matching("words", match)
        sql = f"{query.sql} LIMIT ?"
        found = self._db.execute(sql, [*query.values, _PHRASES + 1]).fetchall()
        return [entry for (entry,) in found] if len(found) <= _PHRASES else None

    def _divide(self, ordered: Sequence[Term]) -> tuple[Sequence[Term], Sequence[Term]]:
        """Divide terms into those by which rows are found, and those that add weight.

        The most common terms may be in neither group.
        """
        most = min(_RARE / self._share(), _ENTRIES)
        rare = 0
        entries = list(accumulate(term.count for term in ordered))
        while rare < len(ordered) and (not rare or entries[rare] <= most):
            rare += 1
        end = rare
        while end < len(ordered) and entries[end] <= _ENTRIES:
            end += 1
        return ordered[:rare], ordered[rare:end]

    def _share(self) -> float:
        """Return the fraction of memories that may pass the filter; 0 if all of them can be read."""
        total = count_memories(self._db, self._org) or 1
        counts = count_terms(self._db, self._org, self._facets)
        left = min([total, *(counts.get(facet, 0) for facet in self._facets), self._in_time()])
        return _NOTHING if left <= _RARE else left / total

    def _in_time(self) -> int:
        """Return the number of memories of the filter's time, up to a limit."""
        if self._wanted.since is None and self._wanted.until is None:
            return LAST
        query = queries.in_time(self._org, self._wanted, _RARE + 1)
        (found,) = self._db.execute(query.sql, query.values).fetchone()
        return int(found) if found <= _RARE else LAST

    def _entries(self, match: str) -> list[int]:
        """Return the newest entries that a query finds."""
        query = self._matching("stems", match)
        newest = f"{query.sql} ORDER BY rowid DESC LIMIT ?"
        sql = f"SELECT group_concat(rowid) FROM ({newest})"  # in one step: see `bulk`
        (lines,) = self._db.execute(sql, [*query.values, _NEWEST]).fetchone()
        return [] if lines is None else [int(entry) for entry in lines.split(",")]

    def _matching(self, name: str, match: str) -> queries.Query:
        """Return the query for the entries of a table that match."""
        table = f"{name}_{self._org}"
        sql = f"SELECT rowid FROM {table} WHERE {table} MATCH ?{self._bounds.sql}"
        query = queries.Query(sql, [match, *self._bounds.values])
        if self._before is not None:
            # Imported memories may have later entries than memories with later rows.
            seq = f"(SELECT m.seq FROM memories m WHERE m.org = ? AND m.entry = {table}.rowid)"
            query.add(f"{seq} < ?", self._org, self._before)
        return query
