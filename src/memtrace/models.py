"""Requests and responses: the models of the contract, and what the SDK adds to them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from memtrace_api import models as _generated
from memtrace_api.models import *  # noqa: F403  # they are public as they are generated
from memtrace_api.models import Memory
from memtrace_api.types import TimePoint

__all__ = ["ImportReport", "RejectedRecord", "StoredMemories", "TimePoint"]
__all__ += _generated.__all__


class StoredMemories(list[Memory]):
    """The memories of a batch as they are stored: a list, one for each memory given, in the same order.

    Attributes:
        duplicates: Indexes in the list that hold the original of a duplicate.

    Example:
        >>> stored = client.add_memories([{"agent_id": "a", "content": "Opened ticket 4711"}])
        >>> len(stored), stored[0].content, stored.duplicates
        (1, 'Opened ticket 4711', [])
    """

    def __init__(self, memories: Iterable[Memory] = (), duplicates: Iterable[int] = ()) -> None:
        super().__init__(memories)
        self.duplicates: list[int] = list(duplicates)


@attrs.frozen
class RejectedRecord:
    """A record that cannot be imported.

    Attributes:
        position: The number of the record, from 1.
        reason: The reason why.
    """

    position: int
    reason: str


@attrs.frozen
class ImportReport:
    """The result of an import.

    Attributes:
        imported: How many records were stored.
        existing: How many records existed already, or have expired.
        rejected: The records that cannot be imported.
    """

    imported: int
    existing: int
    rejected: list[RejectedRecord]
