"""memtrace-sdk 0.2.0, as published on PyPI, works with this server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live import LiveServer


class OldSdk:
    """A client of memtrace-sdk 0.2.0 in the process of another interpreter."""

    def __init__(self, folder: Path, client: str, url: str, key: str) -> None:
        self.called: set[str] = set()
        script = Path(__file__).parents[1] / "data" / "call_old_sdk.py"
        self._process = subprocess.Popen(
            [sys.executable, "-I", script, folder, client, url, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate(timeout=30)

    def __call__(self, method: str, *arguments: object) -> Any:
        answer = self._ask(method, arguments)
        assert "result" in answer, answer
        return answer["result"]

    def error(self, method: str, *arguments: object) -> tuple[str, int]:
        answer = self._ask(method, arguments)
        assert answer.get("message"), answer
        return answer["raised"], answer["status_code"]

    def _ask(self, method: str, arguments: tuple[object, ...]) -> dict[str, Any]:
        self.called.add(method)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def model(model_name: str, /, **fields: object) -> dict[str, object]:
    return {"model": model_name, "fields": fields}


@pytest.fixture(scope="session")
def old_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of memtrace-sdk 0.2.0 alone; its dependencies are those of our tools."""
    folder = tmp_path_factory.mktemp("memtrace-sdk-0.2.0")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", folder, "memtrace-sdk==0.2.0"], check=True)
    return folder


@pytest.fixture(params=["Memtrace", "AsyncMemtrace"])
def old(
    request: pytest.FixtureRequest, old_sdk: Path, live_server: LiveServer, tenant_key: str
) -> Iterator[OldSdk]:
    with OldSdk(old_sdk, request.param, live_server.url, tenant_key) as client:
        yield client


def test_every_method_of_the_old_sdk_works(old: OldSdk) -> None:
    fact = old("remember", "agent_1", "User prefers dark mode")
    assert (fact["agent_id"], fact["memory_type"], fact["event_type"]) == ("agent_1", "episodic", "general")
    assert fact["content"] == "User prefers dark mode"
    decision = old("decide", "agent_1", "Use PostgreSQL", "Better JSON support")
    assert (decision["memory_type"], decision["metadata"]) == (
        "decision",
        {"reasoning": "Better JSON support"},
    )
    assert old("recall", "agent_1") == {"memories": [decision, fact], "count": 2, "has_more": False}

    full = {
        "agent_id": "agent_1",
        "session_id": "sess_1",
        "memory_type": "entity",
        "event_type": "observation",
        "content": "Clicked on the settings button",
        "metadata": {"page": {"name": "settings"}},
        "tags": ["ui", "navigation"],
        "dedup_key": "click-1",
        "importance": 0.7,
    }
    stored = old("add_memory", model("AddMemoryRequest", **full))
    assert full.items() <= stored.items()
    first, second = old(
        "add_memories",
        [
            model(
                "AddMemoryRequest",
                agent_id="agent_1",
                memory_type="episodic",
                event_type="general",
                content=content,
            )
            for content in ("First", "Second")
        ],
    )
    assert (first["content"], second["content"]) == ("First", "Second")

    options = model(
        "ListOptions", agent_id="agent_1", tags="ui,navigation", since="7d", limit=50, order="desc"
    )
    assert old("list_memories", options)["memories"] == [stored]
    page = old("list_memories", model("ListOptions", order="asc", limit=2, offset=1))
    assert page == {"memories": [decision, stored], "count": 2, "has_more": True}
    query = {"memory_types": ["episodic", "entity"], "content_contains": "SETTINGS", "min_importance": 0.5}
    assert old("search_memories", model("SearchQuery", agent_id="agent_1", **query))["results"] == [stored]

    agent = old(
        "register_agent", model("RegisterAgentRequest", name="helper", description="Helps", config={"a": 1})
    )
    assert (agent["name"], agent["description"], agent["config"]) == ("helper", "Helps", {"a": 1})
    assert old("get_agent", agent["id"]) == agent
    assert [listed["name"] for listed in old("list_agents")["agents"]] == ["agent_1", "helper"]
    stats = old("get_agent_stats", "agent_1")
    assert (stats["memory_count"], stats["memories_24h"], stats["errors_24h"]) == (5, 5, 0)
    assert stats["memory_types"] == {"episodic": 3, "decision": 1, "entity": 1}
    assert old("get_agent_memories", "agent_1")["count"] == 5
    assert old("get_agent_memories", "agent_1", model("ListOptions", agent_id="other", limit=1))["count"] == 1
    assert old("delete_agent", "helper") is None

    session = old(
        "create_session", model("CreateSessionRequest", agent_id="agent_1", metadata={"task": "onboarding"})
    )
    assert (session["status"], session["metadata"]) == ("active", {"task": "onboarding"})
    assert old("get_session", session["id"]) == session
    assert session in old("list_sessions")["sessions"]
    assert session in old("list_sessions", "agent_1")["sessions"]
    assert old("list_sessions", "helper") == {"sessions": [], "count": 0}
    assert old("get_session_memories", "sess_1") == {"memories": [stored], "count": 1, "has_more": False}
    assert old("get_session_memories", "sess_1", model("ListOptions", session_id="x", limit=5))[
        "memories"
    ] == [stored]
    context = old(
        "get_session_context",
        "sess_1",
        model("ContextOptions", max_tokens=500, include_types=["entity"], since="2h"),
    )
    assert (context["session_id"], context["memory_count"]) == ("sess_1", 1)
    assert "Clicked on the settings button" in context["context"]
    assert old("get_session_context", session["id"])["memory_count"] == 0
    closed = old("close_session", session["id"])
    assert (closed["status"], closed["metadata"]) == ("closed", {"task": "onboarding"})
    assert closed["closed_at"] is not None

    assert old("close") is None
    assert {name for name in old("__dir__") if not name.startswith("_")} <= old.called


def test_errors_of_the_old_sdk_have_their_classes(old: OldSdk) -> None:
    old("remember", "agent_1", "Once")
    old("register_agent", model("RegisterAgentRequest", name="helper"))

    assert old.error("remember", "agent_1", "Once") == ("ConflictError", 409)
    assert old.error("register_agent", model("RegisterAgentRequest", name="helper")) == ("ConflictError", 409)
    assert old.error("get_agent", "nonexistent") == ("NotFoundError", 404)
    assert old.error("get_session", "nonexistent") == ("NotFoundError", 404)
    assert old.error("delete_agent", "nonexistent") == ("NotFoundError", 404)
    assert old.error("recall", "agent_1", "yesterday") == ("MemtraceError", 400)


@pytest.mark.parametrize("client", ["Memtrace", "AsyncMemtrace"])
def test_an_unknown_key_is_an_authentication_error(
    old_sdk: Path, live_server: LiveServer, client: str
) -> None:
    with OldSdk(old_sdk, client, live_server.url, "mtk_unknown") as old:
        assert old.error("recall", "agent_1") == ("AuthenticationError", 401)
