"""`memtrace` as it would be without group commit: each write is committed alone."""

from __future__ import annotations

from memtrace.cli import main
from memtrace_server.store import writing

if __name__ == "__main__":
    # No setting: nobody should want this but to compare.
    writing.GROUP = 1
    main()
