"""Works of a group of writes, which share a transaction.

If a work fails after it has written something, the group is repeated with a savepoint for each work, so that
it cannot affect the others. A savepoint costs a fifth of a write's time, so it is used only when needed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from memtrace_server.store.facts import Facts
from memtrace_server.store.protocol import Outcome

T = TypeVar("T", bound=Facts)


class Spoilt(Exception):  # noqa: N818 - a signal to begin again
    """A work of the group failed after it had written something."""


def attempt(
    transaction: T,
    work: Callable[[T], Any],
    *,
    is_fatal: Callable[[Exception], bool],
    translated: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Outcome[Any]:
    """Return the result of a work, or an exception that it raised before it wrote anything.

    Args:
        transaction: The transaction.
        work: The work.
        is_fatal: Returns whether an exception ends the whole transaction; it is raised then.
        translated: Converts the errors of a database.

    Raises:
        Spoilt: The work failed after it had written something.
    """
    before = transaction.changes
    try:
        with translated():
            return work(transaction), None
    except Exception as error:
        if is_fatal(error):
            raise
        if transaction.changes != before:
            raise Spoilt from error
        return None, error


def attempt_alone(
    transaction: T,
    work: Callable[[T], Any],
    *,
    execute: Callable[[str], object],
    is_fatal: Callable[[Exception], bool],
    translated: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Outcome[Any]:
    """Return the result of a work, or its exception after its changes have been undone.

    Args:
        transaction: The transaction.
        work: The work.
        execute: Executes a statement.
        is_fatal: Returns whether an exception ends the whole transaction; it is raised then.
        translated: Converts the errors of a database.
    """
    transaction.flush()
    execute("SAVEPOINT one")
    outcome: Outcome[Any]
    try:
        with translated():
            outcome = (work(transaction), None)
            transaction.flush()
    except Exception as error:
        if is_fatal(error):
            raise
        execute("ROLLBACK TO one")
        transaction.forget_what_is_known()
        outcome = (None, error)
    execute("RELEASE one")
    return outcome
