"""Derived folders: built in a temporary folder, then moved into place or compared with the existing one."""

import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class DerivationError(Exception):
    """An error that a person must fix first."""


def put(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder and move it into place. A failed build leaves the existing folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # In the same parent folder, so that a rename is enough.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".derived-") as temporary:
        new, old = Path(temporary, folder.name), Path(temporary, "old")
        build(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)


def differences(folder: Path, build: Callable[[Path], None]) -> list[Path]:
    """Build a temporary folder, and return the files in which the existing one differs."""
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary, folder.name)
        build(fresh)
        return [folder / name for name in sorted(_differing(fresh, folder))]


def tidy(folder: Path, *, rules: str) -> None:
    """Format a folder as the project formats its code, and fix what these rules of ruff find."""
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(folder)]
    run([*ruff, "check", "--fix-only", "--select", rules, *settings])
    run([*ruff, "format", *settings])


def run(command: list[str]) -> None:
    """Run a command of the environment that this interpreter belongs to.

    Raises:
        DerivationError: If it fails; with all that it said.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DerivationError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def _differing(fresh: Path, folder: Path) -> Iterator[Path]:
    names = {path.relative_to(root) for root in (fresh, folder) for path in root.rglob("*") if path.is_file()}
    for name in names:
        if "__pycache__" in name.parts:
            continue
        both = (fresh / name).is_file() and (folder / name).is_file()
        if not both or not filecmp.cmp(fresh / name, folder / name, shallow=False):
            yield name
