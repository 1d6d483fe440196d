from __future__ import annotations

from pathlib import Path

import pytest
from helpers.commands import Commands


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "a\ttab"], ids=["empty", "space", "lines", "tab"])
def test_an_organisations_name_is_one_line_of_text(name: str, tmp_path: Path, command: Commands) -> None:
    error = command.fail(
        "org", "create", name, "--store", f"sqlite:///{tmp_path / 'memtrace.sqlite'}", code=2
    )
    assert "a name is one line of text" in error
