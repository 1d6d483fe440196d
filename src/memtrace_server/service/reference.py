"""The server's own pages: the contract, its reference, and metrics."""

from __future__ import annotations

import functools
from importlib.resources import files

from memtrace_server import docs, problems
from memtrace_server.contract import Contract
from memtrace_server.messages import Response


@functools.cache
def get_contract(_started_at: int) -> Response:
    """Return the contract as it is."""
    return Response(status=200, body=files("memtrace_api").joinpath("openapi.json").read_bytes())


@functools.cache
def get_docs(_started_at: int) -> Response:
    """Return the contract as a page."""
    page = docs.render(Contract.load().document)
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": docs.content_security_policy(),
    }
    return Response(status=200, body=page.encode(), headers=headers)


def get_metrics(_started_at: int) -> Response:
    """Refuse: a core counts nothing unless it is given metrics.

    Raises:
        Problem: 404.
    """
    raise problems.not_found("metrics; start the server with --metrics")
