"""Pages stay consistent while others write, forget and let expire: compared with a model in plain Python."""

from __future__ import annotations

import json
import os
import random
import re
import urllib.parse
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from attrs import define, field, frozen
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from helpers.clock import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memtrace_server import ids, tenants, times
from memtrace_server.core import Core
from memtrace_server.messages import Response
from memtrace_server.store import open_store

pytestmark = pytest.mark.both_stores

LONG = bool(os.environ.get("MEMTRACE_LONG"))
NOON = times.parse("2026-11-01T12:00:00Z")
ORGS = ["ours", "theirs"]
AGENTS = ["a", "b"]
SESSIONS = ["s", "t"]
TYPES = ["episodic", "decision", "entity"]
EVENTS = ["general", "error"]
TAGS = [["x"], ["y"], ["xy"], ["x", "y"]]
MOMENTS = [times.render(NOON + n * times.SECOND // 2) for n in range(-2, 4)]

Wanted = Mapping[str, Any]
Position = tuple[int, int]


@frozen(kw_only=True)
class Known:
    """A memory in the model; times in ns."""

    id: str
    seq: int
    org: str
    time: int
    expires_at: int | None
    doc: Mapping[str, Any]

    def matches(self, wanted: Wanted, now: int) -> bool:
        """Return whether the memory matches filters now."""
        doc = self.doc
        tests: dict[str, Callable[[Any], bool]] = {
            "agent_id": lambda value: doc["agent_id"] == value,
            "session_id": lambda value: doc.get("session_id") == value,
            "memory_type": lambda value: doc["memory_type"] == value,
            "event_type": lambda value: doc["event_type"] == value,
            "memory_types": lambda value: doc["memory_type"] in value,
            "event_types": lambda value: doc["event_type"] in value,
            "tags": lambda value: set(value) <= set(doc.get("tags", ())),
            "since": lambda value: self.time >= times.parse_point(value, now),
            "until": lambda value: self.time < times.parse_point(value, now),
            "min_importance": lambda value: doc.get("importance", -1) >= value,
            "metadata": lambda value: value.items() <= doc.get("metadata", {}).items(),
            "content_contains": lambda value: value.casefold() in doc["content"].casefold(),
            "query": self._answers,
        }
        return all(tests[name](value) for name, value in wanted.items())

    def _answers(self, query: str) -> bool:
        terms = re.findall(r'(-?)("?)([^"]+?)\2(?: |$)', query)
        wanted = [self._has(words) for minus, quote, words in terms if not minus and not quote]
        phrases = [self._has(words) for minus, quote, words in terms if not minus and quote]
        unwanted = [self._has(words) for minus, _, words in terms if minus]
        return (any(wanted) or not wanted) and all(phrases) and not any(unwanted)

    def _has(self, words: str) -> bool:
        return f" {words} " in f" {self.doc['content'].casefold()} "


@define(eq=False)
class Walk:
    """A reader who goes from page to page.

    Attributes:
        kind: The list that is read.
        wanted: The filters.
        cursor: That of the previous page.
        last: The position of the last memory so far.
        seen: The ids of all memories so far.
        due: The ids of the memories that matched at each step so far; by the end, all must have been seen.
        ranking: The ids that a ranked search found at its first page, best first.
    """

    org: str
    kind: str
    wanted: Wanted
    order: str | None
    limit: int
    cursor: str | None = None
    last: Position | None = None
    seen: set[str] = field(factory=set)
    due: set[str] | None = None
    ranking: list[str] | None = None

    @property
    def is_ranked(self) -> bool:
        """Return whether the results are ordered by relevance."""
        is_question = self.kind == "search" and not self.wanted.get("query", "-").startswith("-")
        return is_question and self.order in {None, "relevance"}

    def request(self, tenant: Tenant, **changed: object) -> Response:
        """Request the next page, or another one."""
        options = {"limit": self.limit, "order": self.order, "cursor": self.cursor}
        parameters = {n: v for n, v in {**self.wanted, **options, **changed}.items() if v is not None}
        if self.kind == "search":
            return tenant.send("POST", "/api/v1/search", parameters)
        path = MEMORIES
        for kind in ("agent", "session"):
            if self.kind == kind:
                path = f"/api/v1/{kind}s/{parameters.pop(f'{kind}_id')}/memories"
        texts = {n: ",".join(v) if isinstance(v, list) else v for n, v in parameters.items()}
        return tenant.send("GET", path, query=urllib.parse.urlencode(texts))

    def position(self, memory: Known) -> Position:
        """Return the position of a memory in this walk; positions increase on the way."""
        return (memory.time, memory.seq) if self.order == "asc" else (-memory.time, -memory.seq)

    def ahead(self, matching: Sequence[Known]) -> list[Known]:
        """Return the memories that are still to come."""
        left = [memory for memory in matching if self.last is None or self.position(memory) > self.last]
        return sorted(left, key=self.position)


def _some_of(least: int, most: int, **parts: Sequence[object]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a few fields, each with one of its values."""
    fields = [(name, value) for name, values in parts.items() for value in values]
    return st.lists(st.sampled_from(fields), min_size=least, max_size=most).map(dict)


_filters: dict[str, Sequence[object]] = {
    "agent_id": AGENTS,
    "session_id": SESSIONS,
    "tags": TAGS,
    "since": [MOMENTS[0], MOMENTS[2], "1s", "1m"],
    "until": [MOMENTS[2], MOMENTS[4], "1s"],
}
_list_filters = {**_filters, "memory_type": TYPES, "event_type": EVENTS}
_search_filters = {
    **_filters,
    "memory_types": [["decision"], ["episodic", "entity"]],
    "event_types": [["error"], ["general"], EVENTS],
    "min_importance": [0.0, 0.5],
    "metadata": [{"k": 1}],
    "content_contains": ["Gree", "red", "ed g", "b", "le", "green red"],
}
_queries = st.sampled_from(
    ["red", "red", "red", "green red", "red -blue", "-red", '"red green"', '-"red green"']
)
CONTENTS = ["red", "red green", "green red", "blue red red", "green", "green blue red green", "blue", "Green"]
FACTS: dict[str, Sequence[object]] = {
    "agent_id": ["b"],
    "session_id": SESSIONS,
    "memory_type": TYPES,
    "event_type": EVENTS,
    "tags": TAGS,
    "importance": [0.0, 0.5, 1.0],
    "metadata": [{"k": 1}, {"k": 2}],
    "time": MOMENTS,
    "ttl": [1, 5, 60],
}
_memories = st.builds(
    lambda content, facts: {"agent_id": "a", "content": content, **facts},
    st.sampled_from(CONTENTS),
    _some_of(0, 3, **FACTS),
)


class Readers(RuleBasedStateMachine):
    """Readers on their way while writers write and time passes."""

    walks: Bundle[Walk] = Bundle("walks")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(NOON)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(times, "now", lambda: self.clock.now)
        self.patch.setattr(times, "uptime", lambda: self.clock.uptime)
        self.store = open_store("sqlite://")
        core = Core(self.store)
        self.tenants = {
            name: Tenant(
                core, tenants.create_key(self.store, tenants.create_org(self.store, name).id, "admin", "")
            )
            for name in ORGS
        }
        self.known: list[Known] = []
        self.written = 0
        self.on_their_way: list[Walk] = []

    def teardown(self) -> None:
        """Let all walks run to their end."""
        try:
            for walk in list(self.on_their_way):
                while walk in self.on_their_way:
                    self._step(walk)
        finally:
            self.store.close()
            self.patch.undo()

    # --- writers

    @initialize(seed=st.integers(0, 1_000), number=st.sampled_from([0, 8, 30]))
    def begin_with_some(self, seed: int, number: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - much faster than drawing each from Hypothesis
        for org in ORGS if number else []:
            batch = []
            for content in dice.choices(CONTENTS, k=number):
                facts = {name: dice.choice(values) for name, values in FACTS.items() if dice.random() < 0.3}
                batch.append({"agent_id": "a", "content": content, **facts})
            self.store_many(org=org, batch=batch)

    @rule(org=st.sampled_from(ORGS), memory=_memories)
    def store_one(self, org: str, memory: dict[str, Any]) -> None:
        response = self.tenants[org].send("POST", MEMORIES, self._unlike_all_others(memory))
        assert response.status == 201, response.body
        self._learn(org, [json_of(response)])

    @rule(org=st.sampled_from(ORGS), batch=st.lists(_memories, min_size=1, max_size=8))
    def store_many(self, org: str, batch: list[dict[str, Any]]) -> None:
        body = {"memories": [self._unlike_all_others(memory) for memory in batch]}
        response = self.tenants[org].send("POST", MEMORIES, body)
        assert response.status == 201, response.body
        self._learn(org, json_of(response)["memories"])

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget_one(self, data: st.DataObject) -> None:
        memory = data.draw(st.sampled_from(self.known))
        response = self.tenants[memory.org].send("DELETE", f"{MEMORIES}/{memory.id}")
        assert response.status == (204 if self._is_there(memory) else 404)
        self.known.remove(memory)

    @rule(org=st.sampled_from(ORGS), wanted=_some_of(1, 2, **_list_filters))
    def forget_many(self, org: str, wanted: dict[str, Any]) -> None:
        texts = {n: ",".join(v) if isinstance(v, list) else v for n, v in wanted.items()}
        gone = self._matching(org, wanted)
        response = self.tenants[org].send("DELETE", MEMORIES, query=urllib.parse.urlencode(texts))
        assert (response.status, json_of(response)) == (200, {"deleted": len(gone)})
        self.known = [memory for memory in self.known if memory not in gone]

    @rule(seconds=st.sampled_from([1e-6, 0.5, 1, 5, 60, 600, 86_390]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- readers

    @rule(
        target=walks,
        org=st.sampled_from(ORGS),
        kind=st.sampled_from(["list", "agent", "session"]),
        agent_id=st.sampled_from(AGENTS),
        session_id=st.sampled_from(SESSIONS),
        wanted=_some_of(0, 2, **_list_filters),
        order=st.sampled_from([None, "asc", "desc"]),
        limit=st.integers(1, 4),
    )
    def begin_to_list(
        self, *, kind: str, agent_id: str, session_id: str, wanted: dict[str, Any], **options: Any
    ) -> Walk:
        of_path = {"agent": {"agent_id": agent_id}, "session": {"session_id": session_id}}.get(kind, {})
        return self._begin(Walk(kind=kind, wanted=wanted | of_path, **options))

    @rule(
        target=walks,
        org=st.sampled_from(ORGS),
        wanted=_some_of(0, 2, **_search_filters),
        order=st.sampled_from([None, "asc", "desc", "relevance"]),
        limit=st.integers(1, 4),
    )
    def begin_to_search(self, **options: Any) -> Walk:
        return self._begin(Walk(kind="search", **options))

    @rule(
        target=walks,
        org=st.sampled_from(ORGS),
        query=_queries,
        wanted=_some_of(0, 1, **_search_filters),
        order=st.sampled_from([None, "asc", "desc", "relevance"]),
        limit=st.integers(1, 3),
    )
    def begin_to_search_for_words(self, *, query: str, wanted: dict[str, Any], **options: Any) -> Walk:
        return self._begin(Walk(kind="search", wanted=wanted | {"query": query}, **options))

    @rule(walk=consumes(walks), target=walks)
    def go_on(self, walk: Walk) -> Any:
        if walk in self.on_their_way:
            self._step(walk)
        return walk if walk in self.on_their_way else multiple()

    @rule(walk=walks, at=st.integers(0, 200), change=st.integers(1, 255))
    def forge(self, walk: Walk, at: int, change: int) -> None:
        if walk.cursor is None:
            return
        signed = bytearray(urlsafe_b64decode(walk.cursor + "=" * (-len(walk.cursor) % 4)))
        signed[at % len(signed)] ^= change
        forged = urlsafe_b64encode(signed).rstrip(b"=").decode()
        assert walk.request(self.tenants[walk.org], cursor=forged).status == 404

    @rule(walk=walks)
    def go_on_in_another_organisation(self, walk: Walk) -> None:
        if walk.cursor is None:
            return
        [other] = set(ORGS) - {walk.org}
        assert walk.request(self.tenants[other]).status == 404

    @rule(walk=walks)
    def go_on_in_another_order(self, walk: Walk) -> None:
        if walk.cursor is None:
            return
        other = "desc" if walk.order == "asc" else "asc"
        assert walk.request(self.tenants[walk.org], order=other).status == 404

    @rule(org=st.sampled_from(ORGS), agent_id=st.sampled_from(AGENTS))
    def count(self, org: str, agent_id: str) -> None:
        response = self.tenants[org].send("GET", f"/api/v1/agents/{agent_id}/stats")
        found = self._matching(org, {"agent_id": agent_id})
        if response.status == 404:
            assert not found
            return
        stats = json_of(response)
        recent = [memory for memory in found if memory.time >= self.clock.now - times.DAY]
        assert stats["memory_count"] == len(found)
        assert stats["memory_types"] == Counter(memory.doc["memory_type"] for memory in found)
        assert stats["memories_24h"] == len(recent)
        assert stats["errors_24h"] == sum(memory.doc["event_type"] == "error" for memory in recent)

    # --- the model

    def _begin(self, walk: Walk) -> Walk:
        self.on_their_way.append(walk)
        return walk

    def _step(self, walk: Walk) -> None:
        if walk.is_ranked:
            self._step_ranked(walk)
            return
        response = walk.request(self.tenants[walk.org])
        matching = self._matching(walk.org, walk.wanted)
        ahead = walk.ahead(matching)
        if response.status == 404:
            assert walk.kind in {"agent", "session"}
            assert not matching
            self.on_their_way.remove(walk)
            return
        assert response.status == 200, response.body
        page = json_of(response)
        found = page["results" if walk.kind == "search" else "memories"]
        assert found == [memory.doc for memory in ahead[: walk.limit]]
        assert page["count"] == len(found)
        assert page["has_more"] == (len(ahead) > walk.limit) == ("next_cursor" in page)
        fresh = {memory["id"] for memory in found}
        assert not fresh & walk.seen
        walk.seen |= fresh
        still = {memory.id for memory in matching}
        walk.due = still if walk.due is None else walk.due & still
        if page["has_more"]:
            walk.last, walk.cursor = walk.position(ahead[walk.limit - 1]), page["next_cursor"]
        else:
            assert walk.due <= walk.seen
            self.on_their_way.remove(walk)

    def _step_ranked(self, walk: Walk) -> None:
        """Check that no page repeats or skips, though deletions change scores and so the order."""
        tenant = self.tenants[walk.org]
        matching = {memory.id: memory for memory in self._matching(walk.org, walk.wanted)}
        if walk.ranking is None:
            everything = json_of(walk.request(tenant, limit=1_000))["results"]
            walk.ranking = [memory["id"] for memory in everything]
            assert set(walk.ranking) == set(matching)
        left = [
            memory_id for memory_id in walk.ranking if memory_id in matching and memory_id not in walk.seen
        ]
        page = json_of(walk.request(tenant))
        found = [memory["id"] for memory in page["results"]]
        scores = [memory.pop("score") for memory in page["results"]]
        assert page["results"] == [matching[memory_id].doc for memory_id in found]
        assert scores == sorted(scores, reverse=True)
        assert set(found) <= set(left)
        assert len(found) == len(set(found)) == min(walk.limit, len(left))
        assert page["has_more"] == (len(left) > walk.limit) == ("next_cursor" in page)
        if not walk.seen:
            assert found == left[: walk.limit]
        walk.seen.update(found)
        walk.cursor = page.get("next_cursor")
        if not page["has_more"]:
            self.on_their_way.remove(walk)

    def _matching(self, org: str, wanted: Wanted) -> list[Known]:
        return [
            memory
            for memory in self.known
            if memory.org == org and self._is_there(memory) and memory.matches(wanted, self.clock.now)
        ]

    def _is_there(self, memory: Known) -> bool:
        return memory.expires_at is None or memory.expires_at > self.clock.now

    def _unlike_all_others(self, memory: dict[str, Any]) -> dict[str, Any]:
        self.written += 1
        return memory | {"content": f"{memory['content']} {self.written}"}

    def _learn(self, org: str, docs: Sequence[Mapping[str, Any]]) -> None:
        self.known += [
            Known(
                id=doc["id"],
                seq=ids.memory_seq(doc["id"]),
                org=org,
                time=times.parse(doc["time"]),
                expires_at=times.parse(doc["expires_at"]) if "expires_at" in doc else None,
                doc=doc,
            )
            for doc in docs
        ]


def test_pages_neither_repeat_nor_skip_nor_show_other_memories() -> None:
    run_state_machine_as_test(
        Readers,
        settings=settings(
            max_examples=3_000 if LONG else 40,
            stateful_step_count=50,
            deadline=None,
            database=None,
            print_blob=True,
        ),
    )


def test_search_keeps_its_order_after_the_newest_memory_is_forgotten(tenant: Tenant, clock: Clock) -> None:
    """Check the full-text index, which is read in its own order as long as rows increase with times."""
    first, second, third = (_stored(tenant, content=f"red {n}", clock=clock) for n in range(3))
    walk = Walk(org="", kind="search", wanted={"content_contains": "red"}, order="asc", limit=2)
    page = json_of(walk.request(tenant))
    assert [m["id"] for m in page["results"]] == [first["id"], second["id"]]
    for memory in (second, third):
        tenant.send("DELETE", f"{MEMORIES}/{memory['id']}")
    _stored(tenant, content="red, remembered late", time=first["time"], clock=clock)
    last = _stored(tenant, content="red 4", clock=clock)

    page = json_of(walk.request(tenant, cursor=page["next_cursor"]))

    assert [m["id"] for m in page["results"]] == [last["id"]]


def test_a_cursor_holds_over_a_restart(in_process: InProcess, clock: Clock) -> None:
    tenant = in_process.tenant()
    stored = [_stored(tenant, content=f"red {n}", clock=clock) for n in range(4)]
    walks = [Walk(org="", kind=kind, wanted={}, order="asc", limit=3) for kind in ("list", "search")]
    cursors = [json_of(walk.request(tenant))["next_cursor"] for walk in walks]

    in_process.restart()

    for walk, cursor in zip(walks, cursors, strict=True):
        page = json_of(walk.request(in_process.tenant(), cursor=cursor))
        assert page["results" if walk.kind == "search" else "memories"] == stored[3:]


@pytest.mark.parametrize("path", [MEMORIES, "/api/v1/sessions", "/api/v1/agents"])
@pytest.mark.parametrize(
    ("cursor", "status"),
    [
        ("", 400),
        ("a.b", 400),
        ("\0", 400),
        ("é", 400),
        ("9" * 1025, 400),
        ("x", 404),
        ("-1", 404),
        ("0" * 36, 404),
        ("AQ", 404),
        ("mem_" + "0" * 26, 404),
        ("9" * 1024, 404),
    ],
    ids=lambda value: str(value)[:20] or "empty",
)
def test_invalid_cursor_is_refused(tenant: Tenant, path: str, cursor: str, status: int) -> None:
    response = tenant.send("GET", path, query=urllib.parse.urlencode({"cursor": cursor}))

    assert response.status == status
    assert json_of(response)["code"] == ("unknown_cursor" if status == 404 else "invalid_request")
    assert [(d["field"], d["location"]) for d in json_of(response)["details"]] == [("cursor", "query")]


def test_invalid_cursor_of_a_search_is_located_in_the_body(tenant: Tenant) -> None:
    response = tenant.send("POST", "/api/v1/search", {"cursor": "x"})

    assert (response.status, json_of(response)["code"]) == (404, "unknown_cursor")
    assert [(d["field"], d["location"]) for d in json_of(response)["details"]] == [("cursor", "body")]


def test_a_cursor_continues_its_own_query_only(tenant: Tenant, clock: Clock) -> None:
    for n in range(2):
        _stored(tenant, content=f"red {n}", agent_id="a", session_id="s", tags=["x", "y"], clock=clock)
        tenant.send("POST", "/api/v1/agents", {"name": f"agent_{n}"})
        tenant.send("POST", "/api/v1/sessions", {"agent_id": "a"})
    searches: list[dict[str, Any]] = [
        {},
        {"query": "red"},
        {"query": "red", "order": "desc"},
        {"query": "red", "order": "asc"},
        {"content_contains": "red"},
        {"metadata": {}},
        {"agent_id": "a"},
    ]
    lists = ["", "agent_id=a", "session_id=s", "memory_type=episodic", "event_type=general", "order=asc"]
    lists += ["tags=x", "tags=y", "tags=x,y", "since=1d", "since=2d", "since=1970-01-01T00:00:00Z"]
    queries: list[tuple[str, str, str]] = [
        *((MEMORIES, "GET", text) for text in lists),
        *(("/api/v1/search", "POST", json.dumps(body)) for body in searches),
        *((f"/api/v1/{of}/memories", "GET", "") for of in ("agents/a", "sessions/s")),
        *(("/api/v1/sessions", "GET", text) for text in ("", "agent_id=a", "status=active")),
        ("/api/v1/agents", "GET", ""),
    ]

    def page(path: str, method: str, query: str, cursor: str | None = None) -> Response:
        options: dict[str, Any] = {"limit": 1} if cursor is None else {"limit": 2, "cursor": cursor}
        if method == "POST":
            return tenant.send(method, path, {**json.loads(query), **options})
        return tenant.send(method, path, query=f"{query}&{urllib.parse.urlencode(options)}".strip("&"))

    cursors = [json_of(page(*query))["next_cursor"] for query in queries]

    for at, query in enumerate(queries):
        statuses = [page(*query, cursor=cursor).status for cursor in cursors]
        assert statuses == [200 if at == of else 404 for of in range(len(cursors))], query


def test_the_longest_cursors_keep_to_the_contract(tenant: Tenant, clock: Clock) -> None:
    longest = "x" * 127
    for end in "ab":
        _stored(tenant, content="red", agent_id=longest + end, session_id=longest + end, clock=clock)
    for path in (MEMORIES, "/api/v1/sessions", "/api/v1/agents"):
        cursor = json_of(tenant.send("GET", path, query="limit=1"))["next_cursor"]
        assert tenant.send("GET", path, query=f"cursor={cursor}").status == 200
        assert len(cursor) < 300


@pytest.mark.parametrize("seed", range(100 if LONG else 5))
@pytest.mark.parametrize("name", ["agents", "sessions"])
def test_agents_and_sessions_come_in_order_while_others_write(
    tenant: Tenant, clock: Clock, name: str, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311
    expected: dict[str, tuple[Any, ...]] = {}
    written = 0

    def change() -> None:
        nonlocal written
        written += 1
        clock.advance(dice.choice([0, 0, 1]))
        if name == "sessions":
            answer = json_of(tenant.send("POST", "/api/v1/sessions", {"agent_id": dice.choice(AGENTS)}))
            expected[answer["id"]] = (answer["created_at"], answer["id"])
            tenant.send(
                "PUT", f"/api/v1/sessions/{dice.choice(list(expected))}", {"metadata": {"n": written}}
            )
        elif expected and dice.random() < 0.3:
            gone = dice.choice(list(expected))
            assert tenant.send("DELETE", f"/api/v1/agents/{gone}").status == 204
            del expected[gone]
        else:
            agent = f"agent_{dice.randrange(1_000)}"
            if tenant.send("POST", "/api/v1/agents", {"name": agent}).status == 201:
                expected[agent] = (agent,)

    for _ in range(20):
        change()
    for _ in range(5):
        query, last = {"limit": dice.randint(1, 7)}, None
        while True:
            in_order = sorted(expected, key=lambda n: expected[n], reverse=name == "sessions")
            positions = [expected[n] for n in in_order]
            ahead = [
                n
                for n, position in zip(in_order, positions, strict=True)
                if last is None or (position < last if name == "sessions" else position > last)
            ]
            page = json_of(tenant.send("GET", f"/api/v1/{name}", query=urllib.parse.urlencode(query)))
            assert [found["id"] for found in page[name]] == ahead[: query["limit"]]
            assert page["has_more"] == (len(ahead) > query["limit"]) == ("next_cursor" in page)
            if not page["has_more"]:
                break
            last, query["cursor"] = expected[page[name][-1]["id"]], page["next_cursor"]
            for _ in range(dice.randrange(4)):
                change()


def _stored(tenant: Tenant, *, clock: Clock, **memory: Any) -> dict[str, Any]:
    clock.advance(1)
    response = tenant.add(**memory)
    assert response.status == 201, response.body
    stored: dict[str, Any] = json_of(response)
    return stored
