"""What a context consists of: memories, those with equal contents under one heading as one entry."""

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
# A reply belongs to what it answers, and an action to its outcome. So what was said, and what is as short as
# a reply, is a repetition only where nothing else is in between; anything else also if it happens so often.
_SPOKEN = frozenset({"user", "assistant", "system", "human", "ai", "bot", "agent", "customer"})
_SHORT = 20  # characters
_OFTEN = 3

Path = tuple[str, str | None]
"""The headings that a memory stands under: a day or a section, and a session if sessions are told apart."""


class Document(msgspec.Struct):
    """What a context needs of a memory, decoded from its JSON."""

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
        place: Its time in ns and its row, which order it.
        local: Its time in the context's time zone.
        clock: That time in text, to the minute.
        document: The memory.
        is_decision: Whether something was decided.
        is_error: Whether something failed.
        reasoning: Why it was decided, if it is a decision.
        superseded_by: Id of the memory that supersedes it, if superseded memories were asked for.
    """

    place: tuple[int, int]
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
        path: The headings that it stands under.
        importance: The greatest importance of its memories, from 0 to 1.
        is_urged: Whether one of them was given an importance that makes it important.
    """

    events: list[Event]
    path: Path
    importance: float
    is_urged: bool

    @property
    def first(self) -> Event:
        """Return the first of its memories, at whose time it is shown."""
        return self.events[0]

    @property
    def last(self) -> Event:
        """Return the last of its memories, whose time tells how recent it is."""
        return self.events[-1]

    @property
    def is_important(self) -> bool:
        """Return whether it has a claim to the half that belongs to what is important."""
        return self.importance >= IMPORTANT


def read(found: Iterable[Found], zone: tzinfo) -> list[Event]:
    """Return memories in order of time."""
    ordered = sorted(found, key=lambda memory: (memory.time, memory.seq))
    return [_event(memory, zone) for memory in ordered]


def collapse(events: Sequence[Event], paths: Sequence[Path], *, with_fields: bool) -> list[Entry]:
    """Return the entries of memories, in order of their first one.

    Args:
        events: The memories, in order of time.
        paths: The headings that each stands under.
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
    """Return what memories have in common that are shown as one."""
    document = event.document
    kind = (path, document.agent_id, document.memory_type, document.event_type)
    fields = (tuple(document.tags), bytes(document.metadata)) if with_fields else ()
    return *kind, document.content, event.reasoning, event.superseded_by, fields


def _event(memory: Found, zone: tzinfo) -> Event:
    document = _read_document(memory.doc)
    is_decision = document.memory_type == "decision" or document.event_type == "decision"
    local = (_EPOCH + timedelta(seconds=memory.time // times.SECOND)).astimezone(zone)
    return Event(
        place=(memory.time, memory.seq),
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
