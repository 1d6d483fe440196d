"""Our client against memtrace-sdk 0.2.0, with canned responses.

Each has an environment of its own, made once, with what it needs and nothing else. Measured is the CPU time
of the client's process, of user and system.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

from benchmarks.environments import OWN_PACKAGES, Interpreter, Process, own_dependencies
from benchmarks.report import Row, at_most, median, milliseconds

_HERE = Path(__file__).parent
_SCRIPT = _HERE / "client_calls.py"
_OLD = "memtrace-sdk==0.2.0"
# Calls in a turn, and how much of the other's CPU time they may take.
_CALLS = {
    "remember": ("remember", 200, 1.0),
    "hundred": ("recall of 100", 60, 0.65),
    "thousand": ("recall of 1,000", 15, 0.35),
}
_BUFFERED_CALLS = 5000
_BUFFERED = 0.1
_IMPORT = 0.80
_MEMORY = 0.85


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """Measure; the clients take turns. The environments stay in the folder."""
    version = sys.implementation.cache_tag
    ours = Interpreter(folder / f"client-{version}", _SCRIPT, own_dependencies(), packages=OWN_PACKAGES)
    old = Interpreter(folder / f"client-0.2.0-{version}", _SCRIPT, [_OLD])
    with _canned() as url:
        rows = _alone(ours, old, url, rounds)
        rows.append(_memory(ours, old, url, rounds))
        rows.append(_imports(ours, old, rounds))
    return rows


def _alone(ours: Interpreter, old: Interpreter, url: str, rounds: int) -> list[Row]:
    with ExitStack() as stack:
        process, other = (stack.enter_context(Process(python, "calls", url)) for python in (ours, old))
        process.read(), other.read()  # their memory
        rows = []
        for method, (name, times, bound) in _CALLS.items():
            for either in (process, other):
                either.ask(f"{method} {times}")
            turns = [
                (process.ask(f"{method} {times}") / times, other.ask(f"{method} {times}") / times)
                for _ in range(rounds)
            ]
            rows.append(_compared(f"client: {name}", turns, bound))
        rows.append(_buffered(process, rounds))
    return rows


def _buffered(process: Process, rounds: int) -> Row:
    process.ask(f"buffered {_BUFFERED_CALLS}")
    times = _CALLS["remember"][1]
    turns = [
        (
            process.ask(f"buffered {_BUFFERED_CALLS}") / _BUFFERED_CALLS,
            process.ask(f"remember {times}") / times,
        )
        for _ in range(rounds)
    ]
    one, other = (median(turn[n] for turn in turns) for n in (0, 1))
    ratio = median(a / b for a, b in turns)
    name, compared = "client: remember through buffered()", f"unbuffered: {milliseconds(other)}"
    return at_most(name, milliseconds(one), compared, ratio, _BUFFERED)


def _memory(ours: Interpreter, old: Interpreter, url: str, rounds: int) -> Row:
    # Of many starts, as what a process has depends on how much of its libraries the system keeps ready.
    turns = [(float(ours.run("calls", url)), float(old.run("calls", url))) for _ in range(rounds)]
    return _compared("client: memory after the first calls", turns, _MEMORY, lambda size: f"{size:.0f} MiB")


def _imports(ours: Interpreter, old: Interpreter, rounds: int) -> Row:
    for python in (ours, old):
        python.run("import")  # which writes the byte code
    turns = [(float(ours.run("import")), float(old.run("import"))) for _ in range(rounds)]
    return _compared("client: import", turns, _IMPORT)


def _compared(
    name: str, turns: list[tuple[float, float]], bound: float, told: Callable[[float], str] = milliseconds
) -> Row:
    one, other = (median(turn[n] for turn in turns) for n in (0, 1))
    ratio = median(a / b for a, b in turns)
    return at_most(name, told(one), f"0.2.0: {told(other)}", ratio, bound)


@contextmanager
def _canned() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, _HERE / "canned.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as server:
        yield f"http://127.0.0.1:{int(cast('IO[str]', server.stdout).readline())}"
        cast("IO[str]", server.stdin).close()
