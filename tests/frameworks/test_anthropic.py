"""Anthropic's memory tool over Memtrace, call by call against the package's own file-system backend."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from anthropic.lib.tools import ToolError
from anthropic.tools import BetaLocalFilesystemMemoryTool

from memtrace import AsyncMemtrace, Memtrace
from memtrace.integrations.anthropic import AsyncMemtraceMemoryTool, MemtraceMemoryTool

A, B, C = "/memories/a.md", "/memories/people/ann.md", "/memories/people/old/bob.md"

CONVERSATIONS = {
    "an empty directory": [("view", {"path": "/memories"})],
    "files and directories": [
        ("create", {"path": A, "file_text": "one\ntwo\n"}),
        ("create", {"path": B, "file_text": "Ann\n" * 400}),
        ("create", {"path": C, "file_text": ""}),
        ("create", {"path": "/memories/.hidden", "file_text": "x"}),
        ("create", {"path": "/memories/1/2/3/deep", "file_text": "x"}),
        ("view", {"path": "/memories"}),
        ("view", {"path": "/memories/"}),
        ("view", {"path": "/memories/people"}),
        ("view", {"path": "/memories/people/old"}),
        ("view", {"path": A}),
        ("view", {"path": C}),
        ("view", {"path": A, "view_range": [2, 3]}),
        ("view", {"path": A, "view_range": [2, -1]}),
        ("view", {"path": "/memories/none"}),
    ],
    "an existing file": [
        ("create", {"path": A, "file_text": "one"}),
        ("create", {"path": A, "file_text": "two"}),
        ("view", {"path": A}),
    ],
    "replacing": [
        ("create", {"path": A, "file_text": "1\n2\n3\n4\n5\n6\n7 7\n"}),
        ("str_replace", {"path": A, "old_str": "4", "new_str": "four\nand more"}),
        ("str_replace", {"path": A, "old_str": "1", "new_str": "one"}),
        ("str_replace", {"path": A, "old_str": "7", "new_str": "x"}),
        ("str_replace", {"path": A, "old_str": "none", "new_str": "x"}),
        ("str_replace", {"path": B, "old_str": "none", "new_str": "x"}),
        ("str_replace", {"path": "/memories", "old_str": "none", "new_str": "x"}),
        ("str_replace", {"path": A, "old_str": "one\n2\n3\nfour\nand more\n5\n6\n7 7\n", "new_str": ""}),
        ("view", {"path": A}),
    ],
    "inserting": [
        ("create", {"path": A, "file_text": "1\n2\n"}),
        ("insert", {"path": A, "insert_line": 0, "insert_text": "zero\n"}),
        ("insert", {"path": A, "insert_line": 3, "insert_text": "end"}),
        ("insert", {"path": A, "insert_line": 5, "insert_text": "x"}),
        ("insert", {"path": A, "insert_line": -1, "insert_text": "x"}),
        ("insert", {"path": B, "insert_line": 0, "insert_text": "x"}),
        ("view", {"path": A}),
    ],
    "deleting": [
        ("create", {"path": A, "file_text": "1"}),
        ("create", {"path": B, "file_text": "1"}),
        ("create", {"path": C, "file_text": "1"}),
        ("str_replace", {"path": A, "old_str": "1", "new_str": "2"}),
        ("delete", {"path": A}),
        ("view", {"path": A}),
        ("delete", {"path": A}),
        ("delete", {"path": "/memories/people"}),
        ("view", {"path": "/memories"}),
        ("delete", {"path": "/memories"}),
        ("create", {"path": A, "file_text": "again"}),
        ("view", {"path": A}),
    ],
    "renaming": [
        ("create", {"path": A, "file_text": "1"}),
        ("create", {"path": B, "file_text": "1"}),
        ("rename", {"old_path": A, "new_path": B}),
        ("rename", {"old_path": "/memories/none", "new_path": "/memories/x"}),
        ("rename", {"old_path": A, "new_path": "/memories/new/b.md"}),
        ("view", {"path": A}),
        ("view", {"path": "/memories/new/b.md"}),
        ("create", {"path": A, "file_text": "again"}),
        ("view", {"path": A}),
        ("rename", {"old_path": "/memories/people", "new_path": "/memories/friends"}),
        ("view", {"path": "/memories"}),
        ("rename", {"old_path": "/memories", "new_path": "/memories/y"}),
        ("delete", {"path": "/memories/new/b.md"}),
        ("view", {"path": A}),
    ],
    "paths outside": [
        ("view", {"path": "/etc/passwd"}),
        ("view", {"path": "/memories/../etc/passwd"}),
        ("create", {"path": "/memories/../../x", "file_text": "x"}),
        ("create", {"path": "/memories/sub/../b.md", "file_text": "inside"}),
        ("view", {"path": "/memories/b.md"}),
        ("rename", {"old_path": "/memories/b.md", "new_path": "/elsewhere"}),
    ],
}


def outcome(call):
    try:
        return call()
    except ToolError as error:
        return f"error: {error}"


def directory_sizes_left_out(text: str) -> str:
    lines = text.split("\n")
    if not lines[0].startswith("Here're the files"):
        return text
    kept = [
        line if not (line.endswith("/") or at == 1) else line.partition("\t")[2]
        for at, line in enumerate(lines)
    ]
    return "\n".join(kept)


@pytest.mark.parametrize("steps", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_each_call_has_the_result_of_the_file_system_tool(steps, kind, tmp_path):
    theirs = BetaLocalFilesystemMemoryTool(str(tmp_path / "files"))
    url = f"sqlite:///{tmp_path}/agent.db"
    ours = (
        MemtraceMemoryTool(url, agent_id="a")
        if kind == "blocking"
        else AsyncMemtraceMemoryTool(url, agent_id="a")
    )

    def call(command):
        return ours.call(command) if kind == "blocking" else asyncio.run(ours.call(command))

    for command, arguments in steps:
        given = {"command": command, **arguments}
        expected = directory_sizes_left_out(outcome(lambda given=given: theirs.call(given)))
        assert directory_sizes_left_out(outcome(lambda given=given: call(given))) == expected, given


def test_a_changed_file_supersedes_the_version_before_it(tmp_path):
    with Memtrace(f"sqlite:///{tmp_path}/agent.db") as client:
        tool = MemtraceMemoryTool(client, agent_id="a")
        tool.call({"command": "create", "path": A, "file_text": "Ann likes tea"})
        before = client.recall("a").memories[0]
        time.sleep(0.002)
        tool.call({"command": "str_replace", "path": A, "old_str": "tea", "new_str": "coffee"})
        assert [memory.content for memory in client.recall("a")] == ["Ann likes coffee"]
        then = client.list_memories(agent_id="a", as_of=before.created_at)
        assert [memory.content for memory in then] == ["Ann likes tea"]


def test_deleted_file_leaves_no_version(tmp_path):
    with Memtrace(f"sqlite:///{tmp_path}/agent.db") as client:
        tool = MemtraceMemoryTool(client, agent_id="a")
        tool.call({"command": "create", "path": A, "file_text": "one"})
        tool.call({"command": "str_replace", "path": A, "old_str": "one", "new_str": "two"})
        tool.call({"command": "rename", "old_path": A, "new_path": B})
        tool.call({"command": "delete", "path": B})
        assert client.list_memories(agent_id="a", include_superseded=True).memories == []


def test_clearing_forgets_all_files(tmp_path):
    tool = MemtraceMemoryTool(f"sqlite:///{tmp_path}/agent.db", agent_id="a")
    tool.call({"command": "create", "path": A, "file_text": "one"})
    assert tool.clear_all_memory() == "All memory cleared"
    assert A not in tool.call({"command": "view", "path": "/memories"})


def test_a_blocking_tool_refuses_an_async_client():
    with pytest.raises(TypeError, match="AsyncMemtrace"):
        MemtraceMemoryTool(AsyncMemtrace("sqlite://"), agent_id="a")


def test_a_file_that_is_too_large_is_an_error_and_changes_nothing(tmp_path):
    tool = MemtraceMemoryTool(f"sqlite:///{tmp_path}/agent.db", agent_id="a")
    for text, fault in (("x" * 65_537, "65537 characters"), ("a\0b", "NUL")):
        with pytest.raises(ToolError, match=fault):
            tool.call({"command": "create", "path": A, "file_text": text})
    assert outcome(lambda: tool.call({"command": "view", "path": A})).startswith("error: The path")


def test_lines_inserted_at_once_are_all_in_the_file(no_async_client):
    tool = MemtraceMemoryTool(no_async_client, agent_id="a")
    tool.call({"command": "create", "path": A, "file_text": "last\n"})

    def insert(number):
        tool.call({"command": "insert", "path": A, "insert_line": 0, "insert_text": f"line {number}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(insert, range(16)))
    text = tool.call({"command": "view", "path": A})
    assert all(f"line {number}" in text for number in range(16))


def test_a_file_created_at_once_is_created_by_one(async_server_client, run):
    tool = AsyncMemtraceMemoryTool(async_server_client, agent_id="a")

    async def create(number):
        return await tool.call({"command": "create", "path": A, "file_text": str(number)})

    async def work():
        created = await asyncio.gather(*map(create, range(8)), return_exceptions=True)
        await tool.call({"command": "delete", "path": A})
        return created, await tool.call({"command": "view", "path": "/memories"})

    created, shown = run(work())
    assert sum(isinstance(each, str) for each in created) == 1
    assert sum(isinstance(each, ToolError) for each in created) == 7
    assert A not in shown
