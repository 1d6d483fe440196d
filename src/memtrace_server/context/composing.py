"""Composition of a context from memories and options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from attrs import frozen

from memtrace_server import times
from memtrace_server.context import tokens
from memtrace_server.context.entries import Entry, collapse, read
from memtrace_server.context.layouts import Layout
from memtrace_server.context.selection import Choice, lead_cost, select
from memtrace_server.store.records import Found

_NOTHING = "No memories.\n"


@frozen(kw_only=True)
class Options:
    """Options of a context.

    Attributes:
        max_tokens: The maximum number of tokens of the text.
        timezone: The IANA name of the time zone of days and times.
        sections: Whether memories are grouped by kind, not by day.
        sessions: Whether each session has a heading.
        show: Fields to show besides the content: `tags`, `metadata`.
    """

    max_tokens: int
    timezone: str = "UTC"
    sections: bool = False
    sessions: bool = False
    show: Sequence[str] = ()


@frozen(kw_only=True)
class Context:
    """A context.

    Attributes:
        text: The text in markdown; empty if the budget is too small even for the first and last line.
        token_count: An upper bound of the text's tokens.
        memory_ids: The ids of the memories in the text, in the same order.
        omitted: The number of memories that did not fit.
        omitted_important: How many of the omitted memories count as important.
        shortened: The number of memories of which the text has only a part.
        entries: The content of the text, as the contract's `ContextEntry`.
    """

    text: str
    token_count: int
    memory_ids: Sequence[str]
    omitted: int
    omitted_important: int
    shortened: int
    entries: Sequence[dict[str, Any]]


def compose(
    found: Iterable[Found], options: Options, *, matches: Iterable[int] = (), older: bool = False
) -> Context:
    """Compose the context of memories.

    Args:
        found: The memories, in any order, each once.
        options: The options.
        matches: The rows of the memories that match a question, the best first.
        older: Whether there are memories older than `found`.
    """
    events = read(found, ZoneInfo(options.timezone))
    layout = Layout(
        events,
        zone=options.timezone,
        sections=options.sections,
        sessions=options.sessions,
        show=options.show,
    )
    entries = collapse(events, [layout.path(event) for event in events], with_fields=bool(options.show))
    entries.sort(key=layout.order)
    entry_of = {event.position[1]: entry for entry in entries for event in entry.events}
    best = list(dict.fromkeys(entry_of[row] for row in matches if row in entry_of))

    fixed = tokens.EDGES + tokens.added(layout.first_line) + _cost(layout.last_line(0, 0, older=older))
    most = len(events)
    reserve = _cost(layout.last_line(most, most, older=older)) - _cost(layout.last_line(0, 0, older=older))
    chosen = select(entries, best, layout, options.max_tokens - fixed, reserve)
    kept = {choice.entry for choice in chosen}
    omitted = [entry for entry in entries if entry not in kept]
    text, cost = _written(chosen, omitted, layout, older=older)
    if cost > options.max_tokens:  # not even the first and last line fit
        text, cost = "", 0
    return Context(
        text=text,
        token_count=cost,
        memory_ids=[event.document.id for choice in chosen for event in choice.entry.events],
        omitted=_count(omitted),
        omitted_important=_count(entry for entry in omitted if entry.is_important),
        shortened=_count(choice.entry for choice in chosen if layout.missing(choice.entry, choice.length)),
        entries=[_as_data(choice, layout, options) for choice in chosen],
    )


def _written(
    chosen: Sequence[Choice], omitted: Sequence[Entry], layout: Layout, *, older: bool
) -> tuple[str, int]:
    """Return the text of a context, and an upper bound of its tokens."""
    if not (chosen or omitted):
        return _NOTHING, tokens.upper_bound(_NOTHING)
    important = _count(entry for entry in omitted if entry.is_important)
    parts = [layout.first_line]
    cost = tokens.EDGES + _cost(layout.first_line)
    before: Entry | None = None
    for choice in chosen:
        headings, stamp = layout.headings(before, choice.entry), layout.stamp(before, choice.entry)
        parts += [headings, stamp, choice.text]
        cost += lead_cost(headings, stamp) + choice.cost
        before = choice.entry
    last_line = layout.last_line(_count(omitted), important, older=older)
    return "".join([*parts, last_line]), cost + _cost(last_line)


def _cost(lines: str) -> int:
    return tokens.added(lines) if lines else 0


def _count(entries: Iterable[Entry]) -> int:
    """Return the number of memories that entries stand for."""
    return sum(len(entry.events) for entry in entries)


def _as_data(choice: Choice, layout: Layout, options: Options) -> dict[str, Any]:
    """Return an entry as the contract's `ContextEntry`."""
    entry, event, document = choice.entry, choice.entry.first, choice.entry.first.document
    content, reasoning = layout.beginnings(entry, choice.length)
    data: dict[str, Any] = {
        "time": times.render(event.position[0]),
        "last_time": times.render(entry.last.position[0]) if len(entry.events) > 1 else None,
        "agent_id": document.agent_id,
        "session_id": document.session_id,
        "memory_type": document.memory_type,
        "event_type": document.event_type,
        "content": content,
        "reasoning": reasoning,
        "more_characters": layout.missing(entry, choice.length) or None,
        "superseded_by": event.superseded_by,
        "importance": document.importance,
        "tags": document.tags if "tags" in options.show else None,
        "metadata": event.metadata() if "metadata" in options.show else None,
        "count": len(entry.events),
        "memory_ids": [event.document.id for event in entry.events],
    }
    return {name: value for name, value in data.items() if value is not None}
