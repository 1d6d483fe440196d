"""Writes that share a transaction have the same effects as alone, and none affects another."""

from __future__ import annotations

import os
import random
import re
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import frozen
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from durability.store_audit import assert_consistent
from helpers.clock import Clock
from server.writers import together

from memtrace_server.core import Exchange, Work, rendered
from memtrace_server.ids import memory_seq
from memtrace_server.messages import Response
from memtrace_server.store.protocol import Transaction, WantsOf
from memtrace_server.store.records import Key

PATIENCE = 60.0  # seconds
SEEDS = range(500 if os.environ.get("MEMTRACE_LONG") else 5)
ROUNDS, GROUP = 6, 25
AGENTS = ["a", "b", "c"]
STATE = {  # without random columns: a fingerprint depends on an id, an entry on the group
    "memories": "seq, org, agent_id, session_id, memory_type, event_type, time, created_at, expires_at,"
    " importance, supersedes, superseded_by, superseded_at, rest",
    "labels": "*",
    "agents": "org, id, is_registered, is_deleted, description, config, created_at",
    "sessions": "*",
    "duplicates": "org, seq, stored_at",
    "answers": "org, key, answered_at, status, body, location, memories",
}


@frozen
class Step:
    """A write.

    Attributes:
        target: The memory that the path names or the body supersedes, counted from the oldest.
        defect: Fails once the write is done.
    """

    method: str
    path: str
    body: Any = None
    query: str = ""
    once: str | None = None
    target: int = 0
    defect: Callable[[Transaction], None] | None = None

    def begin(self, tenant: Tenant, memories: Sequence[str]) -> Exchange:
        """Return the write up to the point at which the store takes over."""
        target = memories[self.target % len(memories)]
        body = msgspec.json.decode(msgspec.json.encode(self.body).replace(b"TARGET", target.encode()))
        path = self.path.format(target)
        return tenant.begin(self.method, path, body, query=self.query, once=self.once)

    def work(self, exchange: Exchange) -> Callable[[Transaction], Response]:
        """Return the work for the store."""
        todo = exchange.todo
        assert isinstance(todo, Work)
        assert todo.is_write

        def run(transaction: Transaction) -> Response:
            response = rendered(todo.run(transaction))
            if self.defect:
                self.defect(transaction)
            return response

        return run


@pytest.fixture(params=["sqlite", "postgres"])
def two_urls(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the URLs of two stores of one kind."""
    if request.param == "sqlite":
        return [f"sqlite:///{tmp_path / name}.db" for name in ("grouped", "alone")]
    make: Callable[[], str] = request.getfixturevalue("make_postgres_url")
    return [make(), make()]


@pytest.mark.parametrize("seed", SEEDS)
def test_group_has_the_effects_of_its_writes_one_by_one(two_urls: list[str], clock: Clock, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - not a secret
    files = [Path(url.removeprefix("sqlite:///")) for url in two_urls if url.startswith("sqlite:")]
    with InProcess(two_urls[0]) as grouped, InProcess(two_urls[1]) as alone:
        for server in (grouped, alone):
            server.tenant().add(content="the first")
        for _ in range(ROUNDS):
            clock.advance(dice.choice([0, 0.5, 2, 20_000]))
            steps = [_step(dice) for _ in range(GROUP)]
            assert _do_together(grouped, steps) == _do_one_by_one(alone, steps)
            for server in (grouped, alone):
                server.store.write(lambda _: None)  # it runs after the writer has tidied
            assert _listed(grouped) == _listed(alone)
            assert _statistics(grouped) == _statistics(alone)
            if files:
                assert _state(files[0]) == _state(files[1])
        for server in (grouped, alone):
            assert list(server.store.check()) == []
    for file in files:
        assert_consistent(file)


@pytest.mark.both_stores
def test_memory_forgotten_earlier_in_a_group_is_no_duplicate(in_process: InProcess) -> None:
    tenant = in_process.tenant()
    stored = json_of(tenant.add(content="hello"))
    steps = (
        Step("DELETE", f"{MEMORIES}/{stored['id']}"),
        Step("POST", MEMORIES, {"agent_id": "a", "content": "hello"}),
    )
    first, second = _do_together(in_process, steps)
    assert first.startswith("204")
    assert second.startswith("201")
    assert [memory["content"] for memory in tenant.memories()] == ["hello"]


@pytest.mark.both_stores
def test_duplicate_in_a_group_names_what_superseded_it_there(in_process: InProcess) -> None:
    tenant = in_process.tenant()
    stored = json_of(tenant.add(content="hello"))
    newer = {"agent_id": "a", "content": "goodbye", "supersedes": stored["id"]}
    same = {"agent_id": "a", "content": "hello", "on_duplicate": "return"}
    exchanges = [tenant.begin("POST", MEMORIES, {"memories": [body]}) for body in (newer, same)]
    works = [Step("POST", MEMORIES).work(exchange) for exchange in exchanges]
    outcomes = together(in_process.store, works, [_wants(exchange) for exchange in exchanges])
    [superseding], [duplicate] = (json_of(response)["memories"] for response, _ in outcomes)
    assert duplicate["id"] == stored["id"]
    assert duplicate["superseded_by"] == superseding["id"]


@pytest.mark.both_stores
def test_session_is_created_again_if_its_first_write_in_a_group_fails(in_process: InProcess) -> None:
    memory = {"agent_id": "a", "session_id": "s", "content": "hello", "on_duplicate": "store"}
    steps = [Step("POST", MEMORIES, memory, defect=defect) for defect in (_written, None)]

    first, second = _do_together(in_process, steps)

    assert (first[:3], second[:3]) == ("500", "201")
    tenant = in_process.tenant()
    assert tenant.send("GET", "/api/v1/sessions/s").status == 200
    assert tenant.send("GET", "/api/v1/agents/a").status == 200


def _do_together(server: InProcess, steps: Sequence[Step]) -> list[str]:
    memories = _memory_ids(server.tenant())
    exchanges = [step.begin(server.tenant(), memories) for step in steps]
    works = [step.work(exchange) for step, exchange in zip(steps, exchanges, strict=True)]
    return [
        _response_text(server, exchange, _checked(response, failure))
        for exchange, (response, failure) in zip(
            exchanges, together(server.store, works, [_wants(each) for each in exchanges]), strict=True
        )
    ]


def _wants(exchange: Exchange) -> WantsOf | None:
    assert isinstance(exchange.todo, Work)
    return exchange.todo.wants


def _do_one_by_one(server: InProcess, steps: Sequence[Step]) -> list[str]:
    memories = _memory_ids(server.tenant())
    responses = []
    for step in steps:
        exchange = step.begin(server.tenant(), memories)
        future: Future[Response] = Future()
        try:
            future.set_result(server.store.write(step.work(exchange)))
        except Exception as error:  # noqa: BLE001 - compared with the other's
            future.set_exception(error)
        responses.append(_response_text(server, exchange, _outcome(future)))
    return responses


def _outcome(future: Future[Response]) -> Response | Exception:
    error = future.exception(PATIENCE)
    return _checked(None if error else future.result(), error)


def _checked(response: Response | None, failure: BaseException | None) -> Response | Exception:
    outcome = response or failure
    assert isinstance(outcome, (Response, Exception))
    return outcome


def _response_text(server: InProcess, exchange: Exchange, outcome: Response | Exception) -> str:
    response = server.core.finish(exchange, outcome)
    return _without_id(f"{response.status} {response.headers.get('Location')} {response.body.decode()}")


def _without_chance(text: str) -> str:
    text = re.sub(r"mem_[0-9A-Z]{26}", lambda found: f"memory {memory_seq(found[0])}", text)
    return re.sub(r"(sess|req|org|key)_[0-9A-Z]{26}", r"\1", text)


def _without_id(text: str) -> str:
    """Return a text without ids: rows of repeated writes on PostgreSQL are later."""
    return _without_chance(re.sub(r"mem_[0-9A-Z]{26}", "memory", text))


def _listed(server: InProcess) -> list[str]:
    """Return all memories, with the position of each memory that they name."""
    memories = server.tenant().memories("limit=1000&include_superseded=true")
    positions = {memory["id"]: str(position) for position, memory in enumerate(memories)}
    texts = [msgspec.json.encode(memory).decode() for memory in memories]
    return [
        _without_chance(re.sub(r"mem_[0-9A-Z]{26}", lambda found: positions.get(found[0], "forgotten"), text))
        for text in texts
    ]


def _state(file: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(file)) as store:
        return {
            table: sorted(
                _without_chance(str(row))
                for row in store.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - constant
            )
            for table, columns in STATE.items()
        }


def _statistics(server: InProcess) -> list[str]:
    tenant = server.tenant()
    return [_without_chance(tenant.send("GET", f"/api/v1/agents/{a}/stats").body.decode()) for a in AGENTS]


def _memory_ids(tenant: Tenant) -> list[str]:
    memories = tenant.memories("limit=1000&include_superseded=true")
    return [memory["id"] for memory in memories] or ["mem_" + "0" * 26]


def _step(dice: random.Random) -> Step:
    agent = dice.choice(AGENTS)
    change = {"status": dice.choice(["active", "closed"]), "metadata": {"n": dice.choice([None, 2])}}
    kinds: dict[str, tuple[int, str, str, object, str]] = {
        "one": (45, "POST", MEMORIES, _memory(dice), ""),
        "batch": (20, "POST", MEMORIES, {"memories": [_memory(dice) for _ in range(dice.randint(1, 6))]}, ""),
        "forget": (15, "DELETE", MEMORIES + "/{}", None, ""),
        "forget all": (5, "DELETE", MEMORIES, None, dice.choice([f"agent_id={agent}&tags=x", "tags=y"])),
        "register": (5, "POST", "/api/v1/agents", {"name": agent, "description": dice.choice("xy")}, ""),
        "delete": (3, "DELETE", f"/api/v1/agents/{agent}", None, dice.choice(["", "delete_memories=true"])),
        "start": (3, "POST", "/api/v1/sessions", {"agent_id": agent, "metadata": {"n": 1}}, ""),
        "change": (4, "PUT", "/api/v1/sessions/s", change, ""),
    }
    [(_, method, path, body, query)] = dice.choices(
        list(kinds.values()), [kind[0] for kind in kinds.values()]
    )
    return Step(
        method,
        path,
        body,
        query,
        once=dice.choice([None, None, "k1", "k2", "k3"]),
        target=dice.randrange(100),
        defect=dice.choice([_mistake, _integrity, _written]) if dice.random() < 0.1 else None,
    )


def _memory(dice: random.Random) -> dict[str, Any]:
    values: dict[str, Sequence[object]] = {
        "session_id": ["s", "t"],
        "tags": [["x"], ["x", "y"]],
        "event_type": ["error"],
        "dedup_key": ["d1", "d2"],
        "time": ["2026-11-01T11:00:00Z", "2026-11-01T11:59:00Z"],
        "ttl": [1, 30_000],
        "importance": [0.9],
        "on_duplicate": ["return", "store"],
        "supersedes": ["TARGET"],
    }
    facts = {name: dice.choice(some) for name, some in values.items() if dice.random() < 0.2}
    if "ttl" in facts:
        facts.pop("supersedes", None)
    return {"agent_id": dice.choice(AGENTS), "content": f"red {dice.randrange(8)}", **facts}


def _mistake(_: Transaction) -> None:
    raise RuntimeError("a mistake, after something was written")


def _written(transaction: Transaction) -> None:
    transaction.agent(1, "a")  # writes pending rows before it reads
    raise RuntimeError("a mistake, after it was written")


def _integrity(transaction: Transaction) -> None:
    key = Key(id="key", org=1, org_id="", role="reader", name="", created_at=0, revoked_at=None)
    for _ in range(2):
        transaction.add_key(b"the same", key)
