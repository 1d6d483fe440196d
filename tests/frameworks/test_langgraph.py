"""LangGraph's store in Memtrace: the behaviour of its own stores, and a graph that uses it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from memtrace.integrations.langgraph import MemtraceStore

NS = ("users", "ann")


class Blocking:
    """The blocking methods, under the names of the asynchronous ones."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    def __getattr__(self, name):
        async def call(*args, **options):
            return getattr(self._store, name.removeprefix("a"))(*args, **options)

        return call


@pytest.fixture(params=["async_client", "blocking_client", "url", "async_server_client"])
def store(request):
    client = request.getfixturevalue(request.param)
    store = MemtraceStore(client)
    return Blocking(store) if request.param == "blocking_client" else store


def test_an_item_is_put_got_replaced_and_deleted(store, run):
    async def work():
        await store.aput(NS, "tea", {"kind": "green", "cups": 2})
        first = await store.aget(NS, "tea")
        assert (first.value, first.key, first.namespace) == ({"kind": "green", "cups": 2}, "tea", NS)
        assert first.updated_at == first.created_at
        await store.aput(NS, "tea", {"kind": "black"})
        second = await store.aget(NS, "tea")
        assert second.value == {"kind": "black"}
        assert second.created_at == first.created_at
        assert second.updated_at > first.updated_at
        assert len(await store.asearch(NS)) == 1
        await store.adelete(NS, "tea")
        assert await store.aget(NS, "tea") is None
        assert await store.asearch(NS) == []

    run(work())


def test_the_same_key_in_another_namespace_is_another_item(store, run):
    async def work():
        await store.aput(("a",), "k", {"v": 1})
        await store.aput(("a", "b"), "k", {"v": 2})
        await store.adelete(("a",), "k")
        return await store.aget(("a",), "k"), (await store.aget(("a", "b"), "k")).value

    assert run(work()) == (None, {"v": 2})


def test_a_batch_reads_before_it_writes_and_keeps_the_last_write(store, run):
    async def work():
        await store.aput(NS, "k", {"v": 0})
        results = await store.abatch(
            [
                PutOp(NS, "k", {"v": 1}),
                GetOp(NS, "k"),
                PutOp(NS, "k", {"v": 2}),
                SearchOp(("users",)),
                ListNamespacesOp(),
            ]
        )
        assert results[0] is None
        assert results[1].value == {"v": 0}
        assert [item.value for item in results[3]] == [{"v": 0}]
        assert results[4] == [NS]
        return (await store.aget(NS, "k")).value

    assert run(work()) == {"v": 2}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"color": "red"}, {"a", "c"}),
        ({"color": {"$eq": "red"}, "size": 1}, {"a"}),
        ({"color": {"$ne": "red"}}, {"b"}),
        ({"size": {"$gt": 1}}, {"b", "c"}),
        ({"size": {"$gte": 1, "$lt": 3}}, {"a", "b"}),
        ({"size": {"$lte": 1}}, {"a"}),
        ({"in": {"city": "Rome"}}, {"b"}),
        ({"color": "blue"}, set()),
    ],
    ids=["equal", "two", "ne", "gt", "range", "lte", "nested", "none"],
)
def test_a_search_filters_by_the_operators_of_langgraph(store, wanted, keys, run):
    async def work():
        await store.aput(("things",), "a", {"color": "red", "size": 1})
        await store.aput(("things",), "b", {"color": "green", "size": 2, "in": {"city": "Rome"}})
        await store.aput(("things", "more"), "c", {"color": "red", "size": 3})
        await store.aput(("other",), "d", {"color": "red", "size": 1})
        return await store.asearch(("things",), filter=wanted)

    assert {item.key for item in run(work())} == keys


def test_an_unknown_operator_is_an_error(store, run):
    async def work():
        await store.aput(("things",), "a", {"size": 1})
        await store.asearch(("things",), filter={"size": {"$near": 1}})

    with pytest.raises(ValueError, match=r"\$near"):
        run(work())


def test_a_query_ranks_by_words_and_gives_scores(store, run):
    async def work():
        await store.aput(("docs",), "python", {"text": "How to write a tutorial about Python"})
        await store.aput(("docs",), "bread", {"text": "How to bake bread"})
        await store.aput(("docs",), "hidden", {"text": "Python Python Python"}, index=False)
        return await store.asearch(("docs",), query="a Python tutorial")

    found = run(work())
    assert found[0].key == "python"
    assert found[0].score > 0
    assert "hidden" not in [item.key for item in found]


def test_a_search_pages_by_limit_and_offset(store, run):
    async def work():
        for number in range(7):
            await store.aput(("n",), str(number), {"number": number})
        assert await store.asearch(("n",), limit=0) == []
        pages = [await store.asearch(("n",), limit=3, offset=offset) for offset in (0, 3, 6, 9)]
        return [[item.value["number"] for item in page] for page in pages]

    assert run(work()) == [[6, 5, 4], [3, 2, 1], [0], []]


def test_namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(store, run):
    spaces = [("a", "b", "c"), ("a", "b", "d"), ("a", "x", "c"), ("z",)]

    async def work():
        for space in spaces:
            await store.aput(space, "k", {"v": 1})
        assert await store.alist_namespaces() == sorted(spaces)
        assert await store.alist_namespaces(prefix=("a", "b")) == [("a", "b", "c"), ("a", "b", "d")]
        assert await store.alist_namespaces(prefix=("a", "*", "c")) == [("a", "b", "c"), ("a", "x", "c")]
        assert await store.alist_namespaces(suffix=("c",)) == [("a", "b", "c"), ("a", "x", "c")]
        assert await store.alist_namespaces(prefix=("a",), max_depth=2) == [("a", "b"), ("a", "x")]
        assert await store.alist_namespaces(limit=2, offset=1) == [("a", "b", "d"), ("a", "x", "c")]
        conditions = (MatchCondition("prefix", ("a",)), MatchCondition("suffix", ("d",)))
        assert await store.abatch([ListNamespacesOp(match_conditions=conditions)]) == [[("a", "b", "d")]]
        await store.adelete(("z",), "k")
        assert ("z",) not in await store.alist_namespaces()

    run(work())


def test_names_of_any_length_and_alphabet_stay_apart(store, run):
    spaces = [("a/b",), ("a", "b"), ("x" * 300,), ("x" * 301,), ("日本語, 😀",), ("a b ",)]

    async def work():
        for number, space in enumerate(spaces):
            await store.aput(space, "k/" + "y" * 200, {"number": number})
        found = [await store.aget(space, "k/" + "y" * 200) for space in spaces]
        return [item.value["number"] for item in found], set(await store.alist_namespaces())

    assert run(work()) == ([0, 1, 2, 3, 4, 5], set(spaces))


def test_an_item_with_a_time_to_live_is_gone_after_it(url, clock):
    store = MemtraceStore(url, ttl={"default_ttl": 10})
    store.put(NS, "old", {"v": 0}, ttl=None)
    store.put(NS, "k", {"v": 1}, ttl=5)
    created_at = store.get(NS, "k", refresh_ttl=False).created_at
    store.put(NS, "k", {"v": 2}, ttl=1)
    clock.advance(50)
    assert store.get(NS, "k").value == {"v": 2}  # this read prolongs its life
    clock.advance(50)
    assert store.get(NS, "k", refresh_ttl=False).value == {"v": 2}
    assert store.get(NS, "k", refresh_ttl=False).created_at == created_at
    clock.advance(15)
    assert store.get(NS, "k") is None  # and no older version returns
    assert store.search(NS, filter={"v": 2}) == []


def test_a_default_time_to_live_holds_unless_an_item_has_none(url, clock):
    store = MemtraceStore(url, ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(NS, "default", {"v": 0})
    store.put(NS, "always", {"v": 1}, ttl=None)
    clock.advance(599)
    assert store.get(NS, "default")
    clock.advance(1)
    assert store.get(NS, "default") is None
    assert store.get(NS, "always")


def test_a_search_prolongs_the_life_of_what_it_finds(url, clock):
    store = MemtraceStore(url)
    for key in ("found", "left"):
        store.put(NS, key, {"name": key}, ttl=1)
    clock.advance(50)
    assert [item.key for item in store.search(NS, filter={"name": "found"})] == ["found"]
    store.search(NS, filter={"name": "left"}, refresh_ttl=False)
    clock.advance(50)
    assert [item.key for item in store.search(NS)] == ["found"]


def test_an_async_client_has_no_blocking_methods(async_client):
    store = MemtraceStore(async_client)
    with pytest.raises(TypeError, match="AsyncMemtrace"):
        store.get(NS, "k")


class State(TypedDict):
    user: str
    answer: str


def test_a_compiled_graph_remembers_across_threads(url):
    def remember(state: State, *, store: BaseStore):
        known = store.get(("names",), state["user"])
        visits = known.value["visits"] + 1 if known else 1
        store.put(("names",), state["user"], {"visits": visits})
        return {"answer": f"visit {visits}"}

    builder = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", END)
    answers = []
    for _ in range(2):
        graph = builder.compile(store=MemtraceStore(url))
        answers.append(graph.invoke({"user": "ann", "answer": ""})["answer"])
    assert answers == ["visit 1", "visit 2"]


def test_a_search_finds_words_after_line_breaks_and_tabs(store, run):
    value = {"said": "I like\ntea\tand\r\ncake", "path": "C:\\new\\table", "odd": "\ud800\0"}

    async def work():
        await store.aput(NS, "k", value)
        assert (await store.aget(NS, "k")).value == value
        return [await store.asearch(NS, query=word) for word in ("tea", "and", "cake", "table")]

    assert [len(found) for found in run(work())] == [1, 1, 1, 1]


def test_writers_at_once_leave_the_item_of_one_of_them(no_async_client):
    store = MemtraceStore(no_async_client)

    def write(number):
        for _ in range(5):
            store.put(NS, "k", {"by": number})
        store.put(NS, "expires", {"by": number}, ttl=60)
        store.delete(NS, "gone")
        store.put(NS, "gone", {"by": number})

    store.put(NS, "gone", {"by": None})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert sorted(item.key for item in store.search(NS)) == ["expires", "gone", "k"]
    for key in ("k", "expires", "gone"):
        store.delete(NS, key)
    assert store.search(NS) == []


def test_tasks_that_create_an_item_at_once_create_one(async_server_client, run):
    store = MemtraceStore(async_server_client)

    async def work():
        await asyncio.gather(*(store.aput(NS, "k", {"by": number}) for number in range(8)))
        return await store.asearch(NS)

    assert len(run(work())) == 1


def test_a_value_longer_than_a_memory_is_kept_and_leaves_nothing(blocking_client):
    store = MemtraceStore(blocking_client)
    for length in (65_000, 65_536, 200_000):
        value = {"text": "\U0001f642" * length}
        store.put(NS, "k", value)
        assert store.get(NS, "k").value == value
        assert [item.value for item in store.search(NS, filter=value)] == [value]
    store.put(NS, "k", {"text": "short"})
    assert store.get(NS, "k").value == {"text": "short"}
    store.delete(NS, "k")
    assert blocking_client.list_memories(include_superseded=True).count == 0


def test_a_query_longer_than_the_contract_allows_is_searched(store, run):
    async def work():
        await store.aput(NS, "k", {"likes": "tea"})
        return await store.asearch(NS, query=f"{'word ' * 4_000} Does Ann like tea?\0")

    assert [item.key for item in run(work())] == ["k"]


@pytest.mark.parametrize("value", [{"at": object()}, {"at": {1, 2}}, ["a"]], ids=["object", "set", "list"])
def test_a_value_that_json_does_not_have_is_named(store, value, run):
    with pytest.raises(TypeError, match="value"):
        run(store.aput(NS, "tea", value))
