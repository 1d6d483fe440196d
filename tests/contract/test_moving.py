"""Exports and imports: all records are restored, with their ids, times and links."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from memtrace import AsyncMemtrace, BadRequestError, NotFoundError, RejectedRecord

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def exported(client: AsyncMemtrace, **filters: Any) -> list[dict[str, Any]]:
    return [record async for record in client.export(**filters)]


async def fill(client: AsyncMemtrace) -> None:
    """Store records of each kind, with every field."""
    await client.register_agent("registered", description="Answers", config={"model": "m"})
    await client.register_agent("bare")
    session = await client.create_session(agent_id="registered", metadata={"ticket": 4711, "list": [1, None]})
    await client.close_session(session.id)
    open_session = await client.create_session(agent_id="writer")
    old = await client.remember("writer", "The sky is green", session_id=open_session.id, tags=["sky", "a,b"])
    await client.remember(
        "writer", "The sky is blue", supersedes=old.id, parent_id=old.id, importance=0.25,
        metadata={"seen": {"at": [1, 1.5, True, None]}}, time=NOON, event_type="observation",
    )  # fmt: skip
    await client.decide("writer", "Go out", "It is dry")
    await client.remember(
        "writer", "Zwölf Boxkämpfer 🙂", dedup_key="mine", memory_type="entity", ttl=100_000
    )
    await client.remember("writer", "Nanoseconds", time="2026-01-01T00:00:00.123456789Z", session_id="named")


async def forget_everything(client: AsyncMemtrace) -> None:
    for session in (await client.list_sessions()).sessions:
        await client.delete_session(session.id, delete_memories=True)
    for agent in (await client.list_agents()).agents:
        await client.delete_agent(agent.id, delete_memories=True)
    assert await exported(client) == []


async def test_import_restores_exported_records_unchanged(client: AsyncMemtrace) -> None:
    await fill(client)
    records = await exported(client)
    listed = (await client.list_memories(include_superseded=True)).memories
    assert [record["kind"] for record in records] == ["agent"] * 3 + ["session"] * 3 + ["memory"] * 5
    await forget_everything(client)

    report = await client.import_(json.dumps(record) for record in records)

    assert (report.imported, report.existing, report.rejected) == (11, 0, [])
    assert await exported(client) == records
    assert (await client.list_memories(include_superseded=True)).memories == listed
    assert len((await client.list_memories()).memories) == 4
    assert (await client.search_memories("boxkampfer")).count == 1
    assert (await client.list_memories(tags=["a,b"], include_superseded=True)).count == 1
    assert (await client.get_agent_stats("writer")).memory_types == {
        "episodic": 3,
        "decision": 1,
        "entity": 1,
    }


async def test_importing_twice_changes_nothing(client: AsyncMemtrace) -> None:
    await fill(client)
    records = await exported(client)

    report = await client.import_(records)

    assert (report.imported, report.existing, report.rejected) == (0, 11, [])
    assert await exported(client) == records


async def test_imported_memory_can_be_superseded_found_and_forgotten(client: AsyncMemtrace) -> None:
    memory = await client.remember("a", "The password is Sesame")
    records = await exported(client)
    await client.forget(memory)
    with pytest.raises(NotFoundError):
        await client.get_memory(str(memory.id))

    await client.import_(records)

    assert await client.get_memory(str(memory.id)) == memory
    newer = await client.remember("a", "The password is Xyzzy", supersedes=memory.id)
    assert [m.id for m in (await client.recall("a")).memories] == [newer.id]
    await client.forget(newer)
    assert [found.id for found in (await client.search_memories("sesame")).results] == [memory.id]
    await client.forget(memory)
    assert (await client.search_memories("sesame")).results == []


async def test_a_memory_imported_with_a_forgotten_id_is_found_by_its_own_words(client: AsyncMemtrace) -> None:
    memory = await client.remember("a", "The password is Sesame", tags=["old"])
    _, record = await exported(client)
    await client.forget(memory)

    await client.import_([{**record, "content": "The password is Xyzzy", "tags": ["new"]}])

    assert (await client.search_memories("sesame")).results == []
    assert (await client.list_memories(tags=["old"])).memories == []
    (found,) = (await client.search_memories("xyzzy", tags=["new"])).results
    assert (found.id, found.content) == (memory.id, "The password is Xyzzy")


async def test_filtered_export_has_the_agents_and_sessions_of_its_memories(client: AsyncMemtrace) -> None:
    await fill(client)

    records = await exported(client, tags=["sky"])

    assert [(record["kind"], record.get("content") or record["id"]) for record in records] == [
        ("agent", "writer"),
        ("session", records[1]["id"]),
        ("memory", "The sky is green"),
    ]
    assert len(await exported(client, agent_id="writer", since=NOON, memory_type="decision")) == 2
    assert await exported(client, agent_id="nobody") == []


async def test_an_export_has_every_page(client: AsyncMemtrace) -> None:
    texts = [f"Item {n}" for n in range(2_100)]
    for at in range(0, len(texts), 700):
        await client.add_memories({"agent_id": "a", "content": text} for text in texts[at : at + 700])

    records = await exported(client)

    assert [record["content"] for record in records if record["kind"] == "memory"] == texts
    await client.forget_all(agent_id="a")
    report = await client.import_(records)
    assert (report.imported, report.existing) == (2_100, 1)
    assert [memory.content async for memory in client.iter_memories(order="asc")] == texts


async def test_invalid_records_are_reported_and_the_others_imported(client: AsyncMemtrace) -> None:
    await client.remember("a", "one")
    await client.remember("a", "two")
    agent, one, two = await exported(client)
    await client.forget_all(agent_id="a")

    report = await client.import_(
        [
            json.dumps(agent),
            "not json",
            json.dumps({**one, "importance": 7}),
            "  \n",
            json.dumps({**two, "mood": "calm"}),
            json.dumps({"kind": "mystery"}),
            "[1]",
            json.dumps(one),
            json.dumps({**two, "time": None}),
        ]
    )

    assert (report.imported, report.existing) == (1, 1)
    named = {each.position: each.reason for each in report.rejected}
    assert sorted(named) == [2, 3, 5, 6, 7, 9]
    assert "not JSON" in named[2]
    assert "importance: " in named[3]
    assert "mood: is unknown" in named[5]
    assert "its kind is 'mystery'; a record's kind is one of agent, session, memory" in named[6]
    assert named[7] == "it is a list, not an object"
    assert "time: " in named[9]
    assert [memory.content for memory in (await client.list_memories()).memories] == ["one"]


async def test_strict_import_stops_at_the_first_invalid_record(client: AsyncMemtrace) -> None:
    await client.remember("a", "one")
    agent, one = await exported(client)
    await client.forget_all(agent_id="a")

    with pytest.raises(BadRequestError, match=r"record 2: .*importance"):
        await client.import_([agent, {**one, "importance": 7}, one], strict=True)

    assert (await client.list_memories()).memories == []


async def test_import_of_no_records_reports_zeros(client: AsyncMemtrace) -> None:
    report = await client.import_([])

    assert (report.imported, report.existing, report.rejected) == (0, 0, [])


async def test_an_id_that_another_memory_has_is_rejected(client: AsyncMemtrace) -> None:
    memory = await client.remember("a", "one")
    _, record = await exported(client)
    # The part of the id that leads to the row is the same; its last digit and the time differ.
    known = str(memory.id)
    digit = "0" if known[-1] != "0" else "1"
    report = await client.import_([{**record, "id": known[:-1] + digit}])

    assert report.rejected == [RejectedRecord(1, "id: belongs to another memory of this store")]


async def test_an_id_from_the_future_is_rejected(client: AsyncMemtrace) -> None:
    record = {"kind": "memory", "id": "mem_01KDVDNA00" + "E" * 16, "time": "2026-01-01T00:00:00Z",
              "agent_id": "a", "content": "from the future"}  # fmt: skip

    report = await client.import_([record])

    assert [each.reason for each in report.rejected] == ["id: has a time in the future; check the clock"]
    assert (await client.list_memories()).memories == []


async def test_an_expired_memory_is_left_out(client: AsyncMemtrace) -> None:
    record = {"kind": "memory", "id": "mem_01KDVDNA00646E98YW0JMV1WPY", "time": "2026-01-01T00:00:00Z",
              "agent_id": "a", "content": "over", "expires_at": "2026-01-02T00:00:00Z"}  # fmt: skip

    report = await client.import_([record])

    assert (report.imported, report.existing) == (0, 1)
    assert (await client.list_memories()).memories == []


@pytest.mark.parametrize("is_listed", [False, True], ids=["exported", "listed"])
async def test_chain_whose_middle_was_forgotten_is_restored_as_a_chain(
    client: AsyncMemtrace, *, is_listed: bool
) -> None:
    old = await client.remember("a", "old")
    middle = await client.remember("a", "middle", supersedes=old.id)
    new = await client.remember("a", "new", supersedes=middle.id)
    await client.forget(middle)
    records = await exported(client)
    if is_listed:
        page = await client.list_memories(include_superseded=True, order="asc")
        records = [{"kind": "memory", **memory.to_dict()} for memory in page]
    await client.forget_all(agent_id="a")

    await client.import_(records)

    assert [memory.id for memory in await client.list_memories()] == [new.id]
    assert (await client.get_memory(str(old.id))).superseded_by == new.id
    assert (await client.get_memory(str(new.id))).supersedes == old.id
    await client.forget(new)
    assert [memory.id for memory in await client.list_memories()] == [old.id]


async def test_newer_memory_imported_first_supersedes_nothing(
    client: AsyncMemtrace,
) -> None:
    old = await client.remember("a", "old")
    new = await client.remember("a", "new", supersedes=old.id)
    _, older, newer = await exported(client)

    for requests, current in (
        ([[newer, older]], [new]),
        ([[older], [newer]], [new]),
        ([[newer], [older]], [new, old]),
    ):
        await client.forget_all(agent_id="a")
        for records in requests:
            await client.import_(records)
        assert (await client.list_memories()).memories == current


async def test_superseded_memory_forgotten_and_imported_again_is_current(client: AsyncMemtrace) -> None:
    old = await client.remember("a", "old")
    new = await client.remember("a", "new", supersedes=old.id)
    _, older, _ = await exported(client)
    await client.forget(old)

    await client.import_([older])

    assert (await client.list_memories()).memories == [new, old]


async def test_superseding_memory_is_imported_without_the_superseded_one(client: AsyncMemtrace) -> None:
    old = await client.remember("a", "old")
    new = await client.remember("a", "new", supersedes=old.id)
    _, _, newer = await exported(client)
    await client.forget_all(agent_id="a")

    await client.import_([newer])

    assert (await client.list_memories()).memories == [new]
    assert (await client.get_memory(str(new.id))).supersedes == old.id
