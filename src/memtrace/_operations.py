"""The low-level client's requests, by operation: each gives method, URL, parameters, body and headers.

An operation is imported when it is used for the first time, as a program uses a few of them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memtrace_api.api.agents.delete_agent import _get_kwargs as delete_agent
    from memtrace_api.api.agents.get_agent import _get_kwargs as get_agent
    from memtrace_api.api.agents.get_agent_context import _get_kwargs as get_agent_context
    from memtrace_api.api.agents.get_agent_stats import _get_kwargs as get_agent_stats
    from memtrace_api.api.agents.list_agent_memories import _get_kwargs as list_agent_memories
    from memtrace_api.api.agents.list_agents import _get_kwargs as list_agents
    from memtrace_api.api.agents.register_agent import _get_kwargs as register_agent
    from memtrace_api.api.health.get_health import _get_kwargs as get_health
    from memtrace_api.api.health.get_ready import _get_kwargs as get_ready
    from memtrace_api.api.memories.add_memory import _get_kwargs as add_memory
    from memtrace_api.api.memories.forget_memories import _get_kwargs as forget_memories
    from memtrace_api.api.memories.forget_memory import _get_kwargs as forget_memory
    from memtrace_api.api.memories.get_memory import _get_kwargs as get_memory
    from memtrace_api.api.memories.list_memories import _get_kwargs as list_memories
    from memtrace_api.api.memories.search_memories import _get_kwargs as search_memories
    from memtrace_api.api.sessions.create_session import _get_kwargs as create_session
    from memtrace_api.api.sessions.get_session import _get_kwargs as get_session
    from memtrace_api.api.sessions.get_session_context import _get_kwargs as get_session_context
    from memtrace_api.api.sessions.list_session_memories import _get_kwargs as list_session_memories
    from memtrace_api.api.sessions.list_sessions import _get_kwargs as list_sessions
    from memtrace_api.api.sessions.update_session import _get_kwargs as update_session

__all__ = [
    "add_memory",
    "create_session",
    "delete_agent",
    "forget_memories",
    "forget_memory",
    "get_agent",
    "get_agent_context",
    "get_agent_stats",
    "get_health",
    "get_memory",
    "get_ready",
    "get_session",
    "get_session_context",
    "list_agent_memories",
    "list_agents",
    "list_memories",
    "list_session_memories",
    "list_sessions",
    "register_agent",
    "search_memories",
    "update_session",
]

_TAGS = ("agents", "health", "memories", "sessions")


def __getattr__(name: str) -> object:
    for tag in _TAGS if name in __all__ else ():
        module = f"memtrace_api.api.{tag}.{name}"
        if find_spec(module) is not None:
            operation: object = import_module(module)._get_kwargs  # noqa: SLF001  # what endpoints are made of
            # The next time, it is found without asking here.
            globals()[name] = operation
            return operation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
