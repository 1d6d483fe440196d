"""Serve memory to clients of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import TyperException

from memtrace import AsyncMemtrace, AuthenticationError, MemtraceError
from memtrace.cli._client import EMBEDDED, KeyOption, OrgOption, UrlOption, memory_url, transport_of

if TYPE_CHECKING:
    from memtrace._http import httpx

_HOST = "127.0.0.1"
_PORT = 9101
_TIMEOUT = 5  # seconds to wait for a server at the start; clients allow some 30 for the start


def mcp(  # noqa: PLR0913 - one for each option
    *,
    url: UrlOption = None,
    key: KeyOption = None,
    org: OrgOption = None,
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(
            help="How clients connect: stdio if they start this command, http if they have keys for the"
            " server that --url names."
        ),
    ] = "stdio",
    host: Annotated[
        str | None, typer.Option(help="The address to listen on, with http.", show_default=_HOST)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            metavar="N",
            help="The port to listen on, with http; 0 for any.",
            show_default=str(_PORT),
        ),
    ] = None,
) -> None:
    """Serve memory to MCP clients, such as Claude Code, Claude Desktop and Cursor."""
    if transport == "stdio" and (host is not None or port is not None):
        raise typer.BadParameter(
            "stdio does not listen on a port; add --transport http", param_hint="--host, --port"
        )
    if transport == "http" and org is not None:
        raise typer.BadParameter("with http, the key determines the organisation", param_hint="--org")
    try:
        from memtrace.integrations import mcp as adapter
    except ImportError as error:
        raise TyperException(str(error)) from error
    where = memory_url(url, create=True)
    shown = AsyncMemtrace(where).base_url  # without a password
    if transport == "stdio":
        print(f"memory: {shown}", file=sys.stderr, flush=True)
        if problem := _problem(where, key, org):
            _warn(problem)
        adapter.create_server(_client(where, key, _http_client(where, org))).run("stdio")
        return
    if not where.startswith(("http://", "https://")):
        raise typer.BadParameter(
            "with http, a server must check the clients' keys; name its http(s):// URL", param_hint="--url"
        )
    import uvicorn

    host = host or _HOST
    listener = socket.create_server((host, _PORT if port is None else port))
    name, number, *_ = listener.getsockname()
    print(f"memory: {shown}\nMCP is served on http://{name}:{number}/mcp", file=sys.stderr, flush=True)
    problem = _problem(where, key)
    if problem and not isinstance(problem, AuthenticationError):  # clients send their own keys
        _warn(problem)
    application = adapter.create_app(AsyncMemtrace(where), host=host)
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])


def _client(url: str, key: str | None, http_client: httpx.AsyncClient | None) -> AsyncMemtrace:
    return (
        AsyncMemtrace(url, key) if http_client is None else AsyncMemtrace(EMBEDDED, http_client=http_client)
    )


def _http_client(url: str, org: str | None) -> httpx.AsyncClient | None:
    """Return an HTTP client for an organisation in a store, or None if no organisation is named."""
    if org is None:
        return None
    from memtrace._http import httpx

    return httpx.AsyncClient(transport=transport_of(url, org))


def _problem(url: str, key: str | None, org: str | None = None) -> MemtraceError | None:
    """Return the error that tool calls would raise now, or None if memory can be read."""

    async def find() -> MemtraceError | None:
        http_client = _http_client(url, org)
        async with http_client or nullcontext(), _client(url, key, http_client) as client:
            try:
                await client.with_options(timeout=_TIMEOUT, max_retries=0).list_agents(limit=1)
            except MemtraceError as error:
                return error
        return None

    return asyncio.run(find())


def _warn(problem: MemtraceError) -> None:
    line = " ".join(str(problem).split())
    print(f"memtrace: warning: {line}; tools fail until this is fixed", file=sys.stderr, flush=True)
