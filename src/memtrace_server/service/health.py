"""Liveness, readiness, and permission to rewrite the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrace import __version__
from memtrace_server import problems, times
from memtrace_server.messages import Response, answer
from memtrace_server.service import limiting
from memtrace_server.service.call import Call
from memtrace_server.tenants import DEFAULT_ORG


def get_health(started_at: int, _parameters: Mapping[str, Any]) -> Response:
    """Report that the server is alive."""
    uptime = (times.now() - started_at) / times.SECOND
    return answer(
        200, {"status": "ok", "service": "memtrace", "version": __version__, "uptime": round(uptime, 3)}
    )


def vacuum_store(call: Call) -> Response:
    """Allow an admin of the default organisation to rewrite the store; the core does so afterwards.

    Raises:
        Problem: 403 for other organisations.
    """
    if "vacuumStore" in limiting.refused(call.principal):
        raise problems.forbidden(f"This concerns all organisations, and needs an admin of {DEFAULT_ORG}")
    return Response(status=204)


def get_ready(call: Call) -> Response:
    """Report that the server is ready, after reading the secret of the store."""
    call.transaction.secret()
    return get_health(call.started_at, call.parameters)
