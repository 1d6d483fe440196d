"""`memtrace` commands in the test's own process."""

from __future__ import annotations

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
