"""The `memtrace` command, ending when its standard input ends.

A server must not outlive the test that started it, even if the test is killed. So `python -m
memtrace.testing._tethered serve` reads its standard input until the end, and stops then.
"""

from __future__ import annotations

import os
import signal
import threading

_INPUT = 0


def _end_with_input() -> None:
    # sys.stdin is unsuitable: this thread would hold its lock when the interpreter ends.
    while os.read(_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from memtrace.cli import main

    threading.Thread(target=_end_with_input, daemon=True).start()
    main()
