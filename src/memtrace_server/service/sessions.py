"""Sessions: limited parts of an agent's work."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from memtrace_server import ids, problems, times
from memtrace_server.contract import Contract
from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import fitting_views, memory_page, what_follows
from memtrace_server.store.records import Session


def create_session(call: Call) -> Response:
    """Start a session."""
    session = Session(
        id=ids.new_id("sess_", call.now),
        agent_id=call.body["agent_id"],
        metadata=_json(call.body.get("metadata")),
        created_at=call.now,
        updated_at=call.now,
        closed_at=None,
    )
    call.transaction.add_session(call.org, session)
    location = {"Location": f"/api/v1/sessions/{session.id}"}
    return answer(201, _view(call, session), location, agent_id=session.agent_id)


def list_sessions(call: Call) -> Response:
    """Return a page of sessions."""
    limit: int = call.parameters["limit"]
    status = call.parameters.get("status")
    found = call.transaction.sessions(
        call.org,
        agent_id=call.parameters.get("agent_id"),
        is_active=None if status is None else status == "active",
        after=call.position(tuple[int, str]),
        limit=limit + 1,
    )
    views = fitting_views(_view(call, session) for session in found[:limit])
    page = found[: len(views)]
    rest = what_follows(call, len(found) > len(page), [(session.created_at, session.id) for session in page])
    return answer(200, {"sessions": views, "count": len(page), **rest})


def get_session(call: Call) -> Response:
    """Return one session."""
    return answer(200, _view(call, existing_session(call)))


def update_session(call: Call) -> Response:
    """Close or reopen a session, and merge metadata into the session's."""
    session = existing_session(call)
    status = call.body.get("status", _status(session))
    metadata = session.metadata
    if "metadata" in call.body:
        known = msgspec.json.decode(metadata) if metadata is not None else {}
        merged = _merged(known, call.body["metadata"])
        wrong = Contract.load().check("JsonObject", merged, "metadata")
        if wrong:
            raise problems.invalid(
                [attrs.evolve(d, message=f"merged with the stored metadata, {d.message}") for d in wrong]
            )
        metadata = _json(merged)
    closed_at = None if status == "active" else session.closed_at or call.now
    changed = attrs.evolve(session, metadata=metadata, closed_at=closed_at)
    if changed != session:
        changed = attrs.evolve(changed, updated_at=call.now)
        call.transaction.update_session(call.org, changed)
    return answer(200, _view(call, changed), agent_id=session.agent_id)


def list_session_memories(call: Call) -> Response:
    """Return a page of a session's memories."""
    existing_session(call)
    return memory_page(call, filters.from_parameters(call.parameters, call.now))


def existing_session(call: Call) -> Session:
    """Return the session that the path names.

    Raises:
        Problem: 404.
    """
    session_id = call.parameters["session_id"]
    session = call.transaction.session(call.org, session_id)
    only = call.principal.agent_id
    if session is None or (only is not None and session.agent_id != only):
        raise problems.not_found(f"session {session_id}")
    return session


def _merged(known: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value with a merge patch applied (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(known) if isinstance(known, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _status(session: Session) -> str:
    return "active" if session.closed_at is None else "closed"


def _view(call: Call, session: Session) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": session.id,
        "org_id": call.principal.org_id,
        "agent_id": session.agent_id,
        "status": _status(session),
    }
    if session.metadata is not None:
        view["metadata"] = msgspec.Raw(session.metadata.encode())
    view["created_at"] = times.render(session.created_at)
    view["updated_at"] = times.render(session.updated_at)
    if session.closed_at is not None:
        view["closed_at"] = times.render(session.closed_at)
    return view
