"""Groups of writes, which share a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from memtrace_server.store.facts import wanted
from memtrace_server.store.groups import attempt, attempt_alone
from memtrace_server.store.protocol import Outcome, Transaction, Write
from memtrace_server.store.sqlite.commits import RolledBack
from memtrace_server.store.sqlite.failures import Translated
from memtrace_server.store.sqlite.known import Known
from memtrace_server.store.sqlite.transaction import SqliteTransaction


@frozen
class Done:
    """Works that have been done, but not committed, each with the organisation of its memories."""

    transaction: SqliteTransaction
    outcomes: Sequence[tuple[Outcome[Any], int | None]]


def do(
    connection: sqlite3.Connection, writes: Sequence[Write], known: Known, *, carefully: bool = False
) -> Done:
    """Do writes in the current transaction.

    Args:
        connection: The connection.
        writes: The writes.
        known: The facts of the last transaction.
        carefully: Whether each write has a savepoint, so that an error undoes this write only.

    Raises:
        Spoilt: A write without a savepoint failed after it had written something.
    """

    def is_fatal(_: Exception) -> bool:
        return not connection.in_transaction

    one: Callable[[SqliteTransaction, Callable[[Transaction], Any]], Outcome[Any]]
    one = partial(attempt, is_fatal=is_fatal, translated=Translated)
    if carefully:
        one = partial(attempt_alone, execute=connection.execute, is_fatal=is_fatal, translated=Translated)
    with RolledBack(connection):
        transaction = SqliteTransaction(connection, known)
        if len(writes) > 1:  # a single write reads its facts itself
            transaction.look_up([(write.org, wanted(write.wants)) for write in writes])
        outcomes: list[tuple[Outcome[Any], int | None]] = []
        for write in writes:
            transaction.added_to = None
            outcome = one(transaction, write.run)
            outcomes.append((outcome, transaction.added_to))
        transaction.finish()
    return Done(transaction, outcomes)
