"""The README tells the truth: its code runs from top to end, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from snippets import Snippet, snippets

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")


@pytest.mark.usefixtures("documented_server")
def test_every_snippet_works_after_those_before_it(
    run_snippet: Callable[[Snippet], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: dict[str, str] = {}
    names: dict[str, dict[str, Any]] = {}
    for snippet in snippets(README):
        names[snippet.heading] = run_snippet(snippet)
        printed[snippet.heading] = capsys.readouterr().out

    assert re.fullmatch(r"\[20\d\d-.*\] User prefers dark mode\n", printed["Quick start"])

    assert printed["Embedded, in one minute"] == "The user is vegetarian\n"
    assert (tmp_path / "agent.db").exists()

    stored, answered = printed["Observing"].splitlines()
    assert stored == "User asked for a refund 0"
    assert re.fullmatch(r"req_\w+ application/json", answered)

    assert printed["Async"] == "User prefers light mode\n"

    assert names["Memories"]["page"].memories == [names["Memories"]["memory"]]
    assert [line.partition(" ")[2] for line in printed["Memories"].splitlines()] == [
        "User prefers dark mode",
        "Use PostgreSQL",
        "User clicked the settings button",
        "Opened ticket 4711",
        "The payment failed",
    ]
    assert names["Memories"]["deleted"] == 1

    assert printed["Buffered writing"] == "['Fetched page 3', 'Skip page 2', 'Fetched page 1']\n"

    tablet = "User asked for a dark mode on the tablet"
    assert [memory.content for memory in names["Search"]["piece"].results] == [tablet]
    assert tablet in [memory.content for memory in names["Search"]["ranked"].results]
    assert printed["Search"] == f"{tablet}\n"

    prompt = names["Sessions and context"]["prompt"]
    assert "Answer in German" in prompt
    assert "The user does" in prompt
    assert "The user speaks German" in prompt
    assert printed["Sessions and context"].endswith(" {'task': 'onboarding'}\n")
    assert tablet in names["Sessions and context"]["everything"].context

    assert names["Agents"]["stats"].memory_count == 6
    assert "support-bot" in printed["Agents"]

    assert re.fullmatch(r".*nonexistent.* not_found req_\w+\n", printed["Errors"])


@pytest.mark.usefixtures("documented_server")
def test_every_snippet_can_be_run_twice(
    run_snippet: Callable[[Snippet], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(README) * 2:
        run_snippet(snippet)


def test_the_quick_start_is_the_one_that_was_promised() -> None:
    promised = next(
        s for s in snippets(ROOT / "tests" / "data" / "python-sdk.md") if s.heading == "Quick Start"
    )
    shown = next(s for s in snippets(README) if s.heading == "Quick start")

    assert shown.code == promised.code


def test_every_variable_of_the_environment_is_documented() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    from_server_to_its_workers = {"MEMTRACE_WORKER_OPTIONS"}

    known = set(re.findall(r'"(MEMTRACE_[A-Z_]+)"', sources)) - from_server_to_its_workers
    assert set(re.findall(r"MEMTRACE_[A-Z_]+", TEXT)) <= known
    configuration = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert set(re.findall(r"MEMTRACE_[A-Z_]+", configuration)) == known


def test_every_make_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets
