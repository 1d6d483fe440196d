"""Derived files follow from openapi.yaml, and from nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import compatibility
import pytest
import regen
import yaml
from memtrace_api.error_codes import ErrorCode
from memtrace_api.models import AgentList, Error, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRACT: dict[str, Any] = compatibility.load(compatibility.OPENAPI)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def changed_contract(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of the contract with a change to its schemas."""
    return changed(folder, lambda contract: change(contract["components"]["schemas"]))


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of the contract with a change."""
    contract = json.loads(json.dumps(CONTRACT))
    change(contract)
    path = folder / "openapi.yaml"
    path.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return path


def run(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as `make` does, in its own interpreter."""
    return subprocess.run(
        [sys.executable, regen.TEMPLATES.parent / script, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def with_mood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose `memtrace_api` has an optional `mood` in each request."""
    folder = tmp_path_factory.mktemp("mood")
    mood = {"type": ["string", "null"], "maxLength": 20, "description": "How it felt.", "examples": ["calm"]}
    closed = {**mood, "type": "string"}
    in_query = {"name": "mood", "in": "query", "description": "How it felt.", "schema": closed}

    def add_mood(contract: dict[str, Any]) -> None:
        schemas = contract["components"]["schemas"]
        for name in (
            "AddMemoryRequest",
            "Memory",
            "SearchQuery",
            "RegisterAgentRequest",
            "CreateSessionRequest",
            "UpdateSessionRequest",
            "ContextOptions",
            "ForgetFilter",
        ):
            schemas[name]["properties"]["mood"] = closed if name == "ForgetFilter" else mood
        paths = contract["paths"]
        for path in paths:
            for operation in paths[path].values():
                if isinstance(operation, dict) and operation.get("operationId") in {
                    "listMemories",
                    "listAgentMemories",
                    "listSessionMemories",
                    "listAgents",
                    "listSessions",
                    "deleteAgent",
                    "deleteSession",
                }:
                    operation.setdefault("parameters", []).append(in_query)

    done = run("regen.py", "--openapi", changed(folder, add_mood), "--output", folder / "memtrace_api")
    assert done.returncode == 0, done.stderr
    return folder


def python(folder: Path, code: str) -> None:
    """Run code in an interpreter that searches this folder's packages first."""
    first = (
        f"import sys\nsys.path.insert(0, {str(folder)!r})\n"
        f"import memtrace_api\nassert memtrace_api.__file__.startswith({str(folder)!r})\n"
    )
    command = [sys.executable, "-I", "-c", first + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tree_equals_a_fresh_regeneration(tmp_path: Path) -> None:
    # Another hash seed reorders sets; a bare PATH has no ruff; a dead proxy simulates a missing network.
    bare = {"PATH": os.defpath, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    output = tmp_path / "memtrace_api"
    for seed in ("1", "2"):
        (output / "models").mkdir(parents=True, exist_ok=True)
        (output / "models" / "gone.py").touch()
        done = run("regen.py", "--output", output, PYTHONHASHSEED=seed, **bare)
        assert done.returncode == 0, done.stderr
        assert contents(output) == contents(regen.OUTPUT)
    assert [path.name for path in tmp_path.iterdir()] == ["memtrace_api"]


def test_package_has_the_contract_unchanged() -> None:
    text = (regen.OUTPUT / "openapi.json").read_text("utf-8")
    assert json.loads(text) == CONTRACT
    assert list(json.loads(text)["paths"]) == list(CONTRACT["paths"])


def test_a_new_optional_field_is_on_the_public_model(with_mood: Path) -> None:
    python(
        with_mood,
        """
from memtrace import AddMemoryRequest, Memory
request = AddMemoryRequest(agent_id="a", content="c", mood="calm")
assert request.to_dict() == {"agent_id": "a", "content": "c", "mood": "calm"}
assert AddMemoryRequest(agent_id="a", content="c").mood is None
assert AddMemoryRequest.from_dict({"agent_id": "a", "content": "c", "mood": "calm"}) == request
assert Memory.__annotations__["mood"] == "str | None"
assert "How it felt." in Memory.__doc__
""",
    )


METHODS_WITH_FIELDS = """
import asyncio, inspect, json, typing
import httpx
from memtrace import AsyncMemtrace, Memtrace, MemtraceError
from memtrace import AsyncSessionHandle, AsyncWriteBuffer, SessionHandle, WriteBuffer

METHODS = {
    (Memtrace, AsyncMemtrace): {
        "remember": ("a", "b"), "decide": ("a", "b", "c"), "add_memory": (),
        "list_memories": (), "iter_memories": (), "recall": ("a",),
        "get_agent_memories": ("a",), "get_session_memories": ("s",),
        "search_memories": ("words",), "iter_search": ("words",), "forget_all": (),
        "register_agent": ("a",), "list_agents": (), "delete_agent": ("a",), "get_agent_context": ("a",),
        "create_session": ("a",), "list_sessions": (), "update_session": ("s",), "delete_session": ("s",),
        "get_session_context": ("s",),
    },
    (SessionHandle, AsyncSessionHandle): {
        "remember": ("b",), "decide": ("b", "c"), "recall": (), "search": ("words",), "context": (),
    },
    (WriteBuffer, AsyncWriteBuffer): {
        "remember": ("a", "b"), "decide": ("a", "b", "c"), "add_memory": (),
    },
}
NEEDED = {"add_memory": {"agent_id": "a", "content": "c"}}
"""


def test_a_new_field_is_typed_and_described_on_every_method(with_mood: Path) -> None:
    python(
        with_mood,
        METHODS_WITH_FIELDS
        + """
for kinds, methods in METHODS.items():
    for kind in kinds:
        for name in methods:
            method = getattr(kind, name)
            parameter = inspect.signature(method).parameters["mood"]
            assert (parameter.kind, parameter.default) == (parameter.KEYWORD_ONLY, None), name
            assert typing.get_type_hints(method)["mood"] == (str | None), name
            assert inspect.getdoc(method).count("    mood: How it felt.") == 1, name
""",
    )


def test_a_new_field_is_sent_by_every_method(with_mood: Path) -> None:
    python(
        with_mood,
        METHODS_WITH_FIELDS
        + """
SESSION = {
    "id": "s", "org_id": "o", "agent_id": "a", "status": "active",
    "created_at": "2026-11-01T09:30:00Z", "updated_at": "2026-11-01T09:30:00Z",
}
sent = []

def respond(request):
    if "mood" not in str(request.url) + request.content.decode():
        return httpx.Response(200, json=SESSION)
    sent.append(request)
    return httpx.Response(418, json={"error": "No"})

def has_mood(request):
    if not request.content:
        return request.url.params["mood"] == "calm"
    body = json.loads(request.content)
    return (body["memories"][0] if "memories" in body else body)["mood"] == "calm"

async def awaited(value):
    if hasattr(value, "__anext__"):
        value = anext(value)
    if inspect.isawaitable(value):
        await value
    elif hasattr(value, "__next__"):
        next(value)

async def call(target, methods):
    for name, arguments in methods.items():
        before = len(sent)
        try:
            await awaited(getattr(target, name)(*arguments, mood="calm", **NEEDED.get(name, {})))
            await awaited(target.flush())
        except MemtraceError:
            pass
        (request,) = sent[before:]
        assert has_mood(request), name

async def main():
    transport = httpx.MockTransport(respond)
    of_client, of_session, of_buffer = METHODS.values()
    with httpx.Client(transport=transport) as http, Memtrace("http://x", http_client=http) as client:
        await call(client, of_client)
        with client.session("a") as session:
            await call(session, of_session)
        await call(client.buffered(), of_buffer)
    async with httpx.AsyncClient(transport=transport) as http:
        async with AsyncMemtrace("http://x", http_client=http) as client:
            await call(client, of_client)
            async with client.session("a") as session:
                await call(session, of_session)
            await call(client.buffered(), of_buffer)

asyncio.run(main())
""",
    )


def test_a_new_field_of_the_wrong_type_is_an_error_of_both_checkers(with_mood: Path) -> None:
    code = with_mood / "code.py"
    code.write_text(
        "from memtrace import Memtrace, SessionHandle, WriteBuffer\n"
        "def use(client: Memtrace, session: SessionHandle, log: WriteBuffer) -> None:\n"
        "    client.remember('a', 'b', mood='calm')\n"
        "    client.remember('a', 'b', mood=1)\n"
        "    client.recall('a', mood=1)\n"
        "    client.list_memories(mood=1)\n"
        "    client.search_memories('a', mood=1)\n"
        "    session.decide('a', 'b', mood=1)\n"
        "    log.remember('a', 'b', mood=1)\n",
        "utf-8",
    )
    source = regen.OUTPUT.parent.parent / "src"
    (with_mood / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(with_mood), str(source)], "include": ["code.py"]}), "utf-8"
    )
    commands: tuple[list[str | Path], ...] = (
        ["mypy", "--strict", "--follow-imports=silent", "--cache-dir", with_mood / "cache", code],
        ["pyright", "--project", with_mood],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-I", "-m", *command],
            cwd=with_mood,
            env=os.environ | {"MYPYPATH": f"{with_mood}:{source}"},
            capture_output=True,
            text=True,
            check=False,
        )
        wrong = sorted(int(line.split(":")[1]) for line in done.stdout.splitlines() if " error: " in line)
        assert wrong == [4, 5, 6, 7, 8, 9], done.stdout + done.stderr


def test_a_new_optional_field_is_validated_by_the_server(with_mood: Path) -> None:
    python(
        with_mood,
        """
import httpx
from memtrace_server.transport import EmbeddedTransport
with httpx.Client(transport=EmbeddedTransport("sqlite://"), base_url="http://embedded") as client:
    memory = {"agent_id": "a", "content": "c"}
    for mood, status in (("calm", 201), (None, 201), (7, 400), ("x" * 21, 400)):
        answer = client.post("/api/v1/memories", json={"agent_id": "a", "content": repr(mood), "mood": mood})
        assert answer.status_code == status, answer.text
        if status == 201:
            assert answer.json().get("mood") == mood
            assert client.get(f"/api/v1/memories/{answer.json()['id']}").json() == answer.json()
        else:
            assert [detail["field"] for detail in answer.json()["details"]] == ["mood"]
""",
    )


def test_response_of_0x_is_read_without_its_missing_fields() -> None:
    facts = {"time": "2026-01-01T00:00:00Z", "org_id": "o", "agent_id": "a", "content": "c"}
    memory = Memory.from_dict({**facts, "memory_type": "episodic", "event_type": "general"})
    assert memory.id is None
    assert Memory.from_dict({**memory.to_dict(), "id": None}) == memory
    assert AgentList.from_dict({"agents": [], "count": 0}).has_more is None
    error = Error.from_dict({"error": "wrong", "hint": "x"})
    assert (error.error, error.code, error.request_id) == ("wrong", None, None)
    assert error.to_dict() == {"error": "wrong"}


def test_the_error_codes_are_those_of_the_contract() -> None:
    listed = CONTRACT["components"]["schemas"]["Error"]["properties"]["code"]["x-extensible-enum"]
    assert list(get_args(ErrorCode)) == listed


def test_a_failed_run_leaves_the_old_tree(tmp_path: Path) -> None:
    output = tmp_path / "memtrace_api"
    output.mkdir()
    (output / "old.py").write_text("old = True\n", "utf-8")
    # The generator only warns of a schema that it cannot generate, and leaves it out.
    contract = changed_contract(
        tmp_path, lambda schemas: schemas["Memory"]["properties"].update(x={"type": "array"})
    )
    done = run("regen.py", "--openapi", contract, "--output", output)
    assert done.returncode == 2
    assert "must have items" in done.stderr
    assert contents(tmp_path) == {
        "openapi.yaml": contract.read_bytes(),
        "memtrace_api/old.py": b"old = True\n",
    }


def test_check_lists_what_differs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "memtrace_api"
    shutil.copytree(regen.OUTPUT, output)
    assert regen.main(["--check", "--output", str(output)]) == 0
    (output / "client.py").unlink()
    (output / "more.py").touch()
    (output / "models" / "memory.py").write_text("changed", "utf-8")
    before = contents(output)
    assert regen.main(["--check", "--output", str(output)]) == 1
    printed = capsys.readouterr().err.splitlines()
    assert [line.split()[3].removeprefix(str(output)) for line in printed] == [
        "/client.py;",
        "/models/memory.py;",
        "/more.py;",
    ]
    assert contents(output) == before


@pytest.mark.parametrize("found", ["0.29.0", None])
def test_another_version_of_the_generator_is_refused(
    found: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert regen.main(["--output", str(tmp_path / "memtrace_api")]) == 2
    printed = capsys.readouterr().err
    assert "openapi-python-client must be 0.29.1" in printed
    assert "pip install" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["in", "x-y", "_private", "list", "to_dict"])
def test_property_that_is_no_usable_name_in_python_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = changed_contract(
        tmp_path, lambda schemas: schemas["Memory"]["properties"].update({name: {"type": "string"}})
    )
    assert regen.main(["--openapi", str(contract), "--output", str(tmp_path / "out")]) == 2
    assert repr(name) in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "a: [", "openapi: 3.1.0"])
def test_invalid_contract_is_refused(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = tmp_path / "openapi.yaml"
    if text is not None:
        contract.write_text(text, "utf-8")
    assert regen.main(["--openapi", str(contract), "--output", str(tmp_path / "out")]) == 2
    assert str(contract) in capsys.readouterr().err
