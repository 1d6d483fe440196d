# Derived from src/memtrace/_async/client.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client: one method for each thing that a Memtrace server can do, and a few that are made of them."""
# ruff: noqa: PLR0913  # a method has an argument for each field of its request, all of them named

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar
from weakref import WeakSet

from memtrace import _operations as operations
from memtrace._answered import Answered, Method, listening
from memtrace._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, Config
from memtrace._given import Given
from memtrace._httpx import HttpClient, Timeout
from memtrace._landed import may_have_landed
from memtrace._pages import SearchPages, page_after
from memtrace._requests import batch, call, chosen, idempotent, memory_id_of
from memtrace._retries import Retries
from memtrace._sync.connection import Connection
from memtrace._sync.landed import landed_agent, landed_batch, landed_memory
from memtrace._sync.sender import Sender
from memtrace._sync.session import SessionHandle
from memtrace.exceptions import BadRequestError, BufferedWriteError, ConflictError, NotFoundError
from memtrace.models import (
    AddMemoriesRequest,
    AddMemoryRequest,
    Agent,
    AgentContext,
    AgentList,
    AgentStats,
    ContextOptions,
    CreateSessionRequest,
    ForgetFilter,
    ForgetResult,
    Health,
    ListOptions,
    Memory,
    MemoryBatch,
    MemoryList,
    MemoryType,
    Order,
    RegisterAgentRequest,
    SearchOrder,
    SearchQuery,
    SearchResult,
    Session,
    SessionContext,
    SessionList,
    SessionStatus,
    StoredMemories,
    TimePoint,
    UpdateSessionRequest,
)

if TYPE_CHECKING:
    from memtrace._sync.buffered import WriteBuffer
    from memtrace._sync.flusher import Flusher
else:
    # Imported with the first buffer; few clients have one. Frameworks read annotations when a program runs.
    WriteBuffer = Any

P = ParamSpec("P")
T = TypeVar("T")


_RECALLED = 100
_UNAVAILABLE = 503
# Seconds that are left, though none are.
_LEAST = 0.001


class Memtrace:
    """A memory for AI agents, on a Memtrace server or in this process.

    One client serves a whole program: threads and tasks may share it. It connects at the first request.

    Every method raises a `MemtraceError` (see `memtrace.exceptions`) when the server cannot be reached,
    refuses, or answers what it should not, such as more than 64 MiB; ValueError and TypeError when its
    arguments cannot be meant. What may pass by itself (connection errors, timeouts, 408, 429, 500, 502, 503,
    504) is tried again, with longer, random pauses and never before the `Retry-After` that a server gives; if
    that is more than 60 seconds, or later than `timeout` allows, the error comes at once. A write carries an
    `Idempotency-Key`, so that it is stored once however often it is tried.

    Wherever `since` and `until` are taken, they are how long ago (`"24h"`, a timedelta) or when (an ISO 8601
    string, a datetime with a time zone).

    Args:
        base_url: Where memory lives: a server (`http://host:9100`, `https://…`), a SQLite file
            (`sqlite:///agent.db`), or this process's memory, private to this client (`sqlite://`). If not
            given, MEMTRACE_URL, or else `http://localhost:9100`.
        api_key: The key for a server, `mtk_…`. If not given, MEMTRACE_API_KEY; or else none is sent.
        timeout: Seconds that one call may take in all: waiting for a connection, connecting, every try, the
            pauses between them, and reading the answer. Or an `httpx.Timeout`, which bounds each step of each
            try, and not the call. None leaves it to `http_client`, if there is one. (Looking up the name of a
            host counts, but `Memtrace` cannot cut it short. With an `http_client`, or a proxy, each wait of
            `Memtrace` in a try may take as long as was left when the try began.)
        max_retries: How many more times a request is tried at the most.
        http_client: Sends the requests, with its own proxies, certificates, headers and so on. It is a
            client of httpx; for `Memtrace` it may be an `aiohttp.ClientSession`, which is faster. It is
            not closed with this client.

    Raises:
        ValueError: If an argument cannot work, such as a `base_url` of an unknown scheme.

    Example:
        >>> with Memtrace("http://localhost:9100", "mtk_...") as client:
        ...     client.remember("agent_1", "User prefers dark mode")
        ...     memories = client.recall("agent_1", since="24h")
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: HttpClient | None = None,
    ) -> None:
        if timeout is None and http_client is None:
            timeout = DEFAULT_TIMEOUT
        config = Config.from_arguments(base_url, api_key, timeout=timeout, max_retries=max_retries)
        given = None if http_client is None else Given(http_client)
        if given is not None and config.store is not None:
            raise ValueError("http_client is for a server; an embedded store has no use for it")
        self._sender = Sender(config, Connection(config.store, given))
        self._flushers: WeakSet[Flusher] = WeakSet()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Where memory lives; without the password, if there is one in it."""
        return self._sender.config.base_url

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
    ) -> Self:
        """Copy this client with other settings. The copy shares the connections: closing one closes both.

        Args:
            api_key: Another key.
            timeout: Another timeout: seconds for each call as a whole, or an `httpx.Timeout`.
            max_retries: How many more times a request is tried at the most.

        Returns:
            The copy; what is not given is as in this client.

        Raises:
            ValueError: If an argument cannot work.

        Example:
            >>> client.with_options(timeout=2.0, max_retries=0).recall("agent_1")
        """
        config = self._sender.config.with_options(api_key=api_key, timeout=timeout, max_retries=max_retries)
        copied = copy.copy(self)
        copied._sender = Sender(config, self._sender.connection)  # noqa: SLF001  # a copy of itself
        return copied

    def with_response(self, method: Method[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answered[T]:
        """Call a method, and give the answer that it got beside what it returns.

        Args:
            method: A method of this client, or of a session of it, that asks the server before it returns.
                The iterators do not: give `list_memories` or `search_memories`, page by page.
            *args: What to call it with.
            **kwargs: What to call it with, by name.

        Returns:
            `result`, what the method returned; `response`, the answer as httpx has it; `request_id`, which
            names the request in the server's log; `retries`, how often it was sent again.

        Raises:
            TypeError: If the method got no answer before it returned.

        Example:
            >>> answered = client.with_response(client.remember, "agent_1", "Hello")
            >>> print(answered.result.id, answered.request_id, answered.response.headers)
        """
        with listening() as heard:
            result = method(*args, **kwargs)
        return heard.with_result(result, method)

    def close(self) -> None:
        """Close the buffers, the connections, and the store if it is embedded. Doing so twice is fine.

        Raises:
            BufferedWriteError: If a buffer could not store all that it held.
        """
        self._finish(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish(exc_value)

    def _finish(self, exception: BaseException | None) -> None:
        try:
            if self._flushers:
                from memtrace._sync.buffered import finish_all  # noqa: PLC0415

                finish_all(self._flushers, exception)
        finally:
            self._sender.connection.close()

    def remember(
        self,
        agent_id: str,
        content: str,
        *,
        session_id: str | None = None,
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
        """Store what an agent did, saw or was told.

        Args:
            agent_id: Who remembers it.
            content: What happened, in words; stored exactly as given.
            session_id: The session that it belongs to.
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

        Example:
            >>> client.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        return self.add_memory(
            agent_id=agent_id,
            content=content,
            session_id=session_id,
            memory_type=memory_type or "episodic",
            event_type=event_type or "general",
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
        agent_id: str,
        decision: str,
        reasoning: str,
        *,
        session_id: str | None = None,
        tags: list[str] | None = None,
        importance: float | None = None,
        metadata: dict[str, Any] | None = None,
        parent_id: str | None = None,
        dedup_key: str | None = None,
        time: datetime | None = None,
        ttl: int | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Store what an agent decided, and why.

        Args:
            agent_id: Who decided.
            decision: What was decided; it becomes the content of a memory of type and event `decision`.
            reasoning: Why; it becomes `reasoning` in the metadata, beside what `metadata` has.
            session_id: The session that it belongs to.
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

        Example:
            >>> client.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        return self.add_memory(
            agent_id=agent_id,
            content=decision,
            session_id=session_id,
            memory_type="decision",
            event_type="decision",
            tags=tags,
            importance=importance,
            metadata={**(metadata or {}), "reasoning": reasoning},
            parent_id=parent_id,
            dedup_key=dedup_key,
            time=time,
            ttl=ttl,
            idempotency_key=idempotency_key,
        )

    def recall(
        self,
        agent_id: str,
        since: TimePoint | None = "24h",
        *,
        until: TimePoint | None = None,
        session_id: str | None = None,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: str | list[str] | None = None,
        limit: int = _RECALLED,
    ) -> MemoryList:
        """Give what an agent remembers of late, newest first.

        Args:
            agent_id: Whose memories.
            since: Only of this time or later; None for all.
            until: Only from before this time.
            session_id: Only of this session.
            memory_type: Only of this type.
            event_type: Only of this event type.
            tags: Only those that have every one of these tags.
            limit: The most memories to give.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Example:
            >>> for memory in (client.recall("agent_1", since="7d")).memories:
            ...     print(memory.time, memory.content)
        """
        return self.list_memories(
            agent_id=agent_id,
            since=since,
            until=until,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            limit=limit,
            order="desc",
        )

    def add_memory(
        self,
        request: AddMemoryRequest | None = None,
        *,
        agent_id: str | None = None,
        content: str | None = None,
        session_id: str | None = None,
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
        """Store a memory.

        A Memtrace 0.x server may refuse a write that it has already stored, when its first answer was lost
        and the write was tried again. That is no error: the memory is looked up there. If it cannot be found,
        the result is made of the request, with an empty `org_id` and the time of the first try.

        Args:
            request: The memory. Or give its fields as keywords:
            agent_id: Who remembers it.
            content: What happened, was seen or decided, in words; stored exactly as given.
            session_id: The session that it belongs to.
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
            TypeError: If a request and keywords are mixed.
        """
        body = chosen(
            AddMemoryRequest,
            request,
            agent_id=agent_id,
            content=content,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            importance=importance,
            metadata=metadata,
            parent_id=parent_id,
            dedup_key=dedup_key,
            time=time,
            ttl=ttl,
        )
        write = call(operations.add_memory, body=body, idempotency_key=idempotent(idempotency_key))
        sent_at = datetime.now(UTC)
        retries = self._sender.retries()
        try:
            return self._sender.fetch(write, Memory, retries)
        except ConflictError as error:
            if not may_have_landed(error, retries):
                raise
            return landed_memory(self._within(retries), body, error, sent_at)

    def add_memories(
        self,
        memories: Iterable[AddMemoryRequest | Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> StoredMemories:
        """Store memories in one go: all of them, or none.

        Args:
            memories: Up to 1,000 requests, or mappings with the same fields. They are not split: a server
                refuses a larger batch.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            A list of the memories as they are stored, in the same order. `duplicates` has the places of
            those that were there already.

        Raises:
            ValueError: If a mapping has an unknown field, or lacks a required one.
            ConflictError: If a Memtrace 0.x server refuses a duplicate; what comes before it may be stored.

        Example:
            >>> stored = client.add_memories([{"agent_id": "agent_1", "content": "Opened ticket 4711"}])
            >>> stored[0].id, stored.duplicates
        """
        requests = batch(memories)
        write = call(
            operations.add_memory,
            body=AddMemoriesRequest(memories=requests),
            idempotency_key=idempotent(idempotency_key),
        )
        retries = self._sender.retries()
        try:
            stored = self._sender.fetch(write, MemoryBatch, retries)
        except ConflictError as error:
            if not may_have_landed(error, retries):
                raise
            return landed_batch(self._within(retries), requests, error)
        return StoredMemories(stored.memories, stored.duplicates or ())

    def get_memory(self, memory_id: str) -> Memory:
        """Give the memory of an id.

        Args:
            memory_id: Which memory: `mem_` and 26 letters and digits.

        Returns:
            The memory as it is stored.

        Raises:
            NotFoundError: If there is none.
        """
        return self._sender.fetch(call(operations.get_memory, memory_id), Memory)

    def list_memories(
        self,
        options: ListOptions | None = None,
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: str | list[str] | None = None,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order: Order | None = None,
        cursor: str | None = None,
    ) -> MemoryList:
        """List memories in order of time, newest first unless `order` says otherwise.

        Args:
            options: The filters. Or give them as keywords, each of which must match:
            agent_id: Only of this agent.
            session_id: Only of this session.
            memory_type: Only of this type.
            event_type: Only of this event type.
            tags: Only those that have every one of these tags: a list, or a comma-separated string.
            since: Only of this time or later.
            until: Only from before this time.
            limit: The most memories to give.
            offset: How many memories to pass over; `cursor` is faster, and stable while others write.
            order: `desc`: newest first. `asc`: oldest first.
            cursor: `next_cursor` of the page before, asked for with the same filters and order.

        Returns:
            A page of memories; `iter_memories` gives them all.

        Raises:
            TypeError: If options and keywords are mixed.
        """
        chosen_options = chosen(
            ListOptions,
            options,
            agent_id=agent_id,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
            limit=limit,
            offset=offset,
            order=order,
            cursor=cursor,
        )
        return self._sender.fetch(call(operations.list_memories, **chosen_options.to_dict()), MemoryList)

    def iter_memories(
        self,
        options: ListOptions | None = None,
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: str | list[str] | None = None,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        order: Order | None = None,
        page_size: int | None = None,
    ) -> Iterator[Memory]:
        """Go through all memories that match, asking for a page when it is needed.

        Args:
            options: The filters; `limit` is the size of a page. Or give them as keywords:
            agent_id: Only of this agent.
            session_id: Only of this session.
            memory_type: Only of this type.
            event_type: Only of this event type.
            tags: Only those that have every one of these tags: a list, or a comma-separated string.
            since: Only of this time or later.
            until: Only from before this time.
            order: `desc`: newest first. `asc`: oldest first.
            page_size: How many memories to ask for at a time.

        Returns:
            The memories, one by one.

        Raises:
            TypeError: If options and keywords are mixed.

        Example:
            >>> for memory in client.iter_memories(agent_id="agent_1", order="asc"):
            ...     print(memory.content)
        """
        return self._iter_pages(
            chosen(
                ListOptions,
                options,
                agent_id=agent_id,
                session_id=session_id,
                memory_type=memory_type,
                event_type=event_type,
                tags=tags,
                since=since,
                until=until,
                limit=page_size,
                order=order,
            )
        )

    def search_memories(
        self,
        query: SearchQuery | str | None = None,
        *,
        content_contains: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        memory_types: list[MemoryType] | None = None,
        event_types: list[str] | None = None,
        tags: list[str] | None = None,
        min_importance: float | None = None,
        metadata: dict[str, Any] | None = None,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        order: SearchOrder | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SearchResult:
        """Search memories.

        Args:
            query: A whole `SearchQuery`; or the words that the content must have, a `"phrase in quotes"`, and
                `-words` that it must not have, with the other conditions as keywords:
            content_contains: A piece of text that the content must contain, whatever its case.
            agent_id: Only of this agent.
            session_id: Only of this session.
            memory_types: Only of one of these types.
            event_types: Only of one of these event types.
            tags: Only those that have every one of these tags.
            min_importance: Only those at least this important, from 0 to 1.
            metadata: Only those whose metadata has each of these keys with an equal value.
            since: Only of this time or later.
            until: Only from before this time.
            order: `relevance`, the default with words: best match first. `desc`, the default without: newest
                first. `asc`: oldest first.
            limit: The most memories to give.
            cursor: `next_cursor` of the page before, asked for with the same conditions and order.

        Returns:
            A page of what was found; `iter_search` gives all of it.

        Raises:
            TypeError: If a SearchQuery and keywords are mixed.

        Example:
            >>> client.search_memories("dark mode -beta", agent_id="agent_1")
        """
        body = chosen(
            SearchQuery,
            query if not isinstance(query, str) else None,
            query=query if isinstance(query, str) else None,
            content_contains=content_contains,
            agent_id=agent_id,
            session_id=session_id,
            memory_types=memory_types,
            event_types=event_types,
            tags=tags,
            min_importance=min_importance,
            metadata=metadata,
            since=since,
            until=until,
            order=order,
            limit=limit,
            cursor=cursor,
        )
        return self._sender.fetch(call(operations.search_memories, body=body), SearchResult)

    def iter_search(
        self,
        query: SearchQuery | str | None = None,
        *,
        content_contains: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        memory_types: list[MemoryType] | None = None,
        event_types: list[str] | None = None,
        tags: list[str] | None = None,
        min_importance: float | None = None,
        metadata: dict[str, Any] | None = None,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        order: SearchOrder | None = None,
        page_size: int | None = None,
    ) -> Iterator[Memory]:
        """Go through everything that a search finds, asking for a page when it is needed.

        Args:
            query: A whole `SearchQuery`, whose `limit` is the size of a page; or the words to look for, with
                the other conditions as keywords:
            content_contains: A piece of text that the content must contain, whatever its case.
            agent_id: Only of this agent.
            session_id: Only of this session.
            memory_types: Only of one of these types.
            event_types: Only of one of these event types.
            tags: Only those that have every one of these tags.
            min_importance: Only those at least this important, from 0 to 1.
            metadata: Only those whose metadata has each of these keys with an equal value.
            since: Only of this time or later.
            until: Only from before this time.
            order: As for `search_memories`.
            page_size: How many memories to ask for at a time; 100 if not given.

        Returns:
            The memories, one by one.

        Raises:
            TypeError: If a SearchQuery and keywords are mixed.
        """
        return self._iter_found(
            chosen(
                SearchQuery,
                query if not isinstance(query, str) else None,
                query=query if isinstance(query, str) else None,
                content_contains=content_contains,
                agent_id=agent_id,
                session_id=session_id,
                memory_types=memory_types,
                event_types=event_types,
                tags=tags,
                min_importance=min_importance,
                metadata=metadata,
                since=since,
                until=until,
                order=order,
                limit=page_size,
            )
        )

    def forget(self, memory: Memory | str, *, idempotency_key: str | None = None) -> None:
        """Forget one memory, for good.

        Args:
            memory: The memory, or its id.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Raises:
            NotFoundError: If there is no such memory.
            BadRequestError: If the memory has no id, as those of a Memtrace 0.x server.
        """
        write = call(
            operations.forget_memory, memory_id_of(memory), idempotency_key=idempotent(idempotency_key)
        )
        self._sender.execute(write)

    def forget_all(
        self,
        filters: ForgetFilter | None = None,
        *,
        agent_id: str | None = None,
        session_id: str | None = None,
        memory_type: MemoryType | None = None,
        event_type: str | None = None,
        tags: list[str] | None = None,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Forget every memory that matches, for good. At least one filter must be given.

        Args:
            filters: What to forget. Or give them as keywords, each of which must match:
            agent_id: Only of this agent.
            session_id: Only of this session.
            memory_type: Only of this type.
            event_type: Only of this event type.
            tags: Only those that have every one of these tags.
            since: Only of this time or later.
            until: Only from before this time.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            How many memories were forgotten.

        Raises:
            BadRequestError: If there is no filter.
            TypeError: If a ForgetFilter and keywords are mixed.

        Example:
            >>> client.forget_all(agent_id="agent_1", until="30d")
        """
        chosen_filter = chosen(
            ForgetFilter,
            filters,
            agent_id=agent_id,
            session_id=session_id,
            memory_type=memory_type,
            event_type=event_type,
            tags=tags,
            since=since,
            until=until,
        )
        write = call(
            operations.forget_memories,
            filter_=chosen_filter,
            idempotency_key=idempotent(idempotency_key),
        )
        return (self._sender.fetch(write, ForgetResult)).deleted

    def register_agent(
        self,
        request: RegisterAgentRequest | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        config: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Agent:
        """Give an agent a description and configuration. Its name is its id.

        Args:
            request: The agent. Or give its fields as keywords:
            name: Its name.
            description: What it does.
            config: Anything else about it, as a JSON object.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The agent.

        Raises:
            ConflictError: If an agent of that name is registered. A Memtrace 0.x server: BadRequestError.
            TypeError: If a request and keywords are mixed.
        """
        body = chosen(RegisterAgentRequest, request, name=name, description=description, config=config)
        write = call(operations.register_agent, body=body, idempotency_key=idempotent(idempotency_key))
        retries = self._sender.retries()
        try:
            return self._sender.fetch(write, Agent, retries)
        except (BadRequestError, ConflictError) as error:
            if not may_have_landed(error, retries):
                raise
            return landed_agent(self._within(retries), body, error)

    def list_agents(self, *, limit: int | None = None, cursor: str | None = None) -> AgentList:
        """List agents in order of their id, registered or not.

        Args:
            limit: The most agents to give.
            cursor: `next_cursor` of the page before.

        Returns:
            A page of agents.
        """
        return self._sender.fetch(call(operations.list_agents, limit=limit, cursor=cursor), AgentList)

    def get_agent(self, agent_id: str) -> Agent:
        """Give the agent of an id or name.

        Args:
            agent_id: Which agent. An agent's name is its id.

        Returns:
            The agent.

        Raises:
            NotFoundError: If there is none.
        """
        return self._sender.fetch(call(operations.get_agent, agent_id), Agent)

    def get_agent_stats(self, agent_id: str) -> AgentStats:
        """Count what an agent remembers, by type and lately, and its sessions.

        Args:
            agent_id: Which agent.

        Returns:
            The counts.

        Raises:
            NotFoundError: If there is no such agent.
        """
        return self._sender.fetch(call(operations.get_agent_stats, agent_id), AgentStats)

    def get_agent_memories(self, agent_id: str, options: ListOptions | None = None) -> MemoryList:
        """List the memories of an agent.

        Args:
            agent_id: Whose memories.
            options: Filters. An `agent_id` in them is passed over.

        Returns:
            A page of memories, newest first unless the options say otherwise.

        Raises:
            NotFoundError: If there is no such agent.
        """
        filters = chosen(ListOptions, options).to_dict()
        filters.pop("agent_id", None)
        return self._sender.fetch(call(operations.list_agent_memories, agent_id, **filters), MemoryList)

    def get_agent_context(
        self,
        agent_id: str,
        options: ContextOptions | None = None,
        *,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        include_types: list[MemoryType] | None = None,
        max_tokens: int | None = None,
    ) -> AgentContext:
        """Give an agent's memories as markdown for an LLM.

        Args:
            agent_id: Whose memories.
            options: What to make it of. Or give the options as keywords:
            since: Only memories of this time or later.
            until: Only memories from before this time.
            include_types: Only memories of these types.
            max_tokens: The most tokens that it may take; never exceeded.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If there is no such agent.
            TypeError: If options and keywords are mixed.
        """
        body = chosen(
            ContextOptions,
            options,
            since=since,
            until=until,
            include_types=include_types,
            max_tokens=max_tokens,
        )
        return self._sender.fetch(call(operations.get_agent_context, agent_id, body=body), AgentContext)

    def delete_agent(
        self, agent_id: str, *, delete_memories: bool | None = None, idempotency_key: str | None = None
    ) -> None:
        """Delete an agent's registration.

        Args:
            agent_id: Which agent.
            delete_memories: True deletes its memories and sessions too, for good; otherwise they stay.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Raises:
            NotFoundError: If there is no such agent.
        """
        write = call(
            operations.delete_agent,
            agent_id,
            delete_memories=delete_memories,
            idempotency_key=idempotent(idempotency_key),
        )
        retries = self._sender.retries()
        try:
            self._sender.execute(write, retries)
        except NotFoundError as error:
            if not may_have_landed(error, retries):
                raise

    def create_session(
        self,
        request: CreateSessionRequest | None = None,
        *,
        agent_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Start a session. `session` does so too, and closes it at the end.

        Args:
            request: The session. Or give its fields as keywords:
            agent_id: Whose session.
            metadata: Anything about it, as a JSON object.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The session; its `id` goes into the memories that belong to it.

        Raises:
            TypeError: If a request and keywords are mixed.
        """
        body = chosen(CreateSessionRequest, request, agent_id=agent_id, metadata=metadata)
        write = call(operations.create_session, body=body, idempotency_key=idempotent(idempotency_key))
        return self._sender.fetch(write, Session)

    def session(self, agent_id: str, *, metadata: dict[str, Any] | None = None) -> SessionHandle:
        """Start a session, and close it at the end of the block, also when that is an exception.

        Args:
            agent_id: Whose session.
            metadata: Anything about it, as a JSON object.

        Returns:
            A context manager that gives a handle with the session's `id`, and with `remember`, `decide`,
            `recall` and `context` that are bound to it.

        Example:
            >>> with client.session("agent_1", metadata={"task": "onboarding"}) as session:
            ...     session.remember("User prefers dark mode")
            ...     print((session.context(max_tokens=2000)).context)
        """
        return SessionHandle(self, agent_id, metadata=metadata)

    def buffered(
        self,
        *,
        max_batch: int = 500,
        max_delay: float = 1.0,
        max_pending: int = 10_000,
        max_bytes: int = 64 << 20,
        on_failure: Callable[[BufferedWriteError], None] | None = None,
    ) -> WriteBuffer:
        """Make a buffer that takes memories at once and stores them in the background, in batches.

        Those that one thread or task gives are stored in that order. One that has no `time` gets the one of
        the call, not of the batch. So what is logged twice is stored twice, other than by `remember` of the
        client: give a `dedup_key` to what is to be stored once.

        The buffer is flushed when a batch is full or has waited for long enough, by `flush()`, at the end of
        the block, by closing the client, and when the interpreter ends. It holds so many memories and bytes
        at the most; when it is full, its methods wait until there is room.

        Batches are sent and tried again as this client's other requests (see `with_options`), and a batch
        that is tried again is stored once. A memory that the server refuses has failed alone. When there is
        no way to the server, all that the buffer holds has failed. What failed is logged as a warning, and
        raised as a `BufferedWriteError` that has the memories in `failed`, each with the reason: by the next
        call of any method of the buffer, or at the end of the block. An exception that ends the block is not
        replaced; the memories are then in `failed` of the buffer.

        Args:
            max_batch: Memories in a batch at the most, up to 1,000; as many are sent at once.
            max_delay: Seconds that a memory waits for others at the most.
            max_pending: Memories held at the most, with those that failed and were not raised yet.
            max_bytes: Bytes held at the most, as JSON.
            on_failure: Is called with the error, from wherever the batch is sent, in place of raising it.

        Returns:
            A context manager that gives a buffer with `remember`, `decide`, `add_memory`, `add_memories`,
            `flush` and `close`. It may be used without a block too.

        Raises:
            ValueError: If a limit cannot work.
            TypeError: If `on_failure` has to be awaited.

        Example:
            >>> with client.buffered() as log:
            ...     log.remember("agent_1", "User prefers dark mode")
            ...     log.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        from memtrace._buffer import Limits  # noqa: PLC0415
        from memtrace._sync.buffered import WriteBuffer  # noqa: PLC0415

        limits = Limits(
            max_batch=max_batch, max_delay=max_delay, max_pending=max_pending, max_bytes=max_bytes
        )
        return WriteBuffer(self, limits, on_failure)

    def list_sessions(
        self,
        agent_id: str | None = None,
        *,
        status: SessionStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SessionList:
        """List sessions, newest first.

        Args:
            agent_id: Only of this agent.
            status: Only `active` or only `closed` ones.
            limit: The most sessions to give.
            cursor: `next_cursor` of the page before.

        Returns:
            A page of sessions.
        """
        listing = call(operations.list_sessions, agent_id=agent_id, status=status, limit=limit, cursor=cursor)
        return self._sender.fetch(listing, SessionList)

    def get_session(self, session_id: str) -> Session:
        """Give the session of an id.

        Args:
            session_id: Which session.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If there is none.
        """
        return self._sender.fetch(call(operations.get_session, session_id), Session)

    def get_session_memories(self, session_id: str, options: ListOptions | None = None) -> MemoryList:
        """List the memories of a session.

        Args:
            session_id: Which session.
            options: Filters. A `session_id` in them is passed over.

        Returns:
            A page of memories, newest first unless the options say otherwise.

        Raises:
            NotFoundError: If there is no such session.
        """
        filters = chosen(ListOptions, options).to_dict()
        filters.pop("session_id", None)
        return self._sender.fetch(call(operations.list_session_memories, session_id, **filters), MemoryList)

    def get_session_context(
        self,
        session_id: str,
        options: ContextOptions | None = None,
        *,
        since: TimePoint | None = None,
        until: TimePoint | None = None,
        include_types: list[MemoryType] | None = None,
        max_tokens: int | None = None,
    ) -> SessionContext:
        """Give a session's memories as markdown for an LLM.

        Args:
            session_id: Which session.
            options: What to make it of. Or give the options as keywords:
            since: Only memories of this time or later.
            until: Only memories from before this time.
            include_types: Only memories of these types.
            max_tokens: The most tokens that it may take; never exceeded.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If there is no such session.
            TypeError: If options and keywords are mixed.
        """
        body = chosen(
            ContextOptions,
            options,
            since=since,
            until=until,
            include_types=include_types,
            max_tokens=max_tokens,
        )
        context = call(operations.get_session_context, session_id, body=body)
        return self._sender.fetch(context, SessionContext)

    def update_session(
        self,
        session_id: str,
        request: UpdateSessionRequest | None = None,
        *,
        status: SessionStatus | None = None,
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Close or reopen a session, or change its metadata.

        Args:
            session_id: Which session.
            request: What to change. Or give it as keywords:
            status: `closed` closes it, `active` opens it again.
            metadata: Merged into what is there; a key given as None is removed.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If there is no such session.
            TypeError: If a request and keywords are mixed.
        """
        body = chosen(UpdateSessionRequest, request, status=status, metadata=metadata)
        write = call(
            operations.update_session, session_id, body=body, idempotency_key=idempotent(idempotency_key)
        )
        return self._sender.fetch(write, Session)

    def close_session(self, session_id: str, *, idempotency_key: str | None = None) -> Session:
        """Close a session. What it remembers stays.

        Args:
            session_id: Which session.
            idempotency_key: Your own key for this write, to repeat it safely; a new one if not given.

        Returns:
            The session, closed.

        Raises:
            NotFoundError: If there is no such session.
        """
        return self.update_session(session_id, status="closed", idempotency_key=idempotency_key)

    def health(self) -> Health:
        """Ask whether the server is alive. A 503 is not tried again: it is the answer.

        Raises:
            ServerError: If it is not well.
        """
        return self._sender.fetch(call(operations.get_health), Health, self._patient_but_for_503())

    def ready(self) -> Health:
        """Ask whether the server can do its work. A 503 is not tried again: it is the answer.

        Raises:
            ServerError: If it cannot.
        """
        return self._sender.fetch(call(operations.get_ready), Health, self._patient_but_for_503())

    def _iter_pages(self, options: ListOptions) -> Iterator[Memory]:
        next_options: ListOptions | None = options
        while next_options is not None:
            page = self.list_memories(next_options)
            for memory in page.memories:
                yield memory
            next_options = page_after(next_options, page)

    def _iter_found(self, query: SearchQuery) -> Iterator[Memory]:
        pages = SearchPages(query)
        while pages.query is not None:
            for memory in pages.take(self.search_memories(pages.query)):
                yield memory

    def _within(self, retries: Retries) -> Self:
        """Copy this client for a call that is a part of another one: it has the time that is left of that."""
        left = retries.deadline.left()
        return self if left is None else self.with_options(timeout=max(left, _LEAST))

    def _patient_but_for_503(self) -> Retries:
        return self._sender.retries(never_on={_UNAVAILABLE})
