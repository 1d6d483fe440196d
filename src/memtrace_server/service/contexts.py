"""What an agent or a session remembers, as markdown for an LLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from memtrace_server.context import render
from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.agents import existing_agent
from memtrace_server.service.call import Call
from memtrace_server.service.sessions import existing_session
from memtrace_server.store.records import Filter

# How many memories are looked at; the contract says so at `omitted_count`.
_NEWEST = 2_000
_NEWEST_IMPORTANT = 1_000
_IMPORTANT = 0.7


def get_agent_context(call: Call) -> Response:
    """The context of an agent."""
    agent = existing_agent(call, call.parameters["agent_id"])
    wanted = filters.from_context(call.body, call.now, agent_id=agent.id)
    return answer(200, {"agent_id": agent.id, **_context(call, wanted)})


def get_session_context(call: Call) -> Response:
    """The context of a session."""
    session = existing_session(call)
    wanted = filters.from_context(call.body, call.now, session_id=session.id)
    return answer(200, {"session_id": session.id, **_context(call, wanted)})


def _context(call: Call, wanted: Filter) -> Mapping[str, Any]:
    found = call.transaction.page(call.org, wanted, call.now, order="desc", limit=_NEWEST + 1)
    has_more = len(found) > _NEWEST
    if has_more:
        important = attrs.evolve(wanted, min_importance=_IMPORTANT)
        found = found[:_NEWEST] + call.transaction.page(
            call.org, important, call.now, order="desc", limit=_NEWEST_IMPORTANT
        )
    memories = [msgspec.json.decode(doc) for doc in {memory.seq: memory.doc for memory in found}.values()]
    context = render(memories, call.body["max_tokens"], more=has_more)
    return {
        "context": context.markdown,
        "memory_count": context.memory_count,
        "omitted_count": context.omitted_count,
        "token_count": context.token_count,
    }
