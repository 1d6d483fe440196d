"""What a server answered, read to its end if that is not too far away."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from memtrace.exceptions import ResponseValidationError

if TYPE_CHECKING:
    import httpx

    from memtrace._config import Config
    from memtrace._requests import Call

# Bytes, decompressed. An answer that is larger is not read, so that no server can fill this process's memory.
MOST = 64 * 1024 * 1024

_HEADERS = Sequence[tuple[bytes, bytes]]
_GZIP = zlib.MAX_WBITS | 16
_SUCCESS = range(200, 300)
_KNOWN = frozenset(HTTPStatus)


class Answer:
    """An answer.

    Args:
        call: What it answers.
        config: The settings with which that was sent.
        status: The HTTP status.
        headers: The headers, as they were sent.
        extensions: What else httpx or httpcore tells of it.

    Attributes:
        call: What it answers.
        status: The HTTP status.
        content: The body, decompressed; empty until `finish`.
    """

    def __init__(
        self, call: Call, config: Config, status: int, headers: _HEADERS, extensions: dict[str, Any]
    ) -> None:
        self.call = call
        self.status = status
        self.content = b""
        self._config = config
        self._headers = headers
        self._extensions = extensions
        self._pieces: list[bytes] = []
        self._read = 0
        self._body = b""

    @property
    def is_success(self) -> bool:
        """Whether the server did what was asked for."""
        return self.status in _SUCCESS

    @property
    def reason(self) -> str:
        """What the status means, in the words of the server; or else of the standard, if it has any."""
        phrase: bytes | None = self._extensions.get("reason_phrase")
        if phrase is not None:
            return phrase.decode("ascii", errors="replace")
        return HTTPStatus(self.status).phrase if self.status in _KNOWN else ""

    @property
    def http_version(self) -> str | None:
        """The version of HTTP that was spoken, such as `1.1`; None if it is not known."""
        spoken: bytes = self._extensions.get("http_version", b"")
        return spoken.removeprefix(b"HTTP/").decode("ascii", errors="replace") or None

    @property
    def request_id(self) -> str | None:
        """The request's name in the server's log, if the server gave one."""
        return self.header("x-request-id") or None

    def header(self, name: str) -> str | None:
        """Give a header by its name in small letters; None if there is none."""
        wanted = name.encode()
        for key, value in self._headers:
            if key.lower() == wanted:
                return value.decode("utf-8", errors="replace")
        return None

    def add(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            ResponseValidationError: If that is too much.
        """
        if not self._pieces:
            announced = self.header("content-length") or ""
            if announced.isdecimal() and int(announced) > MOST:
                raise self._too_large(f"{announced} bytes were announced")
        self._read += len(piece)
        if self._read > MOST:
            raise self._too_large(f"{self._read} bytes came, and more would have")
        self._pieces.append(piece)

    def finish(self) -> None:
        """Put the pieces together, and decompress them.

        Raises:
            ResponseValidationError: If that cannot be done, or is too much.
        """
        self._body = self.content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        coding = (self.header("content-encoding") or "identity").strip().lower()
        if coding != "identity" and self._body:
            self.content = self._decompressed(coding)

    def take(self, body: bytes) -> None:
        """Take the whole body, decompressed, where somebody else has read it.

        Raises:
            ResponseValidationError: If it is too much.
        """
        if len(body) > MOST:
            raise self._too_large(f"{len(body)} bytes came")
        self._headers = [header for header in self._headers if header[0].lower() != b"content-encoding"]
        self._body = self.content = body

    def response(self) -> httpx.Response:
        """Give it as an httpx.Response, with the request that it answers."""
        import httpx  # noqa: PLC0415  # few want one, and it takes longer to import than all of ours

        request = httpx.Request(
            self.call.method,
            self._config.url_of(self.call),
            headers={**self._config.headers, **self.call.headers},
            content=self.call.content,
        )
        return httpx.Response(
            self.status,
            headers=list(self._headers),
            content=self._body,
            request=request,
            extensions=self._extensions,
        )

    def invalid(self, problem: str, body: object = None) -> ResponseValidationError:
        """Make the error that says what is wrong with it."""
        error = ResponseValidationError(
            f"The answer to {self.call} {problem}", self.status, request_id=self.request_id, body=body
        )
        error._answer = self  # noqa: SLF001  # no business of its users
        return error

    def _decompressed(self, coding: str) -> bytes:
        if coding not in {"gzip", "x-gzip"}:
            raise self.invalid(f"cannot be decompressed: it is {coding!r}, and gzip was asked for")
        gunzip = zlib.decompressobj(_GZIP)
        try:
            content = gunzip.decompress(self._body, MOST + 1)
        except zlib.error as error:
            raise self.invalid(f"cannot be decompressed: {error}") from error
        if len(content) > MOST:
            raise self._too_large(f"{len(self._body)} bytes became more than that when decompressed")
        if not gunzip.eof:
            raise self.invalid(f"cannot be decompressed: it ends after {len(self._body)} bytes, too early")
        return content

    def _too_large(self, reason: str) -> ResponseValidationError:
        return self.invalid(
            f"is larger than {MOST} bytes, the most that is read: {reason}; ask for less, with a limit"
        )
