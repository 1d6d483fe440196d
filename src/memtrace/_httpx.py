"""What the SDK's own signatures name of httpx and aiohttp, without importing them.

Their imports take longer than all of ours, and most programs give nothing of theirs to a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from httpx import AsyncClient, Client, Response, Timeout

    AsyncHttpClient: TypeAlias = AsyncClient | ClientSession
    HttpClient: TypeAlias = Client
else:
    # For frameworks, which read annotations when a program runs.
    AsyncHttpClient = HttpClient = Response = Timeout = Any

__all__ = ["AsyncHttpClient", "HttpClient", "Response", "Timeout"]
