"""Where code runs: connections belong to a process, and to an event loop if there is one."""

from __future__ import annotations

import sys

Home = tuple[int, object]


def loop() -> object:
    """Give asyncio's event loop that runs this code; None if there is none, as with trio."""
    # Who runs on asyncio has imported it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        running: object = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return running


def is_over(home: Home) -> bool:
    """Tell whether a place's event loop has ended."""
    is_closed = getattr(home[1], "is_closed", None)
    return is_closed is not None and bool(is_closed())
