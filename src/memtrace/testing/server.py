"""A live server for tests: a process on a free port, and organisations on it that do not see each other."""

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
import httpx

from memtrace._async.client import AsyncMemtrace
from memtrace._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT
from memtrace._sync.client import Memtrace

_READY = re.compile(r"Memtrace serves on (http://[^\s;]+)")
_PATIENCE = 60.0  # Seconds until a server that is not ready, or does not stop, has failed.


class ServerProcess:
    """Runs `memtrace serve` on a free port while it is entered.

    It ends with the process that started it, whatever becomes of that.

    Args:
        folder: Where it runs and keeps its database; a second server there finds the data again.
        *arguments: More arguments for `memtrace serve`.
        memtrace: The command `memtrace`; as it is installed beside this interpreter if not given.

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
        memtrace: tuple[str, ...] = (sys.executable, "-m", "memtrace._tethered"),
    ) -> None:
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
            RuntimeError: If it does not start; the error has its log.
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
        if not (self._ready.wait(_PATIENCE) and self.url):
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
        """Stop the server as a process manager would, and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self.returncode = self._process.wait()
        self._reader.join()
        cast("IO[str]", self._process.stdin).close()

    def _read(self) -> None:
        # Until the end, or the server would block on a full pipe.
        with cast("IO[str]", self._process.stdout) as lines:
            for line in lines:
                self.log.append(line)
                if match := _READY.search(line):
                    self.url = match[1]
                    self._ready.set()
        self._ready.set()


@attrs.define
class MemtraceServer:
    """An organisation on a live server that nobody else sees.

    Attributes:
        url: Where the server listens, such as `http://127.0.0.1:40123`.
        key: An admin's key of the organisation.
    """

    url: str
    key: str = attrs.field(repr=False)
    _opened: ExitStack = attrs.field(factory=ExitStack, init=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client of a program find this server: MEMTRACE_URL and MEMTRACE_API_KEY."""
        return {"MEMTRACE_URL": self.url, "MEMTRACE_API_KEY": self.key}

    def client(
        self,
        *,
        timeout: float | httpx.Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.Client | None = None,
    ) -> Memtrace:
        """Make a client, whose arguments `Memtrace` explains; it is closed at the end of the test."""
        made = Memtrace(self.url, self.key, timeout=timeout, max_retries=max_retries, http_client=http_client)
        return self._opened.enter_context(made)

    def async_client(
        self,
        *,
        timeout: float | httpx.Timeout | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        http_client: httpx.AsyncClient | None = None,
    ) -> AsyncMemtrace:
        """Make an async client; close it on the event loop that it was used on, best by `async with`."""
        return AsyncMemtrace(
            self.url, self.key, timeout=timeout, max_retries=max_retries, http_client=http_client
        )

    def close(self) -> None:
        """Close what `client` made."""
        self._opened.close()
