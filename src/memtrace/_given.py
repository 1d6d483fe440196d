"""What a caller may give to a client, to send requests with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from memtrace._answers import Answer
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._httpx import AsyncHttpClient, HttpClient
from memtrace._requests import Call

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from typing_extensions import TypeIs


class Way(Protocol):
    """A way to a server."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What `send` raises if there was no answer."""

    def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer."""

    def close(self) -> None:
        """End the calls that run, and close what is not the caller's."""


class AsyncWay(Protocol):
    """The same for tasks."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What `send` raises if there was no answer."""

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer."""

    async def aclose(self) -> None:
        """End the calls that run, and close what is not the caller's."""


class Given:
    """An `http_client`.

    Raises:
        TypeError: If it is none.
    """

    def __init__(self, http_client: HttpClient) -> None:
        # Here and below: who gives one has imported it, and all others need it not.
        import httpx  # noqa: PLC0415

        if not isinstance(http_client, httpx.Client):
            raise _refusal(http_client, "an httpx.Client")
        self._client = http_client

    def way(self) -> Way:
        """Give the way that it is."""
        from memtrace._sync.borrowed import Borrowed  # noqa: PLC0415

        return Borrowed(self._client, is_ours=False)


class AsyncGiven:
    """An `http_client` for tasks.

    Raises:
        TypeError: If it is none.
    """

    def __init__(self, http_client: AsyncHttpClient) -> None:
        if not _is_session(http_client):
            import httpx  # noqa: PLC0415

            if not isinstance(http_client, httpx.AsyncClient):
                raise _refusal(http_client, "an httpx.AsyncClient or an aiohttp.ClientSession")
        self._client = http_client

    def way(self) -> AsyncWay:
        """Give the way that it is."""
        if _is_session(self._client):
            from memtrace._aiohttp import AiohttpWay  # noqa: PLC0415

            return AiohttpWay(self._client)
        from memtrace._async.borrowed import AsyncBorrowed  # noqa: PLC0415

        return AsyncBorrowed(self._client, is_ours=False)


def _is_session(http_client: object) -> TypeIs[ClientSession]:
    aiohttp = sys.modules.get("aiohttp")
    return aiohttp is not None and isinstance(http_client, aiohttp.ClientSession)


def _refusal(http_client: object, wanted: str) -> TypeError:
    return TypeError(
        f"http_client: give {wanted}, not {type(http_client).__module__}.{type(http_client).__name__}"
    )
