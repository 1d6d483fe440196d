"""The schema, as a list of steps. A released step never changes; new steps are appended."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping

from memtrace import __version__
from memtrace_server import times
from memtrace_server.store.protocol import StoreUnavailable
from memtrace_server.store.sqlite import fulltext
from memtrace_server.store.sqlite.commits import immediate

_LOG = logging.getLogger("memtrace_server")

APPLICATION_ID = int.from_bytes(b"Mtrc")
"""The mark of a store in a SQLite file (https://www.sqlite.org/fileformat.html)."""

_LONG = 4_000  # characters, in step 0014


def _make_index_anew(connection: sqlite3.Connection) -> None:
    """Replace all full-text tables with empty ones, which are filled in the background."""
    for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
        for name in fulltext.TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {name}_{org}")
        fulltext.create(connection, org)


def _keep_times(connection: sqlite3.Connection) -> None:
    """Write the times of memories into their JSON, except a `created_at` that equals the time."""
    connection.create_function("rendered", 1, times.render, deterministic=True)
    connection.execute(
        "UPDATE memories SET rest = '{\"time\":\"' || rendered(time) || '\",'"
        " || iif(created_at = time, '', '\"created_at\":\"' || rendered(created_at) || '\",')"
        " || iif(expires_at IS NULL, '', '\"expires_at\":\"' || rendered(expires_at) || '\",')"
        " || substr(rest, 2)"
    )


def _lay_texts_apart(connection: sqlite3.Connection) -> None:
    """Move long memories to a table of their own, except the moments at their beginning."""
    long = "SELECT seq, org, 1 + (created_at <> time) + (expires_at IS NOT NULL) FROM memories"
    for seq, org, moments in connection.execute(f"{long} WHERE length(rest) >= {_LONG}").fetchall():
        (rest,) = connection.execute("SELECT rest FROM memories WHERE seq = ?", (seq,)).fetchone()
        end = 0
        for _ in range(moments):
            end = rest.index(",", end) + 1
        sql = "INSERT INTO texts (org, text) VALUES (?, ?)"
        text = connection.execute(sql, (org, rest[end:])).lastrowid
        sql = "UPDATE memories SET rest = ?, text = ? WHERE seq = ?"
        connection.execute(sql, (rest[:end], text, seq))


def _merge_in_steps(connection: sqlite3.Connection) -> None:
    """Let transactions that write to full-text tables not merge them."""
    for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
        fulltext.set_options(connection, org)


def _shorten_fingerprints(connection: sqlite3.Connection) -> None:
    """Store 64 bits of each fingerprint, no index by row, and no moment that equals the row."""
    connection.create_function(
        "short", 1, lambda full: int.from_bytes(full[:8], "big", signed=True), deterministic=True
    )
    for statement in (
        "ALTER TABLE duplicates RENAME TO long_duplicates",
        """
        CREATE TABLE duplicates (
            org INTEGER NOT NULL,
            fingerprint INTEGER NOT NULL, -- its first 64 bits
            seq INTEGER NOT NULL,
            stored_at INTEGER, -- unless the row tells
            PRIMARY KEY (org, fingerprint, seq)
        ) STRICT, WITHOUT ROWID
        """,
        """
        INSERT INTO duplicates
            SELECT org, short(fingerprint), seq, nullif(stored_at, seq) FROM long_duplicates
        """,
        "DROP TABLE long_duplicates",
    ):
        connection.execute(statement)


_Step = str | tuple[str, Callable[[sqlite3.Connection], None]]
"""Statements, and a function for changes that are not possible in SQL."""

# Queues all memories for an index that is made anew.
_UNINDEX = """
    DELETE FROM terms;
    DELETE FROM texts WHERE id IN (SELECT text FROM leaving WHERE text IS NOT NULL);
    DELETE FROM leaving;
    UPDATE unindexed SET entered = 0;
    INSERT OR IGNORE INTO unindexed (org, seq) SELECT org, seq FROM memories;
"""

_STEPS: Mapping[str, _Step] = {
    "0001-memories": """
        CREATE TABLE secrets (secret BLOB NOT NULL) STRICT;
        INSERT INTO secrets VALUES (randomblob(32));

        CREATE TABLE orgs (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            in_order INTEGER NOT NULL DEFAULT 1, -- no row has a time before that of any earlier one,
            latest INTEGER, -- the latest time of all rows, those that were forgotten too
            created_at INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE keys (
            digest BLOB PRIMARY KEY, -- SHA-256 of the key; 256 random bits need no salt or stretching
            id TEXT NOT NULL UNIQUE,
            org INTEGER NOT NULL REFERENCES orgs,
            role TEXT NOT NULL,
            name TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            revoked_at INTEGER
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE memories (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, -- ns at which it was stored; a number is never given twice
            org INTEGER NOT NULL,
            agent_id TEXT NOT NULL,
            session_id TEXT,
            memory_type TEXT NOT NULL,
            event_type TEXT NOT NULL,
            time INTEGER NOT NULL,
            importance REAL,
            expires_at INTEGER,
            doc TEXT NOT NULL -- the memory as it is answered, so that reading a page is joining texts
        ) STRICT;
        CREATE INDEX memories_by_time ON memories (org, time);
        CREATE INDEX memories_by_agent ON memories (org, agent_id, time);
        CREATE INDEX memories_by_session ON memories (org, session_id, time) WHERE session_id IS NOT NULL;
        -- What is rare among an agent's memories. A query that repeats the condition is served by the index.
        CREATE INDEX memories_by_type ON memories (org, agent_id, memory_type, time)
            WHERE memory_type <> 'episodic';
        CREATE INDEX memories_by_event ON memories (org, agent_id, event_type, time)
            WHERE event_type <> 'general';
        CREATE INDEX important_by_agent ON memories (org, agent_id, time) WHERE importance >= 0.7;
        CREATE INDEX important_by_session ON memories (org, session_id, time) WHERE importance >= 0.7;
        CREATE INDEX memories_by_end ON memories (expires_at) WHERE expires_at IS NOT NULL;

        -- What memories are found by: tags, and types and event types other than the usual ones.
        CREATE TABLE labels (
            org INTEGER NOT NULL,
            label TEXT NOT NULL,
            time INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (org, label, time, seq)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE duplicates (
            org INTEGER NOT NULL,
            fingerprint BLOB NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (org, fingerprint)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX duplicates_by_age ON duplicates (seq);

        CREATE TABLE answers (
            org INTEGER NOT NULL,
            key TEXT NOT NULL,
            answered_at INTEGER NOT NULL,
            request BLOB NOT NULL,
            status INTEGER NOT NULL,
            body BLOB, -- none once it was forgotten
            agent_id TEXT,
            location TEXT,
            memories TEXT NOT NULL, -- JSON: the rows of the answer's memories, and which are duplicates
            PRIMARY KEY (org, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX answers_by_age ON answers (answered_at);
        CREATE INDEX answers_by_agent ON answers (org, agent_id) WHERE agent_id IS NOT NULL;

        CREATE TABLE agents (
            org INTEGER NOT NULL,
            id TEXT NOT NULL,
            is_registered INTEGER NOT NULL DEFAULT 0,
            is_deleted INTEGER NOT NULL DEFAULT 0, -- its memories stay, and count when it returns
            description TEXT,
            config TEXT,
            created_at INTEGER NOT NULL,
            last_active_at INTEGER,
            PRIMARY KEY (org, id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE agent_counts (
            org INTEGER NOT NULL,
            agent_id TEXT NOT NULL,
            memory_type TEXT NOT NULL,
            memories INTEGER NOT NULL,
            PRIMARY KEY (org, agent_id, memory_type)
        ) STRICT, WITHOUT ROWID;

        -- The memories of a while, by their time, and the errors among them; so that a day is soon counted.
        CREATE TABLE recent_counts (
            org INTEGER NOT NULL,
            agent_id TEXT NOT NULL,
            period INTEGER NOT NULL,
            memories INTEGER NOT NULL,
            errors INTEGER NOT NULL,
            PRIMARY KEY (org, agent_id, period)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX recent_counts_by_age ON recent_counts (period);

        CREATE TABLE sessions (
            org INTEGER NOT NULL,
            id TEXT NOT NULL,
            agent_id TEXT NOT NULL,
            metadata TEXT,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            closed_at INTEGER,
            PRIMARY KEY (org, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX sessions_by_time ON sessions (org, created_at, id);
        CREATE INDEX sessions_by_agent ON sessions (org, agent_id, created_at, id);

        -- Kept by triggers, as sessions come and go in several ways, all of them seldom.
        CREATE TABLE session_counts (
            org INTEGER NOT NULL,
            agent_id TEXT NOT NULL,
            sessions INTEGER NOT NULL,
            active INTEGER NOT NULL,
            PRIMARY KEY (org, agent_id)
        ) STRICT, WITHOUT ROWID;
        CREATE TRIGGER session_added AFTER INSERT ON sessions BEGIN
            INSERT INTO session_counts VALUES (new.org, new.agent_id, 1, new.closed_at IS NULL)
            ON CONFLICT DO UPDATE SET sessions = sessions + 1, active = active + excluded.active;
        END;
        CREATE TRIGGER session_changed AFTER UPDATE OF closed_at ON sessions BEGIN
            UPDATE session_counts SET active = active + (new.closed_at IS NULL) - (old.closed_at IS NULL)
            WHERE (org, agent_id) = (new.org, new.agent_id);
        END;
        CREATE TRIGGER session_removed AFTER DELETE ON sessions BEGIN
            UPDATE session_counts SET sessions = sessions - 1, active = active - (old.closed_at IS NULL)
            WHERE (org, agent_id) = (old.org, old.agent_id);
        END;
    """,
    "0002-index-later": """
        -- The last row that is in the full-text index; those after it follow, many at once.
        CREATE TABLE indexed (seq INTEGER NOT NULL) STRICT;
        INSERT INTO indexed SELECT coalesce(max(seq), 0) FROM memories;
    """,
    "0002-marks": f"""
        PRAGMA application_id = {APPLICATION_ID};
        ALTER TABLE migrations ADD COLUMN version TEXT; -- of Memtrace, which applied the step
    """,
    "0003-supersede": """
        ALTER TABLE memories ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0; -- ns
        ALTER TABLE memories ADD COLUMN supersedes INTEGER; -- the row that this one supersedes, if it exists,
        ALTER TABLE memories ADD COLUMN superseded_by INTEGER; -- the row that supersedes this one,
        ALTER TABLE memories ADD COLUMN superseded_at INTEGER; -- and when that was stored
        ALTER TABLE memories ADD COLUMN is_superseded INTEGER AS (superseded_by IS NOT NULL) VIRTUAL;
        UPDATE memories SET created_at = seq - seq % 1000,
            doc = substr(doc, 1, length(doc) - 1) || ',"created_at":"'
                || strftime('%Y-%m-%dT%H:%M:%S', seq / 1000000000, 'unixepoch')
                || printf('.%06dZ"}', seq / 1000 % 1000000);

        -- What is superseded lies apart in each index, so that it does not slow down who walks the rest.
        DROP INDEX memories_by_time;
        DROP INDEX memories_by_agent;
        DROP INDEX memories_by_session;
        DROP INDEX memories_by_type;
        DROP INDEX memories_by_event;
        DROP INDEX important_by_agent;
        DROP INDEX important_by_session;
        CREATE INDEX memories_by_time ON memories (org, is_superseded, time);
        CREATE INDEX memories_by_agent ON memories (org, agent_id, is_superseded, time);
        CREATE INDEX memories_by_session ON memories (org, session_id, is_superseded, time)
            WHERE session_id IS NOT NULL;
        CREATE INDEX memories_by_type ON memories (org, agent_id, memory_type, is_superseded, time)
            WHERE memory_type <> 'episodic';
        CREATE INDEX memories_by_event ON memories (org, agent_id, event_type, is_superseded, time)
            WHERE event_type <> 'general';
        CREATE INDEX important_by_agent ON memories (org, agent_id, is_superseded, time)
            WHERE importance >= 0.7;
        CREATE INDEX important_by_session ON memories (org, session_id, is_superseded, time)
            WHERE importance >= 0.7;

        ALTER TABLE labels RENAME TO old_labels;
        CREATE TABLE labels (
            org INTEGER NOT NULL,
            label TEXT NOT NULL,
            is_superseded INTEGER NOT NULL,
            time INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (org, label, is_superseded, time, seq)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO labels SELECT org, label, 0, time, seq FROM old_labels ORDER BY org, label, time, seq;
        DROP TABLE old_labels;

        -- Several rows a fingerprint: the same may be stored again, and the first be forgotten.
        ALTER TABLE duplicates RENAME TO old_duplicates;
        CREATE TABLE duplicates (
            org INTEGER NOT NULL,
            fingerprint BLOB NOT NULL,
            seq INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (org, fingerprint, seq)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO duplicates SELECT org, fingerprint, seq, seq FROM old_duplicates
            ORDER BY org, fingerprint;
        DROP TABLE old_duplicates;
        CREATE INDEX duplicates_by_row ON duplicates (seq);
    """,
    "0004-important-kinds": """
        -- What counts as important; without an importance of its own, by its kind.
        DROP INDEX important_by_agent;
        DROP INDEX important_by_session;
        CREATE INDEX important_by_agent ON memories (org, agent_id, is_superseded, time)
            WHERE importance >= 0.7 OR (importance IS NULL AND
                (memory_type IN ('decision', 'entity') OR event_type IN ('decision', 'error')));
        CREATE INDEX important_by_session ON memories (org, session_id, is_superseded, time)
            WHERE importance >= 0.7 OR (importance IS NULL AND
                (memory_type IN ('decision', 'entity') OR event_type IN ('decision', 'error')));
    """,
    "0005-ranked-search": (
        """
        DROP TABLE indexed;
        -- What the full-text index does not have yet.
        CREATE TABLE unindexed (
            org INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (org, seq)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO unindexed SELECT org, seq FROM memories;
        -- In how many indexed memories each stem is.
        CREATE TABLE terms (
            org INTEGER NOT NULL,
            term TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (org, term)
        ) STRICT, WITHOUT ROWID;
        """,
        _make_index_anew,
    ),
    "0006-duplicates-by-age": """
        ALTER TABLE duplicates RENAME COLUMN created_at TO stored_at;
        CREATE INDEX duplicates_by_age ON duplicates (stored_at);
    """,
    "0007-keys-and-audit": """
        ALTER TABLE keys ADD COLUMN expires_at INTEGER;
        ALTER TABLE keys ADD COLUMN last_used_at INTEGER; -- to the minute
        ALTER TABLE keys ADD COLUMN agent_id TEXT; -- the agent whose memories it is limited to

        CREATE TABLE audit (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at INTEGER NOT NULL,
            actor TEXT NOT NULL,
            org_id TEXT,
            action TEXT NOT NULL,
            subject TEXT,
            request_id TEXT,
            details TEXT NOT NULL
        ) STRICT;
    """,
    "0008-as-of": """
        CREATE INDEX memories_superseded ON memories (org, superseded_at) WHERE superseded_at IS NOT NULL;
        -- Whether any memory ever had a time later than when it was stored.
        ALTER TABLE orgs ADD COLUMN has_future INTEGER NOT NULL DEFAULT 0;
        UPDATE orgs SET has_future = EXISTS
            (SELECT 1 FROM memories WHERE org = orgs.number AND time > created_at);
    """,
    "0009-as-of-without-rows": """
        -- What decides whether a memory was known at some moment, and where it stands in a page.
        DROP INDEX memories_superseded;
        CREATE INDEX memories_superseded ON memories
            (org, superseded_at, created_at, expires_at, agent_id, session_id, time)
            WHERE superseded_at IS NOT NULL;
    """,
    "0010-duplicates-by-row-alone": """
        DROP INDEX duplicates_by_age; -- a tenth of what a write put into indexes, for what rows tell as well
    """,
    "0011-entries": (
        """
        -- What the full-text index calls a memory. It keeps the differences between such numbers: those
        -- between rows, which are moments in ns, take three to six bytes each, between entries mostly one.
        ALTER TABLE memories ADD COLUMN entry INTEGER;
        UPDATE memories SET entry = numbered.entry FROM (
            SELECT seq, row_number() OVER (PARTITION BY org ORDER BY seq) AS entry FROM memories
        ) numbered WHERE memories.seq = numbered.seq;
        CREATE UNIQUE INDEX memories_by_entry ON memories (org, entry);
        DELETE FROM terms;
        INSERT OR IGNORE INTO unindexed SELECT org, seq FROM memories;
        """,
        _make_index_anew,
    ),
    "0012-facts-once": """
        CREATE TABLE slim_memories (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            org INTEGER NOT NULL,
            entry INTEGER NOT NULL,
            agent_id TEXT NOT NULL,
            session_id TEXT,
            memory_type TEXT NOT NULL,
            event_type TEXT NOT NULL,
            time INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            importance REAL,
            supersedes INTEGER,
            superseded_by INTEGER,
            superseded_at INTEGER,
            is_superseded INTEGER AS (superseded_by IS NOT NULL) VIRTUAL,
            ulid TEXT NOT NULL, -- its id, without "mem_"
            -- The rest of it, as JSON. At the end, as what comes after a long text is read with the text.
            rest TEXT NOT NULL
        ) STRICT;
        INSERT INTO slim_memories
            SELECT seq, org, entry, agent_id, session_id, memory_type, event_type, time, created_at,
                expires_at, importance, supersedes, superseded_by, superseded_at, substr(doc ->> 'id', 5),
                json_remove(doc, '$.id', '$.time', '$.created_at', '$.org_id', '$.agent_id', '$.session_id',
                    '$.memory_type', '$.event_type', '$.expires_at')
            FROM memories ORDER BY seq;
        DELETE FROM sqlite_sequence WHERE name = 'slim_memories';
        INSERT INTO sqlite_sequence SELECT 'slim_memories', seq FROM sqlite_sequence WHERE name = 'memories';
        DROP TABLE memories;
        ALTER TABLE slim_memories RENAME TO memories;
        CREATE UNIQUE INDEX memories_by_entry ON memories (org, entry);
        CREATE INDEX memories_by_time ON memories (org, is_superseded, time);
        CREATE INDEX memories_by_agent ON memories (org, agent_id, is_superseded, time);
        CREATE INDEX memories_by_session ON memories (org, session_id, is_superseded, time)
            WHERE session_id IS NOT NULL;
        CREATE INDEX memories_by_type ON memories (org, agent_id, memory_type, is_superseded, time)
            WHERE memory_type <> 'episodic';
        CREATE INDEX memories_by_event ON memories (org, agent_id, event_type, is_superseded, time)
            WHERE event_type <> 'general';
        CREATE INDEX important_by_agent ON memories (org, agent_id, is_superseded, time)
            WHERE importance >= 0.7 OR (importance IS NULL AND
                (memory_type IN ('decision', 'entity') OR event_type IN ('decision', 'error')));
        CREATE INDEX important_by_session ON memories (org, session_id, is_superseded, time)
            WHERE importance >= 0.7 OR (importance IS NULL AND
                (memory_type IN ('decision', 'entity') OR event_type IN ('decision', 'error')));
        CREATE INDEX memories_by_end ON memories (expires_at) WHERE expires_at IS NOT NULL;
        CREATE INDEX memories_superseded ON memories
            (org, superseded_at, created_at, expires_at, agent_id, session_id, time)
            WHERE superseded_at IS NOT NULL;
    """,
    # To render them took half of the time that the columns of a memory take to become JSON.
    "0013-times-as-text": ("", _keep_times),
    "0014-long-texts": (
        """
        -- The ends of long memories, beside them: so that many can be written ahead of them, in several
        -- transactions, and that they are read as they are.
        CREATE TABLE texts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            org INTEGER NOT NULL,
            text TEXT NOT NULL
        ) STRICT;
        -- Those that no memory refers to yet.
        CREATE TABLE staged (
            id INTEGER PRIMARY KEY,
            staged_at INTEGER NOT NULL
        ) STRICT;
        ALTER TABLE memories ADD COLUMN text INTEGER; -- what follows after `rest`, if it is long
        """,
        _lay_texts_apart,
    ),
    "0015-merge-in-steps": ("", _merge_in_steps),
    # Each write changed a page of `orgs` and one of `agents`, for what other pages tell as well.
    "0016-fewer-pages": """
        ALTER TABLE orgs DROP COLUMN latest;
        ALTER TABLE agent_counts ADD COLUMN active_at INTEGER; -- when its agent was last active
    """,
    "0017-short-fingerprints": ("", _shorten_fingerprints),
    "0018-index-in-parts": """
        -- How much of a memory the full-text index has; of one that takes long, it gets part by part.
        ALTER TABLE unindexed ADD COLUMN entered INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX entering ON unindexed (org, seq) WHERE entered > 0;
        -- Memories that were forgotten, and that are still to leave the full-text index.
        CREATE TABLE leaving (
            seq INTEGER PRIMARY KEY,
            org INTEGER NOT NULL,
            entry INTEGER NOT NULL,
            entered INTEGER, -- how much of it the index had; none if all,
            remaining INTEGER, -- and has still; none if as much
            doc TEXT NOT NULL,
            text INTEGER -- what follows after `doc`, if it is long
        ) STRICT;
        CREATE UNIQUE INDEX leaving_by_entry ON leaving (org, entry);
    """,
    "0019-entries-used-once": """
        -- Imports use rows again, so the index knows memories by entries, which are not used again.
        ALTER TABLE orgs ADD COLUMN last_entry INTEGER NOT NULL DEFAULT 0; -- the last forgotten entry
        UPDATE orgs SET last_entry = ifnull((SELECT max(entry) FROM leaving WHERE org = number), 0);
        ALTER TABLE leaving RENAME TO old_leaving;
        CREATE TABLE leaving (
            org INTEGER NOT NULL,
            entry INTEGER NOT NULL,
            entered INTEGER, -- how much of it entered the index; NULL for all
            remaining INTEGER, -- how much of that is still in the index; NULL for all
            doc TEXT NOT NULL,
            text INTEGER, -- the row of the long text that follows `doc`
            PRIMARY KEY (org, entry)
        ) STRICT;
        INSERT INTO leaving SELECT org, entry, entered, remaining, doc, text FROM old_leaving;
        DROP TABLE old_leaving;
    """,
    "0020-sessions-by-status": """
        -- By status too, so that a page of few active or closed sessions does not walk all others.
        CREATE INDEX sessions_active ON sessions (org, created_at, id) WHERE closed_at IS NULL;
        CREATE INDEX sessions_closed ON sessions (org, created_at, id) WHERE closed_at IS NOT NULL;
        CREATE INDEX sessions_active_by_agent ON sessions (org, agent_id, created_at, id)
            WHERE closed_at IS NULL;
        CREATE INDEX sessions_closed_by_agent ON sessions (org, agent_id, created_at, id)
            WHERE closed_at IS NOT NULL;
    """,
    # Memories are found by the parts of names such as parseConfig; Łódź by "lodz", and Wi-Fi by "wifi".
    "0021-parts-of-names": (_UNINDEX, _make_index_anew),
}


def is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether a database is a store, or empty and may become one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != 0:
        return bool(application == APPLICATION_ID)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    # The first stores had no application id.
    return not tables or ("migrations" in tables and next(iter(_STEPS)) in _applied(connection))


def migrate(connection: sqlite3.Connection, now: int) -> None:
    """Apply missing steps in one transaction.

    An older process that has the store open continues to write. Between two transactions, it could store data
    that the later step does not expect.

    Raises:
        StoreUnavailable: A newer Memtrace wrote the store.
    """
    missing = _missing(connection)
    if missing:
        is_old = len(missing) < len(_STEPS)
        if is_old:  # 10 s for 200,000 memories of the first schema
            _LOG.info("An older Memtrace wrote the store, which is migrated now; requests wait until then")
        _apply(connection, missing, now)
        sql = "UPDATE migrations SET version = ? WHERE version IS NULL"
        sql += " AND name IN (SELECT value FROM json_each(?))"
        connection.execute(sql, (__version__, json.dumps(missing)))
        if is_old:
            _LOG.info("The store is migrated")


def require_current(connection: sqlite3.Connection) -> None:
    """Check that a store that may not be written has this version's schema.

    Raises:
        StoreUnavailable: It has not.
    """
    if _missing(connection):
        raise StoreUnavailable(
            "an older Memtrace wrote it, and it is opened to be read only; open it once without ?mode=ro"
        )


def require_known(connection: sqlite3.Connection) -> None:
    """Check that no newer Memtrace wrote a store.

    Raises:
        StoreUnavailable: One did.
    """
    _missing(connection)


def _missing(connection: sqlite3.Connection) -> list[str]:
    """Return the steps that have not been applied yet."""
    applied = _applied(connection)
    unknown = sorted(applied - _STEPS.keys())
    if unknown:
        raise StoreUnavailable(
            f"{_writer(connection, unknown[-1])} wrote it, which is newer than this {__version__} and knows"
            f" {', '.join(unknown)}; upgrade memtrace-sdk"
        )
    return [name for name in _STEPS if name not in applied]


def _applied(connection: sqlite3.Connection) -> set[str]:
    try:
        return {name for (name,) in connection.execute("SELECT name FROM migrations")}
    except sqlite3.OperationalError as error:
        if "no such" in str(error):  # the table, or its column, which is another program's table then
            return set()
        raise


def _writer(connection: sqlite3.Connection, step: str) -> str:
    has_version = connection.execute("SELECT 1 FROM pragma_table_info('migrations') WHERE name = 'version'")
    version = None
    if has_version.fetchone():
        sql = "SELECT version FROM migrations WHERE name = ?"
        (version,) = connection.execute(sql, (step,)).fetchone()
    return f"Memtrace {version}" if version else "a Memtrace"


def _apply(connection: sqlite3.Connection, names: list[str], now: int) -> None:
    with immediate(connection):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT"
        )
        # Read again under the write lock, as another process may have applied them meanwhile.
        applied = _applied(connection)
        for name in (name for name in names if name not in applied):
            step = _STEPS[name]
            statements, finish = step if isinstance(step, tuple) else (step, None)
            for statement in _split(statements):
                connection.execute(statement)
            if finish is not None:
                finish(connection)
            connection.execute("INSERT INTO migrations (name, applied_at) VALUES (?, ?)", (name, now))
            connection.execute(f"PRAGMA user_version = {list(_STEPS).index(name) + 1}")


def _split(statements: str) -> list[str]:
    """Return single statements, because `executescript` would commit their transaction."""
    found: list[str] = []
    pending = ""
    for line in statements.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
