"""The files of the page: their size, their content, and how the server sends them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from server.operations import OPERATIONS

if TYPE_CHECKING:
    from live import LiveServer

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "src" / "memtrace_server" / "ui").iterdir())
SOURCES = {file.name: file.read_text("utf-8") for file in FILES}


def test_the_page_takes_less_than_60_kilobytes() -> None:
    assert sum(file.stat().st_size for file in FILES) < 60_000


@pytest.mark.parametrize("name", SOURCES)
def test_no_file_of_the_page_turns_text_into_markup(name: str) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function"
    assert not re.search(forbidden + "|srcdoc|style=", SOURCES[name])


@pytest.mark.parametrize("name", SOURCES)
def test_no_file_of_the_page_names_another_host(name: str) -> None:
    assert set(re.findall(r"https?://[^\s\"')]+", SOURCES[name])) <= {"http://www.w3.org/2000/svg"}


def test_the_pages_calls_are_operations_of_the_contract() -> None:
    table = SOURCES["api.js"].partition("OPERATIONS = {")[2].partition("};")[0]
    calls = re.findall(r'(\w+): "([A-Z]+) ([^"]+)"', table)
    assert len(calls) > 10
    for name, method, path in calls:
        operation = OPERATIONS[name]
        assert (method, f"/api/v1/{path}") == (operation.method, re.sub(r"\{\w+\}", "{}", operation.path))
    used = set(re.findall(r'(?:call|ask|may)\("(\w+)"', "".join(SOURCES.values())))
    assert used == {name for name, _, _ in calls}


def test_the_page_is_public_with_a_strict_policy(live_server: LiveServer) -> None:
    page = httpx.get(f"{live_server.url}/ui").raise_for_status()

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not {"script-src", "style-src"} & policy.keys()  # no other source is allowed
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in page.headers
    assert not re.search(r"<style|<script>|\bon\w+=", page.text)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("main.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_each_file_of_the_page_has_its_type(live_server: LiveServer, name: str, kind: str) -> None:
    response = httpx.get(f"{live_server.url}/ui/{name}").raise_for_status()
    assert response.headers["content-type"].partition(";")[0] == kind
    assert response.text == SOURCES[name]


@pytest.mark.parametrize(
    "name", ["none.js", "index.html", "..%2Fapp.py", "%2e%2e%2fapp.py", "main", ".js", "x" * 128, "%00.js"]
)
def test_other_paths_of_the_page_are_not_found(live_server: LiveServer, name: str) -> None:
    response = httpx.get(f"{live_server.url}/ui/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
