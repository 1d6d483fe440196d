"""One call of an operation: who asks, for what, in which transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from memtrace_server.auth import Principal
from memtrace_server.cursors import Cursors
from memtrace_server.store.protocol import Transaction


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        transaction: All that the call reads and writes.
        principal: Who asks.
        parameters: Path, query and header parameters, valid and with their defaults.
        body: The body, valid and with its defaults.
        now: The moment of the call, in ns.
        started_at: When the server started, in ns.
    """

    transaction: Transaction
    principal: Principal
    parameters: Mapping[str, Any]
    body: Any
    now: int
    started_at: int

    @property
    def cursors(self) -> Cursors:
        """The organisation's cursors."""
        return Cursors(self.transaction.secret(), self.org)

    @property
    def org(self) -> int:
        """The organisation that the call is about."""
        return self.principal.org
