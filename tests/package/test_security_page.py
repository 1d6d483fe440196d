"""docs/security.md names a test for each threat and figure, and each of these tests exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_every_threat_and_figure_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (?!attacker|what \||---).*\|$", PAGE.partition("## Threats")[2], re.MULTILINE)
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 20
    for row in rows:
        (name,) = re.findall(r"`(test_\w+)`", row)
        assert f"def {name}(" in sources, name
