"""What the tests share: a live server, started once, and clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from live import LiveServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`memtrace serve` on a free port and a fresh SQLite file, for all tests: each takes a tenant of its own."""
    with LiveServer(tmp_path_factory.mktemp("live")) as server:
        yield server
    assert server.returncode == 0, "".join(server.log)


@pytest.fixture
def tenant_key(live_server: LiveServer, request: pytest.FixtureRequest) -> str:
    """An admin's key of an organisation that no other test sees."""
    return live_server.create_tenant(request.node.name[:64])
