"""Adding, listing, reading and forgetting memories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from memtrace_server import ids, problems, times
from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import join, memory_page
from memtrace_server.store.records import Found, NewMemory


class Added(msgspec.Struct, frozen=True):
    """Memories that were added, in the order given.

    Attributes:
        memories: The memories; for a duplicate, the original.
        duplicates: Places in `memories` that hold the original of a duplicate; None when a single memory
            was added.
    """

    memories: Sequence[Found]
    duplicates: Sequence[int] | None

    def response(self) -> Response:
        """A `Memory`, or a `MemoryBatch`."""
        if self.duplicates is None:
            return Response(status=201, body=self.memories[0].doc.encode())
        return Response(status=201, body=join("memories", self.memories, {"duplicates": self.duplicates}))


def add_memory(call: Call) -> Added:
    """Store one memory or a batch."""
    if "memories" in call.body:
        return _add(call, call.body["memories"])
    added = _add(call, [call.body])
    if added.duplicates:
        raise problems.conflict(
            "duplicate_memory",
            "This memory was stored within the last 24 hours",
            existing_id=msgspec.json.decode(added.memories[0].doc)["id"],
        )
    return Added(added.memories, None)


def list_memories(call: Call) -> Response:
    """A page of memories."""
    return memory_page(call, filters.from_parameters(call.parameters, call.now))


def forget_memories(call: Call) -> Response:
    """Forget by filter."""
    wanted = filters.from_parameters(call.parameters, call.now)
    return answer(200, {"deleted": call.transaction.forget(call.org, wanted, call.now)})


def get_memory(call: Call) -> Response:
    """One memory."""
    return Response(status=200, body=_existing(call).doc.encode())


def forget_memory(call: Call) -> Response:
    """Forget one memory."""
    call.transaction.forget_one(call.org, _existing(call).seq)
    return Response(status=204)


def _existing(call: Call) -> Found:
    memory_id = call.parameters["memory_id"]
    found = call.transaction.memory(call.org, ids.memory_seq(memory_id), call.now)
    if found is None or msgspec.json.decode(found.doc)["id"] != memory_id:
        raise problems.not_found(f"memory {memory_id}")
    return found


def _add(call: Call, requests: Sequence[Mapping[str, Any]]) -> Added:
    transaction = call.transaction
    seq = transaction.next_seq(call.now)
    added: list[Found] = []
    duplicates: list[int] = []
    fresh: dict[bytes, NewMemory] = {}
    fingerprints = [_fingerprint(request) for request in requests]
    originals = transaction.originals(call.org, fingerprints, call.now - times.DAY, call.now)
    for place, (request, fingerprint) in enumerate(zip(requests, fingerprints, strict=True)):
        twin = originals.get(fingerprint) or fresh.get(fingerprint)
        if twin is not None:
            duplicates.append(place)
        else:
            twin = fresh[fingerprint] = _memory(call, request, seq + len(fresh))
        added.append(twin)
    if fresh:
        transaction.add_memories(call.org, list(fresh.items()), call.now)
    return Added(added, duplicates)


def _fingerprint(request: Mapping[str, Any]) -> bytes:
    """What two equal memories have in common.

    A time that was given tells memories apart, too: an import may well have the same words at several times.
    """
    if "dedup_key" in request:
        same = [request["agent_id"], request["dedup_key"]]
    else:
        fields = ("agent_id", "session_id", "memory_type", "event_type", "content", "metadata")
        moment = times.parse(request["time"]) if "time" in request else None  # in whatever zone it is written
        same = [*(request.get(field) for field in fields), moment]
    return hashlib.blake2b(msgspec.json.encode(same, order="sorted"), digest_size=16).digest()


def _memory(call: Call, request: Mapping[str, Any], seq: int) -> NewMemory:
    given = request.get("time")
    # Rows rise, so memories of now are in order by time too. Microseconds, which Python's datetime can hold.
    time = seq - seq % 1_000 if given is None else times.parse(given)
    ttl = request.get("ttl")
    expires_at = None if ttl is None else call.now + ttl * times.SECOND
    tags = list(dict.fromkeys(request.get("tags", ())))
    doc: dict[str, Any] = {
        "id": ids.memory_id(time, seq),
        "time": times.render(time),
        "org_id": call.principal.org_id,
        **{name: value for name, value in request.items() if name not in {"time", "ttl"}},
    }
    if "tags" in request:
        doc["tags"] = tags
    if expires_at is not None:
        doc["expires_at"] = times.render(expires_at)
    return NewMemory(
        seq=seq,
        agent_id=request["agent_id"],
        session_id=request.get("session_id"),
        memory_type=request["memory_type"],
        event_type=request["event_type"],
        time=time,
        importance=request.get("importance"),
        expires_at=expires_at,
        tags=tags,
        doc=msgspec.json.encode(doc).decode(),
    )
