"""Times in JSON: RFC 3339 up to nanoseconds, in any zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from server.conftest import Api

pytestmark = pytest.mark.both_stores


MEMORIES = "/api/v1/memories"


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.100000Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z"),
        ("2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00.000000001Z"),
        ("2026-01-01T00:30:00+00:45", "2025-12-31T23:45:00.000000Z"),
        ("2025-12-31T20:00:00-14:00", "2026-01-01T10:00:00.000000Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("1970-01-01T00:00:00-00:00", "1970-01-01T00:00:00.000000Z"),
        ("1970-01-02T00:00:00+14:59", "1970-01-01T09:01:00.000000Z"),
        ("2199-12-30T23:59:59.999999999-14:59", "2199-12-31T14:58:59.999999999Z"),
        ("2199-12-31T23:59:59.999999999Z", "2199-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_given_time_is_kept_to_the_nanosecond(api: Api, given: str, answered: str) -> None:
    memory = api.add(content="c", time=given)

    assert memory["time"] == answered
    assert api.get(f"{MEMORIES}/{memory['id']}") == memory
    assert api.get(MEMORIES, since=given)["memories"] == [memory]
    assert api.get(MEMORIES, until=given)["memories"] == []


def test_nanoseconds_order_memories(api: Api) -> None:
    for nanoseconds in (3, 1, 2):
        api.add(content=str(nanoseconds), time=f"2026-01-01T00:00:00.00000000{nanoseconds}Z")

    assert api.contents() == ["3", "2", "1"]
    assert api.contents(since="2026-01-01T00:00:00.000000002Z", order="asc") == ["2", "3"]


def test_one_moment_in_any_notation_is_one_time(api: Api) -> None:
    first = api.add(content="c", time="2026-01-01T00:00:00Z")

    for same in ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+01:00"):
        refused = api("POST", MEMORIES, json={"agent_id": "a", "content": "c", "time": same})
        assert (refused.status_code, refused.json().get("existing_id")) == (409, first["id"])
    api.add(content="c", time="2026-01-01T00:00:00.000000001Z")


def test_an_integer_may_be_written_with_a_point(api: Api) -> None:
    memory = api.add(content="c", ttl=60.0)

    assert memory["expires_at"] > memory["time"]
    assert api("POST", "/api/v1/search", json={"limit": 1.0}).json()["count"] == 1
