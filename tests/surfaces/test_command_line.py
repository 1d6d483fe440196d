"""`memtrace` as a program: help, errors, exit codes, completion, and missing packages."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import Commands

from memtrace.cli import main

COMMANDS = [
    ["remember"], ["decide"], ["recall"], ["search"], ["context"], ["tail"], ["agents"], ["sessions"],
    ["stats"], ["mcp"], ["forget"], ["export"], ["import"], ["copy"],
    ["serve"], ["check"], ["vacuum"], ["backup"], ["restore"],
    ["org", "create"], ["org", "list"], ["key", "create"], ["key", "list"], ["key", "revoke"],
    ["key", "rotate"], ["audit"],
]  # fmt: skip
IMPORT = "import sys; sys.modules[{missing!r}] = None; from memtrace.cli import main; main(sys.argv[1:])"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep help texts unwrapped."""
    monkeypatch.setenv("COLUMNS", "400")


def run_without(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-I", "-c", IMPORT.format(missing=missing), *arguments]
    return subprocess.run(program, capture_output=True, encoding="utf-8", timeout=60, check=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_a_command_has_each_options_default(words: list[str], command: Commands) -> None:
    printed = command(*words, "--help")

    options = [line for line in printed.splitlines() if re.match(r"│\W+--", line)]
    assert any(name in line for line in options for name in ("--store", "--url", "--to-key"))
    for line in options:
        name = re.search(r"--(\S+)", line)
        assert name
        assert name[1].islower()
        is_flag = re.match(rf"│\W+--{name[1]}( +-[fh])? +[A-Z]\w+ \w+", line)
        assert is_flag or re.search(r"\[default: .+\] +│$", line), line
        summary = re.search(r"  ([A-Z][^│]+)│$", line)
        assert summary


@pytest.mark.parametrize(
    "words", [[], ["org"], ["key"], *COMMANDS], ids=lambda words: " ".join(["help", *words])
)
def test_help_of_a_command_shows_no_type_of_python(words: list[str], command: Commands) -> None:
    assert not re.search(r"<bool>|<boolean>|list\[|\[\[", command(*words, "--help"))


def test_operator_command_mentions_the_store_of_the_user(
    tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("MEMTRACE_URL", raising=False)
    monkeypatch.delenv("MEMTRACE_STORE", raising=False)

    assert command.fail("check", code=2).endswith("or name the store with --store\n")
    main(["remember", "ann", "Likes tea"])
    command.read()
    own = f"sqlite:///{tmp_path}/memtrace/memtrace.db"
    assert command.fail("backup", "b.db", code=2).endswith(f"such as --store {own}\n")


def test_the_help_lists_every_command_and_the_exit_codes(command: Commands) -> None:
    printed = command("--help")

    assert {words[0] for words in COMMANDS} <= set(re.findall(r"│ (\w+)  ", printed))
    assert re.search(r"Exit codes: 0 .+ 1 .+ 2 ", printed)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_script_without_its_packages_names_what_to_install(missing: str) -> None:
    done = run_without(missing, "--help")

    assert done.returncode == 1
    assert done.stderr == (
        f"memtrace: {missing} is not installed; run: pip install 'memtrace-sdk[cli]',"
        " or 'memtrace-sdk[server]' to serve\n"
    )


def test_serve_without_the_server_names_what_to_install(tmp_path: Path) -> None:
    assert run_without("uvicorn", "serve", "--help").returncode == 0

    done = run_without("uvicorn", "serve", "--store", f"sqlite:///{tmp_path / 'x.db'}")

    assert done.returncode == 1
    assert done.stderr == "memtrace: uvicorn is not installed; run: pip install 'memtrace-sdk[server]'\n"


@pytest.mark.parametrize(
    ("url", "extra"),
    [("sqlite://", "server"), ("postgresql://localhost/a", "postgres")],
    ids=["file", "database"],
)
def test_embedded_store_without_the_server_names_what_to_install(
    url: str, extra: str, tmp_path: Path
) -> None:
    done = run_without("memtrace_server.embedded", "export", "--url", url)

    assert done.returncode == 1
    assert f"pip install 'memtrace-sdk[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["key", "create", "--org", "acme"], ["vacuum"]], ids=" ".join)
def test_command_that_writes_refuses_a_read_only_store(
    words: list[str], tmp_path: Path, command: Commands
) -> None:
    command("org", "create", "acme", "--store", f"sqlite:///{tmp_path}/x.db")

    error = command.fail(*words, "--store", f"sqlite:///{tmp_path}/x.db?mode=ro")

    assert "this writes to the store; use its URL without ?mode=ro" in error


def test_broken_module_is_not_reported_as_missing() -> None:
    done = run_without("memtrace.cli._pairs", "--version")

    assert "Traceback" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed_for_a_shell(shell: str, memtrace_process: list[str]) -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [*memtrace_process, "--show-completion", shell],
        env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert "_MEMTRACE_COMPLETE" in done.stdout


def test_completion_offers_commands_with_the_prefix(memtrace_process: list[str]) -> None:
    environment = {
        **os.environ,
        "_MEMTRACE_COMPLETE": "complete_bash",
        "COMP_WORDS": "memtrace ba",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        memtrace_process,
        env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["backup"]


def test_lists_are_json_lines_for_programs_and_a_table_on_a_terminal(
    tmp_path: Path, command: Commands, memtrace_process: list[str]
) -> None:
    store = f"sqlite:///{tmp_path / 'x.db'}"
    org_id = command("org", "create", "acme [bold]", "--store", store).strip()

    assert json.loads(command("org", "list", "--json", "--store", store)) == {
        "id": org_id,
        "name": "acme [bold]",
    }

    master, terminal = pty.openpty()
    subprocess.run(
        [*memtrace_process, "org", "list", "--store", store],
        stdout=terminal, timeout=60, check=True, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    os.close(terminal)
    lines = os.read(master, 10_000).decode().splitlines()
    os.close(master)
    assert [line.split() for line in lines] == [["id", "name"], [org_id, "acme", "[bold]"]]


@pytest.mark.parametrize("words", [["export"], ["recall", "a", "--json"], ["tail", "--json"]], ids=" ".join)
def test_json_is_utf8_in_any_locale(words: list[str], tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    command("remember", "a", "Grüße 你好", "--url", url)

    done = subprocess.run(
        [sys.executable, "-m", "memtrace", *words, "--url", url], capture_output=True, timeout=60,
        check=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "Grüße 你好" in done.stdout.decode()


def test_characters_unknown_to_a_terminal_are_escaped(tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    command("remember", "a", "Grüße 你好", "--url", url)

    done = subprocess.run(
        [sys.executable, "-m", "memtrace", "context", "a", "--url", url], capture_output=True, timeout=60,
        check=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert r"Grüße \u4f60\u597d" in done.stdout.decode("cp1252")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"], ids=["in", "out", "err"])
def test_a_closed_stream_is_no_error_of_a_command(stream: str, tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    command("remember", "a", "Tea", "--url", url)
    program = f"'{sys.executable}' -m memtrace"
    both = f"{program} recall a --url {url} {stream} && {program} import - --url {url} {stream}"

    done = subprocess.run(
        ["/bin/sh", "-c", both], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


# Run with -B: with this limit, Python 3.11 would leave cut .pyc files behind.
WITHOUT_ROOM = """
import resource, sys
from memtrace.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))  # SQLite's -shm, and little else
main(sys.argv[1:])
"""


def test_command_on_a_full_disk_fails_with_one_line(tmp_path: Path, command: Commands) -> None:
    store = tmp_path / "memory.db"
    command("remember", "ann", "Likes tea", "--url", f"sqlite:///{store}")

    done = subprocess.run(
        [sys.executable, "-IB", "-c", WITHOUT_ROOM,
         "remember", "ann", "-", "--url", f"sqlite:///{store}"],
        input="x" * 60_000, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith(f"memtrace: The storage is not available: {store}: ")
    assert done.stderr.count("\n") == 1


def test_backup_without_room_names_the_folder_of_the_copy(tmp_path: Path, command: Commands) -> None:
    store, folder = tmp_path / "memory.db", tmp_path / "backups"
    command("remember", "ann", "Likes tea", "--url", f"sqlite:///{store}")
    folder.mkdir()

    done = subprocess.run(
        [sys.executable, "-IB", "-c", WITHOUT_ROOM,
         "backup", str(folder / "b.db"), "--store", f"sqlite:///{store}"],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith(f"memtrace: {folder}: the disk ")
    assert list(folder.iterdir()) == []


def test_command_without_a_store_fails_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "memtrace", "backup", "copy.db", "--store", "sqlite:///none.db"],
        cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith("memtrace: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["remember", "ann", "Likes tea", "--key", "mtk_of_a_server"],
            "--key: a store has no keys; leave it out, or name a server",
        ),
        (
            ["copy", "sqlite://", "https://localhost", "--from-key", "mtk_of_a_server"],
            "--from-key: a store has no keys; leave it out, or name a server",
        ),
        (["mcp", "--port", "9101"], "stdio does not listen on a port; add --transport http"),
        (["forget", "mem_01M8B6CTCE67BG9630B04CKC97", "--agent", "ann"], "give ids or filters, not both"),
        (["key", "create", "--role", "boss"], "--role': 'boss' is not one of 'reader', 'writer', 'admin'"),
    ],
    ids=["a store's key", "a copy's key", "stdio's port", "ids and filters", "a role"],
)
def test_impossible_arguments_are_refused(arguments: list[str], message: str, command: Commands) -> None:
    error = command.fail(*arguments, code=2)

    assert message in error
    assert "mtk_" not in error


def test_key_of_the_environment_is_ignored_by_embedded_memory(
    command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRACE_API_KEY", "mtk_of_a_server")

    assert "Likes tea" in command("remember", "ann", "Likes tea", "--url", "sqlite://")


def test_data_folder_that_cannot_be_created_is_an_error_with_remedy(
    tmp_path: Path, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "a_file"))

    error = command.fail("remember", "ann", "Likes tea")

    assert f"{tmp_path}/a_file/memtrace: cannot be created: Not a directory; name a store with --url" in error


def test_characters_unknown_to_the_locale_are_escaped(tmp_path: Path, command: Commands) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    command("remember", "ann", "Lives in \u0141\xf3d\u017a", "--url", url)

    done = subprocess.run(
        [sys.executable, "-m", "memtrace", "context", "ann", "--url", url],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True, encoding="ascii", timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "Lives in \\u0141\\xf3d\\u017a" in done.stdout
