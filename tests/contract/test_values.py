"""Python values: sent alike in a path, a query and a body, over every client and transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from memtrace import (
    AddMemoryRequest,
    AsyncMemtrace,
    BadRequestError,
    ForgetFilter,
    ListOptions,
    NotFoundError,
    SearchQuery,
)

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Plot(str, Enum):  # noqa: UP042  # many programs have such enums, whose str() is their name
    """An enum of strings."""

    NORTH = "north_bed"


class Bed(StrEnum):
    """A StrEnum."""

    NORTH = "north_bed"


class Plain(Enum):
    """An enum whose members are not strings."""

    NORTH = "north_bed"


class Season(Enum):
    """An enum whose values are not JSON."""

    SPRING = (date(2026, 3, 1), date(2026, 6, 1))


class Loud(str):
    """A string whose str() is another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"


AGENTS: dict[str, Any] = {
    "str_enum": Plot.NORTH,
    "StrEnum": Bed.NORTH,
    "Enum": Plain.NORTH,
    "subclass": Loud("north_bed"),
}


@pytest.fixture(params=list(AGENTS))
def agent(request: pytest.FixtureRequest) -> Any:
    """Return an agent's id that is not a plain string."""
    return AGENTS[request.param]


async def contents(client: AsyncMemtrace, **filters: Any) -> list[str]:
    return [memory.content for memory in (await client.list_memories(**filters, order="asc")).memories]


async def test_enum_as_agent_id_is_the_same_in_body_query_and_path(client: AsyncMemtrace, agent: Any) -> None:
    stored = await client.remember(agent, "sown", session_id=Loud("sess_1"), tags=[Loud("t"), Plot.NORTH])
    await client.add_memories(
        [AddMemoryRequest(agent_id=agent, content="watered", metadata={"by": {Plot.NORTH}})]
    )

    assert (stored.agent_id, stored.session_id, stored.tags) == ("north_bed", "sess_1", ["t", "north_bed"])
    assert await contents(client, agent_id="north_bed") == ["sown", "watered"]
    assert await contents(client, agent_id=agent) == ["sown", "watered"]
    assert await contents(client, tags=[Plot.NORTH]) == ["sown"]
    assert len((await client.recall(agent)).memories) == 2
    assert len((await client.search_memories("sown", agent_id=agent)).results) == 1
    assert (await client.get_agent_stats(agent)).memory_count == 2
    assert (await client.get_agent_memories(agent)).count == 2
    assert await client.forget_all(agent_id=agent) == 2


async def test_enum_as_agent_id_is_the_same_in_a_request_object(client: AsyncMemtrace, agent: Any) -> None:
    await client.add_memory(AddMemoryRequest(agent_id=agent, content="sown"))

    assert (await client.list_memories(ListOptions(agent_id=agent))).count == 1
    assert len((await client.search_memories(SearchQuery(agent_id=agent))).results) == 1
    assert await client.forget_all(ForgetFilter(agent_id=agent)) == 1


async def test_enum_as_agent_id_is_the_same_in_a_session(client: AsyncMemtrace, agent: Any) -> None:
    async with client.session(agent) as session:
        await session.remember("sown")

    assert [found.agent_id for found in (await client.list_sessions(agent)).sessions] == ["north_bed"]


async def test_memory_type_may_be_an_enum(client: AsyncMemtrace) -> None:
    class Kind(str, Enum):  # noqa: UP042  # as above
        FACT = "entity"

    stored = await client.remember("a", "b", memory_type=Kind.FACT)  # type: ignore[arg-type]

    assert stored.memory_type == "entity"
    assert (await client.search_memories(memory_types={Kind.FACT})).count == 1  # type: ignore[arg-type]


async def test_time_may_be_text_and_ttl_a_timedelta(client: AsyncMemtrace) -> None:
    stored = await client.remember(
        "a", "b", time="2026-01-02T13:00:00.123456+01:00", ttl=timedelta(days=9000), tags=("x", "y")
    )

    assert stored.time == NOON + timedelta(microseconds=123456)
    assert stored.tags == ["x", "y"]
    assert stored.expires_at is not None


@pytest.mark.parametrize("iterable", [tuple, iter, dict.fromkeys], ids=["tuple", "iterator", "keys"])
async def test_tags_may_be_any_iterable_of_strings(client: AsyncMemtrace, iterable: Any) -> None:
    tags = iterable(["b", "a"])
    tags = tags.keys() if isinstance(tags, dict) else tags

    assert (await client.remember("a", "b", tags=tags)).tags == ["b", "a"]


async def test_tags_in_a_set_are_sorted(client: AsyncMemtrace) -> None:
    assert (await client.remember("a", "b", tags=frozenset("cab"))).tags == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        ("2026-01-02", None, ["morning", "noon"]),
        (date(2026, 1, 2), date(2026, 1, 3), ["morning", "noon"]),
        (None, "2026-01-02", ["eve"]),
        (NOON, None, ["noon"]),
        ("2026-01-02T13:00:00+01:00", None, ["noon"]),
        (NOON.astimezone(timezone(timedelta(hours=5))), None, ["noon"]),
    ],
    ids=["date text", "dates", "until a date", "datetime", "offset text", "offset"],
)
async def test_since_and_until_may_be_dates(
    client: AsyncMemtrace, since: Any, until: Any, found: list[str]
) -> None:
    for content, time in (
        ("eve", "2026-01-01T23:59:59Z"),
        ("morning", "2026-01-02T00:00:00Z"),
        ("noon", NOON),
    ):
        await client.remember("a", content, time=time)

    filters = {name: value for name, value in {"since": since, "until": until}.items() if value}
    assert await contents(client, **filters) == found
    results = (await client.search_memories(**filters, order="asc")).results
    assert [memory.content for memory in results] == found
    assert await client.forget_all(agent_id="a", **filters) == len(found)


async def test_metadata_of_rich_values_is_stored_as_documented(client: AsyncMemtrace) -> None:
    stored = await client.remember(
        "a",
        "b",
        metadata={
            Plot.NORTH: Plain.NORTH,
            "at": NOON.astimezone(timezone(timedelta(hours=2))),
            "on": date(2026, 1, 2),
            "order": UUID("12345678-1234-5678-1234-567812345678"),
            "price": Decimal("19.90"),
            "seen": {*"hgfedba", Loud("c")},
            "numbers": {10, 9, 2, -1},
            "pair": (1, None),
            "nested": {"deep": [Plot.NORTH, True, 0.5]},
            "season": Season.SPRING,
        },
    )

    assert stored.metadata == {
        "north_bed": "north_bed",
        "at": "2026-01-02T12:00:00Z",
        "on": "2026-01-02",
        "order": "12345678-1234-5678-1234-567812345678",
        "price": "19.90",
        "seen": list("abcdefgh"),
        "numbers": [-1, 2, 9, 10],
        "pair": [1, None],
        "nested": {"deep": ["north_bed", True, 0.5]},
        "season": ["2026-03-01", "2026-06-01"],
    }
    found = await client.search_memories(metadata={"price": Decimal("19.90"), "seen": set("abcdefgh")})
    assert found.count == 1


ALL = "is not text|missing|None is given"


WITH_NONE: list[Callable[[Any], Awaitable[object]]] = [
    lambda client: client.recall(None),
    lambda client: client.remember(None, "b"),
    lambda client: client.remember("a", None),
    lambda client: client.decide(None, "b", "c"),
    lambda client: client.add_memory(agent_id=None, content="b"),
    lambda client: client.add_memory(AddMemoryRequest(agent_id=None, content="b")),  # type: ignore[arg-type]
    lambda client: client.add_memories([{"agent_id": None, "content": "b"}]),
    lambda client: client.get_memory(None),
    lambda client: client.forget(None),
    lambda client: client.get_agent(None),
    lambda client: client.get_agent_stats(None),
    lambda client: client.get_agent_memories(None),
    lambda client: client.get_agent_context(None),
    lambda client: client.delete_agent(None),
    lambda client: client.register_agent(name=None),
    lambda client: client.create_session(agent_id=None),
    lambda client: client.get_session(None),
    lambda client: client.get_session_memories(None),
    lambda client: client.get_session_context(None),
    lambda client: client.update_session(None, status="closed"),
    lambda client: client.close_session(None),
    lambda client: client.forget_all(agent_id=None, memory_type="episodic"),
    lambda client: client.forget_all(agent_id="a", session_id=None),
    lambda client: client.forget_all(agent_id="a", tags=None),
    lambda client: client.forget_all(agent_id="a", until=None),
    lambda client: client.forget_all(ForgetFilter(agent_id=None, memory_type="episodic")),  # type: ignore[arg-type]
]


async def test_none_as_a_required_value_is_a_type_error(client: AsyncMemtrace) -> None:
    await client.remember("a", "kept")

    for call in WITH_NONE:
        with pytest.raises(TypeError, match=ALL):
            await call(client)

    assert await contents(client) == ["kept"]


@pytest.mark.parametrize("tags", [[], (), set()], ids=["list", "tuple", "set"])
async def test_empty_filter_never_widens_a_deletion(client: AsyncMemtrace, tags: Any) -> None:
    await client.remember("a", "kept")

    with pytest.raises(BadRequestError, match="tags"):
        await client.forget_all(agent_id="a", tags=tags)

    assert await contents(client) == ["kept"]


async def test_session_with_none_as_agent_id_is_a_type_error(client: AsyncMemtrace) -> None:
    with pytest.raises(TypeError, match=ALL):
        async with client.session(None):  # type: ignore[arg-type]
            pytest.fail("it began")


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_id_that_would_change_the_path_is_refused_unsent(client: AsyncMemtrace, name: str) -> None:
    calls: list[Any] = [
        client.get_memory,
        client.forget,
        client.get_agent,
        client.get_agent_stats,
        client.get_agent_memories,
        client.get_agent_context,
        client.delete_agent,
        client.get_session,
        client.get_session_memories,
        client.get_session_context,
        client.close_session,
        client.recall,
        lambda agent: client.remember(agent, "b"),
        lambda agent: client.add_memories([{"agent_id": agent, "content": "b"}]),
        lambda agent: client.remember("a", "b", session_id=agent),
        lambda agent: client.remember("a", "b", parent_id=agent),
        lambda agent: client.remember("a", "b", supersedes=agent),
        lambda agent: client.list_memories(agent_id=agent),
        client.list_sessions,
        lambda agent: client.search_memories(agent_id=agent),
        lambda agent: client.create_session(agent_id=agent),
        lambda agent: client.register_agent(name=agent),
        lambda agent: client.forget_all(agent_id=agent),
    ]
    for call in calls:
        with pytest.raises(BadRequestError, match="is not an id; give the id of what you mean") as caught:
            await call(name)
        assert (caught.value.status_code, caught.value.code) == (0, "invalid_request")
        assert caught.value.request_id is None


@pytest.mark.parametrize("name", ["...", ".a", "a.", "a/b", "a b", "%2E", "ü"])
async def test_id_with_special_characters_stays_one_path_segment(client: AsyncMemtrace, name: str) -> None:
    with pytest.raises((NotFoundError, BadRequestError)) as caught:
        await client.get_agent(name)

    assert caught.value.request_id is not None
