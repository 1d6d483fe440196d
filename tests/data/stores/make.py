"""Write a store of this version and its responses, for tests of later versions.

A store of each released schema is kept beside this file. Before a release that adds a step to the schema:

    .venv/bin/python tests/data/stores/make.py

The files are named after the last step, and are never changed again.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

STORES = Path(__file__).parent
sys.path.insert(0, str(STORES.parent.parent))

from durability.in_process import MEMORIES, InProcess, Tenant, json_of  # noqa: E402 - needs the path
from helpers.clock import Clock  # noqa: E402 - as above

from memtrace_server import auth, tenants, times  # noqa: E402

MADE_AT = "2026-11-01T12:00:00Z"
READ_AT = "2026-11-01T13:00:00Z"
LIST = "order=asc&limit=1000"
SEARCH = "/api/v1/search"
AGENTS = "/api/v1/agents"
SESSIONS = "/api/v1/sessions"


class Recorder:
    """Send requests, and return them with their responses, as JSON."""

    def __init__(self, server: InProcess, keys: dict[str, str]) -> None:
        self._server = server
        self._keys = keys

    def record(  # noqa: PLR0913 - one for each part of a request
        self,
        who: str,
        method: str,
        path: str,
        body: object = None,
        *,
        query: str = "",
        once: str | None = None,
    ) -> dict[str, Any]:
        """Send a request with a key, and return it with its response."""
        response = Tenant(self._server.core, self._keys[who]).send(method, path, body, query=query, once=once)
        request = {"who": who, "method": method, "path": path, "query": query, "body": body, "once": once}
        answer = json_of(response) if response.body else None
        if isinstance(answer, dict):
            for name in ("request_id", "query_time_ms"):  # different each time
                answer.pop(name, None)
        return {**request, "status": response.status, "answer": answer}

    def write(self, who: str, method: str, path: str, body: object = None, **more: Any) -> dict[str, Any]:
        """Send a request that must succeed."""
        recorded = self.record(who, method, path, body, **more)
        if recorded["status"] not in {200, 201, 204}:
            raise ValueError(recorded)
        return recorded

    def remember(self, who: str, agent_id: str, content: str, **more: Any) -> str:
        """Store a memory, and return its id."""
        body = {"agent_id": agent_id, "content": content, **more}
        return str(self.write(who, "POST", MEMORIES, body)["answer"]["id"])


def main() -> None:
    """Write the files."""
    clock = Clock(times.parse(MADE_AT))
    with tempfile.TemporaryDirectory() as folder, patch.object(times, "now", lambda: clock.now):
        file = Path(folder) / "store.sqlite3"
        with InProcess(file) as server:
            keys = _make_keys(server)
            recorder = Recorder(server, keys)
            names = _fill(recorder, clock)
            writes = _write_once(recorder)
            rows = _keys_without_text(server, keys)
            server.store.vacuum()
        kept = _without_keys(file)
        clock.now = times.parse(READ_AT)
        with InProcess(file) as server:
            reads = _read(Recorder(server, keys), names)
        expected = {"read_at": READ_AT, "keys": rows, "names": names, "reads": reads, **writes}
        _keep(_last_step(file), kept, expected)


def _make_keys(server: InProcess) -> dict[str, str]:
    """Return keys of two organisations, by their use."""
    keys = {"default": tenants.bootstrap(server.store, None) or ""}
    org = tenants.create_org(server.store, "Größer & Söhne")
    for role in ("admin", "reader", "writer"):
        keys[role] = tenants.create_key(server.store, org.id, role, f"the {role}'s")
    keys["revoked"] = tenants.create_key(server.store, org.id, "writer", "lost in a train")
    [lost] = [key.id for key in tenants.list_keys(server.store) if key.name == "lost in a train"]
    tenants.revoke_key(server.store, lost)
    return keys


def _keys_without_text(server: InProcess, keys: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the rows of keys, from which the tests make new keys."""
    columns = ("id", "org", "role", "name", "created_at", "revoked_at")
    texts = {auth.digest(text): who for who, text in keys.items()}
    found = server.store.read(lambda transaction: {who: transaction.key(d) for d, who in texts.items()})
    return {who: {name: getattr(key, name) for name in columns} for who, key in found.items()}


def _without_keys(file: Path) -> bytes:
    """Return the store without its keys, which would be published."""
    copy = file.with_suffix(".kept")
    copy.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy, isolation_level=None)) as store:
        store.execute("PRAGMA secure_delete = ON")
        store.execute("DELETE FROM keys")
        store.execute("VACUUM")
    return copy.read_bytes()


def _fill(recorder: Recorder, clock: Clock) -> dict[str, str]:
    """Store records of every kind, and return the ids that are requested by name."""
    names: dict[str, str] = {}
    agents: dict[str, dict[str, Any]] = {
        "support-bot": {"description": "Answers customers", "config": {"model": "m-1", "tools": ["search"]}},
        "retired": {"description": "Its memories stay"},
        "purged": {"description": "Its memories go too"},
    }
    for agent, more in agents.items():
        recorder.write("default", "POST", AGENTS, {"name": agent, **more})
    for name, body in {
        "open": {"agent_id": "support-bot", "metadata": {"ticket": 4711, "tags": ["a", None, 1.5]}},
        "closed": {"agent_id": "support-bot"},
        "purged": {"agent_id": "purged"},
    }.items():
        clock.advance(1)
        names[f"session {name}"] = recorder.write("default", "POST", SESSIONS, body)["answer"]["id"]
    closing = {"status": "closed", "metadata": {"outcome": "solved"}}
    recorder.write("default", "PUT", f"{SESSIONS}/{names['session closed']}", closing)

    remember = recorder.remember
    for number in range(40):
        clock.advance(30)
        remember(
            "default",
            "support-bot" if number % 3 else "quiet",
            f"Step {number}: {'looked up' if number % 2 else 'wrote down'} order {number * 37}",
            memory_type=("episodic", "session", "decision", "entity")[number % 4],
            event_type=("general", "error", "tool_call")[number % 3],
            tags=[f"tag{number % 5}", "ui"] if number % 2 else [],
            importance=number / 40,
            session_id=names["session open" if number % 5 else "session closed"] if number % 7 else "unnamed",
            metadata={"number": number, "nested": {"list": [1, "two", None, True]}} if number % 2 else None,
        )
    texts = [
        "Die Straße nach Łódź ist naïvement gesperrt",
        "記憶の記録は東京で保存された",
        "مرحبا بالعالم، هذه ذاكرة",
        "e\u0301tude and étude, İstanbul, ﬁne, 👩🏽‍🚀 🇩🇪",
        "Quotes \" and ' and \\ and <tags> & %_*;--\ttab\nnew line\r\n",
        "a" * 3_000,
    ]
    for text in texts:
        clock.advance(1)
        remember("default", "polyglot", text, tags=["ünïcode", "記憶"])
    names["parent"] = remember("default", "quiet", "What happened first")
    names["child"] = remember("default", "quiet", "What followed", parent_id=names["parent"])
    remember("default", "quiet", "It came late", time="2020-02-29T23:59:59.999999Z")
    remember("default", "quiet", "It comes too early", time="2027-01-01T00:00:00Z")
    remember("default", "quiet", "It stays until the year 2100", ttl=73 * 365 * 86_400)
    remember("default", "quiet", "It is over by the time it is read", ttl=60)
    names["named"] = remember("default", "quiet", "It has a key of its own", dedup_key="its-own")

    names["forgotten"] = remember("default", "quiet", "Forgotten: Zanzibar")
    recorder.write("default", "DELETE", f"{MEMORIES}/{names['forgotten']}")
    for number in range(3):
        remember("default", "quiet", f"Forgotten together: Ouagadougou {number}", tags=["gone"])
    recorder.write("default", "DELETE", MEMORIES, query="tags=gone")
    remember("default", "retired", "I was here")
    gone = "Forgotten with its agent: Popocatépetl"
    remember("default", "purged", gone, session_id=names["session purged"])
    recorder.write("default", "DELETE", f"{AGENTS}/retired")
    recorder.write("default", "DELETE", f"{AGENTS}/purged", query="delete_memories=true")

    names["foreign"] = remember("writer", "quiet", "What happened first", tags=["ui"], importance=0.9)
    recorder.write("admin", "POST", AGENTS, {"name": "support-bot", "description": "Another one"})
    recorder.write("writer", "POST", SESSIONS, {"agent_id": "support-bot"})
    return names


def _write_once(recorder: Recorder) -> dict[str, Any]:
    """Return writes to be repeated: with their Idempotency-Keys, and duplicates without one."""
    batch = {"memories": [{"agent_id": "b", "content": text} for text in ("one", "two", "three")]}
    single = {"agent_id": "b", "content": "Zwölf Boxkämpfer", "metadata": {"ä": [1, 1.5]}, "tags": ["x", "x"]}
    replays = [
        recorder.write("default", "POST", MEMORIES, single, once="single"),
        recorder.write("default", "POST", MEMORIES, batch, once="batch"),
        recorder.write("default", "POST", SESSIONS, {"agent_id": "b"}, once="session"),
        recorder.write("default", "POST", AGENTS, {"name": "c", "config": {"a": 1}}, once="agent"),
        recorder.write("writer", "POST", MEMORIES, {"agent_id": "b", "content": "theirs"}, once="single"),
    ]
    gone = recorder.write(
        "default", "POST", MEMORIES, {"agent_id": "b", "content": "Forgotten: Samarkand"}, once="gone"
    )
    removal = recorder.write("default", "DELETE", f"{MEMORIES}/{gone['answer']['id']}", once="removal")
    duplicates = [
        recorder.record("default", "POST", MEMORIES, body)
        for body in (
            single,
            {"agent_id": "quiet", "content": "What happened first"},
            {"agent_id": "quiet", "content": "Other words, the same key", "dedup_key": "its-own"},
        )
    ]
    forgotten = recorder.record("default", gone["method"], gone["path"], gone["body"], once="gone")
    if {recorded["status"] for recorded in (*duplicates, forgotten)} != {409}:
        raise ValueError(duplicates, forgotten)
    return {"replays": [*replays, removal, forgotten], "duplicates": duplicates}


def _read(recorder: Recorder, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return all reads, except contexts and ranks, which may improve."""
    lists = [
        LIST,
        f"{LIST}&agent_id=support-bot",
        f"{LIST}&session_id=unnamed",
        f"{LIST}&memory_type=decision",
        f"{LIST}&event_type=error&agent_id=support-bot",
        f"{LIST}&tags=tag3&tags=ui",
        f"{LIST}&tags=%C3%BCn%C3%AFcode",
        f"{LIST}&since=2026-11-01T12:05:00Z&until=2026-11-01T12:10:00Z",
        "limit=7",
        "order=asc&limit=7&agent_id=quiet",
    ]
    searches: list[dict[str, Any]] = [
        {"query": "order", "order": "asc", "limit": 1000},
        {"query": '"looked up" -1073', "order": "asc", "limit": 1000},
        {"query": "strasse", "order": "asc"},
        {"query": "etude", "order": "asc"},
        {"content_contains": "STRASSE NACH", "order": "asc"},
        {"content_contains": "記録は東", "order": "asc"},
        {"min_importance": 0.8, "order": "desc", "limit": 1000},
        {"metadata": {"number": 7}, "order": "desc"},
        *({"query": word, "order": "asc"} for word in ("zanzibar", "popocatepetl")),
        *({"content_contains": word} for word in ("Zanzibar", "Ouagadougou", "Popocat", "Samarkand")),
    ]
    paths = [
        *(f"{MEMORIES}/{names[name]}" for name in ("parent", "child", "named", "forgotten", "foreign")),
        *(f"{AGENTS}/{name}" for name in ("support-bot", "quiet", "retired", "purged", "nobody")),
        *(f"{AGENTS}/{name}/stats" for name in ("support-bot", "quiet", "polyglot")),
        *(f"{AGENTS}/{name}/memories" for name in ("support-bot", "retired")),
        *(f"{SESSIONS}/{names[name]}" for name in ("session open", "session closed", "session purged")),
        f"{SESSIONS}/{names['session open']}/memories",
        f"{SESSIONS}/unnamed/memories",
        AGENTS,
        SESSIONS,
    ]
    reads = [recorder.record("default", "GET", MEMORIES, query=query) for query in lists]
    for page in [read for read in reads if "limit=7" in read["query"]]:
        query = f"{page['query']}&cursor={page['answer']['next_cursor']}"
        reads.append(recorder.record("default", "GET", MEMORIES, query=query))
    reads += [recorder.record("default", "POST", SEARCH, body) for body in searches]
    reads += [recorder.record("default", "GET", path) for path in paths]
    reads.append(recorder.record("default", "GET", SESSIONS, query="status=active&limit=1"))
    for who in ("admin", "reader", "writer", "revoked"):
        reads.append(recorder.record(who, "GET", MEMORIES, query=LIST))
        reads.append(recorder.record(who, "GET", AGENTS))
    reads.append(recorder.record("reader", "POST", SEARCH, {"query": "first", "order": "asc"}))
    return reads


def _last_step(file: Path) -> str:
    with closing(sqlite3.connect(file)) as store:
        return str(store.execute("SELECT max(name) FROM migrations").fetchone()[0])


def _keep(name: str, store: bytes, expected: dict[str, Any]) -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else STORES
    file = folder / f"{name}.sqlite3"
    if file.exists():
        sys.exit(f"{file} is there already, and a store of a released schema never changes")
    file.write_bytes(store)
    file.with_suffix(".json").write_text(_lines(expected), "utf-8")
    print(f"{file}: {len(store):,} bytes, {len(expected['reads'])} reads")  # noqa: T201 - for the person who runs it


def _lines(expected: dict[str, Any]) -> str:
    """Return JSON with a line for each request, so that people can read it."""
    parts: list[str] = []
    for name, value in expected.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            items = [json.dumps(item, ensure_ascii=False) for item in value]
            text = "[\n" + ",\n".join(items) + "\n]"
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
