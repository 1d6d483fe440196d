"""What a batch became."""

from __future__ import annotations

from collections.abc import Iterable

from memtrace_api.models import Memory


class StoredMemories(list[Memory]):
    """The memories of a batch as they are stored: a list, one for each memory given, in the same order.

    Attributes:
        duplicates: Indexes, from 0, of duplicates, where the list has the first memory.

    Example:
        >>> stored = client.add_memories([{"agent_id": "a", "content": "Opened ticket 4711"}])
        >>> len(stored), stored[0].content, stored.duplicates
        (1, 'Opened ticket 4711', [])
    """

    def __init__(self, memories: Iterable[Memory] = (), duplicates: Iterable[int] = ()) -> None:
        super().__init__(memories)
        self.duplicates: list[int] = list(duplicates)
