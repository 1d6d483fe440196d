"""The cost of a context, as a ratio to a loop whose cost is known; `make bench` has the milliseconds.

If the loop takes 15 ms, the worst context that the contract allows may take 1 s, which is 67 loops, and an
ordinary one 50 ms, which is 3.3. A busy machine gets half as much again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from server.context.made import content_of, context, decision, memory, ordinary_log

from memtrace_server.store.records import Found

WORST = 100
ORDINARY = 5
LONGEST = 65_536


def cost(work: Callable[[], object], runs: int = 2) -> float:
    """Return the least CPU time of a few runs."""
    costs = []
    for _ in range(runs):
        started = time.process_time()
        work()
        costs.append(time.process_time() - started)
    return min(costs)


def unit() -> object:
    words: dict[str, int] = {}
    for n in range(50_000):
        words[f"word {n % 1_000}"] = words.get(f"word {n % 1_000}", 0) + len(str(n))
    return words


def repeat(text: str, number: int) -> list[Found]:
    """Return memories of the maximum length, each different."""
    return [memory(f"{n} {text * (LONGEST // len(text))}"[:LONGEST], n=n) for n in range(number)]


LARGEST = {
    "combining marks": lambda: repeat("\u0301", 60),
    "reasons of combining marks": lambda: [
        decision(f"{n}" + "\u0301" * 60_000, "\u0302" * LONGEST, n=n) for n in range(60)
    ],
    "spaces": lambda: repeat(" " * 1_000 + "a", 250),
    "blank lines": lambda: repeat("\n" * 1_000 + "a", 250),
    "short lines": lambda: repeat("a\n", 250),
    "bidi controls": lambda: repeat("\u202e", 100),
    "joiners": lambda: repeat("\u00e9\u200d", 80),
    "openings of tags": lambda: repeat("<a", 200),
    "openings far from their ends": lambda: repeat("<" + " " * 24, 200),
    "capitals": lambda: repeat("aB", 60),
    "prose": lambda: repeat("The export of the invoices has been empty since yesterday. ", 150),
    "short memories": lambda: [memory(f"{n} The export is empty. " * 4, n=n) for n in range(3_000)],
    "sessions": lambda: [memory(f"{n}", n=n, session_id=f"s{n % 2}") for n in range(3_000)],
}  # fmt: skip


@pytest.mark.parametrize("kind", LARGEST)
def test_worst_context_of_the_contract_costs_at_most_a_second(kind: str) -> None:
    memories = LARGEST[kind]()

    # One run is enough if it is cheap.
    assert any(
        cost(lambda: context(memories, 1_000_000, sessions=True), runs=1) < WORST * cost(unit)
        for _ in range(2)
    )


def test_ordinary_context_costs_at_most_a_twentieth_of_a_second() -> None:
    contents = [content_of(found) for found in ordinary_log()]
    memories = [
        memory(f"{contents[n % 60]} {n}", n=n, event_type="user", session_id=f"s{n // 50}")
        for n in range(2_000)
    ]

    assert cost(lambda: context(memories, 4_000, sessions=True)) < ORDINARY * cost(unit)


@pytest.mark.parametrize("max_tokens", [1_000, 1_000_000])
def test_cost_of_a_context_is_linear_in_the_text_read(max_tokens: int) -> None:
    some, more = repeat("ab\u0301 ", 15), repeat("ab\u0301 ", 120)

    assert cost(lambda: context(more, max_tokens)) < 2 * 8 * cost(lambda: context(some, max_tokens))
