"""The write-ahead log: kept short in the background, whoever reads or writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from durability.in_process import InProcess
from durability.store_audit import assert_consistent
from helpers.waiting import wait_until

from memtrace_server.store import writing
from memtrace_server.store.protocol import StoreBusy, StoreUnavailable
from memtrace_server.store.sqlite import checkpoints, tidying
from memtrace_server.store.sqlite.file import StoreFile
from memtrace_server.store.sqlite.transaction import SqliteTransaction

PAGE, HEAD = 4_096, 24
LONG = 100  # pages


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "_LONG_LOG", LONG)
    monkeypatch.setattr(writing, "_TIDY_EVERY", 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memtrace.db"


def pages_written(file: Path) -> int:
    return file.with_name(f"{file.name}-wal").stat().st_size // (PAGE + HEAD)


def test_log_restarts_while_writes_go_on(file: Path) -> None:
    with InProcess(file) as process:
        tenant = process.tenant()
        for n in range(400):  # some 4,000 pages
            assert tenant.add(content=f"{n} {'x' * 3_000}").status == 201
        assert pages_written(file) < 2_000
        assert len(tenant.memories()) == 400
    assert len(assert_consistent(file)) == 400


def test_log_is_shortened_once_its_last_reader_has_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "_LONGEST_LOG", 2 * LONG * PAGE)
    with InProcess(file) as process:
        tenant = process.tenant()
        with closing(sqlite3.connect(file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM memories").fetchone() == (0,)
            for n in range(100):
                assert tenant.add(content=f"{n} {'x' * 3_000}").status == 201
            assert pages_written(file) > 2 * LONG
            assert reader.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        process.store.tend()
        wait_until(lambda: pages_written(file) < LONG)
        assert len(tenant.memories()) == 100
    assert len(assert_consistent(file)) == 100


def test_length_of_a_log_counts_pages_since_its_restart(file: Path) -> None:
    with InProcess(file) as process:
        process.tenant()
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.execute("PRAGMA wal_autocheckpoint = 0")
        store.execute("CREATE TABLE other (text)")
        store.execute("INSERT INTO other VALUES (?)", ("x" * 50 * PAGE,))
        size = pages_written(file)
        ours = StoreFile(str(file))
        assert [ours.has_long_log(pages) for pages in (size - 1, size, size + 1)] == [True, False, False]
        store.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        store.execute("INSERT INTO other VALUES (1)")  # restarts the log, in the same file
        assert pages_written(file) == size
        assert not ours.has_long_log(size // 2)
        assert ours.has_long_log(0)


def test_a_log_is_shortened_though_sweeps_fail(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreBusy("another process writes")

    for part in ("sweep", "sweep_long", "sweep_texts"):
        monkeypatch.setattr(SqliteTransaction, part, fail)
    with InProcess(file) as process:
        tenant = process.tenant()
        for n in range(400):
            assert tenant.add(content=f"{n} {'x' * 3_000}").status == 201
        assert pages_written(file) < 2_000


def test_log_that_cannot_be_emptied_is_retried_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "_RETRY", 1e-9)
    monkeypatch.setattr(checkpoints, "_RETRY_LATER", 3_600)

    def lost() -> Any:
        raise StoreUnavailable("the file is gone")

    log = checkpoints.Checkpoints(lost, lost)
    for _ in range(100):
        log.empty()
    wait_until(lambda: bool(caplog.records))
    for _ in range(100):
        log.empty()
    log.close()
    assert len(caplog.records) == 1
