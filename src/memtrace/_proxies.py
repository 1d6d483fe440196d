"""Whether there may be a proxy between this process and a server."""

from __future__ import annotations

import os
import sys

_VARIABLES = {"http_proxy", "https_proxy", "all_proxy"}


def are_set() -> bool:
    """Tell whether the environment, or the system's settings, name a proxy."""
    if sys.platform in {"darwin", "win32"}:
        from urllib.request import getproxies  # noqa: PLC0415  # a large import, and not needed elsewhere

        return bool(getproxies())
    return any(value and name.lower() in _VARIABLES for name, value in os.environ.items())
