"""Every setting of the command line is documented: each option with its default, and each variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.commands import Commands

DOCS = Path(__file__).parents[2] / "docs"
SERVER = (DOCS / "server.md").read_text("utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text("utf-8")
ROW = re.compile(r"^\| `(--[a-z-]+)` \|.*\|([^|]*)\|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def test_every_option_of_the_server_is_documented_with_its_default(command: Commands) -> None:
    shown = dict(re.findall(r"^│ (--[a-z-]+) +(.*?) +│$", command("serve", "--help"), re.MULTILINE))
    del shown["--help"]
    documented = dict(ROW.findall(SERVER))

    assert documented.keys() == shown.keys()
    for option, text in shown.items():
        default = re.search(r"\[default: \(?([^])]+)\)?\]", text)
        if default and "env var" not in text:
            assert documented[option].strip() == default[1], option


@pytest.mark.parametrize(
    "words", ["serve", "check", "key create", "forget", "export", "import", "copy"], ids=lambda words: words
)
def test_every_environment_variable_of_a_command_is_documented(words: str, command: Commands) -> None:
    variables = re.findall(r"\[env var: (\w+)\]", command(*words.split(), "--help"))

    assert variables
    for variable in variables:
        assert f"`{variable}`" in CONFIGURATION
