"""The server's own pages: the contract, its reference, the page to look at memories, and metrics."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from memtrace_server import docs, problems
from memtrace_server.contract import Contract
from memtrace_server.messages import Response

_Parameters = Mapping[str, Any]

_HTML = "text/html; charset=utf-8"
_FILES = {  # by suffix; files with other suffixes are not served
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# With trusted types, browsers refuse to turn text into markup, whatever a script attempts.
_PAGE_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


def get_contract(_started_at: int, _parameters: _Parameters) -> Response:
    """Return the contract as JSON."""
    return _contract()


def get_docs(_started_at: int, _parameters: _Parameters) -> Response:
    """Return the reference of the contract as a page."""
    return _docs()


def get_page(_started_at: int, _parameters: _Parameters) -> Response:
    """Return the page that shows memories; the page itself contains no data."""
    return _html(_page_files()["index.html"], _PAGE_POLICY)


def get_page_file(_started_at: int, parameters: _Parameters) -> Response:
    """Return a file that the page loads.

    Raises:
        Problem: 404.
    """
    name: str = parameters["file"]
    kind = _FILES.get(name[name.rfind(".") :])
    body = _page_files().get(name)
    if kind is None or body is None:
        raise problems.not_found(f"file {name}")
    return Response(status=200, body=body, headers={"Content-Type": kind})


def get_metrics(_started_at: int, _parameters: _Parameters) -> Response:
    """Refuse, as a server without `--metrics` has none.

    Raises:
        Problem: 404.
    """
    raise problems.not_found("metrics; start the server with --metrics")


@functools.cache
def _contract() -> Response:
    return Response(status=200, body=files("memtrace_api").joinpath("openapi.json").read_bytes())


@functools.cache
def _docs() -> Response:
    page = docs.render(Contract.load().document)
    return _html(page.encode(), docs.content_security_policy())


@functools.cache
def _page_files() -> Mapping[str, bytes]:
    """Return all files of both pages by name, so that a name from a request never becomes a path."""
    package = files("memtrace_server")
    return {file.name: file.read_bytes() for file in [*package.joinpath("ui").iterdir(), package / "docs.js"]}


def _html(body: bytes, policy: str) -> Response:
    headers = {"Content-Type": _HTML, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Response(status=200, body=body, headers=headers)
