"""A transaction on a PostgreSQL connection: the store's protocol in SQL."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
import psycopg
from attrs import define

from memtrace_server import times
from memtrace_server.store.counting import ACTIVE, PERIOD, SESSIONS, add
from memtrace_server.store.facts import Asked, Facts, Learned, Original, id_of
from memtrace_server.store.pending import Gone, Kept, Link, Pending
from memtrace_server.store.postgres import lexemes, queries, windows
from memtrace_server.store.postgres.executing import Executor, memories_of
from memtrace_server.store.postgres.queries import Page
from memtrace_server.store.postgres.ranked import Ranked
from memtrace_server.store.postgres.writing import (
    FIRST_PLACE,
    MEMORIES,
    PLACES,
    Conflict,
    Statement,
    statements,
)
from memtrace_server.store.records import (
    Agent,
    Candidates,
    Direction,
    Filter,
    Found,
    Key,
    NewMemory,
    Org,
    Session,
    Tail,
    Term,
    Unindexed,
)
from memtrace_server.store.tables import KEY, SESSION, Row, answer_of, encoded, key_of

_MAX_TAIL = 10_000  # memories that a page of a tail reads
_AHEAD = 60 * times.SECOND  # clocks of servers must differ by less
_A_KEY, _AN_ANSWER, _AN_ORIGINAL = range(3)
# Each row is read by a unique index. Otherwise the generic plan, made while a store is new, would read all
# rows of an organisation, which takes half of PostgreSQL's time for five thousand rows.
_LOOK_UP = f"""
SELECT {_A_KEY}, k.digest, NULL::bytea, json_build_array({KEY})::text
    FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = ANY(%s)
UNION ALL
SELECT {_AN_ANSWER}, a.request, a.body,
        json_build_array(a.key, a.answered_at, a.status, a.agent_id, a.location, a.memories)::text
    FROM unnest(%s::text[]) w (key)
        CROSS JOIN LATERAL (SELECT * FROM answers WHERE org = %s AND key = w.key LIMIT 1) a
UNION ALL
SELECT {_AN_ORIGINAL}, w.fingerprint, NULL,
        json_build_array(f.seq, f.is_original, coalesce(f.stored_at, f.seq), m.time, m.doc,
            (SELECT n.doc FROM memories n WHERE n.org = %s AND n.seq = m.superseded_by), m.expires_at)::text
    FROM unnest(%s::bytea[]) w (fingerprint) CROSS JOIN LATERAL (
        (SELECT seq, true AS is_original, stored_at FROM originals
            WHERE org = %s AND fingerprint = w.fingerprint LIMIT 1)
        UNION ALL
        (SELECT d.seq, false, d.stored_at
            FROM duplicates d JOIN memories o ON o.org = %s AND o.seq = d.seq
            WHERE d.org = %s AND d.fingerprint = w.fingerprint
                AND coalesce(d.stored_at, d.seq) >= %s
                AND (o.expires_at IS NULL OR o.expires_at > %s)
            ORDER BY d.seq LIMIT 1)
    ) f LEFT JOIN LATERAL (SELECT * FROM memories WHERE org = %s AND seq = f.seq LIMIT 1) m ON true
"""


@define
class Clock:
    """The source of row numbers: the clock's nanoseconds, each number at most once.

    Attributes:
        last: The last row number.
    """

    last: int = 0

    def next(self, now: int) -> int:
        """Return a row number greater than all earlier ones."""
        return max(now, self.last + 1)

    def leap(self) -> None:
        """Advance above existing rows, as another process may have the same clock, or be ahead."""
        self.last = max(self.last + random.randrange(1, 1_000), times.now())  # noqa: S311


class PostgresTransaction(Facts):
    """The protocol `Transaction` on a connection.

    Other transactions write concurrently: facts are compared when they are written, or locked if they cannot
    be compared. A write transaction begins only when necessary: most groups read their facts in one
    statement, and write in another, which is a transaction by itself.

    Args:
        executor: The executor of its statements.
        clock: The source of row numbers.
        slot: The slot in which this thread counts.
        is_writing: Whether the transaction may write.
    """

    AGENT = (
        "a.id, a.is_registered, a.description, a.config, a.created_at, greatest(a.last_active_at,"
        " (SELECT max(c.active_at) FROM counts c WHERE c.org = ? AND c.agent_id = a.id))"
    )

    def __init__(self, executor: Executor, clock: Clock, slot: int, *, is_writing: bool) -> None:
        super().__init__()
        self.lock = " FOR NO KEY UPDATE" if is_writing else ""
        self.executor = executor
        self._clock = clock
        self._slot = slot
        self._is_finishing = False
        self._last: Statement | None = None  # the last statement that writes pending changes
        self._places = 0  # number of positions of this transaction's memories
        self._is_writing = is_writing
        self._counted: dict[int, int] = {}
        self._with_future: dict[int, bool] = {}

    def finish(self) -> Callable[[], object]:
        """Write pending changes, and return the function that commits: the only statement, or COMMIT."""
        self._is_finishing = True
        self.flush()
        if self.executor.is_begun:
            self._run_last()
            return partial(self.executor.connection.execute, b"COMMIT")
        return (lambda: None) if self._last is None else partial(self._last.run, self.executor.connection)

    def forget_what_is_known(self) -> None:
        super().forget_what_is_known()
        self._with_future.clear()

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return self.executor.execute(sql.replace("?", "%s"), *values).fetchall()

    def _execute(self, sql: str, *values: object) -> int:
        return self.executor.execute(sql.replace("?", "%s"), *values).rowcount

    def _change(self, sql: str, *values: object) -> psycopg.Cursor[Row]:
        self.flush()
        self.changes += 1
        return self.executor.execute(sql, *values)

    # --- organisations, and facts for a group of writes

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        org = super().add_org(org_id, name, now)
        if org is None and not self._rows("SELECT 1 FROM orgs WHERE id = ? OR name = ?", org_id, name):
            raise Conflict  # another transaction is adding it
        return org

    def _read_key(self, digest: bytes) -> Key | None:
        sql = f"SELECT {KEY} FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = ?"
        rows = self._rows(sql, digest)
        return key_of(rows[0]) if rows else None

    def _read_facts(self, org: int, asked: Asked, since: int, now: int) -> Learned:
        """Read keys, responses, the original of each fingerprint, and its first existing duplicate.

        They share one statement although they are unrelated: beside a busy event loop, a thread waits longer
        for Python's lock after each result than PostgreSQL takes to compute it.
        """
        learned = Learned()
        fingerprints = list(asked.fingerprints)
        values = [
            list(asked.digests), list(asked.keys), org, org, fingerprints, org, org, org, since, now, org,
        ]  # fmt: skip
        rows = self.executor.connection.execute(_LOOK_UP.encode(), values).fetchall()
        for what, name, body, facts in rows:
            found = msgspec.json.decode(facts)
            if what == _A_KEY:
                learned.keys[name] = key_of(found)
            elif what == _AN_ANSWER:
                key, at, status, *rest = found
                learned.answers[key] = Kept(answer_of((name, status, body, *rest)), at)
            else:
                seq, is_original, stored_at, time, doc, newer, expires_at = found
                memory = None if doc is None else memories_of([(seq, time, doc, newer)])[0]
                original = Original(seq, stored_at, memory, expires_at, is_original)
                learned.originals.setdefault(name, []).append(original)
        for originals in learned.originals.values():
            originals.sort(key=attrgetter("seq"))
        return learned

    def _admit(self, org: int, memories: Sequence[NewMemory]) -> None:
        """Accept all memories."""

    # --- memories

    def next_seq(self, now: int) -> int:
        return self._clock.next(now)

    def _note_row(self, seq: int) -> None:
        self._clock.last = max(self._clock.last, seq)

    def last_seq(self, org: int) -> int:
        self.flush()
        row = self.executor.row("SELECT max(seq) FROM memories WHERE org = %s", org)
        return (row and row[0]) or 0

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        self.flush()
        found = self._rows("SELECT seq, doc FROM memories WHERE org = %s AND seq = ANY(%s)", org, list(rows))
        return {seq: id_of(doc) for seq, doc in found}

    def _read_memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None) -> list[Found]:
        query = queries.these(org, rows, wanted)
        if now is not None:
            query.add("(m.expires_at IS NULL OR m.expires_at > %s)", now)
        return memories_of(self.executor.rows(query))

    def _write(self, pending: Pending) -> None:
        for org, memories in pending.by_org().items():
            if any(memory.time > memory.created_at for memory in memories) and not self._has_future(org):
                self._with_future[org] = True
                self._execute("UPDATE orgs SET has_future = true WHERE number = ? AND NOT has_future", org)
        for statement in statements(pending, self._slot, self._places):
            if self._last is not None:
                self._run_last()
            self._last = statement
        if not self._is_finishing:
            self._run_last()
        self._places += 0 if pending.is_imported else len(pending.memories)

    def _run_last(self) -> None:
        """Run the last statement of pending changes, as one of several."""
        self.executor.begin()
        last, self._last = self._last, None
        if last is not None:
            last.run(self.executor.connection)

    def _add_agents(self, org: int, agents: Sequence[Agent]) -> int:
        return self._change(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at, last_active_at)"
            " SELECT %s, i, r, d, c, t, l FROM json_to_recordset(%s) AS x (i text, r boolean, d text, c text,"
            " t bigint, l bigint) ORDER BY i"
            " ON CONFLICT (org, id) DO UPDATE SET is_deleted = false, is_registered = excluded.is_registered,"
            " description = excluded.description, config = excluded.config, created_at = excluded.created_at,"
            " last_active_at = excluded.last_active_at WHERE agents.is_deleted",
            org,
            encoded([
                {"i": a.id, "r": a.is_registered, "d": self._described(a.description), "c": a.config,
                 "t": a.created_at, "l": a.last_active_at}
                for a in {agent.id: agent for agent in reversed(agents)}.values()
            ]),
        ).rowcount  # fmt: skip

    # --- ranked search

    def count_memories(self, org: int) -> int:
        if self._is_writing or org not in self._counted:
            self.flush()
            row = self.executor.row(
                "SELECT sum(number) FROM counts WHERE org = %s AND agent_id = '' AND kind = %s", org, MEMORIES
            )
            self._counted[org] = int((row and row[0]) or 0)
        return self._counted[org]

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        self.flush()
        by_lexeme = {lexemes.stem_lexeme(org, stem): stem for stem in stems}
        counts = self._ranked(org).count_lexemes(list(by_lexeme))
        return {by_lexeme[lexeme]: count for lexeme, count in counts.items()}

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:  # noqa: ARG002
        return Unindexed()

    def count_unsearched(self, org: int, wanted: Filter) -> int:  # noqa: ARG002
        return 0

    def candidates(  # noqa: PLR0913 - the protocol's parameters
        self, org: int, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        self.flush()
        return self._ranked(org).candidates(wanted, now, terms, before=before, limit=limit)

    def _ranked(self, org: int) -> Ranked:
        return Ranked(self.executor, org, partial(self.count_memories, org))

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        query = queries.following(org, [memory.seq for memory in found], wanted, now, before)
        return {seq: later for seq, later in self.executor.rows(query) if later is not None}

    # --- pages, tails, forgetting and sweeping

    def page(  # noqa: PLR0913 - the protocol's parameters
        self,
        org: int,
        wanted: Filter,
        now: int,
        *,
        order: Direction,
        limit: int,
        after: tuple[int, int] | None = None,
        offset: int = 0,
    ) -> list[Found]:
        self.flush()
        if wanted.as_of is not None and not self._has_future(org):
            wanted = wanted.without_future()
        asked = Page(org=org, wanted=wanted, now=now, order=order, limit=limit, after=after, offset=offset)
        if queries.is_search(wanted):
            return memories_of(windows.search(self.executor, asked, partial(self.count_memories, org)))
        return memories_of(self.executor.rows(queries.page(asked)))

    def tail_end(self, org: int) -> int:
        self.flush()
        # Memories that are imported later have lower positions.
        return max(FIRST_PLACE, self._last_place(org)[1])

    def _last_place(self, org: int) -> tuple[int, int]:
        """Return the horizon, before which no memory is stored any more, and the last position before it.

        The horizon itself is never returned to clients: after a crash, PostgreSQL reuses transaction numbers
        that were not durable, and memories of these transactions would precede it.
        """
        row = self.executor.row(
            "SELECT h, (SELECT max(place) FROM memories WHERE org = %s AND place <= h)"
            f" FROM (SELECT first + pg_snapshot_xmin(pg_current_snapshot())::text::bigint * {PLACES} - 1 AS h"
            " FROM places) s",
            org,
        )
        horizon, last = row or (0, None)
        return int(horizon), last or 0

    def tail(self, org: int, wanted: Filter, now: int, *, after: int, limit: int) -> Tail:
        self.flush()
        horizon, last = self._last_place(org)
        row = self.executor.row(
            "SELECT place FROM memories WHERE org = %s AND place > %s AND place <= %s"
            f" ORDER BY place OFFSET {_MAX_TAIL} LIMIT 1",
            org, after, horizon,
        )  # fmt: skip
        end = row[0] if row else max(after, last, FIRST_PLACE)
        rows = self.executor.rows(queries.tail(org, wanted, now, after=after, end=end, limit=limit))
        return Tail(
            found=memories_of(rows),
            positions=[row[-1] for row in rows],
            end=rows[-1][-1] if len(rows) == limit else end,
            last=last,
        )

    def matching(self, org: int, wanted: Filter, now: int) -> Sequence[int]:
        self.flush()
        return array("q", [seq for (seq,) in self.executor.rows(queries.matching(org, wanted, now))])

    def sweep(self, now: int, keep_since: int, limit: int) -> None:
        """Remove some expired memories, and some data that is kept for a day."""
        expired = self._rows(
            "SELECT org, seq FROM memories WHERE expires_at <= %s ORDER BY expires_at LIMIT %s"
            " FOR UPDATE SKIP LOCKED",
            now, limit,
        )  # fmt: skip
        by_org: dict[int, list[int]] = {}
        for org, seq in expired:
            by_org.setdefault(org, []).append(seq)
        for org, rows in by_org.items():
            self._remove(org, rows)
        self._date_back(now, limit)
        for table, key, age, before in (
            ("originals", "org, fingerprint", "seq", keep_since - times.DAY),
            ("originals", "org, fingerprint", "stored_at", keep_since - times.DAY),
            ("duplicates", "org, fingerprint, seq", "seq", keep_since),
            ("duplicates", "org, fingerprint, seq", "stored_at", keep_since),
            ("answers", "org, key", "answered_at", keep_since),
            ("recent_counts", "org, agent_id, period, slot", "period", keep_since // PERIOD),
        ):
            self._change(
                f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {age} < %s"
                f" ORDER BY {age} LIMIT %s FOR UPDATE SKIP LOCKED)",
                before, limit,
            )  # fmt: skip
        self.flush()

    def _date_back(self, now: int, limit: int) -> None:
        """Set the time of data that was stored while the clock was ahead to now.

        Otherwise it would be kept until its own time. If all data is later than now, the clock is behind, and
        nothing is changed.
        """
        for table, key, age, dated in (
            ("originals", "org, fingerprint", "seq", "stored_at"),
            ("duplicates", "org, fingerprint, seq", "seq", "stored_at"),
            ("answers", "org, key", "answered_at", "answered_at"),
        ):
            is_new = "" if age == dated else f" AND {dated} IS NULL"
            self._change(
                f"UPDATE {table} SET {dated} = %s WHERE ({key}) IN (SELECT {key} FROM {table}"
                f" WHERE {age} > %s{is_new} AND (SELECT min({age}) FROM {table}) <= %s"
                f" ORDER BY {age} LIMIT %s FOR UPDATE SKIP LOCKED)",
                now, now + _AHEAD, now, limit,
            )  # fmt: skip

    # --- agents and sessions

    def _agent(self, row: Row) -> Agent:
        agent_id, is_registered, description, *rest = row
        described = None if description is None else msgspec.json.decode(description, type=str)
        return super()._agent((agent_id, is_registered, described, *rest))

    def _described(self, description: str | None) -> str | None:
        """Return a text as JSON, which allows characters that PostgreSQL's texts do not."""
        return None if description is None else encoded(description)

    def delete_agent(self, org: int, agent_id: str) -> None:
        super().delete_agent(org, agent_id)
        self._run("UPDATE counts SET active_at = NULL WHERE org = ? AND agent_id = ?", org, agent_id)

    def _numbers(self, org: int, agent_id: str) -> Mapping[str, int]:
        sql = "SELECT kind, sum(number) FROM counts WHERE org = ? AND agent_id = ? GROUP BY kind"
        return {kind: int(number) for kind, number in self._rows(sql, org, agent_id)}

    def _unswept(self, org: int, agent_id: str, now: int) -> Sequence[Any]:
        return self._rows(
            "SELECT memory_type, event_type, time FROM memories"
            " WHERE org = ? AND agent_id = ? AND expires_at <= ?",
            org, agent_id, now,
        )  # fmt: skip

    def _delete_empty_sessions(self, org: int, agent_id: str, now: int) -> None:
        gone = self._change(
            "DELETE FROM sessions s WHERE s.org = %s AND s.agent_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM memories m WHERE m.org = %s AND m.session_id = s.id"
            " AND (m.expires_at IS NULL OR m.expires_at > %s)) RETURNING s.closed_at",
            org, agent_id, org, now,
        ).fetchall()  # fmt: skip
        self._count_sessions(org, [(agent_id, closed_at) for (closed_at,) in gone], -1)

    def delete_session(self, org: int, session: Session) -> None:
        self._settle()
        gone = self._change(
            "DELETE FROM sessions WHERE org = %s AND id = %s RETURNING agent_id, closed_at", org, session.id
        ).fetchall()
        self._count_sessions(org, gone, -1)
        self._change(
            "UPDATE answers SET body = NULL WHERE org = %s AND agent_id = %s"
            " AND position(%s::bytea IN body) > 0",
            org, session.agent_id, session.id.encode(),
        )  # fmt: skip

    def update_session(self, org: int, session: Session) -> None:
        before = self.session(org, session.id)
        if before is None:
            raise Conflict
        super().update_session(org, session)
        change = (session.closed_at is None) - (before.closed_at is None)
        if change:
            add(self._pending.counts, (org, session.agent_id, ACTIVE), change)

    # --- parts of writes

    def _add_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        added = self._change(
            f"INSERT INTO sessions (org, {SESSION})"
            " SELECT %s, i, a, m, c, u, e FROM json_to_recordset(%s) AS x (i text, a text, m text, c bigint,"
            " u bigint, e bigint) ORDER BY i ON CONFLICT DO NOTHING RETURNING agent_id, closed_at",
            org,
            encoded([
                {"i": s.id, "a": s.agent_id, "m": s.metadata, "c": s.created_at, "u": s.updated_at,
                 "e": s.closed_at}
                for s in {session.id: session for session in reversed(sessions)}.values()
            ]),
        ).fetchall()  # fmt: skip
        self._count_sessions(org, added, 1)
        return len(added)

    def _count_sessions(self, org: int, sessions: Iterable[tuple[str, int | None]], by: int) -> None:
        for agent_id, closed_at in sessions:
            add(self._pending.counts, (org, agent_id, SESSIONS), by)
            if closed_at is None:
                add(self._pending.counts, (org, agent_id, ACTIVE), by)

    def _name_agents(self, org: int, agents: Sequence[tuple[str, int]]) -> None:
        """Add agents that do not exist, and set their activity to a moment (ns)."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for agent_id, at in agents:
            first.setdefault(agent_id, at)
            last[agent_id] = max(last.get(agent_id, at), at)
        self._change(
            "INSERT INTO agents (org, id, created_at, last_active_at)"
            " SELECT %s, i, f, l FROM json_to_recordset(%s) AS x (i text, f bigint, l bigint) ORDER BY i"
            " ON CONFLICT (org, id) DO UPDATE SET is_deleted = false,"
            " created_at = CASE WHEN agents.is_deleted THEN excluded.created_at ELSE agents.created_at END,"
            " last_active_at = CASE WHEN agents.is_deleted THEN excluded.last_active_at"
            " ELSE greatest(agents.last_active_at, excluded.last_active_at) END",
            org, encoded([{"i": i, "f": at, "l": last[i]} for i, at in first.items()]),
        )  # fmt: skip

    def _has_future(self, org: int) -> bool:
        if org not in self._with_future:
            row = self.executor.row("SELECT has_future FROM orgs WHERE number = %s", org)
            self._with_future[org] = bool(row and row[0])
        return self._with_future[org]

    def _count_recent(self, org: int, agent_id: str, since: int) -> tuple[int, int]:
        """Return the numbers of memories and errors since a moment, from periods and a part of the first."""
        first = since // PERIOD + 1
        edge = (
            "(SELECT count(*) FROM memories m WHERE m.org = %s AND m.agent_id = %s AND m.is_superseded = {}"
            " AND m.time >= %s AND m.time < %s{})"
        )
        errors = " AND m.event_type = 'error' AND m.event_type <> 'general'"
        edges = [edge.format(part, kind) for kind in ("", errors) for part in ("false", "true")]
        row = self.executor.row(
            f"SELECT coalesce(sum(r.memories), 0) + {edges[0]} + {edges[1]},"
            f" coalesce(sum(r.errors), 0) + {edges[2]} + {edges[3]}"
            " FROM recent_counts r WHERE r.org = %s AND r.agent_id = %s AND r.period >= %s",
            *(org, agent_id, since, first * PERIOD) * 4, org, agent_id, first,
        )  # fmt: skip
        found = row or (0, 0)
        return int(found[0]), int(found[1])

    def _read_gone(self, org: int, rows: Sequence[int]) -> Sequence[Gone]:
        found = self._rows(
            "SELECT seq, agent_id, memory_type, event_type, time, supersedes, superseded_by FROM memories"
            " WHERE org = %s AND seq = ANY(%s) ORDER BY seq FOR UPDATE",
            org, list(rows),
        )  # fmt: skip
        return [Gone(*row) for row in found]

    def _read_moments(self, org: int, rows: Sequence[int]) -> Mapping[int, int]:
        found = self._rows(
            "SELECT seq, created_at FROM memories WHERE org = %s AND seq = ANY(%s) ORDER BY seq FOR UPDATE",
            org, list(rows),
        )  # fmt: skip
        if len(found) < len(rows):
            raise Conflict  # another server is forgetting one of them
        return dict(found)

    def _delete(self, org: int, gone: Sequence[Gone]) -> None:
        listed = [each.seq for each in gone]
        condition, value = queries.of_org(org, is_found=not self.executor.is_distributed)
        for table, of_org in (
            ("memories", "m.org = %s"), ("duplicates", condition), ("originals", condition)
        ):  # fmt: skip
            self._change(f"DELETE FROM {table} m WHERE {of_org} AND m.seq = ANY(%s)", value, listed)

    def _link(self, org: int, link: Link, superseded_at: int | None) -> None:
        if link.newer is not None:
            sql = "UPDATE memories SET supersedes = ? WHERE org = ? AND seq = ?"
            self._run(sql, link.older, org, link.newer)
        if link.older is not None:
            sql = "UPDATE memories SET superseded_by = ?, superseded_at = ? WHERE org = ? AND seq = ?"
            self._run(sql, link.newer, superseded_at, org, link.older)
