"""`memtrace` without group commit: each write is committed alone."""

from __future__ import annotations

from memtrace.cli import main
from memtrace_server.store import writing

if __name__ == "__main__":
    # Not a setting: it is for comparisons only.
    writing.GROUP = 1
    main()
