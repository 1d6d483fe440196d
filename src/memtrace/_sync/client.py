# Derived from src/memtrace/_async/client.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client: one method for each operation of a Memtrace server, and a few that combine them."""

from __future__ import annotations

import copy
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack
from weakref import WeakSet

import attrs
from memtrace_api import requests
from memtrace_api.fields import ForgetFilters, IterFilters, IterSearchConditions, TailFilters
from memtrace_api.methods import CountTokens

from memtrace import _compat
from memtrace._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, MIN_TIMEOUT, Config, Secret, Url, located
from memtrace._contexts import Fitting
from memtrace._fields import shows_fields
from memtrace._request import Call, batch, call, fields_of_pages, forget_filter_of, request_of
from memtrace._response import Answered, Method, model_of, recording
from memtrace._retry import Deadline, Retries
from memtrace._sync.session import SessionHandle
from memtrace._sync.transfer import Transfers
from memtrace._sync.transport import Transports
from memtrace.exceptions import (
    APIStatusError,
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    MemtraceError,
    NotFoundError,
)
from memtrace.models import (
    AddMemoriesRequest,
    AddMemoryRequest,
    ContextOptions,
    ForgetFilter,
    ForgetResult,
    ListOptions,
    Memory,
    MemoryBatch,
    RegisterAgentRequest,
    SearchQuery,
    Session,
    StoredMemories,
)

if TYPE_CHECKING:
    from memtrace._buffer import Failure
    from memtrace._http import HttpClient, Timeout
    from memtrace._sync.buffer import WriteBuffer
else:
    # For frameworks, which read annotations at run time; these imports are long, or not always needed.
    HttpClient = WriteBuffer = Timeout = Any

P = ParamSpec("P")
T = TypeVar("T")

_MAX_WAIT = 20  # seconds that one request of a tail waits

logger = logging.getLogger("memtrace")


@shows_fields
class Memtrace(Transfers):
    """A memory for AI agents, on a Memtrace server or in this process.

    One client serves a whole program: threads and tasks may share it. It connects at the first request.

    Every method raises a `MemtraceError` (see `memtrace.exceptions`) if the server cannot be reached,
    responds with an error, or with something that is not in the contract or larger than 64 MiB; and
    ValueError or TypeError if an argument is wrong. Transient failures (connection errors, timeouts, 408,
    429, 500, 502, 503, 504) are retried with exponential backoff and jitter, never before the `Retry-After`
    of a response; if that is more than 60 seconds, or later than `timeout` allows, the error is raised at
    once. Every write carries an `Idempotency-Key`, so it is stored once however often it is sent.

    `since` and `until` are how long ago (`"24h"`, a timedelta) or when (an ISO 8601 string, a datetime with a
    time zone).

    Args:
        base_url: Where memory lives: a server (`http://host:9100`, `https://…`), a SQLite file
            (`sqlite:///agent.db`), or this process's memory, private to this client (`sqlite://`).
            MEMTRACE_URL or `http://localhost:9100` by default.
        api_key: The key for a server, `mtk_…`, as a string or a SecretStr. MEMTRACE_API_KEY by default.
        timeout: Seconds for one call as a whole: connecting, every attempt, the delays between them, and
            reading the response. Or an `httpx.Timeout`, which bounds each step of each attempt, and not the
            call. None leaves it to `http_client`. (`Memtrace` cannot cut short the look-up of a host name,
            nor a response whose headers arrive byte by byte: each byte may take what is left of the call.)
        max_retries: How often a request may be retried.
        default_headers: Headers for every request. A `User-Agent` among them replaces ours.
        http_client: Your `httpx.Client`, with its own transport, proxies, certificates, headers and
            hooks; or your `httpx2.Client`. It sends all requests, and is not closed with this client.

    Raises:
        ValueError: If an argument cannot work, such as a `base_url` of an unknown scheme.
        TypeError: If an argument is of another type.

    Example:
        >>> with Memtrace("http://localhost:9100", "mtk_...") as client:
        ...     client.remember("agent_1", "User prefers dark mode")
        ...     memories = client.recall("agent_1", since="24h")
    """

    def __init__(  # noqa: PLR0913  # all but two are named
        self,
        base_url: str | Url | None = None,
        api_key: str | Secret | None = None,
        *,
        timeout: float | Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        default_headers: Mapping[str, str] | None = None,
        http_client: HttpClient | None = None,
    ) -> None:
        if timeout is None and http_client is None:
            timeout = DEFAULT_TIMEOUT
        self._config = Config(*located(base_url), api_key, timeout, max_retries, default_headers)
        if http_client is not None and self._config.store is not None:
            raise ValueError("http_client: an embedded store sends nothing over HTTP; leave it out")
        self._transports = Transports(self._config.store, http_client)
        self._buffers: WeakSet[WriteBuffer] = WeakSet()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Where memory lives; without the password, if there is one in it."""
        return self._config.base_url

    def with_options(
        self,
        *,
        api_key: str | Secret | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
    ) -> Self:
        """Copy this client with other settings. The copy shares the connections: closing one closes both.

        Args:
            api_key: Another key.
            timeout: Another timeout: seconds for each call as a whole, or an `httpx.Timeout`.
            max_retries: How often a request may be retried.

        Returns:
            The copy, with this client's settings where no other is given.

        Raises:
            ValueError: If an argument cannot work.

        Example:
            >>> client.with_options(timeout=2.0, max_retries=0).recall("agent_1")
        """
        given = {"api_key": api_key, "timeout": timeout, "max_retries": max_retries}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        copied = copy.copy(self)
        copied._config = attrs.evolve(self._config, **changed)  # noqa: SLF001  # a copy of itself
        return copied

    def with_response(self, method: Method[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Answered[T]:
        """Call a method, and return its result together with the response.

        Args:
            method: A method of this client, or of a session of it, that sends a request before it returns.
                The iterators do not: use `list_memories` or `search_memories`, page by page.
            *args: The method's arguments.
            **kwargs: The method's arguments by name.

        Returns:
            `result`, the value that the method returned; `response`, an `httpx.Response`; `request_id`, the
            name of the request in the server's log; `retries`, how many retries there were.

        Raises:
            TypeError: If the method got no response before it returned.

        Example:
            >>> answered = client.with_response(client.remember, "agent_1", "Hello")
            >>> print(answered.result.id, answered.request_id, answered.response.headers)
        """
        with recording() as recorded:
            result = method(*args, **kwargs)
        return recorded.with_result(result, method)

    def close(self) -> None:
        """Close the buffers, the connections, and the store if it is embedded. Closing twice is fine.

        Raises:
            BufferedWriteError: If a buffer could not store some of its memories.
        """
        self._finish(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        self._finish(exception)

    def _finish(self, exception: BaseException | None) -> None:
        failed: list[Failure] = []
        try:
            for buffer in list(self._buffers):
                try:
                    buffer._finish(exception)  # noqa: SLF001  # it is a part of the client
                except BufferedWriteError as error:
                    failed += error.failed
            if failed:
                from memtrace._buffer import write_error  # noqa: PLC0415  # as with the first buffer

                raise write_error(failed)
        finally:
            self._transports.close()

    def add_memories(
        self,
        memories: Iterable[AddMemoryRequest | Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
    ) -> StoredMemories:
        """Store a batch of memories: all of them, or none.

        Args:
            memories: Up to 1,000 requests, or mappings with the same fields. They are not split: a server
                refuses a larger batch.

        Returns:
            A list of the memories as they are stored, in the same order. `duplicates` has the indexes of
            duplicates with `on_duplicate="return"`, where the list has the first memory.

        Raises:
            TypeError: If a mapping has an unknown field.
            ValueError: If a mapping lacks a required field.
            ConflictError: If one is refused as a duplicate, as by `add_memory`; `details` names each. Nothing
                is stored then. (A Memtrace 0.x server may have stored what comes before it.)
            NotFoundError: If an agent has no memory of the id in `supersedes`.

        Example:
            >>> stored = client.add_memories([{"agent_id": "agent_1", "content": "Opened ticket 4711"}])
            >>> stored[0].id, stored.duplicates
        """
        body = AddMemoriesRequest(memories=batch(memories))
        write = call(requests.add_memory, body=body, idempotency_key=idempotency_key)
        stored = self._send(write, MemoryBatch, body)
        return StoredMemories(stored.memories, stored.duplicates or ())

    def iter_memories(
        self,
        options: ListOptions | None = None,
        *,
        page_size: int | None = None,
        **filters: Unpack[IterFilters],
    ) -> Iterator[Memory]:
        """Iterate over all memories that match, requesting each page when it is needed.

        Args:
            options: The filters; `limit` is the size of a page. Or pass them as keywords.
            page_size: How many memories to request at a time; 100 by default.

        Returns:
            The memories, one by one.

        Example:
            >>> for memory in client.iter_memories(agent_id="agent_1", order="asc"):
            ...     print(memory.content)
        """
        return self._iter_pages(request_of(ListOptions, options, fields_of_pages(filters, page_size)))

    def tail(self, *, cursor: str | None = None, **filters: Unpack[TailFilters]) -> Iterator[Memory]:
        """Iterate over memories as they are stored, without end, in the order in which they are stored.

        The iterator waits for the next memory. It survives restarts of the server: transient failures after
        the first response are retried for as long as they last, and nothing is repeated or skipped.

        Args:
            cursor: Where to continue; `next_cursor` of `tail_memories` with the same filters.

        Returns:
            The memories, one by one.

        Raises:
            MemtraceError: If a failure is not transient, or the first request fails.

        Example:
            >>> for memory in client.tail(agent_id="agent_1"):
            ...     print(memory.content)
        """
        outage: Retries | None = None
        while True:
            try:
                page = self.tail_memories(cursor=cursor, wait=self._patience(), **filters)
            except MemtraceError as error:
                outage = outage or Retries(sys.maxsize, Deadline(None))
                delay = None if cursor is None else outage.delay_after(error)
                if delay is None:
                    raise
                time.sleep(delay)
                continue
            outage, cursor = None, page.next_cursor
            for memory in page.memories:
                yield memory

    def iter_search(
        self,
        query: SearchQuery | str | None = None,
        *,
        page_size: int | None = None,
        **conditions: Unpack[IterSearchConditions],
    ) -> Iterator[Memory]:
        """Iterate over the memories that a search finds, requesting each page when it is needed.

        With a query: the best 100 memories, and those that follow a question among the best. With
        `order="desc"` or `"asc"`, or without a query: every match.

        Args:
            query: The question, as in `search_memories`, with other conditions as keywords. Or a
                whole `SearchQuery`, whose `limit` is the size of a page.
            page_size: How many memories to request at a time; 100 by default.

        Returns:
            The memories, one by one.
        """
        return self._iter_found(request_of(SearchQuery, query, fields_of_pages(conditions, page_size)))

    def forget_all(
        self,
        filters: ForgetFilter | None = None,
        *,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        **fields: Unpack[ForgetFilters],
    ) -> int:
        """Forget every memory that matches, for good. At least one filter must be given.

        Args:
            filters: What to forget; each filter must match. Or pass them as keywords.
            dry_run: Whether to count the memories and leave them.

        Returns:
            How many memories were forgotten, or would be.

        Raises:
            BadRequestError: If no filter is given.

        Example:
            >>> client.forget_all(agent_id="agent_1", until="30d")
            >>> client.forget_all(metadata={"customer": "anna"}, dry_run=True)
        """
        write = call(
            requests.forget_matching,
            body=forget_filter_of(filters, fields),
            dry_run=dry_run or None,
            idempotency_key=idempotency_key,
        )
        result = self._send(write, ForgetResult)
        return result.matched or 0 if dry_run else result.deleted

    def session(
        self, agent_id: str, *, session_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> SessionHandle:
        """Start a session, or continue one, and close it at the end of the block, also after an exception.

        Args:
            agent_id: The agent whose session it is.
            session_id: The session to continue; your own id for one that begins with its first memory. A new
                session by default.
            metadata: A JSON object; merged into the metadata of a session that exists.

        Returns:
            A context manager with a handle with the session's `id`, and with `remember`, `decide`,
            `recall`, `search` and `context` that are bound to it.

        Example:
            >>> with client.session("agent_1", metadata={"task": "onboarding"}) as session:
            ...     session.remember("User prefers dark mode")
            ...     print((session.context(max_tokens=2000)).context)
        """
        return SessionHandle(self, agent_id, session_id, metadata)

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

        Memories of one thread or task are stored in its order. A memory without `time` gets the time of the
        call.

        A batch is sent when it is full, when its first memory has waited for `max_delay`, by `flush()`, at
        the end of the block, when the buffer or the client is closed, and when the interpreter ends. Callers
        wait while the buffer is full.

        A batch is sent and retried like the other requests of this client (see `with_options`), with one
        idempotency key, so it is stored once. A memory that the server refuses fails alone. If the server
        cannot be reached, all that the buffer holds fails. Failures are logged as a warning, and raised as a
        `BufferedWriteError`, which has the memories and the reasons in `failed`, by the next call of any
        method or at the end of the block. An exception that ends the block is not replaced; the failures stay
        in `failed` of the buffer.

        Args:
            max_batch: Most memories in a batch.
            max_delay: Most seconds that a memory waits for others.
            max_pending: Most memories held.
            max_bytes: Most bytes held, counted as JSON.
            on_failure: A function to call with the error, in the thread that sent the batch, instead of
                raising it.

        Returns:
            A buffer with `remember`, `decide`, `add_memory`, `add_memories`, `flush` and `close`, for use in
            a `with` block or without.

        Raises:
            ValueError: If a limit is out of range.
            TypeError: If `on_failure` would have to be awaited.

        Example:
            >>> with client.buffered() as log:
            ...     log.remember("agent_1", "User prefers dark mode")
            ...     log.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        from memtrace._sync.buffer import WriteBuffer  # noqa: PLC0415  # not every program needs it

        return WriteBuffer(self, max_batch, max_delay, max_pending, max_bytes, on_failure)

    def close_session(self, session_id: str, *, idempotency_key: str | None = None) -> Session:
        """Close a session. Its memories stay.

        Args:
            session_id: The session to close.

        Returns:
            The session, closed.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return self.update_session(session_id, status="closed", idempotency_key=idempotency_key)

    def _fetch_by(  # noqa: PLR0913  # the methods of the contract give them
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        *ids: Memory | str,
        fields: Mapping[str, object],
        request: object = None,
        of: type | None = None,
        idempotency_key: str | None = None,
        never_on: Collection[int] = (),
    ) -> T:
        names = operation.__code__.co_varnames
        given: Any = fields if of is None else request_of(of, request, fields)
        if "body" in names:
            parameters = {"body": given}
        else:
            filters = fields if of is None else given.to_dict()
            # Ids in the path are not filters.
            parameters = {n: value for n, value in filters.items() if n not in names[: len(ids)]}
        write = call(operation, *ids, idempotency_key=idempotency_key, **parameters)
        return self._send(write, model, given, never_on)

    def _send(self, call: Call, model: type[T], body: object = None, never_on: Collection[int] = ()) -> T:
        """Send a request; look up a write that a 0.x server refuses as a duplicate of itself."""
        deadline, sent_at = Deadline(self._config.timeout), datetime.now(UTC)
        retries = Retries(self._config.max_retries, deadline, never_on)
        try:
            return model_of(self._transports.send(call, self._config, retries), model)
        except (BadRequestError, ConflictError, NotFoundError) as error:
            if not _compat.is_already_applied(error, retries):
                raise
            left = deadline.left()
            client = self if left is None else self.with_options(timeout=max(left, MIN_TIMEOUT))
            applied: T = client._applied(call, body, error, sent_at)  # noqa: SLF001  # a copy
            return applied

    def _applied(self, call: Call, body: object, refusal: APIStatusError, sent_at: datetime) -> Any:  # noqa: ANN401  # of any model
        """Return the result of an earlier attempt on a 0.x server; raise the refusal if there is none."""
        if isinstance(body, RegisterAgentRequest):
            agent = _compat.agent_for(body, (self.list_agents()).agents)
            if agent is not None:
                return agent
        elif isinstance(refusal, NotFoundError) and call.operation.startswith("delete_"):
            return None  # the earlier attempt deleted it
        elif isinstance(refusal, ConflictError) and isinstance(body, AddMemoriesRequest):
            return _compat.batch_of(self._stored(body.memories), refusal)
        elif isinstance(refusal, ConflictError) and isinstance(body, AddMemoryRequest):
            logger.debug("The memory was stored by an earlier attempt: %s", refusal)
            try:
                (memory,) = self._stored([body])
            except MemtraceError as error:
                # It is stored, so this must not become an error of storing it.
                logger.debug("The memory cannot be looked up: %s", error)
                memory = None
            return memory or _compat.presumed(body, sent_at)
        raise refusal

    def _stored(self, requests: Collection[AddMemoryRequest]) -> list[Memory | None]:
        """Look up which memories a 0.x server has, among the newest of each agent."""
        newest: dict[str, list[Memory]] = {}
        for agent_id in {request.agent_id for request in requests}:
            options = ListOptions(agent_id=agent_id, order="desc", limit=_compat.LARGEST_PAGE)
            newest[agent_id] = (self.list_memories(options)).memories
        return [_compat.memory_for(request, newest[request.agent_id]) for request in requests]

    def _fit_by(  # noqa: PLR0913  # as above
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        identifier: str,
        options: ContextOptions | None,
        *,
        fields: Mapping[str, object],
        count_tokens: CountTokens | None,
    ) -> T:
        """Return a context; with `count_tokens`, the largest of up to three that it finds small enough."""
        body = request_of(ContextOptions, options, fields)
        if count_tokens is None:
            return self._send(call(operation, identifier, body=body), model)
        fitting: Fitting[Any] = Fitting(body)
        while (asked := fitting.next_options()) is not None:
            context: Any = self._send(call(operation, identifier, body=asked), model)
            counted = count_tokens(context.context)

            fitting.add(context, counted)
        best: T = fitting.best()
        return best

    def _iter_pages(self, options: ListOptions) -> Iterator[Memory]:
        next_options: ListOptions | None = options
        while next_options is not None:
            page = self.list_memories(next_options)
            for memory in page.memories:
                yield memory
            next_options = _compat.page_after(next_options, page)

    def _iter_found(self, query: SearchQuery) -> Iterator[Memory]:
        next_query: SearchQuery | None = query
        last_page: list[Memory] = []
        while next_query is not None:
            result = self.search_memories(next_query)
            new, next_query = _compat.found_after(next_query, result, last_page)
            for memory in new:
                yield memory
            last_page = result.results

    def _patience(self) -> int:
        """Return the seconds that a request may wait for a memory: half of the timeout, at most 20."""
        seconds = Deadline(self._config.timeout).left()
        return _MAX_WAIT if seconds is None else min(_MAX_WAIT, int(seconds / 2))
