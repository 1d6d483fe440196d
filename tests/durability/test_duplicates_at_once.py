"""Equal memories are stored once, however many clients send them at the same time, and over any transport."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.sockets import RawResponse, post, send_at_once
from durability.store_audit import assert_consistent
from helpers.clock import Clock
from live import LiveServer

from memtrace import ConflictError, Memtrace
from memtrace_server.messages import Response

pytestmark = pytest.mark.both_stores

MANY = 64
HOUR = 3_600
DAY = 24 * HOUR


def test_one_of_simultaneous_equal_memories_is_stored_others_name_it(
    live_server: LiveServer, tenant_key: str
) -> None:
    for number in range(5):
        memory = {"agent_id": "a", "content": f"said {number}", "metadata": {"n": number}}

        responses = _store_at_once(live_server, tenant_key, [memory] * MANY)

        _assert_one_of(responses)
    assert _count(live_server, tenant_key) == 5


def test_one_of_simultaneous_writes_with_one_dedup_key_is_stored(
    live_server: LiveServer, tenant_key: str
) -> None:
    for number in range(3):
        requests = [
            {"agent_id": "a", "content": f"in the words of {n}", "dedup_key": f"key {number}"}
            for n in range(MANY)
        ]

        responses = _store_at_once(live_server, tenant_key, requests)

        stored = _assert_one_of(responses)
        assert requests[responses.index(stored)]["content"] == stored.json["content"]
    assert _count(live_server, tenant_key) == 3


def test_simultaneous_different_writes_are_all_stored(live_server: LiveServer, tenant_key: str) -> None:
    requests = [{"agent_id": f"agent_{n % 8}", "content": "the same"} for n in range(MANY)]

    responses = _store_at_once(live_server, tenant_key, requests)

    for first in range(8):
        _assert_one_of(responses[first::8])
    assert _count(live_server, tenant_key) == 8


def test_memories_of_simultaneous_overlapping_batches_are_stored_once(
    live_server: LiveServer, tenant_key: str
) -> None:
    memories = [_of_a(f"part {n}") for n in range(10)]
    batches = [{"memories": memories[n % 5 : n % 5 + 6]} for n in range(MANY)]

    responses = _store_at_once(live_server, tenant_key, batches)

    assert {a.status for a in responses} == {200, 201}
    ids: dict[str, set[str]] = {}
    fresh = 0
    for batch in (a.json for a in responses):
        fresh += batch["count"] - len(batch["duplicates"])
        for memory in batch["memories"]:
            ids.setdefault(memory["content"], set()).add(memory["id"])
    assert {content: len(found) for content, found in ids.items()} == {m["content"]: 1 for m in memories}
    assert fresh == _count(live_server, tenant_key) == 10


def test_one_of_simultaneous_equal_memories_in_one_process_is_stored(tenant: Tenant) -> None:
    for number in range(5):
        start = threading.Barrier(16)

        def store(number: int = number, start: threading.Barrier = start) -> Response:
            start.wait()
            return tenant.add(content=f"said {number}")

        with ThreadPoolExecutor(16) as threads:
            responses = [f.result() for f in [threads.submit(store) for _ in range(16)]]

        _assert_one_of([RawResponse(a.status, a.headers, a.body) for a in responses])
    assert len(tenant.memories()) == 5


def test_two_processes_on_one_file_store_each_memory_once(tmp_path: Path) -> None:
    contents = [f"memory {n}" for n in range(100)]
    outcomes: Counter[str] = Counter()
    stored: dict[str, str] = {}
    named: dict[str, set[str | None]] = {content: set() for content in contents}

    def store_all(client: Memtrace) -> None:
        start.wait()
        for content in contents:
            try:
                memory = client.remember("a", content, on_duplicate="reject")
            except ConflictError as conflict:
                named[content].add(conflict.existing_id)
            else:
                outcomes[content] += 1
                stored[content] = memory.id or ""

    with LiveServer(tmp_path) as server, ThreadPoolExecutor(6) as threads:
        remote, embedded = Memtrace(server.url, server.key), Memtrace(server.store_url)
        start = threading.Barrier(6)
        with remote, embedded:
            for done in [threads.submit(store_all, client) for client in [remote, embedded] * 3]:
                done.result()

    assert outcomes == dict.fromkeys(contents, 1)
    assert named == {content: {stored[content]} for content in contents}
    rows = assert_consistent(tmp_path / "memtrace.db")
    assert sorted(row.doc["id"] for row in rows) == sorted(stored.values())


@pytest.mark.parametrize("memory", [{"content": "yes"}, {"content": "yes", "dedup_key": "k"}], ids=str)
def test_duplicates_are_found_for_24_hours_after_the_first(
    tenant: Tenant, clock: Clock, memory: dict[str, Any]
) -> None:
    first = _stored(tenant.add(**memory))
    clock.advance(DAY - 1)
    _assert_duplicate(tenant.add(**memory), first)  # this does not prolong it

    clock.advance(2)

    second = _stored(tenant.add(**memory))
    assert [m["id"] for m in tenant.memories()] == [first, second]
    clock.advance(DAY - 1)
    _assert_duplicate(tenant.add(**memory), second)


def test_sweep_of_old_fingerprints_keeps_younger_ones(tenant: Tenant, clock: Clock) -> None:
    older = _stored(tenant.add(content="older"))
    clock.advance(12 * HOUR)
    younger = _stored(tenant.add(content="younger"))
    clock.advance(13 * HOUR)
    _stored(tenant.add(content="a write, which sweeps"))
    clock.advance(2)
    _stored(tenant.add(content="another"))

    _assert_duplicate(tenant.add(content="younger"), younger)
    assert _stored(tenant.add(content="older")) != older


def test_duplicate_is_found_after_a_restart(in_process: InProcess, clock: Clock) -> None:
    first = _stored(in_process.tenant().add(content="yes"))
    clock.advance(HOUR)

    in_process.restart()

    _assert_duplicate(in_process.tenant().add(content="yes"), first)


def test_batch_returns_the_original_at_the_index_of_a_duplicate(tenant: Tenant) -> None:
    known = _stored(tenant.add(content="known"))
    contents = ["new", "known", "new", "other", "new", "known"]

    response = json_of(tenant.send("POST", MEMORIES, {"memories": [_of_a(c) for c in contents]}))

    assert response["duplicates"] == [1, 2, 4, 5]
    assert [m["content"] for m in response["memories"]] == contents
    ids = [m["id"] for m in response["memories"]]
    assert ids[1] == ids[5] == known
    assert ids[0] == ids[2] == ids[4]
    assert {m["id"] for m in tenant.memories()} == set(ids)
    assert len(tenant.memories()) == 3


def test_first_memory_of_a_dedup_key_in_a_batch_is_the_original(tenant: Tenant) -> None:
    same = {"dedup_key": "k", "on_duplicate": "return"}
    batch = [{"agent_id": a, "content": c, **same} for a, c in [("a", "1"), ("a", "2"), ("b", "3")]]

    response = json_of(tenant.send("POST", MEMORIES, {"memories": batch}))

    assert response["duplicates"] == [1]
    assert [m["content"] for m in response["memories"]] == ["1", "1", "3"]
    assert [m["content"] for m in tenant.memories()] == ["1", "3"]


def test_a_batch_of_duplicates_stores_nothing(tenant: Tenant) -> None:
    batch = {"memories": [_of_a("1"), _of_a("2")]}
    first = json_of(tenant.send("POST", MEMORIES, batch))

    second = tenant.send("POST", MEMORIES, batch)

    assert (second.status, json_of(second)) == (200, {**first, "duplicates": [0, 1]})
    assert tenant.memories() == first["memories"]


@pytest.mark.parametrize(
    "forget",
    [
        lambda tenant, memory_id: tenant.send("DELETE", f"{MEMORIES}/{memory_id}"),
        lambda tenant, _: tenant.send("DELETE", MEMORIES, query="agent_id=a"),
        lambda tenant, _: tenant.send("DELETE", "/api/v1/agents/a", query="delete_memories=true"),
    ],
    ids=["by id", "by filter", "with its agent"],
)
@pytest.mark.parametrize("memory", [{"content": "yes"}, {"content": "yes", "dedup_key": "k"}], ids=str)
def test_memory_forgotten_in_any_way_can_be_stored_again(
    tenant: Tenant, forget: Callable[[Tenant, str], Response], memory: dict[str, Any]
) -> None:
    first = _stored(tenant.add(**memory))
    assert forget(tenant, first).status in {200, 204}

    second = _stored(tenant.add(**memory))

    assert second != first
    assert [m["id"] for m in tenant.memories()] == [second]
    _assert_duplicate(tenant.add(**memory), second)


def test_expired_memory_can_be_stored_again(tenant: Tenant, clock: Clock) -> None:
    first = _stored(tenant.add(content="yes", ttl=10))
    clock.advance(9)
    _assert_duplicate(tenant.add(content="yes", ttl=10), first)

    clock.advance(1)

    second = _stored(tenant.add(content="yes", ttl=10))
    assert [m["id"] for m in tenant.memories()] == [second]
    clock.advance(9)
    _assert_duplicate(tenant.add(content="yes", ttl=10), second)


def test_expired_memory_is_no_original_for_a_batch(tenant: Tenant, clock: Clock) -> None:
    ending = {**_of_a("yes"), "ttl": 10}
    _stored(tenant.add(**ending))
    clock.advance(10)

    response = json_of(tenant.send("POST", MEMORIES, {"memories": [ending, ending]}))

    assert response["duplicates"] == [1]
    assert tenant.memories() == response["memories"][:1]


def test_equal_memories_of_two_organisations_are_no_duplicates(in_process: InProcess) -> None:
    ours, theirs = in_process.tenant("ours"), in_process.tenant("theirs")
    for memory in ({"content": "yes"}, {"content": "yes", "dedup_key": "k"}):
        first, second = _stored(ours.add(**memory)), _stored(theirs.add(**memory))

        assert ours.send("DELETE", f"{MEMORIES}/{first}").status == 204

        _assert_duplicate(theirs.add(**memory), second)
        assert _stored(ours.add(**memory)) != first


def _store_at_once(server: LiveServer, key: str, bodies: Sequence[object]) -> list[RawResponse]:
    requests = [post(MEMORIES, key, msgspec.json.encode(body)) for body in bodies]
    return send_at_once(server.url, requests)


def _assert_one_of(responses: Sequence[RawResponse]) -> RawResponse:
    """Check that one write was stored and all others name it, and return its response."""
    assert Counter(a.status for a in responses) == {201: 1, 409: len(responses) - 1}
    [stored] = [a for a in responses if a.status == 201]
    refused = [a.json for a in responses if a.status == 409]
    assert {(r["code"], r["existing_id"]) for r in refused} == {("duplicate_memory", stored.json["id"])}
    return stored


def _count(server: LiveServer, key: str) -> int:
    with Memtrace(server.url, key) as client:
        return len(list(client.iter_memories()))


def _of_a(content: str) -> dict[str, str]:
    return {"agent_id": "a", "content": content, "on_duplicate": "return"}


def _stored(response: Response) -> str:
    assert response.status == 201, response.body
    return str(json_of(response)["id"])


def _assert_duplicate(response: Response, original: str) -> None:
    assert response.status == 409, response.body
    assert json_of(response)["code"] == "duplicate_memory"
    assert json_of(response)["existing_id"] == original
