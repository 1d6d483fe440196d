"""Every query finds what a plain list of memories would, whatever is added, forgotten or expires."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from durability.store_audit import assert_consistent

from memtrace import Memory, Memtrace, NotFoundError
from memtrace_server import times
from memtrace_server.search.ranking import BEST
from memtrace_server.store import open_store

SEEDS = range(20260, 20360 if os.environ.get("MEMTRACE_LONG") else 20262)  # one of each kind, at least
STEPS = 60
START = datetime(2026, 1, 10, tzinfo=UTC)

# The fields of a memory; `age` is its time in seconds before now.
FIELDS: Mapping[str, list[Any]] = {
    "agent_id": ["a", "a", "b"],
    "session_id": [None, "s", "t"],
    "memory_type": ["episodic", "episodic", "decision", "entity"],
    "event_type": ["general", "general", "error", "action"],
    "tags": [None, ["p"], ["q", "p"], ["error"]],
    "importance": [None, 0.0, 0.5, 0.7, 0.9, 1.0],
    "metadata": [None, {"n": 1}, {"n": True}, {"n": 1, "m": None}],
    "content": ["red apple", "green apple", "red", "Apple ÄPFEL", "pineapple"],
    "ttl": [None, None, None, 20, 30_000],
    "age": [None, None, None, 0, 10, 30_000, 60_000, 86_400],
}
# The filters of a list.
FILTERS: Mapping[str, list[Any]] = {
    "agent_id": ["a", "b"],
    "session_id": ["s", "t"],
    "memory_type": ["episodic", "decision", "entity"],
    "event_type": ["general", "error", "action"],
    "tags": [["p"], ["p", "q"], ["error"]],
    "since": [0, 10, 30_000, 86_400],
    "until": [0, 10, 30_000, 86_400],
}
# The filters that only a search has.
CONDITIONS: Mapping[str, list[Any]] = {
    "query": ["red", "apple", "red apple", "apple -red", "-apple", '"red apple"', "apfel", "apple !"],
    "content_contains": ["app", "APPLE", "e", "d a", "äpf", "nothing"],
    "min_importance": [0, 0.6, 0.7, 0.8],
    "metadata": [{"n": 1}, {"n": True}, {"m": None}, {}],
    "memory_types": [["decision"], ["decision", "episodic"], ["episodic"], []],
    "event_types": [["error"], ["error", "general"], ["general"], []],
}
IN_SEARCHES = {**{n: v for n, v in FILTERS.items() if n not in {"memory_type", "event_type"}}, **CONDITIONS}


class Run:
    """A client on a store, and a list of the memories that it should have."""

    def __init__(self, url: str, seed: int) -> None:
        self.client = Memtrace(url, max_retries=0)
        self.random = random.Random(seed)  # noqa: S311 - the same run for the same seed
        self.is_backfilled = seed % 2 == 0  # in an empty store, rows rise with times
        self.seconds = 0
        self.memories: list[Memory] = []
        self.stored = 0

    def tell_time(self) -> int:
        return times.parse(START.isoformat()) + self.seconds * times.SECOND

    def step(self) -> None:
        steps = [self.add, self.add, self.forget, self.wait, self.forget_all, self.delete_agent]
        self.random.choices(steps, [8, 8, 6, 4, 2, 1])[0]()
        for _ in range(3):
            self.compare_list()
            self.compare_search()
        self.compare_stats()

    def add(self) -> None:
        requests = []
        for _ in range(self.random.randint(1, 6)):
            memory = {name: self.random.choice(values) for name, values in FIELDS.items()}
            age = memory.pop("age")
            memory["time"] = self.moment(age) if age is not None and self.is_backfilled else None
            self.stored += 1
            requests.append({**memory, "dedup_key": f"unlike any other {self.stored}"})
        self.memories += self.client.add_memories(requests)

    def forget(self) -> None:
        matching = self.matching({})
        if matching:
            memory = self.random.choice(matching)
            self.client.forget(memory)
            self.memories.remove(memory)

    def forget_all(self) -> None:
        filters = self.choose(FILTERS, least=1)
        gone = self.matching(filters)
        assert self.client.forget_all(**self.named(filters)) == len(gone), filters
        self.memories = [memory for memory in self.memories if memory not in gone]

    def delete_agent(self) -> None:
        agent = self.random.choice(["a", "b"])
        try:
            self.client.delete_agent(agent, delete_memories=True)
        except NotFoundError:
            return
        self.memories = [memory for memory in self.memories if memory.agent_id != agent]

    def wait(self) -> None:
        self.seconds += self.random.choice([1, 10, 10, 20, 30_000])

    def compare_list(self) -> None:
        filters, order = self.choose(FILTERS), self.random.choice(["asc", "desc"])
        limit = self.random.randint(1, 9)
        found = self.client.iter_memories(**self.named(filters), order=order, page_size=limit)  # type: ignore[arg-type] # one of two
        assert list(found) == self.ordered(filters, order), (filters, order)

    def compare_search(self) -> None:
        filters = self.choose(IN_SEARCHES)
        order: Any = self.random.choice(["asc", "desc", "relevance"])
        limit = self.random.randint(1, 9)
        found = list(self.client.iter_search(**self.named(filters), order=order, page_size=limit))
        expected = self.ordered(filters, order)
        if order == "relevance" and "query" in filters and not filters["query"].startswith("-"):
            scores = [memory.score or 0.0 for memory in found]
            assert scores == sorted(scores, reverse=True), filters
            without = (msgspec.structs.replace(memory, score=None) for memory in found)
            found = sorted(without, key=position_of, reverse=True)
            if len(expected) > BEST:
                assert BEST <= len(found) < len(expected)
                expected = [memory for memory in expected if memory in found]
        assert found == expected, (filters, order)

    def compare_stats(self) -> None:
        for agent in ("a", "b"):
            memories = self.matching({"agent_id": agent})
            try:
                stats = self.client.get_agent_stats(agent)
            except NotFoundError:
                assert memories == []
                continue
            recent = [memory for memory in memories if memory.time >= self.moment(86_400)]
            assert stats.memory_types == Counter(memory.memory_type for memory in memories)
            assert stats.memory_count == len(memories)
            assert stats.memories_24h == len(recent)
            assert stats.errors_24h == sum(memory.event_type == "error" for memory in recent)

    def choose(self, possible: Mapping[str, list[Any]], *, least: int = 0) -> dict[str, Any]:
        names = self.random.sample(sorted(possible), self.random.randint(least, 3))
        return {name: self.random.choice(possible[name]) for name in names}

    def moment(self, seconds_ago: int) -> datetime:
        return START + timedelta(seconds=self.seconds - seconds_ago)

    def named(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same filters, as arguments of the client."""
        moments = {"since", "until"}
        return {name: self.moment(value) if name in moments else value for name, value in filters.items()}

    def ordered(self, filters: Mapping[str, Any], order: str) -> list[Memory]:
        return sorted(self.matching(filters), key=position_of, reverse=order != "asc")

    def matching(self, filters: Mapping[str, Any]) -> list[Memory]:
        """Return the memories that match and have not expired."""
        tests: dict[str, Callable[[Memory, Any], bool]] = {
            "memory_types": lambda m, wanted: not wanted or m.memory_type in wanted,
            "event_types": lambda m, wanted: not wanted or m.event_type in wanted,
            "tags": lambda m, wanted: set(wanted) <= set(m.tags or ()),
            "since": lambda m, ago: m.time >= self.moment(ago),
            "until": lambda m, ago: m.time < self.moment(ago),
            "min_importance": lambda m, least: m.importance is not None and m.importance >= least,
            "metadata": lambda m, wanted: all(
                name in (m.metadata or {}) and repr((m.metadata or {})[name]) == repr(value)
                for name, value in wanted.items()
            ),
            "content_contains": lambda m, piece: piece.casefold() in m.content.casefold(),
            "query": lambda m, query: has_words(m.content, query),
        }

        def is_wanted(memory: Memory, name: str, value: Any) -> bool:
            return tests[name](memory, value) if name in tests else bool(getattr(memory, name) == value)

        return [
            memory
            for memory in self.memories
            if (memory.expires_at is None or memory.expires_at > self.moment(0))
            and all(is_wanted(memory, name, value) for name, value in filters.items())
        ]


def position_of(memory: Memory) -> tuple[datetime, str]:
    return memory.time, memory.id or ""


def has_words(content: str, query: str) -> bool:
    words = f" {content} ".lower().replace("ä", "a")
    if query.startswith('"'):
        return f" {query[1:-1]} " in words
    terms = [term for term in query.split() if term != "!"]
    wanted = [f" {term} " in words for term in terms if not term.startswith("-")]
    unwanted = [f" {term[1:]} " in words for term in terms if term.startswith("-")]
    return (any(wanted) or not wanted) and not any(unwanted)


@pytest.fixture(params=SEEDS)
def run(request: pytest.FixtureRequest, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    run = Run(store_url, request.param)
    monkeypatch.setattr(times, "now", run.tell_time)
    monkeypatch.setattr(times, "uptime", run.tell_time)
    with run.client:
        yield run


@pytest.mark.both_stores
def test_every_query_finds_what_a_plain_list_would(run: Run, store_url: str, tmp_path: Path) -> None:
    for _ in range(STEPS):
        run.step()

    with closing(open_store(store_url)) as store:
        assert list(store.check()) == []
    if store_url.startswith("sqlite:"):
        assert_consistent(tmp_path / "memtrace.db")
