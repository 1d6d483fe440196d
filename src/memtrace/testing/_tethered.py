"""The `memtrace` command, which ends with its standard input.

A server that a test starts must not outlive the test, even one that is killed: `python -m
memtrace.testing._tethered serve` reads its standard input until that ends.
"""

from __future__ import annotations

import os
import signal
import threading

_INPUT = 0


def _end_with_input() -> None:
    # Not sys.stdin, whose lock an ending interpreter could not take from this thread.
    while os.read(_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from memtrace.cli import main

    threading.Thread(target=_end_with_input, daemon=True).start()
    main()
