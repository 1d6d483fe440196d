"""The embedded client against raw SQLite."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import samples
from benchmarks.floor import Floor
from benchmarks.report import Row, at_least, at_most, median, milliseconds
from memtrace import Memtrace

_BLOCK = 50  # calls between two looks at the clock
_AGENTS = 100
_FILLING = 20_000  # memories


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """Measure; the client and the floor take turns."""
    contents = samples.contents(1_000, seed="embedded")
    numbers = itertools.count(1)
    with Memtrace(f"sqlite:///{folder / 'embedded.db'}") as client, Floor(folder / "floor.db") as floor:

        def remember() -> None:
            n = next(numbers)
            client.remember(
                f"agent_{n % _AGENTS}",
                f"{next(contents)} {n}",
                session_id=f"sess_{n % _AGENTS}",
                event_type="action",
                tags=["load"],
                importance=0.5,
            )

        def recall() -> None:
            assert client.recall("agent_1", limit=100).count == 100  # noqa: S101, PLR2004 - the measured page

        for _ in range(_FILLING // 1_000):
            floor.insert(1_000, "words")
            client.add_memories(
                [
                    {"agent_id": f"agent_{n % _AGENTS}", "content": f"filling {next(numbers)}"}
                    for n in range(1_000)
                ]
            )
        writes = _take_turns(remember, lambda: floor.insert(1, "words"), rounds)
        reads = _take_turns(recall, lambda: floor.newest(100), rounds)
    one, raw = (median(pair[n] for pair in writes) for n in (0, 1))
    hundred, query = (median(pair[n] for pair in reads) for n in (0, 1))
    return [
        at_least(
            "embedded: durable remember",
            f"{1 / one:,.0f}/s",
            f"raw single rows, FULL, full text: {1 / raw:,.0f}/s",
            median(b / a for a, b in writes),
            0.4,
        ),
        at_most(
            "embedded: recall of 100",
            milliseconds(hundred),
            f"the raw query: {milliseconds(query)}",
            median(a / b for a, b in reads),
            3,
        ),
    ]


def _take_turns(
    one: Callable[[], object], other: Callable[[], object], rounds: int
) -> list[tuple[float, float]]:
    """Return the seconds of a call of either, for each round."""
    return [(_time(one), _time(other)) for _ in range(rounds)]


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(_BLOCK):
        call()
    return (time.perf_counter() - started) / _BLOCK
