"""The way to the server core in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memtrace_server.embedded import EmbeddedTransport


def embedded_transport(store: str) -> EmbeddedTransport:
    """Open the store of a URL, behind a transport for httpx.

    Raises:
        ImportError: If the server is not installed.
    """
    try:
        # Here, as who talks to a server over HTTP needs none of it.
        from memtrace_server.embedded import EmbeddedTransport  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"an embedded store needs the server: pip install 'memtrace-sdk[server]' ({store}: {error})"
        ) from error
    return EmbeddedTransport(store)
