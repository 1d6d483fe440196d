"""Failures on demand, between a client and an embedded server."""

from __future__ import annotations

import json
import threading
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

import attrs

from memtrace._async.client import AsyncMemtrace
from memtrace._http import httpx
from memtrace._retry import was_sent
from memtrace._sync.client import Memtrace
from memtrace.exceptions import APIConnectionError

# The code in the body of a Memtrace server; other statuses come from a proxy between server and client.
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
    """A failure that replaces a response."""

    description: str
    on: str
    acted: bool
    left: int
    answer: httpx.Response | type[httpx.RequestError] | httpx.RequestError

    def happen(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.answer, type):
            raise self.answer(f"{self.description}, as the test demands", request=request)
        if isinstance(self.answer, httpx.RequestError):
            raise self.answer
        return httpx.Response(
            self.answer.status_code,
            headers=self.answer.headers,
            content=self.answer.content,
            request=request,
        )


class FailNext:
    """Make the next request of a client fail; each further call adds a failure for a later request.

    The client retries as usual, but does not sleep between attempts.

    Attributes:
        pauses: The seconds that the client would have slept before each retry so far.

    Example:
        >>> def test_outage_is_survived(memtrace, fail_next):
        ...     fail_next(status=503, times=2)
        ...     memtrace.remember("agent_1", "Hello")  # the third attempt stores it
    """

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._failures: list[_Failure] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._described() or 'nothing'} to come>"

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
        """Add a failure, described by one of `status`, `exception` and `timeout`.

        Args:
            status: The HTTP status of the response, from 400 to 599.
            retry_after: The seconds in the `Retry-After` of the response.
            exception: The error that httpx raises: a `httpx.RequestError`, such as `httpx.ConnectError`, or
                its class.
            timeout: Whether the request times out.
            acted: Whether the server carries out the request first, so that only its response is lost.
            times: How many requests fail like this; each retry is a request.
            on: The requests that can fail like this: a shell pattern of method and path, such as `POST *` or
                `GET /api/v1/memories/*`.

        Raises:
            TypeError: Not exactly one of the three is given.
            ValueError: No request can fail like this.
        """
        given = [status is not None, exception is not None, timeout]
        if sum(given) != 1:
            raise TypeError("fail_next: give one of status, exception and timeout")
        if retry_after is not None and status is None:
            raise TypeError("retry_after: it belongs to a response; give a status too")
        if times < 1:
            raise ValueError(f"times: {times!r} is out of range; give 1 or more")
        answer: httpx.Response | type[httpx.RequestError] | httpx.RequestError
        if status is not None:
            answer = _response(status, retry_after)
            description = f"status {status}"
        else:
            answer = httpx.ReadTimeout if exception is None else _checked(exception, acted=acted)
            description = (answer if isinstance(answer, type) else type(answer)).__name__
        description += " after the server has acted" if acted else ""
        description += "" if on == "*" else f" on {on}"
        with self._lock:
            self._failures.append(_Failure(description, on, acted, times, answer))

    def between(self, inner: _Transport) -> _Failing:
        """Return a transport for an httpx client that fails on demand, and otherwise passes requests on."""
        return _Failing(inner, self)

    def listen(self, client: Memtrace | AsyncMemtrace) -> None:
        """Make a client, and copies of it, record the delays before retries instead of sleeping them."""
        config = attrs.evolve(client._config, on_delay=self.pauses.append)  # noqa: SLF001
        client._config = config  # noqa: SLF001  # users need no such option

    def take(self, request: httpx.Request) -> _Failure | None:
        """Return the failure of a request, or None if the request is passed on."""
        named = f"{request.method} {request.url.raw_path.decode('ascii').partition('?')[0]}"
        with self._lock:
            found = next((f for f in self._failures if fnmatchcase(named, f.on)), None)
            if found is not None:
                found.left -= 1
                self._failures = [f for f in self._failures if f.left]
        return found

    def verify(self) -> None:
        """Check that every failure has happened, because otherwise the test has not tested it.

        Raises:
            AssertionError: If one has not.
        """
        if self._failures:
            raise AssertionError(
                f"fail_next: never happened: {self._described()}; the clients of the fixtures `memtrace` and "
                "`async_memtrace` sent fewer requests than that"
            )

    def _described(self) -> str:
        return ", then ".join(
            f"{f.description} ({f.left} times)" if f.left > 1 else f.description for f in self._failures
        )


class _Transport(Protocol):
    """A transport that both clients of httpx can use."""

    def handle_request(self, request: httpx.Request) -> httpx.Response: ...

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...


class _Failing(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that fails on demand. It does not close the inner transport, as it did not open it."""

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
        raise ValueError(f"status: {status!r} is not an error; give one from 400 to 599")
    headers: dict[str, str] = {}
    if retry_after is not None:
        if not 0 <= retry_after < float("inf"):
            raise ValueError(f"retry_after: {retry_after!r} is out of range; give 0 or more seconds")
        headers["Retry-After"] = f"{retry_after:g}"
    code = CODES.get(status)
    if code is None:
        text = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
        return httpx.Response(status, headers={"Content-Type": "text/plain", **headers}, text=text)
    request_id = "req_fail_next"
    body = {"error": f"Status {status}, as the test demands", "code": code, "request_id": request_id}
    headers |= {"Content-Type": "application/json", "X-Request-Id": request_id}
    return httpx.Response(status, headers=headers, content=json.dumps(body))


def _checked(
    exception: httpx.RequestError | type[httpx.RequestError], *, acted: bool
) -> httpx.RequestError | type[httpx.RequestError]:
    kind = exception if isinstance(exception, type) else type(exception)
    if not issubclass(kind, httpx.RequestError):
        raise TypeError(
            f"exception: httpx never raises {kind.__name__} here; give a httpx.RequestError or a status"
        )
    error = APIConnectionError()
    error.__cause__ = kind("")
    if acted and not was_sent(error):
        raise ValueError(f"acted: after {kind.__name__} no request has reached a server; leave it out")
    return exception
