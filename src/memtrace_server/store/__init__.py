"""Where memories live: a small protocol, and the stores that implement it.

Each `open_store` URL leads to one implementation; a conformance suite holds for all of them.
"""

from __future__ import annotations

from memtrace_server.store.protocol import Store
from memtrace_server.store.sqlite import SqliteStore

__all__ = ["Store", "open_store"]


def open_store(url: str) -> Store:
    """The store that a URL names: `sqlite:///file.db`, or `sqlite://` for one in memory.

    The file is made if it is missing, and brought to this version's schema.

    Raises:
        ValueError: The URL names no store that this version has.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest in {"", "/:memory:"}:
        return SqliteStore(None)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteStore(rest[1:])
    raise ValueError(
        f"{url!r} names no store; use sqlite:///agent.db, sqlite:////absolute/path.db, or sqlite://"
    )
