"""The parts of memories to be stored that do not depend on their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from memtrace_server import fingerprints

KINDS = ("agent_id", "session_id", "memory_type", "event_type")
"""Fields of a memory that stores keep in columns of their own."""

_NOT_IN_REST = {*KINDS, "created_at", "expires_at", "id", "on_duplicate", "time", "ttl"}  # of a request
_ENCODER = msgspec.json.Encoder()


class Drafts:
    """The memories of a request.

    Each part is made on first use. The parts of a large request are made before its transaction, so that
    other writes do not wait for them. `functools.cached_property` is unsuitable: before Python 3.12, all
    instances share one lock, so that small writes would wait while the parts of a large one are made.

    Args:
        body: The request's body, with one memory or several.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._requests: Sequence[Mapping[str, Any]] = body.get("memories", [body])
        self._fingerprints: Sequence[bytes] | None = None
        self._compared: Sequence[bytes] | None = None
        self._rests: Sequence[str] | None = None

    def make(self, *, is_compared: bool) -> None:
        """Make all parts now. Only memories that are compared with others need fingerprints."""
        _ = self.rests, self.compared if is_compared else ()

    @property
    def fingerprints(self) -> Sequence[bytes]:
        """The fingerprint of each memory; equal memories have equal fingerprints."""
        if self._fingerprints is None:
            self._fingerprints = [fingerprints.of_request(request) for request in self._requests]
        return self._fingerprints

    @property
    def compared(self) -> Sequence[bytes]:
        """The fingerprints of the memories that are compared with earlier ones."""
        if self._compared is None:
            pairs = zip(self._requests, self.fingerprints, strict=True)
            self._compared = [found for request, found in pairs if request["on_duplicate"] != "store"]
        return self._compared

    @property
    def rests(self) -> Sequence[str]:
        """The end of each memory's document, a JSON object: the fields that have no column."""
        if self._rests is None:
            self._rests = [_rest(request) for request in self._requests]
        return self._rests


def unique(tags: Iterable[str]) -> list[str]:
    """Return tags without repetitions, in the same order."""
    return list(dict.fromkeys(tags))


def _rest(request: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in request.items() if name not in _NOT_IN_REST}
    if "tags" in rest:
        rest["tags"] = unique(rest["tags"])
    return _ENCODER.encode(rest)[1:].decode()
