"""Forgetting many memories: find them first, then delete them in steps, between which others write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from memtrace_server.messages import Response, answer
from memtrace_server.service import filters
from memtrace_server.service.agents import existing_agent
from memtrace_server.service.call import Call, Step
from memtrace_server.service.sessions import existing_session
from memtrace_server.store.records import Filter


def forget_memories(call: Call) -> Response:
    """Forget by filter."""

    def finish(deleted: int) -> Response:
        _record(call, call.parameters.keys() - {"Idempotency-Key", "dry_run"}, deleted)
        return answer(200, {"deleted": deleted})

    return _forget(call, finish)


def forget_matching(call: Call) -> Response:
    """Forget by a filter of any kind, or only count the memories that match it."""
    if call.parameters["dry_run"]:
        return answer(200, {"deleted": 0, "matched": len(find(call))})

    def finish(deleted: int) -> Response:
        _record(call, call.body.keys(), deleted)
        return answer(200, {"deleted": deleted, "matched": deleted})

    return _forget(call, finish)


def delete_agent(call: Call) -> Response:
    """Delete an agent, and its memories if asked to."""

    def delete(deleted: int) -> Response:
        agent = existing_agent(call, call.parameters["agent_id"])
        if call.parameters["delete_memories"]:
            call.transaction.delete_sessions(call.org, agent.id, call.now)
            call.transaction.forget_answers(call.org, agent.id)
        call.transaction.delete_agent(call.org, agent.id)
        call.record("agent.deleted", agent.id, deleted=deleted)
        return Response(status=204)

    return _forget(call, delete)


def delete_session(call: Call) -> Response:
    """Delete a session, and its memories if asked to."""

    def delete(deleted: int) -> Response:
        session = existing_session(call)
        call.transaction.delete_session(call.org, session)
        call.record("session.deleted", session.id, deleted=deleted)
        return Response(status=204)

    return _forget(call, delete)


def find(call: Call) -> Sequence[int]:
    """Return the rows of the memories that a call asks to forget.

    Raises:
        Problem: 404.
    """
    wanted = FORGETTING[call.operation](call)
    return () if wanted is None else call.transaction.matching(call.org, wanted, call.now)


def _forget(call: Call, finish: Callable[[int], Response]) -> Response:
    step = call.step or Step(find(call))
    deleted = step.done + call.transaction.forget(call.org, step.own_rows)
    return finish(deleted) if step.is_last else Response(status=200, rest=step.next(deleted))


def _record(call: Call, filtered_by: Iterable[str], deleted: int) -> None:
    """Record how many memories were forgotten, and the names of the filters.

    The values of filters are left out, as they may reveal forgotten content.
    """
    call.record("memories.forgotten", filters=sorted(filtered_by), deleted=deleted)


def _by_parameters(call: Call) -> Filter:
    return attrs.evolve(filters.from_parameters(call.parameters, call.now), include_superseded=True)


def _by_agent(call: Call) -> Filter | None:
    agent = existing_agent(call, call.parameters["agent_id"])
    is_wanted = call.parameters["delete_memories"]
    return Filter(agent_id=agent.id, include_superseded=True) if is_wanted else None


def _by_session(call: Call) -> Filter | None:
    session = existing_session(call)
    is_wanted = call.parameters["delete_memories"]
    wanted = Filter(agent_id=call.principal.agent_id, session_id=session.id, include_superseded=True)
    return wanted if is_wanted else None


FORGETTING: Mapping[str, Callable[[Call], Filter | None]] = {
    "forgetMemories": _by_parameters,
    "forgetMatching": lambda call: filters.from_forget(call.body, call.now),
    "deleteAgent": _by_agent,
    "deleteSession": _by_session,
}
"""The filter of each operation that forgets memories by one; None if no memories are to be forgotten."""
