"""Strands Agents with Memtrace: a memory store and a session repository, with its real agent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from strands import Agent
from strands.memory.types import MemoryStore
from strands.models import Model
from strands.session.repository_session_manager import RepositorySessionManager
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from memtrace import AsyncMemtrace
from memtrace.integrations.strands import MemtraceMemoryStore, MemtraceSessionRepository
from memtrace_server import times


class Scripted(Model):
    """Respond with its texts, one after the other."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.given: list[object] = []

    def update_config(self, **config):
        pass

    def get_config(self):
        return {}

    async def structured_output(self, *args, **options):
        raise NotImplementedError
        yield

    async def stream(self, messages, *args, **options):
        self.given.append([dict(message) for message in messages])
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": self.texts.pop(0)}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}


def test_an_agent_goes_on_with_its_session_in_another_process(no_async_client):
    first = Agent(
        model=Scripted("Hello Ann"),
        agent_id="a",
        session_manager=RepositorySessionManager("chat", MemtraceSessionRepository(no_async_client)),
        callback_handler=None,
    )
    first("I am Ann")
    model = Scripted("You are Ann")
    second = Agent(
        model=model,
        agent_id="a",
        session_manager=RepositorySessionManager("chat", MemtraceSessionRepository(no_async_client)),
        callback_handler=None,
    )
    second("Who am I?")
    said = [message["content"][0]["text"] for message in model.given[0]]
    assert said == ["I am Ann", "Hello Ann", "Who am I?"]


def test_a_repository_keeps_sessions_agents_and_messages(no_async_client):
    repository = MemtraceSessionRepository(no_async_client)
    assert repository.read_session("s") is None
    repository.create_session(Session("s", SessionType.AGENT))
    assert repository.read_session("s").session_id == "s"
    with pytest.raises(SessionException, match="already exists"):
        repository.create_session(Session("s", SessionType.AGENT))

    agent = SessionAgent("a", state={"n": 1}, conversation_manager_state={})
    assert repository.read_agent("s", "a") is None
    repository.create_agent("s", agent)
    repository.update_agent("s", SessionAgent("a", state={"n": 2}, conversation_manager_state={}))
    assert repository.read_agent("s", "a").state == {"n": 2}
    assert repository.read_agent("s", "a").created_at == agent.created_at
    with pytest.raises(SessionException, match="does not exist"):
        repository.update_agent("s", SessionAgent("b", state={}, conversation_manager_state={}))

    for number in range(12):
        message = {
            "role": "user",
            "content": [{"text": str(number)}, {"image": {"source": {"bytes": b"\0x"}}}],
        }
        repository.create_message("s", "a", SessionMessage.from_message(message, number))
    assert repository.read_message("s", "a", 3).message["content"][1]["image"]["source"]["bytes"] == b"\0x"
    assert [m.message_id for m in repository.list_messages("s", "a")] == list(range(12))
    assert [m.message_id for m in repository.list_messages("s", "a", limit=3, offset=9)] == [9, 10, 11]
    assert [m.message_id for m in repository.list_messages("s", "a", offset=11)] == [11]
    created = repository.read_message("s", "a", 3).created_at
    redacted = SessionMessage.from_message({"role": "user", "content": [{"text": "[redacted]"}]}, 3)
    repository.update_message("s", "a", redacted)
    assert repository.read_message("s", "a", 3).created_at == created
    assert repository.read_message("s", "a", 3).message["content"][0]["text"] == "[redacted]"
    assert len(repository.list_messages("s", "a")) == 12
    assert repository.read_message("s", "a", 99) is None
    assert repository.list_messages("s", "other") == []


def test_a_repository_refuses_an_async_client():
    with pytest.raises(TypeError, match="AsyncMemtrace"):
        MemtraceSessionRepository(AsyncMemtrace("sqlite://"))


@pytest.fixture
def store(client):
    return MemtraceMemoryStore(client, "a")


def test_a_memory_store_finds_what_was_added_best_first(store, run):
    async def work():
        await store.add("Ann is allergic to nuts", {"source": "chat"})
        await store.add("Bob likes the taste of tea")
        await store.add("Ann is allergic to nuts", {"source": "chat"})
        await store.add_messages([{"role": "user", "content": [{"text": "I like tea with milk"}]}])
        nuts = await store.search("What is Ann allergic to?")
        tea = await store.search("tea", {"max_search_results": 1})
        return nuts, tea

    nuts, tea = run(work())
    assert nuts[0].content == "Ann is allergic to nuts"
    assert nuts[0].metadata["source"] == "chat"
    assert [entry.content for entry in nuts].count("Ann is allergic to nuts") == 1
    assert len(tea) == 1


def test_messages_are_remembered_as_their_speakers(blocking_client, run):
    said = [
        {"role": "user", "content": [{"text": "I like tea"}, {"image": {"source": {"bytes": b"x"}}}]},
        {"role": "assistant", "content": [{"text": "Noted"}, {"text": "Anything else?"}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": []}}]},
    ]
    run(MemtraceMemoryStore(blocking_client, "a").add_messages(said))

    found = blocking_client.list_memories(agent_id="a", order="asc").memories
    assert [(memory.event_type, memory.content) for memory in found] == [
        ("user", "I like tea"),
        ("assistant", "Noted\nAnything else?"),
    ]


def test_an_agent_uses_a_memory_store_through_its_manager(store):
    assert MemoryStore in MemtraceMemoryStore.__mro__
    agent = Agent(model=Scripted("Hello"), memory_manager={"stores": [store]}, callback_handler=None)
    assert any("memory" in name for name in agent.tool_names)


def test_a_message_longer_than_a_memory_is_kept_in_its_session(no_async_client):
    repository = MemtraceSessionRepository(no_async_client)
    prompt = "Read this: " + "\u00e9" * 200_000
    for model in (Scripted("Done"), Scripted("Again")):
        agent = Agent(
            model=model,
            agent_id="a",
            session_manager=RepositorySessionManager("chat", repository),
            callback_handler=None,
        )
        agent(prompt)
    assert [message.message["content"][0]["text"] for message in repository.list_messages("chat", "a")] == [
        prompt,
        "Done",
        prompt,
        "Again",
    ]


def test_a_session_of_last_week_is_not_created_again(blocking_client, monkeypatch):
    repository = MemtraceSessionRepository(blocking_client)
    repository.create_session(Session("s", SessionType.AGENT))
    now = times.now
    monkeypatch.setattr(times, "now", lambda: now() + 7 * times.DAY)
    with pytest.raises(SessionException, match="already exists"):
        repository.create_session(Session("s", SessionType.AGENT))


def test_a_session_created_at_once_is_created_by_one(no_async_client):
    repository = MemtraceSessionRepository(no_async_client)

    def create(_number):
        try:
            return repository.create_session(Session("s", SessionType.AGENT))
        except SessionException:
            return None

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))
    assert sum(each is not None for each in created) == 1


def test_an_agent_updated_at_once_keeps_one_of_the_states(no_async_client):
    repository = MemtraceSessionRepository(no_async_client)
    repository.create_agent("s", SessionAgent("a", state={"n": None}, conversation_manager_state={}))

    def update(number):
        state = SessionAgent("a", state={"n": number}, conversation_manager_state={})
        repository.update_agent("s", state)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(update, range(8)))
    assert repository.read_agent("s", "a").state["n"] in range(8)


def test_a_message_created_again_replaces_the_first(no_async_client):
    repository = MemtraceSessionRepository(no_async_client)
    for text in ("first", "second"):
        message = SessionMessage.from_message({"role": "user", "content": [{"text": text}]}, 0)
        repository.create_message("s", "a", message)
    assert [each.message["content"][0]["text"] for each in repository.list_messages("s", "a")] == ["second"]


def test_a_store_takes_texts_and_questions_of_any_length(client, run):
    store = MemtraceMemoryStore(client, "agent")

    async def work():
        await store.add("word " * 20_000 + "tea")
        await store.add_messages([{"role": "user", "content": [{"text": "word " * 20_000 + "cake\0"}]}])
        return [
            await store.search(f"{'other ' * 2_000}{word}?") for word in ("tea", "cake")
        ], await store.search("")

    found, nothing = run(work())
    assert [entries[0].content.rstrip("\ufffd")[-4:].strip() for entries in found] == ["tea", "cake"]
    assert nothing == []
