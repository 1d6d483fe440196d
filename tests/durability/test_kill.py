"""A server is killed during concurrent writes, again and again, on one store: nothing is lost."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from attrs import define, field
from durability.store_audit import Row, assert_consistent_at
from live import LiveServer

from memtrace import Memtrace
from memtrace_server import tenants, times
from memtrace_server.store import open_store

SEEDS = range(20260, 20290 if os.environ.get("MEMTRACE_LONG") else 20261)
PATIENCE = 60.0  # seconds
MEMORIES = "/api/v1/memories"
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "Straße,", "naïve", "and", "記憶の記録", "4711"]


@define
class Write:
    """A write, and its outcome.

    Attributes:
        api_key: The key of its tenant; None for the server's own, which differs after each start.
        body: The body of the request.
        contents: The contents that it stores; each is unique.
        forgets: The content that it deletes.
        path: The path of the request.
        once: Its Idempotency-Key.
        response: Status and body of the response; None without one.
    """

    api_key: str | None = None
    body: bytes = b""
    contents: Sequence[str] = ()
    forgets: str | None = None
    path: str = MEMORIES
    once: str | None = None
    response: tuple[int, bytes] | None = None

    def send(self, client: httpx.Client) -> tuple[int, bytes]:
        """Send the request, the first time or again."""
        headers = {"Content-Type": "application/json"} if self.body else {}
        headers |= {"x-api-key": self.api_key} if self.api_key else {}
        headers |= {"Idempotency-Key": self.once} if self.once else {}
        method = "DELETE" if self.forgets else "POST"
        response = client.request(method, self.path, content=self.body, headers=headers)
        return response.status_code, response.content

    @property
    def stored(self) -> list[dict[str, Any]]:
        """Return the memories of the response."""
        assert self.response is not None
        status, body = self.response
        assert status in {200, 201}, body
        decoded = msgspec.json.decode(body)
        return list(decoded["memories"]) if "memories" in decoded else [decoded]


@define
class Ledger:
    """Every write that was sent, and the number of responses."""

    writes: list[Write] = field(factory=list)
    responded: int = 0
    _changed: threading.Condition = field(factory=threading.Condition)

    def send(self, write: Write, client: httpx.Client) -> Write:
        """Send a write, and record its outcome."""
        self.writes.append(write)
        write.response = write.send(client)
        with self._changed:
            self.responded += 1
            self._changed.notify_all()
        return write

    def wait_for_responses(self, number: int) -> None:
        """Wait for a number of further responses."""
        with self._changed:
            target = self.responded + number
            assert self._changed.wait_for(lambda: self.responded >= target, PATIENCE)


@define
class Neighbour:
    """An embedded client on the same store.

    Attributes:
        stored: The ids of its memories, by content.
    """

    _url: str
    stored: dict[str, str] = field(factory=dict)
    _may_write: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    _is_over: bool = False

    def go_on(self) -> None:
        """Allow some more writes."""
        self._may_write.release(100)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write in a thread, whenever writes are allowed."""
        with ThreadPoolExecutor(1) as threads:
            writer = threads.submit(self._write)
            try:
                yield
            finally:
                self._is_over = True
                self._may_write.release()
                writer.result(PATIENCE)

    def _write(self) -> None:
        with Memtrace(self._url) as client:
            while self._may_write.acquire() and not self._is_over:
                content = f"neighbour {len(self.stored)}"
                memory = client.remember("neighbour", content)
                assert memory.id
                self.stored[content] = memory.id


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("store_url", "rounds", "has_neighbour"),
    [
        pytest.param("sqlite", 3, False, id="SQLite"),
        # The file is always open: the remains of killed processes are skipped rather than recovered.
        pytest.param("sqlite", 2, True, id="SQLite, beside an embedded client"),
        pytest.param("postgres", 2, True, id="PostgreSQL, beside an embedded client"),
    ],
    indirect=["store_url"],
)
def test_acknowledged_writes_survive_a_killed_server(
    tmp_path: Path, *, store_url: str, rounds: int, has_neighbour: bool, seed: int
) -> None:
    importer = _make_tenant(store_url)
    ledger = Ledger()
    dice = random.Random(seed)  # noqa: S311 - not a secret
    with ExitStack() as stack:
        neighbour = Neighbour(store_url)
        if has_neighbour:
            stack.enter_context(neighbour.writing())
        for number in range(rounds + 1):
            with LiveServer(tmp_path, store=store_url) as server:
                _assert_kept(store_url, ledger.writes, dict(neighbour.stored))
                _retry(server, ledger.writes, dice, is_first=not number)
                if number < rounds:
                    neighbour.go_on()
                    _kill_while_writing(server, ledger, importer, dice)
    _assert_kept(store_url, ledger.writes, neighbour.stored)
    assert all(write.response for write in ledger.writes)
    assert bool(neighbour.stored) == has_neighbour


def _kill_while_writing(server: LiveServer, ledger: Ledger, importer: str, dice: random.Random) -> None:
    def write_until_killed(work: Callable[[Ledger, httpx.Client, random.Random], None], seed: int) -> None:
        with _client(server) as client:
            try:
                while True:
                    work(ledger, client, random.Random(seed))  # noqa: S311
                    seed += 1
            except httpx.TransportError:
                pass

    def import_some(ledger: Ledger, client: httpx.Client, dice: random.Random) -> None:
        requests = [_request(dice) | {"time": _moment(dice)} for _ in range(dice.randint(3, 15))]
        ledger.send(_batch(dice, requests, importer), client)

    works = [
        _store_one, _store_one, _store_one, _store_many, _store_many, _store_and_forget, _store_and_supersede,
        import_some,
    ]  # fmt: skip
    with ThreadPoolExecutor(len(works)) as threads:
        writers = [threads.submit(write_until_killed, work, dice.getrandbits(64)) for work in works]
        try:
            ledger.wait_for_responses(dice.randint(5, 100))
        finally:
            server.kill()
        for writer in writers:
            writer.result(PATIENCE)


def _store_one(ledger: Ledger, client: httpx.Client, dice: random.Random) -> None:
    ledger.send(_single(dice), client)


def _store_many(ledger: Ledger, client: httpx.Client, dice: random.Random) -> None:
    ledger.send(_batch(dice, [_request(dice) for _ in range(dice.randint(2, 20))]), client)


def _store_and_forget(ledger: Ledger, client: httpx.Client, dice: random.Random) -> None:
    [memory] = ledger.send(_single(dice), client).stored
    path = f"{MEMORIES}/{memory['id']}"
    ledger.send(Write(path=path, forgets=memory["content"], once=_name(dice)), client)


def _store_and_supersede(ledger: Ledger, client: httpx.Client, dice: random.Random) -> None:
    [memory] = ledger.send(_single(dice), client).stored
    request = {"agent_id": memory["agent_id"], "content": _name(dice), "supersedes": memory["id"]}
    once = _name(dice) if dice.random() < 0.7 else None
    ledger.send(Write(body=msgspec.json.encode(request), contents=[request["content"]], once=once), client)


def _single(dice: random.Random) -> Write:
    request = _request(dice)
    once = _name(dice) if dice.random() < 0.7 else None
    return Write(body=msgspec.json.encode(request), contents=[request["content"]], once=once)


def _batch(dice: random.Random, requests: Sequence[dict[str, Any]], api_key: str | None = None) -> Write:
    once = _name(dice) if dice.random() < 0.7 else None
    if once is None:  # makes a repeated request return what was stored
        requests = [request | {"on_duplicate": "return"} for request in requests]
    body = msgspec.json.encode({"memories": requests})
    return Write(api_key=api_key, body=body, contents=[r["content"] for r in requests], once=once)


def _request(dice: random.Random) -> dict[str, Any]:
    request: dict[str, Any] = {
        "agent_id": f"agent_{dice.randrange(5)}",
        "content": " ".join([_name(dice), *dice.choices(WORDS, k=dice.randint(0, 8))]),
    }
    if dice.random() < 0.5:
        request["session_id"] = f"sess_{dice.randrange(20)}"
    if dice.random() < 0.5:
        request["tags"] = dice.choices(WORDS[:6], k=dice.randint(1, 3))
    if dice.random() < 0.3:
        request |= {"memory_type": "decision", "event_type": "decision", "metadata": {"reasoning": "none"}}
    if dice.random() < 0.3:
        request |= {"event_type": "error", "importance": round(dice.random(), 3), "ttl": 86_400}
    return request


def _moment(dice: random.Random) -> str:
    return times.render(times.parse("2020-01-01T00:00:00Z") + dice.randrange(1_000) * times.SECOND)


def _name(dice: random.Random) -> str:
    return f"{dice.getrandbits(80):020x}"


def _retry(server: LiveServer, writes: Sequence[Write], dice: random.Random, *, is_first: bool) -> None:
    """Send again all writes without a response, and some of the others."""
    lost = [write for write in writes if write.response is None]
    assert lost or is_first
    forgotten = {write.forgets for write in writes}
    done = [w for w in writes if w.response and w.once and not forgotten.intersection(w.contents)]
    with _client(server) as client:
        for write in lost:
            write.response = write.send(client)
            status, body = write.response
            if status == 409:  # already applied, without a key by which the server could tell
                assert write.once is None
                path = f"{MEMORIES}/{msgspec.json.decode(body)['existing_id']}"
                write.response = (201, client.get(path).content)
        for write in dice.sample(done, min(20, len(done))):
            assert write.send(client) == write.response


def _assert_kept(store_url: str, writes: Sequence[Write], neighbour: Mapping[str, str]) -> None:
    """Compare the store with all requests and responses."""
    rows = assert_consistent_at(store_url)
    if store_url.startswith("sqlite:"):
        _assert_order(store_url.removeprefix("sqlite:///"), rows)
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row.doc["content"]].append(row.doc)
    assert all(len(documents) == 1 for documents in found.values())
    forgotten = {write.forgets for write in writes if write.forgets}
    for write in writes:
        if write.forgets:
            assert write.response in {None, (204, b"")}
            assert write.response is None or write.forgets not in found
        elif write.response is None:
            assert sum(content in found for content in write.contents) in {0, len(write.contents)}
        else:
            assert [memory["content"] for memory in write.stored] == write.contents
            for memory in write.stored:
                assert found.get(memory["content"]) == [memory] or memory["content"] in forgotten
    for content, memory_id in neighbour.items():
        assert [memory["id"] for memory in found[content]] == [memory_id]
    superseded = {memory["supersedes"] for [memory] in found.values() if "supersedes" in memory}
    assert superseded == {row.doc["id"] for row in rows if row.is_superseded}
    sent = {content for write in writes for content in write.contents}
    assert all(content in sent or content.startswith("neighbour ") for content in found)


def _assert_order(file: str, rows: Sequence[Row]) -> None:
    """Check `in_order`, which is exact, as no late memory is forgotten here."""
    with closing(sqlite3.connect(file)) as store:
        for org, in_order in store.execute("SELECT number, in_order FROM orgs"):
            moments = [row.time for row in rows if row.org == org]
            assert bool(in_order) == all(earlier <= later for earlier, later in pairwise(moments))


def _make_tenant(store_url: str) -> str:
    with closing(open_store(store_url)) as store:
        return tenants.create_key(store, tenants.create_org(store, "importer").id, "writer", "")


def _client(server: LiveServer) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"x-api-key": server.key}, timeout=PATIENCE)
