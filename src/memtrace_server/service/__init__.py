"""The meaning of each operation of the contract: one function per operation, by operationId."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from memtrace_server.messages import Response
from memtrace_server.service import (
    access,
    agents,
    contexts,
    forgetting,
    health,
    importing,
    memories,
    reference,
    searching,
    sessions,
    tailing,
)
from memtrace_server.service.call import Call, Step
from memtrace_server.service.drafts import Drafts
from memtrace_server.service.memories import Added

STORELESS: Mapping[str, Callable[[int, Mapping[str, Any]], Response]] = {
    "getHealth": health.get_health,
    "getContract": reference.get_contract,
    "getDocs": reference.get_docs,
    "getHome": reference.get_docs,
    "getPage": reference.get_page,
    "getPageFile": reference.get_page_file,
    "getMetrics": reference.get_metrics,
}
"""Operations that respond without the store. They take the server's start in ns, and the parameters."""

HANDLERS: Mapping[str, Callable[[Call], Response | Added]] = {
    "getReady": health.get_ready,
    "getAccess": access.get_access,
    "addMemory": memories.add_memory,
    "listMemories": memories.list_memories,
    "forgetMemories": forgetting.forget_memories,
    "forgetMatching": forgetting.forget_matching,
    "getMemory": memories.get_memory,
    "forgetMemory": memories.forget_memory,
    "vacuumStore": health.vacuum_store,
    "importRecords": importing.import_records,
    "searchMemories": searching.search_memories,
    "tailMemories": tailing.tail_memories,
    "registerAgent": agents.register_agent,
    "listAgents": agents.list_agents,
    "getAgent": agents.get_agent,
    "deleteAgent": forgetting.delete_agent,
    "getAgentStats": agents.get_agent_stats,
    "listAgentMemories": agents.list_agent_memories,
    "getAgentContext": contexts.get_agent_context,
    "createSession": sessions.create_session,
    "listSessions": sessions.list_sessions,
    "getSession": sessions.get_session,
    "updateSession": sessions.update_session,
    "deleteSession": forgetting.delete_session,
    "listSessionMemories": sessions.list_session_memories,
    "getSessionContext": contexts.get_session_context,
}

__all__ = ["HANDLERS", "STORELESS", "Added", "Call", "Drafts", "Step"]
