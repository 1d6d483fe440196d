"""A session, for as long as a block lasts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from memtrace_api.methods import AsyncSessionMethods

from memtrace._fields import shows_fields
from memtrace._request import request_of
from memtrace.exceptions import MemtraceError, NotFoundError
from memtrace.models import SearchQuery

if TYPE_CHECKING:
    from memtrace._async.client import AsyncMemtrace

T = TypeVar("T")

logger = logging.getLogger("memtrace")


@shows_fields
class AsyncSessionHandle(AsyncSessionMethods):
    """A session that begins and ends with an `async with` block; `AsyncMemtrace.session` makes one.

    Every method raises the errors of the client's method, and RuntimeError before the block.

    Attributes:
        agent_id: The agent whose session it is.
    """

    _client: AsyncMemtrace

    def __init__(
        self,
        client: AsyncMemtrace,
        agent_id: str,
        session_id: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        self.agent_id = agent_id
        self._client = client
        self._metadata = metadata
        self._id = session_id
        self._is_new = session_id is None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.agent_id!r}, id={self._id!r})"

    @property
    def id(self) -> str:
        """The session's id.

        Raises:
            RuntimeError: Before the block, if no id was given.
        """
        if self._id is None:
            raise RuntimeError("the session begins with the block: use it in a with statement")
        return self._id

    async def __aenter__(self) -> Self:
        if self._is_new:
            made = await self._client.create_session(agent_id=self.agent_id, metadata=self._metadata)
            self._id = made.id
            return self
        try:
            await self._client.update_session(self.id, status="active", metadata=self._metadata)
            self._metadata = None
        except NotFoundError:
            # The first memory creates it.
            logger.debug("Session %s begins with its first memory", self._id)
        return self

    async def __aexit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        metadata = None if self._is_new else self._metadata
        try:
            await self._client.update_session(self.id, status="closed", metadata=metadata)
        except MemtraceError as error:
            if isinstance(error, NotFoundError) and not self._is_new:
                return  # no memory created it
            # The exception of the block matters more.
            if exception is None:
                raise
            logger.warning("Session %s is left open: %s", self.id, error)

    def _bound(self, of: type[T], request: object, fields: Mapping[str, object]) -> T:
        """Return a request limited to the session's agent; a search, to this session too."""
        made: Any = request_of(of, request, fields)
        session = {"session_id": self.id} if of is SearchQuery else {}
        bound: T = attrs.evolve(made, agent_id=self.agent_id, **session)
        return bound
