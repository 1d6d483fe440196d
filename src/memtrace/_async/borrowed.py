"""The way to a server that is a client of httpx's, with its own settings."""

from __future__ import annotations

import functools

import httpx

from memtrace._answers import Answer
from memtrace._calls import AsyncCalls
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call


class AsyncBorrowed:
    """Sends each request with a client of httpx's.

    Args:
        client: The client.
        is_ours: Whether it is closed with this.
    """

    # All that httpx raises: RuntimeError is for a client that is closed, or whose event loop is, and
    # TimeoutError for a deadline that has passed.
    failures = (
        httpx.HTTPError,
        httpx.InvalidURL,
        httpx.CookieConflict,
        httpx.StreamError,
        RuntimeError,
        TimeoutError,
    )

    def __init__(self, client: httpx.AsyncClient, *, is_ours: bool) -> None:
        self._client = client
        self._is_ours = is_ours
        self._calls = AsyncCalls()
        # Parsing a URL is a good part of what a request costs, and most requests are to the same few.
        self._url = functools.lru_cache(maxsize=64)(httpx.URL)

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer.

        Raises:
            ResponseValidationError: If the answer cannot be read.
            Exception: One of `failures`, if there was no answer.
        """
        with self._calls.until(deadline):
            response = await self._sent(call, config, deadline)
            answer = Answer(call, config, response.status_code, response.headers.raw, response.extensions)
            try:
                if response.is_stream_consumed:
                    # By a hook of the client's, or by a transport that has it all at once.
                    answer.take(response.content)
                    return answer
                async for piece in response.aiter_raw():
                    answer.add(piece)
                    deadline.check()
            finally:
                await response.aclose()
            answer.finish()
            return answer

    async def aclose(self) -> None:
        """End the calls that run, and close what is ours."""
        self._calls.end()
        if self._is_ours:
            await self._client.aclose()

    async def _sent(self, call: Call, config: Config, deadline: Deadline) -> httpx.Response:
        url = self._url(config.url_of(call))
        headers = {**config.headers, **call.headers}
        steps = deadline.steps
        if deadline.seconds is not None:
            steps = httpx.Timeout(deadline.left()).as_dict()
        request = self._client.build_request(
            call.method,
            url,
            content=call.content,
            headers=headers,
            timeout=httpx.USE_CLIENT_DEFAULT if steps is None else httpx.Timeout(**steps),
        )
        # A redirect is never followed, whatever the client's default: httpx would take the API key along.
        return await self._client.send(request, stream=True, follow_redirects=False)
