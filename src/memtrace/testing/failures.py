"""Failures on demand, between a client and an embedded server."""

from __future__ import annotations

import json
import threading
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

import attrs
import httpx

from memtrace._async.client import AsyncMemtrace
from memtrace._failures import was_sent
from memtrace._sync.client import Memtrace
from memtrace.exceptions import APIConnectionError

# What a Memtrace server says with these; other statuses come from something between it and the client.
CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "request_timeout",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}
_FAILURES = range(400, 600)


@attrs.define
class _Failure:
    """What is to happen instead of an answer."""

    told: str
    on: str
    acted: bool
    left: int
    answer: httpx.Response | type[httpx.RequestError] | httpx.RequestError

    def happen(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.answer, type):
            raise self.answer(f"{self.told} was asked for", request=request)
        if isinstance(self.answer, httpx.RequestError):
            raise self.answer
        return httpx.Response(
            self.answer.status_code,
            headers=self.answer.headers,
            content=self.answer.content,
            request=request,
        )


class FailNext:
    """Makes the next request of a client fail; called again, also the one after it, and so on.

    The client tries again as ever, but its pauses are not slept.

    Attributes:
        pauses: For how many seconds the client would have slept before each retry so far.

    Example:
        >>> def test_an_outage_is_survived(memtrace, fail_next):
        ...     fail_next(status=503, times=2)
        ...     memtrace.remember("agent_1", "Hello")  # the third try stores it
    """

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._failures: list[_Failure] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._told() or 'nothing'} to come>"

    def __call__(  # noqa: PLR0913  # all of them named
        self,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        exception: httpx.RequestError | type[httpx.RequestError] | None = None,
        timeout: bool = False,
        acted: bool = False,
        times: int = 1,
        on: str = "*",
    ) -> None:
        """Ask for a failure; give one of `status`, `exception` and `timeout`.

        Args:
            status: The HTTP status that is answered, from 400 to 599.
            retry_after: Seconds that the answer asks to wait for, in its `Retry-After`.
            exception: What httpx raises: a `httpx.RequestError`, such as `httpx.ConnectError`, or its class.
            timeout: Whether no answer comes in time.
            acted: Whether the server carries the request out all the same, so that only the answer is lost.
            times: How many requests fail like this. Each retry is a request.
            on: Which requests can fail like this: method and path as in a shell, such as `POST *` or
                `GET /api/v1/memories/*`. The others are answered as ever.

        Raises:
            TypeError: If it is not one failure that is asked for.
            ValueError: If it cannot happen.
        """
        given = [status is not None, exception is not None, timeout]
        if sum(given) != 1:
            raise TypeError("give one of status, exception and timeout")
        if retry_after is not None and status is None:
            raise TypeError("retry_after belongs to an answer: give a status")
        if times < 1:
            raise ValueError(f"times must be 1 or more, not {times!r}")
        answer: httpx.Response | type[httpx.RequestError] | httpx.RequestError
        if status is not None:
            answer = _response(status, retry_after)
            told = f"status {status}"
        else:
            answer = httpx.ReadTimeout if exception is None else _checked(exception, acted=acted)
            told = (answer if isinstance(answer, type) else type(answer)).__name__
        told += " after the server has acted" if acted else ""
        told += "" if on == "*" else f" on {on}"
        with self._lock:
            self._failures.append(_Failure(told, on, acted, times, answer))

    def between(self, inner: _Transport) -> _Failing:
        """Give a transport for an httpx client that fails as it is told, and else does as another one."""
        return _Failing(inner, self)

    def listen(self, client: Memtrace | AsyncMemtrace) -> None:
        """Have a client, and copies of it, tell the pauses before its retries instead of making them."""
        sender = client._sender  # noqa: SLF001  # it is no business of its users
        sender.config = attrs.evolve(sender.config, on_pause=self.pauses.append)

    def take(self, request: httpx.Request) -> _Failure | None:
        """Give what is to happen to a request; None if nothing is."""
        named = f"{request.method} {request.url.raw_path.decode('ascii').partition('?')[0]}"
        with self._lock:
            found = next((f for f in self._failures if fnmatchcase(named, f.on)), None)
            if found is not None:
                found.left -= 1
                self._failures = [f for f in self._failures if f.left]
        return found

    def verify(self) -> None:
        """See to it that all that was asked for has happened, as a test that fails to fail shows nothing.

        Raises:
            AssertionError: If something has not.
        """
        if self._failures:
            raise AssertionError(
                f"fail_next: asked for, but never happened: {self._told()}. Were there fewer requests than "
                "expected, or none by the client of the fixture `memtrace` or `async_memtrace`?"
            )

    def _told(self) -> str:
        return ", then ".join(f"{f.told} ({f.left} times)" if f.left > 1 else f.told for f in self._failures)


class _Transport(Protocol):
    """A transport that both clients of httpx can use."""

    def handle_request(self, request: httpx.Request) -> httpx.Response: ...

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...


class _Failing(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Fails as it is told; closing what it leads to is left to whoever opened that."""

    def __init__(self, inner: _Transport, fail_next: FailNext) -> None:
        self._inner = inner
        self._fail_next = fail_next

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        failure = self._fail_next.take(request)
        if failure is None:
            return self._inner.handle_request(request)
        if failure.acted:
            self._inner.handle_request(request).close()
        return failure.happen(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failure = self._fail_next.take(request)
        if failure is None:
            return await self._inner.handle_async_request(request)
        if failure.acted:
            await (await self._inner.handle_async_request(request)).aclose()
        return failure.happen(request)


def _response(status: int, retry_after: float | None) -> httpx.Response:
    if status not in _FAILURES:
        raise ValueError(f"status must be one of a failure, from 400 to 599, not {status!r}")
    headers: dict[str, str] = {}
    if retry_after is not None:
        if not 0 <= retry_after < float("inf"):
            raise ValueError(f"retry_after must be 0 seconds or more, not {retry_after!r}")
        headers["Retry-After"] = f"{retry_after:g}"
    code = CODES.get(status)
    if code is None:
        text = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
        return httpx.Response(status, headers={"Content-Type": "text/plain", **headers}, text=text)
    request_id = "req_fail_next"
    body = {"error": f"A test asked for status {status}", "code": code, "request_id": request_id}
    headers |= {"Content-Type": "application/json", "X-Request-Id": request_id}
    return httpx.Response(status, headers=headers, content=json.dumps(body))


def _checked(
    exception: httpx.RequestError | type[httpx.RequestError], *, acted: bool
) -> httpx.RequestError | type[httpx.RequestError]:
    kind = exception if isinstance(exception, type) else type(exception)
    if not issubclass(kind, httpx.RequestError):
        raise TypeError(
            f"exception: httpx raises no {kind.__name__}; give a httpx.RequestError, or the status for it"
        )
    error = APIConnectionError()
    error.__cause__ = kind("")
    if acted and not was_sent(error):
        raise ValueError(f"exception: with {kind.__name__}, no request reaches a server that could act on it")
    return exception
