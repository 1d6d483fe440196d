"""A session store that keeps transcripts of the Claude Agent SDK in Memtrace.

Source of the interface: `claude_agent_sdk.SessionStore`, version 0.2.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast
from weakref import WeakValueDictionary

from memtrace import AsyncMemtrace, Memtrace, Session
from memtrace.integrations._client import awaitable, requires
from memtrace.integrations._names import name
from memtrace.integrations._records import Records

with requires("claude-agent"):
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStore,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
        fold_session_summary,
    )

_FIELD = "claude_agent"  # of a session's metadata


class MemtraceSessionStore(SessionStore):
    """Transcripts of the Claude Agent SDK in Memtrace.

    A project becomes an agent, and each transcript, also of a subagent, a session of it. Each entry becomes a
    memory, so that search finds messages, too.

    Args:
        client: The client that stores transcripts.

    Example:
        >>> options = ClaudeAgentOptions(session_store=MemtraceSessionStore(AsyncMemtrace(url, key)))
    """

    def __init__(self, client: AsyncMemtrace | Memtrace | str) -> None:
        self._client = awaitable(client)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Store entries, except those whose `uuid` is stored already."""
        if not entries:
            return
        session_id = _session_id(key)
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            records = [(dict(entry), _event_type(entry), entry.get("uuid")) for entry in entries]
            await self._records(key).append(records)
            await self._describe(key, session_id, entries)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return a transcript's entries in order of arrival, or None if there are none."""
        entries = await self._records(key).read()
        seen: set[str] = set()
        kept = [entry for entry in entries if _is_new(entry, seen)]
        return cast("list[SessionStoreEntry]", kept) or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return a project's transcripts, except those of subagents."""
        return [
            {"session_id": found["session_id"], "mtime": found["mtime"]}
            for found in await self._described(project_key)
            if "subpath" not in found
        ]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries of a project's transcripts, as the SDK folds them."""
        return [_summary(found) for found in await self._described(project_key) if "subpath" not in found]

    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript, and for a session the transcripts of its subagents, too."""
        subpath = key.get("subpath")
        for found in await self._described(key["project_key"]):
            if found["session_id"] == key["session_id"] and subpath in {None, found.get("subpath")}:
                of: SessionKey = {"project_key": key["project_key"], "session_id": found["session_id"]}
                if "subpath" in found:
                    of["subpath"] = found["subpath"]
                await self._records(of).clear()
                await self._client.update_session(_session_id(of), metadata={_FIELD: None})

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session's subagents."""
        return [
            found["subpath"]
            for found in await self._described(key["project_key"])
            if found["session_id"] == key["session_id"] and "subpath" in found
        ]

    def _records(self, key: SessionKey) -> Records:
        return Records(self._client, _agent_id(key["project_key"]), _session_id(key))

    async def _describe(self, key: SessionKey, session_id: str, entries: list[SessionStoreEntry]) -> None:
        described: dict[str, Any] = {"session_id": key["session_id"]}
        if subpath := key.get("subpath"):
            described["subpath"] = subpath
        else:
            known = _description(await self._client.get_session(session_id))
            folded = fold_session_summary(_summary(known) if known else None, key, entries)
            described["summary"] = json.dumps(folded["data"])  # as text, which keeps nulls
        described["mtime"] = time.time_ns() // 1_000_000
        await self._client.update_session(session_id, metadata={_FIELD: described})

    async def _described(self, project_key: str) -> list[dict[str, Any]]:
        found: list[Session] = []
        page = await self._client.list_sessions(agent_id=_agent_id(project_key))
        found += page.sessions
        while page.next_cursor:
            page = await self._client.list_sessions(agent_id=_agent_id(project_key), cursor=page.next_cursor)
            found += page.sessions
        described = [_description(session) for session in found]
        return [each for each in described if each is not None]


def _agent_id(project_key: str) -> str:
    return name("claude-agent", project_key)


def _session_id(key: SessionKey) -> str:
    return name("claude-agent", key["project_key"], key["session_id"], *filter(None, [key.get("subpath")]))


def _event_type(entry: SessionStoreEntry) -> str:
    return name(entry["type"] or "entry")


def _is_new(entry: dict[str, Any], seen: set[str]) -> bool:
    uuid = entry.get("uuid")
    if uuid in seen:
        return False
    if uuid is not None:
        seen.add(uuid)
    return True


def _description(session: Session) -> dict[str, Any] | None:
    return (session.metadata or {}).get(_FIELD)


def _summary(known: dict[str, Any]) -> SessionSummaryEntry:
    data = json.loads(known["summary"])
    return {"session_id": known["session_id"], "mtime": known["mtime"], "data": data}
