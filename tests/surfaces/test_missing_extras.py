"""Missing packages: one line says what to install, for each adapter and each command."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import memtrace.integrations

ROOT = Path(__file__).parents[2]
ADAPTERS = {
    "anthropic": "anthropic",
    "claude_agent": "claude_agent_sdk",
    "google_adk": "google.adk",
    "langgraph": "langgraph",
    "mcp": "mcp",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
    "strands": "strands",
}
IMPORT_EACH = """
import importlib, json, sys
said = {}
for adapter, package in json.loads(sys.argv[1]).items():
    sys.modules[package] = None
    try:
        importlib.import_module(f"memtrace.integrations.{adapter}")
    except ImportError as error:
        said[adapter] = str(error)
print(json.dumps(said))
"""
STORE = ["--store", "sqlite:///x.db"]
HERE = ["--url", "sqlite://"]
# Every command except --help, with the extra `cli` alone.
COMMANDS = [
    ["remember", "a", "Likes tea", *HERE], ["decide", "a", "b", "c", *HERE], ["recall", "a", *HERE],
    ["search", "tea", *HERE], ["context", "a", *HERE], ["tail", *HERE], ["forget", "mem_1", *HERE],
    ["agents", *HERE], ["sessions", *HERE], ["stats", "a", *HERE], ["export", *HERE],
    ["ui", "--no-open", "sqlite://"],
    ["import", "one.jsonl", *HERE], ["copy", "sqlite://", "sqlite:///y.db"], ["mcp", *HERE],
    ["serve", *STORE], ["check", *STORE], ["vacuum", *STORE], ["backup", "y.db", *STORE],
    ["restore", "y.db", *STORE], ["audit", *STORE], ["org", "create", "acme", *STORE],
    ["org", "list", *STORE],
    ["key", "create", *STORE], ["key", "list", *STORE], ["key", "rotate", "key_1", *STORE],
    ["key", "revoke", "key_1", *STORE],
]  # fmt: skip
RUN_EACH = """
import contextlib, io, json, sys
blocked, commands = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))
from memtrace.cli import main
said = []
for command in commands:
    with contextlib.redirect_stderr(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main(command)
    said.append(printed.getvalue())
print(json.dumps(said))
from memtrace.cli._program import program
from typer.main import get_command
every = get_command(program).commands
print(json.dumps([[name, *getattr(one, "commands", {})] for name, one in every.items()]))
"""


def run(program: str, argument: object, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, json.dumps(argument)],
        cwd=folder, capture_output=True, encoding="utf-8", timeout=300, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_an_adapter_without_its_package_names_its_extra(tmp_path: Path) -> None:
    modules = {path.stem for path in Path(memtrace.integrations.__path__[0]).glob("[a-z]*.py")}
    assert set(ADAPTERS) == modules
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]

    said = json.loads(run(IMPORT_EACH, ADAPTERS, tmp_path)[0])

    for adapter in ADAPTERS:
        extra = adapter.replace("_", "-")
        assert extra in extras
        package = ADAPTERS[adapter].partition(".")[0]
        assert said[adapter].startswith(package)
        assert said[adapter].endswith(f" is not installed; run: pip install 'memtrace-sdk[{extra}]'")


def test_a_command_without_the_server_names_its_extra(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"kind": "agent", "id": "a"}\n')
    blocked = [
        "jsonschema_rs",
        "starlette",
        "uvicorn",
        "snowballstemmer",
        "prometheus_client",
        "httptools",
        "mcp",
    ]

    texts, names = run(RUN_EACH, [blocked, COMMANDS], tmp_path)

    for command, said in zip(COMMANDS, json.loads(texts), strict=True):
        extra = "mcp" if command[0] == "mcp" else "server"
        assert said.startswith("memtrace: "), command
        assert said.endswith(f"pip install 'memtrace-sdk[{extra}]'\n"), command
        assert said.count("\n") == 1, command
    assert [path.name for path in tmp_path.iterdir()] == ["one.jsonl"]
    groups = {name: commands for name, *commands in json.loads(names)}
    every = {(name, each) if groups[name] else (name,) for name in groups for each in groups[name] or [""]}
    assert {tuple(words[: 2 if groups[words[0]] else 1]) for words in COMMANDS} == every
