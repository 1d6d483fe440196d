"""The client against memtrace-sdk 0.2.0, with canned responses.

Each has its own environment, made once, with what it needs and nothing else. The times are CPU time of the
client's process, user and system.

Other load of the machine only adds to them, through the caches: hence many short turns of both clients, and
the tenth percentile of the turns. The addresses of its memory make one process up to a fifth slower than
another of the same client: hence many starts.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from attrs import frozen

from benchmarks.environments import OWN_PACKAGES, Interpreter, Process, own_dependencies
from benchmarks.report import Row, at_most, median, milliseconds, percentile

_HERE = Path(__file__).parent
_SCRIPT = _HERE / "client_calls.py"
_OLD = "memtrace-sdk==0.2.0"
_TURNS = 10  # of each method after a start
_UNDISTURBED = 0.1  # of the turns
_BUFFERED_CALLS = 2000
_BUFFERED = 0.1
_IMPORT = 0.80
_MEMORY = 0.85

_Turns = list[tuple[float, float]]


@frozen
class _Method:
    name: str
    times: int  # in a turn, of some ten milliseconds
    bound: float  # how much of the CPU time of 0.2.0 it may take


_METHODS = {
    "remember": _Method("remember", 15, 1.0),
    "hundred": _Method("recall of 100", 10, 0.65),
    "thousand": _Method("recall of 1,000", 4, 0.35),
}


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """Measure with a number of starts of each client. The environments stay in the folder."""
    version = sys.implementation.cache_tag
    ours = Interpreter(folder / f"client-{version}", _SCRIPT, own_dependencies(), packages=OWN_PACKAGES)
    old = Interpreter(folder / f"client-0.2.0-{version}", _SCRIPT, [_OLD])
    calls: dict[str, _Turns] = defaultdict(list)
    buffered: _Turns = []
    memory: _Turns = []
    with _canned() as url:
        for _ in range(rounds):
            with Process(ours, "calls", url) as process, Process(old, "calls", url) as other:
                memory.append((float(process.read()), float(other.read())))
                for name, method in _METHODS.items():
                    calls[name] += _turns(process, other, name, method.times)
                buffered.append(_buffered(process))
    return [
        *(_compared(method.name, calls[name], method.bound) for name, method in _METHODS.items()),
        _compared("remember through buffered()", buffered, _BUFFERED, other="unbuffered"),
        _compared("memory after the first calls", memory, _MEMORY, "{:.0f} MiB".format, share=0.5),
        _compared("import", _imports(ours, old, rounds), _IMPORT),
    ]


def _turns(process: Process, other: Process, method: str, times: int) -> _Turns:
    question = f"{method} {times}"
    process.ask(question), other.ask(question)  # for the first time
    turns: _Turns = []
    for turn in range(_TURNS):
        if turn % 2:
            second = other.ask(question)
            first = process.ask(question)
        else:
            first, second = process.ask(question), other.ask(question)
        turns.append((first / times, second / times))
    return turns


def _buffered(process: Process) -> tuple[float, float]:
    times = _METHODS["remember"].times
    unbuffered = median(process.ask(f"remember {times}") / times for _ in range(_TURNS))
    return process.ask(f"buffered {_BUFFERED_CALLS}") / _BUFFERED_CALLS, unbuffered


def _imports(ours: Interpreter, old: Interpreter, rounds: int) -> _Turns:
    for python in (ours, old):
        python.run("import")  # this writes the byte code
    return [(float(ours.run("import")), float(old.run("import"))) for _ in range(rounds)]


def _compared(  # noqa: PLR0913 - one for each fact
    name: str,
    turns: _Turns,
    bound: float,
    written: Callable[[float], str] = milliseconds,
    *,
    other: str = "0.2.0",
    share: float = _UNDISTURBED,
) -> Row:
    ours, theirs = (percentile([turn[n] for turn in turns], share) for n in (0, 1))
    return at_most(f"client: {name}", written(ours), f"{other}: {written(theirs)}", ours / theirs, bound)


@contextmanager
def _canned() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, _HERE / "canned.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as server:
        yield f"http://127.0.0.1:{int(cast('IO[str]', server.stdout).readline())}"
        cast("IO[str]", server.stdin).close()
