"""No request makes SQLite scan a whole table: EXPLAIN QUERY PLAN of each statement that a request reaches."""

from __future__ import annotations

import itertools
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest

from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import (
    Agent,
    Answer,
    AuditEntry,
    Direction,
    Filter,
    Found,
    Key,
    NewMemory,
    Session,
    Term,
    Words,
)
from memtrace_server.store.sqlite import migrations, queries
from memtrace_server.store.sqlite.transaction import SqliteTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ORG, NOW = 1, 10**18

# The values of each field of a Filter, as far as the SQL depends on them.
FIELDS: dict[str, Sequence[Any]] = {
    "agent_id": (None, "a"),
    "session_id": (None, "s"),
    "memory_types": ((), ("episodic",), ("decision",), ("decision", "entity")),
    "event_types": ((), ("general",), ("error",), ("error", "action")),
    "tags": ((), ("x",), ("x", "y")),
    "since": (None, 1),
    "until": (None, 2),
    "min_importance": (None, 0.5, 0.7),
    "is_important": (False, True),
    "metadata": (None, {"a": 1}),
    "contains": (None, "ab", "abc"),
    "words": (
        None,
        Words(stems=["x"]),
        Words(stems=["x", "y"], phrases=[["x", "y"]], unwanted=[["y"]]),
        Words(stems=["x"], unwanted=[["y"]]),
        Words(unwanted=[["y"]]),
    ),
}
# Fields that select the index that is walked, unless the full-text index is.
CHOOSING = (
    "agent_id", "session_id", "memory_types", "event_types", "tags", "since", "until", "min_importance",
    "is_important",
)  # fmt: skip
# An order, a cursor, and whether the organisation's entries rise with times. Their effects are independent of
# the rest, so pairs suffice.
PAGES: Sequence[tuple[Direction, tuple[int, int] | None, bool]] = (
    ("desc", None, True),
    ("asc", (1, 1), True),
    ("desc", (1, 1), False),
)
FULLTEXT = re.compile(r"SCAN \w+ VIRTUAL TABLE INDEX \d+:\S*(M\d|=)")  # matched, or looked up by its row
# A walk of an index that is bounded by the organisation alone reads all of the organisation.
LOOKUP = re.compile(
    r"SEARCH \w+ USING (?!.* memories_by_\w+ \(org=\?\))(INTEGER PRIMARY KEY \(|.*?\((org|digest|seq)=\?)"
)
# Some tables have one row, `u` has a bounded number, and `p` is a page. Orgs and keys are few, and only the
# command line lists them; of the rest, a sweep takes the oldest few.
KNOWN = re.compile(
    r"SCAN (secrets|audit|u|p|orgs|keys|k|o|(\d+ )?CONSTANT ROWS?|sqlite_sequence|f|\(subquery-\d+\))( |$)"
    r"|REUSE SUBQUERY|COMPOUND QUERY|LEFT-MOST SUBQUERY|MERGE \(UNION ALL\)|LEFT$|RIGHT$"
    r"|SCAN (j|json_each) VIRTUAL TABLE"  # of few values
    r"|SEARCH (keys|orgs|o) USING "
    r"|SEARCH \w+ USING (COVERING )?INDEX (memories_by_end|\w+_by_age) \("
    r"|SEARCH duplicates USING PRIMARY KEY \(\(org,fingerprint,seq\)>\(\?,\?,\?\)\)$"  # of the next few
    r"|SEARCH memories USING COVERING INDEX memories_by_entry \(org=\?\)$"  # the last entry
    r"|(LIST|CORRELATED SCALAR|SCALAR|CORRELATED LIST) SUBQUERY|USE TEMP B-TREE|(CO-ROUTINE|MATERIALIZE) "
    r"|USING ROWID SEARCH ON TABLE m FOR IN-OPERATOR|MULTI-INDEX OR"
)


TERMS = [Term(stem="hello", weight=2.0, count=1), Term(stem="there", weight=1.0, count=9_000)]
SEARCHES = [
    Filter(),
    Filter(agent_id="a", session_id="s", tags=["x"], since=1, until=9, contains="hell"),
    Filter(include_superseded=True, as_of=5),
    Filter(words=Words(phrases=[["hello"]], unwanted=[["there"]])),
]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Return an empty database with the schema and one organisation."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.create_function("matches", 2, queries.matches, deterministic=True)
        connection.create_function("contains", 2, queries.contains, deterministic=True)
        connection.create_function("has_words", 2, queries.has_words, deterministic=True)
        migrations.migrate(connection, NOW)
        SqliteTransaction(connection).add_org("org_1", "one", NOW)
        yield connection


def plan(database: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> list[str]:
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def walks_a_table(step: str) -> bool:
    return not (FULLTEXT.match(step) or LOOKUP.match(step) or KNOWN.match(step))


def test_walks_a_table_distinguishes_a_walk_from_a_lookup(database: sqlite3.Connection) -> None:
    def walks(sql: str) -> bool:
        return any(map(walks_a_table, plan(database, sql)))

    assert walks("SELECT * FROM memories")
    assert walks("SELECT count(*) FROM memories")
    assert walks("SELECT * FROM memories WHERE importance = 1")
    assert walks("SELECT * FROM words_1")
    assert walks("SELECT label FROM labels WHERE label = 'x'")
    assert not walks("SELECT * FROM words_1 WHERE words_1 MATCH 'x'")
    assert walks("SELECT max(time) FROM memories WHERE org = 1")
    assert not walks("SELECT * FROM memories WHERE org = 1 AND is_superseded = 0 AND time > 5")


def filters() -> Iterator[Filter]:
    """Yield filters with every index, and with every pair of values; the other fields unset, and all set."""
    unset = {name: values[0] for name, values in FIELDS.items()}
    every = {name: values[-1] for name, values in FIELDS.items()}
    for values in itertools.product(*(FIELDS[name] for name in CHOOSING)):
        chosen = dict(zip(CHOOSING, values, strict=True))
        for base in (unset, every | {"contains": "ab"}):  # too short for a lookup
            yield Filter(**base | chosen)
    for one, other in itertools.combinations(FIELDS, 2):
        for pair in itertools.product(FIELDS[one], FIELDS[other]):
            for base in (unset, every):
                yield Filter(**base | dict(zip((one, other), pair, strict=True)))


def test_a_page_of_any_filter_walks_no_table_and_sorts_only_matches(
    database: sqlite3.Connection,
) -> None:
    seen: set[str] = set()
    wrong: list[tuple[str, list[str]]] = []
    for wanted in filters():
        for order, after, in_order in PAGES:
            query = queries.page(ORG, wanted, NOW, order=order, limit=10, after=after, in_order=in_order)
            if query.sql in seen:
                continue
            seen.add(query.sql)
            steps = plan(database, query.sql, query.values)
            is_sorted = any("USE TEMP B-TREE" in step for step in steps)
            if any(map(walks_a_table, steps)) or (is_sorted and (in_order or "MATCH" not in query.sql)):
                wrong.append((query.sql, steps))
        if wrong:
            break
    assert not wrong
    assert len(seen) > len(FIELDS)


@pytest.mark.parametrize("include_superseded", [False, True], ids=["hidden", "included"])
@pytest.mark.parametrize("as_of", [None, 5], ids=["now", "as of"])
def test_a_page_with_superseded_memories_walks_indexes_in_order(
    database: sqlite3.Connection, as_of: int | None, *, include_superseded: bool
) -> None:
    filters = [{}, *({name: value} for name, values in FIELDS.items() for value in values[1:])]
    filters += [one | {"agent_id": "a"} for one in filters] + [
        one | {"since": 1, "until": 2} for one in filters
    ]
    for chosen in filters:
        wanted = Filter(**chosen, as_of=as_of, include_superseded=include_superseded)
        for order, after, in_order in PAGES:
            query = queries.page(ORG, wanted, NOW, order=order, limit=10, after=after, in_order=in_order)
            steps = plan(database, query.sql, query.values)
            assert not any(map(walks_a_table, steps)), (query.sql, steps)
            if "MATCH" not in query.sql:
                walked = [step for step in steps if re.match(r"SEARCH [ml] USING (COVERING )?INDEX", step)]
                assert all(re.search(r"is_superseded=\?|superseded_at>\?", step) for step in walked), walked
                # Only memories superseded since then are sorted.
                is_sorted = any("USE TEMP B-TREE" in step for step in steps)
                assert is_sorted == any("superseded_at>?" in step for step in walked), (query.sql, steps)


@pytest.mark.parametrize(
    "chosen",
    [{}, {"agent_id": "a"}, {"session_id": "s"}, {"until": 2}],
    ids=["all", "agent", "session", "time"],
)
def test_memories_superseded_since_are_sorted_without_their_rows(
    database: sqlite3.Connection, chosen: dict[str, Any]
) -> None:
    query = queries.page(ORG, Filter(**chosen, as_of=5), NOW, order="desc", limit=10)
    steps = plan(database, query.sql, query.values)
    assert any(step.startswith("SEARCH m USING COVERING INDEX memories_superseded") for step in steps), steps


@pytest.mark.parametrize("agent_id", [None, "a"], ids=["of-all", "of-an-agent"])
@pytest.mark.parametrize("is_active", [True, False], ids=["active", "closed"])
def test_a_page_of_sessions_of_a_status_passes_no_others(
    database: sqlite3.Connection, agent_id: str | None, *, is_active: bool
) -> None:
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    SqliteTransaction(database).sessions(ORG, agent_id=agent_id, is_active=is_active, after=None, limit=10)
    database.set_trace_callback(None)

    (asked,) = [sql for sql in statements if "FROM sessions" in sql]
    name = f"sessions_{'active' if is_active else 'closed'}{'_by_agent' if agent_id else ''}"
    (step,) = plan(database, asked)
    assert step.startswith(f"SEARCH sessions USING INDEX {name} (")


def test_no_other_statement_of_a_request_walks_a_table(database: sqlite3.Connection) -> None:
    statements: set[str] = set()
    database.set_trace_callback(statements.add)
    called = call_everything(SqliteTransaction(database))
    database.set_trace_callback(None)

    assert called >= {name for name in vars(Transaction) if not name.startswith("_")}
    ours = {sql for sql in statements if not sql.startswith(("--", "CREATE"))}  # "--": FTS5's own
    wrong = {sql: steps for sql in ours if any(map(walks_a_table, steps := plan(database, sql)))}
    assert not wrong


def call_everything(transaction: SqliteTransaction) -> set[str]:
    """Call each method of a transaction so that it runs all of its statements."""
    memory = NewMemory(
        seq=NOW, agent_id="a", session_id="s", memory_type="decision", event_type="error", time=5,
        importance=None, created_at=NOW, expires_at=NOW - 1, tags=["x"],
        id=f"mem_{1:026}", rest='{"content": "hello", "tags": ["x"]}',
    )  # fmt: skip
    session = Session(id="t", agent_id="a", metadata=None, created_at=1, updated_at=1, closed_at=None)
    agent = Agent(
        id="c", is_registered=True, description=None, config=None, created_at=1, last_active_at=None
    )
    key = Key(id="k", org=ORG, org_id="org_1", role="admin", name="", created_at=1, revoked_at=None)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("secret", (), {}),
        ("orgs", (), {}),
        ("add_org", ("org_2", "two", NOW), {}),
        ("add_key", (b"d", key), {}),
        ("key", (b"d",), {}),
        ("keys", (), {}),
        ("expire_key", ("k", NOW), {}),
        ("note_key_use", ("k", NOW), {}),
        ("revoke_key", ("k", NOW), {}),
        ("record", (AuditEntry(at=NOW, actor="k", org_id=None, action="key.created", details={}),), {}),
        ("audit", (), {}),
        ("next_seq", (NOW,), {}),
        ("add_memories", (ORG, [(b"f", memory)], NOW), {}),
        ("originals", (ORG, [b"f", b"g"], 0, NOW), {}),
        ("tail", (ORG, Filter(), NOW), {"after": 0, "limit": 9}),
        ("memory_ids", (ORG, [NOW]), {}),
        ("import_memories", (ORG, [msgspec.structs.replace(memory, seq=NOW + 7)], NOW), {}),
        ("import_agents", (ORG, [agent]), {}),
        ("import_sessions", (ORG, [attrs.evolve(session, id="u")]), {}),
        ("memories", (ORG, [NOW], Filter(include_superseded=True)), {}),
        ("count_memories", (ORG,), {}),
        ("count_terms", (ORG, ["hello"]), {}),
        *(("unindexed", (ORG, wanted, NOW, 2 * NOW), {}) for wanted in SEARCHES),
        *(("count_unsearched", (ORG, wanted), {}) for wanted in SEARCHES),
        *(("candidates", (ORG, wanted, NOW, TERMS), {"before": 2 * NOW, "limit": 9}) for wanted in SEARCHES),
        ("following", (ORG, Filter(), NOW, [Found(seq=NOW, time=5, doc="")], 2 * NOW), {}),
        ("keep_answer", (ORG, "k", Answer(request=b"", status=201), NOW), {}),
        ("answer", (ORG, "k", 0), {}),
        ("page", (ORG, Filter(), NOW), {"order": "asc", "limit": 1}),
        ("last_seq", (ORG,), {}),
        ("tail_end", (ORG,), {}),
        ("tail", (ORG, Filter(agent_id="a"), NOW), {"after": 0, "limit": 1}),
        ("register_agent", (ORG, "b", None, None, NOW), {}),
        ("agent", (ORG, "a"), {}),
        ("agents", (ORG, None, 10), {}),
        ("count_agent", (ORG, "a", 0, NOW), {}),
        ("add_session", (ORG, session), {}),
        ("update_session", (ORG, session), {}),
        ("session", (ORG, "t"), {}),
        *(
            ("sessions", (ORG,), {"agent_id": agent, "is_active": active, "after": after, "limit": 10})
            for agent in (None, "a")
            for active in (None, True, False)
            for after in (None, (5, "s"))
        ),
        ("sweep", (NOW, 0, 10), {}),
        ("sweep_duplicates", (NOW, 0, (1, 1, 1), 10), {}),
        ("sweep_long", (NOW,), {}),
        ("add_memories", (ORG, [(b"h", memory)], NOW), {}),
        ("matching", (ORG, Filter(agent_id="a"), NOW), {}),
        ("forget", (ORG, [NOW]), {}),
        ("delete_sessions", (ORG, "a", NOW), {}),
        ("delete_session", (ORG, session), {}),
        ("forget_answers", (ORG, "a"), {}),
        ("delete_agent", (ORG, "a"), {}),
    ]
    for name, positional, named in calls:
        getattr(transaction, name)(*positional, **named)
    transaction.finish()
    return {name for name, _, _ in calls}
