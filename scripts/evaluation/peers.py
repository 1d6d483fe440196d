"""Searches of the same log: Memtrace's through the server's core, and FTS5's own ranking."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from unittest.mock import patch

import msgspec

from evaluation.log import NOW, Question
from memtrace_server import tenants, times
from memtrace_server.core import Core
from memtrace_server.messages import Request
from memtrace_server.search.documents import Document
from memtrace_server.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

BEST = 10
MEASURES = ("recall@1", "recall@5", "recall@10", "MRR", "session@5")
_BATCH = 1_000


class Peer(Protocol):
    """A search that returns the ids of memories."""

    def search(self, question: str) -> tuple[list[str], float]:
        """Return the ids of the best memories, best first, and the CPU time (s)."""

    def sessions(self, question: str) -> list[str]:
        """Return the sessions of the best memories, each once."""


class Memtrace:
    """Memtrace's search, as a request to the server's core on a store in a file."""

    def __init__(self, folder: Path, memories: Iterable[Mapping[str, Any]]) -> None:
        self._store = open_store(f"sqlite:///{folder / 'memtrace.db'}")
        self._core = Core(self._store, local=tenants.local_principal(self._store))
        waiting = iter(memories)
        while batch := list(islice(waiting, _BATCH)):
            self._send("/api/v1/memories", {"memories": batch})
        self._store.tend()
        with closing(sqlite3.connect(folder / "memtrace.db")) as connection:
            while connection.execute("SELECT 1 FROM unindexed LIMIT 1").fetchone():
                time.sleep(0.1)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def search(self, question: str) -> tuple[list[str], float]:
        """Return the ids of the best memories, best first, and the CPU time (s)."""
        started = time.thread_time()
        body = self._send("/api/v1/search", {"query": question, "limit": BEST})
        took = time.thread_time() - started
        return [memory["dedup_key"] for memory in msgspec.json.decode(body)["results"]], took

    def sessions(self, question: str) -> list[str]:
        """Return the sessions of the best memories, each once."""
        body = self._send("/api/v1/search", {"query": question, "limit": BEST, "group_by": "session"})
        return [memory["session_id"] for memory in msgspec.json.decode(body)["results"]]

    def _send(self, path: str, body: object) -> bytes:
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(body)
        response = self._core.handle(
            Request(method="POST", path=path, query="", headers=headers, body=content)
        )
        if response.status >= 300:  # noqa: PLR2004 - HTTP
            raise RuntimeError(response.body.decode())
        return response.body


class FullText:
    """FTS5 with porter, any word, and its bm25()."""

    def __init__(self, memories: Iterable[Mapping[str, Any]]) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE log"
            " USING fts5(id UNINDEXED, session UNINDEXED, text, tokenize='porter unicode61')"
        )
        texts = (
            (memory["dedup_key"], memory["session_id"], msgspec.convert(memory, Document, strict=False).text)
            for memory in memories
        )
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?)", texts)

    def search(self, question: str) -> tuple[list[str], float]:
        """Return the ids of the best memories, best first, and the CPU time (s)."""
        started = time.thread_time()
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
        sql = "SELECT id FROM log WHERE log MATCH ? ORDER BY bm25(log) LIMIT ?"
        found = [name for (name,) in self._db.execute(sql, (words, BEST))]
        return found, time.thread_time() - started

    def sessions(self, question: str) -> list[str]:
        """Return the sessions of the best memories, each once."""
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
        sql = "SELECT session FROM log WHERE log MATCH ? ORDER BY bm25(log) LIMIT 100"
        return list(dict.fromkeys(name for (name,) in self._db.execute(sql, (words,))))[:BEST]


@contextmanager
def clock() -> Iterator[None]:
    """Stop the server's clock, so that "yesterday" is always the same day."""
    moment = times.parse(NOW.isoformat())
    with patch.object(times, "now", lambda: moment):
        yield


def scores(peer: Peer, questions: Sequence[Question], session_of: Mapping[str, str]) -> Mapping[str, float]:
    """Measure how well a peer answers.

    Args:
        peer: The peer.
        questions: The questions.
        session_of: The session of each memory.

    Returns:
        How many of the answers are among the first 1, 5 and 10; the mean reciprocal rank of the first answer;
        and how often the session of an answer is among the first 5 sessions.
    """
    totals = dict.fromkeys(MEASURES, 0.0)
    for question in questions:
        found, _ = peer.search(question.text)
        for best in (1, 5, 10):
            of_best = len(question.answers & set(found[:best])) / min(len(question.answers), best)
            totals[f"recall@{best}"] += of_best
        totals["MRR"] += next((1 / n for n, name in enumerate(found, 1) if name in question.answers), 0.0)
        sessions = {session_of[answer] for answer in question.answers}
        totals["session@5"] += not sessions.isdisjoint(peer.sessions(question.text)[:5])
    return {name: total / len(questions) for name, total in totals.items()}
