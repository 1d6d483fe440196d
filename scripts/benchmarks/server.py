"""The measured server: its own process, as `memtrace serve` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

KEY = "mtk_" + "0" * 32
_UNGROUPED = Path(__file__).with_name("ungrouped.py")
_PATIENCE = 60.0  # seconds


class Server:
    """Serve a store in a `with` block; the log of its requests goes to a file.

    Attributes:
        url: Its URL.
    """

    def __init__(
        self, folder: Path, name: str, *, is_grouped: bool = True, store: str | None = None, workers: int = 1
    ) -> None:
        """Prepare a server on a SQLite file, or on a store; if not grouped, it commits each write alone."""
        self._log = folder / f"{name}.log"
        program = ["-m", "memtrace_server"] if is_grouped else [str(_UNGROUPED)]
        self._command = [sys.executable, *program, "serve", "--port", "0", "--bootstrap-key", KEY]
        self._command += ["--store", store or f"sqlite:///{folder / name}.db", "--workers", str(workers)]

    def __enter__(self) -> Self:
        """Start the server and wait until it is ready."""
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while not (ready := re.search(r"serves on ([^\s;]+)", self._log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"The server did not start:\n{self._log.read_text()}")
            time.sleep(0.05)
        self.url = ready[1]
        return self

    def cpu(self) -> float:
        """Return the CPU time (s) of the server and its workers; needs `/proc`."""
        pid = self._process.pid
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = 0
        for each in (pid, *workers):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *exc_info: object) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait(_PATIENCE)
