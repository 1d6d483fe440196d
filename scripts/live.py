"""A Memtrace server of one's own: a process on a free port with a fresh SQLite file."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from pathlib import Path

_READY = re.compile(r"Memtrace serves on (http://\S+)")
_PATIENCE = 60.0  # Seconds until a server that is not ready, or does not stop, has failed.


class LiveServer:
    """Runs `memtrace serve` while it is entered.

    Attributes:
        url: Where the server listens.
        store_url: Where it stores memories.
        key: An admin's key of the organisation `org_default`.
        log: Every line that the server wrote so far.
        returncode: How the server ended; None while it runs.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        memtrace: tuple[str, ...] = (sys.executable, "-m", "memtrace_server"),
    ) -> None:
        """Prepare a server.

        Args:
            folder: Where it runs and keeps its database; a second server there finds the data again.
            *arguments: More arguments for `memtrace serve`.
            memtrace: The command `memtrace`; as it is installed beside this interpreter if not given.
        """
        self.url = ""
        self.key = f"mtk_{secrets.token_hex(32)}"
        self.log: list[str] = []
        self.returncode: int | None = None
        self._folder = folder
        self._memtrace = memtrace
        self.store_url = f"sqlite:///{folder / 'memtrace.db'}"
        self._environment = os.environ | {"MEMTRACE_STORE": self.store_url}
        self._arguments = ("--port", "0", "--bootstrap-key", self.key, *arguments)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        """Start the server and wait until it is ready."""
        self._process = subprocess.Popen(
            [*self._memtrace, "serve", *self._arguments],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not (self._ready.wait(_PATIENCE) and self.url):
            self._process.kill()
            self._reader.join()
            self._process.wait()
            raise RuntimeError("The server did not start:\n" + "".join(self.log))
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop the server as a process manager would, and wait for its end."""
        self._process.terminate()
        try:
            self.returncode = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.returncode = self._process.wait()
        self._reader.join()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def kill(self) -> None:
        """End the server at once, in the middle of whatever it does, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def run(self, *arguments: str) -> str:
        """Run a `memtrace` command on the server's store and return what it prints.

        Args:
            *arguments: The command, for example `"org", "create", "acme"`.
        """
        done = subprocess.run(
            [*self._memtrace, *arguments],
            cwd=self._folder,
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            timeout=_PATIENCE,
        )
        return done.stdout

    def create_tenant(self, name: str, *, role: str = "admin") -> str:
        """Create an organisation and return a key of it."""
        org_id = self.run("org", "create", name).split()[-1]
        return self.run("key", "create", "--org", org_id, "--role", role).split()[-1]

    def _read(self) -> None:
        # Until the end, or the server would block on a full pipe.
        with cast("IO[str]", self._process.stdout) as lines:
            for line in lines:
                self.log.append(line)
                if match := _READY.search(line):
                    self.url = match[1]
                    self._ready.set()
        self._ready.set()
