"""A local Memtrace server, and operations on it."""

from __future__ import annotations

import io
import os
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from memtrace import cli
from memtrace.testing import ServerProcess
from memtrace_server import tenants
from memtrace_server.store import open_store


class LiveServer(ServerProcess):
    """Run `memtrace serve` in a `with` block, like `ServerProcess`.

    Args:
        folder: Where it runs and keeps its database; a second server there finds the data again.
        *arguments: More arguments for `memtrace serve`.
        memtrace: The command `memtrace`; as it is installed beside this interpreter if not given.
        store: The URL of its store; a file in the folder if not given.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        memtrace: tuple[str, ...] = (sys.executable, "-m", "memtrace_server"),
        store: str | None = None,
    ) -> None:
        super().__init__(folder, *arguments, memtrace=memtrace)
        if store is not None:
            self.store_url = self._environment["MEMTRACE_STORE"] = store

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the server and wait for its end."""
        self._process.kill()
        self._process.wait()

    def run(self, *arguments: str) -> str:
        """Run a `memtrace` command on the server's store, in this process, and return what it prints.

        Args:
            *arguments: The command, for example `"org", "create", "acme"`.

        Raises:
            SystemExit: The command fails.
        """
        printed = io.StringIO()
        with patch.dict(os.environ, self._environment, clear=True), redirect_stdout(printed):
            cli.main(arguments)
        return printed.getvalue()

    def create_tenant(self, name: str, *, role: str = "admin") -> str:
        """Create an organisation and return a key of it, like the commands, but without their processes."""
        with closing(open_store(self.store_url)) as store:
            return tenants.create_key(store, tenants.create_org(store, name).id, role, "")
