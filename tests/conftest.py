"""What the tests share: a live server, started once, and clients of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import httpx
import pytest
from live import LiveServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`memtrace serve` on a free port and a fresh SQLite file, for all tests; each uses its own tenant."""
    with LiveServer(tmp_path_factory.mktemp("live")) as server:
        yield server
    assert server.returncode == 0, "".join(server.log)


@pytest.fixture
def tenant_key(live_server: LiveServer, request: pytest.FixtureRequest) -> str:
    """An admin's key of an organisation that no other test sees."""
    return live_server.create_tenant(request.node.name[:64])


@pytest.fixture
def documented_server(live_server: LiveServer, tenant_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL and keys that documents name lead to the live server, as this test's tenant."""
    live = httpx.URL(live_server.url)
    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def reroute(request: httpx.Request) -> httpx.Request:
        assert (request.url.host, request.url.port) == ("localhost", 9100)
        assert "mtk_" in request.headers.get("x-api-key", request.headers.get("authorization", ""))
        request.url = request.url.copy_with(host=live.host, port=live.port)
        request.headers["x-api-key"] = tenant_key
        return request

    monkeypatch.setattr(
        httpx.HTTPTransport, "handle_request", lambda self, request: send(self, reroute(request))
    )
    monkeypatch.setattr(
        httpx.AsyncHTTPTransport,
        "handle_async_request",
        lambda self, request: send_async(self, reroute(request)),
    )


class CreateVenv(Protocol):
    """What the fixture `create_venv` is."""

    def __call__(self, folder: Path, *requirements: str) -> Path:
        """Create an environment with these requirements and nothing else; return its interpreter."""


@pytest.fixture(scope="session")
def create_venv() -> CreateVenv:
    """For tests of what is installed, or of what cannot be installed beside us."""

    def create(folder: Path, *requirements: str) -> Path:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
        return python

    return create
