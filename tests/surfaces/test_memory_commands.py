"""`memtrace remember`, `recall`, `search`, `tail -f` …: for people and programs, over a file and a server."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Commands
from live import LiveServer

from memtrace import Memtrace, cli
from memtrace.testing import MemtraceServer


@pytest.fixture(params=["file", "server"])
def at(request: pytest.FixtureRequest, url: str, memtrace_server: MemtraceServer) -> list[str]:
    """Return the options that select a memory: a file or a server."""
    if request.param == "file":
        return ["--url", url]
    return ["--url", memtrace_server.url, "--key", memtrace_server.key]


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def contents(printed: str) -> list[str]:
    return [each["content"] for each in objects(printed)]


def test_remembered_memory_is_recalled_searched_and_forgotten(at: list[str], command: Commands) -> None:
    fields = [
        "--tag",
        "drinks",
        "--tag",
        "likes",
        "--importance",
        "0.5",
        "--session",
        "s",
        "--event-type",
        "user",
    ]
    (tea,) = objects(command("remember", "ann", "Likes tea", *fields, "--json", *at))
    command("remember", "ann", "Lives in Oslo", *at)
    command("remember", "bob", "Likes tea too", *at)

    assert (tea["tags"], tea["importance"], tea["session_id"], tea["event_type"]) == (
        ["drinks", "likes"], 0.5, "s", "user",
    )  # fmt: skip
    assert contents(command("recall", "ann", "--json", *at)) == ["Lives in Oslo", "Likes tea"]
    assert contents(command("recall", "ann", "--limit", "1", "--json", *at)) == ["Lives in Oslo"]
    assert contents(command("recall", "ann", "--tag", "drinks", "--json", *at)) == ["Likes tea"]
    assert contents(command("recall", "ann", "--session", "s", "--json", *at)) == ["Likes tea"]
    assert contents(command("recall", "ann", "--since", "2099-01-01", "--json", *at)) == []
    found = command("search", "What does somebody like to drink? Tea?", "--json", *at)
    assert sorted(contents(found)) == ["Likes tea", "Likes tea too"]
    assert contents(command("search", "tea", "--agent", "ann", "--json", *at)) == ["Likes tea"]
    assert contents(command("tail", "--agent", "ann", "--json", *at)) == ["Likes tea", "Lives in Oslo"]

    assert objects(command("forget", tea["id"], "--json", *at))[0]["deleted"] == 1
    assert contents(command("recall", "ann", "--json", *at)) == ["Lives in Oslo"]


def test_a_text_can_come_from_standard_input(
    at: list[str], command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Two\nlines: é 😀\n"))

    assert contents(command("remember", "ann", "-", "--json", *at)) == ["Two\nlines: é 😀"]


def test_a_decision_has_its_reason_in_a_context(at: list[str], command: Commands) -> None:
    command("decide", "ann", "Order tea", "The guests like it", "--session", "s", *at)
    command("remember", "ann", "It rains", *at)

    printed = command("context", "ann", "--query", "tea", *at)
    assert "[decision] Order tea — because The guests like it" in printed
    assert printed.endswith("It rains\n")
    assert "It rains" not in command("context", "ann", "--session", "s", *at)
    (as_json,) = objects(command("context", "ann", "--max-tokens", "300", "--json", *at))
    assert (as_json["memory_count"], as_json["token_count"] <= 300) == (2, True)


def test_a_context_of_a_session_is_about_the_named_agent(at: list[str], command: Commands) -> None:
    command("remember", "ann", "Likes tea", "--session", "shared", *at)
    command("remember", "bob", "Likes coffee", "--session", "shared", *at)

    printed = command("context", "ann", "--session", "shared", *at)

    assert "tea" in printed
    assert "coffee" not in printed


def test_repeated_key_of_metadata_is_refused(url: str, command: Commands) -> None:
    twice = ["--metadata", "n=1", "--metadata", "n=2", "--url", url]

    error = command.fail("remember", "ann", "x", *twice, code=2)
    assert "--metadata: 'n' is given more than once" in error
    assert "'n' is given more than once" in command.fail("forget", *twice, code=2)


def test_every_field_of_a_memory_has_an_option(at: list[str], command: Commands) -> None:
    (old,) = objects(command("remember", "ann", "Lives in Oslo", "--json", *at))
    more = ["--metadata", "ticket=7", "--metadata", "customer=anna", "--time", "2026-01-01T09:00:00Z"]
    (new,) = objects(
        command("remember", "ann", "Lives in Rome", "--supersedes", old["id"], *more, "--json", *at)
    )
    command("remember", "bob", "Soon gone", "--ttl", "3600", *at)

    assert new["metadata"] == {"ticket": 7, "customer": "anna"}
    assert new["time"].startswith("2026-01-01T09:00:00")
    assert contents(command("recall", "ann", "--json", *at)) == ["Lives in Rome"]
    error = command.fail("remember", "ann", "x", "--time", "2026-01-01T09:00:00", *at, code=2)
    assert "--time: '2026-01-01T09:00:00' has no time zone" in error


@pytest.mark.parametrize("words", [["recall", "ann"], ["tail"], ["search", "tea"]], ids=" ".join)
def test_a_decision_is_shown_with_its_reason(words: list[str], url: str, command: Commands) -> None:
    command("decide", "ann", "Order tea", "The guests like it", "--importance", "0.8", "--url", url)

    (line,) = command(*words, "--url", url).splitlines()
    assert line.endswith("\tOrder tea — because The guests like it")


def test_a_context_without_memories_says_so(url: str, command: Commands) -> None:
    command("remember", "ann", "Likes tea", "--url", url)

    cli.main(["context", "ann", "--max-tokens", "5", "--url", url])

    printed = command.read()
    assert printed.out == ""
    assert printed.err == "memtrace: no memory is in this context; raise --max-tokens or --since\n"


def test_agents_sessions_and_stats_are_listed(at: list[str], command: Commands) -> None:
    with Memtrace(at[1], at[-1] if "--key" in at else None) as client:
        client.register_agent("ann", description="A guest")
        client.create_session(agent_id="ann")
        for number in range(120):
            client.create_session(agent_id=f"agent-{number:03}")
        client.remember("ann", "Likes tea")

    assert len(objects(command("agents", "--json", *at))) == 121
    assert "\tA guest\n" in command("agents", *at)
    assert len(objects(command("sessions", "--json", *at))) == 121
    (session,) = objects(command("sessions", "--agent", "ann", "--json", *at))
    assert (session["agent_id"], session["status"]) == ("ann", "active")
    (stats,) = objects(command("stats", "ann", "--json", *at))
    assert (stats["memory_count"], stats["session_count"]) == (1, 1)
    assert "memories\t1\n" in command("stats", "ann", *at)


def test_a_program_gets_a_line_for_each_memory(at: list[str], command: Commands) -> None:
    command("remember", "ann", "A\ttab, a\nline and a \x1b[31mcolour", *at)

    (line,) = command("recall", "ann", *at).splitlines()
    assert line.split("\t")[2:] == ["ann", "", "general", "A\\ttab, a\\nline and a \\x1b[31mcolour"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["recall", "ann", "--since", "yesterday"], 2, "--since: "),
        (["recall", "ann", "--since", "99x"], 2, "--since: "),
        (["recall", "ann", "--since", "2026-01-01T00:00"], 2, "--since: "),
        (["search", ""], 2, "QUESTION: "),
        (["search", "tea", "--tag", ""], 2, "--tag: "),
        (["remember", "", "x"], 2, "AGENT: "),
        (["search", "-tea"], 2, "memtrace search -- -t"),
        (["context", "nobody"], 1, "nobody"),
        (["remember", "ann", ""], 2, "TEXT: "),
        (["remember", "ann", "x", "--importance", "2"], 2, "--importance"),
        (["recall", "ann", "--limit", "0"], 2, "--limit"),
        (["recall"], 2, "AGENT"),
        (["forget"], 2, "ID"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, says: str, url: str, command: Commands
) -> None:
    command("remember", "ann", "Likes tea", "--url", url)

    error = command.fail(*arguments, "--url", url, code=code)

    assert says in error
    assert "HTTP" not in error
    assert "invalid_request" not in error


def test_an_error_of_a_server_names_its_request(memtrace_server: MemtraceServer, command: Commands) -> None:
    at = ["--url", memtrace_server.url, "--key", memtrace_server.key]

    error = command.fail("recall", "ann", "--since", "99x", *at, code=2)

    assert re.search(r"--since: .+ \(HTTP 400, invalid_request, request req_\w+\)", error)


@pytest.mark.parametrize("words", [["recall", "ann"], ["export"], ["ui", "--no-open"]], ids=" ".join)
def test_url_without_a_scheme_is_refused(words: list[str], command: Commands) -> None:
    url = ["foo"] if words[0] == "ui" else ["--url", "foo"]

    error = command.fail(*words, *url, code=2)

    assert f"{'URL' if words[0] == 'ui' else '--url'}: it has no scheme" in error


def test_missing_key_is_an_error_with_the_remedy(
    memtrace_server: MemtraceServer, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMTRACE_API_KEY", raising=False)
    monkeypatch.delenv("MEMTRACE_FROM_KEY", raising=False)
    url = memtrace_server.url

    assert "give --key, or set MEMTRACE_API_KEY" in command.fail("recall", "ann", "--url", url)
    assert "check --key" in command.fail("recall", "ann", "--url", url, "--key", "mtk_" + "0" * 64)
    assert "give --from-key" in command.fail("copy", url, "sqlite://")


def test_a_database_that_cannot_be_reached_is_named_once(command: Commands) -> None:
    url = "postgresql://127.0.0.1:1/x"

    error = command.fail("recall", "ann", "--url", url)

    assert error.count(url) == error.count("cannot connect") == 1


@pytest.mark.parametrize("named", ["http://127.0.0.1:9", "ftp://host"], ids=["unreachable", "unknown scheme"])
def test_unknown_memory_is_an_error(named: str, command: Commands, tmp_path: Path) -> None:
    assert command.fail("recall", "ann", "--url", named, code=1 if "http" in named else 2)
    assert "check the path" in command.fail("recall", "ann", "--url", f"sqlite:///{tmp_path}/none.db", code=2)


def test_default_memories_are_in_the_data_folder_of_the_user(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEMTRACE_", "XDG_"))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*memtrace_process, *arguments], env={**kept, "HOME": str(tmp_path)},
            capture_output=True, encoding="utf-8", timeout=300, check=False,
        )  # fmt: skip

    missing = run("recall", "ann")
    assert missing.returncode == 2
    assert "store a memory first, or name another store with --url" in missing.stderr
    stored = run("remember", "ann", "Likes tea")
    (file,) = tmp_path.rglob("memtrace.db")
    assert stored.stderr == f"memory: sqlite:///{file}\n"
    assert "Likes tea" in stored.stdout


def test_terminal_gets_a_coloured_table_and_the_name_of_the_memory(
    url: str, memtrace_process: list[str]
) -> None:
    with Memtrace(url) as client:
        client.remember("ann", "Likes [bold]tea")
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    command = [*memtrace_process, "recall", "ann", "--url", url]
    subprocess.run(command, stdout=terminal, stderr=terminal, env=environment, timeout=300, check=True)
    os.close(terminal)
    where, header, row = os.read(master, 10_000).decode().splitlines()
    os.close(master)

    assert where == f"memory: {url}"
    assert "\x1b[1m" in header
    assert "CONTENT" in header
    assert row.rstrip().endswith("Likes [bold]tea")


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 160])
def test_ids_are_never_folded_on_a_terminal(url: str, columns: int, memtrace_process: list[str]) -> None:
    with Memtrace(url) as client, client.session("ann") as session:
        memory = session.remember("Likes tea " * 30)
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    command = [*memtrace_process, "recall", "ann", "--url", url]
    subprocess.run(command, stdout=terminal, stderr=terminal, env=environment, timeout=300, check=True)
    os.close(terminal)
    shown = re.sub(r"\x1b\[\d*m", "", os.read(master, 10_000).decode())
    os.close(master)

    assert str(memory.id) in shown
    assert session.id in shown
    assert shown.count("Likes") == 30
    assert all(len(line.rstrip()) <= columns for line in shown.splitlines()[1:])


def test_a_reader_that_stops_reading_is_no_error(url: str, memtrace_process: list[str]) -> None:
    with Memtrace(url) as client:
        client.add_memories(
            [{"agent_id": "ann", "content": f"{number} {'x' * 1_000}"} for number in range(500)]
        )
    command = [*memtrace_process, "recall", "ann", "--limit", "500", "--json", "--url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""


def test_followed_tail_survives_a_restart_and_ends_quietly(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    def remember(server: LiveServer, content: str) -> None:
        with Memtrace(server.url, key) as client:
            client.remember("ann", content)

    def read() -> str:
        return str(json.loads(process.stdout.readline())["content"])

    with LiveServer(tmp_path) as first:
        key, port = first.key, first.url.rpartition(":")[2]
        remember(first, "before")
        command = [*memtrace_process, "tail", "-f", "--json", "--url", first.url, "--key", key]
        process: Any = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        watchdog = threading.Timer(
            120, process.kill
        )  # otherwise the test would wait for a line that never comes
        watchdog.start()
        try:
            assert read() == "before"
            remember(first, "one")
            assert read() == "one"
        except BaseException:
            process.kill()
            raise
    with process, LiveServer(tmp_path, "--port", port) as second:
        remember(second, "two")
        assert read() == "two"
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=60)
        watchdog.cancel()

    assert (process.returncode, rest, said) == (0, "", "")
