"""Check of a PostgreSQL store: all data derived from memories is derived again and compared."""

from __future__ import annotations

from collections.abc import Iterator

from memtrace_server.search.documents import Document
from memtrace_server.store.counting import ACTIVE, SESSIONS
from memtrace_server.store.postgres.connecting import Connection
from memtrace_server.store.postgres.writing import MEMORIES, texts
from memtrace_server.store.records import NewMemory

# Stored data, and the query that derives it from the memories. Each pair must give the same rows.
_DERIVED = {
    "counter": (
        """SELECT org, agent_id, kind, sum(number) FROM counts WHERE kind NOT LIKE '#%'
            GROUP BY 1, 2, 3 HAVING sum(number) <> 0""",
        "SELECT org, agent_id, memory_type, count(*)::numeric FROM memories GROUP BY 1, 2, 3",
    ),
    "counter of memories": (
        f"SELECT org, sum(number) FROM counts WHERE kind = '{MEMORIES}' GROUP BY 1 HAVING sum(number) <> 0",
        "SELECT org, count(*)::numeric FROM memories GROUP BY 1",
    ),
    "session counter": (
        f"""SELECT org, agent_id, sum(number) FILTER (WHERE kind = '{SESSIONS}'),
            coalesce(sum(number) FILTER (WHERE kind = '{ACTIVE}'), 0)
            FROM counts WHERE kind IN ('{SESSIONS}', '{ACTIVE}')
            GROUP BY 1, 2 HAVING sum(number) FILTER (WHERE kind = '{SESSIONS}') <> 0""",
        """SELECT org, agent_id, count(*)::numeric, (count(*) FILTER (WHERE closed_at IS NULL))::numeric
            FROM sessions GROUP BY 1, 2""",
    ),
    "superseding": (
        "SELECT org, seq, superseded_by, superseded_at FROM memories WHERE superseded_by IS NOT NULL",
        "SELECT org, supersedes, seq, created_at FROM memories WHERE supersedes IS NOT NULL",
    ),
}
_NAMED = {
    "agent": "SELECT DISTINCT org, agent_id FROM memories EXCEPT SELECT org, id FROM agents",
}
_STEP = 1_000  # memories that are read at once
_MEMORY = (
    "m.seq, m.time, m.doc, m.agent_id, m.session_id, m.memory_type, m.event_type, m.importance, m.created_at,"
    " m.expires_at"
)


def inspect(connection: Connection) -> Iterator[str]:
    """Yield a description of each fault of a store; nothing if it is consistent.

    The check reads the whole store, which may be in use meanwhile.
    """
    for kind, (stored, derived) in _DERIVED.items():
        for what, left, right in (("should not be there", stored, derived), ("is missing", derived, stored)):
            for org, *facts in connection.execute(f"{left} EXCEPT {right}".encode()).fetchall():
                yield f"organisation {org}: the {kind} {' '.join(map(str, facts))} {what}"
    for kind, missing in _NAMED.items():
        for org, name in connection.execute(missing.encode()).fetchall():
            yield f"organisation {org}: memories name the {kind} {name}, which is missing"
    for (org,) in connection.execute("SELECT number FROM orgs ORDER BY number").fetchall():
        for seq, *_ in outdated_texts(connection, org):
            yield f"organisation {org}: the texts of memory {seq} are not what it says"


def outdated_texts(
    connection: Connection, org: int, condition: str = "true"
) -> Iterator[tuple[int, str, str, str]]:
    """Yield the rows of an organisation's memories whose searched texts do not follow from their documents.

    Each row comes with the folded content, the words and the lexemes that it should have.

    Args:
        connection: The connection.
        org: The organisation.
        condition: SQL for the memories `m` that are compared.
    """
    after = -1
    while True:
        rows = connection.execute(
            f"SELECT m.folded, m.words, m.lexemes::text, {_MEMORY} FROM memories m"
            f" WHERE m.org = %s AND m.seq > %s AND ({condition}) ORDER BY m.seq LIMIT %s".encode(),
            [org, after, _STEP],
        ).fetchall()
        for row_folded, row_words, row_lexemes, *row in rows:
            seq, time, doc, agent_id, session_id, memory_type, event_type, importance, created_at, ends = row
            document = Document.read(doc)
            memory = NewMemory(
                id="", rest=doc, seq=seq, time=time, agent_id=agent_id, session_id=session_id,
                memory_type=memory_type, event_type=event_type, importance=importance, created_at=created_at,
                expires_at=ends, tags=document.tags,
            )  # fmt: skip
            folded, words, found_by = texts(org, memory, document)
            (expected,) = connection.execute("SELECT %s::tsvector::text", [found_by]).fetchone() or ("",)
            if (row_folded, row_words, row_lexemes) != (folded, words, expected):
                yield seq, folded, words, found_by
        if len(rows) < _STEP:
            return
        after = rows[-1][3]
