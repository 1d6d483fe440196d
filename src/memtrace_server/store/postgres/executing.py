"""Execution of a transaction's statements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from memtrace_server.deadlines import check_observed
from memtrace_server.store.facts import id_of
from memtrace_server.store.postgres.connecting import Connection
from memtrace_server.store.postgres.queries import Query
from memtrace_server.store.records import Found
from memtrace_server.store.tables import Row


class Executor:
    """Executes the statements of one transaction, which begins with the first.

    Args:
        connection: The connection.
        is_distributed: Whether memories lie in several places, which a query must name.
        has_pieces: Whether there is an index of trigrams.
    """

    def __init__(self, connection: Connection, *, is_distributed: bool, has_pieces: bool) -> None:
        self.connection = connection
        self.is_distributed = is_distributed
        self.has_pieces = has_pieces
        self.is_begun = connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def begin(self) -> None:
        """Begin the transaction, unless it has begun."""
        if not self.is_begun:
            self.connection.execute(b"BEGIN")
            self.is_begun = True

    def execute(self, sql: str, *values: object) -> psycopg.Cursor[Row]:
        """Execute a statement."""
        check_observed()
        self.begin()
        return self.connection.execute(sql.encode(), values)

    def row(self, sql: str, *values: object) -> Row | None:
        """Return the first row of a statement."""
        return self.execute(sql, *values).fetchone()

    def rows(self, query: Query) -> list[Row]:
        """Return the rows of a query."""
        return self.execute(query.sql, *query.values).fetchall()

    def plan(self, query: Query) -> list[Row]:
        """Return the rows of a query that must be planned for its values, as these determine their number."""
        check_observed()
        self.begin()
        cursor: psycopg.Cursor[Any]
        with psycopg.ClientCursor(self.connection) as cursor:
            return cursor.execute(query.sql.encode(), query.values).fetchall()


def memories_of(rows: Iterable[Row]) -> list[Found]:
    """Return the memories of rows that begin with a row, a time, a document and that of the newer memory."""
    return [
        Found(seq=seq, time=time, doc=doc, superseded_by=None if newer is None else id_of(newer))
        for seq, time, doc, newer, *_ in rows
    ]
