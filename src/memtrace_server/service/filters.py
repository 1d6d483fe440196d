"""Conversion of a request's filters to a store's filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memtrace_server import times
from memtrace_server.search.query import parse
from memtrace_server.store.records import Filter


def from_parameters(parameters: Mapping[str, Any], now: int) -> Filter:
    """Return the filter that query and path parameters ask for."""
    return Filter(
        agent_id=parameters.get("agent_id"),
        session_id=parameters.get("session_id"),
        memory_types=_one(parameters.get("memory_type")),
        event_types=_one(parameters.get("event_type")),
        tags=parameters.get("tags", ()),
        since=_point(parameters.get("since"), now),
        until=_point(parameters.get("until"), now),
        as_of=_point(parameters.get("as_of"), now),
        include_superseded=parameters.get("include_superseded", False),
    )


def from_forget(body: Mapping[str, Any], now: int) -> Filter | None:
    """Return the filter that a `ForgetFilter` asks for, or None if no memory can match it.

    Superseded memories match too.
    """
    memory_types = _either(body.get("memory_type"), body.get("memory_types"))
    event_types = _either(body.get("event_type"), body.get("event_types"))
    if memory_types is None or event_types is None:
        return None
    return Filter(
        agent_id=body.get("agent_id"),
        session_id=body.get("session_id"),
        memory_types=memory_types,
        event_types=event_types,
        tags=body.get("tags", ()),
        since=_point(body.get("since"), now),
        until=_point(body.get("until"), now),
        min_importance=body.get("min_importance"),
        metadata=body.get("metadata"),
        include_superseded=True,
    )


def from_search(query: Mapping[str, Any], now: int) -> Filter:
    """Return the filter that a `SearchQuery` asks for."""
    question = parse(query.get("query") or "")
    return Filter(
        agent_id=query.get("agent_id"),
        session_id=query.get("session_id"),
        memory_types=query.get("memory_types", ()),
        event_types=query.get("event_types", ()),
        tags=query.get("tags", ()),
        since=_point(query.get("since"), now),
        until=_point(query.get("until"), now),
        min_importance=query.get("min_importance"),
        metadata=query.get("metadata"),
        contains=query.get("content_contains"),
        words=None if question is None else question.words,
        as_of=_point(query.get("as_of"), now),
        include_superseded=query["include_superseded"],
    )


def from_context(
    options: Mapping[str, Any], now: int, *, agent_id: str | None = None, session_id: str | None = None
) -> Filter | None:
    """Return the filter that `ContextOptions` ask for, or None if no memory can match it.

    Args:
        options: The options.
        now: The moment (ns) that durations are counted from.
        agent_id: The only agent whose memories may match.
        session_id: The only session whose memories may match.
    """
    asked_agent, asked_session = options.get("agent_id"), options.get("session_id")
    if _differ(agent_id, asked_agent) or _differ(session_id, asked_session):
        return None
    return Filter(
        agent_id=agent_id or asked_agent,
        session_id=session_id or asked_session,
        memory_types=options.get("include_types", ()),
        event_types=options.get("event_types", ()),
        tags=options.get("tags", ()),
        metadata=options.get("metadata"),
        since=_point(options.get("since"), now),
        until=_point(options.get("until"), now),
        as_of=_point(options.get("as_of"), now),
        include_superseded=options["include_superseded"],
    )


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _either(one: str | None, several: Sequence[str] | None) -> Sequence[str] | None:
    """Return the values that a memory may have, () for any; None if the two conditions share no value."""
    if one is None or several is None:
        return several or _one(one)
    return _one(one) if one in several else None


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _point(text: str | None, now: int) -> int | None:
    return None if text is None else times.parse_point(text, now)
