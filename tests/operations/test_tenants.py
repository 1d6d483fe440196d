from __future__ import annotations

from pathlib import Path

import pytest

from memtrace_server import cli


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "a\ttab"])
def test_an_organisations_name_is_one_line_of_text(name: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="a name is one line of text"):
        cli.main(["org", "create", name, "--store", f"sqlite:///{tmp_path / 'memtrace.sqlite'}"])
