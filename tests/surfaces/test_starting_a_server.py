"""`memtrace serve` as it starts, or why it does not."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from live import LiveServer

from memtrace import Memtrace

KEY = re.compile(r"API key of org_default, shown only now: (mtk_[0-9a-f]{64})")
LOST = "memtrace key create --role admin --store sqlite:///"


@contextmanager
def on_a_terminal(memtrace: list[str], folder: Path, *arguments: str) -> Iterator[str]:
    """Run a server on a terminal, and return its output until it has started."""
    master, terminal = pty.openpty()
    command = [*memtrace, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        said = ""
        while not re.search(r"API key of .*\r\n", said):  # the last line of a first start
            said += os.read(master, 10_000).decode()
        try:
            yield said
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    os.close(master)


def start(
    memtrace: list[str], folder: Path, *arguments: str, stdout: int | IO[str] = subprocess.PIPE
) -> tuple[str, str]:
    """Start a server without a terminal, end it, and return its standard output and standard error."""
    with subprocess.Popen(
        [*memtrace, "serve", "--port", "0", "--store", "sqlite:///memtrace.db", *arguments],
        cwd=folder, stdout=stdout, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stderr
        log = ""
        while "serves on" not in log and (line := process.stderr.readline()):
            log += line
        process.send_signal(signal.SIGTERM)
        log += process.stderr.read()
        return process.stdout.read() if process.stdout else "", log


def test_server_on_a_terminal_prints_its_url_and_how_to_get_a_key(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    with on_a_terminal(memtrace_process, tmp_path, "--store", "sqlite:///memtrace.db") as said:
        url = re.search(r"Memtrace serves on (http://\S+)", said)
        key = KEY.search(said)
        assert url
        assert key
        assert f"Docs   {url[1]}/docs\r\n" in said
        assert f"Store  {tmp_path}/memtrace.db\r\n" in said
        assert f"when it is lost: {LOST}{tmp_path}/memtrace.db" in said
        assert "{" not in said
        assert "uvicorn" not in said
        with Memtrace(url[1], key[1]) as client:
            assert client.list_memories().count == 0


def test_a_request_is_logged_as_a_line_of_text_on_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOG_A_REQUEST],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d GET /health 200 1\.5 ms req_1\n"
        r"\d\d:\d\d:\d\d - - 400 - ms req_2\n"
        r"\d\d:\d\d:\d\d warning: Odd\n",
        done.stderr,
    )


LOG_A_REQUEST = """
import logging
from memtrace_server import logs
logs.configure("info", as_text=True)
request = {"request_id": "req_1", "method": "GET", "path": "/health", "status": 200, "duration_ms": 1.5}
logging.getLogger("a").info("request", extra={"request": request})
logs.request(logging.getLogger("a"), "req_2", status=400, client="127.0.0.1")  # what is no HTTP has no path
logging.getLogger("a").warning("Odd")
"""


def test_the_format_of_the_log_can_be_chosen(tmp_path: Path, memtrace_process: list[str]) -> None:
    with on_a_terminal(memtrace_process, tmp_path, "--store", "sqlite://", "--log-format", "json") as said:
        assert [json.loads(line)["level"] for line in said.splitlines() if line.startswith("{")]
        assert "Docs" not in said

    _, log = start(memtrace_process, tmp_path, "--log-format", "text")
    assert "Docs   http://" in log
    assert not re.search(r"^\{", log, re.MULTILINE)


def test_a_start_without_a_terminal_is_one_json_line_and_the_key_is_apart(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    out, log = start(memtrace_process, tmp_path)

    key = KEY.fullmatch(out.strip())
    assert key
    assert key[1] not in log
    [line] = [json.loads(line) for line in log.splitlines() if "serves on" in line]
    assert line["store"] == f"{tmp_path}/memtrace.db"
    assert line["keys"] == 1
    assert LOST in line["message"]


def test_a_first_key_that_cannot_be_shown_is_no_end_of_the_server(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        _, log = start(memtrace_process, tmp_path, stdout=full)

    [line] = [json.loads(line) for line in log.splitlines() if '"error"' in line]
    assert line["message"].startswith("standard output: No space left on device; the first API key is lost: ")
    assert LOST in line["message"]
    assert "Traceback" not in log
    assert "Finished server process" in log


def test_start_with_keys_prints_their_number_and_none_of_them(
    tmp_path: Path, memtrace_process: list[str]
) -> None:
    start(memtrace_process, tmp_path)

    out, log = start(memtrace_process, tmp_path)

    assert out == ""
    assert f"1 API key is in use; one that is lost cannot be shown again, but replaced: {LOST}" in log


def test_a_start_is_logged_at_any_level(tmp_path: Path, memtrace_process: list[str]) -> None:
    _, log = start(memtrace_process, tmp_path, "--log-level", "error")

    assert [json.loads(line)["logger"] for line in log.splitlines()] == ["memtrace_server.start"]


def test_start_without_authentication_is_a_warning(tmp_path: Path, memtrace_process: list[str]) -> None:
    out, log = start(memtrace_process, tmp_path, "--no-auth")

    assert out == ""
    assert "no API key is needed (--no-auth)" in log


def test_no_key_is_made_when_the_port_is_taken(tmp_path: Path, memtrace_process: list[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*memtrace_process, "serve", "--port", str(port), "--store", "sqlite:///memtrace.db"],
            cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 1
    problem = f"cannot listen on 127.0.0.1, port {port}: Address already in use"
    assert done.stderr == f"memtrace: {problem}; choose another --host or --port\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_servers_own_url_leads_to_the_reference(path: str, live_server: LiveServer) -> None:
    page = httpx.get(live_server.url + path)

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "addMemory" in page.text


EARLY = """
import signal, sys, uvicorn
from memtrace import cli
run = uvicorn.Server.run
def run_after_a_signal(server, sockets=None):
    signal.raise_signal(signal.SIGTERM)
    run(server, sockets)
uvicorn.Server.run = run_after_a_signal
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "arguments", [["serve", "--port", "0"], ["ui", "sqlite://", "--no-open"]], ids=["serve", "ui"]
)
def test_a_signal_that_comes_before_the_server_runs_ends_it(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", EARLY, *arguments],
        cwd=tmp_path, capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
