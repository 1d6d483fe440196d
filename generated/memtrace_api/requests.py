"""Request builders: one function for each operation of the contract.

Each returns the keyword arguments of `httpx.Client.request`: `method`, `url`, `headers`, and `params` and
`json` if the operation has them. A value that cannot be sent raises TypeError or ValueError, which names the
parameter.
"""

from __future__ import annotations

from typing import Any

from .models.add_memories_request import AddMemoriesRequest
from .models.add_memory_request import AddMemoryRequest
from .models.context_options import ContextOptions
from .models.create_session_request import CreateSessionRequest
from .models.forget_filter import ForgetFilter
from .models.import_request import ImportRequest
from .models.memory_type import MemoryType
from .models.order import Order
from .models.register_agent_request import RegisterAgentRequest
from .models.search_query import SearchQuery
from .models.session_status import SessionStatus
from .models.tail_memories_start import TailMemoriesStart
from .models.update_session_request import UpdateSessionRequest
from .types import path_segment, query

# The parameters that are points in time.
TIME_POINTS = frozenset(["as_of", "since", "until"])


def get_health() -> dict[str, Any]:
    """Ask whether the server is alive."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/health",
        "headers": {},
    }
    return kwargs


def get_ready() -> dict[str, Any]:
    """Ask whether the server is ready."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/ready",
        "headers": {},
    }
    return kwargs


def get_contract() -> dict[str, Any]:
    """Get this contract."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/openapi.json",
        "headers": {},
    }
    return kwargs


def get_home() -> dict[str, Any]:
    """Read this contract at the server's URL."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/",
        "headers": {},
    }
    return kwargs


def get_docs() -> dict[str, Any]:
    """Read this contract as a page."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/docs",
        "headers": {},
    }
    return kwargs


def get_page() -> dict[str, Any]:
    """Look at memories in a browser."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/ui",
        "headers": {},
    }
    return kwargs


def get_page_file(
    file: str,
) -> dict[str, Any]:
    """Get a script, a style sheet or an image of a page."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/ui/{file}".format(
            file=path_segment(file, "file"),
        ),
        "headers": {},
    }
    return kwargs


def get_metrics() -> dict[str, Any]:
    """Get metrics."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/metrics",
        "headers": {},
    }
    return kwargs


def list_memories(
    *,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> dict[str, Any]:
    """List memories in order of time."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/memories",
        "params": query(
            {
                "agent_id": agent_id,
                "session_id": session_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
                "as_of": as_of,
                "include_superseded": include_superseded,
                "order": order,
                "limit": limit,
                "cursor": cursor,
                "offset": offset,
            }
        ),
        "headers": {},
    }
    return kwargs


def add_memory(
    *,
    body: AddMemoryRequest | AddMemoriesRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Store one memory, or a batch."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/memories",
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def forget_memories(
    *,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Forget every memory that matches a filter."""
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/memories",
        "params": query(
            {
                "agent_id": agent_id,
                "session_id": session_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
            }
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def get_memory(
    memory_id: str,
) -> dict[str, Any]:
    """Get one memory."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/memories/{memory_id}".format(
            memory_id=path_segment(memory_id, "memory_id"),
        ),
        "headers": {},
    }
    return kwargs


def forget_memory(
    memory_id: str,
    *,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Forget one memory."""
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/memories/{memory_id}".format(
            memory_id=path_segment(memory_id, "memory_id"),
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def tail_memories(
    *,
    agent_id: str | None = None,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    start: TailMemoriesStart | None = None,
    wait: int | None = None,
) -> dict[str, Any]:
    """Follow memories in the order in which they are stored."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/tail",
        "params": query(
            {
                "agent_id": agent_id,
                "session_id": session_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
                "limit": limit,
                "cursor": cursor,
                "start": start,
                "wait": wait,
            }
        ),
        "headers": {},
    }
    return kwargs


def forget_matching(
    *,
    body: ForgetFilter,
    dry_run: bool | None = None,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Forget every memory that matches a filter of any kind."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/forget",
        "params": query(
            {
                "dry_run": dry_run,
            }
        ),
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def vacuum_store() -> dict[str, Any]:
    """Remove the last traces of forgotten memories."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/vacuum",
        "headers": {},
    }
    return kwargs


def import_records(
    *,
    body: ImportRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Import exported records."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/import",
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def search_memories(
    *,
    body: SearchQuery,
) -> dict[str, Any]:
    """Search memories."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/search",
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    return kwargs


def list_agents(
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> dict[str, Any]:
    """List agents."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents",
        "params": query(
            {
                "limit": limit,
                "cursor": cursor,
            }
        ),
        "headers": {},
    }
    return kwargs


def register_agent(
    *,
    body: RegisterAgentRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Register an agent."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/agents",
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def get_agent(
    agent_id: str,
) -> dict[str, Any]:
    """Get an agent."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents/{agent_id}".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "headers": {},
    }
    return kwargs


def delete_agent(
    agent_id: str,
    *,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Delete an agent."""
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/agents/{agent_id}".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "params": query(
            {
                "delete_memories": delete_memories,
            }
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def list_agent_memories(
    agent_id: str,
    *,
    session_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> dict[str, Any]:
    """List an agent's memories."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents/{agent_id}/memories".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "params": query(
            {
                "session_id": session_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
                "as_of": as_of,
                "include_superseded": include_superseded,
                "order": order,
                "limit": limit,
                "cursor": cursor,
                "offset": offset,
            }
        ),
        "headers": {},
    }
    return kwargs


def get_agent_stats(
    agent_id: str,
) -> dict[str, Any]:
    """Count an agent's memories."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/agents/{agent_id}/stats".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "headers": {},
    }
    return kwargs


def get_agent_context(
    agent_id: str,
    *,
    body: ContextOptions | None = None,
) -> dict[str, Any]:
    """Get an agent's memories as markdown for an LLM."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/agents/{agent_id}/context".format(
            agent_id=path_segment(agent_id, "agent_id"),
        ),
        "headers": {},
    }
    if body is not None:
        kwargs["json"] = body.to_dict()
        kwargs["headers"]["Content-Type"] = "application/json"
    return kwargs


def list_sessions(
    *,
    agent_id: str | None = None,
    status: SessionStatus | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> dict[str, Any]:
    """List sessions."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/sessions",
        "params": query(
            {
                "agent_id": agent_id,
                "status": status,
                "limit": limit,
                "cursor": cursor,
            }
        ),
        "headers": {},
    }
    return kwargs


def create_session(
    *,
    body: CreateSessionRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Start a session."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/sessions",
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def get_session(
    session_id: str,
) -> dict[str, Any]:
    """Get a session."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/sessions/{session_id}".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "headers": {},
    }
    return kwargs


def update_session(
    session_id: str,
    *,
    body: UpdateSessionRequest,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Close or reopen a session, or change its metadata."""
    kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/api/v1/sessions/{session_id}".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "headers": {},
    }

    kwargs["json"] = body.to_dict()
    kwargs["headers"]["Content-Type"] = "application/json"
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def delete_session(
    session_id: str,
    *,
    delete_memories: bool | None = None,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Delete a session."""
    kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/api/v1/sessions/{session_id}".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "params": query(
            {
                "delete_memories": delete_memories,
            }
        ),
        "headers": {},
    }
    if idempotency_key is not None:
        kwargs["headers"]["Idempotency-Key"] = idempotency_key
    return kwargs


def list_session_memories(
    session_id: str,
    *,
    agent_id: str | None = None,
    memory_type: MemoryType | None = None,
    event_type: str | None = None,
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    as_of: str | None = None,
    include_superseded: bool | None = None,
    order: Order | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    offset: int | None = None,
) -> dict[str, Any]:
    """List a session's memories."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/sessions/{session_id}/memories".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "params": query(
            {
                "agent_id": agent_id,
                "memory_type": memory_type,
                "event_type": event_type,
                "tags": tags,
                "since": since,
                "until": until,
                "as_of": as_of,
                "include_superseded": include_superseded,
                "order": order,
                "limit": limit,
                "cursor": cursor,
                "offset": offset,
            }
        ),
        "headers": {},
    }
    return kwargs


def get_session_context(
    session_id: str,
    *,
    body: ContextOptions | None = None,
) -> dict[str, Any]:
    """Get a session's memories as markdown for an LLM."""
    kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/sessions/{session_id}/context".format(
            session_id=path_segment(session_id, "session_id"),
        ),
        "headers": {},
    }
    if body is not None:
        kwargs["json"] = body.to_dict()
        kwargs["headers"]["Content-Type"] = "application/json"
    return kwargs


def get_access() -> dict[str, Any]:
    """Ask what a key may do."""
    kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/access",
        "headers": {},
    }
    return kwargs
