"""A search has rows indexed first; it comes to an end, whatever others do in between."""

from __future__ import annotations

from durability.in_process import MEMORIES, InProcess, Tenant, told

from memtrace_server import times
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Filter, Found
from memtrace_server.store.sqlite.transaction import NotIndexed


def test_the_row_that_it_waits_for_may_be_forgotten(in_process: InProcess, tenant: Tenant) -> None:
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
