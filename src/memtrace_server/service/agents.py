"""Agents: registered ones, and those that only wrote memories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from memtrace_server import problems, times
from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import fitting_views, memory_page, what_follows
from memtrace_server.store.records import Agent


def register_agent(call: Call) -> Response:
    """Register an agent under its name, which is its id."""
    name = call.body["name"]
    config = msgspec.json.encode(call.body["config"]).decode() if "config" in call.body else None
    description = call.body.get("description")
    if not call.transaction.register_agent(call.org, name, description, config, call.now):
        raise problems.conflict("agent_exists", f"An agent {name} is registered already", existing_id=name)
    location = {"Location": f"/api/v1/agents/{quote(name, safe='')}"}
    return answer(201, _view(call, existing_agent(call, name)), location, agent_id=name)


def list_agents(call: Call) -> Response:
    """Return a page of agents."""
    limit = call.parameters["limit"]
    found: Sequence[Agent]
    if call.principal.agent_id is None:
        found = call.transaction.agents(call.org, call.position(str), limit + 1)
    else:  # the key is limited to one agent
        only = call.transaction.agent(call.org, call.principal.agent_id)
        found = [] if only is None else [only]
    views = fitting_views(_view(call, agent) for agent in found[:limit])
    page = found[: len(views)]
    rest = what_follows(call, len(found) > len(page), [agent.id for agent in page])
    return answer(200, {"agents": views, "count": len(page), **rest})


def get_agent(call: Call) -> Response:
    """Return one agent."""
    return answer(200, _view(call, existing_agent(call, call.parameters["agent_id"])))


def get_agent_stats(call: Call) -> Response:
    """Return counts of an agent's memories and sessions."""
    agent = existing_agent(call, call.parameters["agent_id"])
    counts = call.transaction.count_agent(call.org, agent.id, call.now - times.DAY, call.now)
    view: dict[str, Any] = {
        "agent_id": agent.id,
        "memory_count": sum(counts.memory_types.values()),
        "memories_24h": counts.recent,
        "errors_24h": counts.recent_errors,
        "session_count": counts.sessions,
        "active_sessions": counts.active_sessions,
        "memory_types": counts.memory_types,
    }
    if agent.last_active_at is not None:
        view["last_active_at"] = times.render(agent.last_active_at)
    return answer(200, view)


def list_agent_memories(call: Call) -> Response:
    """Return a page of an agent's memories."""
    existing_agent(call, call.parameters["agent_id"])
    return memory_page(call, filters.from_parameters(call.parameters, call.now))


def existing_agent(call: Call, agent_id: str) -> Agent:
    """Return the agent with an id.

    Raises:
        Problem: 404.
    """
    agent = call.transaction.agent(call.org, agent_id)
    if agent is None:
        raise problems.not_found(f"agent {agent_id}")
    return agent


def _view(call: Call, agent: Agent) -> dict[str, Any]:
    view: dict[str, Any] = {"id": agent.id, "org_id": call.principal.org_id, "name": agent.id}
    if agent.description is not None:
        view["description"] = agent.description
    if agent.config is not None:
        view["config"] = msgspec.Raw(agent.config.encode())
    view["is_registered"] = agent.is_registered
    view["created_at"] = times.render(agent.created_at)
    if agent.last_active_at is not None:
        view["last_active_at"] = times.render(agent.last_active_at)
    return view
