# Derived from src/memtrace/_async/session.py by scripts/unasync.py: edit that, then run `make regen`.
"""A session, for as long as a block lasts."""
# ruff: noqa: PLR0913  # a method has an argument for each field of its request, all of them named
# a method has an argument for each field of its request, all of them named

from __future__ import annotations

import logging
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from memtrace.exceptions import MemtraceError
from memtrace.models import (
    ContextOptions,
    Memory,
    MemoryList,
    MemoryType,
    Session,
    SessionContext,
    TimePoint,
)

if TYPE_CHECKING:
    from memtrace._sync.client import Memtrace

_RECALLED = 100

logger = logging.getLogger("memtrace")


class SessionHandle:
    """A session that begins and ends with an `with` block; `Memtrace.session` makes one.

    Attributes:
        agent_id: Whose session.
    """

    def __init__(self, client: Memtrace, agent_id: str, *, metadata: dict[str, Any] | None = None) -> None:
        self.agent_id = agent_id
        self._client = client
        self._metadata = metadata
        self._session: Session | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.agent_id!r}, id={self._session.id if self._session else None!r})"

    @property
    def id(self) -> str:
        """The session's id.

        Raises:
            RuntimeError: Before the block.
        """
        if self._session is None:
            raise RuntimeError("the session begins with the block: use it in a with statement")
        return self._session.id

    def __enter__(self) -> Self:
        self._session = self._client.create_session(agent_id=self.agent_id, metadata=self._metadata)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._client.close_session(self.id)
        except MemtraceError as error:
            # What went wrong in the block is what the caller has to hear about.
            if exc_type is None:
                raise
            logger.warning("Session %s is left open: %s", self.id, error)

    def remember(
        self,
        content: str,
        *,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: list[str] | None = None,
        importance: float | None = None,
        metadata: dict[str, Any] | None = None,
        parent_id: str | None = None,
        dedup_key: str | None = None,
        time: datetime | None = None,
        ttl: int | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Store what happened in the session; as `remember` of the client.

        Args:
            content: What happened, in words; stored exactly as given.
            memory_type: What kind of memory it is; `episodic` if not given.
            event_type: What happened, in a word of your own; `general` if not given.
            tags: Words to find it by.
            importance: From 0 to 1; what is important stays longest in a context.
            metadata: Anything else, as a JSON object.
            parent_id: Id of the memory that this one follows from.
            dedup_key: Your own key for "the same memory"; without one, the memory itself is compared.
            time: When it happened, with a time zone; now if not given.
            ttl: Seconds until it is forgotten by itself; never if not given.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored the same within 24 hours; `existing_id` names it.
            RuntimeError: Before the block.
        """
        return self._client.remember(
            self.agent_id,
            content,
            session_id=self.id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            importance=importance,
            metadata=metadata,
            parent_id=parent_id,
            dedup_key=dedup_key,
            time=time,
            ttl=ttl,
            idempotency_key=idempotency_key,
        )

    def decide(
        self,
        decision: str,
        reasoning: str,
        *,
        tags: list[str] | None = None,
        importance: float | None = None,
        metadata: dict[str, Any] | None = None,
        parent_id: str | None = None,
        dedup_key: str | None = None,
        time: datetime | None = None,
        ttl: int | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Store what was decided in the session, and why; as `decide` of the client.

        Args:
            decision: What was decided; it becomes the content of a memory of type and event `decision`.
            reasoning: Why; it becomes `reasoning` in the metadata, beside what `metadata` has.
            tags: Words to find it by.
            importance: From 0 to 1; what is important stays longest in a context.
            metadata: Anything else, as a JSON object.
            parent_id: Id of the memory that this one follows from.
            dedup_key: Your own key for "the same memory"; without one, the memory itself is compared.
            time: When it was decided, with a time zone; now if not given.
            ttl: Seconds until it is forgotten by itself; never if not given.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored the same within 24 hours; `existing_id` names it.
            RuntimeError: Before the block.
        """
        return self._client.decide(
            self.agent_id,
            decision,
            reasoning,
            session_id=self.id,
            tags=tags,
            importance=importance,
            metadata=metadata,
            parent_id=parent_id,
            dedup_key=dedup_key,
            time=time,
            ttl=ttl,
            idempotency_key=idempotency_key,
        )

    def recall(
        self,
        since: TimePoint | None = None,
        *,
        until: TimePoint | None = None,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: str | list[str] | None = None,
        limit: int = _RECALLED,
    ) -> MemoryList:
        """Give what the session's agent remembers of it, newest first; all of it unless `since` is given.

        Args:
            since: Only of this time or later.
            until: Only from before this time.
            memory_type: Only of this type.
            event_type: Only of this event type.
            tags: Only those that have every one of these tags: a list, or a comma-separated string.
            limit: The most memories to give.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Raises:
            RuntimeError: Before the block.
        """
        return self._client.recall(
            self.agent_id,
            since,
            until=until,
            session_id=self.id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            limit=limit,
        )

    def context(
        self,
        options: ContextOptions | None = None,
        *,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        include_types: list[MemoryType] | None = None,
        max_tokens: int | None = None,
    ) -> SessionContext:
        """Give the session's memories as markdown for an LLM; as `get_session_context` of the client.

        Args:
            options: What to make it of. Or give the options as keywords:
            since: Only memories of this time or later.
            until: Only memories from before this time.
            include_types: Only memories of these types.
            max_tokens: The most tokens that it may take; never exceeded.

        Returns:
            The context, and how many memories are in it.

        Raises:
            TypeError: If options and keywords are mixed.
            RuntimeError: Before the block.
        """
        return self._client.get_session_context(
            self.id,
            options,
            since=since,
            until=until,
            include_types=include_types,
            max_tokens=max_tokens,
        )
