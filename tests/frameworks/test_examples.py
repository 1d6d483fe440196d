"""Each example is short, listed, and runs without a key: its memories reach the model's request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memtrace.testing import MemtraceServer

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = [path.name for path in sorted(EXAMPLES.glob("[a-z]*.py"))]
ANSWERS = {
    "claude_agent_session.py": "You told me: I am allergic to nuts"
}  # the others: the scripted model's


def run_example(name: str, folder: Path, **environment: str) -> list[str]:
    """Run an example without any key, and return the lines that it prints."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=folder, env={"PATH": path, "HOME": str(folder), **environment},
        capture_output=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", FILES)
def test_example_recalls_an_earlier_conversation(name: str, tmp_path: Path) -> None:
    assert run_example(name, tmp_path) == ["Noted.", ANSWERS.get(name, "The walnut cake.")]
    assert (tmp_path / "agent.db").exists()


def test_an_example_uses_a_server_if_one_is_named(memtrace_server: MemtraceServer, tmp_path: Path) -> None:
    assert run_example("openai_loop.py", tmp_path, **memtrace_server.environment)[-1] == "The walnut cake."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_short_and_says_what_to_install(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")

    assert text.count("\n") < 40
    assert "pip install 'memtrace-sdk[" in text.split('"""')[1]


def test_the_readme_of_the_examples_lists_each_of_them() -> None:
    listed = re.findall(r"^\| \[([^]]+)\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)

    assert sorted(listed) == sorted([*FILES, "typescript"])
