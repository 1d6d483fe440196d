"""Fixtures of all tests: a live server, started once, and its clients."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest
from live import LiveServer

from memtrace import Memtrace
from memtrace_server.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from helpers.postgres import Schemas
    from snippets import Snippet

    from memtrace.testing import MemtraceServer

_ROOM = 4 << 30  # bytes; a run needs a tenth

pytest_plugins = ["helpers.clock", "helpers.commands", "helpers.clients", "helpers.peers", "helpers.postgres"]


def pytest_configure() -> None:
    """Store what tests write in memory, and let Ctrl-C interrupt the processes that tests start.

    On a disk, a run takes twice as long. Shells make processes in the background ignore SIGINT, and every
    child process inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    in_memory = Path("/dev/shm")  # noqa: S108  # pytest makes folders below it that only this user can read
    if in_memory.is_dir() and shutil.disk_usage(in_memory).free > _ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(in_memory))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `both_stores` on SQLite and on PostgreSQL."""
    if metafunc.definition.get_closest_marker("both_stores") is None:
        return
    for name, scope in (("live_server", "session"), ("in_process", "function"), ("store_url", "function")):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, ["sqlite", "postgres"], indirect=True, scope=scope)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_certificates(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Spare httpx's clients from reading the machine's certificates, which takes longer than most tests.

    Tests of the package install other interpreters, which need certificates.
    """
    if request.path.parent.name != "package":
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="session")
def live_server(request: pytest.FixtureRequest) -> LiveServer:
    """Run `memtrace serve` on a free port and a new store, once for all tests; each uses its own tenant."""
    is_postgres = getattr(request, "param", "sqlite") == "postgres"
    server: LiveServer = request.getfixturevalue("_postgres_server" if is_postgres else "_sqlite_server")
    return server


@pytest.fixture(scope="session")
def _sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live")) as server:
        yield server
    _check(server)


@pytest.fixture(scope="session")
def _postgres_server(
    tmp_path_factory: pytest.TempPathFactory, postgres_schemas: Schemas
) -> Iterator[LiveServer]:
    schema = postgres_schemas.take()
    url = postgres_schemas.url_of(schema)
    with LiveServer(tmp_path_factory.mktemp("live"), store=url) as server:
        yield server
    _check(server)
    postgres_schemas.give_back(schema)


def _check(server: LiveServer) -> None:
    """Check a server's exit code and log, as a client's retry may have hidden a defect."""
    assert server.returncode == 0, "".join(server.log)
    # A test may keep the store busy for long, and `/ready` then fails.
    log = [line for line in server.log if "others write to it all the time" not in line]
    assert [line for line in log if '"level": "error"' in line or '"level"' not in line] == []


@pytest.fixture(scope="session")
def live_store(live_server: LiveServer) -> Iterator[Store]:
    """Return the store of the live server."""
    with closing(open_store(live_server.store_url)) as store:
        yield store


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new store for a test."""
    if getattr(request, "param", "sqlite") == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'memtrace.db'}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a new SQLite file."""
    return f"sqlite:///{tmp_path}/agent.db"


@pytest.fixture(scope="session")
def _memtrace_process(live_server: LiveServer) -> LiveServer:
    """Let the pytest plugin's `memtrace_server` use the live server's process."""
    return live_server


@pytest.fixture
def tenant_key(memtrace_server: MemtraceServer) -> str:
    """Return the key of an admin of an organisation that no other test uses."""
    return memtrace_server.key


@pytest.fixture
def documented_server(live_server: LiveServer, tenant_key: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lead requests to the URL in documents, with any key, to the live server as this test's tenant."""
    live = httpx.URL(live_server.url)

    def rerouted(request: httpx.Request) -> httpx.Request:
        assert (request.url.host, request.url.port) == ("localhost", 9100)
        assert "mtk_" in request.headers.get("x-api-key", request.headers.get("authorization", ""))
        request.headers["x-api-key"] = tenant_key
        request.url = request.url.copy_with(host=live.host, port=live.port)
        return request

    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request
    monkeypatch.setattr(
        httpx.HTTPTransport, "handle_request", lambda self, request: send(self, rerouted(request))
    )
    monkeypatch.setattr(
        httpx.AsyncHTTPTransport,
        "handle_async_request",
        lambda self, request: send_async(self, rerouted(request)),
    )
    return "http://localhost:9100"


@pytest.fixture
def run_snippet() -> Iterator[Callable[[Snippet], dict[str, Any]]]:
    """Return a function that runs the code of a document, and returns the names that it defines.

    Clients among them are closed at the end.
    """
    left: list[dict[str, Any]] = []

    def run(snippet: Snippet) -> dict[str, Any]:
        left.append({})
        snippet.run(left[-1])
        return left[-1]

    yield run
    for client in (value for names in left for value in names.values() if isinstance(value, Memtrace)):
        client.close()


class CreateVenv(Protocol):
    """The type of the fixture `create_venv`."""

    def __call__(self, folder: Path, *requirements: str) -> Path:
        """Create an environment with only some requirements, and return its interpreter."""


@pytest.fixture(scope="session")
def create_venv() -> CreateVenv:
    """Return a function that creates environments, for tests of installed and of missing packages."""

    def create(folder: Path, *requirements: str) -> Path:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", *requirements], check=True)
        return python

    return create
