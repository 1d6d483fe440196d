"""Adding, listing, reading and forgetting memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from memtrace_server import ids, problems, times
from memtrace_server.messages import Response
from memtrace_server.problems import Detail, Problem
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.drafts import KINDS, unique
from memtrace_server.service.pages import join, memory_page, shown
from memtrace_server.store.records import Filter, Found, NewMemory, Shown

_ENCODER = msgspec.json.Encoder()


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """Memories that were added, in the order given.

    Attributes:
        status: 201, or 200 if nothing new was stored.
        memories: The memories; for a duplicate, the first equal memory.
        duplicates: Indexes in `memories` of duplicates; None when a single memory was added.
        headers: Headers of the response.
    """

    status: int
    memories: Sequence[Shown]
    duplicates: Sequence[int] | None
    headers: Mapping[str, str] = {}
    rest: ClassVar[None] = None  # as of responses to writes that take several transactions

    def response(self) -> Response:
        """Return a `Memory` or a `MemoryBatch`; call this after the transaction, as a batch takes long."""
        if self.duplicates is None:
            body = self.memories[0].doc.encode()
        else:
            body = join("memories", self.memories, {"duplicates": self.duplicates})
        return Response(status=self.status, body=body, headers=self.headers)


def add_memory(call: Call) -> Added:
    """Store one memory or a batch."""
    is_batch = "memories" in call.body
    memories, duplicates = _Addition(call, is_batch=is_batch).run()
    return Added(
        status=201 if len(duplicates) < len(memories) else 200,
        memories=memories,
        duplicates=duplicates if is_batch else None,
    )


def list_memories(call: Call) -> Response:
    """Return a page of memories."""
    return memory_page(call, filters.from_parameters(call.parameters, call.now))


def get_memory(call: Call) -> Response:
    """Return one memory."""
    return Response(status=200, body=shown(_existing(call)).encode())


def forget_memory(call: Call) -> Response:
    """Forget one memory."""
    call.transaction.forget(call.org, [_existing(call).seq])
    return Response(status=204)


def _existing(call: Call) -> Found:
    memory_id = call.parameters["memory_id"]
    row = ids.memory_seq(memory_id)
    found = _by_row(call, [row]).get(row)
    if found is None:
        raise problems.not_found(f"memory {memory_id}")
    doc = msgspec.json.decode(found.doc)
    if doc["id"] != memory_id or call.principal.agent_id not in {None, doc["agent_id"]}:
        raise problems.not_found(f"memory {memory_id}")
    return found


def _by_row(call: Call, rows: Sequence[int]) -> Mapping[int, Found]:
    """Return the memories with some rows by their row, including superseded ones."""
    wanted = Filter(include_superseded=True)
    return {found.seq: found for found in call.transaction.memories(call.org, rows, wanted, call.now)}


class _Addition:
    """The storing of memories, which finds duplicates and superseded memories first."""

    def __init__(self, call: Call, *, is_batch: bool) -> None:
        self._call = call
        self._drafts = call.drafts
        self._requests: Sequence[Mapping[str, Any]] = call.body["memories"] if is_batch else [call.body]
        self._is_batch = is_batch
        self._fresh: list[tuple[bytes, NewMemory]] = []
        rows = {ids.memory_seq(each["supersedes"]) for each in self._requests if "supersedes" in each}
        self._named = _by_row(call, list(rows)) if rows else {}
        self._superseded: dict[int, int] = {}  # by row, the index of the memory that supersedes it

    def run(self) -> tuple[Sequence[Shown], Sequence[int]]:
        """Store all memories that are not duplicates.

        Returns:
            The memories, and the indexes of duplicates.

        Raises:
            Problem: 409 or 404; nothing is stored.
        """
        call = self._call
        row = call.transaction.next_seq(call.now)
        call.clock.compare(row, call.now)
        fingerprints = self._drafts.fingerprints
        originals = dict(self._originals())
        memories: list[Shown] = []
        duplicates: list[int] = []
        rejected: list[int] = []
        for index, (request, fingerprint) in enumerate(zip(self._requests, fingerprints, strict=True)):
            twin = None if request["on_duplicate"] == "store" else originals.get(fingerprint)
            if twin is None:
                twin = self._memory(index, row + len(self._fresh))
                self._fresh.append((fingerprint, twin))
                originals.setdefault(fingerprint, twin)
            else:
                (rejected if request["on_duplicate"] == "reject" else duplicates).append(index)
            memories.append(twin)
        if rejected:
            raise self._duplicates(memories, rejected)
        if self._fresh:
            call.transaction.add_memories(call.org, self._fresh, call.now)
        return memories, duplicates

    def _originals(self) -> Mapping[bytes, Shown]:
        """Return the first memory of each fingerprint within a day."""
        call, compared = self._call, self._drafts.compared
        if not compared:
            return {}
        return call.transaction.originals(call.org, compared, call.now - times.DAY, call.now)

    def _memory(self, index: int, row: int) -> NewMemory:
        request = self._requests[index]
        supersedes = self._row_to_supersede(index, request) if "supersedes" in request else None
        return _memory(self._call, request, self._drafts.rests[index], row, supersedes)

    def _row_to_supersede(self, index: int, request: Mapping[str, Any]) -> int:
        """Return the row that a memory asks to supersede.

        Raises:
            Problem: 404 if the memory's agent has no such memory, 409 if another memory supersedes it.
        """
        memory_id = request["supersedes"]
        row = ids.memory_seq(memory_id)
        found = self._named.get(row)
        doc = {} if found is None else msgspec.json.decode(found.doc)
        if found is None or (doc["id"], doc["agent_id"]) != (memory_id, request["agent_id"]):
            message = f"agent {request['agent_id']} has no memory {memory_id}"
            raise problems.unknown_reference(Detail(self._field(index, "supersedes"), "body", message))
        newer = found.superseded_by
        if newer is not None or row in self._superseded:
            by = newer or f"memories.{self._superseded[row]} of this batch"
            message = f"memory {memory_id} is superseded by {by}; supersede that one"
            detail = Detail(self._field(index, "supersedes"), "body", message)
            raise problems.conflict("already_superseded", details=[detail], existing_id=newer)
        self._superseded[row] = index
        return row

    def _duplicates(self, memories: Sequence[Shown], rejected: Sequence[int]) -> Problem:
        """Return the problem that names each duplicate and the first equal memory."""
        fresh = {memory.seq for _, memory in self._fresh}
        indexes = {memory.seq: index for index, memory in reversed([*enumerate(memories)])}
        existing_ids: list[str] = []
        details: list[Detail] = []
        for index in rejected:
            first = memories[index]
            if first.seq in fresh:
                name = f"memories.{indexes[first.seq]} of this batch"
            else:
                existing_ids.append(msgspec.json.decode(first.doc)["id"])
                name = f"memory {existing_ids[-1]} of the last 24 hours"
            has = "has this dedup_key" if "dedup_key" in self._requests[index] else "says the same"
            message = f"{name} {has}; send on_duplicate=store to store both, or return to get the first"
            details.append(Detail(self._field(index), "body", message))
        existing_id = existing_ids[0] if existing_ids else None
        if not self._is_batch:
            return problems.conflict("duplicate_memory", details[0].message, existing_id=existing_id)
        return problems.conflict("duplicate_memory", details=details, existing_id=existing_id)

    def _field(self, index: int, name: str | None = None) -> str:
        """Return the path of a memory in the body, or of one of its fields."""
        steps = ["memories", str(index)] if self._is_batch else []
        return ".".join([*steps, *([name] if name else [])]) or "body"


def _memory(call: Call, request: Mapping[str, Any], rest: str, seq: int, supersedes: int | None) -> NewMemory:
    created_at = call.now - call.now % 1_000  # microseconds, which Python's datetime can hold
    time = times.parse(request["time"]) if "time" in request else created_at
    ttl = request.get("ttl")
    return memory_of(
        request,
        rest,
        call.principal.org_id,
        memory_id=ids.memory_id(time, seq),
        seq=seq,
        time=time,
        created_at=created_at,
        expires_at=None if ttl is None else call.now + ttl * times.SECOND,
        supersedes=supersedes,
    )


def memory_of(  # noqa: PLR0913 - what a request does not say, or says in another way
    request: Mapping[str, Any],
    rest: str,
    org_id: str,
    *,
    memory_id: str,
    seq: int,
    time: int,
    created_at: int,
    expires_at: int | None,
    supersedes: int | None,
) -> NewMemory:
    """Return the memory to store for a request to add or import one.

    Args:
        request: The memory in the request.
        rest: The end of the memory's document, from `Drafts.rests`.
        org_id: The organisation.
        memory_id: The memory's id.
        seq: The memory's row.
        time: When the event happened (ns).
        created_at: When the memory was stored (ns).
        expires_at: When the memory expires (ns), if it does.
        supersedes: The row of the memory to supersede, if any.
    """
    rendered = times.render(time)
    # In the order in which a store joins them, so that a repeated request has the same bytes.
    head: dict[str, Any] = {"org_id": org_id, "id": memory_id}
    moments = {"time": rendered}
    if created_at == time:
        head["created_at"] = rendered
    else:
        moments["created_at"] = times.render(created_at)
    if expires_at is not None:
        moments["expires_at"] = times.render(expires_at)
    head.update({name: request[name] for name in KINDS if name in request})
    return NewMemory(
        seq=seq,
        agent_id=request["agent_id"],
        session_id=request.get("session_id"),
        memory_type=request["memory_type"],
        event_type=request["event_type"],
        time=time,
        importance=request.get("importance"),
        created_at=created_at,
        expires_at=expires_at,
        tags=unique(request.get("tags", ())),
        supersedes=supersedes,
        id=memory_id,
        head=_beginning(head),
        moments=_beginning(moments),
        rest=rest,
    )


def _beginning(fields: Mapping[str, Any]) -> str:
    """Return the beginning of a JSON object with some fields, to which others can be appended."""
    return f"{_ENCODER.encode(fields).decode()[:-1]},"
