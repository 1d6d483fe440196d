"""The code of the README runs from beginning to end, and the things that it names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from snippets import Snippet, snippets, without_times

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")


@pytest.mark.usefixtures("documented_server")
def test_every_snippet_prints_the_shown_output(
    run_snippet: Callable[[Snippet], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len([snippet for snippet in snippets(README) if snippet.shown]) == 2
    for snippet in snippets(README):
        run_snippet(snippet)
        printed = capsys.readouterr().out
        if snippet.heading == "Quick start":
            assert re.fullmatch(r"\[20\d\d-.*\] User prefers dark mode\n", printed)
        if snippet.shown:
            assert without_times(printed) == without_times(snippet.shown)


@pytest.mark.usefixtures("documented_server")
def test_every_snippet_can_be_run_twice(
    run_snippet: Callable[[Snippet], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(README) * 2:
        run_snippet(snippet)


def test_quick_start_is_the_promised_one() -> None:
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


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets


def test_every_linked_page_of_the_readme_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (ROOT / target).exists(), target
