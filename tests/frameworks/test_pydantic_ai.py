"""Pydantic AI with Memtrace: tools, and a capability around a run, with its own test models."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

from memtrace.integrations.pydantic_ai import MemtraceMemory, memtrace_toolset


def scripted(*parts):
    """Return a model that responds with the next part, and records its input."""
    script, given = list(parts), []

    def respond(messages, info):
        given.append((messages, info))
        return ModelResponse(parts=[script.pop(0)])

    return FunctionModel(respond), given


def test_every_tool_works_with_the_test_model(client, run):
    agent = Agent(TestModel(), toolsets=[memtrace_toolset(client, "a")])
    output = json.loads(run(agent.run("Hello")).output)
    assert set(output) == {"remember", "decide", "search_memory", "recall_recent"}


def test_a_tool_finds_what_another_remembered(client, run):
    model, given = scripted(
        ToolCallPart("remember", {"content": "Ann is allergic to nuts"}),
        ToolCallPart("search_memory", {"question": "What is Ann allergic to?"}),
        TextPart("Nuts"),
    )
    assert run(Agent(model, toolsets=[memtrace_toolset(client, "a")]).run("?")).output == "Nuts"
    assert "Ann is allergic to nuts" in str(given[2][0][-1])


def test_a_capability_puts_the_context_before_a_run(blocking_client, run):
    blocking_client.remember("a", "Ann is allergic to nuts", importance=0.9)
    blocking_client.remember("b", "Bob likes tea")
    model, given = scripted(TextPart("No nuts"))
    run(Agent(model, capabilities=[MemtraceMemory(blocking_client, "a")]).run("What may Ann eat?"))
    instructions = given[0][1].instructions
    assert "Ann is allergic to nuts" in instructions
    assert "Bob" not in instructions


def test_a_capability_records_what_happened(blocking_client, run):
    model, _ = scripted(ToolCallPart("add", {"x": 1, "y": 2}), TextPart("It is 3"))

    def add(x: int, y: int) -> int:
        return x + y

    agent = Agent(model, tools=[add], capabilities=[MemtraceMemory(blocking_client, "a", session_id="chat")])
    run(agent.run("1 + 2?"))
    found = list(blocking_client.iter_memories(session_id="chat", order="asc"))
    assert [(each.event_type, each.content) for each in found] == [
        ("user", "1 + 2?"),
        ("action", 'add({"x":1,"y":2})'),
        ("observation", "add: 3"),
        ("assistant", "It is 3"),
    ]


def test_second_run_knows_the_prompt_of_the_first(client, run):
    model, given = scripted(TextPart("Hello Ann"), TextPart("You are Ann"))
    agent = Agent(model, capabilities=[MemtraceMemory(client, "a")])
    run(agent.run("I am Ann"))
    run(agent.run("Who am I?"))
    assert "user: I am Ann" in given[1][1].instructions


def test_a_context_is_about_the_prompt_and_keeps_its_budget(blocking_client, run):
    blocking_client.remember("a", "Ann is allergic to nuts")
    blocking_client.add_memories(
        [{"agent_id": "a", "content": f"The weather of day {number} was fine"} for number in range(100)]
    )
    model, given = scripted(TextPart("No nuts"), TextPart("It rains"))
    agent = Agent(model, capabilities=[MemtraceMemory(blocking_client, "a", max_tokens=300)])
    run(agent.run("What is Ann allergic to?"))
    assert "Ann is allergic to nuts" in given[0][1].instructions
    assert len(given[0][1].instructions) < 2_000


def test_runs_at_once_have_their_own_context(async_client, run):
    async def work():
        for name in ("tea", "coffee"):
            await async_client.remember("a", f"Ann likes {name}")
        weather = [{"agent_id": "a", "content": f"The weather of day {each} was fine"} for each in range(100)]
        await async_client.add_memories(weather)
        model, given = scripted(TextPart("1"), TextPart("2"))
        agent = Agent(model, capabilities=[MemtraceMemory(async_client, "a", max_tokens=250)])
        await asyncio.gather(agent.run("tea?"), agent.run("coffee?"))
        return {messages[0].parts[-1].content: info.instructions for messages, info in given}

    instructions = run(work())
    for asked, other in (("tea", "coffee"), ("coffee", "tea")):
        assert f"Ann likes {asked}" in instructions[f"{asked}?"]
        assert f"Ann likes {other}" not in instructions[f"{asked}?"]


def test_an_agent_without_memories_gets_no_instructions(client, run):
    model, given = scripted(TextPart("Hello"))
    run(Agent(model, capabilities=[MemtraceMemory(client, "new")]).run("Hello"))
    assert not given[0][1].instructions


@pytest.mark.parametrize(
    ("tool", "arguments", "wrong"),
    [
        ("search_memory", {"question": "tea", "limit": 1_000_000}, "limit"),
        ("recall_recent", {"limit": 0}, "limit"),
        ("remember", {"content": ""}, "content"),
        ("remember", {"content": "Ann likes tea", "tags": [""]}, "tags"),
    ],
    ids=["too many", "none", "no content", "no tag"],
)
def test_a_model_is_told_what_is_wrong_and_the_run_goes_on(client, tool, arguments, wrong, run):
    model, given = scripted(ToolCallPart(tool, arguments), TextPart("Done"))
    assert run(Agent(model, toolsets=[memtrace_toolset(client, "a")]).run("?")).output == "Done"
    assert f"Nothing was done: {wrong}" in given[1][0][-1].parts[0].content


def test_a_run_with_long_and_odd_texts_is_recorded_whole(client, blocking_client, run):
    model, _ = scripted(ToolCallPart("fetch", {}), TextPart("Done"))
    prompt, page = "Read this: " + "word " * 40_000, "\0" + "\U0001f642" * 100_000

    def fetch() -> str:
        return str(page)

    agent = Agent(model, tools=[fetch], capabilities=[MemtraceMemory(client, "a", session_id="chat")])
    assert run(agent.run(prompt)).output == "Done"
    if client is blocking_client:
        found = list(blocking_client.iter_memories(session_id="chat", order="asc"))
        said = "".join(each.content for each in found if each.event_type == "user")
        saw = "".join(each.content for each in found if each.event_type == "observation")
        assert (said, saw) == (prompt, f"fetch: {page}".replace("\0", "\ufffd"))


def test_a_context_is_about_both_ends_of_a_long_prompt(blocking_client, run):
    blocking_client.remember("a", "Ann is allergic to nuts")
    blocking_client.remember("a", "Bob likes tea")
    weather = [{"agent_id": "a", "content": f"The weather of day {each} was fine"} for each in range(100)]
    blocking_client.add_memories(weather)
    model, given = scripted(TextPart("Done"))
    agent = Agent(model, capabilities=[MemtraceMemory(blocking_client, "a", max_tokens=400)])
    run(agent.run(f"What is Ann allergic to? {'Lorem ipsum. ' * 2_000} And what does Bob like?"))
    assert "Ann is allergic to nuts" in given[0][1].instructions
    assert "Bob likes tea" in given[0][1].instructions
