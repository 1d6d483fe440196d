from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from helpers.commands import Commands

from memtrace import Memtrace


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'memtrace.sqlite'}"
    with Memtrace(url) as client:
        kept = client.add_memories(
            [
                {"agent_id": "a", "content": f"Straße {n}", "tags": [f"tag{n % 3}"], "session_id": "s"}
                for n in range(20)
            ]
        )
        for memory in kept[:5]:
            client.forget(memory)
        assert (
            client.search_memories(content_contains="straße").count == 15
        )  # indexes what is not indexed yet
    return url


def break_store(url: str, statement: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute(statement)
        connection.commit()


def test_store_after_writes_and_deletions_is_consistent(store: str, command: Commands) -> None:
    assert command("check", "--store", store) == "The store is consistent.\n"


@pytest.mark.parametrize(
    ("statement", "reported"),
    [
        ("UPDATE agent_counts SET memories = memories + 1", "the counter a episodic 16 should not be there"),
        ("DELETE FROM labels WHERE label = 'tag:tag1'", "the label tag:tag1"),
        ("DELETE FROM agents", "memories name the agent a, which is missing"),
        ("INSERT INTO words_1 (rowid, text) VALUES (1, 'stray')", "the index entry words_1 stray"),
        ("DELETE FROM memories WHERE seq = (SELECT max(seq) FROM memories)", "the unindexed row"),
    ],
)
def test_check_reports_rows_that_contradict_the_memories(
    store: str, statement: str, reported: str, command: Commands
) -> None:
    break_store(store, statement)
    assert "the store is not consistent" in command.fail("check", "--store", store)
    assert reported in command.printed


def test_check_reports_a_damaged_file(store: str, command: Commands) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    damaged = bytearray(path.read_bytes())
    damaged[8192:] = bytes(len(damaged) - 8192)
    path.write_bytes(damaged)
    error = command.fail("check", "--store", store)
    assert "memtrace check" not in error
    assert re.match(r"memtrace: (.+: is damaged; |the store is not consistent)", error)
    assert "The store is consistent." not in command.printed


def test_backup_is_consistent_and_has_every_memory(store: str, tmp_path: Path, command: Commands) -> None:
    copy = tmp_path / "copy.sqlite"
    command("backup", str(copy), "--store", store)
    command("check", "--store", f"sqlite:///{copy}")
    with Memtrace(store) as client, Memtrace(f"sqlite:///{copy}") as restored:
        assert restored.list_memories(limit=1000).memories == client.list_memories(limit=1000).memories
        assert restored.search_memories(content_contains="STRASSE 7").count == 1


def test_backup_can_be_made_while_a_client_has_the_store_open(
    store: str, tmp_path: Path, command: Commands
) -> None:
    copy = tmp_path / "copy.sqlite"
    with Memtrace(store) as client:
        client.remember("a", "before")
        command("backup", str(copy), "--store", store)
        client.remember("a", "after")
    with Memtrace(f"sqlite:///{copy}") as restored:
        assert restored.recall("a", limit=1).memories[0].content == "before"


def test_a_backup_never_replaces_a_file(store: str, tmp_path: Path, command: Commands) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    assert "exists already" in command.fail("backup", str(precious), "--store", store, code=2)
    assert precious.read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_vacuum_removes_forgotten_text_from_the_file(store: str, command: Commands) -> None:
    with Memtrace(store) as client:
        secret = client.remember("a", "The password is Sesame-open-2026")
        client.forget(secret)
    command("vacuum", "--store", store)
    assert b"sesame" not in Path(store.removeprefix("sqlite:///")).read_bytes().lower()
    command("check", "--store", store)
