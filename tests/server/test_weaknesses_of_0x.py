"""Weaknesses of Memtrace 0.x that this server must not have: one test for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from memtrace import APIConnectionError, Memtrace, ResponseValidationError, ServerError
from memtrace_server.store.sqlite import bulk
from memtrace_server.store.sqlite.transaction import SqliteTransaction

if TYPE_CHECKING:
    from live import LiveServer
    from server.conftest import Api

MEMORIES, SEARCH, AGENTS, SESSIONS = (f"/api/v1/{n}" for n in ("memories", "search", "agents", "sessions"))


def test_a_memory_has_an_id(api: Api) -> None:
    memory = api.add(content="Hello")

    assert memory["id"].startswith("mem_")
    assert api.get(f"{MEMORIES}/{memory['id']}") == memory


@pytest.mark.both_stores
def test_has_more_is_not_only_that_the_page_was_full(api: Api) -> None:
    for n in range(4):
        api.add(content=str(n))

    assert api.get(MEMORIES, limit=4)["has_more"] is False
    assert api.get(MEMORIES, limit=3)["has_more"] is True


@pytest.mark.both_stores
def test_paging_is_stable_under_writes(api: Api) -> None:
    for n in range(4):
        api.add(content=str(n))
    first = api.get(MEMORIES, limit=2)
    api.add(content="new")

    second = api.get(MEMORIES, limit=2, cursor=first["next_cursor"])

    assert [memory["content"] for memory in first["memories"] + second["memories"]] == ["3", "2", "1", "0"]


@pytest.mark.both_stores
def test_limit_above_1000_is_refused_and_not_replaced(api: Api) -> None:
    response = api("GET", MEMORIES, params={"limit": 1001})

    assert (response.status_code, response.json()["details"][0]["field"]) == (400, "limit")


@pytest.mark.both_stores
def test_a_tag_is_not_found_by_a_part_of_it(api: Api) -> None:
    api.add(content="gui", tags=["gui", "ui-kit", "UI"])

    assert api.contents(tags="ui") == []
    assert api.contents(tags="gui,UI") == ["gui"]


@pytest.mark.both_stores
@pytest.mark.parametrize(
    ("query", "tags"),
    [
        ("a%2Cb", ["a", "b"]),
        ("%2Ca", [",a"]),
        ("a%2C+b", ["a, b"]),
        ("a%2C.", ["a,."]),
        ("a%2Cb,c", ["a,b", "c"]),
    ],
    ids=repr,
)
def test_encoded_comma_splits_tags_only_into_valid_ones(api: Api, query: str, tags: list[str]) -> None:
    body = {"agent_id": "commas", "content": repr(tags), "tags": tags}
    stored = api("POST", MEMORIES, json=body).json()
    found = api("GET", f"{MEMORIES}?tags={query}").json()["memories"]
    assert [memory["id"] for memory in found] == [stored["id"]]


@pytest.mark.both_stores
def test_content_contains_ignores_case(api: Api) -> None:
    api.add(content="User prefers DARK Mode in Zürich")

    for piece in ("dark mode", "ZÜRICH", "Üri"):
        assert api("POST", SEARCH, json={"content_contains": piece}).json()["count"] == 1


@pytest.mark.both_stores
@pytest.mark.parametrize("since", ["garbage", "24", "24 h", "2026-99-99T00:00:00Z", "'; SELECT 1", "NaN"])
def test_an_unreadable_since_is_neither_24_hours_nor_a_database_error(api: Api, since: str) -> None:
    for response in (
        api("GET", MEMORIES, params={"since": since}),
        api("POST", SEARCH, json={"since": since}),
    ):
        assert (response.status_code, response.json()["details"][0]["field"]) == (400, "since")
        assert "sql" not in response.text.lower().replace("select", "")


@pytest.mark.both_stores
def test_context_stays_within_max_tokens(api: Api) -> None:
    for n in range(50):
        api.add(content=f"Memory {n} has a number of words to fill the context with", session_id="s")

    context = api("POST", f"{SESSIONS}/s/context", json={"max_tokens": 200}).json()

    assert len(context["context"].split()) <= context["token_count"] <= 200
    assert 0 < context["memory_count"] < 50
    assert context["omitted_count"] == 50 - context["memory_count"]


@pytest.mark.both_stores
def test_a_line_of_a_context_is_not_cut_at_80_bytes(api: Api) -> None:
    content = (
        "Der Benutzer möchte künftig ausschließlich über verschlüsselte Wege benachrichtigt werden — überall"
    )
    api.add(content=content, session_id="s")

    assert content in api("POST", f"{SESSIONS}/s/context").json()["context"]


@pytest.mark.both_stores
def test_a_decisions_reasoning_is_in_the_context(api: Api) -> None:
    decision = {"memory_type": "decision", "event_type": "decision", "metadata": {"reasoning": "Better JSON"}}
    api.add(content="Use PostgreSQL", session_id="s", **decision)

    context = api("POST", f"{SESSIONS}/s/context").json()["context"]

    assert "Use PostgreSQL" in context
    assert "Better JSON" in context


@pytest.mark.both_stores
def test_errors_of_a_context_are_not_among_its_actions(api: Api) -> None:
    api.add(content="Clicked the button", event_type="action", session_id="s")
    api.add(content="The payment failed", event_type="error", session_id="s")

    context = api("POST", f"{SESSIONS}/s/context", json={"layout": "sections"}).json()["context"]

    sections = {part.split("\n")[0]: part for part in context.split("## ")}
    assert "The payment failed" in sections["Errors"]
    assert "The payment failed" not in sections["Actions"]


@pytest.mark.both_stores
def test_memories_that_differ_after_200_bytes_are_no_duplicates(api: Api) -> None:
    api.add(content="x" * 5_000 + "1")
    api.add(content="x" * 5_000 + "2")

    assert len(api.contents()) == 2


@pytest.mark.both_stores
def test_same_content_in_two_sessions_is_no_conflict(api: Api) -> None:
    api.add(content="yes", session_id="s1")
    api.add(content="yes", session_id="s2")

    assert len(api.contents()) == 2


@pytest.mark.both_stores
def test_lookup_of_duplicates_does_not_race(api: Api) -> None:
    with ThreadPoolExecutor(16) as threads:
        memory = {"agent_id": "a", "content": "the same"}
        responses = list(threads.map(lambda _: api("POST", MEMORIES, json=memory), range(64)))

    stored = [response.json()["id"] for response in responses if response.status_code == 201]
    refused = [response.json()["existing_id"] for response in responses if response.status_code == 409]
    assert (len(stored), refused) == (1, stored * 63)


def test_no_write_is_let_through_when_the_lookup_of_duplicates_fails(
    memtrace: Memtrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    client = memtrace.with_options(max_retries=0)
    client.remember("a", "Before")
    with monkeypatch.context() as broken:
        broken.setattr(SqliteTransaction, "originals", fail)
        with pytest.raises(ServerError) as refused:
            client.remember("a", "After", on_duplicate="reject")
    assert (refused.value.status_code, refused.value.code) == (503, "unavailable")
    assert [memory.content for memory in client.list_memories().memories] == ["Before"]


def test_a_201_is_sent_after_the_commit(api: Api, live_server: LiveServer) -> None:
    with closing(sqlite3.connect(live_server.store_url[10:])) as another_process:
        for n in range(20):
            memory = api.add(content=str(n))
            found = another_process.execute(
                "SELECT count(*) FROM memories WHERE 'mem_' || ulid = ?", (memory["id"],)
            )
            assert found.fetchone() == (1,)


def test_a_batch_that_fails_half_way_is_not_half_written(
    memtrace: Memtrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = bulk.insert
    calls = 0

    def fail_at_the_third(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise sqlite3.OperationalError("disk I/O error")
        return insert(*arguments)

    add = SqliteTransaction.add_memories

    def fail_at_the_end(*arguments: Any) -> None:
        add(*arguments)
        raise sqlite3.OperationalError("disk I/O error")

    batch = [{"agent_id": f"agent_{n}", "session_id": f"s_{n}", "content": "word"} for n in range(5)]
    client = memtrace.with_options(max_retries=0)
    faults: list[tuple[object, str, object]] = [
        (bulk, "insert", fail_at_the_third),
        (SqliteTransaction, "add_memories", fail_at_the_end),
    ]
    for target, name, broken in faults:
        with monkeypatch.context() as patched:
            patched.setattr(target, name, broken)
            with pytest.raises(ServerError):
                client.add_memories(batch)
        assert client.list_memories().count == 0
        assert client.list_agents().count == client.list_sessions().count == 0
        assert client.search_memories("word").count == 0
    assert client.add_memories(batch).duplicates == []


@pytest.mark.both_stores
def test_session_metadata_is_merged_not_replaced(api: Api) -> None:
    session = api("POST", SESSIONS, json={"agent_id": "a", "metadata": {"task": "onboarding"}}).json()

    changed = api("PUT", f"{SESSIONS}/{session['id']}", json={"metadata": {"outcome": "solved"}}).json()

    assert changed["metadata"] == {"task": "onboarding", "outcome": "solved"}


@pytest.mark.both_stores
def test_a_second_agent_of_the_same_name_is_409(api: Api) -> None:
    assert api("POST", AGENTS, json={"name": "bot"}).status_code == 201

    refused = api("POST", AGENTS, json={"name": "bot"})

    assert (refused.status_code, refused.json()["existing_id"]) == (409, "bot")


@pytest.mark.both_stores
def test_a_session_needs_no_registered_agent(api: Api) -> None:
    assert api("POST", SESSIONS, json={"agent_id": "never-registered"}).status_code == 201


@pytest.mark.both_stores
def test_deleting_an_agent_can_delete_its_memories(api: Api) -> None:
    api.add(content="Hello")

    assert api("DELETE", f"{AGENTS}/a", params={"delete_memories": "true"}).status_code == 204

    assert api.contents() == []


@pytest.mark.both_stores
def test_memories_can_be_deleted(api: Api) -> None:
    memory = api.add(content="One")
    api.add(content="Two", tags=["old"])
    api.add(content="Three")

    assert api("DELETE", f"{MEMORIES}/{memory['id']}").status_code == 204
    assert api("DELETE", MEMORIES, params={"tags": "old"}).json() == {"deleted": 1}

    assert api.contents() == ["Three"]


@pytest.mark.both_stores
def test_a_keys_permissions_are_checked(api: Api) -> None:
    refused = api.as_role("reader")("POST", MEMORIES, json={"agent_id": "a", "content": "c"})

    assert refused.status_code == 403


# --- the SDK


@pytest.fixture
def responding(no_delays: None) -> Iterator[Callable[..., Memtrace]]:  # noqa: ARG001  # it must not sleep
    """Return a function that makes a client of a server with these responses, the last one repeated."""
    clients: list[httpx.Client] = []

    def make(*responses: httpx.Response) -> Memtrace:
        left = list(responses)
        transport = httpx.MockTransport(lambda _: left.pop(0) if len(left) > 1 else left[0])
        clients.append(httpx.Client(transport=transport))
        return Memtrace("http://0x.example", "mtk_x", http_client=clients[-1])

    yield make
    for client in clients:
        client.close()


MEMORY = {
    "time": "2026-11-01T09:30:00.123456789Z", "org_id": "o", "agent_id": "a", "memory_type": "episodic",
    "event_type": "general", "content": "c",
}  # fmt: skip


def test_no_connect_error_of_httpx_escapes_the_sdk() -> None:
    with (
        Memtrace("http://127.0.0.1:1", "mtk_x", max_retries=0) as client,
        pytest.raises(APIConnectionError),
    ):
        client.list_memories()


def test_no_json_decode_error_escapes_the_sdk(responding: Callable[..., Memtrace]) -> None:
    with pytest.raises(ResponseValidationError):
        responding(httpx.Response(200, html="<html>Welcome to nginx!</html>")).list_memories()


def test_the_sdk_retries(responding: Callable[..., Memtrace]) -> None:
    page = {"memories": [MEMORY], "count": 1, "has_more": False}
    failures = [httpx.Response(status, text="try again") for status in (502, 503)]

    assert responding(*failures, httpx.Response(200, json=page)).list_memories().count == 1


def test_the_sdk_has_iterators(responding: Callable[..., Memtrace]) -> None:
    pages = [
        httpx.Response(200, json={"memories": [MEMORY], "count": 1, "has_more": more})
        for more in (True, False)
    ]

    assert len(list(responding(*pages).iter_memories())) == 2


def test_the_sdk_has_a_type_marker() -> None:
    assert files("memtrace").joinpath("py.typed").is_file()


def test_the_sdk_reads_a_list_with_an_unknown_memory_type(responding: Callable[..., Memtrace]) -> None:
    page = {"memories": [{**MEMORY, "memory_type": "dream"}, MEMORY], "count": 2, "has_more": False}

    listed = responding(httpx.Response(200, json=page)).list_memories()

    assert [memory.memory_type for memory in listed.memories] == ["dream", "episodic"]
    assert abs(listed.memories[0].time - datetime(2026, 11, 1, 9, 30, tzinfo=UTC)) < timedelta(seconds=1)
