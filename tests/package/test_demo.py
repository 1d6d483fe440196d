from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_demo_shows_each_step_and_what_was_recalled(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    steps = done.stdout.splitlines()
    assert 'client.remember("agent_1", "User prefers dark mode")' in steps
    assert 'client.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")' in steps
    assert len(re.findall(r"→ stored as mem_\w{26}", done.stdout)) == 2
    assert steps.count("    → recalled 1: User prefers dark mode") == 2
    assert re.search(r"→ \[20\d\d-.*\] User prefers dark mode", done.stdout)
    assert list(tmp_path.iterdir()) == []
