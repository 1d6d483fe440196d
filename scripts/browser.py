"""A browser for tests and screenshots: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 900  # seconds for the installation


class NoBrowserError(RuntimeError):
    """There is no browser, and none could be installed."""


def executable() -> str:
    """Return the path of the browser; it is installed if there is none, root and apt.

    Raises:
        NoBrowserError: If there is none.
    """
    found = _find()
    apt = shutil.which("apt-get")
    if not found and apt and os.geteuid() == 0:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (
            ["update", "-qq"],
            ["install", "-qq", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
        ):
            subprocess.run(
                [apt, *arguments], env=environment, check=False, timeout=_PATIENCE, capture_output=True
            )
        found = _find()
    if not found:
        raise NoBrowserError("no browser: install Chromium (as root: apt-get install chromium)")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Run the browser while this is entered.

    Raises:
        NoBrowserError: If there is none.
    """
    path = executable()
    # A container has no user namespaces for Chromium's sandbox; all that is loaded is our own.
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield started
        finally:
            started.close()


def _find() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)
