"""What a search reads of a memory's document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

_USUAL_EVENT = "general"
_SCORED = 12_000  # characters: 2,000 words


class Document(msgspec.Struct, frozen=True):
    """A memory, as far as it is searched."""

    agent_id: str
    content: str
    event_type: str = _USUAL_EVENT
    session_id: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = {}

    @classmethod
    def read(cls, doc: str | bytes) -> Document:
        """Read the document that a store keeps."""
        return _DECODER.decode(doc)

    @property
    def text(self) -> str:
        """All of its words: the content, what it is labelled with, and the strings in its metadata.

        Who spoke often stands in the metadata or in the event type.
        """
        return "\n".join(filter(None, (self.content, self.labels)))

    @property
    def labels(self) -> str:
        """All of its words beside the content; none if it has no others."""
        if not (self.tags or self.metadata) and self.event_type == _USUAL_EVENT:
            return ""
        event = [] if self.event_type == _USUAL_EVENT else [self.event_type]
        return "\n".join([*event, *self.tags, *_strings(self.metadata)])

    @property
    def scored_text(self) -> str:
        """As much of its words as a score needs; all of them, if it is no longer than most."""
        if len(self.content) <= _SCORED and not self.metadata:
            return self.text
        return msgspec.structs.replace(self, content=self.content[:_SCORED]).text[: 2 * _SCORED]


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Return the strings in a JSON value, in their order."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)


_DECODER = msgspec.json.Decoder(Document)
