"""Where memories live: a small protocol, and the stores that implement it.

Each `open_store` URL leads to one implementation; a conformance suite holds for all of them.
"""

from __future__ import annotations

from memtrace._store_url import StoreUrl
from memtrace_server.store.protocol import Store
from memtrace_server.store.sqlite import SqliteStore

__all__ = ["Store", "open_store"]


def open_store(url: str, *, create: bool = True) -> Store:
    """Return the store that a URL names: `sqlite:///file.db`, or `sqlite://` for one in memory.

    The file is opened at the first use, and brought to this version's schema.

    Args:
        url: The URL; with `?mode=ro`, nothing is written.
        create: Whether to create the file when it does not exist.

    Raises:
        ValueError: The URL names no store that this version has.
        StoreNotFound: The file does not exist and is not to be created.
    """
    location = StoreUrl.parse(url)
    return SqliteStore(location.path, is_read_only=location.is_read_only, create=create)
