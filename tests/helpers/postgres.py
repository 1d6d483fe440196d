"""A PostgreSQL for tests, with programs from Debian's folder or PATH."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import define, field
from clusters import Cluster, find_binaries
from psycopg import sql


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs, or skip tests that need it."""
    found = find_binaries()
    if found is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED, so nothing of it is tested: apt-get install postgresql")
    return found


@pytest.fixture(scope="session")
def postgres_cluster(postgres_binaries: Path) -> Iterator[Cluster]:
    """Run one PostgreSQL for all tests of a process; its commits are not durable."""
    # No effect where synchronous_commit is off, as here; a session that turns it on waits forever.
    with Cluster(postgres_binaries, synchronous_standby_names="missing") as cluster:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        yield cluster


@define
class Schemas:
    """Schemas of one database, each for a store of a test; they are emptied and reused.

    Making the tables takes longer than most tests do.
    """

    cluster: Cluster
    connection: psycopg.Connection[tuple[Any, ...]]
    free: list[str] = field(factory=list)

    def take(self) -> str:
        """Return the name of a schema without a memory."""
        if self.free:
            return self.free.pop()
        name = f"test_{secrets.token_hex(8)}"
        self.connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return name

    def url_of(self, name: str) -> str:
        """Return the URL of the store in a schema."""
        return self.cluster.url_of("postgres", f"?options=-csearch_path%3D{name},public")

    def give_back(self, name: str) -> None:
        """Empty an unused schema."""
        found = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s"
            " AND tablename NOT IN ('migrations', 'places', 'secrets')",
            [name],
        )
        for (table,) in found.fetchall():
            self.connection.execute(sql.SQL("DELETE FROM {}.{}").format(*map(sql.Identifier, (name, table))))
        self.free.append(name)


@pytest.fixture(scope="session")
def postgres_schemas(postgres_cluster: Cluster) -> Iterator[Schemas]:
    """Return the schemas of a process's tests."""
    with psycopg.connect(postgres_cluster.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # in any order of the tables
        yield Schemas(postgres_cluster, connection)


@pytest.fixture
def make_postgres_url(postgres_schemas: Schemas) -> Iterator[Callable[[], str]]:
    """Return a function that returns URLs of new stores, each in its own schema of one database."""
    made: list[str] = []

    def make() -> str:
        made.append(postgres_schemas.take())
        return postgres_schemas.url_of(made[-1])

    yield make
    for name in made:
        postgres_schemas.give_back(name)


@pytest.fixture
def postgres_url(make_postgres_url: Callable[[], str]) -> str:
    """Return the URL of a new store for this test."""
    return make_postgres_url()


@define
class Statements:
    """The statements that a store executes, each once."""

    seen: dict[str, Any] = field(factory=dict)

    def note(self, statement: object, values: Any) -> None:
        text = statement.decode() if isinstance(statement, bytes) else str(statement)
        if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", text):
            self.seen[text] = values


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Record all statements of this process."""
    statements = Statements()
    execute = psycopg.Cursor.execute

    def noted(cursor: psycopg.Cursor[Any], query: Any, params: Any = None, **options: Any) -> Any:
        statements.note(query, params)
        return execute(cursor, query, params, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    return statements
