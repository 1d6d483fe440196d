"""Environments for what is measured, each made once, and processes in them that do as they are told."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self, cast

_ROOT = Path(__file__).parent.parent.parent
OWN_PACKAGES = (_ROOT / "src", _ROOT / "generated")
"""Where our code is imported from."""


def own_dependencies(*extras: str) -> list[str]:
    """Return what our package needs, with extras; it does not name itself."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    needed = [*project["dependencies"], *(each for extra in extras for each in optional[extra])]
    return [each for each in needed if not each.startswith(project["name"])]


class Interpreter:
    """A Python that has what is measured, and nothing that it does not need.

    Args:
        folder: Its environment, which is made if need be.
        script: What it runs.
        requirements: What is installed.
        packages: Folders to import from beside that.
    """

    def __init__(
        self, folder: Path, script: Path, requirements: Sequence[str], packages: Sequence[Path] = ()
    ) -> None:
        """Make the environment."""
        self.script = script
        self.python = folder / "bin" / "python"
        complete = folder / "complete"
        wanted = "\n".join(requirements)
        if not complete.exists() or complete.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
            if requirements:
                subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
            complete.write_text(wanted)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            # For all, or only some of them would have been compiled before.
            "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        }

    def run(self, *arguments: str) -> str:
        """Return what the script prints."""
        done = subprocess.run(
            [self.python, self.script, *arguments],
            env=self.environment,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return done.stdout


class Process:
    """Runs the script of an interpreter while it is entered, and does what it is asked."""

    def __init__(self, interpreter: Interpreter, *arguments: str) -> None:
        """Start the script."""
        self._process = subprocess.Popen(
            [interpreter.python, interpreter.script, *arguments],
            env=interpreter.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let it end."""
        self._process.communicate()

    def read(self) -> str:
        """Return the next line that it prints."""
        line = cast("IO[str]", self._process.stdout).readline()
        if not line:
            raise RuntimeError("a process that is measured has failed")
        return line

    def ask(self, question: str) -> float:
        """Return the number that answers a question."""
        questions = cast("IO[str]", self._process.stdin)
        questions.write(f"{question}\n")
        questions.flush()
        return float(self.read())
