"""What buffers still hold when the interpreter ends, and nobody is there any more to hear of it.

A thread is waited for, so there is something left only when that was interrupted. A task ends with its event
loop, whether it is done or not.
"""

from __future__ import annotations

import atexit
import logging
import os
from typing import TYPE_CHECKING

from memtrace._buffer import counted
from memtrace.exceptions import BufferedWriteError

if TYPE_CHECKING:
    from memtrace._async.flusher import AsyncFlusher
    from memtrace._buffer import Backlog
    from memtrace._sync.flusher import Flusher

logger = logging.getLogger("memtrace")

# Every backlog that holds something, and who sends it: so neither is lost when nobody else holds it.
_UNFINISHED: dict[Backlog, Flusher | AsyncFlusher] = {}


def remember(backlog: Backlog, flusher: Flusher | AsyncFlusher) -> None:
    """Note whether a backlog holds anything."""
    if backlog.is_empty:
        _UNFINISHED.pop(backlog, None)
    else:
        _UNFINISHED[backlog] = flusher


@atexit.register
def finish() -> None:
    """Send what is left, and say what could not be stored."""
    # Those of the process that this was forked from are that process's own.
    for flusher in [flusher for flusher in _UNFINISHED.values() if flusher.home[0] == os.getpid()]:
        pending = flusher.backlog.pending
        blocking = _blocking(flusher)
        if blocking is None:
            logger.error(
                "Lost: %s, because a buffer was not closed before its event loop ended, and the http_client "
                "that was given can send only there",
                counted(pending + len(flusher.backlog.failed)),
            )
            continue
        if pending:
            logger.warning(
                "Sending %s as the interpreter ends, because a buffer was not closed",
                counted(pending),
            )
        try:
            blocking.close()
        except BufferedWriteError as error:
            # Without a traceback, which ends here, and says nothing more.
            logger.error("Lost: %s", error)  # noqa: TRY400
        finally:
            if blocking is not flusher:
                blocking.sender.connection.close()


def _blocking(flusher: Flusher | AsyncFlusher) -> Flusher | None:
    """Give what sends the same without an event loop; None if nothing can."""
    # Here, as they import this module.
    from memtrace._sync.connection import Connection  # noqa: PLC0415
    from memtrace._sync.flusher import Flusher  # noqa: PLC0415
    from memtrace._sync.sender import Sender  # noqa: PLC0415

    if isinstance(flusher, Flusher):
        return flusher
    if flusher.sender.connection.is_given:
        return None
    config = flusher.sender.config
    return Flusher(Sender(config, Connection(config.store, None)), flusher.backlog, flusher.on_failure)
