"""Raw HTTP requests to the live server, with a new tenant for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from attrs import evolve, frozen
from live import LiveServer

from memtrace_server import tenants
from memtrace_server.store import Store


@frozen
class Api:
    """Send requests with one key."""

    http: httpx.Client
    store: Store
    org_id: str
    key: str

    def __call__(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        """Send a request; the arguments are httpx's."""
        headers = {"x-api-key": self.key, **arguments.pop("headers", {})}
        return self.http.request(method, url, headers=headers, **arguments)

    def get(self, url: str, **parameters: Any) -> Any:
        """Return the JSON response of a path."""
        response = self("GET", url, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def add(self, **memory: Any) -> Any:
        """Store a memory, by default of the agent `a`."""
        response = self("POST", "/api/v1/memories", json={"agent_id": "a", **memory})
        assert response.status_code == 201, response.text
        return response.json()

    def contents(self, **filters: Any) -> list[str]:
        """Return the contents of matching memories, newest first."""
        return [memory["content"] for memory in self.get("/api/v1/memories", **filters)["memories"]]

    def as_role(self, role: str) -> Api:
        """Return a client of the same organisation with a key of a role."""
        return evolve(self, key=tenants.create_key(self.store, self.org_id, role, "a test"))


@pytest.fixture(scope="session")
def http(live_server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server.url, timeout=30.0) as client:
        yield client


@pytest.fixture(scope="session")
def new_api(http: httpx.Client, live_store: Store) -> Callable[[str], Api]:
    """Return a function that creates an organisation and returns a client with its admin's key."""

    def new(name: str) -> Api:
        org = tenants.create_org(live_store, name)
        return Api(http, live_store, org.id, tenants.create_key(live_store, org.id, "admin", "a test"))

    return new


@pytest.fixture
def api(new_api: Callable[[str], Api], request: pytest.FixtureRequest) -> Api:
    """Return an admin of an organisation that no other test uses."""
    return new_api(request.node.nodeid)


@pytest.fixture(scope="module")
def shared_api(new_api: Callable[[str], Api], request: pytest.FixtureRequest) -> Api:
    """Return an admin of an organisation that the tests of one module share."""
    return new_api(request.node.nodeid)
