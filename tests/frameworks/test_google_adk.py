"""Google ADK's memory service in Memtrace, with its real runner and a scripted model."""

from __future__ import annotations

import pytest
from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools.load_memory_tool import load_memory_tool
from google.genai.types import Content, Part

from memtrace.integrations.google_adk import MemtraceMemoryService

WHO = {"app_name": "shop", "user_id": "ann"}


class Scripted(BaseLlm):
    """Respond with its parts, one after the other."""

    model: str = "scripted"
    parts: list[Part]
    requests: list[object] = []  # noqa: RUF012 - a field of pydantic's

    async def generate_content_async(self, llm_request, stream=False):  # noqa: FBT002 - ADK's
        self.requests.append(llm_request)
        yield LlmResponse(content=Content(role="model", parts=[self.parts.pop(0)]))


@pytest.fixture
def service(client):
    return MemtraceMemoryService(client)


def event(text: str, author: str = "user", **fields) -> Event:
    return Event(author=author, content=Content(role=author, parts=[Part(text=text)]), **fields)


def texts(response) -> list[str]:
    return [memory.content.parts[0].text for memory in response.memories]


def test_a_session_that_is_added_twice_is_found_once(service, run):
    async def work():
        sessions = InMemorySessionService()
        session = await sessions.create_session(**WHO)
        await sessions.append_event(session, event("I am allergic to nuts"))
        await sessions.append_event(session, event("Noted, no nuts", "assistant"))
        await service.add_session_to_memory(session)
        await sessions.append_event(session, event("And I like nuts on pictures"))
        await service.add_session_to_memory(session)
        return await service.search_memory(**WHO, query="allergic to nuts?")

    response = run(work())
    assert sorted(texts(response)) == [
        "And I like nuts on pictures",
        "I am allergic to nuts",
        "Noted, no nuts",
    ]
    first = next(memory for memory in response.memories if "allergic" in memory.content.parts[0].text)
    assert (first.author, first.content.role) == ("user", "user")
    assert first.timestamp


def test_users_and_applications_do_not_see_one_another(service, run):
    async def work():
        await service.add_events_to_memory(**WHO, events=[event("Ann likes tea")], session_id="s")
        other_user = await service.search_memory(app_name="shop", user_id="bob", query="tea")
        other_app = await service.search_memory(app_name="bank", user_id="ann", query="tea")
        return texts(other_user) + texts(other_app)

    assert run(work()) == []


def test_a_memory_is_added_found_and_deleted_by_its_id(service, run):
    entry = MemoryEntry(
        content=Content(role="user", parts=[Part(text="The cat is called Miso")]),
        author="user",
        timestamp="2026-01-02T03:04:05+00:00",
        custom_metadata={"source": "form"},
    )

    async def work():
        await service.add_memory(**WHO, memories=[entry])
        found = (await service.search_memory(**WHO, query="What is the cat called?")).memories
        await service.delete_memory(**WHO, memory_id=found[0].id)
        return found, await service.search_memory(**WHO, query="cat")

    found, left = run(work())
    assert (found[0].timestamp, found[0].custom_metadata) == (entry.timestamp, {"source": "form"})
    assert left.memories == []


def test_an_event_keeps_its_time_and_its_author(service, run):
    async def work():
        spoken = event("The cat is called Miso", "assistant", timestamp=1_767_323_045.0)
        await service.add_events_to_memory(**WHO, events=[spoken], session_id="s")
        return (await service.search_memory(**WHO, query="cat")).memories[0]

    found = run(work())
    assert found.timestamp == "2026-01-02T03:04:05+00:00"
    assert (found.author, found.content.role) == ("assistant", "model")


def test_a_user_cannot_delete_the_memory_of_another(service, run):
    async def work():
        await service.add_events_to_memory(**WHO, events=[event("Ann likes tea")], session_id="s")
        found = (await service.search_memory(**WHO, query="tea")).memories[0]
        await service.delete_memory(app_name="shop", user_id="bob", memory_id=found.id)
        return await service.search_memory(**WHO, query="tea")

    assert texts(run(work())) == ["Ann likes tea"]


def test_an_agent_loads_its_memory_in_a_run(service, run):
    async def work():
        await service.add_events_to_memory(**WHO, events=[event("The user is vegetarian")], session_id="old")
        model = Scripted(
            parts=[
                Part.from_function_call(name="load_memory", args={"query": "vegetarian?"}),
                Part(text="You are vegetarian"),
            ]
        )
        sessions = InMemorySessionService()
        session = await sessions.create_session(**WHO)
        agent = LlmAgent(name="cook", model=model, tools=[load_memory_tool])
        runner = Runner(app_name="shop", agent=agent, session_service=sessions, memory_service=service)
        message = Content(role="user", parts=[Part(text="What may I eat?")])
        events = [
            each async for each in runner.run_async(user_id="ann", session_id=session.id, new_message=message)
        ]
        return events, model.requests[-1]

    events, request = run(work())
    assert events[-1].content.parts[0].text == "You are vegetarian"
    response = request.contents[-1].parts[0].function_response.response["result"]
    assert "The user is vegetarian" in response.model_dump_json()


def test_texts_and_queries_of_any_length_are_taken(service, run):
    long = "word " * 20_000

    async def work():
        for _ in range(2):
            await service.add_events_to_memory(**WHO, events=[event(f"{long}tea", id="e")], session_id="s")
        entry = MemoryEntry(content=Content(parts=[Part(text=f"{long}cake")]))
        await service.add_memory(**WHO, memories=[entry])
        return [
            texts(await service.search_memory(**WHO, query=f"{'other ' * 2_000}{word}?"))
            for word in ("tea", "cake")
        ]

    for found, word in zip(run(work()), ("tea", "cake"), strict=True):
        assert [text for text in found if text.endswith(word)] == [f"{long}{word}"[65_536:]]


def test_an_empty_query_finds_nothing(service, run):
    assert run(service.search_memory(**WHO, query="")).memories == []
