"""Measure a client, this one or memtrace-sdk 0.2.0, with the interpreter that has it.

Run as a script, with

- `import`, it prints the CPU seconds that the import of the client takes.
- `calls URL`, it makes some calls and prints the MiB of memory that the process then has. Then it reads lines
  of METHOD TIMES, and prints the CPU seconds of that number of calls; METHOD `buffered` is `remember` through
  a buffer, which is then closed.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = "mtk_0123456789abcdef0123456789abcdef"


def main() -> None:
    """Run the command of the arguments."""
    started = time.process_time()
    import memtrace  # noqa: PLC0415  # the import is measured

    kinds = (memtrace.Memtrace,)  # this client is imported with its name
    if sys.argv[1] == "import":
        print(time.process_time() - started)
    else:
        call_alone(kinds[0](sys.argv[2], KEY))


def call_alone(client: Any) -> None:  # noqa: ANN401  # of either SDK
    """Make calls one after the other."""
    calls = methods(client)
    for _ in range(3):
        calls["remember"]()
        calls["hundred"]()
    print(resident(), flush=True)
    for line in sys.stdin:
        method, times = line.split()
        gc.collect()  # otherwise some turns would have a full collection, and others none
        started = time.process_time()
        if method == "buffered":
            with client.buffered() as log:
                repeat(methods(log)["remember"], int(times))
        else:
            repeat(calls[method], int(times))
        print(time.process_time() - started, flush=True)


def repeat(call: Callable[[], object], times: int) -> None:
    """Make a call again and again."""
    for _ in range(times):
        call()


def resident() -> float:
    """Return the MiB of memory that the process has."""
    # Without /proc, the maximum so far: that of the process it was forked from, if that was higher.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def methods(client: Any) -> dict[str, Callable[[], Any]]:  # noqa: ANN401  # as above
    """Return the measured calls by name."""
    return {
        "remember": lambda: client.remember("agent_1", "The user prefers dark mode in all of the settings"),
        "hundred": lambda: client.recall("hundred"),
        "thousand": lambda: client.recall("thousand"),
    }


if __name__ == "__main__":
    main()
