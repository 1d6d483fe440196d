"""The code of the SDK's first description, tests/data/python-sdk.md, runs unchanged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from snippets import Snippet, snippets

from memtrace import ConflictError, Memory, Memtrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live import LiveServer

    Run = Callable[[str], dict[str, Any]]

pytestmark = pytest.mark.usefixtures("documented_server")

SEED: dict[str, Snippet] = {
    s.heading: s for s in snippets(Path(__file__).parents[1] / "data" / "python-sdk.md")
}


@pytest.fixture
def client(documented_server: str) -> Iterator[Memtrace]:
    with Memtrace(documented_server, "mtk_your_api_key") as client:
        yield client


@pytest.fixture
def run(run_snippet: Callable[[Snippet], dict[str, Any]]) -> Run:
    return lambda heading: run_snippet(SEED[heading])


def test_quick_start_runs(run: Run, client: Memtrace, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Quick Start")

    assert re.fullmatch(r"\[20\d\d-\d\d-\d\d .*\] User prefers dark mode\n", capsys.readouterr().out)
    assert names["memories"].count == 1
    decision, fact = client.recall("agent_1").memories
    assert (decision.content, decision.memory_type, decision.event_type) == (
        "Use PostgreSQL",
        "decision",
        "decision",
    )
    assert decision.metadata == {"reasoning": "Better JSON support for metadata"}
    assert (fact.content, fact.memory_type, fact.event_type) == (
        "User prefers dark mode",
        "episodic",
        "general",
    )


def test_async_support_runs(run: Run) -> None:
    names = run("Async Support")

    assert [memory.content for memory in names["memories"].memories] == ["User prefers dark mode"]


def test_every_snippet_that_only_remembers_can_be_run_twice(run: Run, client: Memtrace) -> None:
    for _ in range(2):
        run("Quick Start")
        run("Async Support")

    contents = [memory.content for memory in client.recall("agent_1").memories]
    assert contents.count("User prefers dark mode") == 4


def test_memory_operations_run(run: Run, client: Memtrace) -> None:
    liked = client.add_memory(agent_id="agent_1", content="User likes Dark Mode", importance=0.5)
    client.add_memory(agent_id="agent_1", content="dark mode, said in passing", importance=0.4)
    client.add_memory(agent_id="agent_2", content="Another likes dark mode", importance=0.9)
    decision = client.decide("agent_1", "Ship it", "It is ready")
    client.decide("agent_2", "Wait", "It is not ready")

    names = run("Memory Operations")

    mem = names["mem"]
    assert isinstance(mem, Memory)
    assert (mem.agent_id, mem.session_id, mem.memory_type) == ("agent_1", "sess_1", "episodic")
    assert (mem.event_type, mem.content) == ("observation", "User clicked the settings button")
    assert (mem.tags, mem.importance) == (["ui", "navigation"], 0.7)
    assert [memory.content for memory in names["memories"]] == ["First", "Second"]
    assert [memory.id for memory in names["result"].results] == [liked.id]
    listed = client.list_memories(
        agent_id="agent_1", memory_type="decision", since="7d", limit=50, order="desc"
    )
    assert [memory.id for memory in listed.memories] == [decision.id]


def test_agent_management_runs(run: Run, client: Memtrace, capsys: pytest.CaptureFixture[str]) -> None:
    run("Quick Start")
    client.create_session(agent_id="agent_1")
    capsys.readouterr()

    names = run("Agent Management")

    assert capsys.readouterr().out == "Total memories: 2\nActive sessions: 1\n"
    assert (names["agent"].id, names["agent"].name) == ("agent_1", "agent_1")
    registered = client.get_agent("my-agent")
    assert (registered.description, registered.config) == ("Handles customer support", {"model": "gpt-4"})


def test_a_second_agent_of_the_same_name_is_a_conflict(run: Run) -> None:
    run("Quick Start")
    run("Agent Management")

    with pytest.raises(ConflictError) as caught:
        run("Agent Management")

    assert caught.value.existing_id == "my-agent"


def test_session_management_runs(run: Run, client: Memtrace, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Session Management")

    assert (names["session"].agent_id, names["session"].status) == ("agent_1", "active")
    assert names["session"].metadata == {"task": "onboarding"}
    assert names["ctx"].session_id == names["session"].id
    assert capsys.readouterr().out == f"{names['ctx'].context}\n"
    assert client.get_session(names["session"].id).status == "closed"


def test_error_handling_runs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("Error Handling")

    assert capsys.readouterr().out == "Agent not found\n"


def test_unknown_key_is_an_authentication_error(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()  # Otherwise the fixture replaces the document's key.
    names: dict[str, Any] = {}
    replace(
        SEED["Error Handling"],
        code=SEED["Error Handling"].code.replace("http://localhost:9100", live_server.url),
    ).run(names)
    names["client"].close()

    assert capsys.readouterr().out == "Invalid API key\n"


def test_every_snippet_has_a_test() -> None:
    assert [*SEED] == [
        "Quick Start",
        "Async Support",
        "Memory Operations",
        "Agent Management",
        "Session Management",
        "Error Handling",
    ]
