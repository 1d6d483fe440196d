"""A repeated Idempotency-Key gets the first response again, and the write is done once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.sockets import post, send_at_once
from helpers.clock import Clock
from live import LiveServer

from memtrace import Memtrace
from memtrace_server import tenants
from memtrace_server.messages import Response

pytestmark = pytest.mark.both_stores

MANY = 64
DAY = 86_400
ONE = {
    "agent_id": "a",
    "content": "one",
    "tags": ["x", "x"],
    "metadata": {"ä": [1, 1.5, None]},
    "ttl": 2 * DAY,
}
KNOWN = {"agent_id": "a", "content": "known", "on_duplicate": "return"}
BATCH = {"memories": [ONE, {"agent_id": "b", "content": "two"}, KNOWN]}


@frozen
class Write:
    """A write; its path may name an existing memory."""

    method: str
    path: str
    body: Any = None
    query: str = ""

    def send(self, tenant: Tenant, known: str, once: str | None = "key") -> Response:
        """Send the write."""
        path = self.path.format(known=known)
        return tenant.send(self.method, path, self.body, query=self.query, once=once)


WRITES = {
    "one memory": Write("POST", MEMORIES, ONE),
    "a batch": Write("POST", MEMORIES, BATCH),
    "forget one": Write("DELETE", MEMORIES + "/{known}"),
    "forget many": Write("DELETE", MEMORIES, query="agent_id=a"),
    "register an agent": Write("POST", "/api/v1/agents", {"name": "z", "config": {"model": "m"}}),
    "delete an agent": Write("DELETE", "/api/v1/agents/a"),
    "delete an agent and its memories": Write("DELETE", "/api/v1/agents/a", query="delete_memories=true"),
    "start a session": Write("POST", "/api/v1/sessions", {"agent_id": "a", "metadata": {"task": "t"}}),
    "change a session": Write("PUT", "/api/v1/sessions/s", {"status": "closed", "metadata": {"x": 1}}),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.fixture
def known(tenant: Tenant) -> str:
    """Return the id of an existing memory."""
    response = tenant.add(content="known")
    tenant.add(content="in a session", session_id="s")
    return str(json_of(response)["id"])


@every_write
def test_retry_gets_the_same_bytes_and_changes_nothing(
    tenant: Tenant, in_process: InProcess, known: str, clock: Clock, write: Write
) -> None:
    before = _state(in_process)
    first = write.send(tenant, known)
    assert first.status in {200, 201, 204}, first.body
    done = _state(in_process)
    assert done != before
    clock.advance(DAY / 2)

    second = write.send(tenant, known)

    _assert_same(second, first)
    assert "Idempotent-Replayed" not in first.headers
    assert _state(in_process) == done


@every_write
def test_a_retry_gets_the_same_bytes_after_a_restart(
    in_process: InProcess, known: str, clock: Clock, write: Write
) -> None:
    first = write.send(in_process.tenant(), known)
    done = _state(in_process)
    clock.advance(1)

    in_process.restart()

    _assert_same(write.send(in_process.tenant(), known), first)
    assert _state(in_process) == done


@every_write
def test_key_can_be_used_again_after_24_hours(tenant: Tenant, known: str, clock: Clock, write: Write) -> None:
    other = {"agent_id": "c", "content": "another request"}
    assert write.send(tenant, known).status in {200, 201, 204}
    clock.advance(DAY - 1)
    _assert_reused(tenant.send("POST", MEMORIES, other, once="key"))

    clock.advance(2)

    stored = tenant.send("POST", MEMORIES, other, once="key")
    assert stored.status == 201
    _assert_same(tenant.send("POST", MEMORIES, other, once="key"), stored)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (Write("POST", MEMORIES, ONE), Write("POST", MEMORIES, {**ONE, "content": "other"})),
        (Write("POST", MEMORIES, ONE), Write("POST", MEMORIES, {**ONE, "importance": 1})),
        (Write("POST", MEMORIES, ONE), Write("POST", MEMORIES, {"memories": [ONE]})),
        (Write("DELETE", MEMORIES, query="agent_id=a"), Write("DELETE", MEMORIES, query="agent_id=b")),
        (WRITES["delete an agent"], WRITES["delete an agent and its memories"]),
        (WRITES["forget one"], WRITES["forget many"]),
        (WRITES["change a session"], WRITES["start a session"]),
    ],
)
def test_other_request_with_the_same_key_is_a_conflict(
    tenant: Tenant, known: str, in_process: InProcess, first: Write, other: Write
) -> None:
    response = first.send(tenant, known)
    done = _state(in_process)

    _assert_reused(other.send(tenant, known))

    assert _state(in_process) == done
    _assert_same(first.send(tenant, known), response)


def test_organisations_can_use_the_same_keys(in_process: InProcess) -> None:
    ours, theirs = in_process.tenant("ours"), in_process.tenant("theirs")

    responses = [t.send("POST", MEMORIES, ONE, once="key") for t in (ours, theirs)]

    assert [a.status for a in responses] == [201, 201]
    assert [json_of(a) for a in responses] == [ours.memories()[0], theirs.memories()[0]]
    assert theirs.send("POST", MEMORIES, {**ONE, "content": "other"}, once="other").status == 201
    assert ours.send("POST", MEMORIES, {**ONE, "content": "third"}, once="other").status == 201


def test_response_is_kept_while_older_ones_are_swept(tenant: Tenant, clock: Clock) -> None:
    tenant.send("POST", MEMORIES, {"agent_id": "a", "content": "older"}, once="older")
    clock.advance(DAY / 2)
    younger = tenant.send("POST", MEMORIES, {"agent_id": "a", "content": "younger"}, once="younger")
    clock.advance(DAY / 2 + 2)
    tenant.add(content="a write, which sweeps")
    clock.advance(2)
    tenant.add(content="another")

    _assert_same(
        tenant.send("POST", MEMORIES, {"agent_id": "a", "content": "younger"}, once="younger"), younger
    )


def test_retry_gets_the_first_response_after_later_changes(tenant: Tenant, clock: Clock) -> None:
    session = tenant.send("POST", "/api/v1/sessions", {"agent_id": "a"}, once="session")
    agent = tenant.send("POST", "/api/v1/agents", {"name": "a"}, once="agent")
    clock.advance(1)
    tenant.send("PUT", f"/api/v1/sessions/{json_of(session)['id']}", {"status": "closed"})
    tenant.send("DELETE", "/api/v1/agents/a")

    _assert_same(tenant.send("POST", "/api/v1/sessions", {"agent_id": "a"}, once="session"), session)
    _assert_same(tenant.send("POST", "/api/v1/agents", {"name": "a"}, once="agent"), agent)

    assert tenant.send("GET", "/api/v1/agents/a").status == 404


def test_key_of_an_invalid_request_can_be_used_again(tenant: Tenant) -> None:
    assert tenant.send("POST", MEMORIES, {"agent_id": "a"}, once="key").status == 400

    assert tenant.send("POST", MEMORIES, ONE, once="key").status == 201


def test_key_of_a_request_that_found_nothing_can_be_used_again(tenant: Tenant) -> None:
    write = WRITES["change a session"]
    assert write.send(tenant, "").status == 404
    tenant.add(content="in a session", session_id="s")

    assert write.send(tenant, "").status == 200


def test_key_of_a_conflict_can_be_used_again(tenant: Tenant, known: str) -> None:
    request = {"agent_id": "a", "content": "known"}
    assert tenant.send("POST", MEMORIES, request, once="key").status == 409
    tenant.send("DELETE", f"{MEMORIES}/{known}")

    assert tenant.send("POST", MEMORIES, request, once="key").status == 201


def test_key_of_a_forbidden_request_can_be_used_again(in_process: InProcess, tenant: Tenant) -> None:
    reader = Tenant(in_process.core, tenants.create_key(in_process.store, "ours", "reader", ""))
    nobody = Tenant(in_process.core, "mtk_" + "0" * 64)
    assert nobody.send("POST", MEMORIES, ONE, once="key").status == 401
    assert reader.send("POST", MEMORIES, ONE, once="key").status == 403

    assert tenant.send("POST", MEMORIES, ONE, once="key").status == 201


@pytest.mark.parametrize("body", [ONE, BATCH], ids=["one memory", "a batch"])
def test_simultaneous_writes_with_one_key_are_one_write(
    live_server: LiveServer, tenant_key: str, body: object
) -> None:
    requests = [post(MEMORIES, tenant_key, msgspec.json.encode(body), once="key")] * MANY

    responses = send_at_once(live_server.url, requests)

    assert {(a.status, a.body) for a in responses} == {(201, responses[0].body)}
    replayed = Counter(a.headers.get("idempotent-replayed") for a in responses)
    assert replayed == {None: 1, "true": MANY - 1}
    stored = responses[0].json.get("memories", [responses[0].json])
    assert _ids(live_server, tenant_key) == {memory["id"] for memory in stored}


def test_one_of_simultaneous_requests_with_one_key_is_done(live_server: LiveServer, tenant_key: str) -> None:
    bodies = [{"agent_id": "a", "content": f"one of two: {n % 2}"} for n in range(MANY)]
    requests = [post(MEMORIES, tenant_key, msgspec.json.encode(body), once="key") for body in bodies]

    responses = send_at_once(live_server.url, requests)

    assert Counter(a.status for a in responses) == {201: MANY // 2, 409: MANY // 2}
    assert {a.json["code"] for a in responses if a.status == 409} == {"idempotency_key_reused"}
    assert _ids(live_server, tenant_key) == {a.json["id"] for a in responses if a.status == 201}
    assert len(_ids(live_server, tenant_key)) == 1


def _assert_same(response: Response, first: Response) -> None:
    assert (response.status, response.body) == (first.status, first.body)
    assert response.headers.get("Location") == first.headers.get("Location")
    assert response.headers["Idempotent-Replayed"] == "true"


def _assert_reused(response: Response) -> None:
    assert response.status == 409, response.body
    assert json_of(response)["code"] == "idempotency_key_reused"


def _state(server: InProcess) -> list[object]:
    """Return all that writes change, except their kept responses."""
    tables = {"memories", "labels", "agents", "agent_counts", "counts", "sessions", "duplicates", "originals"}
    return [rows for name, rows in sorted(server.tables().items()) if name in tables]


def _ids(server: LiveServer, key: str) -> set[str | None]:
    with Memtrace(server.url, key) as client:
        return {memory.id for memory in client.iter_memories()}
