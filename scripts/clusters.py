"""PostgreSQL clusters for tests and benchmarks, in temporary folders and on free ports."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

_PATIENCE = 120.0  # seconds for a command of PostgreSQL's
_PORTS = 5  # that are tried; another process may take one that was free
_USERS = ("postgres", "nobody")  # PostgreSQL does not run as root
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "log_min_messages": "fatal",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Its standard input ends with the process that started it, even with one that is killed.
_WATCH = 'read -r _; "$1" stop -D "$2/data" -m immediate -w; rm -rf "$2"'


def find_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian's newest, or the one on PATH."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda path: float(path.parts[-3]), default=None)
    if newest is not None:
        return newest.parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


class Cluster:
    """A PostgreSQL cluster that runs in a `with` block, at most as long as this process.

    Args:
        binaries: The folder of PostgreSQL's programs.
        is_durable: Whether commits reach the disk; without, tests are faster.
        primary: The cluster that it follows, as a standby.
        **settings: More settings, as in postgresql.conf.

    Attributes:
        folder: Its temporary folder.
        port: The port on which it listens at 127.0.0.1.
        password: Of its superuser, `memtrace`.
    """

    def __init__(
        self, binaries: Path, *, is_durable: bool = False, primary: Cluster | None = None, **settings: str
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="memtrace-postgres-"))
        self.port = 0
        self.password: str = secrets.token_hex(8) if primary is None else primary.password
        self._primary = primary
        self._binaries = binaries
        self._settings = {**_SETTINGS, **({} if is_durable else _NOT_DURABLE), **settings}
        self._as: dict[str, Any] = {}
        self._watcher: subprocess.Popen[bytes] | None = None
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            entry = _other_user()
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._as = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}

    def __enter__(self) -> Self:
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", str(self._binaries / "pg_ctl"), str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, **self._as,
        )  # fmt: skip
        try:
            self.initialise()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._watcher is not None  # noqa: S101 - it was entered
        self._watcher.communicate(timeout=_PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, as its superuser."""
        return self.url_of("postgres")

    def url_of(self, database: str, options: str = "") -> str:
        """Return the URL of a database, as the superuser."""
        login = f"memtrace:{self.password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}{options}"

    def initialise(self) -> None:
        """Create the data folder: empty, or a copy of the primary's."""
        if self._primary is not None:
            source = f"host=127.0.0.1 port={self._primary.port} user=memtrace password={self.password}"
            self.run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-c", "fast", "--no-sync")
            return
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._as:
            os.chown(secret, self._as["user"], self._as["group"])
        self.run(
            "initdb", "--pgdata", str(self.data), "--username", "memtrace", "--pwfile", str(secret),
            "--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8",
            "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip
        secret.unlink()

    def start(self) -> None:
        """Start on a free port, or on the previous one."""
        for attempt in range(_PORTS):
            port = self.port or _free_port()
            settings = {**self._settings, "port": str(port), "unix_socket_directories": str(self.folder)}
            options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
            log = self.folder / "log"
            try:
                self.run("pg_ctl", "start", "-D", str(self.data), "-w", "-l", str(log), "-o", options)
            except subprocess.CalledProcessError:
                if self.port or attempt == _PORTS - 1:
                    raise
            else:
                self.port = port
                return

    def stop(self, mode: str = "fast") -> None:
        """Stop the cluster; `immediate` is like a kill."""
        self.run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w")

    def promote(self) -> None:
        """Promote a standby to primary."""
        self.run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to each process that it has for a client."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            os.kill(pid, number)

    def cpu(self) -> float:
        """Return the CPU time (s) of all processes of the cluster; needs `/proc`."""
        postmaster = (self.data / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        taken = _ticks(postmaster, 2, 4)  # its own and of children that ended
        for pid in children:
            with suppress(OSError):
                taken += _ticks(pid, 2)
        return taken / os.sysconf("SC_CLK_TCK")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the cluster's user."""
        done = subprocess.run(
            [str(self._binaries / program), *arguments], cwd=self.folder, check=True, timeout=_PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            env={"PATH": os.defpath, "PGPASSWORD": self.password, "LC_ALL": "C.UTF-8"}, **self._as,
        ) if program != "pg_ctl" else self._control(*arguments)  # fmt: skip
        return done.stdout or ""

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pg_ctl, whose server would keep a pipe open."""
        return subprocess.run(
            [str(self._binaries / "pg_ctl"), *arguments], cwd=self.folder, check=True, timeout=_PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, encoding="utf-8",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **self._as,
        )  # fmt: skip


def _ticks(pid: str, *pairs: int) -> int:
    """Return the CPU time of a process, of which `/proc` has user and system time beside each other."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[9 + at]) + int(fields[10 + at]) for at in pairs)


def _other_user() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in _USERS if name in known)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
