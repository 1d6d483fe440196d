"""Exports and imports: what moves memories from one store to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from memtrace_api import requests
from memtrace_api.models import ImportResult

from memtrace._async.transport import AsyncSender
from memtrace._records import Agents, Batch, ImportReport, RejectedRecord, Sessions, Tail, batches
from memtrace.exceptions import BadRequestError, ConflictError, NotFoundError

_PAGE = 1_000


async def export(sender: AsyncSender, filters: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Return records: all of them, or the memories that match with the agents and sessions that they name."""
    filters = {name: value for name, value in filters.items() if value is not None}
    named: set[tuple[str, str]] = set()
    if not filters:
        async for record in _agents_and_sessions(sender):
            yield record
    cursor: str | None = None
    has_more = True
    while has_more:
        place: dict[str, Any] = {"start": "beginning"} if cursor is None else {"cursor": cursor}
        page = await sender.fetch(Tail, requests.tail_memories, limit=_PAGE, **place, **filters)
        for memory in page.memories:
            if filters:
                async for record in _named_by(sender, memory, named):
                    yield record
            yield {"kind": "memory", **memory}
        cursor, has_more = page.next_cursor, page.has_more


async def import_records(
    sender: AsyncSender, records: Iterable[Mapping[str, Any] | str | bytes], *, strict: bool
) -> ImportReport:
    """Import records, in batches."""
    rejected: list[RejectedRecord] = []
    imported = existing = 0
    for batch in batches(records, rejected):
        result = None
        while batch.records and result is None and not (strict and rejected):
            try:
                result = await _import_batch(sender, batch)
            except (BadRequestError, ConflictError) as error:
                rejected += batch.reject(error)
        if result is not None:
            imported += result.imported
            existing += result.existing
        if strict and rejected:
            first = min(rejected, key=lambda each: each.position)
            raise BadRequestError(
                f"record {first.position}: {first.reason}; {imported} were imported before it", 0,
                code="invalid_request",
            )  # fmt: skip
    return ImportReport(imported, existing, sorted(rejected, key=lambda each: each.position))


async def _import_batch(sender: AsyncSender, batch: Batch) -> ImportResult:
    body: Any = batch
    return await sender.fetch(ImportResult, requests.import_records, body=body)


async def _agents_and_sessions(sender: AsyncSender) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        agents = await sender.fetch(Agents, requests.list_agents, cursor=cursor)
        for agent in agents.agents:
            yield {"kind": "agent", **agent}
        cursor = agents.next_cursor
        if cursor is None:
            break
    while True:
        sessions = await sender.fetch(Sessions, requests.list_sessions, cursor=cursor)
        for session in sessions.sessions:
            yield {"kind": "session", **session}
        cursor = sessions.next_cursor
        if cursor is None:
            break


async def _named_by(
    sender: AsyncSender, memory: Mapping[str, Any], named: set[tuple[str, str]]
) -> AsyncIterator[dict[str, Any]]:
    """Return the agent and the session of a memory, unless they were returned before or are deleted."""
    for kind, get in (("agent", requests.get_agent), ("session", requests.get_session)):
        identifier = memory.get(f"{kind}_id")
        if identifier is None or (kind, identifier) in named:
            continue
        named.add((kind, identifier))
        try:
            found: dict[str, Any] = await sender.fetch(dict, get, identifier)
        except NotFoundError:
            continue
        yield {"kind": kind, **found}
