"""`count_tokens=`: fit a context to the counts of a tokenizer, in up to three requests."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from memtrace import AsyncMemtrace, BadRequestError, ContextOptions

pytestmark = pytest.mark.anyio

SENTENCES = (
    "The customer asked whether the parcel can be sent to another address.",
    "Changed the filter of the export job and started it again.",
    "No error since yesterday, and the queue is empty.",
    "We prefer short answers in plain English, with numbers where they help.",
)


def words(text: str) -> int:
    """Count a token for each word and each sign, somewhat like GPT's tokenizers."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def thirds(text: str) -> int:
    """Count a token for every three letters at most: more than any tokenizer in use."""
    return len(re.findall(r"\w{1,3}|[^\w\s]", text))


def skewed(text: str) -> int:
    """Count some sentences far higher than others."""
    return words(text) + 9 * text.count("export")


COUNTERS: dict[str, Callable[[str], Any]] = {
    "words": words,
    "words as a list": lambda text: re.findall(r"\w+|[^\w\s]", text),
    "thirds": thirds,
    "characters": len,
    "bytes": lambda text: text.encode(),
    "skewed": skewed,
    "quarters of characters": lambda text: len(text) // 4,
}


def always(counted: Any) -> Callable[[str], Any]:
    """Return a tokenizer that counts the same for every text."""
    return lambda _: counted


@attrs.define
class Counter:
    """Count with a function, and record the counted texts."""

    count: Callable[[str], Any]
    texts: list[str] = attrs.field(factory=list)

    def __call__(self, text: str) -> Any:
        self.texts.append(text)
        return self.count(text)

    def tokens(self, text: str) -> int:
        counted = self.count(text)
        return counted if isinstance(counted, int) else len(counted)


async def fill(client: AsyncMemtrace) -> None:
    await client.add_memories(
        {
            "agent_id": "a",
            "session_id": "s",
            "event_type": ("user", "assistant", "tool", "error")[n % 4],
            "content": f"{SENTENCES[n % 4]} That is number {n}. " * (1 + n % 5),
        }
        for n in range(900)
    )


async def test_context_uses_nine_tenths_of_its_budget_and_never_exceeds_it(client: AsyncMemtrace) -> None:
    await fill(client)

    for (name, count), budget in itertools.product(COUNTERS.items(), (500, 2_000, 10_000)):
        counter = Counter(count)
        context = await client.get_agent_context("a", max_tokens=budget, count_tokens=counter)
        assert 0.9 * budget <= counter.tokens(context.context) <= budget, name
        assert 1 <= len(counter.texts) <= 3
        assert context.context in counter.texts
        assert context.memory_count == len(context.memory_ids or [])


async def test_contexts_of_sessions_and_handles_are_fitted(client: AsyncMemtrace) -> None:
    await fill(client)
    async with client.session("b") as session:
        for n in range(200):
            await session.remember(f"{SENTENCES[n % 4]} {n}")
        of_handle = await session.context(max_tokens=700, count_tokens=words)

    of_session = await client.get_session_context(
        "s", ContextOptions(max_tokens=700, layout="sections"), count_tokens=words
    )

    assert 630 <= words(of_handle.context) <= 700
    assert 630 <= words(of_session.context) <= 700
    assert "by kind" in of_session.context


async def test_context_without_max_tokens_is_fitted_to_the_default_budget(client: AsyncMemtrace) -> None:
    await fill(client)

    context = await client.get_agent_context("a", count_tokens=words)

    assert 3_600 <= words(context.context) <= 4_000


async def test_context_with_all_memories_takes_one_request(client: AsyncMemtrace) -> None:
    await client.remember("a", "Hello")
    counter = Counter(words)

    context = await client.get_agent_context("a", max_tokens=500, count_tokens=counter)

    assert counter.texts == [context.context]
    assert "Hello" in context.context


async def test_budget_too_small_for_any_memory_gives_an_empty_context(client: AsyncMemtrace) -> None:
    await client.add_memories({"agent_id": "a", "content": f"Number {n}"} for n in range(9))

    for count in (words, always(1_000_000), lambda text: 10_000 if text else 0):
        counter = Counter(count)
        context = await client.get_agent_context("a", max_tokens=5, count_tokens=counter, format="json")
        assert (context.context, context.memory_count, context.memory_ids) == ("", 0, [])
        assert context.omitted is not None
        assert (context.omitted_count, context.omitted.over_budget) == (9, 9)
        assert context.entries == []
        assert len(counter.texts) <= 3


async def test_context_of_exactly_max_tokens_fits(client: AsyncMemtrace) -> None:
    await client.remember("a", "Hello")

    for counted, fits in ((499, True), (500, True), (501, False)):
        context = await client.get_agent_context("a", max_tokens=500, count_tokens=always(counted))
        assert (context.context != "") is fits


async def test_largest_fitting_context_is_returned_rather_than_the_last(client: AsyncMemtrace) -> None:
    await fill(client)
    counted = iter([300, 900, 200])
    counter = Counter(lambda _: next(counted))

    context = await client.get_agent_context("a", max_tokens=500, count_tokens=counter)

    assert len(set(counter.texts)) == 3
    assert context.context == counter.texts[0]


async def test_tokenizer_that_returns_no_number_of_tokens_is_an_error(client: AsyncMemtrace) -> None:
    await client.remember("a", "Hello")

    wrong: list[tuple[Any, str]] = [("12", "str"), (None, "NoneType"), (1.5, "float"), ({"ids": [1]}, "dict")]
    for counted, kind in wrong:
        with pytest.raises(TypeError, match=f"count_tokens: returned {kind}; return a number of tokens"):
            await client.get_agent_context("a", count_tokens=Counter(always(counted)))
    with pytest.raises(ValueError, match="count_tokens: returned -1; return a number of tokens"):
        await client.get_agent_context("a", count_tokens=Counter(always(-1)))


async def test_error_of_the_tokenizer_reaches_the_caller(client: AsyncMemtrace) -> None:
    await client.remember("a", "Hello")

    def count(_: str) -> int:
        raise OSError("no vocabulary")

    with pytest.raises(OSError, match="no vocabulary"):
        await client.get_agent_context("a", count_tokens=count)


async def test_no_more_than_three_requests_are_sent(client: AsyncMemtrace) -> None:
    await fill(client)
    counter = Counter(always(1_000_000))

    context = await client.get_agent_context("a", max_tokens=8_000, count_tokens=counter)

    assert len(set(counter.texts)) == len(counter.texts) == 3
    assert (context.context, context.token_count, context.memory_count, context.omitted_count) == (
        "",
        0,
        0,
        900,
    )
    assert context.omitted is not None
    assert (context.omitted.over_budget, context.omitted.shortened) == (900, 0)


@pytest.mark.parametrize("connect", ["async"], indirect=True)
async def test_tokenizer_may_be_async(client: AsyncMemtrace) -> None:
    await fill(client)

    async def count(text: str) -> int:
        return words(text)

    def counts_later(text: str) -> Awaitable[int]:
        return count(text)

    for counter in (count, counts_later):
        context = await client.get_agent_context("a", max_tokens=1_000, count_tokens=counter)
        assert 900 <= words(context.context) <= 1_000


@pytest.mark.parametrize("most", [0, 1_000_001], ids=["none", "too many"])
async def test_max_tokens_out_of_range_is_refused_with_a_tokenizer(client: AsyncMemtrace, most: int) -> None:
    with pytest.raises(BadRequestError, match="max_tokens"):
        await client.get_agent_context("a", max_tokens=most, count_tokens=words)
