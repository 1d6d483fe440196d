"""The files that a test's process has open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def opened() -> list[Path]:
    """Return the files, sockets and pipes that this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the file of the listing itself
            found.append(descriptor.readlink())
    return found


def opened_below(folder: Path) -> list[Path]:
    """Return the files below a folder that this process has open."""
    return [path for path in opened() if path.is_relative_to(folder)]
