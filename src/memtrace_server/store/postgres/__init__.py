"""A store in a PostgreSQL database, which many servers can share."""

from memtrace_server.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
