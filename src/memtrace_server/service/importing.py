"""Import of exported agents, sessions and memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from memtrace_server import ids, problems, times
from memtrace_server.messages import Response, answer
from memtrace_server.problems import Detail
from memtrace_server.service.call import Call
from memtrace_server.service.memories import memory_of
from memtrace_server.store.records import Agent, NewMemory, Session

_MAX_DETAILS = 100  # conflicts that one response names


def import_records(call: Call) -> Response:
    """Store records that do not exist yet.

    Raises:
        Problem: 409 if an id belongs to another record, or has a time in the future; nothing is stored.
    """
    agents = [_agent(request) for request in call.body.get("agents", ())]
    sessions = [_session(request) for request in call.body.get("sessions", ())]
    requests: Sequence[Mapping[str, Any]] = call.body.get("memories", ())
    imported = call.transaction.import_agents(call.org, agents)
    imported += call.transaction.import_sessions(call.org, sessions)
    imported += _import_memories(call, requests)
    total = len(agents) + len(sessions) + len(requests)
    if imported:  # a copy that is repeated would add an entry for every few hundred records
        call.record("records.imported", imported=imported, existing=total - imported)
    return answer(200, {"imported": imported, "existing": total - imported})


def _import_memories(call: Call, requests: Sequence[Mapping[str, Any]]) -> int:
    rows = [ids.memory_seq(request["id"]) for request in requests]
    known = call.transaction.memory_ids(call.org, rows)
    fresh: dict[int, NewMemory] = {}
    taken: list[Detail] = []
    for index, (request, row) in enumerate(zip(requests, rows, strict=True)):
        existing = known.get(row, request["id"])
        earlier = fresh.get(row)
        if earlier is not None:
            existing = earlier.id
        if existing != request["id"]:
            taken.append(Detail(f"memories.{index}.id", "body", "belongs to another memory of this store"))
        elif not 0 < row <= call.now + times.DAY:
            taken.append(Detail(f"memories.{index}.id", "body", "has a time in the future; check the clock"))
        elif row not in known and earlier is None:
            memory = _memory(call, request, call.drafts.rests[index], row)
            if memory.expires_at is None or memory.expires_at > call.now:
                fresh[row] = memory
    if taken:
        raise problems.conflict("id_taken", details=taken[:_MAX_DETAILS])
    if fresh:
        call.transaction.import_memories(call.org, list(fresh.values()), call.now)
    return len(fresh)


def _memory(call: Call, request: Mapping[str, Any], rest: str, row: int) -> NewMemory:
    time = times.parse(request["time"])
    return memory_of(
        request,
        rest,
        call.principal.org_id,
        memory_id=request["id"],
        seq=row,
        time=time,
        created_at=times.parse(request["created_at"]) if "created_at" in request else time,
        expires_at=_moment(request.get("expires_at")),
        supersedes=ids.memory_seq(request["supersedes"]) if "supersedes" in request else None,
    )


def _agent(request: Mapping[str, Any]) -> Agent:
    return Agent(
        id=request["id"],
        is_registered=request["is_registered"],
        description=request.get("description"),
        config=_json(request.get("config")),
        created_at=times.parse(request["created_at"]),
        last_active_at=_moment(request.get("last_active_at")),
    )


def _session(request: Mapping[str, Any]) -> Session:
    created_at = times.parse(request["created_at"])
    return Session(
        id=request["id"],
        agent_id=request["agent_id"],
        metadata=_json(request.get("metadata")),
        created_at=created_at,
        updated_at=_moment(request.get("updated_at")) or created_at,
        closed_at=_moment(request.get("closed_at")),
    )


def _moment(text: str | None) -> int | None:
    return None if text is None else times.parse(text)


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
