"""Tools and a capability for Pydantic AI.

Source of the interfaces: `pydantic_ai.toolsets` and `pydantic_ai.capabilities`, version 2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from memtrace_api.limits import ADD_MEMORIES_REQUEST_MEMORIES_MAX_ITEMS as _BATCH

from memtrace import AsyncMemtrace, Memtrace, NotFoundError
from memtrace.integrations._client import awaitable, requires
from memtrace.integrations._texts import contents, question
from memtrace.integrations._tools import memory_tools

with requires("pydantic-ai"):
    from pydantic_ai import RunContext
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import ModelMessage, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
    from pydantic_ai.run import AgentRunResult
    from pydantic_ai.toolsets import FunctionToolset

Event = dict[str, Any]


def memtrace_toolset(client: AsyncMemtrace | Memtrace | str, agent_id: str) -> FunctionToolset[Any]:
    """Return a toolset with which a model remembers, decides, searches and recalls for an agent.

    Args:
        client: The client that stores the memories.
        agent_id: The agent whose memories they are.

    Example:
        >>> agent = Agent(model, toolsets=[memtrace_toolset("sqlite:///agent.db", "support")])
    """
    return FunctionToolset(memory_tools(awaitable(client), agent_id), id="memtrace")


class MemtraceMemory(AbstractCapability[Any]):
    """A capability that adds the agent's context before a run, and records the run afterwards.

    The context is fitted to `max_tokens`, with the prompt as its `query`, and goes into the instructions.
    Recorded are the prompt, the tool calls with their results, and the model's messages; a text that is
    longer than a memory may be becomes several. A run that fails is not recorded.

    Args:
        client: The client that stores the memories.
        agent_id: The agent whose memories they are.
        session_id: The session of the run; None for no session.
        max_tokens: The token budget of the context.

    Example:
        >>> agent = Agent(model, capabilities=[MemtraceMemory("sqlite:///agent.db", "support")])
    """

    def __init__(
        self,
        client: AsyncMemtrace | Memtrace | str,
        agent_id: str,
        *,
        session_id: str | None = None,
        max_tokens: int = 2_000,
    ) -> None:
        self.id: str | None = "memtrace"
        self._client = awaitable(client)
        self._agent_id = agent_id
        self._session_id = session_id
        self._max_tokens = max_tokens
        self._context: str | None = None

    async def for_run(self, ctx: RunContext[Any]) -> MemtraceMemory:
        """Return a capability whose instructions contain the current context."""
        this = copy.copy(self)
        await this._read(question(_text(ctx.prompt)))  # noqa: SLF001 - a copy of this object
        return this

    async def _read(self, query: str | None) -> None:
        fields: dict[str, Any] = {} if query is None else {"query": query}
        try:
            found = await self._client.get_agent_context(
                self._agent_id, max_tokens=self._max_tokens, **fields
            )
        except NotFoundError:  # an agent exists once it has a memory
            return
        if found.memory_count:
            self._context = found.context

    def get_instructions(self) -> str | None:
        """Return the context, or nothing if the agent has no memories."""
        return self._context

    async def after_run(self, ctx: RunContext[Any], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        """Record the prompt, the tool calls and the model's messages."""
        del ctx
        common = {"agent_id": self._agent_id}
        if self._session_id is not None:
            common["session_id"] = self._session_id
        events = [
            common | event | {"content": part}
            for event in _events(result.new_messages())
            for part in contents(event["content"])
        ]
        for at in range(0, len(events), _BATCH):
            await self._client.add_memories(events[at : at + _BATCH])
        return result


def _events(messages: Sequence[ModelMessage]) -> Iterator[Event]:
    for message in messages:
        for part in message.parts:
            match part:
                case UserPromptPart():
                    event = {"event_type": "user", "content": _text(part.content)}
                case TextPart():
                    event = {"event_type": "assistant", "content": part.content}
                case ToolCallPart():
                    event = {
                        "event_type": "action",
                        "content": f"{part.tool_name}({part.args_as_json_str()})",
                    }
                case ToolReturnPart():
                    event = {
                        "event_type": "observation",
                        "content": f"{part.tool_name}: {part.model_response_str()}",
                    }
                case _:
                    continue
            if event["content"]:
                yield event


def _text(prompt: str | Sequence[Any] | None) -> str:
    """Return the text of a prompt, without images and other parts."""
    if prompt is None or isinstance(prompt, str):
        return prompt or ""
    return "\n".join(part for part in prompt if isinstance(part, str))
