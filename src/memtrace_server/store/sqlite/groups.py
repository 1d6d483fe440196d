"""Groups of writes, which share a transaction.

If a write of a group fails after it has written something, the group is repeated with a savepoint for each
write, so that it cannot affect the others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from memtrace_server.store.facts import wanted
from memtrace_server.store.protocol import Outcome, Transaction, Write
from memtrace_server.store.sqlite.commits import RolledBack
from memtrace_server.store.sqlite.failures import Translated
from memtrace_server.store.sqlite.known import Known
from memtrace_server.store.sqlite.transaction import SqliteTransaction

_Run = Callable[[Transaction], Any]


@frozen
class Done:
    """Works that have been done, but not committed, each with the organisation of its memories."""

    transaction: SqliteTransaction
    outcomes: Sequence[tuple[Outcome[Any], int | None]]


class Spoilt(Exception):  # noqa: N818 - a signal to begin again
    """A work of the group failed after it had written something."""


def do(
    connection: sqlite3.Connection, writes: Sequence[Write], known: Known, *, carefully: bool = False
) -> Done:
    """Do writes in the current transaction.

    Args:
        connection: The connection.
        writes: The writes.
        known: The facts of the last transaction.
        carefully: Whether each write has a savepoint, so that an error undoes this write only. A savepoint
            costs a fifth of a write's time, so it is used only when needed.

    Raises:
        Spoilt: A write without a savepoint failed after it had written something.
    """
    attempt = _attempt_carefully if carefully else _attempt
    with RolledBack(connection):
        transaction = SqliteTransaction(connection, known)
        if len(writes) > 1:  # a single write reads its facts itself
            transaction.look_up([(write.org, wanted(write.wants)) for write in writes])
        outcomes: list[tuple[Outcome[Any], int | None]] = []
        for write in writes:
            transaction.added_to = None
            outcome = attempt(connection, transaction, write.run)
            outcomes.append((outcome, transaction.added_to))
        transaction.finish()
    return Done(transaction, outcomes)


def _attempt(connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Run) -> Outcome[Any]:
    """Return the result of a work, or an exception that it raised before it wrote anything."""
    before = transaction.changes
    try:
        with Translated():
            return work(transaction), None
    except Exception as error:
        if not connection.in_transaction:
            raise
        if transaction.changes != before:
            raise Spoilt from error
        return None, error


def _attempt_carefully(
    connection: sqlite3.Connection, transaction: SqliteTransaction, work: _Run
) -> Outcome[Any]:
    """Return the result of a work, or its exception after its writes have been undone."""
    transaction.flush()
    connection.execute("SAVEPOINT one")
    outcome: Outcome[Any]
    try:
        with Translated():
            outcome = (work(transaction), None)
            transaction.flush()
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        transaction.go_back()
        outcome = (None, error)
    connection.execute("RELEASE one")
    return outcome
