"""A server without a process or a network, whose clock a test can set."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg
from attrs import frozen

from memtrace_server import tenants
from memtrace_server.core import Core, Exchange
from memtrace_server.deadlines import Deadline
from memtrace_server.messages import Request, Response
from memtrace_server.store import Store, open_store

MEMORIES = "/api/v1/memories"


@frozen
class Tenant:
    """An organisation, as its admin."""

    core: Core
    key: str

    def send(
        self, method: str, path: str, body: object = None, *, query: str = "", once: str | None = None
    ) -> Response:
        """Send a request; `once` is the Idempotency-Key."""
        return self.core.handle(self.request(method, path, body, query, once))

    def begin(
        self, method: str, path: str, body: object = None, *, query: str = "", once: str | None = None
    ) -> Exchange:
        """Return a request up to the point at which the store takes over."""
        request = self.request(method, path, body, query, once)
        return self.core.begin(request, self.core.match(request), Deadline())

    def add(self, **memory: Any) -> Response:
        """Store a memory, by default of the agent `a`."""
        return self.send("POST", MEMORIES, {"agent_id": "a", **memory})

    def memories(self, query: str = "limit=1000") -> list[dict[str, Any]]:
        """Return the organisation's memories, oldest first."""
        response = self.send("GET", MEMORIES, query=f"order=asc&{query}")
        assert response.status == 200, response.body
        return list(json_of(response)["memories"])

    def request(
        self, method: str, path: str, body: object = None, query: str = "", once: str | None = None
    ) -> Request:
        """Return a request of this tenant."""
        headers = {"x-api-key": self.key}
        if once is not None:
            headers["idempotency-key"] = once
        content = b""
        if body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        return Request(method=method, path=path, query=query, headers=headers, body=content)


class InProcess:
    """A core on a store in a file, or at a URL, which can be closed and opened again."""

    def __init__(self, store: Path | str) -> None:
        self._url = store if isinstance(store, str) else f"sqlite:///{store}"
        self._keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.store: Store = open_store(self._url)
        self.core = Core(self.store)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.store.close()

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all rows of all tables, including those that a database keeps for itself."""
        if self._url.startswith("sqlite:"):
            with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as file:
                file.text_factory = bytes
                sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
                names = [name.decode() for (name,) in file.execute(sql)]
                return {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}  # noqa: S608
        with psycopg.connect(self._url) as database:
            sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            names = [name for (name,) in database.execute(sql)]
            return {name: database.execute(f"TABLE {name} ".encode()).fetchall() for name in names}

    def restart(self) -> None:
        """Close the store and open it again."""
        self.__exit__()
        self.__enter__()

    def tenant(self, name: str = "ours") -> Tenant:
        """Return the organisation of this name, and create it if it does not exist."""
        if name not in self._keys:
            org = tenants.create_org(self.store, name)
            self._keys[name] = tenants.create_key(self.store, org.id, "admin", "")
        return Tenant(self.core, self._keys[name])


def json_of(response: Response) -> Any:
    """Return the JSON of a response."""
    return msgspec.json.decode(response.body)
