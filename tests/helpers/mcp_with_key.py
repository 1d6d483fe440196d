"""Serve MCP over HTTP for clients that cannot send a key: `mcp_with_key.py URL KEY`."""

from __future__ import annotations

import socket
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from memtrace import AsyncMemtrace
from memtrace.integrations.mcp import create_app

URL, KEY = sys.argv[1:]
application = create_app(AsyncMemtrace(URL))


async def with_key(scope: Scope, receive: Receive, send: Send) -> None:
    """Add the key to a request."""
    if scope["type"] == "http":
        scope = {**scope, "headers": [*scope["headers"], (b"x-api-key", KEY.encode())]}
    await application(scope, receive, send)


listener = socket.create_server(("127.0.0.1", 0))
sys.stderr.write(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp\n")
uvicorn.Server(uvicorn.Config(with_key, log_level="error")).run(sockets=[listener])
