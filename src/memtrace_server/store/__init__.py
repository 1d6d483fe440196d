"""Stores of memories: a small protocol and its implementations, which pass one conformance suite."""

from __future__ import annotations

from pathlib import Path

from memtrace_server.store.protocol import Store, StoreUnsupported
from memtrace_server.store.sqlite import SqliteStore
from memtrace_server.store.sqlite.backups import Restored, restore
from memtrace_server.store_url import StoreUrl

__all__ = ["Restored", "Store", "open_store", "restore_store"]


def open_store(url: str, *, create: bool = True) -> Store:
    """Return the store of a URL: `sqlite:///file.db`, `sqlite://` (in memory) or `postgresql://…`.

    The store is opened and migrated at its first use.

    Args:
        url: The URL; with `?mode=ro`, the store is read only.
        create: Whether to create the store when it does not exist.

    Raises:
        ValueError: The URL names no store that this version has.
        StoreNotFound: The store does not exist, and `create` is false.
    """
    location = StoreUrl.parse(url)
    if location.dsn is not None:
        return _postgres(location, create=create)
    return SqliteStore(location.path, is_read_only=location.is_read_only, create=create)


def restore_store(url: str, backup: str) -> Restored:
    """Replace a store that no process has open with a backup file.

    Raises:
        ValueError: The URL does not name a store in a file, or names the backup itself.
        StoreBusy: A process has the store open.
        StoreNotFound: The backup does not exist.
        StoreUnavailable: The backup cannot be used; the store has not changed.
    """
    location = StoreUrl.parse(url)
    if location.dsn is not None:
        raise StoreUnsupported("restore a PostgreSQL store with pg_restore, from a dump of pg_dump", location)
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
