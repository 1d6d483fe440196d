"""Sessions and tools of the OpenAI Agents SDK, with its real runner and a scripted model."""

from __future__ import annotations

import asyncio
import json

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from agents.memory import Session, SessionSettings
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from memtrace import AsyncMemtrace, Memtrace
from memtrace.integrations.openai_agents import MemtraceSession, memtrace_tools


class ScriptedModel(Model):
    """Respond with the next of its outputs, and record its input."""

    def __init__(self, *outputs) -> None:
        self.outputs = list(outputs)
        self.inputs: list[object] = []

    async def get_response(self, system_instructions, input, *args, **options):  # noqa: A002
        self.inputs.append(input)
        return ModelResponse(output=[self.outputs.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *args, **options):
        raise NotImplementedError


def says(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id="m", type="message", role="assistant", status="completed", content=[content]
    )


def calls(tool: str, **arguments) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        id="f", call_id="call-1", type="function_call", name=tool, arguments=json.dumps(arguments)
    )


@pytest.fixture
def ask(run):
    """Run an agent with a prompt, in a session if one is given."""
    config = RunConfig(tracing_disabled=True)
    return lambda agent, prompt, session=None: run(
        Runner.run(agent, prompt, session=session, run_config=config)
    )


def test_a_session_satisfies_the_protocol(client):
    assert isinstance(MemtraceSession("chat", client), Session)


def test_a_runner_continues_the_conversation_of_a_session(client, ask):
    model = ScriptedModel(says("Hello Ann"), says("You are Ann"))
    agent = Agent(name="a", model=model)
    ask(agent, "I am Ann", MemtraceSession("chat", client))
    ask(agent, "Who am I?", MemtraceSession("chat", client))
    texts = json.dumps(model.inputs[1])
    assert "I am Ann" in texts
    assert "Hello Ann" in texts
    assert "Who am I?" in texts


def test_a_session_keeps_calls_of_tools_and_their_results(client, ask):
    model = ScriptedModel(calls("remember", content="Ann likes tea", tags=None), says("Noted"), says("Tea"))
    agent = Agent(name="a", model=model, tools=memtrace_tools(client, "agent"))
    session = MemtraceSession("chat", client)
    ask(agent, "I like tea", session)
    ask(agent, "What do I like?", session)
    kinds = [item.get("type", item.get("role")) for item in model.inputs[2]]
    assert "function_call" in kinds
    assert "function_call_output" in kinds


def test_a_tool_finds_what_another_remembered(client, ask):
    model = ScriptedModel(
        calls("remember", content="Ann is allergic to nuts", tags=["food"]),
        says("Noted"),
        calls("search_memory", question="What is Ann allergic to?", limit=5),
        says("Nuts"),
    )
    agent = Agent(name="a", model=model, tools=memtrace_tools(client, "agent"))
    ask(agent, "I am allergic to nuts")
    ask(agent, "What am I allergic to?")
    assert "Ann is allergic to nuts" in json.dumps(model.inputs[3])


def test_tools_see_the_memories_of_their_agent_only(blocking_client, ask):
    blocking_client.remember("another", "Bob is allergic to nuts")
    blocking_client.remember("agent", "It rains")
    found, recalled = calls("search_memory", question="Who is allergic to nuts?"), calls("recall_recent")
    model = ScriptedModel(found, says("Nobody"), recalled, says("Nobody"))
    agent = Agent(name="a", model=model, tools=memtrace_tools(blocking_client, "agent"))
    ask(agent, "Who is allergic?")
    ask(agent, "What happened?")
    assert "Nothing was found." in json.dumps(model.inputs[1])
    assert "It rains" in json.dumps(model.inputs[3])
    assert "Bob" not in json.dumps(model.inputs[3])


def test_items_are_limited_popped_and_cleared_in_their_order(client, run):
    items = [{"role": "user", "content": str(number)} for number in range(1_205)]

    async def work():
        session = MemtraceSession("chat", client)
        await session.add_items(items)
        assert await session.get_items() == items
        assert await session.get_items(3) == items[-3:]
        assert await session.get_items(0) == []
        assert await session.pop_item() == items[-1]
        other = MemtraceSession("chat", client, session_settings=SessionSettings(limit=2))
        assert await other.get_items() == items[-3:-1]
        await other.clear_session()
        assert await session.get_items() == []
        assert await session.pop_item() is None

    run(work())


def test_the_same_words_twice_are_two_items(client, run):
    yes = {"role": "user", "content": "yes"}

    async def work():
        session = MemtraceSession("chat", client)
        await session.add_items([yes])
        await session.add_items([yes])
        return await session.get_items()

    assert run(work()) == [yes, yes]


def test_an_item_longer_than_a_memory_is_popped_whole(client, run):
    item = {"role": "user", "content": "é" * 100_000}

    async def work():
        session = MemtraceSession("chat", client)
        await session.add_items([{"role": "user", "content": "first"}, item])
        return await session.pop_item(), await session.get_items()

    popped, left = run(work())
    assert popped == item
    assert left == [{"role": "user", "content": "first"}]


def test_items_popped_at_once_are_each_popped_once(memtrace_server, run):
    items = [{"role": "user", "content": str(number)} for number in range(8)]

    async def work():
        clients = [AsyncMemtrace(memtrace_server.url, memtrace_server.key) for _ in range(4)]
        sessions = [MemtraceSession("chat", client) for client in clients]
        await sessions[0].add_items(items)
        popped = await asyncio.gather(*(session.pop_item() for session in sessions * 2))
        left = await sessions[0].get_items()
        for client in clients:
            await client.close()
        return popped, left

    popped, left = run(work())
    assert sorted(popped, key=lambda item: item["content"]) == items
    assert left == []


def test_a_session_is_cleared_with_a_key_that_may_forget_one_by_one_only(live_server, run):
    key = live_server.create_tenant("clears-a-session", role="writer")
    with Memtrace(live_server.url, key) as client:
        session = MemtraceSession("chat", client)
        run(session.add_items([{"role": "user", "content": str(number)} for number in range(3)]))
        other = MemtraceSession("other", client)
        run(other.add_items([{"role": "user", "content": "stays"}]))
        run(session.clear_session())
        assert run(session.get_items()) == []
        assert len(run(other.get_items())) == 1


def test_sessions_do_not_see_one_another(client, run):
    async def work():
        await MemtraceSession("a", client).add_items([{"role": "user", "content": "a"}])
        return await MemtraceSession("b", client).get_items()

    assert run(work()) == []


def test_a_model_is_told_which_argument_of_a_tool_is_wrong(client, ask):
    model = ScriptedModel(calls("search_memory", question="tea", limit=1_000_000), says("Done"))
    ask(Agent(name="a", model=model, tools=memtrace_tools(client, "agent")), "?")
    assert "Nothing was done: limit" in model.inputs[1][-1]["output"]


def test_a_search_finds_words_after_line_breaks_of_items(blocking_client, run):
    item = {"role": "user", "content": "I like\ntea \ud800\0"}
    session = MemtraceSession("chat", blocking_client)
    run(session.add_items([item]))
    assert run(session.get_items()) == [item]
    assert len(blocking_client.search_memories("tea")) == 1
