"""The command `memtrace`.

Commands for operators (`serve`, `org`, `key`, `backup` …) work on a store; each imports what it needs when it
runs, so that `memtrace --help` is quick and needs the extra `cli` alone.
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
        arguments: The words after `memtrace`; those of this process by default.

    Raises:
        SystemExit: The command failed (1), or could not be run as it was written (2); standard error has one
            line that says why.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started this process
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
