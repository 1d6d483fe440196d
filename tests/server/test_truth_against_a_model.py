"""Reads are those of a plain list, whatever is added, superseded or forgotten, and however the clock goes."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from attrs import define
from durability.store_audit import assert_consistent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memtrace import ConflictError, Memory, Memtrace, NotFoundError
from memtrace_server import times
from memtrace_server.store import open_store

if TYPE_CHECKING:
    from helpers.postgres import Schemas

START = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
AGENTS = ["a", "b"]
TAGS = ["x", "y"]
UNKNOWN = "mem_01JD5P8E6W3M9V2QXA7RKB4TNC"

IS_LONG = bool(os.environ.get("MEMTRACE_LONG"))

moments = st.sampled_from([0, 1, 2, 5, 60, 3_600, 86_400, 200_000]).map(lambda s: timedelta(seconds=s))
requests = st.fixed_dictionaries(
    {"agent_id": st.sampled_from(AGENTS), "content": st.sampled_from(["red", "green"])},
    optional={
        "tags": st.lists(st.sampled_from(TAGS), unique=True),
        "importance": st.sampled_from([0.1, 0.9]),
        "memory_type": st.sampled_from(["episodic", "decision"]),
        "event_type": st.sampled_from(["general", "error"]),
        "session_id": st.just("s"),
        "dedup_key": st.sampled_from(["k", "l"]),
        "on_duplicate": st.sampled_from(["reject", "return", "store"]),
        "time": moments.map(lambda age: START - age),
    },
)


@define(eq=False)
class Known:
    """A memory in the model."""

    id: str
    request: dict[str, Any]
    number: int
    time: datetime
    created_at: datetime
    expires_at: datetime | None
    earliest: datetime  # latest time of the clock since it was stored
    latest: datetime
    highest: datetime  # latest time of the clock when it was stored
    supersedes: Known | None = None
    superseded_by: Known | None = None

    def identity(self) -> object:
        return identity(self.request)


def identity(request: dict[str, Any]) -> object:
    if "dedup_key" in request:
        return (request["agent_id"], request["dedup_key"])
    said = {"memory_type": "episodic", "event_type": "general", **request}
    said["tags"] = frozenset(said.get("tags", ()))
    return frozenset((name, value) for name, value in said.items() if name != "on_duplicate")


class _UnsureError(Exception):
    """The model cannot tell whether a memory is a duplicate, as that depends on what has been swept."""


class Machine(RuleBasedStateMachine):
    """Change a store and a list alike, and compare what is read of both."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.now = self.highest = START
        self.memories: list[Known] = []
        self.added = 0
        self.passed = timedelta()
        self._clock = patch.multiple(
            times,
            now=lambda: times.parse(self.now.isoformat()),
            uptime=lambda: self.passed // timedelta(microseconds=1) * 1_000,
        )
        self._clock.start()
        self.client = self._open()

    def teardown(self) -> None:
        self.client.close()
        self._clock.stop()
        with closing(open_store(self._url)) as store:
            assert list(store.check()) == []
        if self._url.startswith("sqlite:"):
            assert_consistent(Path(self._url.removeprefix("sqlite:///")))

    def _open(self) -> Memtrace:
        return Memtrace(self._url, max_retries=0)

    # --- changes

    @initialize(count=st.integers(0, 3))
    def begin(self, count: int) -> None:
        for number in range(count):
            self._add([{"agent_id": "a", "content": f"first {number}"}])

    @rule(request=requests, ttl=st.none() | st.sampled_from([3, 60, 100_000]))
    def remember(self, request: dict[str, Any], ttl: int | None) -> None:
        self._add([request if ttl is None else {**request, "ttl": ttl}])

    @rule(request=requests, data=st.data())
    def supersede(self, request: dict[str, Any], data: st.DataObject) -> None:
        self._add([{**request, "supersedes": self._choose_id(data)}])

    @rule(several=st.lists(requests, min_size=2, max_size=4), data=st.data())
    def add_a_batch(self, several: list[dict[str, Any]], data: st.DataObject) -> None:
        if data.draw(st.booleans(), label="supersede"):
            for request in several[: data.draw(st.integers(1, 2))]:
                request["supersedes"] = self._choose_id(data)
        self._add(several, is_batch=True)

    def _choose_id(self, data: st.DataObject) -> str:
        ids = [known.id for known in self.memories[-6:]]
        return data.draw(st.sampled_from([UNKNOWN, *ids] if not ids else [*ids, UNKNOWN]), label="older")

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.memories), label="forgotten")
        if self._is_alive(chosen):
            self.client.forget(chosen.id)
            self._remove(chosen)
        else:
            with pytest.raises(NotFoundError):
                self.client.forget(chosen.id)

    @rule(tag=st.sampled_from(TAGS))
    def forget_all(self, tag: str) -> None:
        there = [m for m in self.memories if self._is_alive(m) and tag in m.request.get("tags", ())]
        assert self.client.forget_all(tags=[tag]) == len(there)
        for known in there:
            self._remove(known)

    @rule(by=st.sampled_from([0.000001, 1, 2, 60, 3_600, 86_400, 86_401]))
    def wait(self, by: float) -> None:
        self.passed += timedelta(seconds=by)
        self._set(self.now + timedelta(seconds=by))

    @rule(by=st.sampled_from([1, 60, 3_600, 90_000]))
    def set_the_clock_back(self, by: float) -> None:
        # Expired memories may be swept at any time, so the clock is not set back before the end of one.
        ends = [m.expires_at for m in self.memories if m.expires_at and m.expires_at <= self.now]
        self._set(max(START, self.now - timedelta(seconds=by), *ends))

    @rule(by=st.sampled_from([1, 60, 3_600, 90_000]))
    def set_the_clock_ahead(self, by: float) -> None:
        self._set(self.now + timedelta(seconds=by))

    def _set(self, now: datetime) -> None:
        self.now = now
        self.highest = max(self.highest, now)
        for known in self.memories:
            known.earliest = min(known.earliest, now)
            known.latest = max(known.latest, now)

    @rule()
    def reopen(self) -> None:
        self.client.close()
        self.client = self._open()

    # --- reads

    @rule(
        as_of=st.none() | moments,
        include_superseded=st.booleans(),
        filters=st.fixed_dictionaries(
            {},
            optional={
                "agent_id": st.sampled_from(AGENTS),
                "tags": st.sampled_from([["x"], ["y", "x"]]),
                "event_type": st.just("error"),
                "memory_type": st.just("decision"),
                "session_id": st.just("s"),
            },
        ),
        order=st.sampled_from(["asc", "desc"]),
        page_size=st.integers(1, 5),
    )
    def read(
        self,
        *,
        as_of: timedelta | None,
        include_superseded: bool,
        filters: dict[str, Any],
        order: Any,
        page_size: int,
    ) -> None:
        known = self._seen(as_of, include_superseded=include_superseded, **filters)
        shown: dict[str, Any] = {"include_superseded": include_superseded, "order": order}
        if as_of is not None:
            shown["as_of"] = self.now - as_of
        found = list(self.client.iter_memories(**filters, **shown, page_size=page_size))
        expected = sorted(known, key=lambda m: (m.time, m.number), reverse=order == "desc")
        self._compare(found, expected, as_of, include_superseded=include_superseded)

        plural = {"event_type": "event_types", "memory_type": "memory_types"}
        conditions: dict[str, Any] = {
            plural.get(name, name): [value] if name in plural else value for name, value in filters.items()
        }
        red = [m for m in expected if "red" in m.request["content"]]
        found = list(self.client.iter_search(query="red", **conditions, **shown, page_size=page_size))
        self._compare(found, red, as_of, include_superseded=include_superseded)

        if "memory_types" in conditions:
            conditions["include_types"] = conditions.pop("memory_types")
        del shown["order"]
        agents = [conditions.pop("agent_id")] if "agent_id" in filters else AGENTS
        for agent in agents:
            of_agent = {m.id for m in known if m.request["agent_id"] == agent}
            try:
                context = self.client.get_agent_context(agent, max_tokens=100_000, **conditions, **shown)
            except NotFoundError:
                assert not of_agent
            else:
                assert set(context.memory_ids or ()) == of_agent

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self.memories), label="memory")
        if not self._is_alive(known):
            with pytest.raises(NotFoundError):
                self.client.get_memory(known.id)
        else:
            self._compare([self.client.get_memory(known.id)], [known], None, include_superseded=True)

    @invariant()
    def statistics_are_right(self) -> None:
        for agent in AGENTS:
            there = [m for m in self.memories if m.request["agent_id"] == agent and self._is_alive(m)]
            try:
                stats = self.client.get_agent_stats(agent)
            except NotFoundError:
                assert not there
                continue
            types = Counter(m.request.get("memory_type", "episodic") for m in there)
            assert (stats.memory_count, stats.memory_types) == (len(there), types)

    # --- the model

    def _is_alive(self, known: Known, moment: datetime | None = None) -> bool:
        is_ended = known.expires_at is not None and known.expires_at <= max(self.now, moment or self.now)
        return known in self.memories and not is_ended

    def _seen(self, as_of: timedelta | None, *, include_superseded: bool, **filters: Any) -> Sequence[Known]:
        moment = None if as_of is None else self.now - as_of
        return [
            known
            for known in self.memories
            if self._is_alive(known, moment)
            and (moment is None or known.created_at <= moment)
            and (include_superseded or self._newer(known, moment) is None)
            and all(self._matches(known, name, value) for name, value in filters.items())
        ]

    def _newer(self, known: Known, moment: datetime | None) -> Known | None:
        newer = known.superseded_by
        return newer if newer and (moment is None or newer.created_at <= moment) else None

    def _matches(self, known: Known, name: str, value: Any) -> bool:
        has = {"event_type": "general", "memory_type": "episodic", "tags": (), **known.request}.get(name)
        return set(value) <= set(has or ()) if name == "tags" else has == value

    def _compare(
        self,
        found: Sequence[Memory],
        expected: Sequence[Known],
        as_of: timedelta | None,
        *,
        include_superseded: bool,
    ) -> None:
        moment = None if as_of is None else self.now - as_of
        assert [memory.id for memory in found] == [known.id for known in expected]
        for memory, known in zip(found, expected, strict=True):
            newer = self._newer(known, moment) if include_superseded else None
            assert memory.superseded_by == (newer.id if newer else None)
            assert (memory.content, memory.time) == (known.request["content"], known.time)
            assert (memory.created_at, memory.expires_at) == (known.created_at, known.expires_at)
            assert memory.supersedes == known.request.get("supersedes")

    def _add(self, several: list[dict[str, Any]], *, is_batch: bool = False) -> None:
        try:
            expected = self._decide(several)
        except _UnsureError:
            return
        add = self.client.add_memories if is_batch else lambda several: [self.client.add_memory(*several)]
        if isinstance(expected, str):
            with pytest.raises((ConflictError, NotFoundError)) as refused:
                add(several)
            assert refused.value.code == expected
            return
        found = add(several)
        for memory, request, known in zip(found, several, expected, strict=True):
            if isinstance(known, Known):
                assert memory.id == known.id
            elif known is None:
                self._take(memory, request)
            else:  # an earlier one of the batch
                assert memory.id == found[known].id

    def _decide(self, several: list[dict[str, Any]]) -> str | list[Known | int | None]:
        """Return an error code, or for each request its first memory, an earlier index, or None if new."""
        outcome: list[Known | int | None] = []
        fresh: dict[object, int] = {}
        superseded: set[str] = set()
        rejected = False
        for index, request in enumerate(several):
            choice = request.get("on_duplicate") or ("reject" if "dedup_key" in request else "store")
            key = identity(request)
            first = None if choice == "store" else self._first(key, fresh)
            if first is not None:
                rejected = rejected or choice == "reject"
                outcome.append(first)
                continue
            if "supersedes" in request:
                older = next((m for m in self.memories if m.id == request["supersedes"]), None)
                if older is None or not self._is_alive(older):
                    return "not_found"
                if older.request["agent_id"] != request["agent_id"]:
                    return "not_found"
                if older.superseded_by or older.id in superseded:
                    return "already_superseded"
                superseded.add(older.id)
            fresh.setdefault(key, index)
            outcome.append(None)
        return "duplicate_memory" if rejected else outcome

    def _first(self, key: object, fresh: dict[object, int]) -> Known | int | None:
        for known in self.memories:
            if known.identity() != key or not self._is_alive(known):
                continue
            # A memory stored while the clock was ahead or behind is dated back later, and one that was older
            # than a day may have been swept.
            if known.earliest >= known.latest - DAY:
                return known
            if known.highest >= self.now - DAY:
                raise _UnsureError
        return fresh.get(key)

    def _take(self, memory: Memory, request: dict[str, Any]) -> None:
        assert memory.id
        ttl = request.get("ttl")
        known = Known(
            id=memory.id,
            request=request,
            number=self.added,
            time=request.get("time", self.now),
            created_at=self.now,
            expires_at=None if ttl is None else self.now + timedelta(seconds=ttl),
            earliest=self.now,
            latest=self.now,
            highest=self.highest,
        )
        self.added += 1
        if "supersedes" in request:
            known.supersedes = next(m for m in self.memories if m.id == request["supersedes"])
            known.supersedes.superseded_by = known
        self.memories.append(known)

    def _remove(self, known: Known) -> None:
        self.memories.remove(known)
        older, newer = known.supersedes, known.superseded_by
        if older is not None:
            older.superseded_by = newer
        if newer is not None:
            newer.supersedes = older


NewMachine = tuple[Callable[[], Machine], int]


@pytest.fixture(params=["sqlite", "postgres"])
def new_machine(request: pytest.FixtureRequest, tmp_path: Path) -> NewMachine:
    """Return a function that makes machines, each with an empty store, and the number of examples."""
    if request.param == "sqlite":
        return lambda: Machine(f"sqlite:///{tmp_path / secrets.token_hex()}.db"), 25
    schemas: Schemas = request.getfixturevalue("postgres_schemas")
    return lambda: PostgresMachine(schemas), 6  # each takes four times as long


class PostgresMachine(Machine):
    """The same on PostgreSQL, whose tables are reused."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._schema = schemas.take()
        super().__init__(schemas.url_of(self._schema))

    def teardown(self) -> None:
        super().teardown()
        self._schemas.give_back(self._schema)


def test_reads_are_those_of_a_plain_list(new_machine: NewMachine) -> None:
    new, number = new_machine
    run_state_machine_as_test(
        new,  # type: ignore[arg-type] # any callable will do
        settings=settings(
            max_examples=500 if IS_LONG else number,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
