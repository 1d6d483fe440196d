"""A live server for tests: a process on a free port, with isolated organisations."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import attrs

from memtrace._async.client import AsyncMemtrace
from memtrace._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT
from memtrace._http import httpx
from memtrace._sync.client import Memtrace

_READY = re.compile(r"Memtrace serves on (http://[^\s;]+)")


class ServerProcess:
    """Run `memtrace serve` on a free port in a `with` block.

    The server ends with the process that started it, even if that process is killed.

    Args:
        folder: The working directory, which contains the database; a second server there uses the same data.
        *arguments: More arguments for `memtrace serve`.
        memtrace: The command; by default `memtrace` of this interpreter.
        patience: Seconds after which a server that does not start or stop is killed.

    Attributes:
        url: The URL of the server.
        store_url: The URL of its store.
        key: An admin's key of the organisation `org_default`.
        log: The lines that the server has written so far.
        returncode: The exit code of the server; None while it runs.
        patience: The argument of that name.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        memtrace: tuple[str, ...] = (sys.executable, "-m", "memtrace.testing._tethered"),
        patience: float = 60.0,
    ) -> None:
        self.patience = patience
        self.url: str = ""
        self.key: str = f"mtk_{secrets.token_hex(32)}"
        self.log: list[str] = []
        self.returncode: int | None = None
        self.store_url: str = f"sqlite:///{folder / 'memtrace.db'}"
        self._folder = folder
        self._memtrace = memtrace
        self._environment = os.environ | {"MEMTRACE_STORE": self.store_url}
        self._arguments = ("--port", "0", "--bootstrap-key", self.key, *arguments)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        """Start the server and wait until it is ready.

        Raises:
            RuntimeError: If the server does not start; the error has its log.
        """
        self._process = subprocess.Popen(  # noqa: S603  # the caller's own command
            [*self._memtrace, "serve", *self._arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, name="memtrace-server-log", daemon=True)
        self._reader.start()
        if not (self._ready.wait(self.patience) and self.url):
            self._process.kill()
            self._end()
            raise RuntimeError("The server did not start:\n" + "".join(self.log))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server by SIGTERM, as a process manager does, and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(self.patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self.returncode = self._process.wait()
        self._reader.join()
        cast("IO[str]", self._process.stdin).close()

    def _read(self) -> None:
        # All output is read, as the server would block on a full pipe.
        with cast("IO[str]", self._process.stdout) as lines:
            for line in lines:
                self.log.append(line)
                if match := _READY.search(line):
                    self.url = match[1]
                    self._ready.set()
        self._ready.set()


@attrs.define
class MemtraceServer:
    """An organisation on a live server.

    Attributes:
        url: The URL of the server, such as `http://127.0.0.1:40123`.
        key: An admin's key of the organisation.
    """

    url: str
    key: str = attrs.field(repr=False)
    _opened: ExitStack = attrs.field(factory=ExitStack, init=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a program finds this server: MEMTRACE_URL and MEMTRACE_API_KEY."""
        return {"MEMTRACE_URL": self.url, "MEMTRACE_API_KEY": self.key}

    def client(
        self,
        *,
        timeout: float | httpx.Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.Client | None = None,
    ) -> Memtrace:
        """Make a client with the arguments of `Memtrace`; it is closed at the end of the test."""
        made = Memtrace(self.url, self.key, timeout=timeout, max_retries=max_retries, http_client=http_client)
        return self._opened.enter_context(made)

    def async_client(
        self,
        *,
        timeout: float | httpx.Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.AsyncClient | None = None,
    ) -> AsyncMemtrace:
        """Make an async client; close it on its event loop, best by `async with`."""
        return AsyncMemtrace(
            self.url, self.key, timeout=timeout, max_retries=max_retries, http_client=http_client
        )

    def close(self) -> None:
        """Close the clients that `client` made."""
        self._opened.close()
