"""Contexts: the memories of an agent or a session as text for an LLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from memtrace_server.context import Options, compose
from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.agents import existing_agent
from memtrace_server.service.call import Call
from memtrace_server.service.searching import best_matches
from memtrace_server.service.sessions import existing_session
from memtrace_server.store.records import Filter, Found

# Limits of the memories that are considered, which the contract documents at `ContextOmissions`.
_NEWEST = 2_000
_NEWEST_IMPORTANT = 1_000
_BYTES = 16 << 20
_PAGE = 250  # memories that are read at once, of up to 128 KiB each
_MATCHES = 100


def get_agent_context(call: Call) -> Response:
    """Return the context of an agent."""
    agent = existing_agent(call, call.parameters["agent_id"])
    wanted = filters.from_context(call.body, call.now, agent_id=agent.id)
    return answer(200, {"agent_id": agent.id, **_context(call, wanted, sessions=True)})


def get_session_context(call: Call) -> Response:
    """Return the context of a session."""
    session = existing_session(call)
    only = call.principal.agent_id
    wanted = filters.from_context(call.body, call.now, agent_id=only, session_id=session.id)
    return answer(200, {"session_id": session.id, **_context(call, wanted, sessions=False)})


def _context(call: Call, wanted: Filter | None, *, sessions: bool) -> Mapping[str, Any]:
    options = Options(
        max_tokens=call.body["max_tokens"],
        timezone=call.body["timezone"],
        sections=call.body["layout"] == "sections",
        sessions=sessions,
        show=call.body.get("show", ()),
    )
    found, matches, older = ([], [], False) if wanted is None else _considered(call, wanted)
    memories = {memory.seq: memory for memory in (*found, *matches)}
    context = compose(memories.values(), options, matches=[match.seq for match in matches], older=older)
    view = {
        "context": context.text,
        "memory_count": len(context.memory_ids),
        "omitted_count": context.omitted,
        "token_count": context.token_count,
        "memory_ids": context.memory_ids,
        "omitted": {
            "over_budget": context.omitted,
            "important": context.omitted_important,
            "shortened": context.shortened,
            "older": older,
        },
    }
    return {**view, "entries": context.entries} if call.body["format"] == "json" else view


def _considered(call: Call, wanted: Filter) -> tuple[list[Found], list[Found], bool]:
    """Return the newest memories and the best matches, and whether there are older memories."""
    found, older = _newest(call, wanted, _NEWEST)
    if older:
        found += _newest(call, attrs.evolve(wanted, is_important=True), _NEWEST_IMPORTANT)[0]
    question = call.body.get("query")
    matches = [] if question is None else best_matches(call, wanted, question, limit=_MATCHES)
    return found, matches, older


def _newest(call: Call, wanted: Filter, max_count: int) -> tuple[list[Found], bool]:
    """Return the newest memories, up to a number and `_BYTES`, and whether there are more."""
    found: list[Found] = []
    size = 0
    while len(found) < max_count and size < _BYTES:
        after = (found[-1].time, found[-1].seq) if found else None
        limit = min(_PAGE, max_count - len(found))
        page = call.transaction.page(call.org, wanted, call.now, order="desc", limit=limit + 1, after=after)
        found += page[:limit]
        size += sum(len(memory.doc) for memory in page)
        if len(page) <= limit:
            return found, False
    return found, True
