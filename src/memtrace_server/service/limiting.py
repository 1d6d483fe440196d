"""Limits of a key beyond its role: to its agent, and to its organisation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from memtrace_server import problems
from memtrace_server.auth import Principal
from memtrace_server.contract import Arguments, Operation
from memtrace_server.tenants import DEFAULT_ORG

_OF_MANY_AGENTS = frozenset({"importRecords", "vacuumStore"})
_OF_ALL_ORGANISATIONS = frozenset({"vacuumStore"})
_AGENT = "agent_id"
_NAMED_DIFFERENTLY = {"registerAgent": "name"}  # the field of a body that has the agent's id


def refused(principal: Principal) -> frozenset[str]:
    """Return the operations that a key may not call, whatever its role."""
    of_many = _OF_MANY_AGENTS if principal.agent_id is not None else frozenset[str]()
    of_all = _OF_ALL_ORGANISATIONS if principal.org_id != DEFAULT_ORG else frozenset[str]()
    return of_many | of_all


def limited(operation: Operation, arguments: Arguments, agent_id: str) -> Arguments:
    """Return arguments that ask for one agent's memories only.

    Arguments that could name an agent and do not are changed to name this one. Operations on one memory or
    session are not checked here: the service checks them when it has found the memory or session.

    Raises:
        Problem: 403. The arguments ask for another agent, or for all agents.
    """
    if operation.id in _OF_MANY_AGENTS:
        raise problems.forbidden(f"This key is limited to the agent {agent_id}")
    parameters = _own(arguments.parameters, operation.parameter_names, agent_id)
    if not isinstance(arguments.body, dict):
        return Arguments(parameters, arguments.body)
    for memory in arguments.body.get("memories", ()):
        _check(memory[_AGENT], agent_id)
    name = _NAMED_DIFFERENTLY.get(operation.id)
    if name is not None:
        _check(arguments.body[name], agent_id)
    body = (
        arguments.body
        if "memories" in arguments.body
        else _own(arguments.body, operation.body_names, agent_id)
    )
    return msgspec.structs.replace(arguments, parameters=parameters, body=body)


def _own(values: Mapping[str, Any], names: Collection[str], agent_id: str) -> Mapping[str, Any]:
    if _AGENT not in names:
        return values
    _check(values.get(_AGENT, agent_id), agent_id)
    return {**values, _AGENT: agent_id}


def _check(given: str, agent_id: str) -> None:
    if given != agent_id:
        raise problems.forbidden(f"This key is limited to the agent {agent_id}")
