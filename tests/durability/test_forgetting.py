"""Expired memories are invisible at once; forgotten ones are gone from tables, responses and the file."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.store_audit import assert_consistent
from helpers.clock import Clock
from live import LiveServer

from memtrace import Memtrace, PermissionDeniedError
from memtrace_server.messages import Response
from memtrace_server.store.protocol import StoreUnavailable
from memtrace_server.store.sqlite import store as sqlite_store

DAY = 86_400
PATIENCE = 10.0  # seconds
OTHERS = 300
WORDS = ["all", "sorts", "of", "other", "words", "are", "here"]
DICE = random.Random(20260)  # noqa: S311 - not a secret


@frozen
class Marker:
    """A unique text, of which any part of some length gives it away."""

    text: str
    length: int

    @classmethod
    def word(cls) -> Marker:
        """Return a word of ASCII letters."""
        return cls("".join(DICE.choices("abcdefghijklmnopqrstuvwxyz", k=24)), 8)

    @classmethod
    def rare(cls) -> Marker:
        """Return a word in Linear B: even a part of one of its trigrams is unique."""
        return cls("".join(map(chr, DICE.sample(range(0x10080, 0x100FB), k=12))), 2)

    def is_in(self, content: bytes) -> bool:
        """Return whether any part of the text is in the content."""
        parts = (self.text[at : at + self.length] for at in range(len(self.text) - self.length + 1))
        return any(part.encode() in content for part in parts)


@pytest.fixture
def markers() -> dict[str, Marker]:
    """Return the texts to be forgotten."""
    kinds: Mapping[str, Callable[[], Marker]] = {
        "word": Marker.word,
        "piece": Marker.rare,
        "metadata's key": Marker.word,
        "metadata's value": Marker.word,
        "tag": Marker.word,
        "event type": Marker.word,
        "dedup key": Marker.word,
    }
    return {name: make() for name, make in kinds.items()}


FORGET: Mapping[str, Callable[[Tenant, Clock, str], object]] = {
    "by id": lambda tenant, _, memory_id: tenant.send("DELETE", f"{MEMORIES}/{memory_id}", once="forget"),
    "by filter": lambda tenant, _, __: tenant.send("DELETE", MEMORIES, query="agent_id=a", once="forget"),
    "by any filter": lambda tenant, _, __: tenant.send(
        "POST", "/api/v1/forget", {"agent_id": "a", "memory_types": ["episodic"]}, once="forget"
    ),
    "with its session": lambda tenant, _, __: tenant.send(
        "DELETE", "/api/v1/sessions/s", query="delete_memories=true", once="forget"
    ),
    "with its agent": lambda tenant, _, __: tenant.send(
        "DELETE", "/api/v1/agents/a", query="delete_memories=true", once="forget"
    ),
    "by its end": lambda _, clock, __: clock.advance(DAY / 2),
}
every_way = pytest.mark.parametrize("forget", FORGET.values(), ids=FORGET)


@pytest.mark.both_stores
def test_expired_memory_is_in_no_response(tenant: Tenant, clock: Clock) -> None:
    there = json_of(tenant.add(content="red stays", session_id="s", event_type="error", tags=["x"]))
    ends = json_of(
        tenant.add(content="red ends", session_id="s", event_type="error", tags=["x"], importance=1, ttl=10)
    )
    queries: list[Callable[[], Response]] = [
        lambda: tenant.send("GET", MEMORIES),
        lambda: tenant.send("GET", MEMORIES, query="agent_id=a"),
        lambda: tenant.send("GET", MEMORIES, query="session_id=s&order=asc"),
        lambda: tenant.send("GET", MEMORIES, query="tags=x"),
        lambda: tenant.send("GET", MEMORIES, query="event_type=error"),
        lambda: tenant.send("GET", MEMORIES, query="since=1h"),
        lambda: tenant.send("GET", MEMORIES, query="limit=1&offset=0"),
        lambda: tenant.send("GET", "/api/v1/agents/a/memories"),
        lambda: tenant.send("GET", "/api/v1/sessions/s/memories"),
        *(
            lambda search=search: tenant.send("POST", "/api/v1/search", search)
            for search in (
                {},
                {"query": "red"},
                {"query": "-blue"},
                {"query": "red", "order": "asc"},
                {"content_contains": "RED"},
                {"content_contains": "re"},
                {"query": "red", "content_contains": "red", "agent_id": "a"},
                {"min_importance": 0},
            )
        ),
        lambda: tenant.send("POST", "/api/v1/agents/a/context", {}),
        lambda: tenant.send("POST", "/api/v1/sessions/s/context", {}),
    ]
    clock.advance(9.999)
    assert all(b"red ends" in query().body for query in queries[:6])

    clock.advance(0.001)

    for query in queries:
        response = query()
        assert response.status == 200
        assert b"red ends" not in response.body
        assert not json_of(response).get("has_more")
    assert tenant.send("GET", f"{MEMORIES}/{ends['id']}").status == 404
    assert tenant.send("DELETE", f"{MEMORIES}/{ends['id']}").status == 404
    stats = json_of(tenant.send("GET", "/api/v1/agents/a/stats"))
    counts = [stats[name] for name in ("memory_count", "memories_24h", "errors_24h", "memory_types")]
    assert counts == [1, 1, 1, {"episodic": 1}]
    assert tenant.memories() == [there]
    assert json_of(tenant.send("DELETE", MEMORIES, query="agent_id=a")) == {"deleted": 1}


def test_statistics_are_the_same_before_and_after_the_sweep(
    tenant: Tenant, clock: Clock, tmp_path: Path
) -> None:
    for n in range(3):
        tenant.add(content=f"ends {n}", ttl=10 + 2 * n, memory_type="decision")
    tenant.add(content="stays")
    for left in (2, 1, 0):
        clock.advance(10 if left == 2 else 2)
        unswept = json_of(tenant.send("GET", "/api/v1/agents/a/stats"))
        assert unswept["memory_count"] == 1 + left
        assert unswept["memory_types"].get("decision", 0) == left
        tenant.add(content=f"a write, which sweeps {left}", agent_id="b")
        assert json_of(tenant.send("GET", "/api/v1/agents/a/stats")) == unswept
        rows = assert_consistent(tmp_path / "memtrace.db")
        assert sum(row.doc["agent_id"] == "a" for row in rows) == 1 + left


def test_the_sweep_keeps_up_with_what_expires(tenant: Tenant, clock: Clock, tmp_path: Path) -> None:
    for n in range(5):
        batch = [{"agent_id": "a", "content": f"ends {n} {m}", "ttl": 10} for m in range(1_000)]
        assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201
    clock.advance(10)
    for n in range(5):
        batch = [{"agent_id": "b", "content": f"stays {n} {m}"} for m in range(1_000)]
        assert tenant.send("POST", MEMORIES, {"memories": batch}).status == 201
        clock.advance(2)
    tenant.add(content="one more", agent_id="b")

    rows = assert_consistent(tmp_path / "memtrace.db")

    assert [row.doc["agent_id"] for row in rows] == ["b"] * 5_001


def test_expired_memories_are_swept_though_nobody_writes(tmp_path: Path) -> None:
    markers = {"word": Marker.word()}
    with LiveServer(tmp_path) as server, Memtrace(server.url, server.key) as client:
        client.remember("a", f"It was said: {markers['word'].text}", ttl=1)
        assert _found(_tables(tmp_path, but_index=True), markers)
        end = time.monotonic() + PATIENCE
        while _found(_tables(tmp_path, but_index=True), markers):
            assert time.monotonic() < end
            client.list_memories()


@every_way
@pytest.mark.both_stores
def test_forgotten_text_is_in_no_table_and_no_response(
    in_process: InProcess,
    clock: Clock,
    markers: dict[str, Marker],
    forget: Callable[[Tenant, Clock, str], object],
) -> None:
    tenant = in_process.tenant()
    memory_id = _remember(tenant, markers)
    assert _found(_rows(in_process), markers) == set(markers)

    forget(tenant, clock, memory_id)
    _sweep(tenant, clock)

    _until(lambda: not _found(_rows(in_process), markers))
    assert list(in_process.store.check()) == []
    for search in ({"query": markers["word"].text}, {"content_contains": markers["piece"].text[3:7]}):
        assert json_of(tenant.send("POST", "/api/v1/search", search))["results"] == []
    for once, body in (
        ("one", _marked(markers)),
        ("batch", {"memories": [{**_marked(markers), "on_duplicate": "return"}]}),
    ):
        retried = tenant.send("POST", MEMORIES, body, once=once)
        assert (retried.status, json_of(retried)["code"]) == (409, "answer_forgotten")
        assert not _found(retried.body, markers)


@every_way
def test_forgotten_text_is_not_in_the_file_after_a_vacuum(
    in_process: InProcess,
    clock: Clock,
    tmp_path: Path,
    markers: dict[str, Marker],
    forget: Callable[[Tenant, Clock, str], object],
) -> None:
    tenant = in_process.tenant()
    memory_id = _remember(tenant, markers)
    assert _found(_files(tmp_path), markers) == set(markers)

    forget(tenant, clock, memory_id)
    _sweep(tenant, clock)
    in_process.store.vacuum()
    in_process.store.close()

    assert _found(_files(tmp_path), markers) == set()
    assert_consistent(tmp_path / "memtrace.db")


def test_vacuum_blocked_by_a_reader_is_an_error(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "PATIENCE", 0.1)
    secret = Marker.word()
    tenant = in_process.tenant()
    tenant.add(content=f"to be forgotten: {secret.text}")
    with closing(sqlite3.connect(tmp_path / "memtrace.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM memories").fetchone() == (1,)
        tenant.send("DELETE", MEMORIES, query="agent_id=a")
        with pytest.raises(StoreUnavailable, match="try again"):
            in_process.store.vacuum()
        assert secret.is_in(_files(tmp_path))
    in_process.store.vacuum()
    assert not secret.is_in(_files(tmp_path))


@pytest.mark.parametrize("kind", ["memory", "session"])
def test_forgotten_text_leaves_all_files_of_an_open_store(tmp_path: Path, kind: str) -> None:
    markers = {"word": Marker.word(), "piece": Marker.rare()}
    text = " ".join(marker.text for marker in markers.values())
    with Memtrace(f"sqlite:///{tmp_path / 'memtrace.db'}") as client:
        client.add_memories({"agent_id": "b", "content": f"So many are indexed: {n}"} for n in range(99))
        if kind == "session":
            session = client.create_session(agent_id="a", metadata={"said": text})
            client.update_session(session.id, metadata={"more": text})
        else:
            secret = client.remember("a", f"It was said: {text}")
            _until(lambda: _is_indexed(tmp_path))
        assert _found(_files(tmp_path), markers) == set(markers)

        if kind == "session":
            client.delete_session(session.id)
        else:
            client.forget(secret)

        _until(lambda: not _found(_files(tmp_path), markers))
        assert client.list_memories().count == 99


def test_forgotten_text_leaves_the_log_once_nobody_reads_it(tmp_path: Path) -> None:
    markers = {"word": Marker.word()}
    log = tmp_path / "memtrace.db-wal"
    with Memtrace(f"sqlite:///{tmp_path / 'memtrace.db'}") as client:
        client.remember("a", f"It was said: {markers['word'].text}")
        with closing(sqlite3.connect(tmp_path / "memtrace.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM memories").fetchone()
            client.forget_all(agent_id="a")
            client.remember("b", "Written while somebody reads an older state")
            assert _found(log.read_bytes(), markers)

        _until(lambda: not _found(log.read_bytes(), markers))


def test_a_client_can_vacuum_its_store(tmp_path: Path) -> None:
    markers = {"word": Marker.word(), "piece": Marker.rare()}
    text = " ".join(marker.text for marker in markers.values())
    with Memtrace(f"sqlite:///{tmp_path / 'memtrace.db'}") as client:
        memories = client.add_memories({"agent_id": "a", "content": f"{n} {text}"} for n in range(99))
        _until(lambda: _is_indexed(tmp_path))
        for memory in memories:
            client.forget(memory)

        client.vacuum()

        assert not _found(_files(tmp_path), markers)


def test_an_admin_of_the_default_organisation_can_vacuum_a_server(tmp_path: Path) -> None:
    markers = {"word": Marker.word(), "piece": Marker.rare()}
    with LiveServer(tmp_path) as server, Memtrace(server.url, server.key, max_retries=0) as client:
        client.remember("a", " ".join(marker.text for marker in markers.values()))
        client.forget_all(agent_id="a")

        client.vacuum()

        assert not _found(_files(tmp_path), markers)
        another_admin = server.create_tenant("others")
        writer = server.run("key", "create", "--role", "writer").split()[-1]
        for key in (another_admin, writer):
            with Memtrace(server.url, key) as other, pytest.raises(PermissionDeniedError):
                other.vacuum()


def _until(is_so: Callable[[], bool]) -> None:
    """Wait for background work."""
    end = time.monotonic() + 6 * PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def _is_indexed(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "memtrace.db")) as store:
        return not store.execute("SELECT 1 FROM unindexed").fetchone()


def test_agent_deleted_with_its_memories_leaves_no_text(
    in_process: InProcess, clock: Clock, tmp_path: Path
) -> None:
    tenant = in_process.tenant()
    markers = {name: Marker.word() for name in ("description", "config", "session", "changed session")}
    agent = {
        "name": "a",
        "description": markers["description"].text,
        "config": {"model": markers["config"].text},
    }
    tenant.send("POST", "/api/v1/agents", agent, once="agent")
    session = {"agent_id": "a", "metadata": {"task": markers["session"].text}}
    session_id = json_of(tenant.send("POST", "/api/v1/sessions", session, once="session"))["id"]
    change = {"metadata": {"outcome": markers["changed session"].text}}
    tenant.send("PUT", f"/api/v1/sessions/{session_id}", change, once="change")
    assert _found(_tables(tmp_path), markers) == set(markers)

    tenant.send("DELETE", "/api/v1/agents/a", query="delete_memories=true", once="forget")

    assert _found(_tables(tmp_path), markers) == set()
    _sweep(tenant, clock)
    in_process.store.close()
    assert _found(_files(tmp_path), markers) == set()


@pytest.mark.both_stores
def test_a_session_whose_memories_have_expired_is_deleted_with_its_agent(
    in_process: InProcess, tenant: Tenant, clock: Clock
) -> None:
    for session in ("expires", "stays"):
        tenant.add(content="of its agent", session_id=session)
        tenant.add(
            content="of another", agent_id="b", session_id=session, ttl=DAY if session == "stays" else 10
        )
    clock.advance(10)

    assert tenant.send("DELETE", "/api/v1/agents/a", query="delete_memories=true").status == 204

    statuses = [tenant.send("GET", f"/api/v1/sessions/{name}").status for name in ("expires", "stays")]
    assert statuses == [404, 200]
    _sweep(tenant, clock)
    assert list(in_process.store.check()) == []


def test_deleted_session_leaves_no_text(in_process: InProcess, clock: Clock, tmp_path: Path) -> None:
    tenant = in_process.tenant()
    markers = {name: Marker.word() for name in ("session", "changed session")}
    kept = {"other": Marker.word()}
    other = {"agent_id": "a", "metadata": {"task": kept["other"].text}}
    tenant.send("POST", "/api/v1/sessions", other, once="other")
    session = {"agent_id": "a", "metadata": {"task": markers["session"].text}}
    session_id = json_of(tenant.send("POST", "/api/v1/sessions", session, once="session"))["id"]
    change = {"metadata": {"outcome": markers["changed session"].text}}
    tenant.send("PUT", f"/api/v1/sessions/{session_id}", change, once="change")
    assert _found(_tables(tmp_path), markers | kept) == {*markers, *kept}

    tenant.send("DELETE", f"/api/v1/sessions/{session_id}", once="forget")

    assert _found(_tables(tmp_path), markers | kept) == set(kept)
    retried = tenant.send("POST", "/api/v1/sessions", session, once="session")
    assert (retried.status, json_of(retried)["code"]) == (409, "answer_forgotten")
    assert tenant.send("POST", "/api/v1/sessions", other, once="other").status == 201
    _sweep(tenant, clock)
    in_process.store.vacuum()
    in_process.store.close()
    assert _found(_files(tmp_path), markers) == set()
    assert_consistent(tmp_path / "memtrace.db")


def _marked(markers: Mapping[str, Marker]) -> dict[str, Any]:
    text = {name: marker.text for name, marker in markers.items()}
    return {
        "agent_id": "a",
        "session_id": "s",
        "content": f"It was said: {text['word']} and {text['piece']}!",
        "metadata": {text["metadata's key"]: {"deep": [text["metadata's value"]]}},
        "tags": ["x", text["tag"]],
        "event_type": text["event type"],
        "dedup_key": text["dedup key"],
        "ttl": DAY // 2,
    }


def _remember(tenant: Tenant, markers: Mapping[str, Marker]) -> str:
    """Store the memory to be forgotten among other memories, and return its id."""
    others = [
        {"agent_id": "b", "content": " ".join(DICE.choices(WORDS, k=9)), "dedup_key": str(n), "tags": ["x"]}
        for n in range(OTHERS)
    ]
    assert tenant.send("POST", MEMORIES, {"memories": others[: OTHERS // 2]}).status == 201
    response = tenant.send("POST", MEMORIES, _marked(markers), once="one")
    assert response.status == 201
    again = {"memories": [{**_marked(markers), "on_duplicate": "return"}]}
    assert tenant.send("POST", MEMORIES, again, once="batch").status == 200
    assert tenant.send("POST", MEMORIES, {"memories": others[OTHERS // 2 :]}).status == 201
    return str(json_of(response)["id"])


def _sweep(tenant: Tenant, clock: Clock) -> None:
    clock.advance(2)
    assert tenant.add(content=f"at {clock.now}", agent_id="b").status == 201


def _found(content: bytes, markers: Mapping[str, Marker]) -> set[str]:
    return {name for name, marker in markers.items() if marker.is_in(content)}


def _tables(folder: Path, *, but_index: bool = False) -> bytes:
    """Return every value in every table, including SQLite's own tables."""
    found: list[bytes] = []
    with closing(sqlite3.connect(folder / "memtrace.db")) as store:
        store.text_factory = bytes
        tables = [
            name.decode()
            for name, sql in store.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
            if not sql.startswith(b"CREATE VIRTUAL")
        ]
        assert {"memories", "answers", "words_1_data", "pieces_1_data"} <= set(tables)
        for table in tables:
            if but_index and table.endswith("_data"):
                continue
            for row in store.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name from SQLite
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(found)


def _rows(server: InProcess) -> bytes:
    """Return every value in every table except those of SQLite's full-text index."""
    tables = {name: rows for name, rows in server.tables().items() if not name.endswith("_data")}
    assert {"memories", "answers"} <= tables.keys()
    values = [value for rows in tables.values() for row in rows for value in row]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def _files(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.iterdir())
