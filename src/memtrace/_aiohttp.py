"""The way to a server that is a session of aiohttp's, which is faster than httpx under load.

Its errors are told apart by name, in `_failures`, as those of the other libraries.
"""

from __future__ import annotations

from typing import TypedDict

import aiohttp
import yarl

from memtrace._answers import Answer
from memtrace._calls import AsyncCalls
from memtrace._config import Config
from memtrace._deadlines import Deadline
from memtrace._requests import Call


class AiohttpWay:
    """Sends each request with a session that the caller gave, and that stays open.

    Args:
        session: The session, with its own proxies, certificates, headers, limits and so on.
    """

    # OSError is what the system said, RuntimeError is for a session that is closed, ValueError for a URL that
    # cannot be sent to, and TimeoutError for a deadline that has passed.
    failures = (aiohttp.ClientError, OSError, RuntimeError, ValueError, TimeoutError)

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._calls = AsyncCalls()

    async def send(self, call: Call, config: Config, deadline: Deadline) -> Answer:
        """Send a request once, and read the answer.

        Raises:
            ResponseValidationError: If the answer cannot be read.
            Exception: One of `failures`, if there was no answer.
        """
        with self._calls.until(deadline):
            async with self._session.request(
                call.method,
                # As it is: what looks like an escape in an id is one.
                yarl.URL(config.url_of(call), encoded=True),
                data=call.content,
                headers={**config.headers, **call.headers},
                **_timeout(deadline),
                # A redirect is never followed: the API key would go along.
                allow_redirects=False,
                # To decompress it within a limit, and to make an error of it, is done here.
                auto_decompress=False,
                raise_for_status=False,
            ) as response:
                reason = (response.reason or "").encode()
                answer = Answer(
                    call, config, response.status, response.raw_headers, {"reason_phrase": reason}
                )
                async for piece in response.content.iter_any():
                    answer.add(piece)
            answer.finish()
            return answer

    async def aclose(self) -> None:
        """End the calls that run."""
        self._calls.end()


class _Timeout(TypedDict, total=False):
    timeout: aiohttp.ClientTimeout


def _timeout(deadline: Deadline) -> _Timeout:
    """Give the bounds of a request's steps; the session's own are left if there are no others."""
    if deadline.steps is not None:
        steps = deadline.steps
        bounds = aiohttp.ClientTimeout(
            sock_connect=steps["connect"], sock_read=steps["read"], connect=steps["pool"]
        )
        return {"timeout": bounds}
    return {} if deadline.seconds is None else {"timeout": aiohttp.ClientTimeout()}
