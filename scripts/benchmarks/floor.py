"""The floor: SQLite alone, with a plain table of memories, as fast as Python can drive it durably."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from benchmarks import samples
from memtrace_server.store.sqlite import fulltext

_SCHEMA = """
    CREATE TABLE memories (
        seq INTEGER PRIMARY KEY, org INTEGER, agent_id TEXT, session_id TEXT,
        memory_type TEXT, event_type TEXT, content TEXT, time INTEGER, importance REAL,
        tags TEXT, metadata TEXT, dedup_key TEXT, parent_id TEXT
    );
    CREATE INDEX by_time ON memories (org, time);
    CREATE INDEX by_agent ON memories (org, agent_id, time);
    CREATE INDEX by_session ON memories (org, session_id, time);
    CREATE VIRTUAL TABLE words USING fts5(text, content='');
"""
_ROW = tuple[object, ...]


class Floor:
    """A plain SQLite file of memories: WAL, synchronous=FULL, 13 columns, three indexes."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        fulltext.create_table(self._db, "pieces", "pieces")
        self._rows = _rows()

    def __enter__(self) -> Self:
        """Return the floor."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the file."""
        self._db.close()

    def insert(self, number: int, *indexes: str) -> None:
        """Store memories in one transaction, and in full-text indexes of `words`, or of `pieces`."""
        rows = list(itertools.islice(self._rows, number))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        for index in indexes:
            self._db.executemany(
                f"INSERT INTO {index} (rowid, text) VALUES (?, ?)",  # noqa: S608 - one of two names
                [(row[0], row[6]) for row in rows],
            )
        self._db.execute("COMMIT")

    def newest(self, number: int) -> int:
        """Read the newest memories of an agent, and return their number."""
        sql = "SELECT * FROM memories WHERE org = ? AND agent_id = ? AND time >= ? ORDER BY time DESC LIMIT ?"
        return len(self._db.execute(sql, (1, "agent_1", 0, number)).fetchall())


def _rows() -> Iterator[_ROW]:
    contents = samples.contents(1_000, seed="floor")
    for n in itertools.count(1):
        yield (
            n, 1, f"agent_{n % 100}", f"sess_{n % 100}", "episodic", "action", f"{next(contents)} {n}", n,
            0.5, '["load"]', None, None, None,
        )  # fmt: skip
