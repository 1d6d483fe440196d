"""What `make clients-check` depends on; the check itself needs npm, and runs separately."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import clients_check
import pytest


def test_example_names_exact_versions_and_has_no_lock_file() -> None:
    package = json.loads((clients_check.EXAMPLE / "package.json").read_text("utf-8"))
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    listed = ["git", "ls-files", "*package-lock.json", "*yarn.lock", "*pnpm-lock.yaml"]
    assert subprocess.check_output(listed, cwd=clients_check.ROOT) == b""


def test_the_typescript_example_has_30_lines_at_most() -> None:
    program = (clients_check.EXAMPLE / "memories.ts").read_text("utf-8").splitlines()
    assert len(program) <= 30
    assert max(map(len, program)) <= 120


def test_failing_tool_is_reported_with_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_check, "BUILD", tmp_path)
    with pytest.raises(clients_check.CheckError, match="so wrong"):
        clients_check.run(["node", "-e", "console.error('so wrong'); process.exit(1)"])


def test_client_that_prints_something_else_is_reported() -> None:
    with pytest.raises(clients_check.CheckError, match="forgotten: 3"):
        clients_check.expect("forgotten: 3", "forgotten: 2")
