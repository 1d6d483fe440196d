"""Python code in the pages of docs/ runs, and prints the shown output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from snippets import Snippet, snippets, without_times

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {page.name: page for page in sorted(DOCS.glob("*.md")) if snippets(page)}


def is_test(snippet: Snippet) -> bool:
    return "\ndef test_" in f"\n{snippet.code}" or "\nasync def test_" in f"\n{snippet.code}"


@pytest.fixture
def printed_by(
    run_snippet: Callable[[Snippet], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> Callable[[Snippet], str]:
    """Return a function that runs the code of a document and returns its output."""

    def printed(snippet: Snippet) -> str:
        run_snippet(snippet)
        return capsys.readouterr().out

    return printed


@pytest.mark.parametrize("name", PAGES)
def test_page_has_snippets_that_run_one_after_the_other(
    name: str,
    request: pytest.FixtureRequest,
    printed_by: Callable[[Snippet], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(PAGES[name]):
        if "localhost:9100" in snippet.code:
            request.getfixturevalue("documented_server")
        if not is_test(snippet):
            printed = printed_by(snippet)
            assert snippet.shown is None or without_times(printed) == without_times(snippet.shown)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if any(map(is_test, snippets(page)))])
def test_page_has_tests_that_pass(name: str, tmp_path: Path) -> None:
    for number, snippet in enumerate(filter(is_test, snippets(PAGES[name]))):
        (tmp_path / f"test_{number}.py").write_text(snippet.code)
    command = [sys.executable, "-I", "-m", "pytest", "-q", "-W", "error", "-p", "anyio", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout
