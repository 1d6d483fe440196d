"""A store in one SQLite file, or in memory."""

from memtrace_server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
