"""A browser for tests and screenshots: Debian's Chromium, driven by playwright.

As a program, install it where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 900  # seconds for each step of the installation


class NoBrowserError(RuntimeError):
    """No browser was found."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Run the browser in a `with` block.

    Raises:
        NoBrowserError: If there is none.
    """
    path = _find()
    if path is None:
        raise NoBrowserError("there is no browser; run: make browser")
    # A container has no user namespaces for Chromium's sandbox; only our own pages are loaded.
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield started
        finally:
            started.close()


def main() -> None:
    """Install Chromium with apt, as root, or print why that is impossible."""
    apt = shutil.which("apt-get")
    if _find() is None and apt and os.geteuid() == 0:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["install", "-qq", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        for arguments in (["update", "-qq"], install):
            subprocess.run(
                [apt, *arguments], env=environment, stdout=subprocess.DEVNULL, check=False, timeout=_PATIENCE
            )
    print(_find() or "no browser: the tests of the page will be skipped; install Chromium", file=sys.stderr)


def _find() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


if __name__ == "__main__":
    main()
