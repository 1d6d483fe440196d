"""Fixtures for tests of programs that use Memtrace; pytest finds them where memtrace-sdk is installed.

They need the extra `memtrace-sdk[server]`. Nothing is imported before a test uses one of them, so that other
test runs are not slowed down; `-p no:memtrace` removes them.
"""

# ruff: noqa: PLC0415  # imports at first use, as the docstring says

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memtrace import AsyncMemtrace, Memtrace
    from memtrace.testing import FailNext, MemtraceServer, ServerProcess
    from memtrace_server.store import Store
    from memtrace_server.transport import EmbeddedTransport

# The embedded server needs no key; without one, the client would take it from the environment.
_KEY = "mtk_test"
_URL = "http://embedded.localhost"  # this machine, to which a key may go unencrypted

T = TypeVar("T")


@pytest.fixture(name="memtrace")
def _memtrace(_memtrace_embedded: EmbeddedTransport, fail_next: FailNext) -> Iterator[Memtrace]:
    """A `Memtrace` with an embedded store in memory, empty for each test."""
    from memtrace import Memtrace
    from memtrace._http import httpx

    with (
        httpx.Client(transport=fail_next.between(_memtrace_embedded), trust_env=False) as http_client,
        Memtrace(_URL, _KEY, http_client=http_client) as client,
    ):
        fail_next.listen(client)
        yield client


@pytest.fixture(name="async_memtrace")
def _async_memtrace(_memtrace_embedded: EmbeddedTransport, fail_next: FailNext) -> AsyncMemtrace:
    """An `AsyncMemtrace` with the same store as the fixture `memtrace`.

    It works with every plugin that runs async tests, on asyncio and trio. Only its buffers need closing.
    """
    from memtrace import AsyncMemtrace
    from memtrace._http import httpx

    # Neither holds a connection, so that no event loop is needed to close them.
    http_client = httpx.AsyncClient(transport=fail_next.between(_memtrace_embedded), trust_env=False)
    client = AsyncMemtrace(_URL, _KEY, http_client=http_client)
    fail_next.listen(client)
    return client


@pytest.fixture(name="fail_next")
def _fail_next() -> Iterator[FailNext]:
    """A function that makes the next request of `memtrace` or `async_memtrace` fail: `fail_next(status=503)`.

    Use `exception=httpx.ConnectError` or `timeout=True` for other failures, and `retry_after=1`, `times=3`,
    `acted=True` (only the response is lost) or `on="POST *"` (only some requests). If a failure never
    happens, the test fails. Retries do not sleep; their delays are listed in `fail_next.pauses`.
    """
    from memtrace.testing import FailNext

    fail_next = FailNext()
    yield fail_next
    _plainly(fail_next.verify, AssertionError)


@pytest.fixture(name="memtrace_server")
def _memtrace_server(_memtrace_process: ServerProcess, _memtrace_store: Store) -> Iterator[MemtraceServer]:
    """A live server on a free port, with `.url`, `.key`, `.client()`, `.async_client()` and `.environment`.

    It is started once for all tests; each test has an organisation of its own on it.
    """
    from memtrace.testing import MemtraceServer
    from memtrace_server import tenants

    org = tenants.create_org(_memtrace_store, f"test {secrets.token_hex(8)}")
    key = tenants.create_key(_memtrace_store, org.id, "admin", "a test")
    server = MemtraceServer(_memtrace_process.url, key)
    yield server
    server.close()


@pytest.fixture
def _memtrace_embedded() -> Iterator[EmbeddedTransport]:
    transport = _plainly(_embedded_transport, ImportError)
    yield transport
    transport.close()


@pytest.fixture(scope="session")
def _memtrace_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    from memtrace.testing import ServerProcess

    server = ServerProcess(tmp_path_factory.mktemp("memtrace-server"))
    with ExitStack() as running:
        yield _plainly(lambda: running.enter_context(server), RuntimeError)


@pytest.fixture(scope="session")
def _memtrace_store(_memtrace_process: ServerProcess) -> Iterator[Store]:
    from memtrace_server.store import open_store

    with closing(open_store(_memtrace_process.store_url)) as store:
        yield store


def _embedded_transport() -> EmbeddedTransport:
    try:
        from memtrace_server.transport import EmbeddedTransport
    except ImportError as error:
        raise ImportError(
            f"memtrace: an embedded store needs the server: {error}; pip install 'memtrace-sdk[server]'"
        ) from error
    return EmbeddedTransport("sqlite://")


def _plainly(attempt: Callable[[], T], kind: type[Exception]) -> T:
    """Fail the test with the text of an error of this kind, without a traceback through this package."""
    try:
        return attempt()
    except kind as error:
        problem = str(error)
    # Outside of the `except` block, in which pytest would show the error twice.
    pytest.fail(problem, pytrace=False)
