"""The methods that follow from the contract, of clients, sessions and buffers: for tasks, and for threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar, Unpack, overload

from . import requests
from .fields import (
    AddMemoryFields,
    AgentContextFields,
    AgentFields,
    AgentListFilters,
    AgentMemoryFilters,
    ContextFields,
    CreateSessionFields,
    DecisionFields,
    DeleteAgentFields,
    DeleteSessionFields,
    ListFilters,
    MemoryFields,
    RecallFilters,
    RegisterAgentFields,
    SearchConditions,
    SessionContextFields,
    SessionDecisionFields,
    SessionFields,
    SessionListFilters,
    SessionMemoryFields,
    SessionMemoryFilters,
    SessionRecallFilters,
    SessionSearchConditions,
    TailOptions,
    UpdateSessionFields,
)
from .models.access import Access
from .models.add_memory_request import AddMemoryRequest
from .models.agent import Agent
from .models.agent_context import AgentContext
from .models.agent_list import AgentList
from .models.agent_stats import AgentStats
from .models.context_options import ContextOptions
from .models.create_session_request import CreateSessionRequest
from .models.health import Health
from .models.list_options import ListOptions
from .models.memory import Memory
from .models.memory_list import MemoryList
from .models.memory_tail import MemoryTail
from .models.register_agent_request import RegisterAgentRequest
from .models.search_query import SearchQuery
from .models.search_result import SearchResult
from .models.session import Session
from .models.session_context import SessionContext
from .models.session_list import SessionList
from .models.update_session_request import UpdateSessionRequest
from .types import TimePoint

T = TypeVar("T")

# What a tokenizer makes of a text: a number of tokens, or the tokens.
Counted = int | Sequence[object]
CountTokens = Callable[[str], Counted]
AsyncCountTokens = Callable[[str], Counted | Awaitable[Counted]]


class AsyncMethods:
    """What `AsyncMemtrace` has of the contract as it stands."""

    async def _fetch_by(
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
        raise NotImplementedError

    async def _fit_by(
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        identifier: str,
        options: ContextOptions | None,
        *,
        fields: Mapping[str, object],
        count_tokens: AsyncCountTokens | None,
    ) -> T:
        raise NotImplementedError

    async def health(
        self,
    ) -> Health:
        """Ask whether the server is alive.

        Responds as long as the process serves requests, whatever the state of its storage.

        Returns:
            The server's status, with its name and version.

        Raises:
            ServerError: If the response is 503, which is not retried.
        """
        return await self._fetch_by(
            Health,
            requests.get_health,
            fields={},
            never_on={503},
        )

    async def ready(
        self,
    ) -> Health:
        """Ask whether the server is ready.

        Checks the storage; 503 if it does not respond.

        Returns:
            The server's status, with its name and version, and for how long it has run.

        Raises:
            ServerError: If the response is 503, which is not retried.
        """
        return await self._fetch_by(
            Health,
            requests.get_ready,
            fields={},
            never_on={503},
        )

    async def list_memories(
        self,
        options: ListOptions | None = None,
        **fields: Unpack[ListFilters],
    ) -> MemoryList:
        """List memories in order of time.

        Returns the organisation's memories that match every filter given, newest first unless `order` is
        `asc`.

        Args:
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.
        """
        return await self._fetch_by(
            MemoryList,
            requests.list_memories,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    async def get_memory(
        self,
        memory: Memory | str,
    ) -> Memory:
        """Get one memory.

        Returns the memory with this id.

        Args:
            memory: The memory, or its id; a Memtrace 0.x server gives none.

        Returns:
            The memory.

        Raises:
            NotFoundError: If the memory does not exist.
        """
        return await self._fetch_by(
            Memory,
            requests.get_memory,
            memory,
            fields={},
        )

    async def forget(
        self,
        memory: Memory | str,
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Forget one memory.

        Permanently deletes the memory with this id, also from the full-text index. The same memory can be
        stored again afterwards.

        Args:
            memory: The memory, or its id; a Memtrace 0.x server gives none.

        Raises:
            NotFoundError: If the memory does not exist.
            BadRequestError: If the memory has no id, as those of a Memtrace 0.x server.
        """
        await self._fetch_by(
            NoneType,
            requests.forget_memory,
            memory,
            fields={},
            idempotency_key=idempotency_key,
        )

    async def tail_memories(
        self,
        **fields: Unpack[TailOptions],
    ) -> MemoryTail:
        """Follow memories in the order in which they are stored.

        Returns the memories that match every filter given, superseded ones too, in the order in which they
        were stored, whatever their `time`, and the cursor with which to continue. With `wait`, a request
        without a match waits until a matching memory is stored, or ends with an empty page after that time.
        Each stored memory is returned exactly once, even if the server restarts between two requests.

        Returns:
            The next memories, and the cursor with which to continue.
        """
        return await self._fetch_by(
            MemoryTail,
            requests.tail_memories,
            fields=fields,
        )

    async def vacuum(
        self,
    ) -> None:
        """Remove the last traces of forgotten memories.

        Rewrites the store of all organisations, so that none of its files contains any part of forgotten
        memories. Only admins of `org_default`, who operate the server, may do this. The duration depends on
        the size of the store, and writes wait meanwhile. A response 503 with the code `deadline_exceeded`
        does not stop it.

        Raises:
            ServerError: If the response is 503, which is not retried.
            PermissionDeniedError: If the key is not an admin's of `org_default`.
        """
        await self._fetch_by(
            NoneType,
            requests.vacuum_store,
            fields={},
            never_on={503},
        )

    async def search_memories(
        self,
        query: SearchQuery | str | None = None,
        **fields: Unpack[SearchConditions],
    ) -> SearchResult:
        """Search memories.

        Returns the memories that match every condition given. `query` takes a question in plain words and
        ranks the matches; `content_contains` finds a part of the text in any case; `metadata` compares for
        equality. A memory can be found as soon as it is stored.

        Args:
            query: A question, or words. A memory matches if its content, its tags, its event type or
                the strings in its metadata have any of the words, in any form of English ("ran" matches
                "running"). The best matches come first. Case, accents and width do not matter. Names have
                the words of their parts: "session" matches `UserSessionManager`. The content must contain
                each `"phrase in quotes"` word by word, and must not contain a `-word` or `-"phrase"`; a
                hyphen inside a word, or of an option (`-f`, `--force`), excludes nothing. If the query
                names a time ("in March 2025", "yesterday", "the last three days", in English and UTC;
                relative to `as_of` if given), memories of that time rank higher. A query about a time alone
                ("What happened yesterday?"), or whose other words no memory has, returns the memories of
                exactly that time, newest first and without scores. The 64 rarest words, the first 16
                phrases and the first 16 exclusions count. Other conditions are keywords. Or a whole
                `SearchQuery`.

        Returns:
            A page of the memories that match, each with its `score`; `iter_search` goes through the pages.

        Example:
            >>> await client.search_memories("Which theme does the user prefer?", agent_id="agent_1")
        """
        return await self._fetch_by(
            SearchResult,
            requests.search_memories,
            fields=fields,
            request=query,
            of=SearchQuery,
        )

    async def list_agents(
        self,
        **fields: Unpack[AgentListFilters],
    ) -> AgentList:
        """List agents.

        Returns the organisation's agents, registered or not, in order of their id.

        Returns:
            A page of agents.
        """
        return await self._fetch_by(
            AgentList,
            requests.list_agents,
            fields=fields,
        )

    @overload
    async def register_agent(
        self,
        request: RegisterAgentRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Agent: ...

    @overload
    async def register_agent(
        self, name: str, /, *, idempotency_key: str | None = None, **fields: Unpack[AgentFields]
    ) -> Agent: ...

    @overload
    async def register_agent(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RegisterAgentFields]
    ) -> Agent: ...

    async def register_agent(
        self,
        request: RegisterAgentRequest | Mapping[str, Any] | str | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Agent:
        """Register an agent.

        Gives an agent a description and a configuration. The name is the agent's id; memories already
        stored under that id belong to the agent. ConflictError if the name is registered already.

        Args:
            request: The name of the agent, with other fields as keywords. Or a request object or a mapping.

        Returns:
            The agent just registered.

        Raises:
            ConflictError: If the name is registered already. A Memtrace 0.x server: BadRequestError.

        Example:
            >>> await client.register_agent("agent_1", description="Handles customer support")
        """
        return await self._fetch_by(
            Agent,
            requests.register_agent,
            fields=fields,
            request=request,
            of=RegisterAgentRequest,
            idempotency_key=idempotency_key,
        )

    async def get_agent(
        self,
        agent_id: str,
    ) -> Agent:
        """Get an agent.

        Returns the agent with this id, registered or not.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The agent.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return await self._fetch_by(
            Agent,
            requests.get_agent,
            agent_id,
            fields={},
        )

    async def delete_agent(
        self,
        agent_id: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DeleteAgentFields],
    ) -> None:
        """Delete an agent.

        Deletes the agent's registration. With `delete_memories=true`, its memories and sessions are
        permanently deleted too. Otherwise they stay in the organisation's log, and the agent exists again
        from its next memory or session on.

        Args:
            agent_id: Id or name of the agent.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        await self._fetch_by(
            NoneType,
            requests.delete_agent,
            agent_id,
            fields=fields,
            idempotency_key=idempotency_key,
        )

    async def get_agent_memories(
        self,
        agent_id: str,
        options: ListOptions | None = None,
        **fields: Unpack[AgentMemoryFilters],
    ) -> MemoryList:
        """List an agent's memories.

        Like `list_memories`, for one agent; NotFoundError if there is no such agent.

        Args:
            agent_id: Id or name of the agent.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return await self._fetch_by(
            MemoryList,
            requests.list_agent_memories,
            agent_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    async def get_agent_stats(
        self,
        agent_id: str,
    ) -> AgentStats:
        """Count an agent's memories.

        Returns the number of the agent's memories, by type and of the last 24 hours, and of its sessions.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The counts, exact at the time of the response.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return await self._fetch_by(
            AgentStats,
            requests.get_agent_stats,
            agent_id,
            fields={},
        )

    async def get_agent_context(
        self,
        agent_id: str,
        options: ContextOptions | None = None,
        *,
        count_tokens: AsyncCountTokens | None = None,
        **fields: Unpack[AgentContextFields],
    ) -> AgentContext:
        """Get an agent's memories as markdown for an LLM.

        Like `get_session_context`, for all memories of the agent, with a heading for each session too.

        Args:
            agent_id: Id or name of the agent.
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens, or awaits either. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the agent does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return await self._fit_by(
            AgentContext,
            requests.get_agent_context,
            agent_id,
            options,
            fields=fields,
            count_tokens=count_tokens,
        )

    async def list_sessions(
        self,
        agent_id: str | None = None,
        **fields: Unpack[SessionListFilters],
    ) -> SessionList:
        """List sessions.

        Returns the organisation's sessions, newest first.

        Args:
            agent_id: Only results of this agent.

        Returns:
            A page of sessions.
        """
        return await self._fetch_by(
            SessionList,
            requests.list_sessions,
            fields={"agent_id": agent_id, **fields},
        )

    @overload
    async def create_session(
        self,
        request: CreateSessionRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Session: ...

    @overload
    async def create_session(
        self, agent_id: str, /, *, idempotency_key: str | None = None, **fields: Unpack[SessionFields]
    ) -> Session: ...

    @overload
    async def create_session(
        self, *, idempotency_key: str | None = None, **fields: Unpack[CreateSessionFields]
    ) -> Session: ...

    async def create_session(
        self,
        request: CreateSessionRequest | Mapping[str, Any] | str | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Session:
        """Start a session.

        Starts a session of an agent, registered or not. Memories that name its id belong to it.

        Args:
            request: The id of the agent, with other fields as keywords. Or a request object or a mapping.

        Returns:
            The session just started.
        """
        return await self._fetch_by(
            Session,
            requests.create_session,
            fields=fields,
            request=request,
            of=CreateSessionRequest,
            idempotency_key=idempotency_key,
        )

    async def get_session(
        self,
        session_id: str,
    ) -> Session:
        """Get a session.

        Returns the session with this id, whether it was started or only named by memories.

        Args:
            session_id: Id of the session.

        Returns:
            The session.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return await self._fetch_by(
            Session,
            requests.get_session,
            session_id,
            fields={},
        )

    async def update_session(
        self,
        session_id: str,
        request: UpdateSessionRequest | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[UpdateSessionFields],
    ) -> Session:
        """Close or reopen a session, or change its metadata.

        Sets the status, and merges `metadata` into the session's metadata as a JSON Merge Patch (RFC 7396):
        a key with a value is set, a key with null is removed, and every other key stays.

        Args:
            session_id: Id of the session.
            request: What to change. Or pass it as keywords.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return await self._fetch_by(
            Session,
            requests.update_session,
            session_id,
            fields=fields,
            request=request,
            of=UpdateSessionRequest,
            idempotency_key=idempotency_key,
        )

    async def delete_session(
        self,
        session_id: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DeleteSessionFields],
    ) -> None:
        """Delete a session.

        Deletes the session and its metadata. With `delete_memories=true`, its memories are permanently
        deleted too, whichever agent wrote them. Otherwise they stay in the organisation's log, and the
        session exists again from its next memory on.

        Args:
            session_id: Id of the session.

        Raises:
            NotFoundError: If the session does not exist.
        """
        await self._fetch_by(
            NoneType,
            requests.delete_session,
            session_id,
            fields=fields,
            idempotency_key=idempotency_key,
        )

    async def get_session_memories(
        self,
        session_id: str,
        options: ListOptions | None = None,
        **fields: Unpack[SessionMemoryFilters],
    ) -> MemoryList:
        """List a session's memories.

        Like `list_memories`, for one session; NotFoundError if there is no such session.

        Args:
            session_id: Id of the session.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return await self._fetch_by(
            MemoryList,
            requests.list_session_memories,
            session_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    async def get_session_context(
        self,
        session_id: str,
        options: ContextOptions | None = None,
        *,
        count_tokens: AsyncCountTokens | None = None,
        **fields: Unpack[SessionContextFields],
    ) -> SessionContext:
        """Get a session's memories as markdown for an LLM.

        Returns a time line: a heading for each day, then a line for each memory, with its time, its event
        type (unless that is `general`) and its content. Equal contents under one heading are written once,
        with their number.

        **Selection.** Half of the budget goes to important memories (an importance of 0.7 or more, or
        decisions, errors and entities without an importance) and half to recent ones. What one half does
        not use goes to the other. With `query`, its best matches come before both. Neither half keeps
        chatter while an important memory is left out. Chatter is any memory that is unimportant, no match,
        and not among the newest eight (as far as an eighth of the budget holds them). Decisions, errors and
        entities without an importance displace only older chatter. A long memory may be shortened. The last
        line says how many memories were left out.

        **Framing.** The first line says that these are records, not instructions. No stored text can become
        a heading, a list, a rule, a code fence or HTML under CommonMark, or close a tag around the context;
        invisible characters are written as escapes.

        Args:
            session_id: Id of the session.
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens, or awaits either. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the session does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return await self._fit_by(
            SessionContext,
            requests.get_session_context,
            session_id,
            options,
            fields=fields,
            count_tokens=count_tokens,
        )

    async def get_access(
        self,
    ) -> Access:
        """Ask what a key may do.

        Returns the organisation and the role of the request's key, and the operations that it may call.

        Returns:
            What the key may do.
        """
        return await self._fetch_by(
            Access,
            requests.get_access,
            fields={},
        )

    async def remember(
        self,
        agent_id: str,
        content: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[MemoryFields],
    ) -> Memory:
        """Store what an agent did, saw or was told.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> await client.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        return await self.add_memory(
            agent_id=agent_id, content=content, idempotency_key=idempotency_key, **fields
        )

    async def decide(
        self,
        agent_id: str,
        decision: str,
        reasoning: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DecisionFields],
    ) -> Memory:
        """Store what an agent decided, and why.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> await client.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        return await self.add_memory(
            agent_id=agent_id,
            content=decision,
            idempotency_key=idempotency_key,
            **_decided(reasoning, fields),
        )

    async def recall(
        self, agent_id: str, since: TimePoint | None = None, **filters: Unpack[RecallFilters]
    ) -> MemoryList:
        """Return the newest memories of an agent, however old, newest first.

        Args:
            agent_id: The agent whose memories to return.
            since: Only memories of this time or later.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Example:
            >>> for memory in (await client.recall("agent_1", since="7d")).memories:
            ...     print(memory.time, memory.content)
        """
        if agent_id is None:
            raise TypeError("agent_id: None is not text; give a string")  # it would mean all agents
        if "order" in filters:
            raise TypeError("order: recall returns the newest first; list_memories has an order")
        return await self.list_memories(agent_id=agent_id, since=since, order="desc", **filters)

    @overload
    async def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Memory: ...

    @overload
    async def add_memory(
        self, *, idempotency_key: str | None = None, **fields: Unpack[AddMemoryFields]
    ) -> Memory: ...

    async def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Memory:
        """Store a memory.

        A Memtrace 0.x server may refuse a write that it has already stored, if its first response was lost
        and the write was retried. The memory is then looked up there. If it cannot be found, the result is
        made from the request, with an empty `org_id` and the time of the first attempt.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.
        """
        return await self._fetch_by(
            Memory,
            requests.add_memory,
            fields=fields,
            request=request,
            of=AddMemoryRequest,
            idempotency_key=idempotency_key,
        )


class AsyncSessionMethods:
    """How `AsyncSessionHandle` stores and returns memories of its agent and session."""

    agent_id: str
    _client: AsyncMethods

    @property
    def id(self) -> str:
        """The session's id."""
        raise NotImplementedError

    def _bound(self, of: type[T], request: object, fields: Mapping[str, object]) -> T:
        raise NotImplementedError

    async def search(
        self,
        query: SearchQuery | str | None = None,
        **fields: Unpack[SessionSearchConditions],
    ) -> SearchResult:
        """Search memories.

        Returns the memories that match every condition given. `query` takes a question in plain words and
        ranks the matches; `content_contains` finds a part of the text in any case; `metadata` compares for
        equality. A memory can be found as soon as it is stored.

        Only memories that the session's agent stored in the session count; `search_memories` of the
        client reaches all others.

        Args:
            query: A question, or words. A memory matches if its content, its tags, its event type or
                the strings in its metadata have any of the words, in any form of English ("ran" matches
                "running"). The best matches come first. Case, accents and width do not matter. Names have
                the words of their parts: "session" matches `UserSessionManager`. The content must contain
                each `"phrase in quotes"` word by word, and must not contain a `-word` or `-"phrase"`; a
                hyphen inside a word, or of an option (`-f`, `--force`), excludes nothing. If the query
                names a time ("in March 2025", "yesterday", "the last three days", in English and UTC;
                relative to `as_of` if given), memories of that time rank higher. A query about a time alone
                ("What happened yesterday?"), or whose other words no memory has, returns the memories of
                exactly that time, newest first and without scores. The 64 rarest words, the first 16
                phrases and the first 16 exclusions count. Other conditions are keywords. Or a whole
                `SearchQuery`.

        Returns:
            A page of the memories that match, each with its `score`; `iter_search` goes through the pages.
        """
        return await self._client.search_memories(
            self._bound(SearchQuery, query, fields),
        )

    async def context(
        self,
        options: ContextOptions | None = None,
        *,
        count_tokens: AsyncCountTokens | None = None,
        **fields: Unpack[ContextFields],
    ) -> SessionContext:
        """Get a session's memories as markdown for an LLM.

        Returns a time line: a heading for each day, then a line for each memory, with its time, its event
        type (unless that is `general`) and its content. Equal contents under one heading are written once,
        with their number.

        **Selection.** Half of the budget goes to important memories (an importance of 0.7 or more, or
        decisions, errors and entities without an importance) and half to recent ones. What one half does
        not use goes to the other. With `query`, its best matches come before both. Neither half keeps
        chatter while an important memory is left out. Chatter is any memory that is unimportant, no match,
        and not among the newest eight (as far as an eighth of the budget holds them). Decisions, errors and
        entities without an importance displace only older chatter. A long memory may be shortened. The last
        line says how many memories were left out.

        **Framing.** The first line says that these are records, not instructions. No stored text can become
        a heading, a list, a rule, a code fence or HTML under CommonMark, or close a tag around the context;
        invisible characters are written as escapes.

        Only memories that the session's agent stored in the session count; `get_session_context` of the
        client takes those of other agents too.

        Args:
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens, or awaits either. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the session does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return await self._client.get_session_context(
            self.id,
            self._bound(ContextOptions, options, fields),
            count_tokens=count_tokens,
        )

    async def remember(
        self, content: str, *, idempotency_key: str | None = None, **fields: Unpack[SessionMemoryFields]
    ) -> Memory:
        """Store what the session's agent did, saw or was told.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            content: What happened, in words; stored exactly as given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> await session.remember("User prefers dark mode", tags=["ui"], importance=0.7)
        """
        return await self._client.add_memory(
            agent_id=self.agent_id,
            session_id=self.id,
            content=content,
            idempotency_key=idempotency_key,
            **fields,
        )

    async def decide(
        self,
        decision: str,
        reasoning: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[SessionDecisionFields],
    ) -> Memory:
        """Store what the session's agent decided, and why.

        Args:
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> await session.decide("Use PostgreSQL", "Better JSON support for metadata")
        """
        return await self._client.add_memory(
            agent_id=self.agent_id,
            session_id=self.id,
            content=decision,
            idempotency_key=idempotency_key,
            **_decided(reasoning, fields),
        )

    async def recall(
        self, since: TimePoint | None = None, **filters: Unpack[SessionRecallFilters]
    ) -> MemoryList:
        """Return the newest memories of the session's agent in the session, however old, newest first.

        Args:
            since: Only memories of this time or later.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Example:
            >>> for memory in (await session.recall(since="7d")).memories:
            ...     print(memory.time, memory.content)
        """
        return await self._client.recall(self.agent_id, since, session_id=self.id, **filters)


class AsyncBufferMethods:
    """How `AsyncWriteBuffer` takes memories."""

    async def remember(self, agent_id: str, content: str, **fields: Unpack[MemoryFields]) -> None:
        """Take what an agent did, saw or was told, to be stored soon.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Example:
            >>> await log.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        await self.add_memory(agent_id=agent_id, content=content, **fields)

    async def decide(
        self, agent_id: str, decision: str, reasoning: str, **fields: Unpack[DecisionFields]
    ) -> None:
        """Take what an agent decided, and why, to be stored soon.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Example:
            >>> await log.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        await self.add_memory(agent_id=agent_id, content=decision, **_decided(reasoning, fields))

    @overload
    async def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any],
    ) -> None: ...

    @overload
    async def add_memory(self, **fields: Unpack[AddMemoryFields]) -> None: ...

    async def add_memory(
        self, request: AddMemoryRequest | Mapping[str, Any] | None = None, **fields: object
    ) -> None:
        """Take a memory, to be stored soon.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.
        """
        await self._add(request, fields)

    async def _add(self, request: object, fields: Mapping[str, object]) -> None:
        raise NotImplementedError


class Methods:
    """What `Memtrace` has of the contract as it stands."""

    def _fetch_by(
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
        raise NotImplementedError

    def _fit_by(
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        identifier: str,
        options: ContextOptions | None,
        *,
        fields: Mapping[str, object],
        count_tokens: CountTokens | None,
    ) -> T:
        raise NotImplementedError

    def health(
        self,
    ) -> Health:
        """Ask whether the server is alive.

        Responds as long as the process serves requests, whatever the state of its storage.

        Returns:
            The server's status, with its name and version.

        Raises:
            ServerError: If the response is 503, which is not retried.
        """
        return self._fetch_by(
            Health,
            requests.get_health,
            fields={},
            never_on={503},
        )

    def ready(
        self,
    ) -> Health:
        """Ask whether the server is ready.

        Checks the storage; 503 if it does not respond.

        Returns:
            The server's status, with its name and version, and for how long it has run.

        Raises:
            ServerError: If the response is 503, which is not retried.
        """
        return self._fetch_by(
            Health,
            requests.get_ready,
            fields={},
            never_on={503},
        )

    def list_memories(
        self,
        options: ListOptions | None = None,
        **fields: Unpack[ListFilters],
    ) -> MemoryList:
        """List memories in order of time.

        Returns the organisation's memories that match every filter given, newest first unless `order` is
        `asc`.

        Args:
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.
        """
        return self._fetch_by(
            MemoryList,
            requests.list_memories,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    def get_memory(
        self,
        memory: Memory | str,
    ) -> Memory:
        """Get one memory.

        Returns the memory with this id.

        Args:
            memory: The memory, or its id; a Memtrace 0.x server gives none.

        Returns:
            The memory.

        Raises:
            NotFoundError: If the memory does not exist.
        """
        return self._fetch_by(
            Memory,
            requests.get_memory,
            memory,
            fields={},
        )

    def forget(
        self,
        memory: Memory | str,
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Forget one memory.

        Permanently deletes the memory with this id, also from the full-text index. The same memory can be
        stored again afterwards.

        Args:
            memory: The memory, or its id; a Memtrace 0.x server gives none.

        Raises:
            NotFoundError: If the memory does not exist.
            BadRequestError: If the memory has no id, as those of a Memtrace 0.x server.
        """
        self._fetch_by(
            NoneType,
            requests.forget_memory,
            memory,
            fields={},
            idempotency_key=idempotency_key,
        )

    def tail_memories(
        self,
        **fields: Unpack[TailOptions],
    ) -> MemoryTail:
        """Follow memories in the order in which they are stored.

        Returns the memories that match every filter given, superseded ones too, in the order in which they
        were stored, whatever their `time`, and the cursor with which to continue. With `wait`, a request
        without a match waits until a matching memory is stored, or ends with an empty page after that time.
        Each stored memory is returned exactly once, even if the server restarts between two requests.

        Returns:
            The next memories, and the cursor with which to continue.
        """
        return self._fetch_by(
            MemoryTail,
            requests.tail_memories,
            fields=fields,
        )

    def vacuum(
        self,
    ) -> None:
        """Remove the last traces of forgotten memories.

        Rewrites the store of all organisations, so that none of its files contains any part of forgotten
        memories. Only admins of `org_default`, who operate the server, may do this. The duration depends on
        the size of the store, and writes wait meanwhile. A response 503 with the code `deadline_exceeded`
        does not stop it.

        Raises:
            ServerError: If the response is 503, which is not retried.
            PermissionDeniedError: If the key is not an admin's of `org_default`.
        """
        self._fetch_by(
            NoneType,
            requests.vacuum_store,
            fields={},
            never_on={503},
        )

    def search_memories(
        self,
        query: SearchQuery | str | None = None,
        **fields: Unpack[SearchConditions],
    ) -> SearchResult:
        """Search memories.

        Returns the memories that match every condition given. `query` takes a question in plain words and
        ranks the matches; `content_contains` finds a part of the text in any case; `metadata` compares for
        equality. A memory can be found as soon as it is stored.

        Args:
            query: A question, or words. A memory matches if its content, its tags, its event type or
                the strings in its metadata have any of the words, in any form of English ("ran" matches
                "running"). The best matches come first. Case, accents and width do not matter. Names have
                the words of their parts: "session" matches `UserSessionManager`. The content must contain
                each `"phrase in quotes"` word by word, and must not contain a `-word` or `-"phrase"`; a
                hyphen inside a word, or of an option (`-f`, `--force`), excludes nothing. If the query
                names a time ("in March 2025", "yesterday", "the last three days", in English and UTC;
                relative to `as_of` if given), memories of that time rank higher. A query about a time alone
                ("What happened yesterday?"), or whose other words no memory has, returns the memories of
                exactly that time, newest first and without scores. The 64 rarest words, the first 16
                phrases and the first 16 exclusions count. Other conditions are keywords. Or a whole
                `SearchQuery`.

        Returns:
            A page of the memories that match, each with its `score`; `iter_search` goes through the pages.

        Example:
            >>> client.search_memories("Which theme does the user prefer?", agent_id="agent_1")
        """
        return self._fetch_by(
            SearchResult,
            requests.search_memories,
            fields=fields,
            request=query,
            of=SearchQuery,
        )

    def list_agents(
        self,
        **fields: Unpack[AgentListFilters],
    ) -> AgentList:
        """List agents.

        Returns the organisation's agents, registered or not, in order of their id.

        Returns:
            A page of agents.
        """
        return self._fetch_by(
            AgentList,
            requests.list_agents,
            fields=fields,
        )

    @overload
    def register_agent(
        self,
        request: RegisterAgentRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Agent: ...

    @overload
    def register_agent(
        self, name: str, /, *, idempotency_key: str | None = None, **fields: Unpack[AgentFields]
    ) -> Agent: ...

    @overload
    def register_agent(
        self, *, idempotency_key: str | None = None, **fields: Unpack[RegisterAgentFields]
    ) -> Agent: ...

    def register_agent(
        self,
        request: RegisterAgentRequest | Mapping[str, Any] | str | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Agent:
        """Register an agent.

        Gives an agent a description and a configuration. The name is the agent's id; memories already
        stored under that id belong to the agent. ConflictError if the name is registered already.

        Args:
            request: The name of the agent, with other fields as keywords. Or a request object or a mapping.

        Returns:
            The agent just registered.

        Raises:
            ConflictError: If the name is registered already. A Memtrace 0.x server: BadRequestError.

        Example:
            >>> client.register_agent("agent_1", description="Handles customer support")
        """
        return self._fetch_by(
            Agent,
            requests.register_agent,
            fields=fields,
            request=request,
            of=RegisterAgentRequest,
            idempotency_key=idempotency_key,
        )

    def get_agent(
        self,
        agent_id: str,
    ) -> Agent:
        """Get an agent.

        Returns the agent with this id, registered or not.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The agent.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return self._fetch_by(
            Agent,
            requests.get_agent,
            agent_id,
            fields={},
        )

    def delete_agent(
        self,
        agent_id: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DeleteAgentFields],
    ) -> None:
        """Delete an agent.

        Deletes the agent's registration. With `delete_memories=true`, its memories and sessions are
        permanently deleted too. Otherwise they stay in the organisation's log, and the agent exists again
        from its next memory or session on.

        Args:
            agent_id: Id or name of the agent.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        self._fetch_by(
            NoneType,
            requests.delete_agent,
            agent_id,
            fields=fields,
            idempotency_key=idempotency_key,
        )

    def get_agent_memories(
        self,
        agent_id: str,
        options: ListOptions | None = None,
        **fields: Unpack[AgentMemoryFilters],
    ) -> MemoryList:
        """List an agent's memories.

        Like `list_memories`, for one agent; NotFoundError if there is no such agent.

        Args:
            agent_id: Id or name of the agent.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return self._fetch_by(
            MemoryList,
            requests.list_agent_memories,
            agent_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    def get_agent_stats(
        self,
        agent_id: str,
    ) -> AgentStats:
        """Count an agent's memories.

        Returns the number of the agent's memories, by type and of the last 24 hours, and of its sessions.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The counts, exact at the time of the response.

        Raises:
            NotFoundError: If the agent does not exist.
        """
        return self._fetch_by(
            AgentStats,
            requests.get_agent_stats,
            agent_id,
            fields={},
        )

    def get_agent_context(
        self,
        agent_id: str,
        options: ContextOptions | None = None,
        *,
        count_tokens: CountTokens | None = None,
        **fields: Unpack[AgentContextFields],
    ) -> AgentContext:
        """Get an agent's memories as markdown for an LLM.

        Like `get_session_context`, for all memories of the agent, with a heading for each session too.

        Args:
            agent_id: Id or name of the agent.
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the agent does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return self._fit_by(
            AgentContext,
            requests.get_agent_context,
            agent_id,
            options,
            fields=fields,
            count_tokens=count_tokens,
        )

    def list_sessions(
        self,
        agent_id: str | None = None,
        **fields: Unpack[SessionListFilters],
    ) -> SessionList:
        """List sessions.

        Returns the organisation's sessions, newest first.

        Args:
            agent_id: Only results of this agent.

        Returns:
            A page of sessions.
        """
        return self._fetch_by(
            SessionList,
            requests.list_sessions,
            fields={"agent_id": agent_id, **fields},
        )

    @overload
    def create_session(
        self,
        request: CreateSessionRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Session: ...

    @overload
    def create_session(
        self, agent_id: str, /, *, idempotency_key: str | None = None, **fields: Unpack[SessionFields]
    ) -> Session: ...

    @overload
    def create_session(
        self, *, idempotency_key: str | None = None, **fields: Unpack[CreateSessionFields]
    ) -> Session: ...

    def create_session(
        self,
        request: CreateSessionRequest | Mapping[str, Any] | str | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Session:
        """Start a session.

        Starts a session of an agent, registered or not. Memories that name its id belong to it.

        Args:
            request: The id of the agent, with other fields as keywords. Or a request object or a mapping.

        Returns:
            The session just started.
        """
        return self._fetch_by(
            Session,
            requests.create_session,
            fields=fields,
            request=request,
            of=CreateSessionRequest,
            idempotency_key=idempotency_key,
        )

    def get_session(
        self,
        session_id: str,
    ) -> Session:
        """Get a session.

        Returns the session with this id, whether it was started or only named by memories.

        Args:
            session_id: Id of the session.

        Returns:
            The session.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return self._fetch_by(
            Session,
            requests.get_session,
            session_id,
            fields={},
        )

    def update_session(
        self,
        session_id: str,
        request: UpdateSessionRequest | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[UpdateSessionFields],
    ) -> Session:
        """Close or reopen a session, or change its metadata.

        Sets the status, and merges `metadata` into the session's metadata as a JSON Merge Patch (RFC 7396):
        a key with a value is set, a key with null is removed, and every other key stays.

        Args:
            session_id: Id of the session.
            request: What to change. Or pass it as keywords.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return self._fetch_by(
            Session,
            requests.update_session,
            session_id,
            fields=fields,
            request=request,
            of=UpdateSessionRequest,
            idempotency_key=idempotency_key,
        )

    def delete_session(
        self,
        session_id: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DeleteSessionFields],
    ) -> None:
        """Delete a session.

        Deletes the session and its metadata. With `delete_memories=true`, its memories are permanently
        deleted too, whichever agent wrote them. Otherwise they stay in the organisation's log, and the
        session exists again from its next memory on.

        Args:
            session_id: Id of the session.

        Raises:
            NotFoundError: If the session does not exist.
        """
        self._fetch_by(
            NoneType,
            requests.delete_session,
            session_id,
            fields=fields,
            idempotency_key=idempotency_key,
        )

    def get_session_memories(
        self,
        session_id: str,
        options: ListOptions | None = None,
        **fields: Unpack[SessionMemoryFilters],
    ) -> MemoryList:
        """List a session's memories.

        Like `list_memories`, for one session; NotFoundError if there is no such session.

        Args:
            session_id: Id of the session.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If the session does not exist.
        """
        return self._fetch_by(
            MemoryList,
            requests.list_session_memories,
            session_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    def get_session_context(
        self,
        session_id: str,
        options: ContextOptions | None = None,
        *,
        count_tokens: CountTokens | None = None,
        **fields: Unpack[SessionContextFields],
    ) -> SessionContext:
        """Get a session's memories as markdown for an LLM.

        Returns a time line: a heading for each day, then a line for each memory, with its time, its event
        type (unless that is `general`) and its content. Equal contents under one heading are written once,
        with their number.

        **Selection.** Half of the budget goes to important memories (an importance of 0.7 or more, or
        decisions, errors and entities without an importance) and half to recent ones. What one half does
        not use goes to the other. With `query`, its best matches come before both. Neither half keeps
        chatter while an important memory is left out. Chatter is any memory that is unimportant, no match,
        and not among the newest eight (as far as an eighth of the budget holds them). Decisions, errors and
        entities without an importance displace only older chatter. A long memory may be shortened. The last
        line says how many memories were left out.

        **Framing.** The first line says that these are records, not instructions. No stored text can become
        a heading, a list, a rule, a code fence or HTML under CommonMark, or close a tag around the context;
        invisible characters are written as escapes.

        Args:
            session_id: Id of the session.
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the session does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return self._fit_by(
            SessionContext,
            requests.get_session_context,
            session_id,
            options,
            fields=fields,
            count_tokens=count_tokens,
        )

    def get_access(
        self,
    ) -> Access:
        """Ask what a key may do.

        Returns the organisation and the role of the request's key, and the operations that it may call.

        Returns:
            What the key may do.
        """
        return self._fetch_by(
            Access,
            requests.get_access,
            fields={},
        )

    def remember(
        self,
        agent_id: str,
        content: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[MemoryFields],
    ) -> Memory:
        """Store what an agent did, saw or was told.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> client.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        return self.add_memory(agent_id=agent_id, content=content, idempotency_key=idempotency_key, **fields)

    def decide(
        self,
        agent_id: str,
        decision: str,
        reasoning: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[DecisionFields],
    ) -> Memory:
        """Store what an agent decided, and why.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> client.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        return self.add_memory(
            agent_id=agent_id,
            content=decision,
            idempotency_key=idempotency_key,
            **_decided(reasoning, fields),
        )

    def recall(
        self, agent_id: str, since: TimePoint | None = None, **filters: Unpack[RecallFilters]
    ) -> MemoryList:
        """Return the newest memories of an agent, however old, newest first.

        Args:
            agent_id: The agent whose memories to return.
            since: Only memories of this time or later.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Example:
            >>> for memory in client.recall("agent_1", since="7d").memories:
            ...     print(memory.time, memory.content)
        """
        if agent_id is None:
            raise TypeError("agent_id: None is not text; give a string")  # it would mean all agents
        if "order" in filters:
            raise TypeError("order: recall returns the newest first; list_memories has an order")
        return self.list_memories(agent_id=agent_id, since=since, order="desc", **filters)

    @overload
    def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Memory: ...

    @overload
    def add_memory(
        self, *, idempotency_key: str | None = None, **fields: Unpack[AddMemoryFields]
    ) -> Memory: ...

    def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Memory:
        """Store a memory.

        A Memtrace 0.x server may refuse a write that it has already stored, if its first response was lost
        and the write was retried. The memory is then looked up there. If it cannot be found, the result is
        made from the request, with an empty `org_id` and the time of the first attempt.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.
        """
        return self._fetch_by(
            Memory,
            requests.add_memory,
            fields=fields,
            request=request,
            of=AddMemoryRequest,
            idempotency_key=idempotency_key,
        )


class SessionMethods:
    """How `SessionHandle` stores and returns memories of its agent and session."""

    agent_id: str
    _client: Methods

    @property
    def id(self) -> str:
        """The session's id."""
        raise NotImplementedError

    def _bound(self, of: type[T], request: object, fields: Mapping[str, object]) -> T:
        raise NotImplementedError

    def search(
        self,
        query: SearchQuery | str | None = None,
        **fields: Unpack[SessionSearchConditions],
    ) -> SearchResult:
        """Search memories.

        Returns the memories that match every condition given. `query` takes a question in plain words and
        ranks the matches; `content_contains` finds a part of the text in any case; `metadata` compares for
        equality. A memory can be found as soon as it is stored.

        Only memories that the session's agent stored in the session count; `search_memories` of the
        client reaches all others.

        Args:
            query: A question, or words. A memory matches if its content, its tags, its event type or
                the strings in its metadata have any of the words, in any form of English ("ran" matches
                "running"). The best matches come first. Case, accents and width do not matter. Names have
                the words of their parts: "session" matches `UserSessionManager`. The content must contain
                each `"phrase in quotes"` word by word, and must not contain a `-word` or `-"phrase"`; a
                hyphen inside a word, or of an option (`-f`, `--force`), excludes nothing. If the query
                names a time ("in March 2025", "yesterday", "the last three days", in English and UTC;
                relative to `as_of` if given), memories of that time rank higher. A query about a time alone
                ("What happened yesterday?"), or whose other words no memory has, returns the memories of
                exactly that time, newest first and without scores. The 64 rarest words, the first 16
                phrases and the first 16 exclusions count. Other conditions are keywords. Or a whole
                `SearchQuery`.

        Returns:
            A page of the memories that match, each with its `score`; `iter_search` goes through the pages.
        """
        return self._client.search_memories(
            self._bound(SearchQuery, query, fields),
        )

    def context(
        self,
        options: ContextOptions | None = None,
        *,
        count_tokens: CountTokens | None = None,
        **fields: Unpack[ContextFields],
    ) -> SessionContext:
        """Get a session's memories as markdown for an LLM.

        Returns a time line: a heading for each day, then a line for each memory, with its time, its event
        type (unless that is `general`) and its content. Equal contents under one heading are written once,
        with their number.

        **Selection.** Half of the budget goes to important memories (an importance of 0.7 or more, or
        decisions, errors and entities without an importance) and half to recent ones. What one half does
        not use goes to the other. With `query`, its best matches come before both. Neither half keeps
        chatter while an important memory is left out. Chatter is any memory that is unimportant, no match,
        and not among the newest eight (as far as an eighth of the budget holds them). Decisions, errors and
        entities without an importance displace only older chatter. A long memory may be shortened. The last
        line says how many memories were left out.

        **Framing.** The first line says that these are records, not instructions. No stored text can become
        a heading, a list, a rule, a code fence or HTML under CommonMark, or close a tag around the context;
        invisible characters are written as escapes.

        Only memories that the session's agent stored in the session count; `get_session_context` of the
        client takes those of other agents too.

        Args:
            options: What the context is made of. Or pass the options as keywords.
            count_tokens: How many tokens your model's tokenizer makes of a text: a function that returns the
                number or the tokens. The context is then fitted to `max_tokens` by what
                it counts, in up to three requests; without it, by a bound that holds for any tokenizer.

        Returns:
            The context, and how many memories are in it.

        Raises:
            NotFoundError: If the session does not exist.
            TypeError: If `count_tokens` returns something else.
        """
        return self._client.get_session_context(
            self.id,
            self._bound(ContextOptions, options, fields),
            count_tokens=count_tokens,
        )

    def remember(
        self, content: str, *, idempotency_key: str | None = None, **fields: Unpack[SessionMemoryFields]
    ) -> Memory:
        """Store what the session's agent did, saw or was told.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            content: What happened, in words; stored exactly as given.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> session.remember("User prefers dark mode", tags=["ui"], importance=0.7)
        """
        return self._client.add_memory(
            agent_id=self.agent_id,
            session_id=self.id,
            content=content,
            idempotency_key=idempotency_key,
            **fields,
        )

    def decide(
        self,
        decision: str,
        reasoning: str,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[SessionDecisionFields],
    ) -> Memory:
        """Store what the session's agent decided, and why.

        Args:
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Returns:
            The memory as it is stored.

        Raises:
            ConflictError: If the agent has stored a memory with this `dedup_key` within 24 hours, or with
                `on_duplicate="reject"` an equal one; `existing_id` names it.
            NotFoundError: If the agent has no memory of the id in `supersedes`.

        Example:
            >>> session.decide("Use PostgreSQL", "Better JSON support for metadata")
        """
        return self._client.add_memory(
            agent_id=self.agent_id,
            session_id=self.id,
            content=decision,
            idempotency_key=idempotency_key,
            **_decided(reasoning, fields),
        )

    def recall(self, since: TimePoint | None = None, **filters: Unpack[SessionRecallFilters]) -> MemoryList:
        """Return the newest memories of the session's agent in the session, however old, newest first.

        Args:
            since: Only memories of this time or later.

        Returns:
            The memories; `has_more` says whether there are older ones.

        Example:
            >>> for memory in session.recall(since="7d").memories:
            ...     print(memory.time, memory.content)
        """
        return self._client.recall(self.agent_id, since, session_id=self.id, **filters)


class BufferMethods:
    """How `WriteBuffer` takes memories."""

    def remember(self, agent_id: str, content: str, **fields: Unpack[MemoryFields]) -> None:
        """Take what an agent did, saw or was told, to be stored soon.

        The same words twice are two memories, unless `dedup_key` or `on_duplicate` says otherwise.

        Args:
            agent_id: The agent that remembers it.
            content: What happened, in words; stored exactly as given.

        Example:
            >>> log.remember("agent_1", "User prefers dark mode", tags=["ui"], importance=0.7)
        """
        self.add_memory(agent_id=agent_id, content=content, **fields)

    def decide(self, agent_id: str, decision: str, reasoning: str, **fields: Unpack[DecisionFields]) -> None:
        """Take what an agent decided, and why, to be stored soon.

        Args:
            agent_id: The agent that decided.
            decision: What was decided; the content of a memory of type and event `decision`.
            reasoning: Why; stored as `reasoning` in the metadata, beside what `metadata` has.

        Example:
            >>> log.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")
        """
        self.add_memory(agent_id=agent_id, content=decision, **_decided(reasoning, fields))

    @overload
    def add_memory(
        self,
        request: AddMemoryRequest | Mapping[str, Any],
    ) -> None: ...

    @overload
    def add_memory(self, **fields: Unpack[AddMemoryFields]) -> None: ...

    def add_memory(
        self, request: AddMemoryRequest | Mapping[str, Any] | None = None, **fields: object
    ) -> None:
        """Take a memory, to be stored soon.

        Args:
            request: The memory, as a request object or a mapping. Or pass its fields as keywords.
        """
        self._add(request, fields)

    def _add(self, request: object, fields: Mapping[str, object]) -> None:
        raise NotImplementedError


def _decided(reasoning: str, fields: Mapping[str, object]) -> dict[str, Any]:
    metadata: Any = {} if fields.get("metadata") is None else fields["metadata"]
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata: {metadata!r} is not a mapping; give a dict")
    decision = {"memory_type": "decision", "event_type": "decision"}
    return {**fields, **decision, "metadata": {**metadata, "reasoning": reasoning}}
