"""A derived folder: built elsewhere, then put into place as a whole, or compared with what is there."""

import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class DerivationError(Exception):
    """Something that a person has to put right first."""


def put(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder and put it into place. A build that fails leaves what was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that putting it there is a rename.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".derived-") as temporary:
        new, old = Path(temporary, folder.name), Path(temporary, "old")
        build(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)


def differences(folder: Path, build: Callable[[Path], None]) -> list[Path]:
    """Build a folder elsewhere, and give the files in which the one in place differs from it."""
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
