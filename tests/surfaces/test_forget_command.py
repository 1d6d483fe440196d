"""`memtrace forget`: by ids, by filters, counted first; against a store and a server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.commands import Commands
from live import LiveServer

from memtrace import Memtrace


@pytest.fixture(params=["store", "server"])
def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Memtrace]:
    """Return a client with some memories, which commands also use."""
    url, key = f"sqlite:///{tmp_path}/agent.db", "mtk_none"
    if request.param == "server":
        server: LiveServer = request.getfixturevalue("live_server")
        url, key = server.url, server.create_tenant(request.node.name)
    monkeypatch.setenv("MEMTRACE_URL", url)
    monkeypatch.setenv("MEMTRACE_API_KEY", key)
    with Memtrace(url, key) as client:
        client.add_memories(
            [
                {"agent_id": "a", "content": "anna 1", "metadata": {"customer": "anna"}, "tags": ["x"]},
                {"agent_id": "a", "content": "anna 2", "metadata": {"customer": "anna"}, "session_id": "s"},
                {"agent_id": "b", "content": "bert", "metadata": {"customer": "bert", "ticket": 4711}},
            ]
        )
        yield client


def left(client: Memtrace) -> list[str]:
    return [memory.content for memory in client.list_memories(order="asc").memories]


def test_dry_run_counts_the_memories_that_a_run_forgets(client: Memtrace, command: Commands) -> None:
    counted = command("forget", "--metadata", "customer=anna", "--dry-run")
    assert counted == f"Would forget 2 memories in {client.base_url}.\n"
    assert len(left(client)) == 3

    assert command("forget", "--metadata", "customer=anna") == f"Forgot 2 memories in {client.base_url}.\n"
    assert left(client) == ["bert"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--metadata", "ticket=4711"], ["anna 1", "anna 2"]),
        (["--metadata", 'ticket="4711"'], ["anna 1", "anna 2", "bert"]),
        (["--agent", "a", "--tag", "x"], ["anna 2", "bert"]),
        (["--session", "s"], ["anna 1", "bert"]),
        (["--type", "decision", "--type", "episodic"], []),
        (["--event-type", "error", "--event-type", "action"], ["anna 1", "anna 2", "bert"]),
        (["--since", "1h", "--until", "1s", "--agent", "b"], ["anna 1", "anna 2", "bert"]),
        (["--min-importance", "0.1"], ["anna 1", "anna 2", "bert"]),
    ],
    ids=lambda value: " ".join(value) if value and str(value[0]).startswith("--") else "",
)
def test_each_filter_narrows_what_is_forgotten(
    options: list[str], kept: list[str], client: Memtrace, command: Commands
) -> None:
    command("forget", *options)

    assert left(client) == kept


def test_memories_are_forgotten_by_their_ids(client: Memtrace, command: Commands) -> None:
    first, second, _ = client.list_memories(order="asc").memories

    printed = command("forget", str(first.id), str(second.id), "--json")

    assert json.loads(printed) == {"deleted": 2, "store": client.base_url}
    assert left(client) == ["bert"]


def test_an_unknown_id_is_an_error_in_one_line(client: Memtrace, command: Commands) -> None:
    error = command.fail("forget", "mem_01JD5P8E6W3M9V2QXA7RKB4TNC")

    assert "No memory mem_01JD5P8E6W3M9V2QXA7RKB4TNC" in error
    assert len(left(client)) == 3


@pytest.mark.parametrize(
    "options",
    [[], ["mem_1", "--agent", "a"], ["mem_1", "--dry-run"], ["--metadata", "anna"], ["--metadata", "=x"]],
    ids=" ".join,
)
def test_missing_or_contradictory_arguments_are_refused(
    options: list[str], command: Commands, tmp_path: Path
) -> None:
    command.fail("forget", *options, "--url", f"sqlite:///{tmp_path}/none.db", code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_exist_is_not_created(tmp_path: Path, command: Commands) -> None:
    error = command.fail("forget", "--agent", "a", "--url", f"sqlite:///{tmp_path}/none.db", code=2)

    assert f"{tmp_path}/none.db: there is no such file" in error
    assert list(tmp_path.iterdir()) == []


def test_default_store_is_in_the_data_folder_of_the_user(
    tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMTRACE_URL", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    error = command.fail("forget", "--agent", "a", code=2)

    assert f"{tmp_path}/memtrace/memtrace.db: there is no such file" in error
    assert list(tmp_path.iterdir()) == []


def test_every_command_over_memories_works_on_one_organisation(tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/orgs.db"
    command("org", "create", "acme", "--store", url)
    here = ("--url", url)
    there = (*here, "--org", "acme")
    command("remember", "bot", "Anna likes tea", "--metadata", "customer=anna", *there)
    command("decide", "bot", "Tea", "She likes it", *there)

    for words in (["recall", "bot"], ["search", "tea"], ["tail"], ["context", "bot"], ["agents"]):
        assert re.search("bot|tea|Tea", command(*words, *there)), words
    assert "memories\t2" in command("stats", "bot", *there)
    assert command("sessions", *there) == ""
    assert command("agents", *here) == ""
    assert "Would forget 0" in command("forget", "--metadata", "customer=anna", "--dry-run", *here)
    assert "Forgot 1 memory in" in command("forget", "--metadata", "customer=anna", *there)
    assert "memories\t1" in command("stats", "bot", *there)
