"""Memtrace 0.x servers, which ignore `Idempotency-Key`.

When the response to a write is lost there and the write is retried, such a server refuses it as a duplicate
of itself. Newer servers send the first response again, so what they refuse is refused; they are told apart by
the `code` of their errors, which those of 0.x lack.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from memtrace._retry import Retries
from memtrace.exceptions import APIStatusError, ConflictError
from memtrace.models import AddMemoryRequest, Agent, ListOptions, Memory, MemoryBatch, RegisterAgentRequest

# The largest page of 0.x.
_NEWEST = 1000

_WHAT_MAKES_A_MEMORY = (
    "agent_id",
    "session_id",
    "memory_type",
    "event_type",
    "content",
    "metadata",
    "dedup_key",
)


def is_already_applied(refusal: APIStatusError, retries: Retries) -> bool:
    """Return whether a 0.x server may have refused a write because an earlier attempt was carried out."""
    return retries.may_have_been_applied and refusal.code is None


def newest_of(agent_id: str) -> ListOptions:
    """Return the options that list what an agent stored last."""
    return ListOptions(agent_id=agent_id, order="desc", limit=_NEWEST)


def memory_for(request: AddMemoryRequest, memories: Iterable[Memory]) -> Memory | None:
    """Return the memory that a request asked to store, if it is among these."""
    return next((memory for memory in memories if _is_for(memory, request)), None)


def batch_for(
    requests: list[AddMemoryRequest], newest: dict[str, list[Memory]], conflict: ConflictError
) -> MemoryBatch:
    """Return the memories of a batch if all of them are stored.

    Args:
        requests: The batch.
        newest: What each of its agents stored last.
        conflict: The refusal of the batch.

    Raises:
        ConflictError: If some are not: a 0.x server may have stored a part of the batch.
    """
    stored = [memory_for(request, newest[request.agent_id]) for request in requests]
    missing = [index for index, memory in enumerate(stored) if memory is None]
    if missing:
        conflict.message += (
            "; an earlier attempt of this batch was stored in part, "
            f"{len(missing)} of its {len(requests)} memories are missing: {missing}"
        )
        raise conflict
    memories = [memory for memory in stored if memory is not None]
    return MemoryBatch(memories=memories, count=len(memories))


def agent_for(request: RegisterAgentRequest, agents: Iterable[Agent]) -> Agent | None:
    """Return the agent that a request asked to register, if it is among these."""
    for agent in agents:
        if agent.name == request.name:
            same = (agent.description or None, agent.config or None) == (
                request.description or None,
                request.config or None,
            )
            return agent if same else None
    return None


def presumed(request: AddMemoryRequest, sent_at: datetime) -> Memory:
    """Make the memory that a request asked to store, as far as it can be known from here."""
    return Memory(
        time=request.time or sent_at,
        org_id="",
        agent_id=request.agent_id,
        memory_type=request.memory_type or "episodic",
        event_type=request.event_type or "general",
        content=request.content,
        session_id=request.session_id,
        metadata=request.metadata or {},
        tags=request.tags or [],
        importance=request.importance,
        parent_id=request.parent_id,
        dedup_key=request.dedup_key,
    )


def _is_for(memory: Memory, request: AddMemoryRequest) -> bool:
    wanted = presumed(request, memory.time)
    return all(
        (getattr(memory, name) or None) == (getattr(wanted, name) or None) for name in _WHAT_MAKES_A_MEMORY
    )
