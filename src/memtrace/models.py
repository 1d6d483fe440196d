"""Requests and responses: the models of the contract, and what the SDK adds to them."""

from __future__ import annotations

from collections.abc import Iterable

from memtrace_api.models import (
    AddMemoriesRequest,
    AddMemoryRequest,
    Agent,
    AgentContext,
    AgentList,
    AgentStats,
    ContextEntry,
    ContextField,
    ContextFormat,
    ContextLayout,
    ContextOmissions,
    ContextOptions,
    CreateSessionRequest,
    Error,
    ErrorDetail,
    ForgetFilter,
    ForgetResult,
    Health,
    ListOptions,
    Memory,
    MemoryBatch,
    MemoryList,
    MemoryTail,
    MemoryType,
    OnDuplicate,
    Order,
    RegisterAgentRequest,
    SearchOrder,
    SearchQuery,
    SearchResult,
    Session,
    SessionContext,
    SessionList,
    SessionStatus,
    UpdateSessionRequest,
)
from memtrace_api.types import TimePoint

from memtrace._records import ImportReport, RejectedRecord

__all__ = [
    "AddMemoriesRequest",
    "AddMemoryRequest",
    "Agent",
    "AgentContext",
    "AgentList",
    "AgentStats",
    "ContextEntry",
    "ContextField",
    "ContextFormat",
    "ContextLayout",
    "ContextOmissions",
    "ContextOptions",
    "CreateSessionRequest",
    "Error",
    "ErrorDetail",
    "ForgetFilter",
    "ForgetResult",
    "Health",
    "ImportReport",
    "ListOptions",
    "Memory",
    "MemoryBatch",
    "MemoryList",
    "MemoryTail",
    "MemoryType",
    "OnDuplicate",
    "Order",
    "RegisterAgentRequest",
    "RejectedRecord",
    "SearchOrder",
    "SearchQuery",
    "SearchResult",
    "Session",
    "SessionContext",
    "SessionList",
    "SessionStatus",
    "StoredMemories",
    "TimePoint",
    "UpdateSessionRequest",
]


class StoredMemories(list[Memory]):
    """The memories of a batch as they are stored: a list, one for each memory given, in the same order.

    Attributes:
        duplicates: Indexes in the list that hold the original of a duplicate.

    Example:
        >>> stored = client.add_memories([{"agent_id": "a", "content": "Opened ticket 4711"}])
        >>> len(stored), stored[0].content, stored.duplicates
        (1, 'Opened ticket 4711', [])
    """

    def __init__(self, memories: Iterable[Memory] = (), duplicates: Iterable[int] = ()) -> None:
        super().__init__(memories)
        self.duplicates: list[int] = list(duplicates)
