"""The meaning of writes in a transaction, the same for every store.

The facts that a group of works needs are read at once (`look_up`). The works run on these facts in memory,
and their changes are written at once (`flush`). A store supplies the reading, the writing, and its queries.
Methods without a docstring are documented in the protocol `Transaction`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import msgspec

from memtrace_server import times
from memtrace_server.problems import Problem
from memtrace_server.store.pending import Gone, Kept, Link, Pair, Pending, Said, links
from memtrace_server.store.protocol import WantsOf
from memtrace_server.store.records import Agent, Answer, Filter, Found, Key, NewMemory, Session, Shown, Wants
from memtrace_server.store.tables import Tables

Fingerprint = tuple[int, bytes]
"""An organisation and a fingerprint of its memories."""


class Original(msgspec.Struct, frozen=True):
    """The memory of a fingerprint.

    Attributes:
        seq: The row.
        stored_at: When it was stored (ns).
        memory: The memory; None if it no longer exists.
        expires_at: When the memory expires (ns), if it does.
        is_replaced: Whether the next memory of this fingerprint replaces this one if it is no longer an
            original.
    """

    seq: int
    stored_at: int
    memory: Found | None
    expires_at: int | None
    is_replaced: bool = False


class Asked(msgspec.Struct):
    """The facts of an organisation that works are going to read, each once."""

    digests: dict[bytes, None] = {}
    keys: dict[str, None] = {}
    fingerprints: dict[bytes, None] = {}


class Learned(msgspec.Struct):
    """The facts that were found; the originals of a fingerprint are sorted by row."""

    keys: dict[bytes, Key] = {}
    answers: dict[str, Kept] = {}
    originals: dict[bytes, list[Original]] = {}


class _Named(msgspec.Struct):
    """The field that is read of a memory's document."""

    id: str
    supersedes: str | None = None


_NAMED = msgspec.json.Decoder(_Named)


def id_of(doc: str) -> str:
    """Return the id in a memory's document."""
    return _NAMED.decode(doc).id


def wanted(wants: WantsOf | None) -> Wants:
    """Return what a work is going to read."""
    try:
        return Wants() if wants is None else wants()
    except Problem:  # a missing key, which the work itself reports
        return Wants()


class Facts(Tables):
    """The part of a transaction that is the same for every store."""

    def __init__(self) -> None:
        super().__init__()
        self.additions = 0
        """The number of added memories."""
        self.added_to: int | None = None
        """The organisation of the memories that were added last."""
        self.forgotten_from: set[int] = set()
        """The organisations of which memories were forgotten."""
        self._pending = Pending()
        self._keys: dict[bytes, Key | None] = {}
        self._answers: dict[Pair, Kept | None] = {}
        self._originals: dict[Fingerprint, Sequence[Original]] = {}
        # Keys and fingerprints that were not found, with the moment or row that is replaced.
        self._unanswered: dict[Pair, int | None] = {}
        self._unsaid: dict[Fingerprint, int | None] = {}

    # --- what a store supplies

    @abstractmethod
    def _read_key(self, digest: bytes) -> Key | None:
        """Return the key of a digest."""

    @abstractmethod
    def _read_facts(self, org: int, asked: Asked, since: int, now: int) -> Learned:
        """Return the requested facts of an organisation in one query.

        For each fingerprint, return the first memory that was stored since a moment (ns) and has not expired,
        and the row that the next memory replaces.
        """

    @abstractmethod
    def _admit(self, org: int, memories: Sequence[NewMemory]) -> None:
        """Prepare to write memories. If this raises an error, nothing has changed."""

    @abstractmethod
    def _read_memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None) -> list[Found]:
        """Return the memories with some rows."""

    @abstractmethod
    def _read_gone(self, org: int, rows: Sequence[int]) -> Sequence[Gone]:
        """Return the existing rows of those that are going to be deleted."""

    @abstractmethod
    def _read_moments(self, org: int, rows: Sequence[int]) -> Mapping[int, int]:
        """Return when each of some existing rows was stored (ns)."""

    @abstractmethod
    def _write(self, pending: Pending) -> None:
        """Write all pending changes."""

    @abstractmethod
    def _delete(self, org: int, gone: Sequence[Gone]) -> None:
        """Delete memories and all data derived from them, except counts."""

    @abstractmethod
    def _link(self, org: int, link: Link, superseded_at: int | None) -> None:
        """Let one row supersede another since a moment (ns), or end that if either row is missing."""

    @abstractmethod
    def _name_agents(self, org: int, agents: Sequence[tuple[str, int]]) -> None:
        """Add agents that do not exist, and set their activity to a moment (ns)."""

    @abstractmethod
    def _add_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        """Add sessions that do not exist, and return their number."""

    @abstractmethod
    def _delete_empty_sessions(self, org: int, agent_id: str, now: int) -> None:
        """Delete an agent's sessions without memories; expired memories do not count, swept or not."""

    @abstractmethod
    def _note_row(self, seq: int) -> None:
        """Record that a row is used by a memory."""

    # --- the parts of a transaction

    def look_up(self, wants: Sequence[tuple[int | None, Wants]]) -> None:
        """Read the facts that works need, for all of them at once.

        Args:
            wants: The facts that each work needs, with its organisation if that is known without its key.
        """
        asked: dict[int, Asked] = {}
        for known, each in wants:
            org = known if each.org is None else each.org
            if org is None and each.digest is not None:
                key = self.key(each.digest)
                org = None if key is None else key.org
            if org is None:
                continue
            of_org = asked.setdefault(org, Asked())
            if each.digest is not None and each.digest not in self._keys:
                of_org.digests[each.digest] = None
            if each.key is not None:
                of_org.keys[each.key] = None
            of_org.fingerprints.update(dict.fromkeys(each.fingerprints))
        now = times.now()
        for org, of_org in asked.items():
            self._learn(org, of_org, now - times.DAY, now)

    def flush(self) -> None:
        """Write pending changes.

        Raises:
            Conflict: Facts that were read have been changed since.
        """
        pending = self._pending
        if pending.is_empty():
            return
        self._pending = Pending()
        self._forget_facts()
        self.changes += 1  # unless all of it is written
        self._write(pending)
        self.changes -= 1

    def flush_if_large(self, size: int) -> None:
        """Write pending changes if they have more than some characters."""
        if self._pending.size > size:
            self.flush()

    def forget_what_is_known(self) -> None:
        """Drop pending changes, and all facts that were read."""
        self._pending = Pending()
        self._forget_facts()
        for known in (self._keys, self._unanswered, self._unsaid):
            known.clear()

    def _settle(self) -> None:
        """Write pending changes before a change that invalidates known facts."""
        self.flush()
        self._forget_facts()
        self.changes += 1

    def _forget_facts(self) -> None:
        self._answers.clear()
        self._originals.clear()

    def _learn(self, org: int, asked: Asked, since: int, now: int) -> None:
        """Read the facts that are not known yet."""
        if not (asked.digests or asked.keys or asked.fingerprints):
            return
        learned = self._read_facts(org, asked, since, now)
        for digest in asked.digests:
            self._keys[digest] = learned.keys.get(digest)
        for key in asked.keys:
            self._answers[org, key] = learned.answers.get(key)
        for fingerprint in asked.fingerprints:
            self._originals[org, fingerprint] = learned.originals.get(fingerprint, ())

    # --- keys

    def key(self, digest: bytes) -> Key | None:
        if digest not in self._keys:
            self._keys[digest] = self._read_key(digest)
        return self._keys[digest]

    def add_key(self, digest: bytes, key: Key) -> None:
        self._keys.clear()
        super().add_key(digest, key)

    def revoke_key(self, key_id: str, now: int) -> bool:
        self._keys.clear()
        return super().revoke_key(key_id, now)

    def expire_key(self, key_id: str, moment: int) -> None:
        self._keys.clear()
        super().expire_key(key_id, moment)

    # --- stored responses of writes that may be retried

    def answer(self, org: int, key: str, since: int) -> Answer | None:
        waiting = self._pending.answers.get((org, key))
        if waiting is not None:
            return waiting.answer
        if (org, key) not in self._answers:
            self._learn(org, Asked(keys={key: None}), 0, 0)
        known = self._answers[org, key]
        self._unanswered[org, key] = None if known is None else known.at
        return None if known is None or known.at < since else known.answer

    def keep_answer(self, org: int, key: str, answer: Answer, now: int) -> None:
        self.changes += 1
        self._pending.answers[org, key] = Kept(answer, now, self._unanswered.get((org, key)))

    def forget_answers(self, org: int, agent_id: str) -> None:
        self._settle()
        self.forgotten_from.add(org)
        self._run("UPDATE answers SET body = NULL WHERE org = ? AND agent_id = ?", org, agent_id)

    # --- memories that are added

    def originals(
        self, org: int, fingerprints: Sequence[bytes], since: int, now: int
    ) -> Mapping[bytes, Shown]:
        unknown = [fingerprint for fingerprint in fingerprints if (org, fingerprint) not in self._originals]
        self._learn(org, Asked(fingerprints=dict.fromkeys(unknown)), since, now)
        pending = self._pending
        found: dict[bytes, Shown] = {}
        for fingerprint in fingerprints:
            replaced: int | None = None
            first: Shown | None = None
            for original in self._originals[org, fingerprint]:
                if original.is_replaced:
                    replaced = original.seq
                if first is None and original.stored_at >= since and _is_left(original.expires_at, now):
                    first = original.memory
            if first is None:
                waiting = pending.fingerprints.get((org, fingerprint))
                first = waiting if waiting and _is_left(waiting.expires_at, now) else None
            if first is None:
                self._unsaid[org, fingerprint] = replaced
                continue
            newer = pending.superseded.get((org, first.seq))
            if newer is not None:
                first = Found(seq=first.seq, time=first.time, doc=first.doc, superseded_by=newer.id)
            found[fingerprint] = first
        return found

    def add_memories(self, org: int, memories: Sequence[tuple[bytes, NewMemory]], now: int) -> None:
        self._admit(org, [memory for _, memory in memories])
        self.changes += 1
        pending = self._pending
        for fingerprint, memory in memories:
            pending.add(org, memory, now)
            is_first = (org, fingerprint) in self._unsaid
            replaced = self._unsaid.pop((org, fingerprint), None)
            pending.say(Said(org, fingerprint, memory.seq, is_first, replaced), memory)
            pending.touch(org, memory.agent_id, now)
            if (
                org,
                memory.session_id,
            ) not in pending.sessions:  # most memories name the session of the previous one
                session = session_of(memory, now)
                if session is not None:
                    pending.start(org, session)
        self.additions += len(memories)
        self.added_to = org
        self._note_row(memories[-1][1].seq)

    def memories(self, org: int, rows: Sequence[int], wanted: Filter, now: int | None = None) -> list[Found]:
        pending = self._pending
        if any((org, row) in pending.memories or (org, row) in pending.superseded for row in rows):
            self.flush()
        return self._read_memories(org, rows, wanted, now)

    # --- imported memories, agents and sessions

    def import_memories(self, org: int, memories: Sequence[NewMemory], now: int) -> None:
        self._admit(org, memories)
        self._settle()
        superseded = self._superseded_by_import(org, memories)
        superseding = {memory.seq for memory in superseded.values()}
        self._pending.is_imported = True
        for memory in memories:
            alone = msgspec.structs.replace(memory, supersedes=None)
            self._pending.add(org, memory if memory.seq in superseding else alone, now)
        self._pending.superseded.clear()
        self.flush()
        # Imported memories are not stored now: nothing is a duplicate of them, and no agent becomes active.
        self._name_agents(org, [(memory.agent_id, memory.created_at) for memory in memories])
        named = (session_of(memory, memory.created_at) for memory in memories)
        self._add_sessions(org, [session for session in named if session is not None])
        self._pending.superseded = {(org, row): memory for row, memory in superseded.items()}
        self.flush()
        self.additions += len(memories)
        self.added_to = org

    def import_sessions(self, org: int, sessions: Sequence[Session]) -> int:
        if not sessions:
            return 0
        self._settle()
        self._name_agents(org, [(session.agent_id, session.created_at) for session in sessions])
        return self._add_sessions(org, sessions)

    def import_agents(self, org: int, agents: Sequence[Agent]) -> int:
        if not agents:
            return 0
        self._settle()
        return self._add_agents(org, agents)

    @abstractmethod
    def _add_agents(self, org: int, agents: Sequence[Agent]) -> int:
        """Add agents that do not exist or are deleted, and return their number."""

    def _superseded_by_import(self, org: int, memories: Sequence[NewMemory]) -> dict[int, NewMemory]:
        """Return, by row, the superseding memory of each existing memory that no other one supersedes."""
        rows = {memory.supersedes for memory in memories if memory.supersedes is not None}
        if not rows:
            return {}
        stored = self.memories(org, list(rows), Filter(include_superseded=True))
        known: dict[int, Shown] = {memory.seq: memory for memory in stored}
        known.update((memory.seq, memory) for memory in memories)
        found: dict[int, NewMemory] = {}
        for memory in memories:
            older = None if memory.supersedes is None else known.get(memory.supersedes)
            if older is None or older is memory or older.superseded_by is not None or older.seq in found:
                continue
            if id_of(older.doc) == _NAMED.decode(memory.doc).supersedes:
                found[older.seq] = memory
        return found

    # --- forgetting

    def forget(self, org: int, rows: Sequence[int]) -> int:
        self._settle()
        return self._remove(org, rows)

    def delete_sessions(self, org: int, agent_id: str, now: int) -> None:
        self._settle()
        self.forgotten_from.add(org)
        self._delete_empty_sessions(org, agent_id, now)

    def delete_agent(self, org: int, agent_id: str) -> None:
        self.forgotten_from.add(org)
        super().delete_agent(org, agent_id)

    def _remove(self, org: int, rows: Sequence[int]) -> int:
        """Delete memories with all data derived from them, and return their number."""
        gone = self._read_gone(org, rows) if rows else ()
        if not gone:
            return 0
        self.forgotten_from.add(org)
        left = links(gone)
        beside = sorted({row for link in left for row in (link.older, link.newer) if row is not None})
        moments = self._read_moments(org, beside) if beside else {}
        self._delete(org, gone)
        for link in left:
            self._link(org, link, None if link.newer is None else moments[link.newer])
        now = times.now()
        for each in gone:
            self._pending.remove(org, each.agent_id, each.memory_type, each.event_type, each.time, now)
        return len(gone)

    # --- sessions

    def add_session(self, org: int, session: Session) -> None:
        self.changes += 1
        self._pending.touch(org, session.agent_id, session.created_at)
        self._pending.start(org, session)


def _is_left(expires_at: int | None, now: int) -> bool:
    return expires_at is None or expires_at > now


def session_of(memory: NewMemory, at: int) -> Session | None:
    """Return the session to add for a memory, if it names one."""
    if memory.session_id is None:
        return None
    return Session(
        id=memory.session_id, agent_id=memory.agent_id, metadata=None, created_at=at, updated_at=at,
        closed_at=None,
    )  # fmt: skip
