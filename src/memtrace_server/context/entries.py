"""Entries of a context. Memories with equal contents under one heading share an entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec
from attrs import define, frozen

from memtrace_server import times
from memtrace_server.store.records import IMPORTANT, IMPORTANT_EVENTS, IMPORTANT_TYPES, Found

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A reply belongs to the message before it, and an action to its outcome. So messages, and texts as short as a
# reply, are merged only if nothing is in between. Other memories are also merged from `_OFTEN` repetitions
# on.
_SPOKEN = frozenset({"user", "assistant", "system", "human", "ai", "bot", "agent", "customer"})
_SHORT = 20  # characters
_OFTEN = 3

Path = tuple[str, str | None]
"""The headings of a memory: a day or a section, and a session if sessions have headings."""


class Document(msgspec.Struct):
    """The fields of a memory that a context needs, decoded from its JSON."""

    id: str
    agent_id: str
    memory_type: str
    event_type: str
    content: str
    session_id: str | None = None
    importance: float | None = None
    tags: list[str] = []
    metadata: msgspec.Raw = msgspec.Raw(b"null")


_read_document = msgspec.json.Decoder(Document).decode


@frozen(kw_only=True, eq=False)
class Event:
    """One memory.

    Attributes:
        position: The memory's time in ns and its row, by which events are sorted.
        local: The memory's time in the context's time zone.
        clock: The local time as text, to the minute.
        document: The memory's fields.
        is_decision: Whether the memory is a decision.
        is_error: Whether the memory is an error.
        reasoning: The reason of a decision.
        superseded_by: Id of the memory that supersedes this one, if superseded memories were requested.
    """

    position: tuple[int, int]
    local: datetime
    clock: str
    document: Document
    is_decision: bool
    is_error: bool
    reasoning: str | None
    superseded_by: str | None

    def metadata(self) -> dict[str, Any]:
        """Return the metadata, without the reasoning of a decision."""
        known: dict[str, Any] = msgspec.json.decode(self.document.metadata) or {}
        return {name: value for name, value in known.items() if not (self.reasoning and name == "reasoning")}


@define(eq=False)
class Entry:
    """Memories that a context shows as one.

    Attributes:
        events: The memories, in order of time; their texts are equal.
        path: The headings of the entry.
        importance: The greatest importance of the memories, from 0 to 1.
        is_urged: Whether a memory is important by its own `importance`, not only by its kind.
    """

    events: list[Event]
    path: Path
    importance: float
    is_urged: bool

    @property
    def first(self) -> Event:
        """Return the first memory, whose time the context shows."""
        return self.events[0]

    @property
    def last(self) -> Event:
        """Return the last memory, whose time decides how recent the entry is."""
        return self.events[-1]

    @property
    def said(self) -> Hashable:
        """Return what the memories say, which entries at other times may say as well."""
        return _said(self.first)

    @property
    def is_important(self) -> bool:
        """Return whether the entry is chosen from the half of the budget for important memories."""
        return self.importance >= IMPORTANT


def read(found: Iterable[Found], zone: tzinfo) -> list[Event]:
    """Return memories in order of time."""
    ordered = sorted(found, key=lambda memory: (memory.time, memory.seq))
    return [_event(memory, zone) for memory in ordered]


def collapse(events: Sequence[Event], paths: Sequence[Path], *, with_fields: bool) -> list[Entry]:
    """Return the entries of memories, in order of their first memory.

    Args:
        events: The memories, in order of time.
        paths: The headings of each memory.
        with_fields: Whether tags and metadata must be equal too.
    """
    keys = [_key(event, path, with_fields=with_fields) for event, path in zip(events, paths, strict=True)]
    numbers = Counter(keys)
    entries: list[Entry] = []
    known: dict[Hashable, Entry] = {}
    previous: Entry | None = None
    for event, path, key in zip(events, paths, keys, strict=True):
        entry = known.get(key)
        is_often = numbers[key] >= _OFTEN and not _is_reply(event.document)
        if entry is None or not (entry is previous or is_often):
            entry = known[key] = Entry([], path, importance=0.0, is_urged=False)
            entries.append(entry)
        entry.events.append(event)
        entry.importance = max(entry.importance, _importance(event))
        entry.is_urged |= (event.document.importance or 0.0) >= IMPORTANT
        previous = entry
    return entries


def _key(event: Event, path: Path, *, with_fields: bool) -> Hashable:
    """Return the key that memories of one entry share."""
    document = event.document
    fields = (tuple(document.tags), bytes(document.metadata)) if with_fields else ()
    return path, _said(event), event.superseded_by, fields


def _said(event: Event) -> Hashable:
    document = event.document
    kind = (document.agent_id, document.memory_type, document.event_type)
    return *kind, document.content, event.reasoning


def _event(memory: Found, zone: tzinfo) -> Event:
    document = _read_document(memory.doc)
    is_decision = document.memory_type == "decision" or document.event_type == "decision"
    local = (_EPOCH + timedelta(seconds=memory.time // times.SECOND)).astimezone(zone)
    return Event(
        position=(memory.time, memory.seq),
        local=local,
        clock=local.isoformat(" ", "minutes")[:16],
        document=document,
        is_decision=is_decision,
        is_error=document.event_type == "error",
        reasoning=_reasoning(document) if is_decision else None,
        superseded_by=memory.superseded_by,
    )


def _reasoning(document: Document) -> str | None:
    known = (msgspec.json.decode(document.metadata) or {}).get("reasoning")
    text = known if isinstance(known, str) or known is None else msgspec.json.encode(known).decode()
    return text if text and text.strip() else None


def _importance(event: Event) -> float:
    document = event.document
    if document.importance is not None:
        return document.importance
    is_kind = document.memory_type in IMPORTANT_TYPES or document.event_type in IMPORTANT_EVENTS
    return IMPORTANT if is_kind else 0.0


def _is_reply(document: Document) -> bool:
    return len(document.content) < _SHORT or document.event_type.casefold() in _SPOKEN
