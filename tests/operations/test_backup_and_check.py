from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memtrace import Memtrace
from memtrace_server import cli


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
        assert client.search_memories(content_contains="straße").count == 15  # which indexes what is not
    return url


def run(*arguments: str) -> None:
    cli.main(arguments)


def break_store(url: str, statement: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_store_that_was_written_and_forgotten_from_is_whole(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", "--store", store)
    assert capsys.readouterr().out == "The store is whole.\n"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE agent_counts SET memories = memories + 1", "the counter a episodic 16 should not be there"),
        ("DELETE FROM labels WHERE label = 'tag:tag1'", "the label tag:tag1"),
        ("DELETE FROM agents", "memories name the agent a, which is missing"),
        ("DELETE FROM sessions", "memories name the session s, which is missing"),
        ("INSERT INTO words_1 (rowid, text) VALUES (1, 'stray')", "the index entry words_1 stray"),
        ("DELETE FROM memories WHERE seq = (SELECT max(seq) FROM memories)", "the index entry pieces_1"),
    ],
)
def test_what_does_not_follow_from_the_memories_is_told(
    store: str, statement: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    break_store(store, statement)
    with pytest.raises(SystemExit, match="the store is not whole"):
        run("check", "--store", store)
    assert told in capsys.readouterr().out


def test_a_damaged_file_is_told(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(store.removeprefix("sqlite:///"))
    damaged = bytearray(path.read_bytes())
    damaged[8192:] = bytes(len(damaged) - 8192)
    path.write_bytes(damaged)
    with pytest.raises(SystemExit, match=r"memtrace: (SQLite: |the store is not whole)"):
        run("check", "--store", store)
    assert "The store is whole." not in capsys.readouterr().out


def test_a_backup_is_whole_and_has_every_memory(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    run("backup", str(copy), "--store", store)
    run("check", "--store", f"sqlite:///{copy}")
    with Memtrace(store) as client, Memtrace(f"sqlite:///{copy}") as restored:
        assert restored.list_memories(limit=1000).memories == client.list_memories(limit=1000).memories
        assert restored.search_memories(content_contains="STRASSE 7").count == 1


def test_a_backup_is_made_while_the_store_is_written_to(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    with Memtrace(store) as client:
        client.remember("a", "before")
        run("backup", str(copy), "--store", store)
        client.remember("a", "after")
    with Memtrace(f"sqlite:///{copy}") as restored:
        assert restored.recall("a", limit=1).memories[0].content == "before"


def test_a_backup_never_replaces_a_file(store: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with pytest.raises(SystemExit, match="is there already"):
        run("backup", str(precious), "--store", store)
    assert precious.read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_a_vacuum_leaves_no_trace_of_what_was_forgotten(store: str) -> None:
    with Memtrace(store) as client:
        secret = client.remember("a", "The password is Sesame-open-2026")
        client.forget(secret)
    run("vacuum", "--store", store)
    assert b"sesame" not in Path(store.removeprefix("sqlite:///")).read_bytes().lower()
    run("check", "--store", store)
