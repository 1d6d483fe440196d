"""Test each extra in an environment with only this extra: `make extras` (EXTRAS='mcp strands').

The wheel is built once. An extra gets an environment below build/extras, in which its snippet in
docs/integrations.md runs against a server of this checkout. Then what the first lines of an example say is
installed there too, and the example runs with a file. Prints a line for each; exits with 1 if one failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from live import LiveServer
from snippets import snippets

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "extras"
PAGE = ROOT / "docs" / "integrations.md"
_PATIENCE = 1_200  # seconds for an installation

RUN_SNIPPET = """
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from snippets import Snippet
Snippet(Path("docs"), "", 1, sys.stdin.read()).run({{}})
"""
MCP = """
import asyncio, os
from mcp import StdioServerParameters
from mcp.client import Client

async def main():
    server = StdioServerParameters(command="memtrace", args=["mcp"], env=dict(os.environ))
    async with Client(server) as client:
        await client.call_tool("memtrace_remember", {"agent_id": "mcp", "content": "Ann likes tea"})
        found = await client.call_tool("memtrace_search", {"query": "tea", "agent_id": "mcp"})
        assert found.structured_content["count"] == 1, found

asyncio.run(main())
"""
OTEL = """
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from memtrace import Memtrace

HTTPXClientInstrumentor().instrument()
with Memtrace() as client:
    client.remember("otel", "Traced")
"""
# What has no snippet of Python in the page: a program, or a command.
OTHERS: dict[str, tuple[str | list[str], ...]] = {
    "cli": (["memtrace", "remember", "cli", "Likes tea"], ["memtrace", "search", "tea", "--json"]),
    "server": (["memtrace", "remember", "a", "Likes tea", "--url", "sqlite:///a.db"], ["memtrace", "--help"]),
    "postgres": ("import memtrace_server.store.postgres",),  # tests/server/ has the database
    "mcp": (MCP,),
    "otel": (OTEL,),
    "all": ("\n".join(f"import memtrace.integrations.{path.stem}" for path in sorted(
        (ROOT / "src/memtrace/integrations").glob("[a-z]*.py"))),),
}  # fmt: skip


class TrialError(Exception):
    """An extra does not work as documented."""


class Environment:
    """A fresh environment with requirements, and a folder to work in."""

    def __init__(self, name: str, requirement: str) -> None:
        self._folder = BUILD / name
        self._python = self._folder / "bin" / "python"
        self._folder.mkdir(parents=True)
        _run([sys.executable, "-m", "venv", "--without-pip", self._folder])
        self.install(requirement)

    def install(self, *requirements: str) -> None:
        """Install requirements, and check that all installed packages are compatible."""
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self._python,
            "--disable-pip-version-check",
        ]
        _run([*pip, "install", "--quiet", *requirements])
        _run([*pip, "check"])

    def try_out(self, what: Path | str | list[str], environment: dict[str, str], given: str = "") -> str:
        """Run an example, a program or a command in a new folder, and return its output."""
        path = {"PATH": f"{self._python.parent}:{os.environ['PATH']}"}
        command: list[str | Path]
        match what:
            case Path():
                command = [self._python, what]
            case str():
                command = [self._python, "-c", what]
            case _:
                command = [self._python.with_name(what[0]), *what[1:]]
        with tempfile.TemporaryDirectory() as folder:
            return _run(command, folder, {**path, "HOME": folder, **environment}, given)


def main(chosen: Sequence[str]) -> int:
    """Test extras, by default all, and return the exit code."""
    shutil.rmtree(BUILD, ignore_errors=True)
    wheel = build()
    extras = chosen or [*declared()]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
        at = {"MEMTRACE_URL": server.url, "MEMTRACE_API_KEY": server.key}
        for extra in extras:
            try:
                tried = list(trials(extra, wheel, at))
            except TrialError as error:
                failed += 1
                print(f"{extra}: FAILED\n{error}", flush=True)
            else:
                print(f"{extra}: {', '.join(tried)}", flush=True)
            shutil.rmtree(BUILD / extra, ignore_errors=True)
    return int(failed > 0)


def trials(extra: str, wheel: Path, at: dict[str, str]) -> Iterator[str]:
    """Test an extra, and yield what worked."""
    environment = Environment(extra, f"{wheel}[{extra}]")
    yield "installed alone"
    if extra in OTHERS:
        for what in OTHERS[extra]:
            environment.try_out(what, at)
        yield "used"
    else:
        code = snippet(extra).replace('"sqlite:///agent.db"', repr(at["MEMTRACE_URL"]))
        environment.try_out(RUN_SNIPPET.format(scripts=str(ROOT / "scripts")), at, code)
        yield "snippet"
        if all(extra not in of for _, of, _ in examples()):
            raise TrialError(f"{extra} has no example")
    for example, of, others in examples():
        if of[0] == extra:
            environment.install(f"{wheel}[{','.join(of)},server]", *others)
            printed = environment.try_out(example, {})
            if "I do not know" in printed or printed.count("\n") != 2:  # noqa: PLR2004 - two answers
                raise TrialError(f"{example.name} printed: {printed}")
            yield example.name


def declared() -> Iterator[str]:
    """Yield the extras of the project, except those of its developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return (extra for extra in project["optional-dependencies"] if extra not in {"dev", "test"})


def snippet(extra: str) -> str:
    """Return the page's code for an extra, whose table names the section."""
    rows = re.findall(r"^\| ([^|]+) \| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    heading = next(what for what, of in rows if of == extra)
    return next(each.code for each in snippets(PAGE) if each.heading == heading)


def examples() -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each example with our extras and the other packages that it says to install."""
    for example in sorted((ROOT / "examples").glob("[a-z]*.py")):
        line = re.search(
            r"^pip install 'memtrace-sdk\[([^]]+)\]'(.*)$", example.read_text("utf-8"), re.MULTILINE
        )
        if line is None:
            raise TrialError(f"{example.name} does not say what to install")
        extras = line[1].split(",")
        yield (
            example,
            [extra for extra in extras if extra != "server"] or extras,
            line[2].replace("'", "").split(),
        )


def build() -> Path:
    """Build the wheel."""
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", BUILD / "dist", ROOT])
    (wheel,) = (BUILD / "dist").glob("*.whl")
    return wheel


def _run(
    command: Sequence[str | Path],
    folder: Path | str | None = None,
    environment: dict[str, str] | None = None,
    given: str = "",
) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, encoding="utf-8",
        timeout=_PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise TrialError(f"{' '.join(map(str, command))[:200]}\n{done.stdout[-2_000:]}{done.stderr[-4_000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
