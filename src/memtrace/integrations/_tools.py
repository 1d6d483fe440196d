"""Functions with which a model uses its memory, for any framework's tools."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from memtrace import AsyncMemtrace, BadRequestError, Memory

Tool = Callable[..., Coroutine[Any, Any, str]]


def memory_tools(client: AsyncMemtrace, agent_id: str) -> list[Tool]:
    """Return tools for one agent's memory, with docstrings that tell a model when to use each."""

    async def remember(content: str, tags: list[str] | None = None) -> str:
        """Store something that will matter later: a fact, a preference, a result, an open question.

        Args:
            content: What to remember, in a sentence that makes sense by itself.
            tags: A few words to find it by.
        """
        memory = await client.remember(agent_id, content, tags=tags or None)
        return f"Remembered as {memory.id}."

    async def decide(decision: str, reasoning: str) -> str:
        """Store a decision together with the reason for it, so that it can be explained later.

        Args:
            decision: The decision.
            reasoning: The reason.
        """
        memory = await client.decide(agent_id, decision, reasoning)
        return f"Recorded as {memory.id}."

    async def search_memory(question: str, limit: int = 5) -> str:
        """Find memories that answer a question. Use this before asking the user again.

        Args:
            question: A question or a few words.
            limit: The maximum number of memories to return.
        """
        found = await client.search_memories(agent_id=agent_id, query=question, limit=limit)
        return _listed(found.results)

    async def recall_recent(limit: int = 20) -> str:
        """Read the newest memories, newest first. Use this to see what happened lately.

        Args:
            limit: The maximum number of memories to return.
        """
        page = await client.recall(agent_id, limit=limit)
        return _listed(page.memories)

    return [_explained(tool) for tool in (remember, decide, search_memory, recall_recent)]


def _explained(tool: Tool) -> Tool:
    """Return a tool that tells the model what is wrong with its arguments, instead of ending the run."""

    @wraps(tool)
    async def called(*args: Any, **fields: Any) -> str:  # noqa: ANN401 - whatever the tool takes
        try:
            return await tool(*args, **fields)
        except (BadRequestError, TypeError, ValueError) as error:
            return f"Nothing was done: {error}"

    return called


def _listed(memories: list[Memory]) -> str:
    lines = [f"{memory.time:%Y-%m-%d %H:%M} {memory.content}" for memory in memories]
    return "\n".join(lines) or "Nothing was found."
