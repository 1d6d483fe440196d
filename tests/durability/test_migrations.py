"""Stores of older versions are opened by this one, with all their data."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.store_audit import assert_consistent
from helpers.clock import Clock
from helpers.commands import Commands
from helpers.waiting import wait_until
from live import LiveServer

from memtrace import APIConnectionError, Memtrace
from memtrace_server import auth, times
from memtrace_server.search import analysis
from memtrace_server.store import open_store
from memtrace_server.store.sqlite import migrations
from memtrace_server.store.sqlite.indexing import Indexer

STORES = Path(__file__).parent.parent / "data" / "stores"
DAY = 86_400
AT_ONCE = 4

# Runs in its own process: opens a store whose schema lacks a step, once it reads a line.
OPEN = """
import sys
from contextlib import closing
from memtrace_server.search import analysis
from memtrace_server.store import open_store
from memtrace_server.store.sqlite import migrations
from memtrace_server.store.sqlite.indexing import Indexer

migrations._STEPS["9999-more"] = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
with closing(open_store(sys.argv[1])) as store:
    store.write(lambda transaction: transaction.orgs())
"""
SLOW_STEP = """
CREATE TABLE more (n INTEGER NOT NULL) STRICT;
INSERT INTO more
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 200000)
SELECT n FROM numbers;
"""


@frozen
class Old:
    """A copy of a store that an older version wrote, and the recorded responses of that version.

    Attributes:
        keys: Texts of its keys, by their owner; they are made for each copy.
    """

    file: Path
    expected: dict[str, Any]
    keys: dict[str, str]

    @property
    def url(self) -> str:
        """Return the URL of the copy."""
        return f"sqlite:///{self.file}"

    def key(self, recorded: dict[str, Any]) -> str:
        """Return the key of a recorded request."""
        return self.keys[recorded["who"]]


@pytest.fixture(params=sorted(STORES.glob("*.sqlite3")), ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    kept: Path = request.param
    file = tmp_path / "memtrace.db"
    shutil.copyfile(kept, file)
    expected = msgspec.json.decode(kept.with_suffix(".json").read_bytes())
    return Old(file, expected, _add_keys(file, expected["keys"]))


def _add_keys(file: Path, rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Give a store its keys with new texts: stored files have none."""
    texts = {who: auth.new_key() for who in rows}
    with closing(sqlite3.connect(file)) as database, database:
        database.executemany(
            "INSERT INTO keys (digest, id, org, role, name, created_at, revoked_at)"
            " VALUES (:digest, :id, :org, :role, :name, :created_at, :revoked_at)",
            [{"digest": auth.digest(texts[who]), **row} for who, row in rows.items()],
        )
    return texts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, old: Old) -> Clock:
    """Stop the clock at the time of the recording."""
    clock = Clock(times.parse(old.expected["read_at"]))
    monkeypatch.setattr(times, "now", lambda: clock.now)
    monkeypatch.setattr(times, "uptime", lambda: clock.uptime)
    return clock


@pytest.fixture
def server(old: Old, clock: Clock) -> Iterator[InProcess]:
    assert times.now() == clock.now
    with InProcess(old.file) as server:
        yield server


def send(server: InProcess, old: Old, recorded: dict[str, Any]) -> tuple[int, Any]:
    tenant = Tenant(server.core, old.key(recorded))
    response = tenant.send(
        recorded["method"],
        recorded["path"],
        recorded["body"],
        query=recorded["query"],
        once=recorded["once"],
    )
    return response.status, json_of(response) if response.body else None


def assert_same_response(recorded: dict[str, Any], status: int, answer: Any) -> None:
    """Check that a response has all that the older version's had; it may have more."""
    request = {name: recorded[name] for name in ("who", "method", "path", "query", "body", "once")}
    assert status == recorded["status"], (request, answer)
    if status < 400:
        assert _holds(recorded["answer"], answer), (request, recorded["answer"], answer)
    else:
        assert answer["code"] == recorded["answer"]["code"], request
        assert answer.get("existing_id") == recorded["answer"].get("existing_id"), request


def _holds(old: Any, new: Any) -> bool:
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and _holds(old[name], new[name]) for name in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(_holds, old, new))
    return bool(old == new)


def test_store_of_the_first_released_schema_is_kept() -> None:
    assert (STORES / "0001-memories.sqlite3").exists()


def test_kept_store_is_in_wal_mode_and_has_known_steps(old: Old) -> None:
    assert old.file.read_bytes()[18:20] == b"\2\2", "in WAL mode"
    with closing(sqlite3.connect(old.file)) as store:
        steps = [name for (name,) in store.execute("SELECT name FROM migrations ORDER BY name")]
    assert steps == list(migrations._STEPS)[: len(steps)]  # noqa: SLF001 - released steps keep their names


def test_every_read_has_its_recorded_response(old: Old, server: InProcess) -> None:
    for recorded in old.expected["reads"]:
        assert_same_response(recorded, *send(server, old, recorded))


def test_every_read_over_http_has_its_recorded_response(old: Old) -> None:
    with LiveServer(old.file.parent) as server, httpx.Client(base_url=server.url) as client:
        for recorded in old.expected["reads"]:
            if recorded["path"].endswith("/stats"):  # statistics count the last 24 hours
                continue
            response = client.request(
                recorded["method"],
                f"{recorded['path']}?{recorded['query']}",
                json=recorded["body"],
                headers={"x-api-key": old.key(recorded)},
            )
            assert_same_response(recorded, response.status_code, response.json())
    assert server.returncode == 0, "".join(server.log)


def test_embedded_client_finds_every_memory(old: Old) -> None:
    [everything] = [
        read["answer"]["memories"]
        for read in old.expected["reads"]
        if (read["who"], read["path"], read["query"]) == ("default", MEMORIES, "order=asc&limit=1000")
    ]
    with Memtrace(old.url) as client:
        found = list(client.iter_memories(order="asc"))
    assert [(m.id, m.content, m.metadata) for m in found] == [
        (m["id"], m["content"], m.get("metadata", {})) for m in everything
    ]


def test_recorded_writes_are_replayed_or_found_as_duplicates(old: Old, server: InProcess) -> None:
    keys = old.keys
    everybody = [Tenant(server.core, keys[who]) for who in ("default", "writer")]
    before = [tenant.memories() for tenant in everybody]
    for recorded in (*old.expected["replays"], *old.expected["duplicates"]):
        assert_same_response(recorded, *send(server, old, recorded))
    assert [tenant.memories() for tenant in everybody] == before


def test_recorded_key_with_another_request_is_a_conflict(old: Old, server: InProcess) -> None:
    [recorded] = [r for r in old.expected["replays"] if (r["who"], r["once"]) == ("default", "single")]
    body = {**recorded["body"], "content": "another"}
    status, answer = send(server, old, {**recorded, "body": body})
    assert (status, answer["code"]) == (409, "idempotency_key_reused")


def test_recorded_duplicates_are_stored_again_after_24_hours(
    old: Old, server: InProcess, clock: Clock
) -> None:
    clock.advance(DAY)
    for recorded in old.expected["duplicates"]:
        assert send(server, old, recorded)[0] == 201
    assert_consistent(old.file)


def test_migrated_store_takes_writes_searches_and_deletions(
    old: Old, server: InProcess, command: Commands
) -> None:
    tenant = Tenant(server.core, old.keys["default"])
    names = old.expected["names"]
    added = json_of(tenant.add(content="Written by a newer version: Timbuktu", tags=["ui"], ttl=DAY))
    batch = {"memories": [{"agent_id": "quiet", "content": f"More {n}"} for n in range(50)]}
    assert tenant.send("POST", MEMORIES, batch).status == 201
    assert tenant.send("DELETE", f"{MEMORIES}/{names['child']}").status == 204
    assert tenant.send("DELETE", MEMORIES, query="agent_id=polyglot").status == 200
    closed = tenant.send("PUT", f"/api/v1/sessions/{names['session open']}", {"status": "closed"})
    assert json_of(closed)["metadata"] == {"ticket": 4711, "tags": ["a", None, 1.5]}

    def found(text: str) -> list[str]:
        now = Tenant(server.core, tenant.key)
        answer = now.send("POST", "/api/v1/search", {"content_contains": text, "order": "asc"})
        return [memory["id"] for memory in json_of(answer)["results"]]

    assert found("timbuktu") == [added["id"]]
    assert found("What followed") == []
    assert found("Straße") == []
    assert found("What happened first") == [names["parent"]]
    server.restart()
    assert found("timbuktu") == [added["id"]]
    assert_consistent(old.file)
    assert command("check", "--store", old.url) == "The store is consistent.\n"


def test_check_finds_a_migrated_store_consistent(old: Old, command: Commands) -> None:
    assert command("check", "--store", old.url) == "The store is consistent.\n"


def test_index_of_a_migrated_store_is_rebuilt_in_the_background(old: Old, server: InProcess) -> None:
    def results() -> list[Any]:
        searches = [recorded for recorded in old.expected["reads"] if recorded["path"] == "/api/v1/search"]
        found = [send(server, old, recorded)[1]["results"] for recorded in searches]
        return [[(memory["id"], memory.get("score")) for memory in memories] for memories in found]

    before = results()
    server.store.tend()
    deadline = time.monotonic() + 60
    with closing(sqlite3.connect(old.file)) as store:
        assert store.execute("SELECT count(*) FROM memories").fetchone()[0] > 50
        while store.execute("SELECT count(*) FROM unindexed").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert results() == before
    assert_consistent(old.file)


def test_index_without_parts_of_names_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "memtrace.db"
    with monkeypatch.context() as older, InProcess(file) as server:
        older.setattr(analysis, "further_stems", lambda _: [])
        tenant = server.tenant()
        names = [json_of(tenant.add(content=f"{n} HTTPServer of Łódź"))["id"] for n in range(20)]
        long = json_of(tenant.add(content="HTTPServer " * 5_000))["id"]
        server.store.tend()
        wait_until(lambda: _rows(file, "unindexed") == 0)
        older.setattr(Indexer, "step", lambda _: False)
        older.setattr(Indexer, "drain", lambda _: None)
        for name in (names.pop(), long):
            assert tenant.send("DELETE", f"{MEMORIES}/{name}").status == 204
    with closing(sqlite3.connect(file)) as store, store:
        assert _rows(file, "leaving") == 2
        store.execute("DELETE FROM migrations WHERE name = '0021-parts-of-names'")

    with InProcess(file) as server:
        now = Tenant(server.core, tenant.key)

        def found(query: str) -> list[str]:
            results = json_of(now.send("POST", "/api/v1/search", {"query": query, "limit": 100}))["results"]
            return sorted(memory["id"] for memory in results)

        assert found("server") == names
        assert [_rows(file, table) for table in ("leaving", "texts")] == [0, 0]
        server.store.tend()
        wait_until(lambda: _rows(file, "unindexed") == 0)
        assert found("server") == found("lodz") == names
    assert_consistent(file)


def test_opening_a_migrated_store_again_changes_nothing(old: Old, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _open(old.url)
    first = _dump(old.file)
    assert [message for message in caplog.messages if "migrated" in message] == [
        "An older Memtrace wrote the store, which is migrated now; requests wait until then",
        "The store is migrated",
    ]
    caplog.clear()
    _open(old.url)
    assert _dump(old.file) == first
    assert not any("migrated" in message for message in caplog.messages)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(old: Old, command: Commands) -> None:
    with closing(sqlite3.connect(old.file)) as store:
        store.execute("INSERT INTO migrations (name, applied_at) VALUES ('9999-from-the-future', 0)")
        store.commit()
    before = old.file.read_bytes()
    refused = "newer than this .* and knows 9999-from-the-future; upgrade memtrace-sdk"
    for name in ("check", "vacuum"):
        assert re.search(refused, command.fail(name, "--store", old.url))
        assert command.printed == ""
    with pytest.raises(RuntimeError, match=refused), LiveServer(old.file.parent):
        pytest.fail("the server started")
    with Memtrace(old.url) as client, pytest.raises(APIConnectionError, match=refused):
        client.remember("a", "b")
    assert old.file.read_bytes() == before


def test_failing_step_leaves_the_store_as_it_was(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(old.url)
    before = old.file.read_bytes()
    step = """
    CREATE TABLE more (n INTEGER NOT NULL) STRICT;
    UPDATE agents SET description = 'changed';
    DROP TABLE labels;
    INSERT INTO more VALUES ('no number');
    """
    monkeypatch.setitem(migrations._STEPS, "9999-fails", step)  # noqa: SLF001 - the subject of the test
    with pytest.raises(sqlite3.IntegrityError):
        _open(old.url)
    assert old.file.read_bytes() == before

    # The corrected step is applied.
    mended = step.replace("'no number'", "1").replace("DROP TABLE labels;", "")
    monkeypatch.setitem(migrations._STEPS, "9999-fails", mended)  # noqa: SLF001
    _open(old.url)
    with closing(sqlite3.connect(old.file)) as store:
        assert store.execute("SELECT n FROM more").fetchall() == [(1,)]


def test_migration_applies_all_steps_or_none(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that no older process can write between two steps."""
    before = _dump(old.file)

    def fail(_: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(migrations._STEPS, "9999-fails", ("", fail))  # noqa: SLF001 - the subject of the test
        with pytest.raises(KeyboardInterrupt):
            _open(old.url)
    assert _dump(old.file) == before

    _open(old.url)
    assert_consistent(old.file)


def test_disk_too_full_for_a_step_is_reported_as_full(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(old.url)
    step = "INSERT INTO secrets VALUES (zeroblob(1000000));"  # when this fails, SQLite rolls everything back
    with closing(sqlite3.connect(old.file, isolation_level=None)) as store, monkeypatch.context() as patched:
        (pages,) = store.execute("PRAGMA page_count").fetchone()
        store.execute(f"PRAGMA max_page_count = {pages}")
        patched.setitem(migrations._STEPS, "9999-large", step)  # noqa: SLF001 - the subject of the test
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            migrations.migrate(store, times.now())
    _open(old.url)
    assert_consistent(old.file)


def test_one_of_several_processes_applies_each_step(old: Old) -> None:
    opening = [
        subprocess.Popen(
            [sys.executable, "-I", "-c", OPEN, old.url, SLOW_STEP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(AT_ONCE)
    ]
    for process in opening:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in opening:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in opening:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with closing(sqlite3.connect(old.file)) as store:
        assert store.execute("SELECT count(*), count(DISTINCT n) FROM more").fetchone() == (200_000, 200_000)
        steps = [name for (name,) in store.execute("SELECT name FROM migrations ORDER BY name")]
    assert steps == [*migrations._STEPS, "9999-more"]  # noqa: SLF001


def _open(url: str) -> None:
    with closing(open_store(url)) as store:
        store.write(lambda transaction: transaction.orgs())


def _rows(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as store:
        (count,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - a name of ours
    return int(count)


def _dump(file: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(file)) as store:
        sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        tables = dict(store.execute(sql).fetchall())
        return {
            sql: store.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608 - a name from SQLite
            for name, sql in tables.items()
        }


def test_store_of_this_version_can_be_made_for_later_tests(tmp_path: Path) -> None:
    """Run the command that docs/contributing.md describes."""
    make = [sys.executable, str(STORES / "make.py"), str(tmp_path)]
    subprocess.run(make, check=True, capture_output=True, timeout=300)

    last = max(migrations._STEPS)  # noqa: SLF001 - no public name has it
    assert {path.name for path in tmp_path.iterdir()} == {f"{last}.json", f"{last}.sqlite3"}
