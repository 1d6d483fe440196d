"""The embedded store and others beside SQLite alone, taking turns: time, memory and bytes of a memory.

Times are CPU time of the process with all its threads. The stores are in memory (tmpfs) if there is such a
folder: on a disk that costs nothing, the work itself shows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from benchmarks.environments import OWN_PACKAGES, Interpreter, Process, own_dependencies
from benchmarks.report import Row, at_least, at_most, median, milliseconds

_SCRIPT = Path(__file__).with_name("peer_calls.py")
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder is made in it
OWN = ("floor", "memtrace")
PEERS: Mapping[str, Sequence[str]] = {
    "langgraph": ["langgraph-checkpoint-sqlite==3.1.2"],
    "openai-agents": ["openai-agents==0.24.0"],
    "chroma": ["chromadb==1.5.9"],
    "mem0": ["mem0ai==2.2.1"],
}
"""What each peer needs; without the models that some could make vectors with."""

_TURN = 200  # writes
_READS = 3
_WRITES = 0.6  # of the floor's rate
_BYTES = 1.8  # times the floor's
_MEMORY = 45.0  # MiB


@frozen(kw_only=True)
class Measured:
    """The measurements of one store: bytes a memory, MiB after the first write, and seconds."""

    size: float
    memory: float
    writes: Sequence[float]
    reads: Sequence[float]


def weigh(folder: Path, *, rounds: int) -> list[Row]:
    """Compare our embedded store with the floor."""
    found = measure(folder, OWN, rounds=rounds)
    floor, ours = (found[name] for name in OWN)
    return [
        at_most(
            "embedded: bytes a memory",
            f"{ours.size:,.0f}",
            f"a plain table, three indexes, one of words: {floor.size:,.0f}",
            ours.size / floor.size,
            _BYTES,
        ),
        at_least(
            "embedded: CPU of a write, indexing included",
            milliseconds(median(ours.writes)),
            f"the floor's: {milliseconds(median(floor.writes))}",
            median(b / a for a, b in zip(ours.writes, floor.writes, strict=True)),
            _WRITES,
        ),
        at_most(
            "embedded: memory after the first request",
            f"{ours.memory:.0f} MiB",
            f"{_MEMORY:.0f} MiB",
            ours.memory / _MEMORY,
            1,
        ),
    ]


def compare(folder: Path, *, rounds: int) -> list[Row]:
    """Compare all stores with the floor."""
    found = measure(folder, [*OWN, *PEERS], rounds=rounds)
    floor = found["floor"]
    return [
        Row(
            name,
            f"write {milliseconds(median(each.writes))}, newest 100 {milliseconds(median(each.reads))},"
            f" {each.size:,.0f} bytes a memory, {each.memory:.0f} MiB",
            f"write {median(each.writes) / median(floor.writes):.1f},"
            f" newest 100 {median(each.reads) / median(floor.reads):.1f},"
            f" bytes {each.size / floor.size:.1f} of the floor's",
        )
        for name, each in found.items()
    ]


def measure(folder: Path, names: Sequence[str], *, rounds: int) -> Mapping[str, Measured]:
    """Measure stores, which take turns. Their environments stay in the folder."""
    version = sys.implementation.cache_tag
    with ExitStack() as stack:
        files = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else folder)
            )
        )
        processes: dict[str, Process] = {}
        for name in names:
            needed = PEERS.get(name) or (own_dependencies("server") if name == "memtrace" else [])
            packages = OWN_PACKAGES if name == "memtrace" else ()
            python = Interpreter(folder / f"peer-{name}-{version}", _SCRIPT, needed, packages)
            (files / name).mkdir()
            processes[name] = stack.enter_context(Process(python, name, str(files / name)))
        for process in processes.values():
            process.ask("write 1")
        memory = {name: process.ask("memory") for name, process in processes.items()}
        writes: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, process in processes.items():
                writes[name].append(process.ask(f"write {_TURN}"))
        reads = {name: [process.ask(f"read {_READS}")] for name, process in processes.items()}
        for name, process in processes.items():
            # Background work is finished at the end; each write has its share.
            share = process.ask("close") / (rounds * _TURN)
            writes[name] = [each + share for each in writes[name]]
        return {
            name: Measured(
                size=_size(files / name) / (rounds * _TURN + 1),
                memory=memory[name],
                writes=writes[name],
                reads=reads[name],
            )
            for name in names
        }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
