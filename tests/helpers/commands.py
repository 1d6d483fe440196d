"""`memtrace` commands in the test's own process, and in processes that take little time to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.capture import CaptureResult
from attrs import define, field

from memtrace import cli


@define
class Commands:
    """Run commands, and check their exit codes and output.

    Attributes:
        printed: Standard output of the last failed command.
    """

    _capture: pytest.CaptureFixture[str]
    printed: str = field(default="", init=False)

    def __call__(self, *arguments: str) -> str:
        """Run a command that succeeds, and return its output."""
        cli.main(arguments)
        printed = self._capture.readouterr()
        assert printed.err == ""
        return printed.out

    def read(self) -> CaptureResult[str]:
        """Return the output since the last command."""
        return self._capture.readouterr()

    def fail(self, *arguments: str, code: int = 1) -> str:
        """Run a command that fails with an exit code, and return its only line of error."""
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        printed = self._capture.readouterr()
        assert ended.value.code == code, printed
        assert printed.err.startswith("memtrace: ")
        assert printed.err.endswith("\n")
        assert printed.err.count("\n") == 1
        self.printed = printed.out
        return printed.err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Commands:
    """Run `memtrace` commands in this process."""
    return Commands(capsys)


@contextmanager
def forking(folder: Path, *modules: str) -> Iterator[list[str]]:
    """Import modules in an interpreter that forks, and return the command that runs a program in a fork."""
    script, address = Path(__file__).with_name("forking.py"), folder / "forks"
    command = [sys.executable, "-I", str(script), "--serve", str(address), *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield [sys.executable, "-I", "-S", str(script), str(address)]


@pytest.fixture(scope="session")
def memtrace_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Return the command `memtrace`, run in a fork of an interpreter that has imported it."""
    modules = ("memtrace.cli._program", "memtrace_server.embedded", "memtrace_server.serving")
    with forking(tmp_path_factory.mktemp("forks"), *modules) as python:
        yield [*python, "-m", "memtrace"]
