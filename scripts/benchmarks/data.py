"""Files of memories of 10 organisations and 1,000 agents, one of which writes half of all memories.

Rare values occur as often in a small file as in a large one.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen

from benchmarks import samples
from memtrace_server import ids, tenants, times
from memtrace_server.store import open_store
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import NewMemory
from memtrace_server.store.sqlite import entries, fulltext, migrations

ORG = 1  # of the busy agent
AGENT = "busy"
SESSION = "busy-session"
SELDOM = "seldom"  # an agent of the same organisation, with as many memories as there are rare ones
RARE = 20  # memories of the busy agent that are decisions, and have the rare tag and word
RARE_WORD = "zyxwvutsrq"
RARE_TAG = "rare"
ORGS = 10
SEED = "data"
_AGENTS = 1_000
SPAN = 30 * times.DAY
BATCH = 5_000


@frozen
class File:
    """A file of memories: the time (ns) of its last one, and the interval (ns) between two."""

    url: str
    memories: int
    ends_at: int
    step: int


def build(folder: Path, memories: int) -> File:
    """Return the file of some memories, built or completed if necessary, for this schema and index."""
    sources = [migrations.__file__, fulltext.__file__, entries.__file__, __file__]
    digest = hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()
    path = folder / f"memories-{memories}-{digest[:8]}.db"
    url = f"sqlite:///{path}"
    with closing(open_store(url)) as store:
        while len(tenants.list_orgs(store)) < ORGS:
            tenants.create_org(store, f"tenant-{len(tenants.list_orgs(store))}")
        with closing(sqlite3.connect(path)) as connection:
            first, count = connection.execute("SELECT min(seq), count(*) FROM memories").fetchone()
        step = SPAN // memories
        first = first or times.now() - SPAN
        waiting = rows(first, step, count, memories)
        while batch := list(itertools.islice(waiting, BATCH)):
            print(f"\r  building {path.name}: {count:,}", end="", flush=True)
            store.write(partial(add, batch))
            count += len(batch)
    print(f"\r  {path.name} is ready{' ' * 30}")
    return File(url, memories, first + step * memories, step)


def add(batch: list[tuple[int, NewMemory]], transaction: Transaction) -> None:
    """Store a batch of memories, each with its organisation."""
    by_org: dict[int, list[tuple[bytes, NewMemory]]] = {}
    for org, memory in batch:
        fingerprint = hashlib.blake2b(memory.seq.to_bytes(8), digest_size=16).digest()
        by_org.setdefault(org, []).append((fingerprint, memory))
    for org, memories in by_org.items():
        transaction.add_memories(org, memories, memories[-1][1].time)


def rows(first: int, step: int, start: int, end: int) -> Iterator[tuple[int, NewMemory]]:
    """Return some memories, each with its organisation, between two numbers."""
    contents = samples.contents(10_000, seed=SEED)
    for n in range(start, end):
        agent = (n // 2) % (_AGENTS - 1) + 1
        is_busy = n % 2 == 0
        is_rare = is_busy and n % (end // RARE) == 0
        is_seldom = n % (end // RARE) == 1
        decides = is_rare if is_busy else agent % 20 == 0
        content = f"{next(contents)} {n}"
        moment = first + n * step
        yield (
            (ORG if is_busy or is_seldom else agent % ORGS + 1),
            _memory(
                moment,
                agent_id=AGENT if is_busy else SELDOM if is_seldom else f"agent_{agent}",
                session_id=SESSION if n % 4 == 0 else f"sess_{n % 97}_{agent}",
                memory_type="decision" if decides else "episodic",
                event_type="decision" if decides else "error" if n % 50 == 0 else "general",
                content=f"{content} {RARE_WORD if is_rare else samples.COMMON_WORD if is_seldom else ''}",
                tags=[RARE_TAG] if is_rare else ["common"] if n % 10 < 2 else [],  # noqa: PLR2004 - a fifth
            ),
        )


def _memory(  # noqa: PLR0913 - the fields of a memory
    moment: int,
    *,
    agent_id: str,
    session_id: str,
    memory_type: str,
    event_type: str,
    content: str,
    tags: list[str],
) -> NewMemory:
    moment -= moment % 1_000
    head: dict[str, Any] = {
        "id": ids.memory_id(moment, moment),
        "created_at": times.render(moment),
        "org_id": tenants.DEFAULT_ORG,
        "agent_id": agent_id,
        "session_id": session_id,
        "memory_type": memory_type,
        "event_type": event_type,
    }
    return NewMemory(
        seq=moment,
        agent_id=agent_id,
        session_id=session_id,
        memory_type=memory_type,
        event_type=event_type,
        time=moment,
        importance=0.5,
        created_at=moment,
        expires_at=None,
        tags=tags,
        id=head["id"],
        head=_beginning(head),
        moments=_beginning({"time": times.render(moment)}),
        rest=msgspec.json.encode({"content": content, "tags": tags, "importance": 0.5})[1:].decode(),
    )


def _beginning(fields: dict[str, Any]) -> str:
    """Return a JSON object of fields without its end, so that others can follow."""
    return f"{msgspec.json.encode(fields).decode()[:-1]},"
