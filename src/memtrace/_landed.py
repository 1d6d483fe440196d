"""Whether a write that was refused had in fact been carried out by an earlier try.

A Memtrace 0.x server ignores `Idempotency-Key`. When the answer to a write is lost there and the write is
tried again, the server refuses it as a duplicate of itself. Newer servers give the first answer again, so
what they refuse is refused; they are told apart by the `code` that their errors have, and those of 0.x lack.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from memtrace._retries import Retries
from memtrace.exceptions import APIStatusError
from memtrace.models import AddMemoryRequest, Agent, ListOptions, Memory, RegisterAgentRequest

# The most that a page of 0.x has.
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


def may_have_landed(refusal: APIStatusError, retries: Retries) -> bool:
    """Tell whether a 0.x server refused a write because one of its earlier tries was carried out."""
    return retries.may_have_landed and refusal.code is None


def newest_of(agent_id: str) -> ListOptions:
    """Ask for what an agent stored last."""
    return ListOptions(agent_id=agent_id, order="desc", limit=_NEWEST)


def memory_for(request: AddMemoryRequest, memories: Iterable[Memory]) -> Memory | None:
    """Find the memory that a request asked to store."""
    return next((memory for memory in memories if _is_for(memory, request)), None)


def agent_for(request: RegisterAgentRequest, agents: Iterable[Agent]) -> Agent | None:
    """Find the agent that a request asked to register."""
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
        metadata=request.metadata,
        tags=request.tags,
        importance=request.importance,
        parent_id=request.parent_id,
        dedup_key=request.dedup_key,
    )


def _is_for(memory: Memory, request: AddMemoryRequest) -> bool:
    wanted = presumed(request, memory.time)
    return all(
        (getattr(memory, name) or None) == (getattr(wanted, name) or None) for name in _WHAT_MAKES_A_MEMORY
    )
