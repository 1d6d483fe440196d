"""The commands of docs/operating.md work one after the other, on a machine that is a folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from memtrace import Memtrace

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
BLOCK = re.compile(
    r"(?:^`(?P<file>/[^`]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
FOLDERS = ("/var/lib", "/opt", "/etc", "/usr/local/bin")
PORT = "9100"

# Stand-ins for commands that change a machine. That of systemd runs the command of a unit, with its
# environment.
SYSTEMCTL = r"""
import os, re, signal, subprocess, sys, time
from pathlib import Path

root = Path(os.environ["MACHINE"])
words = [word for word in sys.argv[1:] if not word.startswith("-")]
command, names = words[0], words[1:]
for name in names:
    unit = name if "." in name else f"{name}.service"
    pid = root / f"{unit}.pid"
    if command in {"stop", "restart"} and pid.exists():
        process = int(pid.read_text())
        os.kill(process, signal.SIGTERM)
        while Path(f"/proc/{process}").exists() and ") Z " not in Path(f"/proc/{process}/stat").read_text():
            time.sleep(0.01)
        pid.unlink()
    if command in {"start", "restart", "enable"} and unit.endswith(".service"):
        lines = (root / "etc/systemd/system" / unit).read_text().splitlines()
        settings = [line.split("=", 1) for line in lines if "=" in line]
        environment = dict(os.environ)
        for key, value in settings:
            if key == "Environment":
                environment.update([value.split("=", 1)])
            if key == "EnvironmentFile":
                environment.update(line.split("=", 1) for line in Path(value).read_text().splitlines())
        is_oneshot = ["Type", "oneshot"] in settings
        for key, value in settings:
            if key in {"ExecStart", "ExecStartPost"}:
                shell = value.replace("$$", "$").replace("%%", "%")
                if is_oneshot:
                    subprocess.run(shell, shell=True, env=environment, check=True)
                else:
                    log = (root / f"{unit}.log").open("ab")
                    process = subprocess.Popen(
                        f"exec {shell}", shell=True, env=environment, stdout=log, stderr=log,
                        start_new_session=True,
                    )
                    pid.write_text(str(process.pid))
"""
SUDO = 'while :; do case "$1" in -u) shift 2;; *) break;; esac; done\nexec "$@"\n'
PYTHON3 = """
[ "$1 $2" = "-m venv" ] || exit 1
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "pip $*" >> "$MACHINE/pip.log"\\n' > "$3/bin/pip"
printf '#!/bin/sh\\nexec "%s" -m memtrace_server "$@"\\n' "$INTERPRETER" > "$3/bin/memtrace"
chmod +x "$3/bin/pip" "$3/bin/memtrace"
"""
INSTALL = """
import os, sys
words = [word for word in sys.argv[1:] if word not in {"-o", "-g", "memtrace"}]  # there is no such user
os.execv("/usr/bin/install", ["install", *words])
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder with all that the commands need of a machine."""
    for folder in ("bin", "etc/systemd/system", "etc/caddy", "opt", "usr/local/bin", "var/lib", "home"):
        (tmp_path / folder).mkdir(parents=True)
    scripts = {
        "sudo": SUDO,
        "python3": PYTHON3,
        "useradd": 'mkdir -p "$MACHINE/var/lib/memtrace"\n',
    }
    for name, script in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}")
    for name, script in {"systemctl": SYSTEMCTL, "install": INSTALL}.items():
        (tmp_path / "bin" / name).write_text(f"#!{sys.executable}\n{script}")
    for path in (tmp_path / "bin").iterdir():
        path.chmod(0o755)
    return tmp_path


def free_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return str(listener.getsockname()[1])


def test_every_command_of_the_page_works_after_those_before_it(machine: Path) -> None:
    port = free_port()

    def here(text: str) -> str:
        for folder in FOLDERS:
            text = re.sub(rf"(?<![\w/]){folder}/", f"{machine}{folder}/", text)
            text = text.replace(f"sqlite:///{folder}/", f"sqlite:///{machine}{folder}/")
        text = text.replace("memtrace serve ", f"memtrace serve --port {port} ")
        return text.replace(f":{PORT}", f":{port}")

    environment = {
        "PATH": f"{machine}/bin:{machine}/usr/local/bin:{os.environ['PATH']}",
        "HOME": str(machine / "home"),
        "MACHINE": str(machine),
        "INTERPRETER": sys.executable,
    }
    printed = ""
    try:
        for block in BLOCK.finditer(PAGE.read_text("utf-8")):
            if block["file"]:
                Path(here(block["file"])).write_text(here(block["text"]))
            elif block["kind"] == "sh":
                done = subprocess.run(
                    ["/bin/sh", "-eux", "-c", here(block["text"])],
                    cwd=machine / "home", env=environment, capture_output=True, encoding="utf-8", timeout=120,
                    check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{block['text']}\n{done.stdout}{done.stderr}"
                printed += done.stdout
                if "key create" in block["text"]:
                    remember(port, re.findall(r"mtk_\w+", done.stdout)[-1])
    finally:
        subprocess.run([machine / "bin" / "systemctl", "stop", "memtrace"], env=environment, check=True)

    assert "holds 0 memories and was verified" not in printed
    assert "Restored 2 memories" in printed
    assert "The store is consistent." in printed
    assert "Verified 2 memories: sha256 " in printed
    assert "Imported 3 records" in printed
    assert "Would forget 0 memories" in printed
    assert (machine / "pip.log").read_text().splitlines() == [
        "pip install memtrace-sdk[server]",
        "pip install --upgrade memtrace-sdk[server]",
    ]
    assert (machine / "etc/memtrace.env").stat().st_mode & 0o777 == 0o600
    backups = list((machine / "var/lib/memtrace/backups").iterdir())
    assert len(backups) == 2
    assert {backup.stat().st_mode & 0o777 for backup in backups} == {0o600}


def remember(port: str, key: str) -> None:
    with Memtrace(f"http://127.0.0.1:{port}", key) as client:
        client.add_memories({"agent_id": "bot", "content": f"Ticket {n}"} for n in range(2))


def test_every_file_that_the_page_names_is_one_block(machine: Path) -> None:
    named = re.findall(r"^`(/etc/\S+)`:$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert len(named) == len({*named}) == 4
    assert machine.exists()
