"""`memtrace`, which records how long each holder of the writer's lock works: seconds of CPU, one a line."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from unittest.mock import patch

from memtrace.cli import main
from memtrace_server.store import writing
from memtrace_server.store.turns import Turns

HELD = "held.txt"
"""The file in the server's folder."""


class _Timed(Turns):
    _since = (0, 0.0)

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        if not super().acquire(blocking=blocking, timeout=timeout):
            return False
        self._since = threading.get_ident(), time.thread_time()
        return True

    def release(self) -> None:
        holder, since = self._since
        if holder == threading.get_ident():
            with Path(HELD).open("a") as held:
                held.write(f"{time.thread_time() - since} {threading.current_thread().name}\n")
        super().release()


if __name__ == "__main__":
    with patch.object(writing, "Turns", _Timed):
        main()
