"""Records of exports: agents, sessions and memories as JSON objects, each with its `kind`.

A record has what the server returned, to the last digit of a time. Models would round it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import msgspec

from memtrace.exceptions import APIStatusError

COLLECTIONS = {"agent": "agents", "session": "sessions", "memory": "memories"}
"""Each kind of record, and what a request to import calls many of it."""

_BATCH = 500  # records
_BATCH_SIZE = 8 << 20  # characters of JSON, roughly: a tenth of what a server takes
_OF_THE_PLACE = {  # fields that say where a record was, or what other records say as well
    "agent": ("kind", "org_id", "name"),
    "session": ("kind", "org_id", "status"),
    "memory": ("kind", "org_id", "superseded_by"),
}


class Agents(msgspec.Struct):
    """A page of agents."""

    agents: list[dict[str, Any]]
    next_cursor: str | None = None


class Sessions(msgspec.Struct):
    """A page of sessions."""

    sessions: list[dict[str, Any]]
    next_cursor: str | None = None


class Tail(msgspec.Struct):
    """A page of memories in the order in which they were stored."""

    memories: list[dict[str, Any]]
    has_more: bool
    next_cursor: str


@attrs.frozen
class RejectedRecord:
    """A record that cannot be imported.

    Attributes:
        position: Which record it was, from 1.
        reason: What is wrong with it.
    """

    position: int
    reason: str


@attrs.frozen
class ImportReport:
    """What an import did.

    Attributes:
        imported: How many records were stored.
        existing: How many records existed already, or have expired.
        rejected: The records that cannot be imported.
    """

    imported: int
    existing: int
    rejected: list[RejectedRecord]


@attrs.define
class Batch:
    """Records that are imported together.

    Attributes:
        records: What is left of them, in the order in which they came.
    """

    records: list[tuple[int, str, dict[str, Any]]] = attrs.field(factory=list)
    _size: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no record should join."""
        return len(self.records) >= _BATCH or self._size >= _BATCH_SIZE

    def add(self, position: int, given: Mapping[str, Any] | str | bytes | ValueError) -> None:
        """Take a record in, or a line with one; white space alone is none.

        Raises:
            ValueError: It is no record.
        """
        if isinstance(given, ValueError):  # which a reader of another format found
            raise given
        if not isinstance(given, Mapping):
            self._size += len(given)
            if not given.strip():
                return
            given = _parsed(given)
        kind = given.get("kind")
        if kind not in COLLECTIONS:
            kinds = ", ".join(COLLECTIONS)
            told = "it has no kind" if kind is None else f"its kind is {kind!r}"
            raise ValueError(f"{told}; a record's kind is one of {kinds}")
        fields = {name: value for name, value in given.items() if name not in _OF_THE_PLACE[kind]}
        self.records.append((position, kind, fields))

    def to_dict(self) -> dict[str, Any]:
        """Return the body of a request to import them."""
        body: dict[str, Any] = {}
        for _, kind, fields in self.records:
            body.setdefault(COLLECTIONS[kind], []).append(fields)
        return body

    def reject(self, error: APIStatusError) -> list[RejectedRecord]:
        """Drop the records that an error response names, and return them with what is wrong.

        Raises:
            APIStatusError: The response names none.
        """
        reasons: dict[tuple[str, str], str] = {}
        for detail in error.details:
            collection, index, field = [*detail.field.split(".", 2), "", ""][:3]
            reasons.setdefault((collection, index), f"{field}: {detail.message}" if field else detail.message)
        rejected: list[RejectedRecord] = []
        kept: list[tuple[int, str, dict[str, Any]]] = []
        counts: Counter[str] = Counter()
        for record in self.records:
            position, kind, _ = record
            reason = reasons.get((COLLECTIONS[kind], str(counts[kind])))
            counts[kind] += 1
            if reason is None:
                kept.append(record)
            else:
                rejected.append(RejectedRecord(position, reason))
        if not rejected:
            raise error
        self.records = kept
        return rejected


def batches(
    records: Iterable[Mapping[str, Any] | str | bytes], rejected: list[RejectedRecord]
) -> Iterator[Batch]:
    """Return records in batches; what is no record joins those that were rejected."""
    batch = Batch()
    for position, given in enumerate(records, 1):
        try:
            batch.add(position, given)
        except ValueError as error:
            rejected.append(RejectedRecord(position, str(error)))
        if batch.is_full:
            yield batch
            batch = Batch()
    yield batch


def _parsed(line: str | bytes) -> Mapping[str, Any]:
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if isinstance(record, dict):
        return record
    raise ValueError(f"it is a {type(record).__name__}, not an object")
