"""Keys: what they allow and for how long, and the records of their use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from durability.in_process import MEMORIES
from durability.sockets import PATIENCE
from helpers.waiting import wait_until
from live import LiveServer
from server.operations import OPERATIONS, Operation

from memtrace_server import tenants, times
from memtrace_server.store import Store, open_store

if TYPE_CHECKING:
    from helpers.postgres import Schemas

GUARDED = [operation for operation in OPERATIONS.values() if operation.role]
SECRET = "what-the-victim-said"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    url: str | None = None
    if request.param == "postgres":
        schemas: Schemas = request.getfixturevalue("postgres_schemas")
        url = schemas.url_of(schemas.take())
    with LiveServer(tmp_path_factory.mktemp("keys"), store=url) as server:
        yield server
    assert server.returncode == 0
    assert "traceback" not in "".join(server.log)


@pytest.fixture(scope="module")
def store(server: LiveServer) -> Iterator[Store]:
    with closing(open_store(server.store_url)) as store:
        yield store


def status(server: LiveServer, key: str) -> int:
    return httpx.get(f"{server.url}{MEMORIES}", headers={"x-api-key": key}, timeout=PATIENCE).status_code


def listed(server: LiveServer) -> list[dict[str, str]]:
    return [json.loads(line) for line in server.run("key", "list", "--json").splitlines()]


def audit_of(server: LiveServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.run("audit").splitlines()]


def test_key_is_valid_until_it_expires_and_no_longer(server: LiveServer, store: Store) -> None:
    expires_at = times.now() + 3 * times.SECOND
    key = tenants.create_key(store, "org_default", "admin", "short", expires_at=expires_at)
    assert status(server, key) == 200 or times.now() >= expires_at  # if the machine is busy that long
    wait_until(lambda: status(server, key) == 401)
    assert times.now() >= expires_at
    refused = httpx.get(f"{server.url}{MEMORIES}", headers={"x-api-key": key}).json()
    assert refused["error"] == "This API key has expired"
    (row,) = [row for row in listed(server) if row["name"] == "short"]
    assert row["state"] == "expired"
    with pytest.raises(SystemExit):
        server.run("key", "rotate", row["id"])


def test_key_expires_at_the_time_of_its_command(server: LiveServer) -> None:
    before = times.now() // times.SECOND * times.SECOND  # the precision of the list of keys
    server.run("key", "create", "--expires", "90d", "--name", "long")
    (row,) = [row for row in listed(server) if row["name"] == "long"]
    assert before <= times.parse(row["expires"]) - 90 * times.DAY <= times.now()


def test_invalid_expiry_creates_no_key(server: LiveServer, store: Store) -> None:
    before = tenants.list_keys(store)
    with pytest.raises(SystemExit):
        server.run("key", "create", "--expires=90")
    assert tenants.list_keys(store) == before
    for text in ("d", "0d", "-1d", "1y", "1.5d", ""):
        with pytest.raises(ValueError, match="d"):
            times.parse_duration(text)


def test_list_of_keys_has_the_minute_of_their_last_use(server: LiveServer) -> None:
    key = server.run("key", "create", "--name", "used").strip()
    (row,) = [row for row in listed(server) if row["name"] == "used"]
    assert row["last used"] == ""
    minute = times.now() // (60 * times.SECOND) * 60 * times.SECOND
    assert status(server, key) == 200

    def last_used() -> str:
        return next(row["last used"] for row in listed(server) if row["name"] == "used")

    wait_until(lambda: last_used() != "")
    assert last_used() >= times.render(minute)[:19]
    assert last_used().endswith(":00Z")


def test_rotated_key_stays_valid_for_the_overlap(server: LiveServer, store: Store) -> None:
    old = tenants.create_key(store, "org_default", "reader", "turning", agent_id="a")
    key_id = next(key.id for key in tenants.list_keys(store) if key.name == "turning")
    before = times.now()

    new = server.run("key", "rotate", key_id, "--overlap", "24h").strip()

    assert (status(server, old), status(server, new)) == (200, 200)
    keys = {key.id: key for key in tenants.list_keys(store) if key.name == "turning"}
    assert {(key.role, key.org_id, key.agent_id) for key in keys.values()} == {("reader", "org_default", "a")}
    assert before <= (keys.pop(key_id).expires_at or 0) - times.DAY <= times.now()
    assert [key.expires_at for key in keys.values()] == [None]


def test_overlap_does_not_prolong_a_key(store: Store) -> None:
    soon = times.now() + 60 * times.SECOND
    tenants.create_key(store, "org_default", "reader", "nearly over", expires_at=soon)
    key_id = next(key.id for key in tenants.list_keys(store) if key.name == "nearly over")
    tenants.rotate_key(store, key_id, times.DAY)
    (old,) = [key for key in tenants.list_keys(store) if key.id == key_id]
    assert old.expires_at == soon


# --- a key that is limited to one agent


@pytest.fixture(scope="module")
def victim(server: LiveServer) -> dict[str, str]:
    """Store records of another agent of the same organisation, and return their ids."""
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        client.post("/api/v1/agents", json={"name": "support-bot", "config": {"x": SECRET}})
        session = client.post(
            "/api/v1/sessions", json={"agent_id": "support-bot", "metadata": {"x": SECRET}}
        ).json()
        memory = client.post(
            MEMORIES,
            json={
                "agent_id": "support-bot", "session_id": session["id"], "content": f"dark mode {SECRET}",
                "tags": ["ui", "preference"], "importance": 0.7, "time": "2020-01-01T00:00:00Z",
            },
        ).json()  # fmt: skip
    return {"memory_id": memory["id"], "session_id": session["id"], "agent_id": "support-bot"}


def everything(server: LiveServer, ids: dict[str, str]) -> list[Any]:
    reads = [
        OPERATIONS[name]
        for name in ("getAgent", "getAgentStats", "getSession", "getMemory", "listMemories", "listSessions")
    ]
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        return [client.request(**operation.request(**ids)).json() for operation in reads]


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.id)
def test_key_of_one_agent_finds_and_changes_nothing_of_another(
    server: LiveServer, store: Store, victim: dict[str, str], operation: Operation
) -> None:
    key = tenants.create_key(store, "org_default", "admin", "limited", agent_id="other")
    before = everything(server, victim)

    with httpx.Client(base_url=server.url, headers={"x-api-key": key}, timeout=PATIENCE) as client:
        response = client.request(**operation.request(**victim))
        sent = operation.request(**victim)
        names_another = "agent_id" in (sent["params"] or {}) or "support-bot" in json.dumps(sent)
        assert SECRET not in response.text
        if names_another:
            assert response.status_code in {403, 404}, response.text
        else:
            assert response.status_code in {200, 403, 404}, response.text

    assert everything(server, victim) == before


def test_key_of_one_agent_allows_everything_for_that_agent(server: LiveServer, store: Store) -> None:
    key = tenants.create_key(store, "org_default", "admin", "limited", agent_id="mine")
    with httpx.Client(base_url=server.url, headers={"x-api-key": key}, timeout=PATIENCE) as client:
        session = client.post("/api/v1/sessions", json={"agent_id": "mine"}).json()["id"]
        memory = {"agent_id": "mine", "content": "apples", "session_id": session}
        stored = client.post(MEMORIES, json=memory)
        assert stored.status_code == 201
        batch = client.post(MEMORIES, json={"memories": [{**memory, "content": "pears"}]})
        assert batch.status_code == 201
        mixed = client.post(
            MEMORIES, json={"memories": [memory, {"agent_id": "support-bot", "content": "smuggled"}]}
        )
        assert (mixed.status_code, mixed.json()["code"]) == (403, "forbidden")
        contents = {"apples", "pears"}
        for found in (
            client.get(MEMORIES).json()["memories"],
            client.get("/api/v1/tail", params={"start": "beginning"}).json()["memories"],
            client.post("/api/v1/search", json={"query": "apples pears"}).json()["results"],
            client.get("/api/v1/agents/mine/memories").json()["memories"],
            client.get(f"/api/v1/sessions/{session}/memories").json()["memories"],
        ):
            assert {memory["content"] for memory in found} == contents
        assert [agent["id"] for agent in client.get("/api/v1/agents").json()["agents"]] == ["mine"]
        assert [s["id"] for s in client.get("/api/v1/sessions").json()["sessions"]] == [session]
        assert client.get("/api/v1/agents/mine/stats").json()["memory_count"] == 2
        assert client.post(f"/api/v1/sessions/{session}/context").json()["memory_count"] == 2
        assert client.delete(f"{MEMORIES}/{stored.json()['id']}").status_code == 204
        assert client.delete(MEMORIES, params={"agent_id": "mine"}).json() == {"deleted": 1}
        assert client.delete("/api/v1/agents/mine").status_code == 204


def test_key_of_one_agent_sees_its_part_of_a_shared_session(server: LiveServer, store: Store) -> None:
    with httpx.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        for agent in ("owner", "guest"):
            body = {"agent_id": agent, "session_id": "shared", "content": f"said by {agent}"}
            assert client.post(MEMORIES, json=body).status_code == 201
        key = tenants.create_key(store, "org_default", "admin", "limited", agent_id="owner")
        own = httpx.Client(base_url=server.url, headers={"x-api-key": key})
        with own:
            listed_ = own.get("/api/v1/sessions/shared/memories").json()["memories"]
            assert [memory["content"] for memory in listed_] == ["said by owner"]
            assert "guest" not in own.post("/api/v1/sessions/shared/context").json()["context"]
            gone = own.delete("/api/v1/sessions/shared", params={"delete_memories": True})
            assert gone.status_code in {204, 409}
        left = client.get(MEMORIES, params={"agent_id": "guest"}).json()["memories"]
        assert [memory["content"] for memory in left] == ["said by guest"]


# --- the audit log


def test_audit_log_records_grants_of_access_and_deletions(tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        org_id = server.run("org", "create", "acme").split()[-1]
        key = server.run("key", "create", "--org", org_id, "--role", "admin").strip()
        key_id = next(row["id"] for row in listed(server) if row["org"] == org_id)
        with httpx.Client(base_url=server.url, headers={"x-api-key": key}) as client:
            client.post(MEMORIES, json={"agent_id": "a", "content": SECRET, "metadata": {"customer": SECRET}})
            forgotten = client.post("/api/v1/forget", json={"metadata": {"customer": SECRET}})
            assert forgotten.json()["deleted"] == 1
            session = client.post("/api/v1/sessions", json={"agent_id": "a"}).json()["id"]
            client.delete(f"/api/v1/sessions/{session}")
            client.delete("/api/v1/agents/a")
        server.run("key", "rotate", key_id)
        server.run("key", "revoke", key_id)
        server.run("backup", str(tmp_path / "copy.db"))
        entries = audit_of(server)
    restored = tmp_path / "restored"
    restored.mkdir()

    audited = [(entry["action"], entry["actor"], entry.get("subject")) for entry in entries]
    new_id = entries[-2]["subject"]
    assert audited == [
        ("key.created", "local", listed(server)[0]["id"]),
        ("org.created", "local", org_id),
        ("key.created", "local", key_id),
        ("memories.forgotten", key_id, None),
        ("session.deleted", key_id, session),
        ("agent.deleted", key_id, "a"),
        ("key.created", "local", new_id),
        ("key.revoked", "local", key_id),
    ]
    assert entries[3]["details"] == {"filters": ["metadata"], "deleted": 1}
    assert entries[3]["request_id"] == forgotten.headers["x-request-id"]
    assert entries[6]["details"]["replaces"] == key_id
    assert SECRET not in json.dumps(entries)
    assert key not in json.dumps(entries)


def test_restore_is_in_the_audit_log(tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        server.run("backup", str(tmp_path / "copy.db"))
    server.run("restore", str(tmp_path / "copy.db"))
    assert audit_of(server)[-1]["action"] == "store.restored"


def test_import_is_in_the_audit_log_with_its_counts_and_its_key(server: LiveServer, store: Store) -> None:
    memory = {
        "id": "mem_01JD5P8E6W3M9V2QXA7RKB4TND",
        "agent_id": "a",
        "content": SECRET,
        "time": "2026-01-01T00:00:00Z",
    }
    key = tenants.create_key(store, "org_default", "admin", "mover")
    key_id = next(key.id for key in tenants.list_keys(store) if key.name == "mover")
    with httpx.Client(base_url=server.url, headers={"x-api-key": key}) as client:
        done = [client.post("/api/v1/import", json={"memories": [memory]}) for _ in range(2)]
        refused = client.post("/api/v1/import", json={"memories": [{**memory, "id": "mem_none"}]})
    assert [response.status_code for response in (*done, refused)] == [200, 200, 400]

    assert [response.json()["existing"] for response in done] == [0, 1]

    (entry,) = [entry for entry in tenants.list_audit(store) if entry.action == "records.imported"]
    request_id = done[0].headers["x-request-id"]  # the second import changes nothing
    assert (entry.actor, entry.org_id, entry.request_id) == (key_id, "org_default", request_id)
    assert entry.details == {"imported": 1, "existing": 0}
    assert SECRET not in repr(entry)


# --- the request log


def test_request_log_has_organisation_key_and_address_and_no_secret(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--forwarded-allow-ips", "127.0.0.1") as server:
        key_id = listed(server)[0]["id"]
        headers = {"x-api-key": server.key, "x-forwarded-for": "203.0.113.9"}
        sent = httpx.get(f"{server.url}{MEMORIES}", params={"tags": SECRET}, headers=headers)
        strange = httpx.get(f"{server.url}/api/v1/agents/a%0A%1B%5B31m%E2%80%AE%7F", headers=headers)
        forged = [(b"x-forwarded-for", 'x\u00e9"}\u202e'.encode())]
        odd = httpx.get(f"{server.url}/health", headers=forged)
    lines = {line["request_id"]: line for line in map(json.loads, server.log) if "request_id" in line}

    line = lines[sent.headers["x-request-id"]]
    assert (line["org"], line["key"], line["client"]) == ("org_default", key_id, "203.0.113.9")
    assert strange.headers["x-request-id"] in lines
    assert odd.headers["x-request-id"] in lines
    log = "".join(server.log)
    assert SECRET not in log
    assert server.key not in log
    assert log.isascii()
    assert not any(ord(character) < 32 and character != "\n" for character in log)
    assert "\x7f" not in log
