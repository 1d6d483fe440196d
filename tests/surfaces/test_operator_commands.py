"""Operators' commands: organisations, keys, and errors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from helpers.commands import Commands

from memtrace import AuthenticationError, Memtrace, PermissionDeniedError, __version__
from memtrace.cli import main
from memtrace_server import tenants
from memtrace_server.store import open_store

if TYPE_CHECKING:
    from live import LiveServer


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'memtrace.db'}"
    monkeypatch.setenv("MEMTRACE_STORE", url)
    return url


@pytest.fixture
def run(store: str, command: Commands) -> Commands:
    """Return a function that runs commands on a new store."""
    assert store
    return command


def test_an_organisation_is_created_and_listed(run: Commands) -> None:
    org_id = run("org", "create", "Acme & Söhne").strip()

    assert re.fullmatch(r"org_[0-9A-Z]{26}", org_id)
    assert run("org", "list") == f"{org_id}\tAcme & Söhne\n"


def test_a_key_is_shown_once_and_listed_without_its_text(run: Commands) -> None:
    org_id = run("org", "create", "acme").strip()

    key = run("key", "create", "--org", "acme", "--role", "reader", "--name", "for the dashboard").strip()

    assert re.fullmatch(r"mtk_[0-9a-f]{64}", key)
    (line,) = run("key", "list").splitlines()
    assert re.fullmatch(
        rf"key_[0-9A-Z]{{26}}\t{org_id}\treader\tactive\tfor the dashboard\t\t20\S+Z\t\t", line
    )
    assert key[4:20] not in line


def test_an_organisation_is_named_by_its_id_or_its_name(run: Commands) -> None:
    org_id = run("org", "create", "acme").strip()

    keys = {run("key", "create", "--org", name) for name in (org_id, "acme")}

    assert len(keys) == 2
    assert [line.split("\t")[1:3] for line in run("key", "list").splitlines()] == [[org_id, "writer"]] * 2


@contextmanager
def full_output() -> Iterator[None]:
    """Let standard output be a file on a full disk."""
    with Path("/dev/full").open("w", encoding="utf-8") as output, redirect_stdout(output):
        yield


def test_a_new_key_that_cannot_be_shown_is_revoked(store: str, run: Commands) -> None:
    with closing(open_store(store)) as opened:
        tenants.bootstrap(opened, None)

        with full_output():
            printed = run.fail("key", "create")

        (first, unseen) = tenants.list_keys(opened)
    assert "standard output: No space left on device; the new key was revoked" in printed
    assert (first.revoked_at, unseen.revoked_at is None) == (None, False)


def test_a_key_whose_successor_cannot_be_shown_does_not_expire(store: str, run: Commands) -> None:
    with closing(open_store(store)) as opened:
        tenants.bootstrap(opened, None)
        (before,) = tenants.list_keys(opened)

        with full_output():
            printed = run.fail("key", "rotate", before.id, "--overlap", "1s")

        (old, unseen) = tenants.list_keys(opened)
    assert "the new key was revoked" in printed
    assert old == before
    assert unseen.revoked_at is not None


@pytest.mark.parametrize("words", [["org", "list"], ["--version"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_one_line_of_error(
    words: list[str], store: str, run: Commands
) -> None:
    with closing(open_store(store)) as opened:
        tenants.create_org(opened, "acme")

    with full_output():
        printed = run.fail(*words)
        sys.stdout.flush()  # as at the end of the process, which has nothing to report any more
    assert printed == "memtrace: standard input or output: No space left on device\n"


def test_a_revoked_key_is_listed_as_such_and_revoked_once(run: Commands) -> None:
    run("org", "create", "acme")
    run("key", "create", "--org", "acme")
    key_id = run("key", "list").split("\t")[0]

    assert run("key", "revoke", key_id) == ""

    assert re.search(rf"^{key_id}\t.*\trevoked 20\d\d-[^\t]*Z\t", run("key", "list"), re.MULTILINE)
    assert f"there is no key '{key_id}' that is not revoked already" in run.fail("key", "revoke", key_id)
    assert run.printed == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["key", "create", "--org", "nobody"], "there is no organisation 'nobody'; memtrace org list"),
        (
            ["key", "revoke", "key_none"],
            "there is no key 'key_none' that is not revoked already; memtrace key list",
        ),
        (
            ["org", "create", "x", "--store", "sqlite:////missing/y/x.db"],
            "the folder /missing/y does not exist",
        ),
        (["org", "create", "x", "--store", "sqlite:////etc"], "/etc: is a folder; name a file in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_fails_says_why_in_one_line(run: Commands, arguments: list[str], message: str) -> None:
    run("org", "create", "ours")
    assert message in run.fail(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["org", "list", "--store", "mysql://x"], "mysql:// names no store"),
        (["org", "list", "--store", "sqlite:///"], "a file takes three slashes and a path"),
        (["org", "list", "--store", "sqlite:////"], "it ends like a folder; name a file in it"),
        (["org", "list", "--store", "sqlite:///x.db?mode=rw"], "unknown option 'mode=rw'"),
        (["org", "create", " "], "a name is one line of text"),
        (["key", "create", "--expires", "5x"], "'5x' is not a duration"),
        (["key", "create", "--expires", "0d"], "'0d' is not a duration; give a whole number above 0"),
        (["key", "create", "--org", "ours", "--agent", ""], "--agent: is not valid"),
        (["key", "create", "--org", "ours", "--agent", "a "], "--agent: is not valid"),
        (["key", "rotate", "key_none", "--overlap", "5x"], "'5x' is not a duration"),
        (["serve", "--workers", "2", "--store", "sqlite://"], "belongs to one process"),
        (["serve", "--workers", "2", "--store", "sqlite:///:memory:"], "belongs to one process"),
        (["serve", "--cors-origin", "app.example"], "--cors-origin: 'app.example' is not an origin"),
        (["serve", "--cors-origin", "https://app.example/"], "'https://app.example/' is not an origin"),
        (["serve", "--cors-origin", "https://App.example"], "'https://App.example' is not an origin"),
        (["serve", "--forwarded-allow-ips", "127.0.0.1,proxy"], "--forwarded-allow-ips: 'proxy' does not"),
        (["serve", "--forwarded-allow-ips", "10.0.0.5/8"], "10.0.0.5/8 has host bits set"),
        (["import", "nope.jsonl"], "'nope.jsonl': No such file"),
        (["restore", "nope.db"], "nope.db: there is no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_is_written_wrongly_ends_with_2(
    run: Commands, arguments: list[str], message: str
) -> None:
    run("org", "create", "ours")
    assert message in run.fail(*arguments, code=2)


def test_a_second_organisation_of_a_name_fails(run: Commands) -> None:
    run("org", "create", "acme")

    assert "there is an organisation 'acme' already" in run.fail("org", "create", "acme")


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"], ["key", "revoke"], ["key", "create", "--role", "owner"],
        ["serve", "--workers", "0"], ["serve", "--port", "http"], ["serve", "--port", "65536"],
        ["serve", "--port", "-1"], ["serve", "--unknown"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_misspelt_command_ends_with_2_and_names_its_help(
    arguments: list[str], store: str, run: Commands
) -> None:
    assert re.search(r"; see memtrace( \w+)* --help\n$", run.fail(*arguments, code=2))
    assert not Path(store[10:]).exists()


@pytest.mark.parametrize("words", [[], ["org"], ["key"]], ids=lambda words: " ".join(["memtrace", *words]))
def test_a_group_without_a_command_prints_its_help_as_a_misuse(words: list[str], run: Commands) -> None:
    help_text = run(*words, "--help")

    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    printed = run.read()
    assert (printed.out, printed.err.strip()) == ("", help_text.strip())


def test_the_version_is_the_packages(run: Commands) -> None:
    assert run("--version") == f"memtrace {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--bootstrap-key", "mtk_tooshort"],
            "--bootstrap-key: a key is mtk_ and at least",
        ),
        (["--bootstrap-key", "0" * 36], "--bootstrap-key: a key is mtk_ and at least"),
        (
            ["--bootstrap-key", "mtk_" + "0" * 31 + "-"],
            "--bootstrap-key: a key is mtk_ and at least",
        ),
        (["--host", "203.0.113.1"], "assign"),
    ],
    ids=str,
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], message: str, memtrace_process: list[str]
) -> None:
    serve = [*memtrace_process, "serve", "--store", f"sqlite:///{tmp_path}/x.db"]

    done = subprocess.run(
        [*serve, *arguments], capture_output=True, encoding="utf-8", timeout=60, check=False
    )

    assert done.returncode == (2 if "--bootstrap-key" in arguments else 1), done.stderr
    assert re.fullmatch(r"memtrace: .+\n", done.stderr)
    assert message in done.stderr
    if "--bootstrap-key" in arguments:
        assert arguments[1] not in done.stderr + done.stdout
        assert not (tmp_path / "x.db").exists()


def test_keys_are_made_and_revoked_while_the_server_runs(live_server: LiveServer) -> None:
    org_id = live_server.run("org", "create", "made while it runs").strip()
    reader = live_server.run("key", "create", "--org", org_id, "--role", "reader").strip()
    with Memtrace(live_server.url, reader) as client:
        assert client.list_memories().count == 0
        with pytest.raises(PermissionDeniedError):
            client.remember("a", "c")
        key_id = next(line for line in live_server.run("key", "list").splitlines() if org_id in line)[:30]

        live_server.run("key", "revoke", key_id)

        with pytest.raises(AuthenticationError):
            client.list_memories()


# --- the first key


def test_the_first_start_makes_a_key_and_tells_it_once(store: str) -> None:
    with closing(open_store(store)) as opened:
        made = tenants.bootstrap(opened, None)
        assert made is not None
        assert re.fullmatch(r"mtk_[0-9a-f]{64}", made)
        assert tenants.bootstrap(opened, None) is None
        (key,) = tenants.list_keys(opened)
        assert (key.org_id, key.role) == ("org_default", "admin")


def test_a_bootstrap_key_is_made_sure_of_and_not_made_twice(store: str) -> None:
    key = "mtk_" + "aB3" * 11
    with closing(open_store(store)) as opened:
        for _ in range(2):
            assert tenants.bootstrap(opened, key) is None
        (known,) = tenants.list_keys(opened)
        assert (known.org_id, known.role) == ("org_default", "admin")
        tenants.bootstrap(opened, "mtk_" + "0" * 32)
        assert len(tenants.list_keys(opened)) == 2


def test_a_bootstrap_key_that_was_revoked_is_not_brought_back(store: str) -> None:
    key = "mtk_" + "0" * 32
    with closing(open_store(store)) as opened:
        tenants.bootstrap(opened, key)
        tenants.revoke_key(opened, tenants.list_keys(opened)[0].id)
        with pytest.raises(ValueError, match="revoked") as refused:
            tenants.bootstrap(opened, key)
        assert key not in str(refused.value)


def test_the_live_servers_bootstrap_key_is_an_admins_of_org_default(live_server: LiveServer) -> None:
    headers = {"x-api-key": live_server.key}
    with httpx.Client(base_url=live_server.url, headers=headers) as client:
        memory = {"agent_id": "bootstrap", "content": "Hello"}
        assert client.post("/api/v1/memories", json=memory).json()["org_id"] == "org_default"
        assert client.delete("/api/v1/memories", params={"agent_id": "bootstrap"}).json() == {"deleted": 1}
