"""One transaction on a SQLite connection: what the store protocol means in SQL."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from memtrace_server.store.records import (
    Agent,
    AgentCounts,
    Answer,
    Direction,
    Filter,
    Found,
    Key,
    NewMemory,
    Org,
    Session,
)
from memtrace_server.store.sqlite import fulltext, queries

_CHUNK = 500
_KEY = "k.id, k.org, o.id, k.role, k.name, k.created_at, k.revoked_at"
_AGENT = "id, is_registered, description, config, created_at, last_active_at"
_SESSION = "id, agent_id, metadata, created_at, updated_at, closed_at"
_LATEST = 2**63 - 1


class SqliteTransaction:
    """The protocol `Transaction` on a connection whose BEGIN and COMMIT are somebody else's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.index = fulltext.Changes()

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
        sql = f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = ?"
        row = self._db.execute(sql, (digest,)).fetchone()
        return _key(row) if row else None

    def keys(self) -> list[Key]:
        rows = self._db.execute(
            f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org ORDER BY k.created_at"
        )
        return [_key(row) for row in rows]

    def add_key(self, digest: bytes, key: Key) -> None:
        self._db.execute(
            "INSERT INTO keys (digest, id, org, role, name, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (digest, key.id, key.org, key.role, key.name, key.created_at),
        )

    def revoke_key(self, key_id: str, now: int) -> bool:
        sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        return self._db.execute(sql, (now, key_id)).rowcount == 1

    # --- answers to writes that may be tried again

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        row = self._db.execute(
            "SELECT request, status, body, location, memories FROM answers"
            " WHERE (org, key) = (?, ?) AND answered_at >= ?",
            (org, key, since),
        ).fetchone()
        if row is None:
            return None
        request, status, body, location, memories = row
        rows, duplicates = msgspec.json.decode(memories)
        return Answer(
            request=request, status=status, body=body, location=location, rows=rows, duplicates=duplicates
        )

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        memories = msgspec.json.encode([answer.rows, answer.duplicates]).decode()
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (org, key, now, answer.request, answer.status, answer.body, answer.location, memories),
        )

    # --- memories

    def next_seq(self, now: int) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'memories'").fetchone()
        return max(now, row[0] + 1) if row else now

    def original(self, org: int, fingerprint: bytes, since: int, now: int) -> Found | None:
        return self._find(
            "duplicates d JOIN memories m ON m.seq = d.seq"
            " WHERE d.org = ? AND d.fingerprint = ? AND d.seq >= ?",
            (org, fingerprint, since),
            now,
        )

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        self._note_order(org, [memory.time for _, memory in memories])
        self._db.executemany(
            "INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    m.seq, org, m.agent_id, m.session_id, m.memory_type, m.event_type, m.time, m.importance,
                    m.expires_at, m.doc,
                )
                for _, m in memories
            ],
        )  # fmt: skip
        for _, m in memories:
            self.index.add(org, m.seq, m.content)
        self._db.executemany(
            "INSERT INTO labels VALUES (?, ?, ?, ?)",
            [
                (org, label, m.time, m.seq)
                for _, m in memories
                for label in queries.labels(m.memory_type, m.event_type, m.tags)
            ],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO duplicates VALUES (?, ?, ?)",
            [(org, fingerprint, m.seq) for fingerprint, m in memories],
        )
        self._count(org, Counter((m.agent_id, m.memory_type) for _, m in memories))
        for agent_id in {m.agent_id for _, m in memories}:
            self._touch_agent(org, agent_id, now)
        sessions = {m.session_id: m.agent_id for _, m in reversed(memories) if m.session_id is not None}
        self._db.executemany(
            f"INSERT INTO sessions (org, {_SESSION}) VALUES (?, ?, ?, NULL, ?, ?, NULL)"
            " ON CONFLICT DO NOTHING",
            [(org, session_id, agent_id, now, now) for session_id, agent_id in sessions.items()],
        )

    def memory(self, org: int, seq: int, now: int) -> Found | None:
        return self._find("memories m WHERE m.org = ? AND m.seq = ?", (org, seq), now)

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
        query = queries.page(
            org, wanted, now, columns="m.seq, m.time, m.doc", order=order, limit=limit, after=after,
            offset=offset, in_order=self._is_in_order(org),
        )  # fmt: skip
        return [
            Found(seq=seq, time=time, doc=doc) for seq, time, doc in self._db.execute(query.sql, query.values)
        ]

    def forget(self, org: int, wanted: Filter, now: int) -> int:
        forgotten = 0
        while True:
            query = queries.page(org, wanted, now, columns="m.seq", order="desc", limit=_CHUNK)
            rows = [seq for (seq,) in self._db.execute(query.sql, query.values)]
            if not rows:
                return forgotten
            self._remove(rows)
            forgotten += len(rows)

    def forget_one(self, org: int, seq: int) -> None:  # noqa: ARG002 - a row is of one organisation
        self._remove([seq])

    def sweep(self, now: int, keep_since: int) -> None:
        """Remove some of what has expired, and of what is kept for a day only; the next sweep goes on."""
        expired = self._db.execute("SELECT seq FROM memories WHERE expires_at <= ? LIMIT ?", (now, _CHUNK))
        self._remove([seq for (seq,) in expired])
        for table, key, age in (("duplicates", "fingerprint", "seq"), ("answers", "key", "answered_at")):
            old = f"SELECT org, {key} FROM {table} WHERE {age} < ? LIMIT ?"
            self._db.execute(f"DELETE FROM {table} WHERE (org, {key}) IN ({old})", (keep_since, _CHUNK))

    # --- agents

    def agent(self, org: int, agent_id: str) -> Agent | None:
        sql = f"SELECT {_AGENT} FROM agents WHERE (org, id) = (?, ?) AND NOT is_deleted"
        row = self._db.execute(sql, (org, agent_id)).fetchone()
        return _agent(row) if row else None

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        sql = f"SELECT {_AGENT} FROM agents WHERE org = ? AND id > ? AND NOT is_deleted ORDER BY id LIMIT ?"
        return [_agent(row) for row in self._db.execute(sql, (org, after or "", limit))]

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> None:
        self._db.execute(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at)"
            " VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET is_registered = 1, is_deleted = 0,"
            " description = excluded.description, config = excluded.config,"
            " created_at = iif(is_deleted, excluded.created_at, created_at)",
            (org, agent_id, description, config, now),
        )

    def delete_agent(self, org: int, agent_id: str) -> None:
        self._db.execute(
            "UPDATE agents SET is_deleted = 1, is_registered = 0, description = NULL, config = NULL"
            " WHERE (org, id) = (?, ?)",
            (org, agent_id),
        )

    def delete_sessions(self, org: int, agent_id: str) -> None:
        self._db.execute(
            "DELETE FROM sessions WHERE org = ? AND agent_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM memories m WHERE m.org = sessions.org AND m.session_id = sessions.id)",
            (org, agent_id),
        )

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        counts = Counter(
            dict(
                self._db.execute(
                    "SELECT memory_type, memories FROM agent_counts WHERE (org, agent_id) = (?, ?)",
                    (org, agent_id),
                )
            )
        )
        expired = self._db.execute(
            "SELECT memory_type, count(*) FROM memories"
            " WHERE org = ? AND agent_id = ? AND expires_at <= ? GROUP BY memory_type",
            (org, agent_id, now),
        )
        counts.subtract(dict(expired))
        recent, errors = self._db.execute(
            "SELECT count(*), coalesce(sum(event_type = 'error'), 0) FROM memories"
            " WHERE org = ? AND agent_id = ? AND time >= ? AND (expires_at IS NULL OR expires_at > ?)",
            (org, agent_id, since, now),
        ).fetchone()
        sessions, active = self._db.execute(
            "SELECT count(*), coalesce(sum(closed_at IS NULL), 0) FROM sessions"
            " WHERE org = ? AND agent_id = ?",
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
        query = queries.Query(f"SELECT {_SESSION} FROM sessions WHERE org = ?", [org])
        if agent_id is not None:
            query.add("agent_id = ?", agent_id)
        if is_active is not None:
            query.add("(closed_at IS NULL) = ?", is_active)
        query.add("(created_at, id) < (?, ?)", *(after or (_LATEST, "")))
        query.sql += " ORDER BY created_at DESC, id DESC LIMIT ?"
        return [_session(row) for row in self._db.execute(query.sql, [*query.values, limit])]

    def add_session(self, org: int, session: Session) -> None:
        self._touch_agent(org, session.agent_id, session.created_at)
        self._db.execute(
            f"INSERT INTO sessions (org, {_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                org, session.id, session.agent_id, session.metadata, session.created_at, session.updated_at,
                session.closed_at,
            ),
        )  # fmt: skip

    def update_session(self, org: int, session: Session) -> None:
        self._db.execute(
            "UPDATE sessions SET metadata = ?, updated_at = ?, closed_at = ? WHERE (org, id) = (?, ?)",
            (session.metadata, session.updated_at, session.closed_at, org, session.id),
        )

    # --- what several of them lean on

    def _find(self, source: str, values: Sequence[object], now: int) -> Found | None:
        row = self._db.execute(
            f"SELECT m.seq, m.time, m.doc FROM {source} AND (m.expires_at IS NULL OR m.expires_at > ?)",
            (*values, now),
        ).fetchone()
        return Found(seq=row[0], time=row[1], doc=row[2]) if row else None

    def _is_in_order(self, org: int) -> bool:
        (in_order,) = self._db.execute("SELECT in_order FROM orgs WHERE number = ?", (org,)).fetchone()
        return bool(in_order)

    def _note_order(self, org: int, times: Sequence[int]) -> None:
        """Remember when a memory comes in with a time before that of an earlier one (see `queries.page`)."""
        row = self._db.execute("SELECT max(time) FROM memories WHERE org = ?", (org,)).fetchone()
        latest = row[0] if row[0] is not None else times[0]
        if times[0] < latest or any(b < a for a, b in pairwise(times)):
            self._db.execute("UPDATE orgs SET in_order = 0 WHERE number = ? AND in_order", (org,))

    def _touch_agent(self, org: int, agent_id: str, now: int) -> None:
        self._db.execute(
            "INSERT INTO agents (org, id, created_at, last_active_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET last_active_at = excluded.last_active_at, is_deleted = 0,"
            " created_at = iif(is_deleted, excluded.created_at, created_at)",
            (org, agent_id, now, now),
        )

    def _count(self, org: int, counts: Counter[tuple[str, str]]) -> None:
        self._db.executemany(
            "INSERT INTO agent_counts VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET memories = memories + excluded.memories",
            [(org, agent_id, memory_type, number) for (agent_id, memory_type), number in counts.items()],
        )

    def _remove(self, rows: Iterable[int]) -> None:
        """Delete memories with all that was derived from them."""
        for seq in rows:
            org, agent_id, memory_type, event_type, time, doc = self._db.execute(
                "SELECT org, agent_id, memory_type, event_type, time, doc FROM memories WHERE seq = ?", (seq,)
            ).fetchone()
            memory = msgspec.json.decode(doc)
            self.index.remove(org, seq, memory["content"])
            self._db.executemany(
                "DELETE FROM labels WHERE (org, label, time, seq) = (?, ?, ?, ?)",
                [
                    (org, label, time, seq)
                    for label in queries.labels(memory_type, event_type, memory.get("tags", []))
                ],
            )
            self._count(org, Counter({(agent_id, memory_type): -1}))
            self._db.execute("DELETE FROM memories WHERE seq = ?", (seq,))


def _key(row: tuple[str, int, str, str, str, int, int | None]) -> Key:
    key_id, org, org_id, role, name, created_at, revoked_at = row
    return Key(
        id=key_id, org=org, org_id=org_id, role=role, name=name, created_at=created_at, revoked_at=revoked_at
    )


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
