"""Clients' methods as tools of frameworks, and models as types, without any wrapper."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import pydantic
import pytest
from agents import FunctionTool, function_tool
from agents.tool_context import ToolContext
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient
from langchain_core.tools import StructuredTool
from mcp.server.mcpserver import MCPServer
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from memtrace import AsyncMemtrace, Memory, MemoryList, Memtrace, SearchQuery

DESCRIBED = {"content": "What happened, in words; stored exactly as given."}


def methods(client: Any) -> list[Callable[..., Any]]:
    """Return the methods of a client that agents use."""
    names = ("remember", "decide", "recall", "list_memories", "search_memories", "get_agent_context")
    return [getattr(client, name) for name in names]


@pytest.mark.parametrize("is_strict", [True, False], ids=["strict", "lax"])
def test_methods_are_tools_of_openai_agents(memtrace: Memtrace, *, is_strict: bool) -> None:
    tools: list[FunctionTool] = [function_tool(method, strict_mode=is_strict) for method in methods(memtrace)]

    remember = tools[0]
    properties = remember.params_json_schema["properties"]
    assert properties["content"]["description"] == DESCRIBED["content"]
    assert {"type": "null"} in properties["tags"]["anyOf"]
    assert ("additionalProperties" in json.dumps(remember.params_json_schema)) == is_strict
    call = json.dumps({"agent_id": "agent_1", "content": "From a tool", "tags": ["ui"]})
    context: Any = ToolContext(context=None, tool_name=remember.name, tool_call_id="1", tool_arguments=call)
    asyncio.run(remember.on_invoke_tool(context, call))  # type: ignore[arg-type]
    assert [memory.tags for memory in memtrace.recall("agent_1")] == [["ui"]]


def test_methods_are_tools_of_mcp(memtrace: Memtrace) -> None:
    server = MCPServer("memory")
    for method in methods(memtrace):
        server.add_tool(method)

    async def use() -> tuple[Any, Any]:
        await server.call_tool("remember", {"agent_id": "agent_1", "content": "From a tool", "tags": ["ui"]})
        return await server.list_tools(), await server.call_tool("recall", {"agent_id": "agent_1"})

    listed, recalled = asyncio.run(use())

    schema = next(tool.input_schema for tool in listed if tool.name == "remember")
    assert set(schema["required"]) == {"agent_id", "content"}
    (memory,) = json.loads(recalled.content[0].text)["memories"]
    assert (memory["content"], memory["tags"]) == ("From a tool", ["ui"])


def test_methods_are_tools_of_pydantic_ai(memtrace: Memtrace) -> None:
    agent = Agent(TestModel(call_tools=["recall"]), tools=methods(memtrace))
    memtrace.remember("a", "Seen by a tool")

    result = asyncio.run(agent.run("What do you remember?"))

    assert "memories" in result.output


def test_async_methods_are_tools_of_pydantic_ai(async_memtrace: AsyncMemtrace) -> None:
    agent = Agent(TestModel(call_tools=["remember"]), tools=methods(async_memtrace))

    result = asyncio.run(agent.run("Remember this"))

    assert "mem_" in result.output


def test_methods_are_tools_of_langchain(memtrace: Memtrace) -> None:
    tools = {tool.name: tool for tool in map(StructuredTool.from_function, methods(memtrace))}

    stored = tools["remember"].invoke({"agent_id": "agent_1", "content": "From a tool", "importance": 0.5})

    assert isinstance(stored, Memory)
    assert tools["recall"].invoke({"agent_id": "agent_1"}).memories == [stored]
    assert "tags" in tools["search_memories"].args


class Turn(pydantic.BaseModel):
    """A user's model with a model of the SDK in it."""

    memory: Memory
    page: MemoryList | None = None
    query: SearchQuery | None = None


def test_models_are_fields_of_pydantic_models(memtrace: Memtrace) -> None:
    memory = memtrace.remember("agent_1", "User prefers dark mode", metadata={"ticket": 4711})
    turn = Turn(memory=memory, page=memtrace.recall("agent_1"), query=SearchQuery(since="7d"))

    again = Turn.model_validate_json(turn.model_dump_json())

    assert again == turn
    assert again.memory == memory
    assert turn.memory is memory
    properties = Turn.model_json_schema()["properties"]["memory"]["properties"]
    assert properties["time"] == {"format": "date-time", "title": "Time", "type": "string"}
    with pytest.raises(pydantic.ValidationError, match="content"):
        Turn.model_validate({"memory": {**memory.to_dict(), "content": 5}})


def test_models_are_parameters_and_results_of_fastapi(memtrace: Memtrace) -> None:
    app = FastAPI()

    @app.post("/search")
    def search(query: Annotated[SearchQuery, Body()]) -> MemoryList:
        return memtrace.list_memories(agent_id=query.agent_id)

    memory = memtrace.remember("agent_1", "User prefers dark mode")
    with TestClient(app) as http:
        found = http.post("/search", json={"agent_id": "agent_1"})
        refused = http.post("/search", json={"agent_id": 5})
        described = http.get("/openapi.json").json()

    assert found.json()["memories"] == [memory.to_dict()]
    assert refused.status_code == 422
    assert "agent_id" in json.dumps(described["paths"]["/search"])


def test_the_sdk_imports_no_pydantic() -> None:
    code = (
        "import sys\n"
        "from memtrace import *\n"
        "Memtrace('sqlite://').remember('a', 'b')\n"
        "print([name for name in sys.modules if name.startswith('pydantic')])\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
