"""Records of exports: agents, sessions and memories as JSON objects, each with its `kind`.

A record has what the server returned, to the last digit of a time. Models would round it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import msgspec

from memtrace.exceptions import APIStatusError
from memtrace.models import Agent, ImportAgent, ImportMemory, ImportSession, Memory, RejectedRecord, Session

COLLECTIONS = {"agent": "agents", "session": "sessions", "memory": "memories"}
"""Each kind of record, and the name of its list in a request to import."""

_BATCH = 500  # records
_BATCH_SIZE = 8 << 20  # characters of JSON, roughly: a tenth of what a server takes
# Fields that are not imported: they belong to the place of a record, or repeat other records.
_NOT_IMPORTED = {
    kind: {"kind", *response.__struct_fields__} - attrs.fields_dict(request).keys()
    for kind, response, request in (
        ("agent", Agent, ImportAgent),
        ("session", Session, ImportSession),
        ("memory", Memory, ImportMemory),
    )
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


class Links:
    """Which memory supersedes which, in the order in which they were stored.

    A memory keeps the id that it was stored with in `supersedes`. If the memory of that id is forgotten, it
    supersedes the one before, as only the `superseded_by` of that one says.
    """

    def __init__(self) -> None:
        self._older: dict[str, str] = {}  # by the id of a memory that is still to come

    def followed(self, memory: dict[str, Any]) -> dict[str, Any]:
        """Return a memory with the id of the one that it supersedes now."""
        name, newer = memory.get("id"), memory.get("superseded_by")
        if not isinstance(name, str):
            return memory
        if isinstance(newer, str):
            self._older[newer] = name
        older = self._older.pop(name, None)
        return memory if older is None else {**memory, "supersedes": older}


class Batch:
    """Records that are imported together.

    Args:
        links: Which memories of earlier batches are superseded by one that is still to come.

    Attributes:
        records: The position and the fields of each that is not rejected, by the name of its list.
    """

    def __init__(self, links: Links) -> None:
        self.records: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._links = links
        self._count = 0
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Whether to import it before the next record joins."""
        return self._count >= _BATCH or self._size >= _BATCH_SIZE

    def add(self, position: int, given: Mapping[str, Any] | str | bytes | ValueError) -> None:
        """Add a record, or a line with one, which may be blank; ValueError if it is not a record."""
        if isinstance(given, ValueError):  # which a reader of another format found
            raise given
        if not isinstance(given, Mapping):
            self._size += len(given)
            if not given.strip():
                return
            given = _parsed(given)
        kind = given.get("kind")
        if not isinstance(kind, str) or kind not in COLLECTIONS:
            kinds = ", ".join(COLLECTIONS)
            problem = "it has no kind" if kind is None else f"its kind is {kind!r}"
            raise ValueError(f"{problem}; a record's kind is one of {kinds}")
        record = self._links.followed(dict(given)) if kind == "memory" else given
        fields = {name: value for name, value in record.items() if name not in _NOT_IMPORTED[kind]}
        if kind != "memory":  # of which a request takes 8 MiB
            self._size += 2 * len(msgspec.json.encode(fields))
        self.records.setdefault(COLLECTIONS[kind], []).append((position, fields))
        self._count += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the body of a request to import them."""
        return {name: [fields for _, fields in records] for name, records in self.records.items()}

    def reject(self, error: APIStatusError) -> list[RejectedRecord]:
        """Drop the records that an error response names, and return them; raise it if it names none."""
        rejected: dict[int, RejectedRecord] = {}
        for detail in error.details:
            name, index, field = [*detail.field.split(".", 2), "", ""][:3]
            records = self.records.get(name, [])
            if index.isdecimal() and int(index) < len(records):
                position, _ = records[int(index)]
                reason = f"{field}: {detail.message}" if field else detail.message
                rejected.setdefault(position, RejectedRecord(position, reason))
        if not rejected:
            raise error
        kept = {name: [r for r in records if r[0] not in rejected] for name, records in self.records.items()}
        self.records = {name: records for name, records in kept.items() if records}
        return list(rejected.values())


def batches(
    records: Iterable[Mapping[str, Any] | str | bytes], rejected: list[RejectedRecord]
) -> Iterator[Batch]:
    """Return records in batches; add those that cannot be read to `rejected`."""
    links = Links()
    batch = Batch(links)
    for position, given in enumerate(records, 1):
        try:
            batch.add(position, given)
        except ValueError as error:
            rejected.append(RejectedRecord(position, str(error)))
        if batch.is_full:
            yield batch
            batch = Batch(links)
    yield batch


def _parsed(line: str | bytes) -> Mapping[str, Any]:
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if isinstance(record, dict):
        return record
    raise ValueError(f"it is a {type(record).__name__}, not an object")
