"""Whether the server lives, and can do its work."""

from __future__ import annotations

from memtrace._version import __version__
from memtrace_server import times
from memtrace_server.messages import Response, answer
from memtrace_server.service.call import Call


def get_health(started_at: int) -> Response:
    """The server is alive, since it answers."""
    uptime = (times.now() - started_at) / times.SECOND
    return answer(
        200, {"status": "ok", "service": "memtrace", "version": __version__, "uptime": round(uptime, 3)}
    )


def get_ready(call: Call) -> Response:
    """The storage answers, since its secret can be read."""
    call.transaction.secret()
    return get_health(call.started_at)
