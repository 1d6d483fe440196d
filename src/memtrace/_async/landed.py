"""Finding out what became of a write that a Memtrace 0.x server stored, and refused when it came again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from memtrace._landed import agent_for, memory_for, newest_of, presumed
from memtrace.exceptions import MemtraceError
from memtrace.models import StoredMemories

if TYPE_CHECKING:
    from datetime import datetime

    from memtrace._async.client import AsyncMemtrace
    from memtrace.exceptions import APIStatusError, ConflictError
    from memtrace.models import AddMemoryRequest, Agent, Memory, RegisterAgentRequest

logger = logging.getLogger("memtrace")


async def landed_memory(
    client: AsyncMemtrace, request: AddMemoryRequest, conflict: ConflictError, sent_at: datetime
) -> Memory:
    """Give the memory that a server holds already; made of the request if it does not show it."""
    logger.debug("The memory was stored by an earlier try: %s", conflict)
    try:
        if conflict.existing_id is not None:
            return await client.get_memory(conflict.existing_id)
        newest = await client.list_memories(newest_of(request.agent_id))
    except MemtraceError as error:
        # It is stored, so this must not become an error of storing it.
        logger.debug("The memory cannot be looked up: %s", error)
        return presumed(request, sent_at)
    return memory_for(request, newest.memories) or presumed(request, sent_at)


async def landed_batch(
    client: AsyncMemtrace, requests: list[AddMemoryRequest], conflict: ConflictError
) -> StoredMemories:
    """Give the memories of a batch if all of them are there.

    Raises:
        ConflictError: If some are not: a 0.x server may have stored a part of the batch.
    """
    newest: dict[str, list[Memory]] = {}
    for agent_id in {request.agent_id for request in requests}:
        newest[agent_id] = (await client.list_memories(newest_of(agent_id))).memories
    stored = [memory_for(request, newest[request.agent_id]) for request in requests]
    missing = [place for place, memory in enumerate(stored) if memory is None]
    if missing:
        conflict.message += (
            "; an earlier try of this batch was stored in part, "
            f"{len(missing)} of its {len(requests)} memories are missing: {missing}"
        )
        raise conflict
    return StoredMemories(memory for memory in stored if memory is not None)


async def landed_agent(
    client: AsyncMemtrace, request: RegisterAgentRequest, refusal: APIStatusError
) -> Agent:
    """Give the agent that is registered already, if it is the one of the request.

    Raises:
        APIStatusError: If it is another one.
    """
    agent = agent_for(request, (await client.list_agents()).agents)
    if agent is None:
        raise refusal
    return agent
