"""The schema, as a list of steps. A released step never changes; new steps are appended.

The tables have their own schema, `memtrace`, because other programs have tables such as `sessions`, too. A
`search_path` that is set by the URL, the role or the database names another schema.

Every primary key, unique index and query begins with the organisation, so that a distributed PostgreSQL can
shard by it. `orgs`, `keys`, `secrets`, `audit` and `migrations` are small, and become reference tables.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from psycopg import errors

from memtrace import __version__
from memtrace_server.store.postgres import inspection, periods
from memtrace_server.store.postgres.connecting import SCHEMA, Connection
from memtrace_server.store.postgres.writing import FIRST_PLACE
from memtrace_server.store.protocol import StoreUnavailable

_LOG = logging.getLogger("memtrace_server")


_IMPORTANT = (
    "importance >= 0.7 OR (importance IS NULL AND"
    " (memory_type IN ('decision', 'entity') OR event_type IN ('decision', 'error')))"
)


# With letters that become one of the others, as ǿ without its accent.
_STROKED = "æÆœŒøØłŁđĐðÐþÞħĦŧŦıǢǣǼǽǾǿᴭᶞℏꟸꟹ\U00010783\U00010795\U000107a2\U0001d6a4"


def _index_anew(condition: str) -> Callable[[Connection], None]:
    """Return the step that writes the words of memories again, if a condition on `m` holds."""
    sql = "UPDATE memories SET folded = %s, words = %s, lexemes = %s::tsvector WHERE org = %s AND seq = %s"

    def step(connection: Connection) -> None:
        for (org,) in connection.execute("SELECT number FROM orgs").fetchall():
            for seq, *texts in inspection.outdated_texts(connection, org, condition):
                connection.execute(sql, [*texts, org, seq])

    return step


_Step = str | Callable[[Connection], None]
"""Statements, or what cannot be said in any."""

_STEPS: Mapping[str, _Step] = {
    "0001-memories": f"""
        CREATE TABLE secrets (secret bytea NOT NULL);

        CREATE TABLE orgs (
            number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
            id text COLLATE "C" NOT NULL UNIQUE,
            name text COLLATE "C" NOT NULL UNIQUE,
            has_future boolean NOT NULL DEFAULT false, -- whether any memory ever had a time after its storing
            created_at bigint NOT NULL
        );

        CREATE TABLE keys (
            digest bytea PRIMARY KEY, -- SHA-256 of the key; 256 random bits need no salt or stretching
            id text COLLATE "C" NOT NULL UNIQUE,
            org bigint NOT NULL REFERENCES orgs,
            role text NOT NULL,
            name text NOT NULL,
            created_at bigint NOT NULL,
            revoked_at bigint,
            expires_at bigint,
            last_used_at bigint, -- to the minute
            agent_id text COLLATE "C" -- the agent whose memories it is limited to
        );

        CREATE TABLE audit (
            seq bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
            at bigint NOT NULL,
            actor text NOT NULL,
            org_id text,
            action text NOT NULL,
            subject text,
            request_id text,
            details text NOT NULL
        );

        CREATE TABLE memories (
            org bigint NOT NULL,
            seq bigint NOT NULL, -- ns at which it was stored
            place bigint NOT NULL, -- in the order in which transactions began to write (see `tail`)
            agent_id text COLLATE "C" NOT NULL,
            session_id text COLLATE "C",
            memory_type text COLLATE "C" NOT NULL,
            event_type text COLLATE "C" NOT NULL,
            time bigint NOT NULL,
            importance double precision,
            created_at bigint NOT NULL,
            expires_at bigint,
            supersedes bigint, -- the row that this one supersedes, if it exists,
            superseded_by bigint, -- the row that supersedes this one,
            superseded_at bigint, -- and when that was stored
            is_superseded boolean NOT NULL GENERATED ALWAYS AS (superseded_by IS NOT NULL) STORED,
            lexemes tsvector NOT NULL, -- what it is found by (see `lexemes`)
            folded text COLLATE "C" NOT NULL, -- its content, as pieces of text are compared
            words text COLLATE "C" NOT NULL, -- the words of its content, each between spaces
            doc text COLLATE "C" NOT NULL, -- the memory as it is answered
            PRIMARY KEY (org, seq)
        );
        -- What is superseded lies apart in each index, so that it does not slow down who walks the rest.
        CREATE INDEX memories_by_time ON memories (org, is_superseded, time, seq);
        CREATE INDEX memories_by_agent ON memories (org, agent_id, is_superseded, time, seq);
        CREATE INDEX memories_by_session ON memories (org, session_id, is_superseded, time, seq)
            WHERE session_id IS NOT NULL;
        CREATE INDEX memories_by_type ON memories (org, agent_id, memory_type, is_superseded, time, seq)
            WHERE memory_type <> 'episodic';
        CREATE INDEX memories_by_event ON memories (org, agent_id, event_type, is_superseded, time, seq)
            WHERE event_type <> 'general';
        CREATE INDEX important_by_agent ON memories (org, agent_id, is_superseded, time, seq)
            WHERE {_IMPORTANT};
        CREATE INDEX important_by_session ON memories (org, session_id, is_superseded, time, seq)
            WHERE {_IMPORTANT};
        CREATE INDEX memories_by_place ON memories (org, place);
        CREATE INDEX memories_by_end ON memories (expires_at) WHERE expires_at IS NOT NULL;
        CREATE INDEX memories_superseded ON memories (org, superseded_at) WHERE superseded_at IS NOT NULL;
        CREATE INDEX memories_by_lexeme ON memories USING gin (lexemes) WITH (gin_pending_list_limit = 512);

        -- The memory that a fingerprint leads to, unless it was stored although it is a duplicate. A write
        -- replaces the row that it has read, and no other: so of equal writes, one succeeds.
        CREATE TABLE originals (
            org bigint NOT NULL,
            fingerprint bytea NOT NULL,
            seq bigint NOT NULL,
            replaced bigint NOT NULL, -- the row that was there before
            PRIMARY KEY (org, fingerprint)
        );
        CREATE INDEX originals_by_age ON originals (seq);
        -- Memories that were stored although they are duplicates, or might be some.
        CREATE TABLE duplicates (
            org bigint NOT NULL,
            fingerprint bytea NOT NULL,
            seq bigint NOT NULL,
            PRIMARY KEY (org, fingerprint, seq)
        );
        CREATE INDEX duplicates_by_age ON duplicates (seq);

        CREATE TABLE answers (
            org bigint NOT NULL,
            key text COLLATE "C" NOT NULL,
            answered_at bigint NOT NULL,
            replaced bigint NOT NULL, -- when the answer was given that was there before
            request bytea NOT NULL,
            status integer NOT NULL,
            body bytea, -- none once it was forgotten
            agent_id text COLLATE "C",
            location text,
            memories text NOT NULL, -- JSON: the rows of the answer's memories, and which are duplicates
            PRIMARY KEY (org, key)
        );
        CREATE INDEX answers_by_age ON answers (answered_at);
        CREATE INDEX answers_by_agent ON answers (org, agent_id) WHERE agent_id IS NOT NULL;

        CREATE TABLE agents (
            org bigint NOT NULL,
            id text COLLATE "C" NOT NULL,
            is_registered boolean NOT NULL DEFAULT false,
            is_deleted boolean NOT NULL DEFAULT false, -- its memories stay, and count when it returns
            description text, -- JSON
            config text, -- JSON
            created_at bigint NOT NULL,
            last_active_at bigint, -- when it was imported; `counts` knows the rest
            PRIMARY KEY (org, id)
        );

        -- Sums over slots: each process adds to a slot of its own, so that none waits for another.
        CREATE TABLE counts (
            org bigint NOT NULL,
            agent_id text COLLATE "C" NOT NULL, -- empty for those of the organisation
            kind text COLLATE "C" NOT NULL, -- a memory type, or one of ours, which begin with #
            slot integer NOT NULL,
            number bigint NOT NULL,
            active_at bigint, -- when the agent was last active
            PRIMARY KEY (org, agent_id, kind, slot)
        );
        -- The memories of a while, by their time, and the errors among them; so that a day is soon counted.
        CREATE TABLE recent_counts (
            org bigint NOT NULL,
            agent_id text COLLATE "C" NOT NULL,
            period bigint NOT NULL,
            slot integer NOT NULL,
            memories bigint NOT NULL,
            errors bigint NOT NULL,
            PRIMARY KEY (org, agent_id, period, slot)
        );
        CREATE INDEX recent_counts_by_age ON recent_counts (period);

        CREATE TABLE sessions (
            org bigint NOT NULL,
            id text COLLATE "C" NOT NULL,
            agent_id text COLLATE "C" NOT NULL,
            metadata text,
            created_at bigint NOT NULL,
            updated_at bigint NOT NULL,
            closed_at bigint,
            PRIMARY KEY (org, id)
        );
        CREATE INDEX sessions_by_time ON sessions (org, created_at, id);
        CREATE INDEX sessions_by_agent ON sessions (org, agent_id, created_at, id);
    """,
    "0002-places": f"""
        CREATE TABLE places ( -- one row
            first bigint NOT NULL, -- the place before those of this cluster's transactions
            cluster text NOT NULL -- whose transactions they are: its identifier and its timeline
        );
        INSERT INTO places VALUES ({FIRST_PLACE}, '');
    """,
    "0003-duplicates-of-a-wrong-clock": """
        -- When a memory was stored whose row is of a clock that was ahead, by a clock that was right.
        ALTER TABLE originals ADD COLUMN stored_at bigint;
        ALTER TABLE duplicates ADD COLUMN stored_at bigint;
        CREATE INDEX originals_by_storing ON originals (stored_at) WHERE stored_at IS NOT NULL;
        CREATE INDEX duplicates_by_storing ON duplicates (stored_at) WHERE stored_at IS NOT NULL;
    """,
    "0004-deleted-agents": """
        -- Each group of writes asks which of its agents return: without it, of all agents there are.
        CREATE INDEX agents_deleted ON agents (org, id) WHERE is_deleted;
    """,
    "0005-periods": f"""
        DROP INDEX memories_by_lexeme;
        CREATE INDEX memories_by_lexeme ON memories USING gin (lexemes, {periods.of_words()})
            WITH (gin_pending_list_limit = 512);
        DROP INDEX IF EXISTS memories_by_piece; -- which is made anew (see `prepare_pieces`)
    """,
    "0006-sessions-by-status": """
        -- By status too, so that a page of few active or closed sessions does not walk all others.
        CREATE INDEX sessions_active ON sessions (org, created_at, id) WHERE closed_at IS NULL;
        CREATE INDEX sessions_closed ON sessions (org, created_at, id) WHERE closed_at IS NOT NULL;
        CREATE INDEX sessions_active_by_agent ON sessions (org, agent_id, created_at, id)
            WHERE closed_at IS NULL;
        CREATE INDEX sessions_closed_by_agent ON sessions (org, agent_id, created_at, id)
            WHERE closed_at IS NOT NULL;
    """,
    # Names in camelCase are found by their parts, letters such as ł by those that are typed for them, and
    # Wi-Fi by "wifi".
    "0007-parts-of-names": _index_anew(
        f"m.doc ~ '[a-z][A-Z]|[A-Z0-9][A-Z][a-z]{{2}}|[{_STROKED}]|[^0-9 ]-[^0-9 ]'"
    ),
}


class Pieces(enum.Enum):
    """How memories with a part of a text are found."""

    INDEXED = "by an index of trigrams"
    NOT_INDEXED = "by a scan of all memories until the index exists"
    IMPOSSIBLE = "by a scan of all memories"


_LOCK = "lock"
_IS_INDEXED = (
    "EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('memories_by_piece') AND indisvalid)"
)
_IS_BEGUN = "to_regclass('memories_by_piece') IS NOT NULL"
_IS_BEING_INDEXED = (
    "EXISTS (SELECT 1 FROM pg_stat_progress_create_index WHERE relid = to_regclass('memories'))"
)
# Migrations lock a row instead, but an index that is created concurrently has no transaction.
_TRY_TO_INDEX = f"SELECT pg_try_advisory_lock({0x6D656D74}, to_regclass('memories')::oid::int)"  # "memt"
_UNTIL_NEXT = 0.5  # seconds
_INDEXINGS = 2
_GROWING = {  # tables, with the size of one or two thousand rows in bytes
    "memories": 1 << 20,
    **dict.fromkeys(
        ("originals", "duplicates", "answers", "agents", "sessions", "counts", "recent_counts"), 1 << 17
    ),
}
_LARGE = 32 << 20  # bytes of a table that is analysed in less than a second
# Errors for an object that another process creates at the same moment.
_MADE_BY_ANOTHER = (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject)
_TRIGRAMS = (
    "CREATE INDEX{} IF NOT EXISTS memories_by_piece ON memories"
    f" USING gin (folded {{}}gin_trgm_ops, {periods.of_pieces()})"
)
_LEAP = 1 << 50
"""Number of positions; a billion transactions, which a restore or a failover may have lost, have as many."""

# Errors of databases that are compatible with PostgreSQL, or do not return the cluster's identifier.
_UNIDENTIFIED = (errors.UndefinedFunction, errors.InsufficientPrivilege, errors.FeatureNotSupported)


def migrate(connection: Connection, now: int, secret: bytes) -> None:
    """Apply missing steps in one transaction; other processes that do the same wait.

    The lock is a row, because not every compatible database has advisory locks.

    Raises:
        StoreUnavailable: A newer Memtrace wrote the store.
    """
    if not missing(connection):
        return
    _require_schema(connection)
    with suppress(*_MADE_BY_ANOTHER):
        connection.execute(
            'CREATE TABLE IF NOT EXISTS migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint,'
            " version text)"
        )
    connection.execute("INSERT INTO migrations (name) VALUES (%s) ON CONFLICT DO NOTHING", [_LOCK])
    with connection.transaction():
        connection.execute("SELECT 1 FROM migrations WHERE name = %s FOR UPDATE", [_LOCK])
        names = missing(connection)
        is_old = 0 < len(names) < len(_STEPS)
        if is_old:
            _LOG.info("An older Memtrace wrote the store, which is migrated now; requests wait until then")
        for name in names:
            step = _STEPS[name]
            if isinstance(step, str):
                connection.execute(step.encode())
            else:
                step(connection)
            connection.execute("INSERT INTO migrations VALUES (%s, %s, %s)", [name, now, __version__])
        connection.execute("INSERT INTO secrets SELECT %s WHERE NOT EXISTS (SELECT 1 FROM secrets)", [secret])
    if is_old:
        _LOG.info("The store is migrated")


def missing(connection: Connection) -> Sequence[str]:
    """Return the steps that have not been applied yet.

    Raises:
        StoreUnavailable: A newer Memtrace wrote the store.
    """
    (exists,) = _one(connection, "SELECT to_regclass('migrations') IS NOT NULL")
    if not exists:
        return list(_STEPS)
    applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()} - {_LOCK}
    unknown = sorted(applied - _STEPS.keys())
    if unknown:
        (version,) = _one(connection, "SELECT max(version) FROM migrations WHERE name = %s", unknown[-1])
        raise StoreUnavailable(
            f"a newer Memtrace wrote the store ({version or 'unknown'}, step {unknown[-1]}); this is"
            f" {__version__}: upgrade memtrace-sdk"
        )
    return [name for name in _STEPS if name not in applied]


def _require_schema(connection: Connection) -> None:
    """Create the schema of the tables, unless a schema exists.

    Raises:
        StoreUnavailable: No schema of the search_path exists.
    """
    (schema, path) = _one(connection, "SELECT current_schema(), current_setting('search_path')")
    if schema is not None:
        return
    if path != SCHEMA:
        raise StoreUnavailable(
            f"no schema of search_path={path} exists; create one, or let the URL name another"
        )
    with suppress(*_MADE_BY_ANOTHER):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")


def settle(connection: Connection) -> None:
    """Make later positions exceed all earlier ones, if this is another cluster.

    Positions are computed from transaction numbers. Another cluster has other numbers, for instance after
    `pg_restore`; and a promoted standby may use numbers again that it did not receive from the old primary.
    """
    with suppress(*_UNIDENTIFIED):
        found = connection.execute(
            "SELECT p.cluster, s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)"
            " FROM pg_control_system() s, places p WHERE NOT pg_is_in_recovery()"
        ).fetchone()
        if found is not None and found[0] != found[1]:
            connection.execute(
                f"UPDATE places SET cluster = %s, first = {_LEAP} + greatest(first,"
                " (SELECT max((SELECT max(m.place) FROM memories m WHERE m.org = o.number)) FROM orgs o))"
                " WHERE cluster <> %s",
                [found[1], found[1]],
            )


def has_pieces(connection: Connection) -> bool:
    """Return whether there is a usable index of trigrams."""
    return bool(_one(connection, f"SELECT {_IS_INDEXED}")[0])


def prepare_pieces(connection: Connection) -> Pieces:
    """Create the index of trigrams if this is possible and there are no memories yet."""
    if has_pieces(connection):
        return Pieces.INDEXED
    with suppress(errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile,
                  errors.UniqueViolation, errors.InvalidSchemaName):  # fmt: skip
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    operators = _operators(connection)
    if operators is None:
        return Pieces.IMPOSSIBLE
    with connection.transaction():
        connection.execute("SELECT 1 FROM migrations WHERE name = %s FOR UPDATE", [_LOCK])
        if has_pieces(connection):
            return Pieces.INDEXED
        if _one(connection, f"SELECT {_IS_BEGUN} OR EXISTS (SELECT 1 FROM memories)")[0]:
            return Pieces.NOT_INDEXED
        connection.execute(_TRIGRAMS.format("", operators).encode())
    return Pieces.INDEXED


def index_pieces(connection: Connection) -> None:
    """Create the index of trigrams while others write.

    Only one process at a time creates it, as two would wait for each other; after a failure, another process
    does. Close the connection afterwards, because its settings have changed and it holds the lock.

    Raises:
        StoreUnavailable: The index is unusable for another reason.
    """
    connection.execute("SET lock_timeout = 0")  # the index waits for transactions that began before
    # The lock is polled: waiting for it would hold a snapshot, for whose end the index would wait.
    while not _one(connection, _TRY_TO_INDEX)[0] or _one(connection, f"SELECT {_IS_BEING_INDEXED}")[0]:
        connection.execute(f"SELECT pg_sleep({_UNTIL_NEXT})")
    for _ in range(_INDEXINGS):
        if has_pieces(connection):
            return
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS memories_by_piece")
        connection.execute(_TRIGRAMS.format(" CONCURRENTLY", _operators(connection)).encode())
    if not has_pieces(connection):
        raise StoreUnavailable("the index is not valid")


def _operators(connection: Connection) -> str | None:
    """Return the schema of pg_trgm and a dot; None if pg_trgm is not installed."""
    found = connection.execute(
        "SELECT quote_ident(n.nspname) || '.' FROM pg_extension e"
        " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'"
    ).fetchone()
    return None if found is None else str(found[0])


def is_distributed(connection: Connection) -> bool:
    """Return whether memories are distributed by their organisation, to partitions or to shards of Citus."""
    (is_partitioned, has_citus) = _one(
        connection,
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass('memories') AND relkind = 'p'),"
        " EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')",
    )
    return bool(is_partitioned or has_citus)


def analyse(connection: Connection) -> None:
    """Analyse tables that have grown and have never been analysed.

    Plans are generic, and kept until a table is analysed. Plans of an empty store read all memories of an
    organisation, because all indexes seem equal. Autovacuum analyses a minute later, or never if it is off.
    """
    grown = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class c, unnest(%s::text[], %s::bigint[]) AS t (name, grown)"
        " WHERE c.oid = to_regclass(t.name) AND c.relkind = 'r' AND c.reltuples <= 0"
        " AND pg_relation_size(c.oid) BETWEEN t.grown AND %s AND pg_has_role(c.relowner, 'USAGE')",
        (list(_GROWING), list(_GROWING.values()), _LARGE),
    ).fetchall()
    for (table,) in grown:
        connection.execute(f"ANALYZE (SKIP_LOCKED) {table}".encode())


def _one(connection: Connection, sql: str, *values: object) -> tuple[object, ...]:
    found = connection.execute(sql.encode(), values).fetchone()
    assert found is not None  # noqa: S101 - aggregates and expressions have a row
    return found
