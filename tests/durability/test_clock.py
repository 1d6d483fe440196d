"""Clocks that are set ahead or back: memories, their order and their duplicates."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from durability.in_process import MEMORIES, InProcess, Tenant, json_of
from helpers.clock import Clock

from memtrace_server import times

HOUR = 3_600.0
DAY = 24 * HOUR
YEAR = 365 * DAY


def add(tenant: Tenant, content: str, **more: Any) -> dict[str, Any]:
    response = tenant.add(content=content, **more)
    assert response.status == 201, response.body
    return dict(json_of(response))


def contents(tenant: Tenant) -> list[str]:
    return [memory["content"] for memory in tenant.memories()]


@pytest.mark.both_stores
@pytest.mark.parametrize("jump", [10.0, HOUR, YEAR], ids=["seconds", "an hour", "a year"])
def test_time_of_memories_follows_the_clock_after_a_jump(tenant: Tenant, clock: Clock, jump: float) -> None:
    add(tenant, "before")
    clock.set_by(jump)
    during = add(tenant, "during")
    clock.set_by(-jump)
    clock.advance(1)
    after = add(tenant, "after")

    assert after["time"] == after["created_at"] == times.render(clock.now)
    assert during["time"] == times.render(clock.now + int((jump - 1) * times.SECOND))
    assert contents(tenant) == ["before", "after", "during"]
    assert after["id"] < during["id"]


@pytest.mark.both_stores
def test_memories_of_one_moment_are_listed_in_the_order_of_storing(tenant: Tenant, clock: Clock) -> None:
    clock.set_by(HOUR)
    add(tenant, "during")
    clock.set_by(-HOUR)
    for number in range(5):
        add(tenant, f"after {number}")

    assert contents(tenant) == [*[f"after {number}" for number in range(5)], "during"]
    ids = [memory["id"] for memory in tenant.memories()]
    assert ids == sorted(ids)


@pytest.mark.both_stores
@pytest.mark.parametrize("same", [{}, {"dedup_key": "k"}], ids=["no key", "a key"])
@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR], ids=["year back", "back", "ahead", "year ahead"])
def test_duplicates_are_found_after_a_jump_of_the_clock(
    tenant: Tenant, clock: Clock, jump: float, same: dict[str, Any]
) -> None:
    before = add(tenant, "before", **same)
    clock.advance(60)
    clock.set_by(jump)
    during = add(tenant, "during", agent_id="b", **same)
    clock.advance(60)
    add(tenant, "another", agent_id="c")  # this write sweeps
    clock.set_by(-jump)
    clock.advance(60)
    add(tenant, "yet another", agent_id="c")

    for agent, content, first in (("a", "before", before), ("b", "during", during)):
        response = tenant.add(agent_id=agent, content=content, **same)
        assert (response.status, json_of(response)["existing_id"]) == (409, first["id"])


@pytest.mark.both_stores
def test_memory_stored_while_the_clock_was_ahead_expires_as_duplicate(tenant: Tenant, clock: Clock) -> None:
    add(tenant, "before")
    clock.set_by(YEAR)
    during = add(tenant, "during")
    clock.set_by(-YEAR)
    clock.advance(2)
    add(tenant, "after")
    clock.advance(2 * HOUR)  # until the clock is trusted again
    add(tenant, "a write, which sweeps")
    assert tenant.add(content="during").status == 409

    clock.advance(DAY + 1)

    assert add(tenant, "during")["id"] != during["id"]


@pytest.mark.both_stores
def test_an_idempotency_key_outlives_a_wrong_clock(tenant: Tenant, clock: Clock) -> None:
    def send() -> tuple[int, bytes]:
        response = tenant.send("POST", MEMORIES, {"agent_id": "a", "content": "once"}, once="key")
        return response.status, response.body

    first = send()
    clock.set_by(YEAR)
    add(tenant, "during")
    clock.advance(2)
    add(tenant, "another")
    clock.set_by(-YEAR)

    assert send() == first


@pytest.mark.both_stores
def test_clock_that_is_ahead_for_a_moment_removes_nothing(tenant: Tenant, clock: Clock) -> None:
    add(tenant, "ends in a day", ttl=int(DAY))
    clock.advance(2)
    add(tenant, "before")
    clock.set_by(YEAR)
    for number in range(3):
        add(tenant, f"during {number}")
        clock.advance(2)
    assert contents(tenant) == ["before", "during 0", "during 1", "during 2"]

    clock.set_by(-YEAR)

    assert contents(tenant)[0] == "ends in a day"


@pytest.mark.both_stores
def test_expired_memories_are_removed_once_the_clock_is_steady(in_process: InProcess, clock: Clock) -> None:
    tenant = in_process.tenant()
    memory = add(tenant, "ends in a day", ttl=int(DAY))
    clock.set_by(2 * DAY)
    add(tenant, "during")
    clock.advance(HOUR + 2)
    add(tenant, "a write, which sweeps")
    clock.set_by(-2 * DAY)

    assert tenant.send("GET", f"{MEMORIES}/{memory['id']}").status == 404


@pytest.mark.both_stores
def test_a_clock_that_was_set_back_is_a_warning(
    tenant: Tenant, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    add(tenant, "before")
    clock.set_by(HOUR)
    add(tenant, "during")
    assert warnings() == []
    clock.set_by(-HOUR)
    for number in range(3):
        add(tenant, f"after {number}")
        clock.advance(1)

    assert len(warnings()) == 1
    assert "The clock is 3600 s behind the newest memory" in warnings()[0]
    clock.set_by(-HOUR)
    add(tenant, "even earlier")
    assert len(warnings()) == 2


def test_clock_set_back_while_no_server_ran_is_a_warning(
    in_process: InProcess, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    # On PostgreSQL, each server numbers memories by its own clock, without reading the newest one.
    tenant = in_process.tenant()
    add(tenant, "before")
    clock.set_by(-YEAR)
    in_process.restart()

    add(in_process.tenant(), "after")

    assert "behind the newest memory" in caplog.text
    assert contents(in_process.tenant()) == ["after", "before"]
