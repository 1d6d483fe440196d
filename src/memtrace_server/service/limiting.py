"""What a key that is limited to one agent can ask for: nothing about any other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from memtrace_server import problems
from memtrace_server.contract import Arguments, Operation

REFUSED = frozenset({"importRecords", "vacuumStore"})
"""Operations that are about many agents."""

_AGENT = "agent_id"
_NAMED_DIFFERENTLY = {"registerAgent": "name"}  # the field of a body that is the agent's id


def limited(operation: Operation, arguments: Arguments, agent_id: str) -> Arguments:
    """Return arguments that ask for one agent's memories only.

    What names no agent but may is made to name this one. Operations on one memory or one session are
    checked once it is found, by the service.

    Raises:
        Problem: 403; they ask for another agent, or for all of them.
    """
    if operation.id in REFUSED:
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
