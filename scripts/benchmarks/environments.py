"""Environments of measured packages, each made once, and processes in them."""

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
    """Return the requirements of this package with extras, except itself."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    needed = [*project["dependencies"], *(each for extra in extras for each in optional[extra])]
    return [each for each in needed if not each.startswith(project["name"])]


class Interpreter:
    """A Python with a measured package, and nothing that it does not need.

    Args:
        folder: Its environment, which is made if necessary.
        script: The script to run.
        requirements: The requirements to install.
        packages: Further folders to import from.
    """

    def __init__(
        self, folder: Path, script: Path, requirements: Sequence[str], packages: Sequence[Path] = ()
    ) -> None:
        """Create the environment."""
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
            # All files, as otherwise only some would have been compiled before.
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
    """Run the script of an interpreter in a `with` block, and send it commands."""

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
        """End the process."""
        self._process.communicate()

    def read(self) -> str:
        """Return the next line that it prints."""
        line = cast("IO[str]", self._process.stdout).readline()
        if not line:
            raise RuntimeError("a process that is measured has failed")
        return line

    def ask(self, question: str) -> float:
        """Send a command, and return the number that the script prints."""
        questions = cast("IO[str]", self._process.stdin)
        questions.write(f"{question}\n")
        questions.flush()
        return float(self.read())
