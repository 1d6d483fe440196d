"""Plans of statements for a page of many memories, with the rows that each step returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from helpers.postgres import Schemas, Statements
from psycopg import sql

from memtrace import Memtrace
from memtrace_server.store.postgres import periods

MANY = 20_000
NEEDLES = MANY // 50
STEP = 4_000_000_000  # ns between two memories
SAME = (
    "agent_id", "session_id", "memory_type", "event_type", "importance", "created_at", "expires_at",
    "lexemes", "folded", "words", "doc",
)  # fmt: skip
PAGE = 20
FINEST, COARSEST = 1 << 38, 1 << 54  # ns
MOST = 16  # periods, if the window begins with one


@pytest.fixture(scope="module")
def grown(postgres_schemas: Schemas) -> Iterator[tuple[Memtrace, psycopg.Connection]]:
    """Return a client of a store with a day of memories, 1 in 50 of which has a needle, and a connection."""
    schema = postgres_schemas.take()
    url = postgres_schemas.url_of(schema)
    with Memtrace(url) as client, psycopg.connect(url, autocommit=True) as connection:
        for content in ("hay", "hay and a needle"):
            client.remember("a", content)
        names = sql.SQL(", ").join(map(sql.Identifier, SAME))
        query = sql.SQL(
            "INSERT INTO memories (org, seq, place, time, {0})"
            " SELECT org, seq + n * %s, place + n, time + n * %s, {0} FROM memories, generate_series(1, %s) n"
            " WHERE (n %% 50 = 0) = (folded LIKE '%%needle%%')"
        ).format(names)
        connection.execute(query, [STEP, STEP, MANY])
        connection.execute("UPDATE counts SET number = number + %s", [MANY])
        connection.execute("VACUUM ANALYZE memories")
        yield client, connection
    postgres_schemas.give_back(schema)


def explained(connection: psycopg.Connection, text: str, values: Any) -> dict[str, Any]:
    """Return the plan by which a statement is executed."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}".encode(), values)
        (((plan,),),) = cursor.fetchall()
    found: dict[str, Any] = plan["Plan"]
    return found


def most(plan: dict[str, Any]) -> int:
    """Return the highest number of rows, or entries of an index, that a step of a plan reads."""
    own: int = plan["Actual Rows"] * plan["Actual Loops"] + plan.get("Rows Removed by Filter", 0)
    return max([own, *map(most, plan.get("Plans", ()))])


@pytest.mark.parametrize(
    "wanted",
    [
        {"query": "needle", "order": "desc"},
        {"query": "needle", "order": "asc"},
        {"query": "needle", "order": "desc", "agent_id": "a"},
        {"query": "needle"},
        {"content_contains": "needl", "order": "desc"},
    ],
    ids=["newest", "oldest", "of-an-agent", "ranked", "substring"],
)
def test_search_of_a_fairly_common_word_reads_a_part_of_its_rows(
    grown: tuple[Memtrace, psycopg.Connection],
    statements: Statements,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, Any],
) -> None:
    client, connection = grown
    for name in ("queries.FEW", "queries.NEAREST", "windows.NEAREST", "ranked._COUNTED"):
        monkeypatch.setattr(f"memtrace_server.store.postgres.{name}", 100)  # as if there were a million
    assert len(client.search_memories(limit=PAGE, **wanted).results) == PAGE
    ((text, values),) = [each for each in statements.seen.items() if "&&" in each[0]]
    assert PAGE < most(explained(connection, text, values)) < NEEDLES * 0.75


def test_a_memory_with_an_early_time_that_was_stored_last_ranks_first(
    grown: tuple[Memtrace, psycopg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, connection = grown
    monkeypatch.setattr("memtrace_server.store.postgres.ranked._COUNTED", 100)
    date = (
        "UPDATE memories SET time = time + %s, doc = replace(doc, %s, %s)"
        " WHERE seq = (SELECT max(seq) FROM memories WHERE folded LIKE '%%needle%%')"
    )
    connection.execute(date, [-COARSEST, "hay and a", "the last"])
    found = client.search_memories(query="needle", limit=PAGE).results
    connection.execute(date, [COARSEST, "the last", "hay and a"])
    assert [memory.content for memory in found] == ["the last needle", *["hay and a needle"] * (PAGE - 1)]


@pytest.mark.parametrize("chosen", [{}, {"agent_id": "a"}], ids=["of-all", "of-an-agent"])
@pytest.mark.parametrize("status", ["active", "closed"])
def test_a_page_of_sessions_of_a_status_passes_no_others(
    grown: tuple[Memtrace, psycopg.Connection], statements: Statements, chosen: dict[str, Any], status: Any
) -> None:
    client, connection = grown
    connection.execute("TRUNCATE sessions")  # DELETE would leave a large index, which costs more than a scan
    connection.execute(
        "INSERT INTO sessions (org, id, agent_id, created_at, updated_at, closed_at)"
        " SELECT orgs.number, 'sess_' || n, 'a', n, n, CASE WHEN (n <= 3) = %s THEN n END"
        " FROM orgs, generate_series(1, %s) n",
        [status == "closed", MANY],
    )
    connection.execute("ANALYZE sessions")
    assert len(client.list_sessions(status=status, limit=PAGE, **chosen).sessions) == 3
    ((text, values),) = [each for each in statements.seen.items() if "FROM sessions WHERE" in each[0]]
    assert most(explained(connection, text, values)) == 3


@pytest.mark.parametrize("start", [0, 1_795_000_000_000_000_000], ids=["1970", "2026"])
@pytest.mark.parametrize(
    "length", [1, FINEST, MOST * FINEST, MOST * FINEST + 1, 10**15, MOST * COARSEST], ids=str
)
def test_periods_cover_a_window(postgres_url: str, start: int, length: int) -> None:
    end = start + length
    covering = periods.covering(7, start, end)
    assert covering is not None
    assert len(covering) <= MOST + 1
    far = 2 * max(length, FINEST)
    within = {time: start <= time < end for time in (start, end - 1, end + far, start - far) if time >= 0}
    row = "FROM (SELECT %s::bigint AS org, t AS time, t AS seq FROM unnest(%s::bigint[]) t) m"
    with psycopg.connect(postgres_url) as connection:
        for index in (periods.of_words("m."), periods.of_pieces("m.")):
            for org in (7, 8):
                rows = connection.execute(
                    f"SELECT time, {index} && %s::bigint[] {row}", [covering, org, [*within]]
                ).fetchall()
                assert dict(rows) == {time: is_within and org == 7 for time, is_within in within.items()}


@pytest.mark.parametrize(
    "bounds", [(None, 1), (1, None), (0, (MOST + 2) * COARSEST)], ids=["no-beginning", "no-end", "too-long"]
)
def test_long_window_has_too_many_periods(bounds: tuple[int | None, int | None]) -> None:
    assert periods.covering(7, *bounds) is None
