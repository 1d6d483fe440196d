"""`memtrace` as it would be without group commit: each write is committed alone."""

from __future__ import annotations

from memtrace.cli import main
from memtrace_server import app
from memtrace_server.store.sqlite import store

if __name__ == "__main__":
    # No setting: nobody should want this but to compare.
    app._GROUP = store._GROUP = 1  # noqa: SLF001
    main()
