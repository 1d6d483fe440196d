"""Where memories live: a small protocol, and the stores that implement it.

Each `open_store` URL leads to one implementation; a conformance suite holds for all of them.
"""

from __future__ import annotations

from pathlib import Path

from memtrace_server.store.protocol import Store, StoreUnsupported
from memtrace_server.store.sqlite import SqliteStore
from memtrace_server.store.sqlite.backups import Restored, restore
from memtrace_server.store_url import StoreUrl

__all__ = ["Restored", "Store", "open_store", "restore_store"]


def open_store(url: str, *, create: bool = True) -> Store:
    """Return the store that a URL names: `sqlite:///file.db`, `sqlite://` for one in memory, `postgresql://…`.

    It is opened at the first use, and brought to this version's schema.

    Args:
        url: The URL; with `?mode=ro`, nothing is written.
        create: Whether to create the store when it does not exist.

    Raises:
        ValueError: The URL names no store that this version has.
        StoreNotFound: The store does not exist and is not to be created.
    """
    location = StoreUrl.parse(url)
    if location.dsn is not None:
        return _postgres(location, create=create)
    return SqliteStore(location.path, is_read_only=location.is_read_only, create=create)


def restore_store(url: str, backup: str) -> Restored:
    """Put a backup, a file, in the place of a store that nobody has open.

    Raises:
        ValueError: The URL names no store in a file, or the store is the backup.
        StoreBusy: Somebody has the store open.
        StoreNotFound: There is no such backup.
        StoreUnavailable: The backup cannot be used; the store is as it was.
    """
    location = StoreUrl.parse(url)
    if location.dsn is not None:
        raise StoreUnsupported(
            "a PostgreSQL store is restored by pg_restore, from what pg_dump wrote", location
        )
    if location.path is None or location.is_read_only:
        raise ValueError(f"{url!r}: a backup can only be restored to a file that may be written")
    return restore(Path(backup), Path(location.path))


def _postgres(location: StoreUrl, *, create: bool) -> Store:
    try:
        from memtrace_server.store.postgres import PostgresStore  # noqa: PLC0415 - an extra brings its driver
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "psycopg":
            raise
        raise ValueError(
            "postgresql:// needs the package psycopg; install it with pip install 'memtrace-sdk[postgres]'"
        ) from error
    return PostgresStore(location, create=create)
