"""The file of a store: its path, its owner, its permissions, and its loss."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from helpers.commands import Commands
from helpers.waiting import wait_until
from live import LiveServer

from memtrace import APIConnectionError, APITimeoutError, Memtrace, PermissionDeniedError, ServerError

MODE = 0o777
STRANGER = 65_534  # nobody
PATIENCE = 20.0  # seconds

# Root has all permissions, and other users may lack those to import, so imports come first.
READ_AS_STRANGER = """
import os, sys
from memtrace import Memtrace
with Memtrace("sqlite://") as client:
    client.search_memories("dark")
if os.getuid() == 0:
    os.setgid({stranger})
    os.setuid({stranger})
with Memtrace(sys.argv[1], max_retries=0) as client:
    print(*(memory.content for memory in client.list_memories().memories))
    print(client.search_memories("dark").count)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a store with one memory."""
    path = tmp_path / "agent.db"
    with Memtrace(f"sqlite:///{path}") as client:
        client.remember("agent_1", "likes dark mode")
        client.search_memories("dark")
    return path


def contents(url: str) -> list[str]:
    with Memtrace(url, max_retries=0) as client:
        return [memory.content for memory in client.list_memories(order="asc").memories]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold another process's write open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# --- which file


def test_relative_path_is_resolved_when_a_client_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    with Memtrace("sqlite:///agent.db") as client:
        monkeypatch.chdir(elsewhere)
        client.remember("agent_1", "one")
        assert client.base_url == f"sqlite:///{here}/agent.db"
        with client.with_options(max_retries=0) as copy:
            copy.remember("agent_1", "two")
    assert contents(f"sqlite:///{here}/agent.db") == ["one", "two"]
    assert list(elsewhere.iterdir()) == []


def test_store_keeps_its_file_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memtrace_server.store import open_store  # noqa: PLC0415 - for this test alone

    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///x.db")) as store:
        store.read(lambda transaction: transaction.orgs())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        threads = [threading.Thread(target=store.read, args=(lambda t: t.orgs(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.backup("copy.db")
        assert list(store.check()) == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["copy.db", "elsewhere", "x.db"]


def test_symbolic_link_is_resolved_once(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "current.db"
    link.symlink_to(file)
    with Memtrace(f"sqlite:///{link}") as client:
        client.remember("agent_1", "through the link")
        assert file.with_name("agent.db-wal").exists()
        link.unlink()
        link.symlink_to(tmp_path / "other.db")
        client.remember("agent_1", "after the link changed")
    assert contents(f"sqlite:///{file}")[1:] == ["through the link", "after the link changed"]
    assert [path.name for path in folder.iterdir()] == ["current.db"]
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///a.db?mode=rw", "unknown option 'mode=rw'"),
        ("sqlite:///a.db?cache=shared", "unknown option 'cache=shared'"),
        ("sqlite:///a.db?", "unknown option ''"),
        ("sqlite://?mode=ro", "a store in memory cannot be read-only"),
        ("sqlite:///:memory:?mode=ro", "a store in memory cannot be read-only"),
        ("sqlite:///a\0.db", "no NUL"),
    ],
    ids=["mode", "cache", "empty", "memory", "memory by name", "NUL"],
)
def test_unknown_option_of_a_url_is_refused(url: str, message: str, command: Commands) -> None:
    with pytest.raises(ValueError, match=message):
        Memtrace(url)
    assert message in command.fail("check", "--store", url, code=2)


# --- reading only


def test_a_read_only_client_reads_and_writes_nothing(file: Path) -> None:
    before = file.read_bytes()
    with Memtrace(f"sqlite:///{file}?mode=ro", max_retries=0) as client:
        assert client.recall("agent_1").count == 1
        assert client.search_memories("dark").count == 1
        assert client.ready().status == "ok"
        for write in (lambda: client.remember("a", "b"), lambda: client.forget_all(agent_id="agent_1")):
            with pytest.raises(PermissionDeniedError, match="read only"):
                write()
    assert file.read_bytes() == before


def test_a_read_only_client_sees_what_others_write(file: Path) -> None:
    with Memtrace(f"sqlite:///{file}?mode=ro") as reader, Memtrace(f"sqlite:///{file}") as writer:
        assert reader.list_memories().count == 1
        writer.remember("agent_1", "more")
        assert reader.list_memories().count == 2


@pytest.mark.parametrize("name", ["missing.db", "missing/x.db"])
def test_a_read_only_url_creates_no_file(tmp_path: Path, name: str) -> None:
    with (
        Memtrace(f"sqlite:///{tmp_path / name}?mode=ro", max_retries=0) as client,
        pytest.raises(APIConnectionError, match="no such file"),
    ):
        client.list_memories()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_file_in_a_read_only_folder_can_be_read() -> None:
    folder = Path("/tmp") / f"memtrace-read-only-{os.getpid()}"  # noqa: S108 - other users can enter it
    folder.mkdir()
    try:
        file = folder / "agent.db"
        with Memtrace(f"sqlite:///{file}") as client:
            client.remember("agent_1", "likes dark mode")
            client.search_memories("dark")
        file.chmod(0o444)
        folder.chmod(0o555)
        code = READ_AS_STRANGER.format(stranger=STRANGER)
        program = [sys.executable, "-I", "-c", code, f"sqlite:///{file}?mode=ro"]
        done = subprocess.run(program, capture_output=True, encoding="utf-8", timeout=60, check=False)
        assert done.stdout == "likes dark mode\n1\n", done.stderr
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


AS_STRANGER = """
import os, sys
from memtrace import Memtrace
with Memtrace("sqlite://") as client:
    client.list_memories()
if os.getuid() == 0:
    os.setgid({stranger})
    os.setuid({stranger})
try:
    with Memtrace(sys.argv[1], max_retries=0) as client:
        client.list_memories()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("theirs.db", "theirs.db: cannot be opened; check the permissions of the file and its folder, or"),
        ("new.db", "new.db: cannot be created; change the permissions of "),
    ],
    ids=["file", "folder"],
)
def test_missing_permission_is_an_error_with_path_and_remedy(name: str, message: str) -> None:
    folder = Path("/tmp") / f"memtrace-forbidden-{os.getpid()}"  # noqa: S108 - other users can enter it
    folder.mkdir()
    try:
        with Memtrace(f"sqlite:///{folder}/theirs.db") as client:
            client.remember("a", "b")
        (folder / "theirs.db").chmod(0o000)
        folder.chmod(0o555)
        code = AS_STRANGER.format(stranger=STRANGER)
        program = [sys.executable, "-I", "-c", code, f"sqlite:///{folder}/{name}"]
        done = subprocess.run(program, capture_output=True, encoding="utf-8", timeout=60, check=False)
        assert done.stdout.startswith("APIConnectionError "), done.stdout + done.stderr
        assert f"{folder}/{message}" in done.stdout
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


# --- commands create no store


COMMANDS = [["check"], ["vacuum"], ["backup", "copy.db"], ["key", "list"], ["key", "create"],
            ["key", "revoke", "key_1"], ["org", "list"]]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_on_a_missing_file_fails_with_its_absolute_path(
    words: list[str], tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    error = command.fail(*words, "--store", "sqlite:///nowhere.db", code=2)
    assert "--store" in error or words[0] == "restore"

    assert f"{tmp_path}/nowhere.db: there is no such file" in error
    assert list(tmp_path.iterdir()) == []


# --- the owner of a file


def test_store_has_the_application_id_and_a_schema_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"Mtrc"),)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        assert database.execute("SELECT count(*) FROM migrations").fetchone() == (version,)
        assert not database.execute("SELECT 1 FROM migrations WHERE version IS NULL").fetchone()


def foreign_by_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE migrations (id INTEGER PRIMARY KEY, app TEXT)")
        database.execute("CREATE TABLE customers (name TEXT)")


def foreign_by_id(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA application_id = 1")


def foreign_in_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE migrations (name TEXT)")
        database.execute("INSERT INTO migrations VALUES ('0001-initial')")
        database.commit()


@pytest.mark.parametrize("make", [foreign_by_tables, foreign_by_id, foreign_in_wal_mode])
def test_another_programs_database_is_refused_untouched(
    make: Callable[[Path], None], tmp_path: Path, command: Commands
) -> None:
    file = tmp_path / "theirs.db"
    make(file)
    before = (file.read_bytes(), file.stat().st_mtime_ns)

    for url in (f"sqlite:///{file}", f"sqlite:///{file}?mode=ro"):
        with Memtrace(url, max_retries=0) as client:
            for use in (client.list_memories, lambda client=client: client.remember("a", "b")):
                with pytest.raises(APIConnectionError, match="another program's database"):
                    use()
        assert f"{file}: is another program's database" in command.fail("check", "--store", url)
    with (
        pytest.raises(RuntimeError, match="another program's database"),
        LiveServer(tmp_path, "--store", f"sqlite:///{file}"),
    ):
        pass

    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_newer_schema_is_refused_with_the_version_that_wrote_it(file: Path, command: Commands) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO migrations VALUES ('9999-future', 0, '7.1.0')")

    error = command.fail("check", "--store", f"sqlite:///{file}")

    assert "Memtrace 7.1.0 wrote it, which is newer than this" in error
    assert "upgrade memtrace-sdk" in error


def test_store_log_and_backup_are_readable_by_their_owner_alone(tmp_path: Path, command: Commands) -> None:
    file = tmp_path / "agent.db"
    before = os.umask(0)
    try:
        with Memtrace(f"sqlite:///{file}") as client:
            client.remember("agent_1", "secret")
            made = {path.name: path.stat().st_mode & MODE for path in tmp_path.iterdir()}
        command("backup", str(tmp_path / "copy.db"), "--store", f"sqlite:///{file}")
    finally:
        os.umask(before)

    assert made == dict.fromkeys(("agent.db", "agent.db-wal", "agent.db-shm"), 0o600)
    assert (tmp_path / "copy.db").stat().st_mode & MODE == 0o600


# --- a file that is gone


def move_away(file: Path) -> None:
    file.rename(file.with_name("moved.db"))


def replace(file: Path) -> None:
    shutil.copy(file, file.with_name("copy.db"))
    file.with_name("copy.db").replace(file)


def remove_log(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()


@pytest.mark.parametrize(
    "lose", [Path.unlink, move_away, replace, remove_log], ids=["delete", "move", "replace", "log"]
)
def test_a_server_whose_file_is_gone_refuses_writes_and_is_not_ready(
    lose: Callable[[Path], object], tmp_path: Path
) -> None:
    with LiveServer(tmp_path) as server, Memtrace(server.url, server.key, max_retries=0) as client:
        client.remember("agent_1", "before")
        assert client.ready().status == "ok"

        lose(Path(server.store_url.removeprefix("sqlite:///")))

        with pytest.raises(ServerError, match="was removed or replaced") as refused:
            client.remember("agent_1", "after")
        assert refused.value.status_code == 503
        answer = httpx.get(f"{server.url}/ready")
        assert (answer.status_code, "was removed or replaced" in answer.text) == (503, True)
        assert str(tmp_path) not in answer.text
        with pytest.raises(ServerError, match="was removed or replaced"):
            client.list_memories()


def test_an_embedded_client_whose_file_is_gone_refuses_writes(file: Path) -> None:
    with Memtrace(f"sqlite:///{file}", max_retries=0) as client:
        client.remember("agent_1", "before")
        file.unlink()
        with pytest.raises(ServerError, match="was removed or replaced"):
            client.remember("agent_1", "after")
    assert not file.exists()


# --- ready


def test_a_server_that_cannot_write_is_not_ready(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--request-timeout", "1") as server:
        file = Path(server.store_url.removeprefix("sqlite:///"))
        with locked(file):
            answer = httpx.get(f"{server.url}/ready", timeout=60)
            assert answer.status_code == 503
            assert "another process holds its lock" in answer.json()["error"]
        # An outcome is cached for a second.
        wait_until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)


def test_a_server_on_a_full_disk_is_not_ready(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(sqlite3.Connection):
        def execute(self, sql: str, /, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and is_full:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *values)

    is_full = False
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Full, **k))
    with Memtrace(f"sqlite:///{file}", max_retries=0) as client:
        client.list_memories()
        is_full = True
        with pytest.raises(ServerError, match="the disk is full; free some space"):
            client.ready()


def test_ready_reports_damage_that_a_request_found(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as store:
        store.seek((page - 1) * size)
        store.write(b"\xff" * size)
    with Memtrace(f"sqlite:///{file}", max_retries=0) as client:
        assert client.ready().status == "ok"
        with pytest.raises(ServerError, match="is damaged"):
            client.get_session("sess_1")
        with pytest.raises(ServerError, match="is damaged"):
            client.ready()


# --- another process's lock


def writes(client: Memtrace) -> None:
    client.remember("agent_1", "in vain")


def probes(client: Memtrace) -> None:
    client.ready()


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "not yet open"])
def test_an_embedded_write_to_a_locked_file_gives_up_at_its_timeout(file: Path, *, is_open: bool) -> None:
    with Memtrace(f"sqlite:///{file}", timeout=1.0, max_retries=5) as client:
        if is_open:
            client.list_memories()
        with locked(file):
            before = monotonic()
            with pytest.raises(APITimeoutError, match="others write to it all the time"):
                writes(client)
            assert monotonic() - before < 10.0  # the store's own limit is 60
        client.remember("agent_1", "afterwards")
    assert contents(f"sqlite:///{file}") == ["likes dark mode", "afterwards"]


def test_an_embedded_read_gives_up_at_its_timeout_while_the_file_is_held(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE orgs SET name = name")
        before = monotonic()
        with (
            Memtrace(f"sqlite:///{file}", timeout=1.0, max_retries=5) as client,
            pytest.raises(APITimeoutError, match="another process holds its lock"),
        ):
            client.list_memories()
        assert monotonic() - before < 10.0
    assert contents(f"sqlite:///{file}") == ["likes dark mode"]


@pytest.mark.parametrize("first", ["hasty", "patient"])
def test_each_thread_gives_up_at_its_own_timeout(file: Path, first: str) -> None:
    waiting = {"hasty": threading.Event(), "patient": threading.Event()}

    def write(name: str, timeout: float) -> str:
        waiting[name].set()
        return client.with_options(timeout=timeout).remember("agent_1", name).content

    with Memtrace(f"sqlite:///{file}", max_retries=0) as client, ThreadPoolExecutor(2) as threads:
        client.list_memories()
        with locked(file):
            written = {}
            for name in sorted(waiting, key=lambda name: name != first):
                written[name] = threads.submit(write, name, {"hasty": 0.5, "patient": 60.0}[name])
                assert waiting[name].wait(PATIENCE)
            with pytest.raises(APITimeoutError):
                written["hasty"].result(PATIENCE)
            assert not written["patient"].done()
        assert written["patient"].result(PATIENCE) == "patient"
    assert contents(f"sqlite:///{file}") == ["likes dark mode", "patient"]


def test_a_thread_waits_while_another_creates_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the first opening: closing a file drops all locks that the process has on it."""
    file = tmp_path / "agent.db"
    early: list[bool] = []
    close = os.close

    def close_late(descriptor: int) -> None:
        monkeypatch.undo()
        other = threads.submit(contents, f"sqlite:///{file}")
        early.append(other in wait([other], 0.3).done)
        close(descriptor)
        others.append(other)

    others: list[Future[list[str]]] = []
    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(os, "close", close_late)
        assert contents(f"sqlite:///{file}") == []
        assert [other.result(PATIENCE) for other in others] == [[]]
    assert early == [False]
