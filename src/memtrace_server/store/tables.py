"""SQL that is the same for both databases: organisations, keys, the audit log, agents and sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from memtrace_server.store.counting import ACTIVE, SESSIONS
from memtrace_server.store.records import (
    IMPORTANT,
    IMPORTANT_EVENTS,
    IMPORTANT_TYPES,
    Agent,
    AgentCounts,
    Answer,
    AuditEntry,
    Key,
    Org,
    Session,
)

Row = tuple[Any, ...]

ANSWER = "request, status, body, agent_id, location, memories"
KEY = (
    "k.id, k.org, o.id, k.role, k.name, k.created_at, k.revoked_at, k.expires_at, k.last_used_at, k.agent_id"
)
SESSION = "id, agent_id, metadata, created_at, updated_at, closed_at"
LAST = 2**63 - 1  # row, and moment
IS_IMPORTANT = (
    f"(m.importance >= {IMPORTANT} OR (m.importance IS NULL AND (m.memory_type IN {IMPORTANT_TYPES}"
    f" OR m.event_type IN {IMPORTANT_EVENTS})))"
)
"""The condition of partial indexes of memories `m`; only queries that repeat it use these indexes."""

_AUDIT = "at, actor, org_id, action, subject, request_id, details"


class Tables(ABC):
    """The part of a transaction whose SQL is the same for every database; question marks stand for values.

    Attributes:
        changes: A number that differs after works have changed anything.
    """

    AGENT: ClassVar[str]
    """Columns of an agent `a`; a question mark in them stands for the organisation."""

    lock = ""
    """The end of a query for an agent or session that is changed afterwards."""

    def __init__(self) -> None:
        self.changes = 0

    @abstractmethod
    def flush(self) -> None:
        """Write pending changes."""

    @abstractmethod
    def _rows(self, sql: str, *values: object) -> list[Row]:
        """Return the rows that a statement returns."""

    @abstractmethod
    def _execute(self, sql: str, *values: object) -> int:
        """Execute a statement, and return the number of changed rows."""

    @abstractmethod
    def _numbers(self, org: int, agent_id: str) -> Mapping[str, int]:
        """Return the numbers of an agent's memories by type, including expired ones, and of its sessions."""

    @abstractmethod
    def _unswept(self, org: int, agent_id: str, now: int) -> Sequence[tuple[str, str, int]]:
        """Return memory type, event type and time of an agent's expired memories."""

    @abstractmethod
    def _count_recent(self, org: int, agent_id: str, since: int) -> tuple[int, int]:
        """Return the numbers of memories and errors since a moment (ns), including expired ones."""

    def _run(self, sql: str, *values: object) -> int:
        """Execute a statement after writing pending changes; return the number of changed rows."""
        self.flush()
        self.changes += 1
        return self._execute(sql, *values)

    # --- organisations and keys

    def secret(self) -> bytes:
        return bytes(self._rows("SELECT secret FROM secrets")[0][0])

    def orgs(self) -> list[Org]:
        rows = self._rows("SELECT number, id, name, created_at FROM orgs ORDER BY number")
        return [Org(number=n, id=i, name=name, created_at=at) for n, i, name, at in rows]

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        self.flush()
        self.changes += 1
        sql = "INSERT INTO orgs (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        rows = self._rows(f"{sql} RETURNING number", org_id, name, now)
        return Org(number=rows[0][0], id=org_id, name=name, created_at=now) if rows else None

    def keys(self) -> list[Key]:
        sql = f"SELECT {KEY} FROM keys k JOIN orgs o ON o.number = k.org ORDER BY k.created_at, k.id"
        return [key_of(row) for row in self._rows(sql)]

    def add_key(self, digest: bytes, key: Key) -> None:
        self._run(
            "INSERT INTO keys (digest, id, org, role, name, created_at, expires_at, agent_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            digest, key.id, key.org, key.role, key.name, key.created_at, key.expires_at, key.agent_id,
        )  # fmt: skip

    def revoke_key(self, key_id: str, now: int) -> bool:
        sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        return self._run(sql, now, key_id) == 1

    def expire_key(self, key_id: str, moment: int) -> None:
        sql = "UPDATE keys SET expires_at = ? WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)"
        self._run(sql, moment, key_id, moment)

    def note_key_use(self, key_id: str, moment: int) -> None:
        sql = "UPDATE keys SET last_used_at = ? WHERE id = ? AND coalesce(last_used_at, 0) < ?"
        self._run(sql, moment, key_id, moment)

    def record(self, entry: AuditEntry) -> None:
        self._run(
            f"INSERT INTO audit ({_AUDIT}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            entry.at, entry.actor, entry.org_id, entry.action, entry.subject, entry.request_id,
            encoded(entry.details),
        )  # fmt: skip

    def audit(self) -> list[AuditEntry]:
        return [_audit_entry(row) for row in self._rows(f"SELECT {_AUDIT} FROM audit ORDER BY seq")]

    # --- agents

    def agent(self, org: int, agent_id: str) -> Agent | None:
        self.flush()
        sql = (
            f"SELECT {self.AGENT} FROM agents a WHERE a.org = ? AND a.id = ? AND NOT a.is_deleted{self.lock}"
        )
        rows = self._rows(sql, *[org] * self.AGENT.count("?"), org, agent_id)
        return self._agent(rows[0]) if rows else None

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        self.flush()
        sql = f"SELECT {self.AGENT} FROM agents a WHERE a.org = ? AND a.id > ? AND NOT a.is_deleted"
        values = (*[org] * self.AGENT.count("?"), org, after or "", limit)
        return [self._agent(row) for row in self._rows(f"{sql} ORDER BY a.id LIMIT ?", *values)]

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> bool:
        changed = self._run(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at)"
            " VALUES (?, ?, true, ?, ?, ?) ON CONFLICT (org, id) DO UPDATE SET is_registered = true,"
            " is_deleted = false, description = excluded.description, config = excluded.config,"
            " created_at = CASE WHEN agents.is_deleted THEN excluded.created_at ELSE agents.created_at END,"
            " last_active_at = CASE WHEN agents.is_deleted THEN NULL ELSE agents.last_active_at END"
            " WHERE agents.is_deleted OR NOT agents.is_registered",
            org, agent_id, self._described(description), config, now,
        )  # fmt: skip
        return changed == 1

    def delete_agent(self, org: int, agent_id: str) -> None:
        self._run(
            "UPDATE agents SET is_deleted = true, is_registered = false, description = NULL, config = NULL,"
            " last_active_at = NULL WHERE org = ? AND id = ?",
            org, agent_id,
        )  # fmt: skip

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        self.flush()
        counts = Counter(self._numbers(org, agent_id))
        sessions, active = counts.pop(SESSIONS, 0), counts.pop(ACTIVE, 0)
        # Expired memories are counted until they are swept, a moment later; so there are few to subtract.
        unswept = self._unswept(org, agent_id, now)
        counts.subtract(memory_type for memory_type, _, _ in unswept)
        recent, errors = self._count_recent(org, agent_id, since)
        recent -= sum(time >= since for _, _, time in unswept)
        errors -= sum(time >= since and event_type == "error" for _, event_type, time in unswept)
        return AgentCounts(
            memory_types=+counts, recent=recent, recent_errors=errors, sessions=sessions,
            active_sessions=active,
        )  # fmt: skip

    def _agent(self, row: Row) -> Agent:
        agent_id, is_registered, description, config, created_at, last_active_at = row
        return Agent(
            id=agent_id, is_registered=bool(is_registered), description=description, config=config,
            created_at=created_at, last_active_at=last_active_at,
        )  # fmt: skip

    def _described(self, description: str | None) -> str | None:
        """Return the stored form of a description."""
        return description

    # --- sessions

    def session(self, org: int, session_id: str) -> Session | None:
        self.flush()
        rows = self._rows(
            f"SELECT {SESSION} FROM sessions WHERE org = ? AND id = ?{self.lock}", org, session_id
        )
        return _session(rows[0]) if rows else None

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
        sql = f"SELECT {SESSION} FROM sessions WHERE org = ?"
        values: list[object] = [org]
        if agent_id is not None:
            sql += " AND agent_id = ?"
            values.append(agent_id)
        if is_active is not None:
            # Constants, which the partial indexes need.
            sql += " AND closed_at IS NULL" if is_active else " AND closed_at IS NOT NULL"
        sql += " AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?"
        return [_session(row) for row in self._rows(sql, *values, *(after or (LAST, "")), limit)]

    def update_session(self, org: int, session: Session) -> None:
        self._run(
            "UPDATE sessions SET metadata = ?, updated_at = ?, closed_at = ? WHERE org = ? AND id = ?",
            session.metadata, session.updated_at, session.closed_at, org, session.id,
        )  # fmt: skip


def encoded(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a value as JSON."""
    return msgspec.json.encode(value).decode()


def key_of(row: Sequence[Any]) -> Key:
    """Return the key of a row of `KEY`."""
    key_id, org, org_id, role, name, created_at, revoked_at, expires_at, last_used_at, agent_id = row
    return Key(
        id=key_id, org=org, org_id=org_id, role=role, name=name, created_at=created_at,
        revoked_at=revoked_at, expires_at=expires_at, last_used_at=last_used_at, agent_id=agent_id,
    )  # fmt: skip


def answer_of(row: Sequence[Any]) -> Answer:
    """Return the stored response of a row of `ANSWER`."""
    request, status, body, agent_id, location, memories = row
    rows, duplicates = msgspec.json.decode(memories)
    return Answer(
        request=request, status=status, body=body, agent_id=agent_id, location=location, rows=rows,
        duplicates=duplicates,
    )  # fmt: skip


def _audit_entry(row: Row) -> AuditEntry:
    at, actor, org_id, action, subject, request_id, details = row
    return AuditEntry(
        at=at, actor=actor, org_id=org_id, action=action, subject=subject, request_id=request_id,
        details=msgspec.json.decode(details),
    )  # fmt: skip


def _session(row: Row) -> Session:
    session_id, agent_id, metadata, created_at, updated_at, closed_at = row
    return Session(
        id=session_id, agent_id=agent_id, metadata=metadata, created_at=created_at, updated_at=updated_at,
        closed_at=closed_at,
    )  # fmt: skip
