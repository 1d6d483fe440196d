"""Contexts: CPU time of the server, reading included, for an ordinary one and for the worst possible."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import samples
from benchmarks.report import Row, at_most, milliseconds
from memtrace import Memtrace

_ORDINARY = 0.050  # seconds of CPU
_WORST = 1.0
_LONGEST = 65_536  # characters of a content
_LARGEST = 1_000_000  # tokens of a context
_KINDS = ("user", "assistant", "action", "tool", "error")


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """Measure the CPU time of an embedded server; the least of some rounds."""
    with Memtrace(f"sqlite:///{folder / 'contexts.db'}") as client:
        ordinary = _fill(client, "ordinary", _ordinary())
        rows = [_row("2,000 memories in 4,000 tokens", _cost(ordinary, rounds, max_tokens=4_000), _ORDINARY)]
        for name, number, text in (
            ("60 × 64 KiB of combining marks", 60, "\u0301"),  # noqa: RUF001 - the sign of multiplication
            ("64 KiB of short lines each", 250, "a\n"),
            ("64 KiB of bidi controls each", 250, "\u202e"),
            ("64 KiB of openings of tags each", 250, "<" + " " * 24),
            ("64 KiB of prose each", 250, "The export of the invoices has been empty since yesterday. "),
        ):
            get = _fill(client, name, _large(number, text))
            rows.append(_row(f"{name}, in 1,000,000 tokens", _cost(get, 1, max_tokens=_LARGEST), _WORST))
    return rows


def _ordinary() -> Iterable[dict[str, Any]]:
    contents = samples.contents(2_000, seed="contexts")
    for n, content in zip(range(2_000), contents, strict=False):
        yield {"content": content, "event_type": _KINDS[n % 5], "session_id": f"s{n // 50}"}


def _large(number: int, text: str) -> Iterable[dict[str, Any]]:
    for n in range(number):
        yield {"content": f"{n} {text * (_LONGEST // len(text))}"[:_LONGEST]}


def _fill(client: Memtrace, agent: str, memories: Iterable[Mapping[str, Any]]) -> Callable[[int], object]:
    """Store memories of an agent, and return a function that gets its context."""
    batch = [{"agent_id": agent, **memory} for memory in memories]
    for first in range(0, len(batch), 50):
        client.add_memories(batch[first : first + 50])
    return lambda max_tokens: client.get_agent_context(agent, max_tokens=max_tokens)


def _cost(get: Callable[[int], object], rounds: int, *, max_tokens: int) -> float:
    costs = []
    for _ in range(rounds + 1):
        started = time.process_time()
        get(max_tokens)
        costs.append(time.process_time() - started)
    return min(costs)


def _row(name: str, measured: float, bound: float) -> Row:
    return at_most(name, milliseconds(measured), milliseconds(bound), measured / bound, 1)
