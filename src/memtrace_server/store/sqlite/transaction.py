"""A transaction on a SQLite connection: the store's protocol in SQL."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter
from typing import Any, cast

import attrs

from memtrace_server import times
from memtrace_server.store.counting import ACTIVE, PERIOD, SESSIONS
from memtrace_server.store.facts import Asked, Facts, Learned
from memtrace_server.store.pending import Gone, Kept, Link, Pending
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
from memtrace_server.store.sqlite import bulk, documents, duplicates, fulltext, labels, queries, ranked, texts
from memtrace_server.store.sqlite.known import Known, Order
from memtrace_server.store.sqlite.queued import weight
from memtrace_server.store.tables import ANSWER, KEY, LAST, SESSION, answer_of, encoded, key_of

_MAX_TAIL = 10_000  # rows of all organisations that a page of a tail reads
_MAX_SKIPPED = 5_000  # expired memories of the other kind, long or short, that a sweep skips
_CHUNK = 500
_FIRST = -(1 << 63)  # moment
_MEMORY = (
    "seq, org, agent_id, session_id, memory_type, event_type, time, importance, created_at, expires_at,"
    " supersedes, ulid, rest, text, entry"
)
_ADD = f"INSERT INTO memories ({_MEMORY}) VALUES ({', '.join('?' * len(_MEMORY.split(',')))})"
# An entry is never used again, as an indexer may still have read a forgotten memory with it.
_LAST_ENTRY = (
    "SELECT max(last_entry, ifnull((SELECT max(entry) FROM memories WHERE org = number), 0))"
    " FROM orgs WHERE number = ?"
)
_LEAVE = (
    "INSERT INTO leaving (org, entry, entered, doc, text)"
    f" SELECT org, entry, ?, {queries.HEAD}, text FROM memories m WHERE seq = ?"
)
_POSITION = attrgetter("time", "seq")


class SqliteTransaction(Facts):
    """The protocol `Transaction` on a connection whose caller executes BEGIN and COMMIT.

    Call `finish` before COMMIT. No other connection writes meanwhile, so facts are read only once.

    Args:
        connection: The connection.
        known: The facts of an earlier transaction, if no other connection has written since.
    """

    AGENT = (
        "a.id, a.is_registered, a.description, a.config, a.created_at,"
        " nullif(max(ifnull(a.last_active_at, 0), ifnull((SELECT max(c.active_at) FROM agent_counts c"
        " WHERE c.org = ? AND c.agent_id = a.id), 0)), 0)"
    )

    def __init__(self, connection: sqlite3.Connection, known: Known | None = None) -> None:
        super().__init__()
        self.unindexed_weights: dict[int, int] = {}
        """The work of indexing added and forgotten memories, by organisation."""
        self.mortal_long = 0
        """The number of added long memories that expire."""
        self._db = connection
        self._staged = texts.Staged()
        self._long: dict[int, int | None] = {}
        """Rows of memories with a long text, each with the row of the text if it is staged."""
        self._forgotten_before = self._long_forgotten = 0
        self.known = Known() if known is None else known
        """Facts that the next transaction need not read, unless this one is rolled back."""

    # --- execution

    def finish(self) -> None:
        """Write all pending changes."""
        self.flush()

    def forget_what_is_known(self) -> None:
        super().forget_what_is_known()
        self._long.clear()
        self.known.clear()

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _execute(self, sql: str, *values: object) -> int:
        self.known.clear()
        return self._db.execute(sql, values).rowcount

    # --- organisations, and facts for a group of writes

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        org = super().add_org(org_id, name, now)
        if org is not None:
            fulltext.create(self._db, org.number)
        return org

    def _read_key(self, digest: bytes) -> Key | None:
        return self._read_keys([digest]).get(digest)

    def _read_facts(self, org: int, asked: Asked, since: int, now: int) -> Learned:
        return Learned(
            keys=self._read_keys(list(asked.digests)) if asked.digests else {},
            answers=self._read_answers(org, list(asked.keys)) if asked.keys else {},
            originals=duplicates.originals(self._db, org, list(asked.fingerprints), since, now),
        )

    def _read_keys(self, digests: Sequence[bytes]) -> dict[bytes, Key]:
        found: dict[bytes, Key] = {}
        sql = f"SELECT k.digest, {KEY} FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest"
        for some in bulk.parts(digests):
            for digest, *row in self._db.execute(f"{sql} {bulk.among(some)}", some):
                found[digest] = key_of(row)
        return found

    def _read_answers(self, org: int, keys: Sequence[str]) -> dict[str, Kept]:
        found: dict[str, Kept] = {}
        sql = f"SELECT key, answered_at, {ANSWER} FROM answers WHERE org = ? AND key"
        for some in bulk.parts(keys):
            for key, at, *row in self._db.execute(f"{sql} {bulk.among(some)}", (org, *some)):
                found[key] = Kept(answer_of(row), at)
        return found

    # --- memories

    def last_seq(self, org: int) -> int:  # noqa: ARG002 - rows of all organisations are numbered together
        return self._last()

    def _last(self) -> int:
        if self.known.last_seq is None:
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'memories'").fetchone()
            self.known.last_seq = row[0] if row else 0
        return self.known.last_seq

    def next_seq(self, now: int) -> int:
        return max(now, self._last() + 1)

    def _note_row(self, seq: int) -> None:
        self.known.last_seq = max(self._last(), seq)

    def _admit(self, org: int, memories: Sequence[NewMemory]) -> None:
        """Record which memories have long texts.

        Raises:
            Unstaged: The unstaged texts are too long for one transaction.
        """
        long = {memory.seq: memory.rest for memory in memories if len(memory.rest) >= texts.LONG}
        rows = {seq: self._staged.row(text) for seq, text in long.items()}
        texts.require_short(org, [text for seq, text in long.items() if rows[seq] is None])
        self._long |= rows
        self.mortal_long += sum(memory.expires_at is not None for memory in memories if memory.seq in long)

    @contextmanager
    def staged(self, staged: Sequence[tuple[int, str]]) -> Iterator[None]:
        """Let memories refer to texts that are still staged, each with its row."""
        listed = encoded([row for row, _ in staged])
        sql = "SELECT id FROM staged WHERE id IN (SELECT value FROM json_each(?))"
        left = {row for (row,) in self._db.execute(sql, (listed,))}
        self._staged = texts.Staged((row, text) for row, text in staged if row in left)
        try:
            yield
        finally:
            self._staged = texts.Staged()

    def stage(self, org: int, some: Sequence[str], now: int) -> Sequence[int]:
        """Write texts without a memory, and return their rows."""
        self.changes += 1
        rows = [self._add_text(org, text) for text in some]
        bulk.insert(self._db, "INSERT INTO staged", [(row, now) for row in rows])
        return rows

    def _add_text(self, org: int, text: str) -> int:
        sql = "INSERT INTO texts (org, text) VALUES (?, ?)"
        return cast("int", self._db.execute(sql, (org, text)).lastrowid)

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        self.flush()
        sql = "SELECT seq, iif(org = ?, 'mem_' || ulid, NULL) FROM memories"
        found = self._db.execute(f"{sql} WHERE seq IN (SELECT value FROM json_each(?))", (org, encoded(rows)))
        return dict(found)

    def _read_memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None) -> list[Found]:
        query = queries.these(org, rows, wanted)
        if now is not None:
            query.add("(m.expires_at IS NULL OR m.expires_at > ?)", now)
        return documents.read(self._db, org, query)

    def _add_agents(self, org: int, agents: Sequence[Agent]) -> int:
        sql = (
            "INSERT INTO agents (org, id, is_registered, description, config, created_at, last_active_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET is_deleted = 0, is_registered = excluded.is_registered,"
            " description = excluded.description, config = excluded.config, created_at = excluded.created_at,"
            " last_active_at = excluded.last_active_at WHERE is_deleted"
        )
        rows = [
            (org, a.id, a.is_registered, a.description, a.config, a.created_at, a.last_active_at)
            for a in agents
        ]
        return self._db.executemany(sql, rows).rowcount

    def _add_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        rows = [(org, *attrs.astuple(session)) for session in sessions]
        sql = f"INSERT INTO sessions (org, {SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return self._db.executemany(sql, rows).rowcount if rows else 0

    # --- ranked search

    def count_memories(self, org: int) -> int:
        self.flush()
        return ranked.count_memories(self._db, org)

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        return ranked.count_terms(self._db, org, stems)

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:
        self.flush()
        everything = Filter(include_superseded=True)
        options: Any = {"order": "desc", "limit": LAST, "before": before}
        found = documents.read(
            self._db, org, queries.unindexed(org, everything, now, shown=wanted, **options)
        )
        if not found:
            return Unindexed()
        matching = {
            memory.seq
            for memory in documents.read(self._db, org, queries.unindexed(org, wanted, now, **options))
        }
        missed = 0 if len(found) < queries.TAIL else ranked.count_missed(self._db, org)
        return Unindexed(found=found, matching=frozenset(matching), missed=missed)

    def count_unsearched(self, org: int, wanted: Filter) -> int:
        self.flush()
        return ranked.count_missed(self._db, org) if queries.is_search(wanted) else 0

    def candidates(  # noqa: PLR0913 - the protocol's parameters
        self, org: int, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        self.flush()
        scope = ranked.Scope(
            self._db,
            org,
            wanted,
            None if before > self._last() else before,
            in_order=self._order(org).is_kept,
        )
        if wanted.words is not None and wanted.words.phrases:
            entries = scope.phrase_entries(wanted.words)
            if entries is not None:
                query = queries.among(org, entries, wanted, now, limit=len(entries))
                return Candidates(found=documents.read(self._db, org, query), is_complete=True)
        entries, is_complete = scope.entries(terms)
        found: list[Found] = []
        step = limit + limit // 4  # as some have expired
        at = 0
        while at < len(entries) and len(found) <= limit:  # one more shows that there are others
            some = entries[at : at + step]
            query = queries.among(org, some, wanted, now, limit=limit + 1 - len(found))
            found += documents.read(self._db, org, query)
            at += step
            step *= 4
        return Candidates(found=found[:limit], is_complete=is_complete and len(found) <= limit)

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        query = queries.following(org, [memory.seq for memory in found], wanted, now, before)
        return {seq: later for seq, later in self._db.execute(query.sql, query.values) if later is not None}

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
        if wanted.as_of is not None and not self._order(org).has_future:
            wanted = wanted.without_future()
        is_search = queries.is_search(wanted)
        query = queries.page(
            org, wanted, now, order=order, limit=limit, after=after, offset=offset,
            in_order=is_search and self._order(org).is_kept,
        )  # fmt: skip
        found = documents.read(self._db, org, query)
        if queries.is_search(wanted):
            found += documents.read(
                self._db,
                org,
                queries.unindexed(org, wanted, now, order=order, limit=limit, after=after),
            )
        found.sort(key=_POSITION, reverse=order == "desc")
        return found[:limit]

    def tail_end(self, org: int) -> int:
        return self.last_seq(org)

    def tail(self, org: int, wanted: Filter, now: int, *, after: int, limit: int) -> Tail:
        self.flush()
        far = "SELECT seq FROM memories WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?"
        row = self._db.execute(far, (after, _MAX_TAIL)).fetchone()
        end = row[0] if row else self._last()
        query = queries.tail(org, wanted, now, after=after, end=end, limit=limit)
        found = documents.read(self._db, org, query)
        positions = [memory.seq for memory in found]
        reached = positions[-1] if len(found) == limit else end
        return Tail(found=found, positions=positions, end=reached, last=self._last())

    def matching(self, org: int, wanted: Filter, now: int) -> Sequence[int]:
        rows = array("q")
        for some in self._matching(org, wanted, now):
            rows.extend(some)
        return rows

    def forget(self, org: int, rows: Sequence[int]) -> int:
        self.flush()
        there = "SELECT seq, text IS NOT NULL FROM json_each(?) j CROSS JOIN memories ON seq = j.value"
        found = self._rows(f"{there} WHERE org = ?", encoded(list(dict.fromkeys(rows))), org)
        parts = texts.divided(found, self._long_forgotten)
        if len(parts) > 1:
            raise texts.Unforgotten(org, parts)
        self._long_forgotten += sum(is_long for _, is_long in found)
        return self._forgotten_before + super().forget(org, rows)

    @contextmanager
    def forgotten(self, before: int) -> Iterator[None]:
        """Count memories that earlier transactions forgot."""
        self._forgotten_before = before
        try:
            yield
        finally:
            self._forgotten_before = 0

    def sweep(self, now: int, keep_since: int, limit: int) -> None:
        """Remove some expired short memories, and some data that is kept for a day."""
        self.flush()
        expired = self._expired(now, limit + _MAX_SKIPPED, "IS NULL", limit)
        self._remove_of_all(expired)
        self._date_back(now)
        old = "SELECT org, key FROM answers WHERE answered_at < ? LIMIT ?"
        self._db.execute(f"DELETE FROM answers WHERE (org, key) IN ({old})", (keep_since, limit))
        self._db.execute(
            "DELETE FROM recent_counts WHERE (org, agent_id, period) IN"
            " (SELECT org, agent_id, period FROM recent_counts WHERE period < ? LIMIT ?)",
            (keep_since // PERIOD, limit),
        )

    def sweep_duplicates(
        self, now: int, keep_since: int, after: duplicates.Position, limit: int
    ) -> duplicates.Position:
        """Remove old fingerprints, among some; return the position to continue from."""
        return duplicates.sweep(self._db, after, keep_since, now, limit)

    def sweep_long(self, now: int) -> int:
        """Remove some expired long memories, and return their number."""
        self.flush()
        expired = self._expired(now, _MAX_SKIPPED, "IS NOT NULL", texts.FORGOTTEN)
        self._remove_of_all(expired)
        return len(expired)

    def _expired(self, now: int, read: int, text: str, limit: int) -> list[tuple[int, int]]:
        """Return the organisation and row of expired memories, the earliest first."""
        first = "SELECT org, seq, text FROM memories WHERE expires_at <= ? LIMIT ?"
        return self._rows(f"SELECT org, seq FROM ({first}) WHERE text {text} LIMIT ?", now, read, limit)

    def _remove_of_all(self, rows: Sequence[tuple[int, int]]) -> None:
        by_org: dict[int, list[int]] = {}
        for org, seq in rows:
            by_org.setdefault(org, []).append(seq)
        for org, seqs in by_org.items():
            self._remove(org, seqs)

    def sweep_texts(self, now: int) -> int:
        """Remove some staged texts that are not needed any more, and return their number."""
        # Texts that were staged while the clock was ahead would stay until that time.
        sql = "SELECT id FROM staged WHERE staged_at < ? OR staged_at > ? LIMIT ?"
        rows = self._rows(sql, now - texts.STAGED_FOR, now + texts.STAGED_FOR, texts.SWEPT)
        for row in rows:
            self._execute("DELETE FROM texts WHERE id = ?", *row)
            self._execute("DELETE FROM staged WHERE id = ?", *row)
        return len(rows)

    def end_staging(self, rows: Sequence[int]) -> None:
        """Let texts of an ended write be swept, if they are still staged."""
        sql = "UPDATE staged SET staged_at = 0 WHERE id IN (SELECT value FROM json_each(?))"
        self._execute(sql, encoded(rows))

    def _date_back(self, now: int) -> None:
        """Set the time of responses that were stored while the clock was ahead to now.

        Otherwise they would be kept until their own time. If all are later than now, the clock is behind, and
        they are not changed.
        """
        ahead = now + times.SECOND
        self._db.execute(
            "UPDATE answers SET answered_at = ? WHERE answered_at > ?"
            " AND EXISTS (SELECT 1 FROM answers WHERE answered_at <= ?)",
            (now, ahead, now),
        )

    # --- agents and sessions

    def _numbers(self, org: int, agent_id: str) -> Mapping[str, int]:
        sql = "SELECT memory_type, memories FROM agent_counts WHERE (org, agent_id) = (?, ?)"
        numbers = dict(self._db.execute(sql, (org, agent_id)))
        sql = "SELECT sessions, active FROM session_counts WHERE (org, agent_id) = (?, ?)"
        for sessions, active in self._db.execute(sql, (org, agent_id)):
            numbers |= {SESSIONS: sessions, ACTIVE: active}
        return numbers

    def _unswept(self, org: int, agent_id: str, now: int) -> Sequence[tuple[str, str, int]]:
        return self._rows(
            "SELECT memory_type, event_type, time FROM memories"
            " WHERE expires_at <= ? AND +org = ? AND +agent_id = ?",
            now, org, agent_id,
        )  # fmt: skip

    def _delete_empty_sessions(self, org: int, agent_id: str, now: int) -> None:
        self._execute(
            "DELETE FROM sessions WHERE org = ? AND agent_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM memories m WHERE m.org = sessions.org AND m.session_id = sessions.id"
            " AND m.is_superseded IN (0, 1) AND (m.expires_at IS NULL OR m.expires_at > ?))",
            org, agent_id, now,
        )  # fmt: skip

    def delete_agent(self, org: int, agent_id: str) -> None:
        super().delete_agent(org, agent_id)
        sql = "UPDATE agent_counts SET active_at = NULL WHERE org = ? AND agent_id = ?"
        self._execute(sql, org, agent_id)

    def delete_session(self, org: int, session: Session) -> None:
        self._settle()
        self.forgotten_from.add(org)
        self._execute("DELETE FROM sessions WHERE (org, id) = (?, ?)", org, session.id)
        self._execute(
            "UPDATE answers SET body = NULL WHERE org = ? AND agent_id = ?"
            " AND instr(body, CAST(? AS BLOB)) > 0",
            org, session.agent_id, session.id,
        )  # fmt: skip

    # --- parts of writes

    def _matching(self, org: int, wanted: Filter, now: int) -> Iterator[list[int]]:
        """Yield the rows that match, in batches, newest first."""
        self.flush()
        in_order = self._order(org).is_kept
        after: tuple[int, int] | None = None
        after_unindexed: tuple[int, int] | None = None
        while True:
            query = queries.page(
                org, wanted, now, order="desc", limit=_CHUNK, after=after, in_order=in_order, has_docs=False
            )
            found = [(seq, time) for seq, time in self._db.execute(query.sql, query.values)]
            if not found:
                break
            seq, time = found[-1]
            after = time, seq
            yield [seq for seq, _ in found]
        while queries.is_search(wanted):
            query = queries.unindexed(org, wanted, now, order="desc", limit=_CHUNK, after=after_unindexed)
            others = documents.read(self._db, org, query)
            if not others:
                break
            after_unindexed = min((memory.time, memory.seq) for memory in others)
            yield [memory.seq for memory in others]

    def _order(self, org: int) -> Order:
        order = self.known.orders.get(org)
        if order is None:
            sql = "SELECT in_order, has_future FROM orgs WHERE number = ?"
            in_order, has_future = self._db.execute(sql, (org,)).fetchone()
            order = self.known.orders[org] = Order(bool(in_order), bool(has_future))
        return order

    def _latest(self, org: int) -> tuple[int, int]:
        """Return the latest time of all rows and its last row; zeros if there are no rows."""
        sql = "SELECT time, seq FROM memories WHERE org = ? AND is_superseded = ?"
        parts = [self._rows(f"{sql} ORDER BY time DESC, seq DESC LIMIT 1", org, part) for part in (0, 1)]
        return max((row[0], row[1]) for row in chain(*parts, [(_FIRST, 0)]))

    def _note_order(self, pending: Pending) -> None:
        """Record whether a memory's time is before that of an earlier memory, or after its storing."""
        for org, memories in pending.by_org().items():
            order = self._order(org)
            before = (order.is_kept, order.has_future)
            latest = self._latest(org) if order.latest is None else order.latest
            for memory in memories:
                order.is_kept = order.is_kept and latest[0] <= memory.time and latest[1] < memory.seq
                order.has_future = order.has_future or memory.time > memory.created_at
                latest = max(latest, (memory.time, memory.seq))
            order.latest = latest
            if (order.is_kept, order.has_future) != before:
                sql = "UPDATE orgs SET in_order = ?, has_future = ? WHERE number = ?"
                self._db.execute(sql, (order.is_kept, order.has_future, org))

    def _write(self, pending: Pending) -> None:
        known = self.known
        self._note_order(pending)
        memories: list[tuple[object, ...]] = []
        labelled: list[tuple[int, int, int, Sequence[str]]] = []
        staged: list[int] = []
        for (org, seq), m in pending.memories.items():
            rest, text = m.moments, None
            if seq not in self._long:
                rest += m.rest
            elif (text := self._long.pop(seq)) is None:
                text = self._add_text(org, m.rest)
            else:
                staged.append(text)
            memories.append(
                (
                    seq, org, m.agent_id, m.session_id, m.memory_type, m.event_type, m.time, m.importance,
                    m.created_at, m.expires_at, m.supersedes, m.id[4:], rest, text, self._next_entry(org),
                )
            )  # fmt: skip
            self._note_work(org, len(m.rest))
            found_by = labels.of(m.memory_type, m.event_type, m.tags)
            if found_by:
                labelled.append((org, m.time, seq, found_by))
        if staged:
            sql = "DELETE FROM staged WHERE id IN (SELECT value FROM json_each(?))"
            self._execute(sql, encoded(staged))
        self._db.executemany(_ADD, memories)
        bulk.insert(self._db, "INSERT INTO unindexed (org, seq)", list(pending.memories))
        labels.add(self._db, labelled)
        duplicates.add(self._db, pending.said)
        for (_, older), newer in pending.superseded.items():
            self._supersede(older, newer.seq, newer.created_at)
        bulk.insert(
            self._db,
            f"INSERT OR REPLACE INTO answers (org, key, answered_at, {ANSWER})",
            [
                (
                    *key, kept.at, kept.answer.request, kept.answer.status, kept.answer.body,
                    kept.answer.agent_id, kept.answer.location,
                    encoded([kept.answer.rows, kept.answer.duplicates]),
                )
                for key, kept in pending.answers.items()
            ],
        )  # fmt: skip
        active = pending.agents
        counted = {(org, agent_id) for org, agent_id, _ in pending.counts}
        bulk.insert(
            self._db,
            "INSERT INTO agents (org, id, created_at, last_active_at)",
            # For counted agents, the count has the time of activity, which saves one page per write.
            [
                (*key, at.first, at.last)
                for key, at in active.items()
                if key not in known.agents or key not in counted
            ],
            "ON CONFLICT DO UPDATE SET last_active_at = excluded.last_active_at, is_deleted = 0,"
            " created_at = iif(is_deleted, excluded.created_at, created_at)",
        )
        bulk.insert(
            self._db,
            f"INSERT INTO sessions (org, {SESSION})",
            [
                (key[0], *attrs.astuple(session))
                for key, session in pending.sessions.items()
                if key not in known.sessions
            ],
            "ON CONFLICT DO NOTHING",
        )
        bulk.insert(
            self._db,
            "INSERT INTO agent_counts",
            [
                (*key, by, at.last if (at := active.get(key[:2])) else None)
                for key, by in pending.counts.items()
            ],
            "ON CONFLICT DO UPDATE SET memories = memories + excluded.memories,"
            " active_at = ifnull(excluded.active_at, active_at)",
        )
        bulk.insert(
            self._db,
            "INSERT INTO recent_counts",
            [(*key, by, pending.recent_errors[key]) for key, by in pending.recent.items()],
            "ON CONFLICT DO UPDATE SET memories = memories + excluded.memories,"
            " errors = errors + excluded.errors",
        )
        known.add(pending)

    def _next_entry(self, org: int) -> int:
        """Return the number of the next memory in the full-text index."""
        entries = self.known.entries
        if org not in entries:
            (entries[org],) = self._db.execute(_LAST_ENTRY, (org,)).fetchone()
        entries[org] += 1
        return entries[org]

    def _name_agents(self, org: int, agents: Sequence[tuple[str, int]]) -> None:
        self._db.executemany(
            "INSERT INTO agents (org, id, created_at, last_active_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET is_deleted = 0,"
            " created_at = iif(is_deleted, excluded.created_at, created_at), last_active_at = iif(is_deleted,"
            " excluded.last_active_at, max(ifnull(last_active_at, 0), excluded.last_active_at))",
            [(org, agent_id, at, at) for agent_id, at in agents],
        )

    def _count_recent(self, org: int, agent_id: str, since: int) -> tuple[int, int]:
        """Return the numbers of memories and errors since a moment, from periods and a part of the first."""
        first = since // PERIOD + 1
        memories, errors = self._db.execute(
            "SELECT coalesce(sum(memories), 0), coalesce(sum(errors), 0) FROM recent_counts"
            " WHERE (org, agent_id) = (?, ?) AND period >= ?",
            (org, agent_id, first),
        ).fetchone()
        edge = (org, agent_id, since, first * PERIOD)
        sql = (
            "SELECT count(*) FROM memories"
            " WHERE (org, agent_id) = (?, ?) AND is_superseded IN (0, 1) AND time >= ? AND time < ?"
        )
        (more,) = self._db.execute(sql, edge).fetchone()
        (more_errors,) = self._db.execute(
            f"{sql} AND event_type <> 'general' AND event_type = 'error'", edge
        ).fetchone()
        return memories + more, errors + more_errors

    def _read_gone(self, org: int, rows: Sequence[int]) -> Sequence[Gone]:
        found = self._rows(
            "SELECT seq, agent_id, memory_type, event_type, time, supersedes, superseded_by"
            " FROM json_each(?) j CROSS JOIN memories ON seq = j.value WHERE org = ?",
            encoded(list(dict.fromkeys(rows))), org,
        )  # fmt: skip
        return [Gone(*row) for row in found]

    def _read_moments(self, org: int, rows: Sequence[int]) -> Mapping[int, int]:  # noqa: ARG002
        sql = "SELECT seq, created_at FROM json_each(?) j CROSS JOIN memories ON seq = j.value"
        return dict(self._db.execute(sql, (encoded(rows),)))

    def _delete(self, org: int, gone: Sequence[Gone]) -> None:
        is_compared_since = times.now() - 2 * times.DAY  # fingerprints of older memories have been swept
        last_entry = 0
        for each in gone:
            entry, doc, text, created_at, expires_at = self._db.execute(
                f"SELECT entry, {queries.DOC}, text, created_at, expires_at FROM memories m WHERE seq = ?",
                (each.seq,),
            ).fetchone()
            last_entry = max(last_entry, entry)
            if each.seq >= is_compared_since:
                duplicates.remove(self._db, org, each.seq, doc, created_at, expires_at)
            sql = "DELETE FROM unindexed WHERE (org, seq) = (?, ?) RETURNING entered"
            unindexed = self._db.execute(sql, (org, each.seq)).fetchone()
            entered = unindexed[0] if unindexed else None
            if entered == 0:
                self._db.execute("DELETE FROM texts WHERE id = ?", (text,))
            else:
                self._db.execute(_LEAVE, (entered, each.seq))
                self._note_work(org, len(doc))
                self.added_to = org
            found_by = labels.of_stored(each.memory_type, each.event_type, doc)
            is_superseded = each.superseded_by is not None
            labels.remove(self._db, org, found_by, each.time, each.seq, is_superseded=is_superseded)
            self._db.execute("DELETE FROM memories WHERE seq = ?", (each.seq,))
        sql = "UPDATE orgs SET last_entry = ? WHERE number = ? AND last_entry < ?"
        self._db.execute(sql, (last_entry, org, last_entry))
        self.known.orders.pop(org, None)

    def _note_work(self, org: int, length: int) -> None:
        """Record that a memory of some length enters or leaves the full-text index."""
        self.unindexed_weights[org] = self.unindexed_weights.get(org, 0) + weight(length)

    def _link(self, org: int, link: Link, superseded_at: int | None) -> None:  # noqa: ARG002
        if link.newer is not None:
            self._execute("UPDATE memories SET supersedes = ? WHERE seq = ?", link.older, link.newer)
        if link.older is not None:
            self._supersede(link.older, link.newer, superseded_at)

    def _supersede(self, older: int, newer: int | None, superseded_at: int | None) -> None:
        """Set the row that supersedes a memory, and the moment (ns); None for neither."""
        org, memory_type, event_type, time, rest, was_superseded = self._db.execute(
            f"SELECT org, memory_type, event_type, time, {queries.REST}, is_superseded FROM memories m"
            " WHERE seq = ?",
            (older,),
        ).fetchone()
        self._db.execute(
            "UPDATE memories SET superseded_by = ?, superseded_at = ? WHERE seq = ?",
            (newer, superseded_at, older),
        )
        is_superseded = newer is not None
        if is_superseded != was_superseded:
            found_by = labels.of_stored(memory_type, event_type, rest)
            labels.mark(self._db, org, found_by, time, older, is_superseded=is_superseded)
