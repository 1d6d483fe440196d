"""Scripts that kill their own process at a step, at each step in turn."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

STEPS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
left = int(sys.argv[2])
def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""The beginning of such a script, whose argument is a file: it calls `step()` wherever it may be killed."""


def killed_at_each_step(script: str, folder: Path) -> Iterator[Path]:
    """Run a script that is killed at its first step, then at its second, until one runs to its end.

    Args:
        script: The code that follows `STEPS`.
        folder: For files.

    Yields:
        The file of each script that has ended, including the last.
    """
    for number in count(1):
        file = folder / f"{number}.db"
        code = subprocess.run(
            [sys.executable, "-", file, str(number)], input=STEPS + script, text=True,
            cwd=Path(__file__).parents[1], timeout=60, check=False,
        ).returncode  # fmt: skip
        assert code in {0, -signal.SIGKILL}
        yield file
        if code == 0:
            return
