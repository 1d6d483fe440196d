"""`memtrace ui`: the page over a store's file or a server, for one person on this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect
from surfaces.page_in_browser import OpenPage, chromium, open_page

from memtrace import Memtrace

if TYPE_CHECKING:
    from helpers.commands import Commands

    from memtrace.testing import MemtraceServer

__all__ = ["chromium", "open_page"]  # fixtures

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/ui#key=(\S+)")


@contextmanager
def running(memtrace: list[str], *arguments: str, **environment: str) -> Iterator[tuple[str, str]]:
    """Run `memtrace ui` in a `with` block, and yield its URL and its key."""
    process = subprocess.Popen(
        [*memtrace, "ui", *arguments],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr
    try:
        said = [process.stderr.readline() for _ in range(2)]
        found = LINK.fullmatch(said[1].strip())
        assert found, said + process.stderr.readlines()
        yield found[1], found[2]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/agent.db"
    with Memtrace(url) as client:
        client.remember("a/b c", "Kept in a file", tags=["x,y"])
    return url


def test_ui_shows_the_page_over_a_file(store: str, open_page: OpenPage, memtrace_process: list[str]) -> None:
    with running(memtrace_process, store, "--no-open") as (url, key):
        shown = open_page(None, url=url, key=key)
        shown.open()
        assert shown.contents == ["Kept in a file"]
        assert shown.page.locator(".who").text_content() == "APIadminForget key"
        with Memtrace(store) as writer:
            writer.remember("a/b c", "From another process")
        shown.page.get_by_text("From another process").wait_for()
        shown.go("#/agents/a%2Fb%20c")
        expect(shown.page.locator(".figures dd").first).to_have_text("2")
        shown.page.get_by_role("link", name="API", exact=True).click()
        expect(shown.page.locator("h1")).to_contain_text("Memtrace")


def test_ui_shows_the_page_over_a_server_and_keeps_its_key(
    memtrace_server: MemtraceServer, open_page: OpenPage, memtrace_process: list[str]
) -> None:
    with memtrace_server.client() as client:
        client.remember("a", "On the server")
    with running(
        memtrace_process,
        memtrace_server.url,
        "--no-open",
        MEMTRACE_API_KEY=memtrace_server.key,
    ) as (url, key):
        shown = open_page(None, url=url, key=key)
        shown.open()
        assert shown.contents == ["On the server"]
        assert memtrace_server.key not in shown.page.content()
        with memtrace_server.client() as client:
            client.remember("a", "Live through it")
        shown.page.get_by_text("Live through it").wait_for()


def test_ui_refuses_requests_without_its_key(store: str, memtrace_process: list[str]) -> None:
    with running(memtrace_process, store, "--no-open") as (url, key):
        api = f"{url}/api/v1/memories"
        bearer = {"authorization": f"Bearer {key}x"}
        for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": key[:-1]}, bearer):
            response = httpx.get(api, headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
            assert "Kept" not in response.text
        assert httpx.get(api, headers={"x-api-key": key}).json()["count"] == 1
        assert httpx.delete(f"{api}?agent_id=a%2Fb%20c", headers={"x-api-key": "wrong"}).status_code == 401
        assert httpx.get(f"{url}/ui").status_code == 200


def test_ui_accepts_only_names_and_addresses_of_this_machine(store: str, memtrace_process: list[str]) -> None:
    with running(memtrace_process, store, "--no-open") as (url, key):
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            for path in ("/ui", "/api/v1/memories"):
                response = httpx.get(f"{url}{path}", headers={"host": host, "x-api-key": key})
                assert response.status_code == 400
        cross = httpx.options(f"{url}/api/v1/memories", headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in cross.headers
        port = int(url.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))


def test_ui_opens_the_browser_by_a_file_that_only_its_user_can_read(
    store: str, tmp_path: Path, memtrace_process: list[str]
) -> None:
    browser = tmp_path / "browser"
    opened = tmp_path / "opened"
    script = f"""#!/bin/sh
cp "${{1#file://}}" '{opened}'
echo "$1" > '{opened}.url'
"""
    browser.write_text(script, "utf-8")
    browser.chmod(0o700)
    with running(memtrace_process, store, BROWSER=str(browser)) as (url, key):
        httpx.get(f"{url}/ui").raise_for_status()  # responds once the browser has been started
        argument = Path(f"{opened}.url").read_text("utf-8")
        assert key not in argument
        assert f"{url}/ui#key={key}" in opened.read_text("utf-8")
        folder = Path(argument.strip().removeprefix("file://")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_ui_that_cannot_start_is_an_error_of_one_line(
    command: Commands, tmp_path: Path, memtrace_server: MemtraceServer
) -> None:
    assert "there is no such file" in command.fail("ui", f"sqlite:///{tmp_path}/none.db", "--no-open", code=2)
    wrong = tmp_path / "wrong.db"
    wrong.write_text("no database" * 1000, "utf-8")
    assert "wrong.db" in command.fail("ui", f"sqlite:///{wrong}", "--no-open")
    assert "API key" in command.fail("ui", memtrace_server.url, "--key", "mtk_wrong", "--no-open")
    with Memtrace(f"sqlite:///{tmp_path}/agent.db") as client:
        client.remember("a", "x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = command.fail("ui", f"sqlite:///{tmp_path}/agent.db", "--port", port, "--no-open")
        assert f"cannot listen on port {port}" in error
