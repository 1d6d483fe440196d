"""The part of a memory's document that a search reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

_USUAL_EVENT = "general"
_MAX_SCORED = 12_000  # characters, some 2,000 words


class Document(msgspec.Struct, frozen=True):
    """The searched fields of a memory."""

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
        """The searched text: the content, the event type, the tags, and the strings in the metadata.

        The metadata or the event type often contain the speaker's name.
        """
        return "\n".join(filter(None, (self.content, self.labels)))

    @property
    def labels(self) -> str:
        """The searched text without the content; may be empty."""
        if not (self.tags or self.metadata) and self.event_type == _USUAL_EVENT:
            return ""
        event = [] if self.event_type == _USUAL_EVENT else [self.event_type]
        return "\n".join([*event, *self.tags, *_strings(self.metadata)])

    @property
    def scored_text(self) -> str:
        """The part of the searched text that a score needs; the whole text of most memories."""
        if len(self.content) <= _MAX_SCORED and not self.metadata:
            return self.text
        return msgspec.structs.replace(self, content=self.content[:_MAX_SCORED]).text[: 2 * _MAX_SCORED]


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Return the strings in a JSON value, in their order."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            stack += reversed(list(value.values()))
        elif isinstance(value, list):
            stack += reversed(value)


_DECODER = msgspec.json.Decoder(Document)
