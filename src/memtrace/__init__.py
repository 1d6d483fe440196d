"""Memory for AI agents, readable by any LLM."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "1.0.0"

if TYPE_CHECKING:
    from memtrace_api.models import *  # noqa: F403  # `__all__` says which of them are public

    from memtrace._async.buffer import AsyncWriteBuffer
    from memtrace._async.client import AsyncMemtrace
    from memtrace._async.session import AsyncSessionHandle
    from memtrace._response import Answered
    from memtrace._sync.buffer import WriteBuffer
    from memtrace._sync.client import Memtrace
    from memtrace._sync.session import SessionHandle
    from memtrace.exceptions import *  # noqa: F403  # the same
    from memtrace.models import ImportReport, RejectedRecord, StoredMemories, TimePoint
else:
    # The modules of names that are neither errors nor models.
    _HOMES = {
        "Answered": "memtrace._response",
        "AsyncMemtrace": "memtrace._async.client",
        "AsyncSessionHandle": "memtrace._async.session",
        "AsyncWriteBuffer": "memtrace._async.buffer",
        "Memtrace": "memtrace._sync.client",
        "SessionHandle": "memtrace._sync.session",
        "WriteBuffer": "memtrace._sync.buffer",
    }

    def __getattr__(name: str) -> object:
        """Import a name when it is first used.

        pytest imports this package wherever it is installed, because of its plugin, and most test runs need
        neither a client nor httpx.
        """
        if name in {"exceptions", "models"}:
            return import_module(f"memtrace.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        is_error = name.endswith("Error")
        home = _HOMES.get(name) or ("memtrace.exceptions" if is_error else "memtrace.models")
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "exceptions", "models"})


__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "Access",
    "AddMemoryRequest",
    "Agent",
    "AgentContext",
    "AgentList",
    "AgentStats",
    "Answered",
    "AsyncMemtrace",
    "AsyncSessionHandle",
    "AsyncWriteBuffer",
    "AuthenticationError",
    "BadRequestError",
    "BufferedWriteError",
    "ConflictError",
    "ContextEntry",
    "ContextField",
    "ContextFormat",
    "ContextLayout",
    "ContextOmissions",
    "ContextOptions",
    "CreateSessionRequest",
    "ErrorDetail",
    "ForgetFilter",
    "Health",
    "ImportReport",
    "ListOptions",
    "Memory",
    "MemoryList",
    "MemoryTail",
    "MemoryType",
    "Memtrace",
    "MemtraceError",
    "NoArcInstanceError",
    "NotFoundError",
    "Order",
    "PermissionDeniedError",
    "RateLimitError",
    "RegisterAgentRequest",
    "RejectedRecord",
    "ResponseValidationError",
    "SearchOrder",
    "SearchQuery",
    "SearchResult",
    "ServerError",
    "Session",
    "SessionContext",
    "SessionHandle",
    "SessionList",
    "SessionStatus",
    "StoredMemories",
    "TimePoint",
    "UpdateSessionRequest",
    "WriteBuffer",
    "__version__",
]
