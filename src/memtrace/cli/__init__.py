"""The command `memtrace`.

Commands for operators (`serve`, `org`, `key`, `backup` …) work on a store. Each command imports its
dependencies when it runs, so that `memtrace --help` is quick and needs only the extra `cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: The words after `memtrace`; by default, the arguments of this process.

    Raises:
        SystemExit: The command failed (1) or could not be run (2); one line on standard error says why.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    try:
        from memtrace.cli._program import run
    except KeyboardInterrupt:
        sys.exit("memtrace: aborted")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"rich", "typer"}:
            raise
        sys.exit(
            f"memtrace: {package} is not installed; run: pip install 'memtrace-sdk[cli]',"
            " or 'memtrace-sdk[server]' to serve"
        )
    run(arguments)
