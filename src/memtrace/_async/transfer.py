"""Exports and imports, which move memories from one store to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Unpack

from memtrace_api import requests
from memtrace_api.fields import ExportFilters
from memtrace_api.methods import AsyncMethods

from memtrace._records import COLLECTIONS, Agents, Links, Sessions, Tail, batches
from memtrace._values import parameter
from memtrace.exceptions import BadRequestError, ConflictError, NotFoundError
from memtrace.models import ImportReport, ImportResult, RejectedRecord

_PAGE = 1_000


class AsyncTransfers(AsyncMethods):
    """The methods of a client that export and import."""

    async def export(self, **filters: Unpack[ExportFilters]) -> AsyncIterator[dict[str, Any]]:
        """Iterate over all agents, sessions and memories of the organisation, as records with a `kind`.

        Agents come first, then sessions, then memories in the order in which they were stored, superseded
        ones too. With filters, only the memories that match, each after its agent and its session. A record
        is a JSON object with the fields that the server returned, times as text, so that `import_` stores
        the same.

        Returns:
            The records, one by one.

        Example:
            >>> async for record in client.export(agent_id="agent_1"):
            ...     print(json.dumps(record), file=file)
        """
        for name in filters.keys() - ExportFilters.__annotations__.keys():
            raise TypeError(f"{name}: unknown filter; export has {', '.join(ExportFilters.__annotations__)}")
        plain = {
            name: parameter(value, name)  # which refuses None as an id: it would mean all
            for name, value in filters.items()
            if value is not None or name.endswith("_id")
        }
        given = {name: value for name, value in plain.items() if value is not None}
        named: set[tuple[str, str]] = set()
        links = Links()
        if not given:
            async for record in self._agents_and_sessions():
                yield record
        asked = {**given, "limit": _PAGE}
        place: dict[str, Any] = {"start": "beginning"}
        has_more = True
        while has_more:
            page = await self._fetch_by(Tail, requests.tail_memories, fields=asked | place)
            for memory in page.memories:
                if given:
                    async for record in self._named_by(memory, named):
                        yield record
                yield {"kind": "memory", **links.followed(memory)}
            place, has_more = {"cursor": page.next_cursor}, page.has_more

    async def import_(
        self, records: Iterable[Mapping[str, Any] | str | bytes], *, strict: bool = False
    ) -> ImportReport:
        """Import records as `export` returns them, with their ids and times.

        Existing records are left as they are, so importing the same records twice changes nothing.

        Args:
            records: The records, or lines of JSON with a record each, such as an open file.
            strict: Whether to stop at the first record that cannot be imported; the rest of its batch and
                later records are then not imported.

        Returns:
            How many records were imported, and those that cannot be.

        Raises:
            BadRequestError: With `strict`, if a record cannot be imported; the error names it.
            PermissionDeniedError: If the key is not an admin's.

        Example:
            >>> with open("memories.jsonl", encoding="utf-8") as file:
            ...     report = await client.import_(file)
        """
        rejected: list[RejectedRecord] = []
        imported = existing = 0
        for batch in batches(records, rejected):
            body: Any = batch
            while batch.records and not (strict and rejected):
                try:
                    result = await self._fetch_by(ImportResult, requests.import_records, fields=body)
                except (BadRequestError, ConflictError) as error:
                    rejected += batch.reject(error)
                else:
                    imported += result.imported
                    existing += result.existing
                    break
            if strict and rejected:
                first = min(rejected, key=lambda each: each.position)
                raise BadRequestError(
                    f"record {first.position}: {first.reason}; {imported} were imported before it", 0,
                    code="invalid_request",
                )  # fmt: skip
        return ImportReport(imported, existing, sorted(rejected, key=lambda each: each.position))

    async def _agents_and_sessions(self) -> AsyncIterator[dict[str, Any]]:
        listed: list[tuple[str, Any, Any]] = [
            ("agent", Agents, requests.list_agents),
            ("session", Sessions, requests.list_sessions),
        ]
        for kind, model, operation in listed:
            fields: dict[str, Any] | None = {}
            while fields is not None:
                page = await self._fetch_by(model, operation, fields=fields)
                for record in getattr(page, COLLECTIONS[kind]):
                    yield {"kind": kind, **record}
                fields = {"cursor": page.next_cursor} if page.next_cursor is not None else None

    async def _named_by(
        self, memory: Mapping[str, Any], named: set[tuple[str, str]]
    ) -> AsyncIterator[dict[str, Any]]:
        """Return the agent and the session of a memory, except those returned before or deleted."""
        for kind, get in (("agent", requests.get_agent), ("session", requests.get_session)):
            identifier = memory.get(f"{kind}_id")
            if identifier is None or (kind, identifier) in named:
                continue
            named.add((kind, identifier))
            try:
                found: dict[str, Any] = await self._fetch_by(dict, get, identifier, fields={})
            except NotFoundError:
                continue
            yield {"kind": kind, **found}
