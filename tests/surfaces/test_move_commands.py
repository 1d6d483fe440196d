"""`memtrace export`, `import` and `copy`: between stores and servers, and from other programs' files."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Commands
from live import LiveServer

from memtrace import Memtrace

CLAUDE_CODE: list[dict[str, Any]] = [
    {"type": "summary", "summary": "A fix", "leafUuid": "u3"},
    {
        "type": "user",
        "uuid": "u1",
        "parentUuid": None,
        "sessionId": "s-1",
        "cwd": "/src",
        "gitBranch": "main",
        "timestamp": "2026-01-01T00:00:00.123Z",
        "message": {"role": "user", "content": "Fix the login"},
    },
    {
        "type": "assistant",
        "uuid": "u2",
        "parentUuid": "u1",
        "sessionId": "s-1",
        "timestamp": "2026-01-01T00:00:01.123Z",
        "message": {
            "role": "assistant",
            "model": "m-1",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "tool_use", "id": "t", "name": "Read", "input": {"file": "login.py"}},
            ],
        },
    },
    {
        "type": "user",
        "uuid": "u2b",
        "parentUuid": "u2",
        "sessionId": "s-1",
        "timestamp": "2026-01-01T00:00:02Z",
        "message": {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": "code"}],
        },
    },
    {
        "type": "assistant",
        "uuid": "u3",
        "parentUuid": "u2b",
        "sessionId": "s-1",
        "timestamp": "2026-01-01T00:00:03.5Z",
        "message": {
            "role": "assistant",
            "model": "m-1",
            "content": [
                {"type": "text", "text": "The token had expired."},
                {"type": "text", "text": "It is renewed now."},
            ],
        },
    },
]
MEM0: dict[str, Any] = {
    "results": [
        {
            "id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e",
            "memory": "Likes tea",
            "hash": "c0ffee",
            "user_id": "anna",
            "metadata": {"category": "drinks"},
            "created_at": "2024-07-20T01:30:36.275141-07:00",
            "updated_at": None,
        },
        {
            "id": "b1946ac9-0000-4000-8000-000000000000",
            "memory": "Moved to Łódź",
            "agent_id": "bot",
            "run_id": "r-1",
            "metadata": None,
            "created_at": "2024-08-01T00:00:00+00:00",
            "updated_at": "2024-08-02T00:00:00+00:00",
        },
    ]
}
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "Where is my parcel?", "time": "2026-01-01T10:00:00+01:00"},
    {"role": "assistant", "content": "In Vienna.", "time": 1767258001.5},
]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store with two agents, a session, and a memory that supersedes another."""
    url = f"sqlite:///{tmp_path}/from.db"
    with Memtrace(url) as client:
        session = client.create_session(agent_id="a", metadata={"customer": "anna"})
        old = client.remember("a", "old", session_id=session.id)
        client.remember("a", "new", supersedes=old.id)
        client.remember("b", "Größe: 🙂", time="2026-01-01T00:00:00.123456789Z")
    return url


def records(url: str, key: str | None = None) -> list[dict[str, Any]]:
    """Return the records of a store, without the organisation."""
    with Memtrace(url, key) as client:
        return [{**record, "org_id": ""} for record in client.export()]


def exported(command: Commands, tmp_path: Path, *arguments: str) -> Path:
    file = tmp_path / "memories.jsonl"
    file.write_text(command("export", *arguments), "utf-8")
    return file


def test_an_export_imported_elsewhere_is_the_same(store: str, tmp_path: Path, command: Commands) -> None:
    file = exported(command, tmp_path, "--url", store)
    target = f"sqlite:///{tmp_path}/to.db"

    printed = command("import", str(file), "--url", target)

    assert printed == f"Imported 6 records to {target}; 0 existed already.\n"
    assert records(target) == records(store)
    again = command("import", str(file), "--url", target)
    assert again == f"Imported 0 records to {target}; 6 existed already.\n"


def test_a_server_exports_and_imports_as_a_store_does(
    store: str, tmp_path: Path, command: Commands, live_server: LiveServer
) -> None:
    key = live_server.create_tenant("moving")
    file = exported(command, tmp_path, "--url", store)

    command("import", str(file), "--url", live_server.url, "--key", key)

    assert records(live_server.url, key) == records(store)
    assert len(command("export", "--url", live_server.url, "--key", key, "--agent", "b").splitlines()) == 2
    reader = live_server.create_tenant("reading", role="writer")
    error = command.fail("import", str(file), "--url", live_server.url, "--key", reader)
    assert "admin" in error


def test_an_organisation_of_a_store_is_exported_by_its_name(tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/orgs.db"
    command("org", "create", "acme", "--store", url)
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(CHAT))
    printed = command("import", str(file), "--url", url, "--org", "acme")
    assert printed == f"Imported 2 records to {url}, organisation acme; 0 existed already.\n"

    assert len(command("export", "--url", url, "--org", "acme").splitlines()) == 4
    assert command("export", "--url", url) == ""
    assert "there is no organisation 'nobody'" in command.fail("export", "--url", url, "--org", "nobody")
    command.fail("export", "--url", "http://localhost:1", "--org", "acme", code=2)


def test_bad_lines_are_reported_and_the_others_imported(
    store: str, tmp_path: Path, command: Commands
) -> None:
    file = exported(command, tmp_path, "--url", store)
    lines = file.read_text("utf-8").splitlines()
    lines[1:1] = ["", "{", '{"kind": "memory", "content": "no id"}']
    file.write_text("\n".join(lines), "utf-8")
    target = f"sqlite:///{tmp_path}/to.db"

    with pytest.raises(SystemExit) as ended:
        command("import", str(file), "--url", target)

    assert ended.value.code == 1
    printed = command.read()
    assert printed.err.splitlines()[0].startswith("memtrace: line 3: it is not JSON")
    assert printed.err.splitlines()[1].startswith("memtrace: line 4: ")
    assert printed.err.splitlines()[2] == f"memtrace: of the lines of {file}, 2 could not be imported"
    assert printed.out == f"Imported 6 records to {target}; 0 existed already.\n"

    strict = f"sqlite:///{tmp_path}/strict.db"
    assert "line 3: it is not JSON" in command.fail("import", str(file), "--strict", "--url", strict)


def test_standard_input_is_read_and_a_pipe_needs_no_file(
    store: str, tmp_path: Path, memtrace_process: list[str]
) -> None:
    target = f"sqlite:///{tmp_path}/to.db"
    with subprocess.Popen([*memtrace_process, "export", "--url", store], stdout=subprocess.PIPE) as export:
        done = subprocess.run(
            [*memtrace_process, "import", "-", "--url", target], stdin=export.stdout, timeout=60, check=True,
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
    assert done.stdout == f"Imported 6 records to {target}; 0 existed already.\n"
    assert done.stderr == ""
    assert records(target) == records(store)


def test_progress_is_shown_on_a_terminal(store: str, tmp_path: Path, memtrace_process: list[str]) -> None:
    file = tmp_path / "many.jsonl"
    with Memtrace(store) as client, file.open("w", encoding="utf-8") as lines:
        for record in client.export():
            print(json.dumps(record), file=lines)
    master, terminal = pty.openpty()
    subprocess.run(
        [*memtrace_process, "import", str(file), "--url", f"sqlite:///{tmp_path}/to.db"],
        stderr=terminal, stdout=subprocess.DEVNULL, timeout=60, check=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(terminal)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "100 %" in shown


def test_a_claude_code_transcript_becomes_memories_once(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "transcript.jsonl"
    file.write_text("\n".join(map(json.dumps, CLAUDE_CODE)))
    url = f"sqlite:///{tmp_path}/to.db"

    command("import", str(file), "--url", url)
    assert "0 records" in command("import", str(file), "--url", url)

    with Memtrace(url) as client:
        asked, used, result, said = client.list_memories(order="asc").memories
    assert (asked.agent_id, asked.session_id, asked.content) == ("claude-code", "s-1", "Fix the login")
    assert (asked.event_type, said.event_type) == ("user", "assistant")
    assert asked.metadata == {"role": "user", "cwd": "/src", "git_branch": "main"}
    assert said.content == "The token had expired.\n\nIt is renewed now."
    assert said.metadata == {"role": "assistant", "model": "m-1"}
    assert [used.parent_id, result.parent_id, said.parent_id] == [asked.id, used.id, result.id]
    assert said.time.isoformat() == "2026-01-01T00:00:03.500000+00:00"
    assert (used.event_type, used.content) == ("action", 'Read {"file": "login.py"}')
    assert (result.event_type, result.content) == ("observation", "code")


def test_import_of_a_transcript_reports_what_it_left_out(tmp_path: Path, command: Commands) -> None:
    snapshot = {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}
    file = tmp_path / "transcript.jsonl"
    file.write_text("\n".join(map(json.dumps, [snapshot, *CLAUDE_CODE])))

    printed = command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db").splitlines()

    assert printed[0].startswith("Imported 4 records")
    assert printed[1:] == ["Left out 2 lines without a message or a tool call."]


def test_input_and_output_of_a_tool_are_cut_to_2000_characters(tmp_path: Path, command: Commands) -> None:
    entries = [
        {**CLAUDE_CODE[1], "uuid": f"u-{length}", "message": {"content": [
            {"type": "tool_result", "is_error": True, "content": [{"type": "text", "text": "x" * length}]}
        ]}}
        for length in (1_999, 2_000, 2_001)
    ]  # fmt: skip
    file = tmp_path / "transcript.jsonl"
    file.write_text("\n".join(map(json.dumps, entries)))

    command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    with Memtrace(f"sqlite:///{tmp_path}/to.db") as client:
        memories = client.list_memories().memories
    assert {memory.content for memory in memories} == {
        "x" * 1_999, "x" * 2_000, "x" * 2_000 + "… (1 more characters)",
    }  # fmt: skip
    assert all(memory.metadata["is_error"] for memory in memories)


def test_an_export_of_mem0_becomes_memories_once(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "mem0.json"
    file.write_text(json.dumps(MEM0, indent=2), "utf-8")
    url = f"sqlite:///{tmp_path}/to.db"

    command("import", str(file), "--url", url, "--agent", "assistant")
    assert "0 records" in command("import", str(file), "--url", url, "--agent", "assistant")

    with Memtrace(url) as client:
        tea, moved = client.list_memories(order="asc").memories
    assert (tea.agent_id, tea.memory_type, tea.content) == ("assistant", "entity", "Likes tea")
    assert tea.metadata == {
        "category": "drinks", "mem0_id": MEM0["results"][0]["id"], "user_id": "anna",
    }  # fmt: skip
    assert tea.time.isoformat() == "2024-07-20T08:30:36.275141+00:00"
    assert (moved.agent_id, moved.session_id) == ("bot", "r-1")
    assert moved.metadata == {
        "mem0_id": MEM0["results"][1]["id"], "updated_at": "2024-08-02T00:00:00+00:00",
    }  # fmt: skip


def test_a_chat_becomes_memories_and_an_entry_without_a_time_is_named(
    tmp_path: Path, command: Commands
) -> None:
    file = tmp_path / "chat.json"
    file.write_text(
        json.dumps([*CHAT, {"role": "user", "content": "No time"}, 7, {"role": "user", "time": 1}])
    )
    url = f"sqlite:///{tmp_path}/to.db"

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", url, "--agent", "support-bot")

    errors = command.read().err.splitlines()
    assert errors[0] == (
        "memtrace: entry 3: it has no time; give one with a time zone, or seconds since 1970"
    )
    assert errors[1:3] == [
        "memtrace: entry 4: it is a int, not an object",
        "memtrace: entry 5: it has no content",
    ]
    with Memtrace(url) as client:
        asked, said = client.list_memories(order="asc").memories
    assert (asked.agent_id, asked.content, asked.metadata) == (
        "support-bot",
        "Where is my parcel?",
        {"role": "user"},
    )
    assert asked.time.isoformat() == "2026-01-01T09:00:00+00:00"
    assert said.time.isoformat() == "2026-01-01T09:00:01.500000+00:00"


@pytest.mark.parametrize("name", ["timestamp", "created_at"])
def test_time_of_a_message_may_have_the_name_of_any_api(name: str, tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "chat.json"
    url = f"sqlite:///{tmp_path}/to.db"
    seconds, text, bad = 1_790_000_000, "2026-09-21T16:53:20+02:00", "at noon"
    file.write_text(
        json.dumps([{"role": "user", "content": f"{at}", name: at} for at in (seconds, text, bad)])
    )

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", url)

    assert f"entry 3: its {name} is 'at noon'; give one with a time zone" in command.read().err
    with Memtrace(url) as client:
        assert {m.content: m.time.isoformat() for m in client.list_memories()} == {
            f"{seconds}": "2026-09-21T14:13:20+00:00",
            text: "2026-09-21T14:53:20+00:00",
        }


def test_parts_and_calls_of_tools_in_a_chat_become_memories_once(tmp_path: Path, command: Commands) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    find = {"name": "find", "arguments": '{"order": 4711}'}
    call: dict[str, Any] = {"id": "c1", "type": "function", "function": find}
    used = {"type": "tool_use", "id": "t1", "name": "pay", "input": {"eur": 5}}
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {"role": "user", "content": [image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Delivered"},
        {"role": "assistant", "content": "I pay. ", "tool_calls": [{**call, "function": None}, 7, call]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Paying"}, used]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Paid"}]},
    ]
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"time": 1_790_000_000, **message} for message in chat]))
    url = f"sqlite:///{tmp_path}/to.db"

    printed = command("import", str(file), "--url", url)

    assert printed == (
        f"Imported 8 records to {url}; 0 existed already.\n"
        "Left out 1 message without a text or a tool call.\n"
    )
    assert "Imported 0 records" in command("import", str(file), "--url", url)
    with Memtrace(url) as client:
        memories = client.list_memories(order="asc").memories
    assert [(memory.event_type, memory.content) for memory in memories] == [
        ("user", "What is this?"),
        ("action", 'find {"order": 4711}'),
        ("observation", "Delivered"),
        ("assistant", "I pay. "),
        ("action", 'find {"order": 4711}'),
        ("assistant", "Paying"),
        ("action", 'pay {"eur": 5}'),
        ("observation", "Paid"),
    ]
    assert memories[1].metadata == {"role": "assistant", "tool": "find"}


def test_import_of_nothing_creates_no_store(tmp_path: Path, command: Commands) -> None:
    (tmp_path / "chat.json").write_text('[{"role": "user", "content": "No time"}]')

    with pytest.raises(SystemExit):
        command("import", str(tmp_path / "chat.json"), "--url", f"sqlite:///{tmp_path}/to.db")

    assert command.read().out == ""
    assert not (tmp_path / "to.db").exists()
    assert "`time`" in command("import", "--help")


def test_lines_of_a_transcript_that_cannot_be_read_are_named(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "transcript.jsonl"
    lines: list[Any] = [CLAUDE_CODE[1], "a text", {**CLAUDE_CODE[1], "uuid": "u9", "timestamp": "yesterday"}]
    without_id = {name: value for name, value in CLAUDE_CODE[1].items() if name != "uuid"}
    file.write_text("\n".join([*map(json.dumps, [*lines, without_id, {"type": ["user"]}]), "{"]))

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    errors = command.read().err.splitlines()
    assert errors[0] == "memtrace: line 2: it is a str, not an object"
    assert errors[1].startswith("memtrace: line 3: its time is 'yesterday'; give one")
    assert errors[2].startswith("memtrace: line 4: it has no uuid")
    assert errors[3].startswith("memtrace: line 6: it is not JSON")


def test_a_time_without_a_zone_is_named(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{**CHAT[0], "time": "2026-01-01T10:00:00"}]))

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    assert "its time is '2026-01-01T10:00:00'; give one with a time zone" in command.read().err


@pytest.mark.parametrize(
    ("text", "form"),
    [("[\n{", "mem0"), ('{\n"results": [', "mem0"), ('[{"role": "user"', "chat")],
    ids=["a list", "an object", "a chat"],
)
def test_truncated_document_is_refused(text: str, form: str, tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "cut.json"
    file.write_text(text)

    error = command.fail("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    assert "the file is not JSON: " in error
    named = command.fail("import", str(file), "--format", form, "--url", f"sqlite:///{tmp_path}/to.db")
    assert f"the file is not {form} JSON: " in named


def test_an_empty_file_imports_nothing(tmp_path: Path, command: Commands) -> None:
    (tmp_path / "empty").write_text("")
    assert "Imported 0 records" in command(
        "import", str(tmp_path / "empty"), "--url", f"sqlite:///{tmp_path}/to.db"
    )


@pytest.mark.parametrize("form", ["mem0", "chat"])
def test_a_file_of_another_format_is_refused(form: str, tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    error = command.fail("import", str(file), "--format", form, "--url", f"sqlite:///{tmp_path}/to.db")
    assert f"the file is not {form} JSON" in error


@pytest.mark.both_stores
def test_a_copy_is_verified_and_can_be_repeated(
    store: str, tmp_path: Path, command: Commands, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = live_server.create_tenant("copying")
    monkeypatch.setenv("MEMTRACE_TO_KEY", key)
    monkeypatch.setenv("MEMTRACE_FROM_KEY", key)

    to_server = command("copy", store, live_server.url).splitlines()
    back = f"sqlite:///{tmp_path}/back.db"
    command("copy", live_server.url, back)
    again = command("copy", live_server.url, back).splitlines()

    assert to_server[0] == f"Copied 6 records from {store} to {live_server.url}; 0 existed already."
    assert to_server[1].startswith("Verified 3 memories: sha256 ")
    assert again == [
        f"Copied 0 records from {live_server.url} to {back}; 6 existed already.",
        to_server[1],
    ]
    assert records(back) == records(store)


def test_a_copy_of_a_store_to_itself_is_refused(store: str, command: Commands) -> None:
    error = command.fail("copy", store, store, code=2)

    assert "is FROM itself; name another store or server" in error


@pytest.mark.parametrize("live_server", ["postgres"], indirect=True)
def test_stores_and_servers_on_postgresql_copy_to_each_other(
    store: str,
    tmp_path: Path,
    command: Commands,
    live_server: LiveServer,
    make_postgres_url: Callable[[], str],
) -> None:
    places = [
        (store, None),
        (make_postgres_url(), None),
        (live_server.url, live_server.create_tenant("one")),
        (live_server.url, live_server.create_tenant("another")),
        (make_postgres_url(), None),
        (f"sqlite:///{tmp_path}/last.db", None),
    ]
    for (source, from_key), (target, to_key) in itertools.pairwise(places):
        keys = [*(("--from-key", from_key) if from_key else ()), *(("--to-key", to_key) if to_key else ())]
        printed = command("copy", source, target, *keys).splitlines()
        assert printed[0].startswith("Copied 6 records from ")
        assert printed[1].startswith("Verified 3 memories: sha256 ")
        assert records(target, to_key) == records(store)


def test_a_copy_that_was_killed_is_continued(tmp_path: Path, command: Commands) -> None:
    copy_and_kill(tmp_path, command, f"sqlite:///{tmp_path}/to.db")


def test_a_killed_copy_to_postgresql_is_continued(
    tmp_path: Path, command: Commands, postgres_url: str
) -> None:
    copy_and_kill(tmp_path, command, postgres_url)


@pytest.mark.parametrize("live_server", ["postgres"], indirect=True)
def test_a_killed_copy_to_a_server_on_postgresql_is_continued(
    tmp_path: Path, command: Commands, live_server: LiveServer
) -> None:
    copy_and_kill(tmp_path, command, live_server.url, live_server.create_tenant("killed"))


def copy_and_kill(tmp_path: Path, command: Commands, target: str, key: str | None = None) -> None:
    """Kill a copy half way, and check that the next one continues it."""
    source = f"sqlite:///{tmp_path}/from.db"
    arguments = ["copy", source, target, *(("--to-key", key) if key else ())]
    with Memtrace(source) as client:
        for at in range(0, 3_000, 1_000):
            client.add_memories({"agent_id": "a", "content": f"Item {n}"} for n in range(at, at + 1_000))
    with subprocess.Popen([sys.executable, "-m", "memtrace_server", *arguments]) as process:
        while process.poll() is None and not is_begun(target, key):
            pass
        process.send_signal(signal.SIGKILL)
    begun = len(records(target, key))
    assert begun > 0

    printed = command(*arguments).splitlines()

    said = re.fullmatch(r"Copied ([\d,]+) records from .* to .*; ([\d,]+) existed already\.", printed[0])
    assert said, printed[0]
    copied, existed = (int(number.replace(",", "")) for number in said.groups())
    assert copied + existed == 3_001
    assert existed >= begun  # more if a server completed requests under way
    assert printed[1].startswith("Verified 3,000 memories: ")
    assert records(target, key) == records(source)


def is_begun(url: str, key: str | None) -> bool:
    if url.startswith("sqlite:") and not Path(url.removeprefix("sqlite:///")).exists():
        return False
    read_only = "" if key else "&mode=ro" if "?" in url else "?mode=ro"
    try:
        with Memtrace(f"{url}{read_only}", key, max_retries=0) as client:
            return client.list_memories(limit=1).count > 0
    except Exception:  # noqa: BLE001 - it is being created
        return False


def test_copy_whose_source_lost_a_memory_is_an_error(
    store: str, tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"sqlite:///{tmp_path}/to.db"
    imported = Memtrace.import_

    def import_and_lose(client: Memtrace, *arguments: Any, **options: Any) -> Any:
        report = imported(client, *arguments, **options)
        client.forget_all(agent_id="b")
        return report

    monkeypatch.setattr(Memtrace, "import_", import_and_lose)

    assert "is missing in the copy; run the command again" in command.fail("copy", store, target)


def test_copy_that_differs_is_an_error(store: str, tmp_path: Path, command: Commands) -> None:
    target = f"sqlite:///{tmp_path}/to.db"
    changed = [
        {**record, "content": "changed"} if record.get("content") == "new" else record
        for record in records(store)
    ]
    with Memtrace(target) as client:
        client.import_(changed)

    error = command.fail("copy", store, target)

    assert "the checksums differ" in error


def messages(*said: str, time: object = "2026-01-01T10:00:00Z") -> list[dict[str, Any]]:
    """Return a chat in which two take turns within a moment."""
    roles = ("user", "assistant")
    return [
        {"role": roles[at % 2], "content": content, "time": time} for at, content in enumerate(said)
    ]  # fmt: skip


def test_repeated_message_of_a_chat_is_stored_twice_and_in_order(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "chat.json"
    url = f"sqlite:///{tmp_path}/to.db"
    said = ["yes", "sure?", *["yes", "sure"] * 20]
    file.write_text(json.dumps(messages(*said)))

    assert f"Imported {len(said)} records" in command("import", str(file), "--url", url)
    assert "Imported 0 records" in command("import", str(file), "--url", url)
    file.write_text(json.dumps(messages(*said, "yes")))
    assert "Imported 1 record to" in command("import", str(file), "--url", url)

    with Memtrace(url) as client:
        stored = client.list_memories(order="asc").memories
    assert [memory.content for memory in stored] == [*said, "yes"]
    assert len({memory.session_id for memory in stored}) == 1


def test_chats_of_two_files_that_begin_alike_are_two_sessions(tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/to.db"
    for name in ("anna", "ben"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(messages("Hi", f"Hello {name}")))
        assert "Imported 2 records" in command("import", str(file), "--url", url)

    with Memtrace(url) as client:
        sessions = {session.id.partition("-")[0]: session.id for session in client.list_sessions().sessions}
        context = client.get_session_context(sessions["anna"]).context
    assert sessions.keys() == {"anna", "ben"}
    assert "10:00 user: Hi\nassistant: Hello anna" in context
    assert "ben" not in context


def test_the_session_and_the_agent_of_a_chat_can_be_named(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([*messages("Hi"), {"role": "tool", "content": "42", "time": 1_767_300_000}]))
    url = f"sqlite:///{tmp_path}/to.db"

    command("import", str(file), "--url", url, "--agent", "bot", "--session", "anna-1")

    with Memtrace(url) as client:
        hi, tool = client.list_memories(agent_id="bot", session_id="anna-1", order="asc").memories
    assert (hi.event_type, tool.event_type) == ("user", "observation")


@pytest.mark.parametrize("form", ["chat", "claude-code"])
def test_as_of_shows_imported_memories_from_their_import_on(
    form: str, tmp_path: Path, command: Commands
) -> None:
    file = tmp_path / "file"
    file.write_text(json.dumps(CHAT) if form == "chat" else "\n".join(map(json.dumps, CLAUDE_CODE)))
    url = f"sqlite:///{tmp_path}/to.db"

    command("import", str(file), "--url", url)

    with Memtrace(url) as client:
        assert client.list_memories(as_of="2026-02-01T00:00:00Z").count == 0
        (first, *_) = client.list_memories(order="asc").memories
    assert first.time.year == 2026
    assert first.created_at
    assert first.created_at > first.time


def test_users_of_mem0_become_agents_and_categories_tags(tmp_path: Path, command: Commands) -> None:
    moment = "2026-01-01T10:00:00Z"
    entries = [
        {"id": name, "memory": f"{name} dislikes tea", "user_id": name, "role": "user", "created_at": moment,
         "categories": ["drinks"], "immutable": True}
        for name in ("ann", "bob")
    ]  # fmt: skip
    file = tmp_path / "mem0.json"
    file.write_text(json.dumps({"results": entries, "relations": [{"source": "ann"}]}))
    url = f"sqlite:///{tmp_path}/to.db"

    printed = command("import", str(file), "--url", url)

    assert "Left out 1 relation.\n" in printed
    with Memtrace(url) as client:
        (ann,) = client.list_memories(agent_id="ann").memories
        assert client.list_memories(agent_id="bob").count == 1
    assert ann.tags == ["drinks"]
    assert ann.metadata == {"mem0_id": "ann", "user_id": "ann", "role": "user", "immutable": True}


@pytest.mark.parametrize(
    ("text", "imported"),
    [
        (json.dumps(messages("Hi", "Hello"), indent=2), 2),
        (json.dumps({"model": "m", "messages": messages("Hi", "Hello")}), 2),
        (json.dumps([{"id": 1, "memory": "Tea", "role": "user", "created_at": 5}]), 1),
        (json.dumps([{"id": 1, "memory": "Tea", "role": "user", "created_at": 5}], indent=2), 1),
        ("\n".join(map(json.dumps, [{"type": "file-history-snapshot"}, *CLAUDE_CODE])), 4),
        ("\n".join(map(json.dumps, [{"type": "summary", "summary": "A fix"}, *CLAUDE_CODE])), 4),
        ('{\n"results": [\n{"id": 1, "memory": "Tea", "type": "fact", "created_at": 5}\n]\n}', 1),
        ("[]", 0),
    ],
    ids=[
        "indented chat",
        "body of a request",
        "mem0 with roles",
        "indented mem0",
        "snapshot first",
        "summary first",
        "mem0 with a type",
        "empty list",
    ],
)
def test_format_is_detected_from_the_content_of_the_file(
    text: str, imported: int, tmp_path: Path, command: Commands
) -> None:
    file = tmp_path / "file"
    file.write_text(text)

    printed = command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    assert printed.startswith(f"Imported {imported} {'record' if imported == 1 else 'records'} ")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"id": 1, "memory": "x", "created_at": 5, "metadata": "text"}, "its metadata is a str"),
        ({"id": 1, "memory": "x", "created_at": 5, "metadata": [1]}, "its metadata is a list"),
        ({"id": 1, "memory": "x", "created_at": 5, "categories": "drinks"}, "tags: "),
        ({"role": "user", "content": "x", "time": 1e300}, "its time is 1e+300"),
        ({"role": "user", "content": "x", "time": 10**32}, "its time is 1000"),
        ({"role": "user", "content": "x", "time": True}, "its time is True"),
        ({"role": "user", "content": "x", "time": -1}, "its time is -1; give one after 1970"),
        ({"role": "user", "content": "x", "time": "9999-12-31T23:59:59-10:00"}, "its time is '9999-"),
        ({"role": "user", "content": None, "time": 5}, "content: "),
        ({"role": ["user"], "content": "x", "time": 5}, "its role is ['user']"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_entry_of_another_shape_is_reported_and_others_imported(
    entry: dict[str, Any], reason: str, tmp_path: Path, command: Commands
) -> None:
    good = {"id": 2, "memory": "y", "created_at": 6} if "memory" in entry else messages("Hi")[0]
    file = tmp_path / "file"
    file.write_text(json.dumps([entry, good]))

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    printed = command.read()
    assert printed.err.startswith(f"memtrace: entry 1: {reason}")
    assert printed.out.startswith("Imported 1 record ")


def test_blocks_of_a_transcript_without_a_text_are_skipped(tmp_path: Path, command: Commands) -> None:
    odd = {**CLAUDE_CODE[1], "uuid": "u0", "parentUuid": ["u"], "message": {"content": [
        {"type": "text", "text": None}, {"type": "text"}, "a", {"type": "tool_result"}, {"type": "tool_use"},
    ]}}  # fmt: skip
    file = tmp_path / "transcript.jsonl"
    file.write_text("\n".join(map(json.dumps, [odd, *CLAUDE_CODE])))

    printed = command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    assert printed.startswith("Imported 5 records ")


def test_refused_memory_of_a_transcript_is_named_by_its_line(tmp_path: Path, command: Commands) -> None:
    many = {**CLAUDE_CODE[2], "message": {"content": [{"type": "tool_use", "name": "a"}] * 3}}
    file = tmp_path / "transcript.jsonl"
    file.write_text("\n".join(map(json.dumps, [many, {**CLAUDE_CODE[1], "sessionId": 7}])))

    with pytest.raises(SystemExit):
        command("import", str(file), "--url", f"sqlite:///{tmp_path}/to.db")

    assert command.read().err.startswith("memtrace: line 2: session_id: ")
