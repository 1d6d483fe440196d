# ruff: noqa: ANN401, ARG002, D102, S101, S311 - each store is imported where it is installed
"""One store of memories in its own environment; its commands are `write N`, `read N`, `memory` and `close`.

The response to each is a line: seconds of CPU time a call, or MiB.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

_AGENTS = 10
_NEWEST = 100
_WORDS = 17
_DIMENSIONS = 384  # of a vector, as those of the usual small models


class Store(Protocol):
    """A store of memories."""

    def write(self, agent: str, key: str, text: str) -> object:
        """Store one memory durably."""

    def newest(self, agent: str) -> int:
        """Read the newest hundred memories of an agent, and return their number."""

    def close(self) -> None:
        """Finish all background work, and release the files."""


class Floor:
    """SQLite with a plain table, three indexes and one of words."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self._db.executescript("""
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
            CREATE TABLE memories (
                seq INTEGER PRIMARY KEY, org INTEGER, agent_id TEXT, session_id TEXT, memory_type TEXT,
                event_type TEXT, content TEXT, time INTEGER, importance REAL, tags TEXT, metadata TEXT,
                dedup_key TEXT, parent_id TEXT
            );
            CREATE INDEX by_time ON memories (org, time);
            CREATE INDEX by_agent ON memories (org, agent_id, time);
            CREATE INDEX by_session ON memories (org, session_id, time);
            CREATE VIRTUAL TABLE words USING fts5(text, content='');
        """)
        self._rows = itertools.count(1)

    def write(self, agent: str, key: str, text: str) -> object:
        row = next(self._rows)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "INSERT INTO memories VALUES (?, 1, ?, ?, 'episodic', 'action', ?, ?, 0.5, ?, ?, ?, ?)",
            (row, agent, f"sess_{agent}", text, row, '["load"]', None, None, None),
        )
        self._db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, text))
        return self._db.execute("COMMIT")

    def newest(self, agent: str) -> int:
        sql = "SELECT * FROM memories WHERE org = 1 AND agent_id = ? ORDER BY time DESC LIMIT ?"
        return len(self._db.execute(sql, (agent, _NEWEST)).fetchall())

    def close(self) -> None:
        self._db.close()


class Memtrace:
    """Memtrace."""

    def __init__(self, folder: Path) -> None:
        self._client = import_module("memtrace").Memtrace(f"sqlite:///{folder / 'agent.db'}")

    def write(self, agent: str, key: str, text: str) -> object:
        more: dict[str, Any] = {"event_type": "action", "tags": ["load"], "importance": 0.5}
        return self._client.remember(agent, text, session_id=f"sess_{agent}", **more)

    def newest(self, agent: str) -> int:
        return len(self._client.recall(agent, limit=_NEWEST).memories)

    def close(self) -> None:
        self._client.close()


class LangGraph:
    """SqliteStore of LangGraph."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "store.db", isolation_level=None, check_same_thread=False)
        self._store = import_module("langgraph.store.sqlite").SqliteStore(self._db)
        self._store.setup()

    def write(self, agent: str, key: str, text: str) -> object:
        return self._store.put((agent,), key, {"content": text, "tags": ["load"], "importance": 0.5})

    def newest(self, agent: str) -> int:
        return len(self._store.search((agent,), limit=_NEWEST))

    def close(self) -> None:
        self._db.close()


class OpenAIAgents:
    """SQLiteSession of the OpenAI Agents SDK."""

    def __init__(self, folder: Path) -> None:
        agents = import_module("agents")
        self._sessions = [
            agents.SQLiteSession(f"agent_{number}", str(folder / "sessions.db")) for number in range(_AGENTS)
        ]
        self._loop = asyncio.new_event_loop()

    def write(self, agent: str, key: str, text: str) -> object:
        return self._loop.run_until_complete(self._of(agent).add_items([{"role": "user", "content": text}]))

    def newest(self, agent: str) -> int:
        return len(self._loop.run_until_complete(self._of(agent).get_items(limit=_NEWEST)))

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        self._loop.close()

    def _of(self, agent: str) -> Any:
        return self._sessions[int(agent.removeprefix("agent_"))]


class Chroma:
    """A collection of Chroma, with vectors that cost nothing to make."""

    def __init__(self, folder: Path) -> None:
        settings = import_module("chromadb.config").Settings(anonymized_telemetry=False)
        self._client = import_module("chromadb").PersistentClient(str(folder), settings)
        self._memories = self._client.get_or_create_collection("memories", embedding_function=None)
        self._times = itertools.count()

    def write(self, agent: str, key: str, text: str) -> object:
        about = {"agent": agent, "time": next(self._times)}
        return self._memories.add(ids=[key], documents=[text], metadatas=[about], embeddings=[_vector(text)])

    def newest(self, agent: str) -> int:
        found = self._memories.get(where={"agent": agent})  # in no order
        both = zip(found["metadatas"], found["documents"], strict=True)
        return len(sorted(both, key=lambda memory: -memory[0]["time"])[:_NEWEST])

    def close(self) -> None:
        pass


class Mem0:
    """Memory of mem0 on its local Qdrant, with vectors that cost nothing to make, and no model."""

    def __init__(self, folder: Path) -> None:
        os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": str(folder), "OPENAI_API_KEY": "none"}
        import_module("mem0.utils.factory").EmbedderFactory.create = lambda *_, **__: _Vectors()
        qdrant = {"path": str(folder / "qdrant"), "on_disk": True, "embedding_model_dims": _DIMENSIONS}
        self._memory = import_module("mem0").Memory.from_config(
            {
                "vector_store": {"provider": "qdrant", "config": qdrant},
                "history_db_path": str(folder / "history.db"),
            }
        )

    def write(self, agent: str, key: str, text: str) -> object:
        return self._memory.add(text, user_id=agent, infer=False)

    def newest(self, agent: str) -> int:
        found = self._memory.get_all(filters={"user_id": agent}, top_k=1_000_000)["results"]  # in no order
        return len(sorted(found, key=lambda memory: memory["created_at"])[-_NEWEST:])

    def close(self) -> None:
        self._memory.vector_store.client.close()


class _Vectors:
    """Vectors without a model."""

    config = None

    def embed(self, text: str, memory_action: object = None) -> list[float]:
        return _vector(text)

    def embed_batch(self, texts: list[str], memory_action: object = None) -> list[list[float]]:
        return [_vector(text) for text in texts]


STORES: Mapping[str, Callable[[Path], Store]] = {
    "floor": Floor, "memtrace": Memtrace, "langgraph": LangGraph, "openai-agents": OpenAIAgents,
    "chroma": Chroma, "mem0": Mem0,
}  # fmt: skip


def _vector(text: str) -> list[float]:
    chance = random.Random(text)
    return [chance.random() for _ in range(_DIMENSIONS)]


def _texts() -> Iterator[str]:
    chance = random.Random(1)
    words = ["".join(chance.choices("aeioubcdfglmnprst", k=chance.randint(3, 9))) for _ in range(2_000)]
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))
    return (" ".join(chance.choices(words, cum_weights=weights, k=_WORDS)) for _ in itertools.count())


def _run(name: str, folder: Path) -> None:
    store: Store = STORES[name](folder)
    texts, numbers = _texts(), itertools.count()

    def write(times: int) -> float:
        prepared = [
            (f"agent_{n % _AGENTS}", f"key_{n}", f"{next(texts)} {n}")
            for n in itertools.islice(numbers, times)
        ]
        before = time.process_time()
        for each in prepared:
            store.write(*each)
        return (time.process_time() - before) / times

    def read(times: int) -> float:
        before = time.process_time()
        for _ in range(times):
            assert store.newest("agent_1") == _NEWEST
        return (time.process_time() - before) / times

    def memory() -> float:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / (1 << 20)

    for line in sys.stdin:
        command, *values = line.split()
        if command == "close":
            before = time.process_time()
            store.close()
            result = time.process_time() - before
        else:
            commands: Mapping[str, Callable[..., float]] = {"write": write, "read": read, "memory": memory}
            result = commands[command](*map(int, values))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _run(sys.argv[1], Path(sys.argv[2]))
