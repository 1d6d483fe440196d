"""One call of an operation: the caller, the arguments and the transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from memtrace_server import audit, problems
from memtrace_server.auth import Principal
from memtrace_server.cursors import Cursors
from memtrace_server.deadlines import Deadline
from memtrace_server.service.drafts import Drafts
from memtrace_server.store.protocol import Transaction
from memtrace_server.times import Clock

T = TypeVar("T")

_ROWS = 100  # per step, which takes some 20 ms


class Step(msgspec.Struct, frozen=True):
    """One of the transactions in which many memories are forgotten, and between which others write.

    Attributes:
        rows: The rows of all memories to forget.
        start: The index of the first row to delete.
        done: How many memories earlier steps deleted.
    """

    rows: Sequence[int]
    start: int = 0
    done: int = 0

    @property
    def own_rows(self) -> Sequence[int]:
        """The rows to delete in this step."""
        return self.rows[self.start : self.start + _ROWS]

    @property
    def is_last(self) -> bool:
        """Whether nothing is left after this step."""
        return self.start + _ROWS >= len(self.rows)

    def next(self, done: int) -> Step:
        """Return the next step, given how many memories were deleted up to this one."""
        return Step(self.rows, self.start + _ROWS, done)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        transaction: The transaction of all reads and writes.
        principal: The caller.
        operation: The contract's operationId.
        parameters: Path, query and header parameters, valid and with their defaults.
        body: The body, valid and with its defaults.
        drafts: The memories of a body that adds or imports memories.
        now: The moment of the call, in ns.
        started_at: When the server started, in ns.
        clock: Detects when the clock was set back.
        deadline: When the client stops waiting for the response; long work checks it.
        step: The memories to forget in this transaction; None if they have not been searched yet.
        request_id: The id of the request in the log.
    """

    transaction: Transaction
    principal: Principal
    operation: str
    parameters: Mapping[str, Any]
    body: Any
    drafts: Drafts
    now: int
    started_at: int
    clock: Clock
    deadline: Deadline
    step: Step | None = None
    request_id: str | None = None

    def position(self, kind: type[T]) -> T | None:
        """Return the position that the call's cursor names, or None for the first page.

        Args:
            kind: The position's type.

        Raises:
            Problem: 404. The cursor was not issued for this query.
        """
        location, arguments = ("body", self.body) if self.body else ("query", self.parameters)
        cursor = arguments.get("cursor")
        if cursor is None:
            return None
        try:
            return self._cursors().read(cursor, kind)
        except ValueError:
            raise problems.unknown_cursor(location) from None

    def cursor(self, position: object) -> str:
        """Return the cursor with which the same query continues after a position."""
        return self._cursors().write(position)

    def record(self, action: str, subject: str | None = None, **details: object) -> None:
        """Add an entry to the audit log, as `audit.record` does."""
        audit.record(
            self.transaction,
            self.principal.key_id or audit.LOCAL,
            action,
            org_id=self.principal.org_id,
            subject=subject,
            request_id=self.request_id,
            **details,
        )

    @property
    def org(self) -> int:
        """The caller's organisation."""
        return self.principal.org

    def _cursors(self) -> Cursors:
        arguments = {**self.parameters, **(self.body or {})}
        return Cursors(self.transaction.secret(), self.org, self.operation, arguments)
