"""What the SDK's own signatures name of httpx, without importing it.

Its import takes longer than all of ours, and who gives neither a client nor a timeout of httpx needs it not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from httpx import AsyncClient, Client, Response, Timeout
else:
    # For frameworks, which read annotations when a program runs.
    AsyncClient = Client = Response = Timeout = Any

__all__ = ["AsyncClient", "Client", "Response", "Timeout"]
