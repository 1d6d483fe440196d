"""One transaction on a PostgreSQL connection: what the store protocol means in SQL."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

import msgspec
import psycopg
from attrs import define, field

from memtrace_server import times
from memtrace_server.store.counting import PERIOD
from memtrace_server.store.postgres import lexemes, queries
from memtrace_server.store.postgres.connecting import Connection
from memtrace_server.store.postgres.pending import (
    ACTIVE,
    FIRST_PLACE,
    LARGE,
    MEMORIES,
    NOTHING,
    PLACES,
    SESSIONS,
    Conflict,
    Pending,
    encoded,
)
from memtrace_server.store.postgres.queries import Query
from memtrace_server.store.postgres.windows import Windows
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
    Wants,
)

_LOOKED_THROUGH = 10_000  # memories, for one page of a tail
_RARE = 5_000  # memories that have one of the stems by which rows are found
_PASSED = 250  # memories that may be passed over for one that is found
_NEWEST = 1_000
_LARGE_SHARE = 8  # an organisation that has this part of all memories has no fewer than an index finds
_PHRASES = 1_000  # memories with a phrase that are all ranked
_COUNTED = 2_000  # memories with a stem that are counted one by one
_COMMON = 20_000  # memories with a stem by PostgreSQL's statistics, far more than are counted
_ALL_COUNTED = 64  # stems; of more, other spellings of a word, those are counted that are found at once
_SAMPLE = 2_000  # memories by which it is told in how many a stem is that is in more
_NOTHING = 1e-9
_AHEAD = 60 * times.SECOND  # clocks of servers may differ by less
_LATEST = 2**63 - 1
_SEQ = itemgetter(0)
_KEY = (
    "k.id, k.org, o.id, k.role, k.name, k.created_at, k.revoked_at, k.expires_at, k.last_used_at, k.agent_id"
)
_AUDIT = "at, actor, org_id, action, subject, request_id, details"
_AGENT = (
    "a.id, a.is_registered, a.description, a.config, a.created_at, greatest(a.last_active_at,"
    " (SELECT max(c.active_at) FROM counts c WHERE c.org = %s AND c.agent_id = a.id))"
)
_SESSION = "id, agent_id, metadata, created_at, updated_at, closed_at"
_A_KEY, _AN_ANSWER, _AN_ORIGINAL = range(3)
_LOOK_UP = f"""
SELECT {_A_KEY}, k.digest, NULL::bytea, json_build_array({_KEY})::text
    FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = ANY(%s)
UNION ALL
SELECT {_AN_ANSWER}, request, body,
        json_build_array(key, status, agent_id, location, memories, answered_at)::text
    FROM answers WHERE org = %s AND key = ANY(%s)
UNION ALL
SELECT {_AN_ORIGINAL}, f.fingerprint, NULL,
        json_build_array(f.seq, f.is_original, coalesce(f.stored_at, f.seq), m.time, m.doc,
            (SELECT n.doc FROM memories n WHERE n.org = %s AND n.seq = m.superseded_by), m.expires_at)::text
    FROM (
        SELECT fingerprint, seq, true AS is_original, stored_at FROM originals
            WHERE org = %s AND fingerprint = ANY(%s)
        UNION ALL
        SELECT d.fingerprint, d.seq, false, d.stored_at
            FROM unnest(%s::bytea[]) w (fingerprint) CROSS JOIN LATERAL (
                SELECT d.fingerprint, d.seq, d.stored_at
                    FROM duplicates d JOIN memories o ON o.org = %s AND o.seq = d.seq
                    WHERE d.org = %s AND d.fingerprint = w.fingerprint
                        AND coalesce(d.stored_at, d.seq) >= %s
                        AND (o.expires_at IS NULL OR o.expires_at > %s)
                    ORDER BY d.seq LIMIT 1
            ) d
    ) f LEFT JOIN memories m ON m.org = %s AND m.seq = f.seq
"""


class _Named(msgspec.Struct):
    """What is read of a document that stands for its memory."""

    id: str


_NAMED = msgspec.json.Decoder(_Named)


@define
class _Asked:
    """What is looked up of an organisation, each once."""

    digests: dict[bytes, None] = field(factory=dict)
    keys: dict[str, None] = field(factory=dict)
    fingerprints: dict[bytes, None] = field(factory=dict)


@define
class Clock:
    """The rows that a process gives to memories: the clock's nanoseconds, and each row but once.

    Attributes:
        last: The row that was given last.
    """

    last: int = 0

    def next(self, now: int) -> int:
        """Return a row above all that were given."""
        return max(now, self.last + 1)


class PostgresTransaction:
    """The protocol `Transaction` on a connection whose BEGIN and COMMIT are somebody else's.

    Before COMMIT, `flush` must be called. Others write meanwhile: what was read is compared when it is
    written, and locked where it cannot be compared.

    Args:
        connection: The connection.
        clock: Gives rows to memories.
        slot: Where this process counts.
        is_writing: Whether something may be written.
        is_distributed: Whether memories lie in several places, which a query must name.
    """

    def __init__(
        self, connection: Connection, clock: Clock, slot: int, *, is_writing: bool, is_distributed: bool
    ) -> None:
        self._db = connection
        self._is_distributed = is_distributed
        self._clock = clock
        self._slot = slot
        self._is_writing = is_writing
        self._pending = Pending()
        self._statements = 0
        self.additions = 0
        """Memories that were added."""
        self._keys: dict[bytes, Key | None] = {}
        self._seen: dict[tuple[int, bytes], int] = {}
        self._answered: dict[tuple[int, str], int] = {}
        self._with_future: dict[int, bool] = {}
        self._answers: dict[tuple[int, str], tuple[Any, ...] | None] = {}
        self._originals: dict[tuple[int, bytes], list[tuple[Any, ...]]] = {}
        self.last_org: int | None = None
        """The organisation for which memories were added last."""

    # --- its end, and the ends of its parts

    def changes(self) -> tuple[int, int, int]:
        """Differs from what it was if anything was changed in the meantime."""
        return self._statements, self.additions, len(self._pending.answers)

    def flush(self) -> None:
        """Write out what waits.

        Raises:
            Conflict: What was read has been changed since.
        """
        pending = self._pending
        if pending.is_empty():
            return
        self._pending = Pending()
        self._answers.clear()
        self._originals.clear()
        pending.write(self._db, self._slot)
        self._statements += 1

    def flush_if_large(self) -> None:
        """Write out what waits, if it is much."""
        if self._pending.size > LARGE:
            self.flush()

    def forget_what_is_known(self) -> None:
        """Drop what was taken in and not written, and what was read."""
        self._pending = Pending()
        for known in (
            self._keys, self._seen, self._answered, self._with_future, self._answers, self._originals
        ):  # fmt: skip
            known.clear()

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(sql.encode(), values).fetchall()

    def _ask(self, query: Query) -> list[tuple[Any, ...]]:
        return self._db.execute(query.sql.encode(), query.values).fetchall()

    def _plan(self, query: Query) -> list[tuple[Any, ...]]:
        """Ask what must be planned for its values: how many memories have a lexeme, only they tell."""
        with psycopg.ClientCursor(self._db) as cursor:
            return cursor.execute(query.sql.encode(), query.values).fetchall()

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return self._db.execute(sql.encode(), values).fetchone()

    def _change(self, sql: str, *values: object) -> psycopg.Cursor[Any]:
        self.flush()
        self._statements += 1
        return self._db.execute(sql.encode(), values)

    # --- organisations and keys

    def secret(self) -> bytes:
        row = self._one("SELECT secret FROM secrets")
        assert row is not None  # noqa: S101 - the schema's first step put it there
        return bytes(row[0])

    def orgs(self) -> list[Org]:
        rows = self._read("SELECT number, id, name, created_at FROM orgs ORDER BY number")
        return [Org(number=n, id=i, name=name, created_at=at) for n, i, name, at in rows]

    def add_org(self, org_id: str, name: str, now: int) -> Org | None:
        row = self._change(
            "INSERT INTO orgs (id, name, created_at) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING number",
            org_id, name, now,
        ).fetchone()  # fmt: skip
        if row is not None:
            return Org(number=row[0], id=org_id, name=name, created_at=now)
        if self._one("SELECT 1 FROM orgs WHERE id = %s OR name = %s", org_id, name) is None:
            raise Conflict  # another transaction adds it at this moment
        return None

    def key(self, digest: bytes) -> Key | None:
        if digest not in self._keys:
            row = self._one(
                f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org WHERE k.digest = %s", digest
            )
            self._keys[digest] = _key(row) if row else None
        return self._keys[digest]

    def keys(self) -> list[Key]:
        rows = self._read(
            f"SELECT {_KEY} FROM keys k JOIN orgs o ON o.number = k.org ORDER BY k.created_at, k.id"
        )
        return [_key(row) for row in rows]

    def add_key(self, digest: bytes, key: Key) -> None:
        self._keys.clear()
        self._change(
            "INSERT INTO keys (digest, id, org, role, name, created_at, expires_at, agent_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            digest, key.id, key.org, key.role, key.name, key.created_at, key.expires_at, key.agent_id,
        )  # fmt: skip

    def revoke_key(self, key_id: str, now: int) -> bool:
        self._keys.clear()
        sql = "UPDATE keys SET revoked_at = %s WHERE id = %s AND revoked_at IS NULL"
        return self._change(sql, now, key_id).rowcount == 1

    def expire_key(self, key_id: str, moment: int) -> None:
        self._keys.clear()
        self._change("UPDATE keys SET expires_at = least(expires_at, %s) WHERE id = %s", moment, key_id)

    def note_key_use(self, key_id: str, moment: int) -> None:
        self._change(
            "UPDATE keys SET last_used_at = %s WHERE id = %s AND coalesce(last_used_at, 0) < %s",
            moment, key_id, moment,
        )  # fmt: skip

    def record(self, entry: AuditEntry) -> None:
        self._change(
            f"INSERT INTO audit ({_AUDIT}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            entry.at, entry.actor, entry.org_id, entry.action, entry.subject, entry.request_id,
            encoded(entry.details),
        )  # fmt: skip

    def audit(self) -> list[AuditEntry]:
        return [_audit_entry(row) for row in self._read(f"SELECT {_AUDIT} FROM audit ORDER BY seq")]

    # --- answers to writes that may be tried again

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        known = self._pending.replies.get((org, key))
        if known is not None:
            return known
        if (org, key) not in self._answers:
            self._look_up(org, _Asked(keys={key: None}), 0, 0)
        row = self._answers[org, key]
        self._answered[org, key] = NOTHING if row is None else row[-1]
        if row is None or row[-1] < since:
            return None
        request, body, status, agent_id, location, memories, _ = row
        rows, duplicates = msgspec.json.decode(memories)
        return Answer(
            request=request, status=status, body=body, agent_id=agent_id, location=location, rows=rows,
            duplicates=duplicates,
        )  # fmt: skip

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        self._pending.replies[org, key] = answer
        self._pending.answers.append(
            {
                "o": org, "k": key, "t": now, "r": self._answered.get((org, key), NOTHING),
                "q": answer.request.hex(), "s": answer.status, "b": answer.body, "a": answer.agent_id,
                "l": answer.location, "m": encoded([answer.rows, answer.duplicates]),
            }
        )  # fmt: skip

    def forget_answers(self, org: int, agent_id: str) -> None:
        self._change("UPDATE answers SET body = NULL WHERE org = %s AND agent_id = %s", org, agent_id)

    # --- memories

    def next_seq(self, now: int) -> int:
        return self._clock.next(now)

    def last_seq(self, org: int) -> int:
        self.flush()
        row = self._one("SELECT max(seq) FROM memories WHERE org = %s", org)
        return (row and row[0]) or 0

    def originals(
        self, org: int, fingerprints: Sequence[bytes], since: int, now: int
    ) -> Mapping[bytes, Found]:
        pending = self._pending
        if any((org, pending.fingerprints[org, fingerprint].seq) in pending.hidden
               for fingerprint in fingerprints if (org, fingerprint) in pending.fingerprints):  # fmt: skip
            self.flush()
        unknown = [fingerprint for fingerprint in fingerprints if (org, fingerprint) not in self._originals]
        if unknown:
            self._look_up(org, _Asked(fingerprints=dict.fromkeys(unknown)), since, now)
        found: dict[bytes, Found] = {}
        for fingerprint in fingerprints:
            replaced = NOTHING
            for seq, is_original, stored_at, time, doc, newer, expires_at in self._originals[
                org, fingerprint
            ]:
                if is_original:
                    replaced = seq
                if doc is not None and stored_at >= since and (expires_at is None or expires_at > now):
                    found.setdefault(fingerprint, _found(seq, time, doc, newer))
            waiting = self._pending.fingerprints.get((org, fingerprint))
            if waiting is not None and (waiting.expires_at is None or waiting.expires_at > now):
                found.setdefault(fingerprint, waiting)
            if fingerprint not in found:
                self._seen[org, fingerprint] = replaced
        return found

    def look_up(self, wants: Sequence[tuple[int | None, Wants]]) -> None:
        """Read what works are going to ask, each organisation's in one statement.

        Args:
            wants: What each work asks, with its organisation if that is known without its key.
        """
        asked: dict[int, _Asked] = {}
        for known, each in wants:
            org = known if each.org is None else each.org
            if org is None and each.digest is not None:
                key = self.key(each.digest)
                org = None if key is None else key.org
            if org is None:
                continue
            of_org = asked.setdefault(org, _Asked())
            if each.digest is not None and each.digest not in self._keys:
                of_org.digests[each.digest] = None
            if each.key is not None:
                of_org.keys[each.key] = None
            of_org.fingerprints.update(dict.fromkeys(each.fingerprints))
        now = times.now()
        for org, of_org in asked.items():
            if of_org.digests or of_org.keys or of_org.fingerprints:
                self._look_up(org, of_org, now - times.DAY, now)

    def _look_up(self, org: int, asked: _Asked, since: int, now: int) -> None:
        """Read keys, answers, the original of each fingerprint, and the first of its duplicates that exists.

        In one statement, though they have little in common: beside a busy event loop, a thread waits longer
        for Python's lock after each response than PostgreSQL takes to make it.
        """
        self._keys.update(dict.fromkeys(asked.digests))
        self._answers.update({(org, key): None for key in asked.keys})
        self._originals.update({(org, fingerprint): [] for fingerprint in asked.fingerprints})
        fingerprints = list(asked.fingerprints)
        rows = self._read(
            _LOOK_UP, list(asked.digests), org, list(asked.keys), org, org, fingerprints, fingerprints, org,
            org, since, now, org,
        )  # fmt: skip
        for what, name, body, facts in rows:
            found = tuple(msgspec.json.decode(facts))
            if what == _A_KEY:
                self._keys[name] = _key(found)
            elif what == _AN_ANSWER:
                key, *rest = found
                self._answers[org, key] = (name, body, *rest)
            else:
                self._originals[org, name].append(found)
        for fingerprint in fingerprints:
            self._originals[org, fingerprint].sort(key=_SEQ)

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        pending = self._pending
        for fingerprint, memory in memories:
            pending.add(org, memory, now, self.additions)
            pending.name(org, memory, now)
            self.additions += 1
            seen = self._seen.pop((org, fingerprint), None)
            fact = {"o": org, "f": fingerprint.hex(), "s": memory.seq}
            if seen is None:
                pending.duplicates.append(fact)
            else:
                pending.originals.append({**fact, "r": seen})
            pending.fingerprints.setdefault((org, fingerprint), memory)
        if any(memory.time > memory.created_at for _, memory in memories):
            self._note_future(org)
        self.last_org = org
        self._clock.last = max(self._clock.last, memories[-1][1].seq)

    def memory_ids(self, org: int, rows: Sequence[int]) -> Mapping[int, str | None]:
        self.flush()
        found = self._read("SELECT seq, doc FROM memories WHERE org = %s AND seq = ANY(%s)", org, list(rows))
        return {seq: _NAMED.decode(doc).id for seq, doc in found}

    def import_memories(self, org: int, memories: Sequence[NewMemory], now: int) -> None:
        self.flush()
        for memory in memories:
            self._pending.add(org, msgspec.structs.replace(memory, supersedes=None), now, None)
        self.additions += len(memories)
        if any(memory.time > memory.created_at for memory in memories):
            self._note_future(org)
        self.flush()
        self._name_agents(org, [(memory.agent_id, memory.created_at) for memory in memories])
        self._add_sessions(
            org,
            [
                Session(
                    id=memory.session_id, agent_id=memory.agent_id, metadata=None,
                    created_at=memory.created_at, updated_at=memory.created_at, closed_at=None,
                )
                for memory in memories
                if memory.session_id is not None
            ],
        )  # fmt: skip
        self.last_org = org
        for memory in memories:
            if memory.supersedes is not None:
                self._supersede_again(org, memory, memory.supersedes)

    def import_agents(self, org: int, agents: Sequence[Agent]) -> int:
        return self._change(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at, last_active_at)"
            " SELECT %s, i, r, d, c, t, l FROM json_to_recordset(%s) AS x (i text, r boolean, d text, c text,"
            " t bigint, l bigint) ORDER BY i"
            " ON CONFLICT (org, id) DO UPDATE SET is_deleted = false, is_registered = excluded.is_registered,"
            " description = excluded.description, config = excluded.config, created_at = excluded.created_at,"
            " last_active_at = excluded.last_active_at WHERE agents.is_deleted",
            org,
            encoded([
                {"i": a.id, "r": a.is_registered, "d": _described(a.description), "c": a.config,
                 "t": a.created_at, "l": a.last_active_at}
                for a in {agent.id: agent for agent in reversed(agents)}.values()
            ]),
        ).rowcount  # fmt: skip

    def import_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        self._name_agents(org, [(session.agent_id, session.created_at) for session in sessions])
        return self._add_sessions(org, sessions)

    def memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None = None) -> list[Found]:
        pending = self._pending
        if any((org, row) in pending.rows or (org, row) in pending.hidden for row in rows):
            self.flush()
        query = queries.these(org, rows, wanted)
        if now is not None:
            query.add("(m.expires_at IS NULL OR m.expires_at > %s)", now)
        return [_found(*row) for row in self._ask(query)]

    def memory(self, org: int, seq: int, now: int) -> Found | None:
        found = self.memories(org, [seq], Filter(include_superseded=True), now)
        return found[0] if found else None

    # --- ranked search

    def count_memories(self, org: int) -> int:
        self.flush()
        return self._count(org, "", MEMORIES)

    def _count(self, org: int, agent_id: str, kind: str) -> int:
        row = self._one(
            "SELECT sum(number) FROM counts WHERE org = %s AND agent_id = %s AND kind = %s",
            org, agent_id, kind,
        )  # fmt: skip
        return int((row and row[0]) or 0)

    def count_terms(self, org: int, stems: Sequence[str]) -> Mapping[str, int]:
        self.flush()
        by_lexeme = {lexemes.stem_lexeme(org, stem): stem for stem in stems}
        counts = self._count_lexemes(org, list(by_lexeme))
        return {by_lexeme[lexeme]: count for lexeme, count in counts.items()}

    def _count_lexemes(self, org: int, wanted: Sequence[str]) -> Mapping[str, int]:
        """Return in how many memories lexemes are: exactly if they are few, else by a sample."""
        if not wanted:
            return {}
        if len(wanted) == 1 and self._is_common(org, wanted):
            return self._sample(org, wanted)
        condition, value = queries.of_org(org, is_found=not self._is_distributed)
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
        if 1 < len(wanted) <= _ALL_COUNTED and self._is_common(org, wanted):
            return {
                lexeme: count for each in wanted for lexeme, count in self._count_lexemes(org, [each]).items()
            }
        rows = [row for row in self._plan(hits) if row[1]]
        if not rows or rows[0][2] <= _COUNTED:
            return {lexeme: count for lexeme, count, _ in rows}
        if len(wanted) == 1:
            return self._sample(org, wanted)
        counts: dict[str, int] = {}
        for lexeme in wanted if len(wanted) <= _ALL_COUNTED else [row[0] for row in rows]:
            counts.update(self._count_lexemes(org, [lexeme]))
        return counts

    def _is_common(self, org: int, wanted: Sequence[str]) -> bool:
        """Return whether PostgreSQL's statistics have so many memories with lexemes that none is counted.

        The index would be read for all of them.
        """
        if self.count_memories(org) <= _COMMON:
            return False
        condition, value = queries.of_org(org, is_found=False)
        query = Query(
            f"EXPLAIN (FORMAT JSON) SELECT 1 FROM memories m WHERE {condition} AND m.lexemes @@ %s::tsquery",
            [value, lexemes.query([], wanted)],
        )
        ((found,),) = self._plan(query)
        return bool(found[0]["Plan"]["Plan Rows"] > _COMMON)

    def _sample(self, org: int, wanted: Sequence[str]) -> Mapping[str, int]:
        (lexeme,) = wanted
        row = self._one(
            "SELECT count(*) FILTER (WHERE lexemes @@ %s::tsquery), count(*)"
            " FROM (SELECT lexemes FROM memories"
            f" WHERE org = %s ORDER BY seq DESC LIMIT {_SAMPLE}) s",
            lexemes.query([lexeme]), org,
        )  # fmt: skip
        found, looked_at = row or (0, 1)
        return {lexeme: max(_COUNTED + 1, found * self.count_memories(org) // max(looked_at, 1))}

    def unindexed(self, org: int, wanted: Filter, now: int, before: int) -> Unindexed:  # noqa: ARG002
        return Unindexed()

    def count_unsearched(self, org: int, wanted: Filter) -> int:  # noqa: ARG002
        return 0

    def candidates(  # noqa: PLR0913 - as the protocol has it
        self, org: int, wanted: Filter, now: int, terms: Sequence[Term], *, before: int, limit: int
    ) -> Candidates:
        self.flush()
        is_found = not self._is_distributed and wanted.since is None and wanted.until is None
        ordered = sorted((term for term in terms if term.count), key=lambda term: (term.count, term.stem))
        if wanted.words is not None and wanted.words.phrases:
            query = queries.ranked(
                org, wanted, now, ordered, (), before=before, limit=_PHRASES + 1, newest=None,
                is_found=is_found,
            )  # fmt: skip
            rows = self._plan(query)
            if len(rows) <= _PHRASES:
                return Candidates(found=[_found(*row) for row in rows], is_complete=True)
        if not ordered:
            return Candidates(found=[], is_complete=True)
        rare = self._rare(org, wanted, ordered)
        newest = self._newest(org, ordered, limit)
        query = queries.ranked(
            org, wanted, now, ordered, rare, before=before, limit=limit + 1, newest=newest,
            is_found=is_found and newest is None,
        )  # fmt: skip
        found = [_found(*row) for row in self._plan(query)]
        is_complete = len(rare) == len(ordered) and newest is None and len(found) <= limit
        return Candidates(found=found[:limit], is_complete=is_complete)

    def _newest(self, org: int, ordered: Sequence[Term], limit: int) -> int | None:
        """Return how many of the newest rows are weighed, if it takes less to look for those in order.

        A row that the index finds was measured to take four times as long as one that is passed over.
        """
        rarest = ordered[0].count
        if rarest <= _RARE or rarest**2 < _PASSED * self.count_memories(org):
            return None
        return limit + 1 if len(ordered) == 1 else _NEWEST

    def _rare(self, org: int, wanted: Filter, ordered: Sequence[Term]) -> Sequence[Term]:
        """Return the terms by which rows are found, of terms by their count."""
        sums = list(accumulate(term.count for term in ordered))
        if sums[-1] <= _RARE:
            return ordered
        most = _RARE / self._share(org, wanted)
        return ordered[: max(1, sum(count <= most for count in sums))]

    def _share(self, org: int, wanted: Filter) -> float:
        """How much of the organisation the filter leaves: 0 if so little that all of it can be looked at."""
        total = left = self.count_memories(org) or 1
        if wanted.agent_id is not None:
            row = self._one(
                "SELECT sum(number) FROM counts WHERE org = %s AND agent_id = %s AND kind NOT LIKE '#%%'",
                org, wanted.agent_id,
            )  # fmt: skip
            left = min(left, int((row and row[0]) or 0))
        facets = [*lexemes.wanted_facets(org, wanted), *lexemes.owners(org, wanted)]
        if facets or wanted.since is not None or wanted.until is not None:
            query = Query("SELECT count(*) FROM (SELECT 1 FROM memories m WHERE m.org = %s", [org])
            if facets:
                query.add("m.lexemes @@ %s::tsquery", lexemes.query(facets))
            for bound, sign in ((wanted.since, ">="), (wanted.until, "<")):
                if bound is not None:
                    query.add(f"m.time {sign} %s", bound)
            ((count,),) = self._plan(query.then(f" LIMIT {_RARE + 1}) s"))
            left = min(left, count) if count <= _RARE else left
        return _NOTHING if left <= _RARE else left / total

    def following(
        self, org: int, wanted: Filter, now: int, found: Sequence[Found], before: int
    ) -> Mapping[int, int]:
        query = queries.following(org, [memory.seq for memory in found], wanted, now, before)
        return {seq: later for seq, later in self._ask(query) if later is not None}

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
        if wanted.as_of is not None and not self._has_future(org):
            wanted = wanted.without_future()
        if queries.is_search(wanted):
            rows = self._search(org, wanted, now, order=order, limit=limit + offset, after=after)[offset:]
        else:
            rows = self._ask(
                queries.page(org, wanted, now, order=order, limit=limit, after=after, offset=offset)
            )
        return [_found(*row) for row in rows]

    def _search(  # noqa: PLR0913 - a page is what it is
        self,
        org: int,
        wanted: Filter,
        now: int,
        *,
        order: Direction,
        limit: int,
        after: tuple[int, int] | None,
    ) -> list[tuple[Any, ...]]:
        """Look for a page in windows of time, each longer than the last; what is rare is found at once."""
        windows = Windows.of(wanted, order, self._ask(queries.nearest(org, wanted, order, after))[0])
        if windows is None:  # little is left
            return self._found(org, wanted, now, order=order, limit=limit, after=after)
        rows = self._ask(queries.page(org, windows.first(), now, order=order, limit=limit, after=after))
        if len(rows) < limit and len(rows) * self.count_memories(org) <= queries.FEW * queries.NEAREST:
            few = self._few(
                org, windows.rest(), now, order=order, limit=limit - len(rows), after=after,
                is_found=self._is_found(org, wanted),
            )  # fmt: skip
            if few is not None:
                return rows + few
        while len(rows) < limit and not windows.is_done:
            window = windows.next(len(rows), limit)
            left = limit - len(rows)
            if windows.is_short and not windows.is_done:
                rows += self._ask(queries.page(org, window, now, order=order, limit=left, after=after))
            else:
                rows += self._found(org, window, now, order=order, limit=left, after=after)
        return rows

    def _is_found(self, org: int, wanted: Filter) -> bool:
        """Return whether an index of what memories say finds fewer rows than the organisation has."""
        if self._is_distributed or queries.has_lexemes(wanted):
            return not self._is_distributed
        row = self._one("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('memories')")
        return row is not None and self.count_memories(org) * _LARGE_SHARE >= row[0]

    def _found(  # noqa: PLR0913 - as above
        self,
        org: int,
        wanted: Filter,
        now: int,
        *,
        order: Direction,
        limit: int,
        after: tuple[int, int] | None,
    ) -> list[tuple[Any, ...]]:
        """Return a page of what the full-text index finds, or, if that is much, of what comes in order."""
        few = self._few(org, wanted, now, order=order, limit=limit, after=after, is_found=False)
        if few is not None:
            return few
        return self._ask(queries.page(org, wanted, now, order=order, limit=limit, after=after))

    def _few(  # noqa: PLR0913 - as above
        self,
        org: int,
        wanted: Filter,
        now: int,
        *,
        order: Direction,
        limit: int,
        after: tuple[int, int] | None,
        is_found: bool,
    ) -> list[tuple[Any, ...]] | None:
        """Return a page of what the full-text index finds; None if it finds much."""
        query = queries.found(org, wanted, now, order=order, limit=limit, after=after, is_found=is_found)
        rows = self._plan(query)
        return None if rows and rows[0][-1] > queries.FEW else [row[:-1] for row in rows]

    def tail_end(self, org: int) -> int:
        self.flush()
        return max(FIRST_PLACE, self._last_place(org)[1])  # what is imported later has a place before

    def _last_place(self, org: int) -> tuple[int, int]:
        """Return the horizon, before which nothing is stored any more, and the last place before it.

        Nobody is given the horizon as a position: after a crash, PostgreSQL uses the numbers of transactions
        again that nothing durable had, and what they store would lie before it.
        """
        row = self._one(
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
        row = self._one(
            "SELECT place FROM memories WHERE org = %s AND place > %s AND place <= %s"
            f" ORDER BY place OFFSET {_LOOKED_THROUGH} LIMIT 1",
            org, after, horizon,
        )  # fmt: skip
        looked = row[0] if row else max(after, last, FIRST_PLACE)
        rows = self._ask(queries.tail(org, wanted, now, after=after, end=looked, limit=limit))
        return Tail(
            found=[_found(*row[:-1]) for row in rows],
            positions=[row[-1] for row in rows],
            end=rows[-1][-1] if len(rows) == limit else looked,
            last=last,
        )

    def matching(self, org: int, wanted: Filter, now: int) -> Sequence[int]:
        self.flush()
        return array("q", [seq for (seq,) in self._ask(queries.matching(org, wanted, now))])

    def forget(self, org: int, rows: Sequence[int]) -> int:
        self.flush()
        return self._remove(org, rows)

    def sweep(self, now: int, keep_since: int, limit: int) -> int:
        """Remove some of what has expired, and of what is kept for a day only; return how much."""
        expired = self._read(
            "SELECT org, seq FROM memories WHERE expires_at <= %s ORDER BY org, seq LIMIT %s"
            " FOR UPDATE SKIP LOCKED",
            now, limit,
        )  # fmt: skip
        by_org: dict[int, list[int]] = {}
        for org, seq in expired:
            by_org.setdefault(org, []).append(seq)
        for org, rows in by_org.items():
            self._remove(org, rows)
        swept = len(expired)
        self._date_back(now, limit)
        for table, key, age, before in (
            ("originals", "org, fingerprint", "seq", keep_since - times.DAY),
            ("originals", "org, fingerprint", "stored_at", keep_since - times.DAY),
            ("duplicates", "org, fingerprint, seq", "seq", keep_since),
            ("duplicates", "org, fingerprint, seq", "stored_at", keep_since),
            ("answers", "org, key", "answered_at", keep_since),
            ("recent_counts", "org, agent_id, period, slot", "period", keep_since // PERIOD),
        ):
            swept += self._change(
                f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {age} < %s"
                " LIMIT %s FOR UPDATE SKIP LOCKED)",
                before, limit,
            ).rowcount  # fmt: skip
        self.flush()
        return swept

    def _date_back(self, now: int, limit: int) -> None:
        """Date what a clock stored that was ahead from now, or it would be kept until then.

        Unless all is later than now: then the clock is behind.
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
                " LIMIT %s FOR UPDATE SKIP LOCKED)",
                now, now + _AHEAD, now, limit,
            )  # fmt: skip

    # --- agents

    def agent(self, org: int, agent_id: str) -> Agent | None:
        self.flush()
        lock = " FOR NO KEY UPDATE" if self._is_writing else ""
        row = self._one(
            f"SELECT {_AGENT} FROM agents a WHERE a.org = %s AND a.id = %s AND NOT a.is_deleted{lock}",
            org, org, agent_id,
        )  # fmt: skip
        return _agent(row) if row else None

    def agents(self, org: int, after: str | None, limit: int) -> list[Agent]:
        self.flush()
        rows = self._read(
            f"SELECT {_AGENT} FROM agents a WHERE a.org = %s AND a.id > %s AND NOT a.is_deleted"
            " ORDER BY a.id LIMIT %s",
            org, org, after or "", limit,
        )  # fmt: skip
        return [_agent(row) for row in rows]

    def register_agent(
        self, org: int, agent_id: str, description: str | None, config: str | None, now: int
    ) -> bool:
        done = self._change(
            "INSERT INTO agents (org, id, is_registered, description, config, created_at)"
            " VALUES (%s, %s, true, %s, %s, %s) ON CONFLICT (org, id) DO UPDATE SET is_registered = true,"
            " is_deleted = false, description = excluded.description, config = excluded.config,"
            " created_at = CASE WHEN agents.is_deleted THEN excluded.created_at ELSE agents.created_at END,"
            " last_active_at = CASE WHEN agents.is_deleted THEN NULL ELSE agents.last_active_at END"
            " WHERE agents.is_deleted OR NOT agents.is_registered",
            org, agent_id, _described(description), config, now,
        )  # fmt: skip
        return done.rowcount == 1

    def delete_agent(self, org: int, agent_id: str) -> None:
        self._change(
            "UPDATE agents SET is_deleted = true, is_registered = false, description = NULL, config = NULL,"
            " last_active_at = NULL WHERE org = %s AND id = %s",
            org, agent_id,
        )  # fmt: skip
        self._change("UPDATE counts SET active_at = NULL WHERE org = %s AND agent_id = %s", org, agent_id)

    def delete_sessions(self, org: int, agent_id: str, now: int) -> None:
        self.flush()
        # What has expired holds no session, swept or not.
        expired = self._read(
            "SELECT m.seq FROM memories m JOIN sessions s ON s.org = %s AND s.id = m.session_id"
            " WHERE m.org = %s AND m.expires_at <= %s AND s.agent_id = %s",
            org, org, now, agent_id,
        )  # fmt: skip
        self._remove(org, [seq for (seq,) in expired])
        gone = self._change(
            "DELETE FROM sessions s WHERE s.org = %s AND s.agent_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM memories m WHERE m.org = %s AND m.session_id = s.id) RETURNING s.closed_at",
            org, agent_id, org,
        ).fetchall()  # fmt: skip
        self._count_sessions(org, [(agent_id, closed_at) for (closed_at,) in gone], -1)

    def count_agent(self, org: int, agent_id: str, since: int, now: int) -> AgentCounts:
        self.flush()
        counts = Counter(
            {
                kind: int(number)
                for kind, number in self._read(
                    "SELECT kind, sum(number) FROM counts WHERE org = %s AND agent_id = %s GROUP BY kind",
                    org, agent_id,
                )
            }
        )  # fmt: skip
        # What has expired counts until it is swept, a moment later; so there is little to take off.
        unswept = self._read(
            "SELECT memory_type, event_type, time FROM memories"
            " WHERE org = %s AND agent_id = %s AND expires_at <= %s",
            org, agent_id, now,
        )  # fmt: skip
        sessions, active = counts.pop(SESSIONS, 0), counts.pop(ACTIVE, 0)
        counts.subtract(memory_type for memory_type, _, _ in unswept)
        recent, errors = self._count_recent(org, agent_id, since)
        recent -= sum(time >= since for _, _, time in unswept)
        errors -= sum(time >= since and event_type == "error" for _, event_type, time in unswept)
        return AgentCounts(
            memory_types=+counts, recent=recent, recent_errors=errors, sessions=sessions,
            active_sessions=active,
        )  # fmt: skip

    # --- sessions

    def session(self, org: int, session_id: str) -> Session | None:
        self.flush()
        lock = " FOR NO KEY UPDATE" if self._is_writing else ""
        row = self._one(f"SELECT {_SESSION} FROM sessions WHERE org = %s AND id = %s{lock}", org, session_id)
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
        query = Query(f"SELECT {_SESSION} FROM sessions WHERE org = %s", [org])
        if agent_id is not None:
            query.add("agent_id = %s", agent_id)
        if is_active is not None:
            query.add("(closed_at IS NULL) = %s", is_active)
        query.add("(created_at, id) < (%s, %s)", *(after or (_LATEST, "")))
        return [
            _session(row)
            for row in self._ask(query.then(" ORDER BY created_at DESC, id DESC LIMIT %s", limit))
        ]

    def delete_session(self, org: int, session: Session) -> None:
        gone = self._change(
            "DELETE FROM sessions WHERE org = %s AND id = %s RETURNING agent_id, closed_at", org, session.id
        ).fetchall()
        self._count_sessions(org, gone, -1)
        self._change(
            "UPDATE answers SET body = NULL WHERE org = %s AND agent_id = %s"
            " AND position(%s::bytea IN body) > 0",
            org, session.agent_id, session.id.encode(),
        )  # fmt: skip

    def add_session(self, org: int, session: Session) -> None:
        self._pending.agents.setdefault((org, session.agent_id), session.created_at)
        self.flush()
        self._add_sessions(org, [session])
        self._pending.active[org, session.agent_id, SESSIONS] = session.created_at

    def update_session(self, org: int, session: Session) -> None:
        before = self._one(
            "SELECT closed_at FROM sessions WHERE org = %s AND id = %s FOR NO KEY UPDATE", org, session.id
        )
        if before is None:
            raise Conflict
        self._change(
            "UPDATE sessions SET metadata = %s, updated_at = %s, closed_at = %s WHERE org = %s AND id = %s",
            session.metadata, session.updated_at, session.closed_at, org, session.id,
        )  # fmt: skip
        change = (session.closed_at is None) - (before[0] is None)
        if change:
            self._pending.counts[org, session.agent_id, ACTIVE] += change

    # --- what several of them lean on

    def _add_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        added = self._change(
            f"INSERT INTO sessions (org, {_SESSION})"
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
            self._pending.counts[org, agent_id, SESSIONS] += by
            if closed_at is None:
                self._pending.counts[org, agent_id, ACTIVE] += by

    def _name_agents(self, org: int, agents: Sequence[tuple[str, int]]) -> None:
        """Let agents exist, since a moment (ns), and have been active then."""
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

    def _supersede_again(self, org: int, memory: NewMemory, older: int) -> None:
        """Let an imported memory supersede what it superseded, if that exists and nothing else does."""
        row = self._one(
            "SELECT doc FROM memories WHERE org = %s AND seq = %s AND superseded_by IS NULL FOR UPDATE",
            org, older,
        )  # fmt: skip
        wanted = msgspec.json.decode(memory.doc)["supersedes"]
        if row is None or _NAMED.decode(row[0]).id != wanted:
            return
        self._change(
            "UPDATE memories SET supersedes = %s WHERE org = %s AND seq = %s", older, org, memory.seq
        )
        self._supersede(org, older, memory.seq, memory.created_at)

    def _supersede(self, org: int, older: int, newer: int | None, superseded_at: int | None) -> None:
        """Note by which row a memory is superseded, and since when (ns); by none if both are None."""
        self._change(
            "UPDATE memories SET superseded_by = %s, superseded_at = %s WHERE org = %s AND seq = %s",
            newer, superseded_at, org, older,
        )  # fmt: skip

    def _has_future(self, org: int) -> bool:
        if org not in self._with_future:
            row = self._one("SELECT has_future FROM orgs WHERE number = %s", org)
            self._with_future[org] = bool(row and row[0])
        return self._with_future[org]

    def _note_future(self, org: int) -> None:
        """Note that a memory has a time after that of its storing."""
        if not self._has_future(org):
            self._with_future[org] = True
            self._db.execute("UPDATE orgs SET has_future = true WHERE number = %s AND NOT has_future", [org])

    def _count_recent(self, org: int, agent_id: str, since: int) -> tuple[int, int]:
        """Memories and errors since then, expired ones too: whole periods, and the rest of the first."""
        first = since // PERIOD + 1
        edge = (
            "(SELECT count(*) FROM memories m WHERE m.org = %s AND m.agent_id = %s AND m.is_superseded = {}"
            " AND m.time >= %s AND m.time < %s{})"
        )
        errors = " AND m.event_type = 'error' AND m.event_type <> 'general'"
        edges = [edge.format(part, kind) for kind in ("", errors) for part in ("false", "true")]
        row = self._one(
            f"SELECT coalesce(sum(r.memories), 0) + {edges[0]} + {edges[1]},"
            f" coalesce(sum(r.errors), 0) + {edges[2]} + {edges[3]}"
            " FROM recent_counts r WHERE r.org = %s AND r.agent_id = %s AND r.period >= %s",
            *(org, agent_id, since, first * PERIOD) * 4, org, agent_id, first,
        )  # fmt: skip
        found = row or (0, 0)
        return int(found[0]), int(found[1])

    def _remove(self, org: int, rows: Sequence[int]) -> int:
        """Delete memories with all that was derived from them; return how many there were."""
        if not rows:
            return 0
        self.flush()
        found = self._read(
            "SELECT seq, agent_id, memory_type, event_type, time, supersedes, superseded_by FROM memories"
            " WHERE org = %s AND seq = ANY(%s) ORDER BY seq FOR UPDATE",
            org, list(rows),
        )  # fmt: skip
        gone = {seq: (older, newer) for seq, *_, older, newer in found}
        self._join(org, gone)
        listed = list(gone)
        for table in ("memories", "duplicates", "originals"):
            self._change(f"DELETE FROM {table} WHERE org = %s AND seq = ANY(%s)", org, listed)
        for _, agent_id, memory_type, event_type, time, *_ in found:
            self._pending.remove(org, agent_id, memory_type, event_type, time)
        return len(found)

    def _join(self, org: int, gone: Mapping[int, tuple[int | None, int | None]]) -> None:
        """Close the gaps that memories leave between what they superseded and what superseded them."""
        links: list[tuple[int | None, int | None]] = []
        for older, newer in gone.values():
            if newer is None or newer not in gone:
                first = older
                while first is not None and first in gone:
                    first = gone[first][0]
                links.append((first, newer))
        beside = sorted({row for link in links for row in link if row is not None})
        if not beside:
            return
        moments = dict(
            self._read(
                "SELECT seq, created_at FROM memories WHERE org = %s AND seq = ANY(%s)"
                " ORDER BY seq FOR UPDATE",
                org, beside,
            )
        )  # fmt: skip
        if len(moments) < len(beside):
            raise Conflict  # another server forgets one of them at this moment
        for older, newer in links:
            if newer is not None:
                self._change(
                    "UPDATE memories SET supersedes = %s WHERE org = %s AND seq = %s", older, org, newer
                )
            if older is not None:
                self._supersede(org, older, newer, None if newer is None else moments[newer])


def _found(seq: int, time: int, doc: str, newer: str | None) -> Found:
    return Found(
        seq=seq, time=time, doc=doc, superseded_by=None if newer is None else _NAMED.decode(newer).id
    )


def _described(description: str | None) -> str | None:
    """A text as JSON, which can hold what a text of PostgreSQL cannot."""
    return None if description is None else encoded(description)


def _audit_entry(row: tuple[Any, ...]) -> AuditEntry:
    at, actor, org_id, action, subject, request_id, details = row
    return AuditEntry(
        at=at, actor=actor, org_id=org_id, action=action, subject=subject, request_id=request_id,
        details=msgspec.json.decode(details),
    )  # fmt: skip


def _key(row: tuple[Any, ...]) -> Key:
    key_id, org, org_id, role, name, created_at, revoked_at, expires_at, last_used_at, agent_id = row
    return Key(
        id=key_id, org=org, org_id=org_id, role=role, name=name, created_at=created_at,
        revoked_at=revoked_at, expires_at=expires_at, last_used_at=last_used_at, agent_id=agent_id,
    )  # fmt: skip


def _agent(row: tuple[Any, ...]) -> Agent:
    agent_id, is_registered, description, config, created_at, last_active_at = row
    return Agent(
        id=agent_id, is_registered=is_registered, config=config, created_at=created_at,
        description=None if description is None else msgspec.json.decode(description, type=str),
        last_active_at=last_active_at,
    )  # fmt: skip


def _session(row: tuple[Any, ...]) -> Session:
    session_id, agent_id, metadata, created_at, updated_at, closed_at = row
    return Session(
        id=session_id, agent_id=agent_id, metadata=metadata, created_at=created_at, updated_at=updated_at,
        closed_at=closed_at,
    )  # fmt: skip
