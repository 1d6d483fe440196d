"""One transaction on a SQLite connection: what the store protocol means in SQL."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from operator import attrgetter
from typing import Any, cast

import msgspec
from attrs import define

from memtrace_server import times
from memtrace_server.search.documents import Document
from memtrace_server.store.counting import PERIOD, Counts
from memtrace_server.store.records import (
    Agent,
    AgentCounts,
    Answer,
    AuditEntry,
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
from memtrace_server.store.sqlite import bulk, fulltext, queries, ranked, texts
from memtrace_server.store.sqlite.pending import Pending

_LOOKED_THROUGH = 10_000  # rows of all organisations, for one page of a tail
_CHUNK = 500
_KEY = (
    "k.id, k.org, o.id, k.role, k.name, k.created_at, k.revoked_at, k.expires_at, k.last_used_at, k.agent_id"
)
_AUDIT = "at, actor, org_id, action, subject, request_id, details"
_AGENT = "id, is_registered, description, config, created_at, last_active_at"
_SESSION = "id, agent_id, metadata, created_at, updated_at, closed_at"
_MEMORY = (
    "seq, org, agent_id, session_id, memory_type, event_type, time, importance, created_at, expires_at,"
    " supersedes, ulid, rest, text"
)
_ADD = (
    f"INSERT INTO memories ({_MEMORY}, entry) VALUES ({', '.join('?' * len(_MEMORY.split(',')))},"
    " ifnull((SELECT entry FROM memories WHERE org = ? ORDER BY entry DESC LIMIT 1), 0) + 1)"
)
_LATEST = 2**63 - 1
_POSITION = attrgetter("time", "seq")


class SqliteTransaction:
    """The protocol `Transaction` on a connection whose BEGIN and COMMIT are somebody else's.

    Before COMMIT, `finish` must be called. Nobody else writes meanwhile, so what was read once is known.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.added_to: int | None = None
        self.forgotten_from: set[int] = set()
        """The organisation for which memories were added last."""
        self._db = connection
        self._removals = fulltext.Removals()
        self._pending = Pending()
        self._staged = texts.Staged()
        self._keys: dict[bytes, Key | None] = {}
        self._last_seq: int | None = None
        self._orders: dict[int, _Order] = {}

    # --- its end, and the ends of its parts

    @property
    def additions(self) -> int:
        """How many memories were added."""
        return self._pending.additions

    @property
    def unindexed_weights(self) -> Mapping[int, int]:
        """By organisation, how much work it is to index them."""
        return self._pending.weights

    def changes(self) -> tuple[int, ...]:
        """Differs from what it was if anything was changed in the meantime."""
        return (
            self._db.total_changes,
            self._pending.additions,
            len(self._pending.answers),
            self._removals.mark(),
        )

    def finish(self) -> None:
        """Write out everything."""
        self.flush()
        self._removals.apply(self._db)

    def mark(self) -> int:
        """Write out what waits, all but the full-text index; the point to go back to."""
        self.flush()
        return self._removals.mark()

    def go_back(self, mark: int) -> None:
        """Drop what was taken in since a mark; what was written since, the caller must roll back."""
        self._removals.go_back(mark)
        self._forget_what_is_known()

    def flush(self) -> None:
        """Write out what waits, all but the full-text index."""
        pending = self._pending
        if not (pending.counts or pending.answers):
            return
        self._pending = pending.emptied()
        self._write(pending)

    # --- organisations and keys

    def secret(self) -> bytes:
        found: bytes = self._db.execute("SELECT secret FROM secrets").fetchone()[0]
        return found

    def orgs(self) -> list[Org]:
        rows = self._db.execute("SELECT number, id, name, created_at FROM orgs ORDER BY number")
        return [Org(number=n, id=i, name=name, created_at=at) for n, i, name, at in rows]

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        row = self._db.execute(
            "INSERT INTO orgs (id, name, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING number",
            (org_id, name, now),
        ).fetchone()
        if row is None:
            return None
        fulltext.create(self._db, row[0])
        return Org(number=row[0], id=org_id, name=name, created_at=now)

    def key(self, digest: bytes) -> Key | None:
        if digest not in self._keys:
            self._keys[digest] = self._read_key(digest)
        return self._keys[digest]

    def _read_key(self, digest: bytes) -> Key | None:
        sql = f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = ?"
        row = self._db.execute(sql, (digest,)).fetchone()
        return _key(row) if row else None

    def keys(self) -> list[Key]:
        rows = self._db.execute(
            f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org ORDER BY k.created_at"
        )
        return [_key(row) for row in rows]

    def add_key(self, digest: bytes, key: Key) -> None:
        self._keys.clear()
        self._db.execute(
            "INSERT INTO keys (digest, id, org, role, name, created_at, expires_at, agent_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                digest,
                key.id,
                key.org,
                key.role,
                key.name,
                key.created_at,
                key.expires_at,
                key.agent_id,
            ),
        )

    def revoke_key(self, key_id: str, now: int) -> bool:
        self._keys.clear()
        sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        return self._db.execute(sql, (now, key_id)).rowcount == 1

    def expire_key(self, key_id: str, moment: int) -> None:
        self._keys.clear()
        sql = "UPDATE keys SET expires_at = min(coalesce(expires_at, ?), ?) WHERE id = ?"
        self._db.execute(sql, (moment, moment, key_id))

    def note_key_use(self, key_id: str, moment: int) -> None:
        sql = "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?"
        self._db.execute(sql, (moment, key_id))

    def record(self, entry: AuditEntry) -> None:
        self._db.execute(
            f"INSERT INTO audit ({_AUDIT}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.at, entry.actor, entry.org_id, entry.action, entry.subject, entry.request_id,
                msgspec.json.encode(entry.details).decode(),
            ),
        )  # fmt: skip

    def audit(self) -> list[AuditEntry]:
        rows = self._db.execute(f"SELECT {_AUDIT} FROM audit ORDER BY seq")
        return [_audit_entry(row) for row in rows]

    # --- answers to writes that may be tried again

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        if (org, key) in self._pending.answers:
            self.flush()
        row = self._db.execute(
            "SELECT request, status, body, agent_id, location, memories FROM answers"
            " WHERE (org, key) = (?, ?) AND answered_at >= ?",
            (org, key, since),
        ).fetchone()
        if row is None:
            return None
        request, status, body, agent_id, location, memories = row
        rows, duplicates = msgspec.json.decode(memories)
        return Answer(
            request=request,
            status=status,
            body=body,
            agent_id=agent_id,
            location=location,
            rows=rows,
            duplicates=duplicates,
        )

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        memories = msgspec.json.encode([answer.rows, answer.duplicates]).decode()
        self._pending.answers[org, key] = (
            org, key, now, answer.request, answer.status, answer.body, answer.agent_id, answer.location,
            memories,
        )  # fmt: skip

    def forget_answers(self, org: int, agent_id: str) -> None:
        self.flush()
        self.forgotten_from.add(org)
        self._db.execute("UPDATE answers SET body = NULL WHERE org = ? AND agent_id = ?", (org, agent_id))

    # --- memories

    def last_seq(self, org: int) -> int:  # noqa: ARG002 - rows of all organisations are numbered together
        return self._last()

    def _last(self) -> int:
        if self._last_seq is None:
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'memories'").fetchone()
            self._last_seq = row[0] if row else 0
        return self._last_seq

    def next_seq(self, now: int) -> int:
        return max(now, self._last() + 1)

    def originals(
        self, org: int, fingerprints: Sequence[bytes], since: int, now: int
    ) -> Mapping[bytes, Found]:
        if any((org, fingerprint) in self._pending.fingerprints for fingerprint in fingerprints):
            self.flush()
        first = (
            "SELECT d.seq FROM duplicates d JOIN memories o ON o.seq = d.seq"
            " WHERE (d.org, d.fingerprint) = (?, f.column1) AND d.stored_at >= ?"
            " AND (o.expires_at IS NULL OR o.expires_at > ?) ORDER BY d.seq LIMIT 1"
        )
        found: dict[bytes, Found] = {}
        for some in bulk.parts(fingerprints):
            rows = self._db.execute(
                f"SELECT f.column1, m.seq, m.time, {queries.WHOLE_DOC}, {queries.NEWER}"
                f" FROM (VALUES {', '.join(['(?)'] * len(some))}) f JOIN memories m ON m.seq = ({first})",
                (*some, org, since, now),
            )
            for fingerprint, seq, time, doc, newer in rows:
                found[fingerprint] = Found(seq=seq, time=time, doc=doc, superseded_by=newer)
        return found

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        long = self._long(org, [memory for _, memory in memories])
        self._note_order(org, [memory for _, memory in memories])
        self._pending.add(org, memories, now, long)
        self.added_to = org
        self._last_seq = max(self._last_seq or 0, memories[-1][1].seq)

    def _long(self, org: int, memories: Sequence[NewMemory]) -> Mapping[int, int | None]:
        """Return the rows of memories whose texts are long, each with the row of its text if that is staged.

        Raises:
            Unstaged: The texts that are not are too long for one transaction.
        """
        long = {memory.seq: memory.rest for memory in memories if len(memory.rest) >= texts.LONG}
        rows = {seq: self._staged.row(text) for seq, text in long.items()}
        texts.require_short(org, [text for seq, text in long.items() if rows[seq] is None])
        return rows

    @contextmanager
    def staged(self, staged: Sequence[tuple[int, str]]) -> Iterator[None]:
        """Have memories refer to texts that are staged, each with its row, as far as they still are."""
        listed = msgspec.json.encode([row for row, _ in staged]).decode()
        sql = "SELECT id FROM staged WHERE id IN (SELECT value FROM json_each(?))"
        left = {row for (row,) in self._db.execute(sql, (listed,))}
        self._staged = texts.Staged((row, text) for row, text in staged if row in left)
        try:
            yield
        finally:
            self._staged = texts.Staged()

    def stage(self, org: int, some: Sequence[str], now: int) -> Sequence[int]:
        """Write texts to which no memory refers yet, and return their rows."""
        rows = [self._add_text(org, text) for text in some]
        bulk.insert(self._db, "INSERT INTO staged", [(row, now) for row in rows])
        return rows

    def _add_text(self, org: int, text: str) -> int:
        sql = "INSERT INTO texts (org, text) VALUES (?, ?)"
        return cast("int", self._db.execute(sql, (org, text)).lastrowid)

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        self.flush()
        sql = "SELECT seq, iif(org = ?, 'mem_' || ulid, NULL) FROM memories"
        found = self._db.execute(
            f"{sql} WHERE seq IN (SELECT value FROM json_each(?))", (org, msgspec.json.encode(rows).decode())
        )
        return dict(found)

    def import_memories(self, org: int, memories: Sequence[NewMemory], now: int) -> None:
        self.flush()
        long = self._long(org, memories)
        order = self._order(org)
        rows = [self._latest_row(org) if order.is_kept else 0, *(memory.seq for memory in memories)]
        self._note_order(org, memories)
        order.is_kept = order.is_kept and all(a < b for a, b in pairwise(rows))
        alone = [msgspec.structs.replace(memory, supersedes=None) for memory in memories]
        self._pending.add(org, [(b"", memory) for memory in alone], now, long)
        # Who imports stores nothing now: so nothing is a duplicate of it, and no agent is active.
        for of_writers in ("duplicates", "fingerprints", "agents", "sessions"):
            getattr(self._pending, of_writers).clear()
        self.flush()
        self._name(org, memories)
        self.added_to = org
        for memory in memories:
            if memory.supersedes is not None:
                self._supersede_again(org, memory, memory.supersedes)
        self._last_seq = None

    def import_agents(self, org: int, agents: Sequence[Agent]) -> int:
        self.flush()
        sql = (
            f"INSERT INTO agents (org, {_AGENT}) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET is_deleted = 0, is_registered = excluded.is_registered,"
            " description = excluded.description, config = excluded.config, created_at = excluded.created_at,"
            " last_active_at = excluded.last_active_at WHERE is_deleted"
        )
        rows = [
            (org, a.id, a.is_registered, a.description, a.config, a.created_at, a.last_active_at)
            for a in agents
        ]
        return self._db.executemany(sql, rows).rowcount if rows else 0

    def import_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        self.flush()
        self._name_agents(org, [(session.agent_id, session.created_at) for session in sessions])
        sql = f"INSERT INTO sessions (org, {_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        rows = [
            (org, s.id, s.agent_id, s.metadata, s.created_at, s.updated_at, s.closed_at) for s in sessions
        ]
        return self._db.executemany(sql, rows).rowcount if rows else 0

    def memory(self, org: int, seq: int, now: int) -> Found | None:
        self.flush()
        row = self._db.execute(
            f"SELECT m.seq, m.time, {queries.WHOLE_DOC}, {queries.NEWER} FROM memories m"
            " WHERE m.org = ? AND m.seq = ? AND (m.expires_at IS NULL OR m.expires_at > ?)",
            (org, seq, now),
        ).fetchone()
        return Found(seq=row[0], time=row[1], doc=row[2], superseded_by=row[3]) if row else None

    def memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None = None) -> list[Found]:
        self.flush()
        query = queries.these(org, rows, wanted)
        if now is not None:
            query.add("(m.expires_at IS NULL OR m.expires_at > ?)", now)
        return _found(self._db, org, query)

    # --- ranked search

    def count_memories(self, org: int) -> int:
        self.flush()
        return ranked.count_memories(self._db, org)

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        return ranked.count_terms(self._db, org, stems)

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:
        self.flush()
        everything = Filter(include_superseded=True)
        options: Any = {"order": "desc", "limit": _LATEST, "before": before}
        found = _found(self._db, org, queries.unindexed(org, everything, now, shown=wanted, **options))
        if not found:
            return Unindexed()
        matching = {
            memory.seq for memory in _found(self._db, org, queries.unindexed(org, wanted, now, **options))
        }
        missed = 0 if len(found) < queries.TAIL else ranked.count_missed(self._db, org)
        return Unindexed(found=found, matching=frozenset(matching), missed=missed)

    def count_unsearched(self, org: int, wanted: Filter) -> int:
        self.flush()
        return ranked.count_missed(self._db, org) if queries.is_search(wanted) else 0

    def candidates(  # noqa: PLR0913 - as the protocol has it
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
                return Candidates(found=_found(self._db, org, query), is_complete=True)
        entries, is_complete = scope.entries(terms)
        found: list[Found] = []
        step = limit + limit // 4  # some have expired
        at = 0
        while at < len(entries) and len(found) <= limit:  # one more says that there are others
            some = entries[at : at + step]
            query = queries.among(org, some, wanted, now, limit=limit + 1 - len(found))
            found += _found(self._db, org, query)
            at += step
            step *= 4
        return Candidates(found=found[:limit], is_complete=is_complete and len(found) <= limit)

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        query = queries.following(org, [memory.seq for memory in found], wanted, now, before)
        return {seq: later for seq, later in self._db.execute(query.sql, query.values) if later is not None}

    # --- pages, and forgetting

    def page(  # noqa: PLR0913 - as the protocol has it
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
        found = _found(self._db, org, query)
        if queries.is_search(wanted):
            found += _found(
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
        row = self._db.execute(far, (after, _LOOKED_THROUGH)).fetchone()
        end = row[0] if row else self._last()
        query = queries.tail(org, wanted, now, after=after, end=end, limit=limit)
        found = _found(self._db, org, query)
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
        there = "SELECT 1 FROM memories WHERE (org, seq) = (?, ?)"
        left = [row for row in rows if self._db.execute(there, (org, row)).fetchone()]
        self._remove(left)
        return len(left)

    def sweep(self, now: int, keep_since: int, limit: int) -> None:
        """Remove some of what has expired, and of what is kept for a day only; the next sweep goes on."""
        self.flush()
        expired = self._db.execute("SELECT seq FROM memories WHERE expires_at <= ? LIMIT ?", (now, limit))
        self._remove([seq for (seq,) in expired.fetchall()])
        self._date_back(now)
        # By the row, which is no earlier and has an index; what was dated back stays longer.
        self._db.execute(
            "DELETE FROM duplicates WHERE (org, fingerprint, seq) IN"
            " (SELECT org, fingerprint, seq FROM duplicates WHERE seq < ? LIMIT ?)",
            (keep_since, limit),
        )
        old = "SELECT org, key FROM answers WHERE answered_at < ? LIMIT ?"
        self._db.execute(f"DELETE FROM answers WHERE (org, key) IN ({old})", (keep_since, limit))
        self._db.execute(
            "DELETE FROM recent_counts WHERE (org, agent_id, period) IN"
            " (SELECT org, agent_id, period FROM recent_counts WHERE period < ? LIMIT ?)",
            (keep_since // PERIOD, limit),
        )

    def sweep_texts(self, staged_before: int) -> None:
        """Remove some texts that were staged before a moment (ns), and are of no use any more."""
        sql = "SELECT id FROM staged WHERE staged_at < ? LIMIT ?"
        for row in self._db.execute(sql, (staged_before, texts.SWEPT)).fetchall():
            self._db.execute("DELETE FROM texts WHERE id = ?", row)
            self._db.execute("DELETE FROM staged WHERE id = ?", row)

    def _date_back(self, now: int) -> None:
        """Date what was written while the clock was ahead from now, or it would be kept until then.

        Unless all is later than now: then the clock is behind.
        """
        ahead = now + times.SECOND
        first = "SELECT stored_at FROM duplicates ORDER BY seq LIMIT 1"
        self._db.execute(
            f"UPDATE duplicates SET stored_at = ? WHERE seq > ? AND stored_at > ? AND ({first}) <= ?",
            (now, ahead, ahead, now),
        )
        self._db.execute(
            "UPDATE answers SET answered_at = ? WHERE answered_at > ?"
            " AND EXISTS (SELECT 1 FROM answers WHERE answered_at <= ?)",
            (now, ahead, now),
        )

    # --- agents

    def agent(self, org: int, agent_id: str) -> Agent | None:
        self.flush()
        sql = f"SELECT {_AGENT} FROM agents WHERE (org, id) = (?, ?) AND NOT is_deleted"
        row = self._db.execute(sql, (org, agent_id)).fetchone()
        return _agent(row) if row else None

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        self.flush()
        sql = f"SELECT {_AGENT} FROM agents WHERE org = ? AND id > ? AND NOT is_deleted ORDER BY id LIMIT ?"
        return [_agent(row) for row in self._db.execute(sql, (org, after or "", limit))]

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> bool:
        self.flush()
        done = self._db.execute(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at)"
            " VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET is_registered = 1, is_deleted = 0,"
            " description = excluded.description, config = excluded.config,"
            " created_at = iif(is_deleted, excluded.created_at, created_at),"
            " last_active_at = iif(is_deleted, NULL, last_active_at) WHERE is_deleted OR NOT is_registered",
            (org, agent_id, description, config, now),
        )
        return done.rowcount == 1

    def delete_agent(self, org: int, agent_id: str) -> None:
        self.flush()
        self.forgotten_from.add(org)
        self._db.execute(
            "UPDATE agents SET is_deleted = 1, is_registered = 0, description = NULL, config = NULL"
            " WHERE (org, id) = (?, ?)",
            (org, agent_id),
        )

    def delete_sessions(self, org: int, agent_id: str, now: int) -> None:
        self.flush()
        # What has expired holds no session, swept or not.
        expired = self._db.execute(
            "SELECT seq FROM memories WHERE expires_at <= ? AND +org = ?"
            " AND +session_id IN (SELECT id FROM sessions WHERE org = ? AND agent_id = ?)",
            (now, org, org, agent_id),
        )
        self._remove([seq for (seq,) in expired.fetchall()])
        self.forgotten_from.add(org)
        self._db.execute(
            "DELETE FROM sessions WHERE org = ? AND agent_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM memories m WHERE m.org = sessions.org AND m.session_id = sessions.id"
            " AND m.is_superseded IN (0, 1))",
            (org, agent_id),
        )

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        self.flush()
        counts = Counter(
            dict(
                self._db.execute(
                    "SELECT memory_type, memories FROM agent_counts WHERE (org, agent_id) = (?, ?)",
                    (org, agent_id),
                )
            )
        )
        # What has expired counts until it is swept, a moment later; so there is little to take off.
        unswept = self._db.execute(
            "SELECT memory_type, event_type, time FROM memories"
            " WHERE expires_at <= ? AND +org = ? AND +agent_id = ?",
            (now, org, agent_id),
        ).fetchall()
        counts.subtract(memory_type for memory_type, _, _ in unswept)
        recent, errors = self._count_recent(org, agent_id, since)
        recent -= sum(time >= since for _, _, time in unswept)
        errors -= sum(time >= since and event_type == "error" for _, event_type, time in unswept)
        sessions, active = self._db.execute(
            "SELECT coalesce(sum(sessions), 0), coalesce(sum(active), 0) FROM session_counts"
            " WHERE (org, agent_id) = (?, ?)",
            (org, agent_id),
        ).fetchone()
        return AgentCounts(
            memory_types=+counts,
            recent=recent,
            recent_errors=errors,
            sessions=sessions,
            active_sessions=active,
        )

    # --- sessions

    def session(self, org: int, session_id: str) -> Session | None:
        self.flush()
        sql = f"SELECT {_SESSION} FROM sessions WHERE (org, id) = (?, ?)"
        row = self._db.execute(sql, (org, session_id)).fetchone()
        return _session(row) if row else None

    def sessions(
        self,
        org: int,
        *,
        agent_id: str | None,
        is_active: bool | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[Session]:
        self.flush()
        query = queries.Query(f"SELECT {_SESSION} FROM sessions WHERE org = ?", [org])
        if agent_id is not None:
            query.add("agent_id = ?", agent_id)
        if is_active is not None:
            query.add("(closed_at IS NULL) = ?", is_active)
        query.add("(created_at, id) < (?, ?)", *(after or (_LATEST, "")))
        query.sql += " ORDER BY created_at DESC, id DESC LIMIT ?"
        return [_session(row) for row in self._db.execute(query.sql, [*query.values, limit])]

    def delete_session(self, org: int, session: Session) -> None:
        self.flush()
        self.forgotten_from.add(org)
        self._db.execute("DELETE FROM sessions WHERE (org, id) = (?, ?)", (org, session.id))
        self._db.execute(
            "UPDATE answers SET body = NULL WHERE org = ? AND agent_id = ?"
            " AND instr(body, CAST(? AS BLOB)) > 0",
            (org, session.agent_id, session.id),
        )

    def add_session(self, org: int, session: Session) -> None:
        self.flush()
        self._touch_agents([(org, session.agent_id, session.created_at)])
        self._db.execute(
            f"INSERT INTO sessions (org, {_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                org, session.id, session.agent_id, session.metadata, session.created_at, session.updated_at,
                session.closed_at,
            ),
        )  # fmt: skip

    def update_session(self, org: int, session: Session) -> None:
        self.flush()
        self._db.execute(
            "UPDATE sessions SET metadata = ?, updated_at = ?, closed_at = ? WHERE (org, id) = (?, ?)",
            (session.metadata, session.updated_at, session.closed_at, org, session.id),
        )

    # --- what several of them lean on

    def _matching(self, org: int, wanted: Filter, now: int) -> Iterator[list[int]]:
        """Return the rows that match, some at a time, from the newest on."""
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
            others = _found(self._db, org, query)
            if not others:
                break
            after_unindexed = min((memory.time, memory.seq) for memory in others)
            yield [memory.seq for memory in others]

    def _order(self, org: int) -> _Order:
        if org not in self._orders:
            sql = "SELECT in_order, latest, has_future FROM orgs WHERE number = ?"
            in_order, latest, has_future = self._db.execute(sql, (org,)).fetchone()
            self._orders[org] = _Order(bool(in_order), latest, bool(has_future))
        return self._orders[org]

    def _latest_row(self, org: int) -> int:
        """Return the row with the latest time, which is the last where rows rise with times; 0 if none."""
        latest = (
            "(SELECT seq FROM memories WHERE org = ? AND is_superseded = {}"
            " ORDER BY time DESC, seq DESC LIMIT 1)"
        )
        parts = ", ".join(f"ifnull({latest.format(part)}, 0)" for part in (0, 1))
        (row,) = self._db.execute(f"SELECT max({parts})", (org, org)).fetchone()
        return int(row)

    def _note_order(self, org: int, memories: Sequence[NewMemory]) -> None:
        """Note when a memory has a time before that of an earlier one, or after the time it was stored."""
        order = self._order(org)
        moments = [memory.time for memory in memories]
        if not order.has_future and any(memory.time > memory.created_at for memory in memories):
            order.has_future = True
            self._db.execute("UPDATE orgs SET has_future = 1 WHERE number = ?", (org,))
        latest = moments[0] if order.latest is None else order.latest
        order.is_kept = order.is_kept and latest <= moments[0] and all(a <= b for a, b in pairwise(moments))
        order.latest = self._pending.latest[org] = max(latest, *moments)

    def _forget_what_is_known(self) -> None:
        self._pending = self._pending.emptied()
        self._keys.clear()
        self._orders.clear()
        self._last_seq = None

    def _write(self, pending: Pending) -> None:
        for index, org, text in pending.texts:
            row = self._add_text(org, text)
            pending.memories[index] = (*pending.memories[index][:-1], row)
        if pending.staged:
            sql = "DELETE FROM staged WHERE id IN (SELECT value FROM json_each(?))"
            self._db.execute(sql, (msgspec.json.encode(pending.staged).decode(),))
        self._db.executemany(_ADD, ((*memory, memory[1]) for memory in pending.memories))  # its organisation
        bulk.insert(self._db, "INSERT INTO unindexed", pending.unindexed)
        bulk.insert(self._db, "INSERT INTO labels", pending.labels)
        bulk.insert(self._db, "INSERT INTO duplicates", pending.duplicates)
        for older, newer, at in pending.superseded:
            self._supersede(older, newer, at)
        bulk.insert(self._db, "INSERT OR REPLACE INTO answers", list(pending.answers.values()))
        self._db.executemany(
            "UPDATE orgs SET in_order = ?, latest = ? WHERE number = ?",
            [(self._orders[org].is_kept, latest, org) for org, latest in pending.latest.items()],
        )
        self._touch_agents([(*key, now) for key, now in pending.agents.items()])
        bulk.insert(
            self._db,
            f"INSERT INTO sessions (org, {_SESSION})",
            [(*key, agent_id, None, now, now, None) for key, (agent_id, now) in pending.sessions.items()],
            "ON CONFLICT DO NOTHING",
        )
        self._count(pending.counts)
        bulk.insert(
            self._db,
            "INSERT INTO recent_counts",
            [(*key, by, pending.recent_errors[key]) for key, by in pending.recent.items()],
            "ON CONFLICT DO UPDATE SET memories = memories + excluded.memories,"
            " errors = errors + excluded.errors",
        )

    def _count(self, counts: Counter[tuple[int, str, str]]) -> None:
        bulk.insert(
            self._db,
            "INSERT INTO agent_counts",
            [(*key, by) for key, by in counts.items()],
            "ON CONFLICT DO UPDATE SET memories = memories + excluded.memories",
        )

    def _touch_agents(self, agents: Sequence[tuple[int, str, int]]) -> None:
        """Note that agents were active at a time (ns); one that is new, or deleted, comes into being."""
        bulk.insert(
            self._db,
            "INSERT INTO agents (org, id, created_at, last_active_at)",
            [(org, agent_id, now, now) for org, agent_id, now in agents],
            "ON CONFLICT DO UPDATE SET last_active_at = excluded.last_active_at, is_deleted = 0,"
            " created_at = iif(is_deleted, excluded.created_at, created_at)",
        )

    def _name(self, org: int, memories: Sequence[NewMemory]) -> None:
        """Let the agents and sessions that memories name exist, since the memories were stored."""
        self._name_agents(org, [(memory.agent_id, memory.created_at) for memory in memories])
        self._db.executemany(
            f"INSERT INTO sessions (org, {_SESSION}) VALUES (?, ?, ?, NULL, ?, ?, NULL)"
            " ON CONFLICT DO NOTHING",
            [(org, m.session_id, m.agent_id, m.created_at, m.created_at) for m in memories if m.session_id],
        )

    def _name_agents(self, org: int, agents: Sequence[tuple[str, int]]) -> None:
        self._db.executemany(
            "INSERT INTO agents (org, id, created_at, last_active_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET is_deleted = 0,"
            " created_at = iif(is_deleted, excluded.created_at, created_at), last_active_at = iif(is_deleted,"
            " excluded.last_active_at, max(ifnull(last_active_at, 0), excluded.last_active_at))",
            [(org, agent_id, at, at) for agent_id, at in agents],
        )

    def _supersede_again(self, org: int, memory: NewMemory, older: int) -> None:
        """Let an imported memory supersede what it superseded, if that exists and nothing else does."""
        is_free = self._db.execute(
            "SELECT 1 FROM memories"
            " WHERE seq = ? AND org = ? AND superseded_by IS NULL AND 'mem_' || ulid = ?",
            (older, org, msgspec.json.decode(memory.doc)["supersedes"]),
        ).fetchone()
        if is_free:
            self._db.execute("UPDATE memories SET supersedes = ? WHERE seq = ?", (older, memory.seq))
            self._supersede(older, memory.seq, memory.created_at)

    def _count_recent(self, org: int, agent_id: str, since: int) -> tuple[int, int]:
        """Memories and errors since then, expired ones too: whole periods, and the rest of the first."""
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

    def _remove(self, rows: Iterable[int]) -> None:
        """Delete memories with all that was derived from them."""
        gone = Counts()
        for seq in rows:
            org, entry, agent_id, memory_type, event_type, time, doc, text, older, newer = self._db.execute(
                f"SELECT org, entry, agent_id, memory_type, event_type, time, {queries.DOC}, text,"
                " supersedes, superseded_by FROM memories m WHERE seq = ?",
                (seq,),
            ).fetchone()
            document = Document.read(doc)
            self.forgotten_from.add(org)
            sql = "DELETE FROM unindexed WHERE (org, seq) = (?, ?)"
            if not self._db.execute(sql, (org, seq)).rowcount:
                self._removals.add(fulltext.Row(org, entry, document))
            self._db.executemany(
                "DELETE FROM labels WHERE (org, label, is_superseded, time, seq) = (?, ?, ?, ?, ?)",
                [
                    (org, label, newer is not None, time, seq)
                    for label in queries.labels(memory_type, event_type, document.tags)
                ],
            )
            gone.remove(org, agent_id, memory_type, event_type, time)
            self._db.execute("DELETE FROM memories WHERE seq = ?", (seq,))
            self._db.execute("DELETE FROM texts WHERE id = ?", (text,))
            self._db.execute("DELETE FROM duplicates WHERE seq = ?", (seq,))
            self._join(older, newer)
        self._count(gone.counts)
        self._db.executemany(  # but for periods that have been swept
            "UPDATE recent_counts SET memories = memories + ?, errors = errors + ?"
            " WHERE (org, agent_id, period) = (?, ?, ?)",
            [(by, gone.recent_errors[key], *key) for key, by in gone.recent.items()],
        )

    def _join(self, older: int | None, newer: int | None) -> None:
        """Close the gap that a memory left between what it superseded and what superseded it."""
        if newer is not None:
            self._db.execute("UPDATE memories SET supersedes = ? WHERE seq = ?", (older, newer))
        if older is None:
            return
        if newer is None:
            self._supersede(older, None, None)
        else:
            sql = "SELECT created_at FROM memories WHERE seq = ?"
            (superseded_at,) = self._db.execute(sql, (newer,)).fetchone()
            self._supersede(older, newer, superseded_at)

    def _supersede(self, older: int, newer: int | None, superseded_at: int | None) -> None:
        """Note by which row a memory is superseded, and since when (ns); by none if both are None."""
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
            tags = msgspec.json.decode(rest).get("tags", [])
            self._db.executemany(
                "UPDATE labels SET is_superseded = ?"
                " WHERE (org, label, is_superseded, time, seq) = (?, ?, ?, ?, ?)",
                [
                    (is_superseded, org, label, was_superseded, time, older)
                    for label in queries.labels(memory_type, event_type, tags)
                ],
            )


@define
class _Order:
    """What an organisation's rows have in common.

    Attributes:
        is_kept: Whether they rise with their times.
        latest: Their latest time (ns), if there is any.
        has_future: Whether any ever had a time later than when it was stored.
    """

    is_kept: bool
    latest: int | None
    has_future: bool


def _found(connection: sqlite3.Connection, org: int, query: queries.Query) -> list[Found]:
    """What a query for row, time and document finds, in any order; fetched in one step (see `bulk`)."""
    names = ("seq", "time", "doc", "tail", "newer") if query.has_newer else ("seq", "time", "doc", "tail")
    lines = ", ".join(f"group_concat(ifnull({name}, ''), char(10))" for name in names)
    sql = f"SELECT (SELECT json_quote(id) FROM orgs WHERE number = ?), {lines} FROM ({query.sql})"
    org_id, *columns = connection.execute(sql, [org, *query.values]).fetchone()
    if columns[0] is None:
        return []
    head = f'{{"org_id":{org_id},'
    rows, moments, docs, tails, *newer = [column.split("\n") for column in columns]  # JSON has no line breaks
    long = _texts(connection, [int(tail) for tail in tails if tail])
    found = [
        Found(seq=int(seq), time=int(time), doc=f"{head}{doc[1:]}{long[tail] if tail else ''}")
        for seq, time, doc, tail in zip(rows, moments, docs, tails, strict=True)
    ]
    if not newer:
        return found
    return [msgspec.structs.replace(m, superseded_by=by or None) for m, by in zip(found, *newer, strict=True)]


def _texts(connection: sqlite3.Connection, rows: Sequence[int]) -> Mapping[str, str]:
    """Return the long texts of rows, by their numbers as text."""
    if not rows:
        return {}
    sql = "SELECT CAST(id AS TEXT), text FROM texts WHERE id IN (SELECT value FROM json_each(?))"
    return dict(connection.execute(sql, (_json(rows),)).fetchall())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _audit_entry(row: tuple[int, str, str | None, str, str | None, str | None, str]) -> AuditEntry:
    at, actor, org_id, action, subject, request_id, details = row
    return AuditEntry(
        at=at, actor=actor, org_id=org_id, action=action, subject=subject, request_id=request_id,
        details=msgspec.json.decode(details),
    )  # fmt: skip


def _key(row: tuple[str, int, str, str, str, int, int | None, int | None, int | None, str | None]) -> Key:
    key_id, org, org_id, role, name, created_at, revoked_at, expires_at, last_used_at, agent_id = row
    return Key(
        id=key_id, org=org, org_id=org_id, role=role, name=name, created_at=created_at,
        revoked_at=revoked_at, expires_at=expires_at, last_used_at=last_used_at, agent_id=agent_id,
    )  # fmt: skip


def _agent(row: tuple[str, int, str | None, str | None, int, int | None]) -> Agent:
    agent_id, is_registered, description, config, created_at, last_active_at = row
    return Agent(
        id=agent_id, is_registered=bool(is_registered), description=description, config=config,
        created_at=created_at, last_active_at=last_active_at,
    )  # fmt: skip


def _session(row: tuple[str, str, str | None, int, int, int | None]) -> Session:
    session_id, agent_id, metadata, created_at, updated_at, closed_at = row
    return Session(
        id=session_id, agent_id=agent_id, metadata=metadata, created_at=created_at, updated_at=updated_at,
        closed_at=closed_at,
    )  # fmt: skip
