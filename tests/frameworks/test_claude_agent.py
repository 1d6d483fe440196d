"""Transcripts of the Claude Agent SDK in Memtrace, by the SDK's own conformance suite."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from claude_agent_sdk import list_sessions_from_store, project_key_for_directory
from claude_agent_sdk.testing import run_session_store_conformance

from memtrace.integrations.claude_agent import MemtraceSessionStore

KEY = {"project_key": "-home-me-shop", "session_id": "550e8400-e29b-41d4-a716-446655440000"}


def entry(number: int, **fields):
    return {"type": "user", "uuid": f"uuid-{number}", "number": number, **fields}


@pytest.fixture
def store(client):
    return MemtraceSessionStore(client)


def test_a_store_passes_the_conformance_suite_of_the_sdk(tmp_path, run):
    files = count()
    run(run_session_store_conformance(lambda: MemtraceSessionStore(f"sqlite:///{tmp_path}/{next(files)}.db")))


def test_a_store_on_a_server_passes_the_conformance_suite(async_server_client, run):
    projects = count()

    class OneProject(MemtraceSessionStore):
        """A store with its own projects, as all tests share one organisation of the server."""

        def __init__(self) -> None:
            super().__init__(async_server_client)
            self._prefix = f"{next(projects)}-"

        async def append(self, key, entries):
            await super().append(self._own(key), entries)

        async def load(self, key):
            return await super().load(self._own(key))

        async def delete(self, key):
            await super().delete(self._own(key))

        async def list_sessions(self, project_key):
            return await super().list_sessions(self._prefix + project_key)

        async def list_session_summaries(self, project_key):
            return await super().list_session_summaries(self._prefix + project_key)

        async def list_subkeys(self, key):
            return await super().list_subkeys(self._own(key))

        def _own(self, key):
            return {**key, "project_key": self._prefix + key["project_key"]}

    run(run_session_store_conformance(OneProject))


def test_entry_that_is_appended_again_is_returned_once(store, run):
    async def work():
        await store.append(KEY, [entry(1), entry(2)])
        await store.append(KEY, [entry(2), entry(3)])
        return await store.load(KEY)

    assert [each["number"] for each in run(work())] == [1, 2, 3]


def test_an_entry_that_is_appended_again_is_one_memory(blocking_client, run):
    store = MemtraceSessionStore(blocking_client)
    for _ in range(2):
        run(store.append(KEY, [entry(1), entry(2)]))

    assert len(list(blocking_client.iter_memories())) == 2


def test_a_forked_session_has_the_entries_of_the_first(store, run):
    fork = {**KEY, "session_id": "650e8400-e29b-41d4-a716-446655440000"}

    async def work():
        await store.append(KEY, [entry(1), entry(2)])
        await store.append(fork, [entry(1), entry(3)])
        return await store.load(KEY), await store.load(fork)

    loaded, forked = run(work())
    assert [each["number"] for each in loaded] == [1, 2]
    assert [each["number"] for each in forked] == [1, 3]


def test_entry_longer_than_a_memory_is_returned_complete(store, run):
    picture = "é😀x" * 100_000

    async def work():
        await store.append(KEY, [entry(1), entry(2, picture=picture), entry(3)])
        return await store.load(KEY)

    loaded = run(work())
    assert [each["number"] for each in loaded] == [1, 2, 3]
    assert loaded[1]["picture"] == picture


def test_an_entry_without_a_type_and_with_odd_text_comes_back(store, run):
    odd = [entry(1, type=""), entry(2, text="a\n\ttab \0 \ud800 \\n \U0001f642")]
    run(store.append(KEY, odd))
    assert run(store.load(KEY)) == odd


def test_the_sdk_lists_sessions_from_the_store(store, tmp_path, run):
    project = str(tmp_path)

    async def work():
        key = {**KEY, "project_key": project_key_for_directory(project)}
        await store.append(key, [entry(1, message={"role": "user", "content": "Find the bug"})])
        return await list_sessions_from_store(store, directory=project)

    assert [each.session_id for each in run(work())] == [KEY["session_id"]]


def test_entries_appended_at_once_are_all_in_the_summary(async_server_client, run):
    store = MemtraceSessionStore(async_server_client)
    fields = {"customTitle": "Bug", "lastPrompt": "Find it", "gitBranch": "main", "cwd": "/shop"}

    async def work():
        appended = [entry(at, **{field: fields[field]}) for at, field in enumerate(fields)]
        await asyncio.gather(*(store.append(KEY, [each]) for each in appended))
        return await store.list_session_summaries(KEY["project_key"]), await store.load(KEY)

    (summary,), loaded = run(work())
    assert set(fields.values()) <= set(summary["data"].values())
    assert len(loaded) == len(fields)


def test_text_of_a_transcript_is_found_by_search(blocking_client, run):
    said = {"role": "user", "content": "The invoice of Brightwater is overdue"}
    run(MemtraceSessionStore(blocking_client).append(KEY, [entry(1, message=said)]))
    found = blocking_client.search_memories(query="Which invoice is overdue?")
    assert "Brightwater" in found.results[0].content
