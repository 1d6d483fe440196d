"""The files that a test's process has open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def opened_below(folder: Path) -> list[Path]:
    """Return the files below a folder that this process has open."""
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            opened.append(descriptor.readlink())
    return [path for path in opened if path.is_relative_to(folder)]
