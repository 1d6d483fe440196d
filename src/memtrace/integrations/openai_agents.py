"""Sessions and tools for the OpenAI Agents SDK.

Source of the interface: `agents.memory.Session`, version 0.24.
"""

from __future__ import annotations

from typing import Any, cast

from memtrace import AsyncMemtrace, Memtrace
from memtrace.integrations._client import awaitable, requires
from memtrace.integrations._names import name
from memtrace.integrations._records import Record, Records
from memtrace.integrations._tools import memory_tools

with requires("openai-agents"):
    from agents import Tool, TResponseInputItem, function_tool
    from agents.memory import SessionABC, SessionSettings


class MemtraceSession(SessionABC):
    """A conversation of the OpenAI Agents SDK, stored in Memtrace with all items, including tool calls.

    Several processes may share a session; each item is one event of it.

    Args:
        session_id: The id of the conversation.
        client: The client that stores it.
        agent_id: The agent whose memories the items are.
        session_settings: Settings such as the number of items that a run reads.

    Example:
        >>> session = MemtraceSession("chat-42", AsyncMemtrace(url, key))
        >>> await Runner.run(agent, "Hello", session=session)
    """

    def __init__(
        self,
        session_id: str,
        client: AsyncMemtrace | Memtrace | str,
        *,
        agent_id: str = "openai-agents",
        session_settings: SessionSettings | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings: SessionSettings | None = session_settings or SessionSettings()
        self._records = Records(awaitable(client), agent_id, name(agent_id, session_id))

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the conversation, or its newest `limit` items, oldest first."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        if limit is None:
            items = await self._records.read()
        elif limit > 0:
            items = [item for _, item in await self._records.newest(limit)]
        else:
            items = []
        return cast("list[TResponseInputItem]", items)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items to the end of the conversation."""
        records = [cast("Record", item) for item in items]
        await self._records.append([(record, _event_type(record), None) for record in records])

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the newest item and return it, or return None if there is none."""
        return cast("TResponseInputItem | None", await self._records.pop())

    async def clear_session(self) -> None:
        """Remove all items."""
        await self._records.clear()


def memtrace_tools(client: AsyncMemtrace | Memtrace | str, agent_id: str) -> list[Tool]:
    """Return tools with which a model remembers, decides, searches and recalls for an agent.

    Args:
        client: The client that stores the memories.
        agent_id: The agent whose memories they are.

    Example:
        >>> agent = Agent(name="Support", tools=memtrace_tools(client, "support"))
    """
    return [function_tool(cast("Any", tool)) for tool in memory_tools(awaitable(client), agent_id)]


def _event_type(item: Record) -> str:
    return name(str(item.get("role") or item.get("type") or "item"))
