"""The effects of one write on PostgreSQL, in pgbench's language: the floor of writing there.

A transaction has the effects of one request that stores a memory: it reads the key and the original, stores
the memory with all that it is found by, its fingerprint, its agent and its session, and counts it. The texts
are those that Memtrace made of the load's contents, so nothing is analysed into words, stems or JSON.
"""

from __future__ import annotations

import os
import re
import resource
from contextlib import closing

import psycopg
from attrs import frozen
from clusters import Cluster

from benchmarks import load, samples
from benchmarks.server import KEY
from memtrace_server import auth, tenants, times
from memtrace_server.auth import Principal
from memtrace_server.core import Core
from memtrace_server.messages import JSON, Request
from memtrace_server.store import open_store
from memtrace_server.store.counting import PERIOD
from memtrace_server.store.postgres.writing import MEMORIES, NOTHING, PLACES

_CONTENTS = 1_000
_SLOTS = 4
_WORD = "0000aaaa0000"  # stands for the word that is in one memory alone
_CREATED = 201
_PREPARE = f"""
CREATE TABLE contents AS
    SELECT row_number() OVER (ORDER BY seq)::integer AS row, memory_type, event_type, importance,
        lexemes::text AS lexemes, folded, words, doc
    FROM memories WHERE folded LIKE '%{_WORD}%';
ALTER TABLE contents ADD PRIMARY KEY (row);
TRUNCATE memories, originals, duplicates, agents, sessions, counts, recent_counts;
VACUUM ANALYZE contents;
"""  # noqa: S608 - of constants
# An agent is counted in four slots, as by a server, so that clients rarely wait for each other; all memories
# are counted in a slot for each client, so that they do not wait there.
_TRANSACTION = rf"""
\set n :n + 1
\set row (:client_id * 31 + :n) % {_CONTENTS} + 1
\set agent (:row - 1) % {load.AGENTS}
BEGIN;
SELECT k.org, o.id, k.role, k.revoked_at, k.expires_at FROM keys k JOIN orgs o ON o.number = k.org
    WHERE k.digest = decode('{{digest}}', 'hex');
SELECT seq FROM originals
    WHERE org = 1 AND fingerprint = decode(md5('{{run}}' || :client_id || '-' || :n), 'hex');
INSERT INTO memories (org, seq, place, agent_id, session_id, memory_type, event_type, time, importance,
        created_at, lexemes, folded, words, doc)
    SELECT 1, s, (SELECT first FROM places) + pg_current_xact_id()::text::bigint * {PLACES},
        'agent_' || :agent, 'sess_' || :agent, memory_type, event_type, s, importance, s,
        replace(lexemes, '{_WORD}', w)::tsvector, replace(folded, '{_WORD}', w),
        replace(words, '{_WORD}', w), replace(doc, '{_WORD}', w)
    FROM contents, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 + :client_id AS s,
        '{{run}}' || lpad((:client_id)::text, 4, '0') || :n AS w) x
    WHERE row = :row;
INSERT INTO originals (org, fingerprint, seq, replaced)
    VALUES (1, decode(md5('{{run}}' || :client_id || '-' || :n), 'hex'),
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 + :client_id, {NOTHING})
    ON CONFLICT DO NOTHING;
INSERT INTO agents (org, id, created_at) VALUES (1, 'agent_' || :agent, 1) ON CONFLICT DO NOTHING;
INSERT INTO sessions (org, id, agent_id, created_at, updated_at)
    VALUES (1, 'sess_' || :agent, 'agent_' || :agent, 1, 1) ON CONFLICT DO NOTHING;
INSERT INTO counts VALUES
        (1, 'agent_' || :agent, 'episodic', :client_id % {_SLOTS}, 1,
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000),
        (1, '', '{MEMORIES}', :client_id, 1, NULL)
    ON CONFLICT (org, agent_id, kind, slot) DO UPDATE SET number = counts.number + excluded.number,
        active_at = greatest(counts.active_at, excluded.active_at);
INSERT INTO recent_counts
    VALUES (1, 'agent_' || :agent, extract(epoch FROM clock_timestamp())::bigint * {times.SECOND} / {PERIOD},
        :client_id % {_SLOTS}, 1, 0)
    ON CONFLICT (org, agent_id, period, slot) DO UPDATE SET
        memories = recent_counts.memories + excluded.memories,
        errors = recent_counts.errors + excluded.errors;
COMMIT;
"""  # noqa: S608 - of constants


@frozen
class Outcome:
    """The result of a run: transactions a second, and the CPU time (s) of each in pgbench and PostgreSQL."""

    rate: float
    cost: float


class Pgbench:
    """The load's writes as transactions of pgbench, on their own store.

    Args:
        cluster: The cluster.
        url: An empty store.
        clients: Number of concurrent writers.
    """

    def __init__(self, cluster: Cluster, url: str, clients: int) -> None:
        self._cluster = cluster
        self._url = url
        self._clients = clients
        with closing(open_store(url)) as store:
            tenants.local_principal(store)
            tenants.bootstrap(store, KEY)
            core = Core(store, local=Principal(1, tenants.DEFAULT_ORG, "writer"))
            contents = samples.contents(_CONTENTS, seed="pgbench")
            memories = [load.memory(n, f"{next(contents)} {_WORD}") for n in range(_CONTENTS)]
            body = f'{{"memories":[{",".join(memories)}]}}'.encode()
            headers = {"content-type": JSON}
            response = core.handle(
                Request(method="POST", path="/api/v1/memories", headers=headers, body=body)
            )
            if response.status != _CREATED:
                raise RuntimeError(response.body.decode())
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _PREPARE.split(";"):
                connection.execute(statement.encode())

    def run(self, seconds: float) -> Outcome:
        """Run it for some seconds."""
        script = self._cluster.folder / "script.sql"
        script.write_text(_TRANSACTION.format(run=os.urandom(6).hex(), digest=auth.digest(KEY).hex()))
        script.chmod(0o644)
        before = self._cluster.cpu(), _cpu_of_children()
        output = self._cluster.run(
            "pgbench", "-n", "-M", "prepared", "-c", str(self._clients), "-j", "2", "-T", str(round(seconds)),
            "-D", "n=0", "-f", str(script), self._url,
        )  # fmt: skip
        taken = self._cluster.cpu() - before[0] + _cpu_of_children() - before[1]
        rate = re.search(r"tps = ([0-9.]+)", output)
        done = re.search(r"actually processed: ([0-9]+)", output)
        if rate is None or done is None:
            raise RuntimeError(output)
        return Outcome(float(rate[1]), taken / int(done[1]))


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
