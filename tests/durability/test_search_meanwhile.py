"""Memories are indexed after they are stored, at the latest when somebody searches."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, told

from memtrace_server import times
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Filter, Found
from memtrace_server.store.sqlite.transaction import NotIndexed


def test_the_row_that_a_search_waits_for_may_be_forgotten(in_process: InProcess, tenant: Tenant) -> None:
    tenant.add(content="stays")
    newest = told(tenant.add(content="goes"))["id"]
    looks: list[int] = []

    def look(transaction: Transaction) -> list[Found]:
        looks.append(len(looks))
        assert len(looks) <= 2, "it looks again when the rows are indexed, and that is all"
        try:
            return transaction.page(1, Filter(contains="stays"), times.now(), order="asc", limit=9)
        except NotIndexed:
            # What another thread may do now.
            assert tenant.send("DELETE", f"{MEMORIES}/{newest}").status == 204
            raise

    assert len(in_process.store.read(look)) == 1
    assert len(looks) == 2


@pytest.mark.parametrize(("length", "most"), [(60_000, 35), (60, 40)], ids=["long", "short"])
def test_long_memories_are_indexed_few_at_once(
    tenant: Tenant, tmp_path: Path, length: int, most: int
) -> None:
    waiting: list[int] = []
    with closing(sqlite3.connect(tmp_path / "memtrace.db")) as store:
        for number in range(40):
            tenant.add(content=f"{number} {'x' * length}")
            sql = "SELECT count(*) FROM memories WHERE seq > (SELECT seq FROM indexed)"
            waiting += store.execute(sql).fetchone()

    assert most - 5 <= max(waiting) <= most
