"""The audit log: who did what that gives access, or takes memories away."""

from __future__ import annotations

from memtrace_server import times
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import AuditEntry

LOCAL = "local"
"""The actor who has the store's file: an operator's command, or an embedded client."""


def record(  # noqa: PLR0913 - an entry has as many parts
    transaction: Transaction,
    actor: str,
    action: str,
    *,
    org_id: str | None = None,
    subject: str | None = None,
    request_id: str | None = None,
    **details: object,
) -> None:
    """Add an entry.

    Args:
        transaction: The transaction that does what the entry says.
        actor: The id of the key, or `LOCAL`.
        action: A noun and a verb: `key.created`.
        org_id: The organisation that it is about.
        subject: The id of what it was done to.
        request_id: The request that did it.
        **details: More about it. Never anything that was remembered: forgetting must not leave it here.
    """
    entry = AuditEntry(
        at=times.now(), actor=actor, org_id=org_id, action=action, subject=subject, request_id=request_id,
        details=details,
    )  # fmt: skip
    transaction.record(entry)
