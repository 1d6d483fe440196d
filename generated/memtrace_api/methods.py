"""The methods of clients that the contract describes in full: for tasks, and for threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack, overload

from . import requests
from .fields import (
    AgentListFilters,
    AgentMemoryFilters,
    CreateSessionFields,
    DeleteAgentFields,
    DeleteSessionFields,
    ListFilters,
    SessionFields,
    SessionListFilters,
    SessionMemoryFilters,
    TailOptions,
    UpdateSessionFields,
)
from .models.access import Access
from .models.agent import Agent
from .models.agent_list import AgentList
from .models.agent_stats import AgentStats
from .models.create_session_request import CreateSessionRequest
from .models.list_options import ListOptions
from .models.memory_list import MemoryList
from .models.memory_tail import MemoryTail
from .models.session import Session
from .models.session_list import SessionList
from .models.update_session_request import UpdateSessionRequest

T = TypeVar("T")


class AsyncMethods:
    """What `AsyncMemtrace` has of the contract as it stands."""

    async def _fetch_by(
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        *ids: str,
        fields: Mapping[str, object],
        request: object = None,
        of: type | None = None,
        idempotency_key: str | None = None,
    ) -> T:
        raise NotImplementedError

    async def _delete_by(
        self,
        operation: Callable[..., dict[str, Any]],
        identifier: str,
        *,
        fields: Mapping[str, object],
        idempotency_key: str | None,
    ) -> None:
        raise NotImplementedError

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

    async def tail_memories(
        self,
        **fields: Unpack[TailOptions],
    ) -> MemoryTail:
        """Follow memories in the order in which they are stored.

        Returns the memories that match every filter given, in the order in which they were stored, whatever
        their `time`, and the cursor with which to continue. Superseded memories are returned too. With
        `wait`, the response to a request that finds nothing comes as soon as a matching memory is stored,
        or after that time with an empty page. Each stored memory is returned once, and none is left out,
        whatever happens to the server between two requests.

        Returns:
            The memories that follow, and where to continue.
        """
        return await self._fetch_by(
            MemoryTail,
            requests.tail_memories,
            fields=fields,
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
            NotFoundError: If there is none.
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

        Deletes the agent's registration. With `delete_memories=true`, its memories and sessions are deleted
        too, for good. Without, they stay in the organisation's log, and the agent exists again from its
        next memory or session on.

        Args:
            agent_id: Id or name of the agent.

        Raises:
            NotFoundError: If there is none.
        """
        await self._delete_by(
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

        As `list_memories`, for one agent; 404 if there is no such agent.

        Args:
            agent_id: Id or name of the agent.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If there is none.
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

        Returns how many memories the agent has, by type and of the last 24 hours, and how many sessions.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The counts, exact at the time of the response.

        Raises:
            NotFoundError: If there is none.
        """
        return await self._fetch_by(
            AgentStats,
            requests.get_agent_stats,
            agent_id,
            fields={},
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
            NotFoundError: If there is none.
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
        a key with a value is set, a key with null is removed, every other key stays.

        Args:
            session_id: Id of the session.
            request: What to change. Or pass it as keywords.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If there is none.
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

        Deletes the session and its metadata. With `delete_memories=true`, its memories are deleted too, for
        good, whichever agent wrote them. Without, they stay in the organisation's log, and the session
        exists again from its next memory on.

        Args:
            session_id: Id of the session.

        Raises:
            NotFoundError: If there is none.
        """
        await self._delete_by(
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

        As `list_memories`, for one session; 404 if there is no such session.

        Args:
            session_id: Id of the session.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If there is none.
        """
        return await self._fetch_by(
            MemoryList,
            requests.list_session_memories,
            session_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    async def get_access(
        self,
    ) -> Access:
        """Ask what a key may do.

        Returns the organisation and the role of the key that the request was sent with, and the operations
        that it may call.

        Returns:
            What the key may do.
        """
        return await self._fetch_by(
            Access,
            requests.get_access,
            fields={},
        )


class Methods:
    """What `Memtrace` has of the contract as it stands."""

    def _fetch_by(
        self,
        model: type[T],
        operation: Callable[..., dict[str, Any]],
        *ids: str,
        fields: Mapping[str, object],
        request: object = None,
        of: type | None = None,
        idempotency_key: str | None = None,
    ) -> T:
        raise NotImplementedError

    def _delete_by(
        self,
        operation: Callable[..., dict[str, Any]],
        identifier: str,
        *,
        fields: Mapping[str, object],
        idempotency_key: str | None,
    ) -> None:
        raise NotImplementedError

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

    def tail_memories(
        self,
        **fields: Unpack[TailOptions],
    ) -> MemoryTail:
        """Follow memories in the order in which they are stored.

        Returns the memories that match every filter given, in the order in which they were stored, whatever
        their `time`, and the cursor with which to continue. Superseded memories are returned too. With
        `wait`, the response to a request that finds nothing comes as soon as a matching memory is stored,
        or after that time with an empty page. Each stored memory is returned once, and none is left out,
        whatever happens to the server between two requests.

        Returns:
            The memories that follow, and where to continue.
        """
        return self._fetch_by(
            MemoryTail,
            requests.tail_memories,
            fields=fields,
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
            NotFoundError: If there is none.
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

        Deletes the agent's registration. With `delete_memories=true`, its memories and sessions are deleted
        too, for good. Without, they stay in the organisation's log, and the agent exists again from its
        next memory or session on.

        Args:
            agent_id: Id or name of the agent.

        Raises:
            NotFoundError: If there is none.
        """
        self._delete_by(
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

        As `list_memories`, for one agent; 404 if there is no such agent.

        Args:
            agent_id: Id or name of the agent.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If there is none.
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

        Returns how many memories the agent has, by type and of the last 24 hours, and how many sessions.

        Args:
            agent_id: Id or name of the agent.

        Returns:
            The counts, exact at the time of the response.

        Raises:
            NotFoundError: If there is none.
        """
        return self._fetch_by(
            AgentStats,
            requests.get_agent_stats,
            agent_id,
            fields={},
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
            NotFoundError: If there is none.
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
        a key with a value is set, a key with null is removed, every other key stays.

        Args:
            session_id: Id of the session.
            request: What to change. Or pass it as keywords.

        Returns:
            The session as it is now.

        Raises:
            NotFoundError: If there is none.
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

        Deletes the session and its metadata. With `delete_memories=true`, its memories are deleted too, for
        good, whichever agent wrote them. Without, they stay in the organisation's log, and the session
        exists again from its next memory on.

        Args:
            session_id: Id of the session.

        Raises:
            NotFoundError: If there is none.
        """
        self._delete_by(
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

        As `list_memories`, for one session; 404 if there is no such session.

        Args:
            session_id: Id of the session.
            options: The filters, each of which must match. Or pass them as keywords.

        Returns:
            A page of memories.

        Raises:
            NotFoundError: If there is none.
        """
        return self._fetch_by(
            MemoryList,
            requests.list_session_memories,
            session_id,
            fields=fields,
            request=options,
            of=ListOptions,
        )

    def get_access(
        self,
    ) -> Access:
        """Ask what a key may do.

        Returns the organisation and the role of the key that the request was sent with, and the operations
        that it may call.

        Returns:
            What the key may do.
        """
        return self._fetch_by(
            Access,
            requests.get_access,
            fields={},
        )
