"""The SDK's first description runs with a Memtrace 0.x server, here a small fake of one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.clients import FakeServer, MakeClient
from snippets import Snippet, snippets

from memtrace import ConflictError, Memtrace

SEED = snippets(Path(__file__).parent.parent / "data" / "python-sdk.md")


class OldServer:
    """A fake Memtrace 0.2 after WIRE-0.x: no ids, nulls, nanoseconds, and only its paths."""

    def __init__(self) -> None:
        self.memories: list[dict[str, Any]] = []
        self.agents: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}

    def handle(self, request: httpx.Request) -> httpx.Response:
        _, api, version, *path = request.url.path.split("/")
        assert (api, version) == ("api", "v1")
        body: dict[str, Any] = json.loads(request.content or b"{}")
        match (request.method, *path):
            case _ if not request.headers.get("x-api-key", "").startswith("mtk_"):
                response = self.error(401, "invalid api key", hint="set x-api-key")
            case "POST", "memories":
                response = self.add(body)
            case "GET", "memories":
                response = self.list(dict(request.url.params))
            case "POST", "search":
                response = self.search(body)
            case "POST", "agents":
                response = self.register(body)
            case "GET", "agents", name, *rest if name in self.agents:
                response = self.respond(self.stats(name) if rest == ["stats"] else self.agents[name])
            case "POST", "sessions":
                response = self.begin(body)
            case "PUT", "sessions", name if name in self.sessions:
                self.sessions[name] |= body
                response = self.respond(self.sessions[name])
            case "POST", "sessions", name, "context" if name in self.sessions:
                response = self.respond({"session_id": name, "context": "# Context", "memory_count": 0})
            case _:
                response = self.error(404, "not found")
        return response

    def add(self, body: dict[str, Any]) -> httpx.Response:
        memories = body.get("memories", [body])
        for memory in memories:
            if any(memory["content"][:200] == known["content"][:200] for known in self.memories):
                return self.error(409, "duplicate memory detected")
            self.memories.append(
                {
                    "time": self.now(),
                    "org_id": "org_1",
                    "agent_id": memory["agent_id"],
                    "session_id": memory.get("session_id"),
                    "memory_type": memory.get("memory_type", "episodic"),
                    "event_type": memory.get("event_type", "general"),
                    "content": memory["content"],
                    "metadata": memory.get("metadata"),
                    "tags": memory.get("tags"),
                    "dedup_key": None,
                    "importance": memory.get("importance"),
                    "parent_id": None,
                }
            )
        stored = self.memories[-len(memories) :]
        return self.respond(
            {"memories": stored, "count": len(stored)} if "memories" in body else stored[0], 201
        )

    def search(self, body: dict[str, Any]) -> httpx.Response:
        hits = [memory for memory in self.memories if body.get("content_contains", "") in memory["content"]]
        return self.respond({"results": hits, "count": len(hits), "query_time_ms": 1})

    def list(self, params: dict[str, str]) -> httpx.Response:
        assert params.keys() <= {"agent_id", "memory_type", "since", "limit", "offset", "order"}
        wanted = {name: params[name] for name in ("agent_id", "memory_type") if name in params}
        hits = [m for m in reversed(self.memories) if wanted.items() <= m.items()]
        start, limit = int(params.get("offset", 0)), int(params.get("limit", 100))
        hits = hits[start : start + limit]
        return self.respond({"memories": hits, "count": len(hits), "has_more": len(hits) == limit})

    def register(self, body: dict[str, Any]) -> httpx.Response:
        if body["name"] in self.agents:
            return self.error(400, "agent name taken")
        agent = {"id": body["name"], "org_id": "org_1", "created_at": self.now(), "last_active_at": None}
        self.agents[body["name"]] = {**body, **agent}
        return self.respond(self.agents[body["name"]], 201)

    def stats(self, name: str) -> dict[str, Any]:
        count = len([memory for memory in self.memories if memory["agent_id"] == name])
        zeros = dict.fromkeys(("memories_24h", "errors_24h", "session_count", "active_sessions"), 0)
        return {"agent_id": name, "memory_count": count, "memory_types": {"episodic": count}, **zeros}

    def begin(self, body: dict[str, Any]) -> httpx.Response:
        if body["agent_id"] not in self.agents:
            return self.error(400, "unknown agent")
        name = f"sess_{len(self.sessions)}"
        times = {"created_at": self.now(), "updated_at": self.now(), "closed_at": None}
        self.sessions[name] = {"id": name, "org_id": "org_1", "status": "active", **body, **times}
        return self.respond(self.sessions[name], 201)

    def now(self) -> str:
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09}Z"

    def respond(self, body: Any, status: int = 200) -> httpx.Response:
        return httpx.Response(status, json=body)

    def error(self, status: int, text: str, hint: str | None = None) -> httpx.Response:
        return self.respond({"error": text, "hint": hint}, status)


@pytest.fixture
def old_server(fake_server: FakeServer) -> OldServer:
    """Respond to every request of every client."""
    server = OldServer()
    server.register({"name": "agent_1"})
    fake_server.stand_in = server.handle
    return server


@pytest.fixture
def client(make_client: MakeClient, old_server: OldServer) -> Memtrace:
    assert old_server.memories == []
    return make_client()


@pytest.mark.parametrize("snippet", SEED, ids=lambda snippet: snippet.heading)
def test_first_description_runs_with_a_0_x_server(
    snippet: Snippet, old_server: OldServer, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    snippet.run(names)
    for client in (value for value in names.values() if isinstance(value, Memtrace)):
        client.close()

    printed = capsys.readouterr().out
    match snippet.heading:
        case "Quick Start":
            assert printed.endswith("User prefers dark mode\n")
            assert old_server.memories[-1]["metadata"] == {"reasoning": "Better JSON support for metadata"}
        case "Memory Operations":
            assert [memory.content for memory in names["memories"]] == ["First", "Second"]
            assert names["mem"].id is None
        case "Agent Management":
            assert printed == "Total memories: 0\nActive sessions: 0\n"
        case "Session Management":
            assert printed == "# Context\n"
            assert names["session"].status == "active"
        case "Error Handling":
            assert printed == "Agent not found\n"


def test_iter_memories_of_a_0_x_server_pages_by_offset(client: Memtrace) -> None:
    client.add_memories({"agent_id": "agent_1", "content": str(number)} for number in range(7))

    memories = client.iter_memories(agent_id="agent_1", page_size=3)

    assert [memory.content for memory in memories] == ["6", "5", "4", "3", "2", "1", "0"]


def test_memory_whose_response_was_lost_is_stored_once_and_found(
    client: Memtrace, old_server: OldServer, fake_server: FakeServer, delays: list[float]
) -> None:
    def lose_the_first(request: httpx.Request) -> httpx.Response:
        response = old_server.handle(request)
        if len(fake_server.requests) == 1:
            raise httpx.ReadError("the response is lost", request=request)
        return response

    fake_server.stand_in = lose_the_first

    memory = client.remember("agent_1", "User prefers dark mode")

    assert len(delays) == 1
    assert len(old_server.memories) == 1
    assert (memory.content, memory.org_id) == ("User prefers dark mode", "org_1")


def test_duplicate_at_a_first_attempt_is_a_conflict(client: Memtrace) -> None:
    client.remember("agent_1", "User prefers dark mode")

    with pytest.raises(ConflictError, match="duplicate memory detected"):
        client.remember("agent_1", "User prefers dark mode")
