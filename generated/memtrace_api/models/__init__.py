"""The models of the contract: requests and responses."""

from .access import Access as Access
from .add_memories_request import AddMemoriesRequest as AddMemoriesRequest
from .add_memory_request import AddMemoryRequest as AddMemoryRequest
from .agent import Agent as Agent
from .agent_context import AgentContext as AgentContext
from .agent_list import AgentList as AgentList
from .agent_stats import AgentStats as AgentStats
from .context_entry import ContextEntry as ContextEntry
from .context_field import ContextField as ContextField
from .context_format import ContextFormat as ContextFormat
from .context_layout import ContextLayout as ContextLayout
from .context_omissions import ContextOmissions as ContextOmissions
from .context_options import ContextOptions as ContextOptions
from .create_session_request import CreateSessionRequest as CreateSessionRequest
from .error import Error as Error
from .error_detail import ErrorDetail as ErrorDetail
from .error_detail_location import ErrorDetailLocation as ErrorDetailLocation
from .forget_filter import ForgetFilter as ForgetFilter
from .forget_result import ForgetResult as ForgetResult
from .health import Health as Health
from .import_agent import ImportAgent as ImportAgent
from .import_memory import ImportMemory as ImportMemory
from .import_request import ImportRequest as ImportRequest
from .import_result import ImportResult as ImportResult
from .import_session import ImportSession as ImportSession
from .list_options import ListOptions as ListOptions
from .memory import Memory as Memory
from .memory_batch import MemoryBatch as MemoryBatch
from .memory_list import MemoryList as MemoryList
from .memory_tail import MemoryTail as MemoryTail
from .memory_type import MemoryType as MemoryType
from .on_duplicate import OnDuplicate as OnDuplicate
from .order import Order as Order
from .register_agent_request import RegisterAgentRequest as RegisterAgentRequest
from .search_group import SearchGroup as SearchGroup
from .search_order import SearchOrder as SearchOrder
from .search_query import SearchQuery as SearchQuery
from .search_result import SearchResult as SearchResult
from .session import Session as Session
from .session_context import SessionContext as SessionContext
from .session_list import SessionList as SessionList
from .session_status import SessionStatus as SessionStatus
from .tail_memories_start import TailMemoriesStart as TailMemoriesStart
from .update_session_request import UpdateSessionRequest as UpdateSessionRequest

__all__ = [
    "Access",
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
    "ErrorDetailLocation",
    "ForgetFilter",
    "ForgetResult",
    "Health",
    "ImportAgent",
    "ImportMemory",
    "ImportRequest",
    "ImportResult",
    "ImportSession",
    "ListOptions",
    "Memory",
    "MemoryBatch",
    "MemoryList",
    "MemoryTail",
    "MemoryType",
    "OnDuplicate",
    "Order",
    "RegisterAgentRequest",
    "SearchGroup",
    "SearchOrder",
    "SearchQuery",
    "SearchResult",
    "Session",
    "SessionContext",
    "SessionList",
    "SessionStatus",
    "TailMemoriesStart",
    "UpdateSessionRequest",
]
