"""Restoring a backup in place of a store: verified, atomic, and the old store is kept."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from helpers.commands import Commands
from live import LiveServer

from memtrace import Memtrace
from memtrace_server.store import restore_store

OLD, OLD_3, NEW = ["old 1", "old 2"], "old 3", ["new 1", "new 2", "new 3"]
EXPECTED = {"closed": OLD, "crashed": [*OLD, OLD_3], "spoilt": []}

# Restores for each line that it reads, in a process that kills itself at the step that the line names. A step
# is an open, a link, a rename or a removal of a file in the store's folder. The process is forked, as
# starting an interpreter takes longer than restoring.
RESTORE = """
import os, signal, sys
import memtrace.cli._program, memtrace_server.store.sqlite
from memtrace.cli import main

folder, steps = sys.argv[1], 0

def step(event, arguments):
    global steps
    if folder in repr(arguments):
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    last = int(line)
    child = os.fork()
    if not child:
        sys.addaudithook(step)
        main(["restore", *sys.argv[2:]])
        sys.stdout.flush()
        os._exit(0)
    print("ended:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
DAMAGE = b"no longer a database " * 500


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memtrace.db"


@pytest.fixture
def backup(tmp_path: Path, file: Path, command: Commands) -> Path:
    """Return a backup of a store with other memories."""
    backup = tmp_path / "backups" / "monday.db"
    backup.parent.mkdir()
    store = tmp_path / "other.db"
    write(store, NEW)
    command("backup", str(backup), "--store", f"sqlite:///{store}")
    store.unlink()
    write(file, OLD)
    return backup


def write(file: Path, texts: list[str]) -> None:
    with Memtrace(f"sqlite:///{file}") as client:
        for text in texts:
            client.remember("agent_1", text)


def contents(file: Path) -> list[str]:
    with Memtrace(f"sqlite:///{file}") as client:
        return [memory.content for memory in client.list_memories(order="asc").memories]


def crash(file: Path, text: str) -> None:
    """Write a memory and leave it in the write-ahead log, like a killed process."""
    code = (
        "import os, sys; from memtrace import Memtrace; client = Memtrace(sys.argv[1]);"
        "client.remember('agent_1', sys.argv[2]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-I", "-c", code, f"sqlite:///{file}", text], check=True, timeout=60)
    assert file.with_name(f"{file.name}-wal").stat().st_size


def asides(file: Path) -> list[Path]:
    return [path for path in file.parent.glob(f"{file.name}.before-*") if not path.name.endswith("-wal")]


def test_backup_reports_the_number_of_its_memories(tmp_path: Path, file: Path, command: Commands) -> None:
    write(file, OLD)
    copy = tmp_path / "copy.db"

    printed = command("backup", str(copy), "--store", f"sqlite:///{file}")

    assert printed == f"{copy} holds 2 memories and was verified.\n"


def test_inconsistent_backup_is_removed(tmp_path: Path, file: Path, command: Commands) -> None:
    write(file, OLD)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE agent_counts SET memories = memories + 1")

    error = command.fail("backup", str(tmp_path / "copy.db"), "--store", f"sqlite:///{file}")

    assert "the copy is not consistent: " in error
    assert not list(tmp_path.glob("copy.db*"))


def test_backup_is_synced_before_it_is_renamed(
    tmp_path: Path, file: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, OLD)
    copy = tmp_path / "copy.db"
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        "os.fsync", lambda fd: synced.append((Path(f"/proc/self/fd/{fd}").readlink().name, copy.exists()))
    )

    command("backup", str(copy), "--store", f"sqlite:///{file}")

    assert synced == [("copy.db.part", False), (tmp_path.name, True)]


def test_restore_replaces_the_store_and_keeps_the_old_one(
    backup: Path, file: Path, command: Commands
) -> None:
    crash(file, OLD_3)

    printed = command("restore", str(backup), "--store", f"sqlite:///{file}")

    [aside] = asides(file)
    assert printed == (f"Restored 3 memories from {backup} to {file}.\nThe previous store is now {aside}.\n")
    assert contents(file) == NEW
    assert contents(aside) == [*OLD, OLD_3]
    assert contents(backup) == NEW
    assert file.stat().st_mode & 0o777 == 0o600
    assert "consistent" in command("check", "--store", f"sqlite:///{file}")


def test_restore_without_an_earlier_store_reports_no_kept_store(
    backup: Path, tmp_path: Path, command: Commands
) -> None:
    fresh = tmp_path / "fresh.db"

    printed = command("restore", str(backup), "--store", f"sqlite:///{fresh}")

    assert printed == f"Restored 3 memories from {backup} to {fresh}.\n"
    assert contents(fresh) == NEW


def test_a_restore_replaces_a_damaged_store_and_its_log(backup: Path, file: Path, command: Commands) -> None:
    crash(file, "lost")
    file.write_bytes(DAMAGE)
    log = file.with_name(f"{file.name}-wal").read_bytes()

    command("restore", str(backup), "--store", f"sqlite:///{file}")

    [aside] = asides(file)
    assert aside.read_bytes() == DAMAGE
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == log
    assert contents(file) == NEW


def test_a_restore_is_refused_while_a_server_has_the_store_open(
    backup: Path, tmp_path: Path, command: Commands
) -> None:
    with LiveServer(tmp_path) as server, Memtrace(server.url, server.key) as client:
        client.remember("agent_1", "here")

        error = command.fail("restore", str(backup), "--store", server.store_url)

        assert "a process has the store open" in error
        assert client.list_memories().count == 3
    assert not list(tmp_path.glob("*.restoring"))
    assert asides(tmp_path / "memtrace.db") == []


def test_restore_is_refused_while_an_embedded_client_is_open(backup: Path, file: Path) -> None:
    with Memtrace(f"sqlite:///{file}") as client:
        client.remember("agent_1", OLD_3)
        command = [
            sys.executable,
            "-m",
            "memtrace_server",
            "restore",
            str(backup),
            "--store",
            f"sqlite:///{file}",
        ]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
        assert done.returncode == 1
        assert "a process has the store open" in done.stderr
        client.remember("agent_1", "old 4")
    assert contents(file) == [*OLD, OLD_3, "old 4"]


def damaged(backup: Path) -> None:
    content = bytearray(backup.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    backup.write_bytes(content)


def foreign(backup: Path) -> None:
    backup.unlink()
    with closing(sqlite3.connect(backup)) as database:
        database.execute("CREATE TABLE customers (name TEXT)")


def newer(backup: Path) -> None:
    with closing(sqlite3.connect(backup)) as database, database:
        database.execute("INSERT INTO migrations VALUES ('9999-future', 0, '7.1.0')")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damaged, "damaged"),
        (foreign, "is another program's database"),
        (newer, "Memtrace 7.1.0 wrote it"),
        (lambda backup: backup.write_text("no database"), "is damaged or not a backup; use another one"),
    ],
    ids=["damaged", "foreign", "newer", "text"],
)
def test_unusable_backup_leaves_the_store_as_it_was(
    spoil: Callable[[Path], object], message: str, backup: Path, file: Path, command: Commands
) -> None:
    spoil(backup)
    before = file.read_bytes()

    assert message in command.fail("restore", str(backup), "--store", f"sqlite:///{file}")

    assert file.read_bytes() == before
    assert [path for path in file.parent.iterdir() if path.is_file()] == [file]


def test_a_backup_that_does_not_exist_ends_with_2(tmp_path: Path, command: Commands) -> None:
    missing = tmp_path / "missing.db"
    error = command.fail("restore", str(missing), "--store", f"sqlite:///{tmp_path}/x.db", code=2)
    assert f"{missing}: there is no such file" in error
    assert list(tmp_path.iterdir()) == []


def test_a_store_cannot_be_restored_from_itself(file: Path, command: Commands) -> None:
    write(file, OLD)
    error = command.fail("restore", str(file), "--store", f"sqlite:///{file}", code=2)
    assert "is the store itself" in error


def closed(file: Path) -> None:
    assert contents(file) == OLD


def crashed(file: Path) -> None:
    crash(file, OLD_3)


def spoilt(file: Path) -> None:
    crash(file, OLD_3)
    file.write_bytes(DAMAGE)


@pytest.mark.parametrize("leave", [closed, crashed, spoilt])
def test_restore_killed_at_any_step_leaves_one_complete_store(
    leave: Callable[[Path], None], backup: Path, file: Path, tmp_path: Path
) -> None:
    leave(file)
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in tmp_path.glob("memtrace.db*"):
        shutil.copy2(path, kept)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", RESTORE, str(tmp_path), str(backup), "--store", f"sqlite:///{file}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1,
    ) as process:  # fmt: skip
        outcomes = outcomes_of(process, leave, backup, file, kept)
    assert outcomes[0] == EXPECTED[leave.__name__]
    assert len(outcomes) > 8


def outcomes_of(
    process: subprocess.Popen[str], leave: Callable[[Path], None], backup: Path, file: Path, kept: Path
) -> list[list[str]]:
    """Restore repeatedly, killed one step later each time; return the contents of the store after each."""
    assert process.stdin is not None
    assert process.stdout is not None
    outcomes: list[list[str]] = []
    code = -signal.SIGKILL
    while code:
        for path in file.parent.glob("memtrace.db*"):
            path.unlink()
        for path in kept.iterdir():
            shutil.copy2(path, file.parent)
        step = len(outcomes) + 1
        process.stdin.write(f"{step}\n")
        code = next((int(line.split()[1]) for line in process.stdout if line.startswith("ended:")), 1)
        assert code in {0, -signal.SIGKILL}
        outcomes.append(found(file))
        if outcomes[-1] == NEW:
            assert found(asides(file)[-1]) == EXPECTED[leave.__name__], step
        else:
            assert outcomes[-1] == EXPECTED[leave.__name__], step
            restore_store(f"sqlite:///{file}", str(backup))
            assert contents(file) == NEW
    return outcomes


def found(file: Path) -> list[str]:
    return [] if file.read_bytes() == DAMAGE else contents(file)
