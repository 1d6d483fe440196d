"""What a client was told: where memory lives, with which key, and how patient to be."""

from __future__ import annotations

import os
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable

import attrs

from memtrace._httpx import Timeout
from memtrace._requests import Call
from memtrace._store_url import StoreUrl
from memtrace._version import __version__

DEFAULT_URL = "http://localhost:9100"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2

_EMBEDDED_ROOT = "http://embedded"
_KNOWN_SCHEMES = "http://host:9100, https://host, sqlite:///file.db or sqlite:// (in memory)"
# What needs no parser to be told for what it is. httpx has one, and takes longer to import than all of ours.
_PLAIN = re.compile(r"(https?://[a-z0-9._-]+(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~-]+)*)/?")
_LAST_PORT = 65535


@attrs.frozen
class Config:
    """A client's settings, checked once and prepared for every request.

    Attributes:
        base_url: Where memory lives, as it may be shown: without a password.
        root: What each request's path is appended to.
        store: URL of the embedded store; None for a server.
        headers: What each request carries, the key among it, and the password of the URL.
        timeout: Seconds for a call as a whole; or how long each step of a try may take, as an
            `httpx.Timeout`; None leaves it to the `http_client` that the client was given.
        max_retries: How many more times a request may be tried.
        on_pause: Told of each pause between tries, in seconds, which is then not made; for tests.
        raw_headers: The headers once more, as they are sent; with the host.
    """

    base_url: str
    root: str = attrs.field(repr=False)
    store: str | None
    headers: dict[str, str] = attrs.field(repr=False)
    timeout: float | Timeout | None
    max_retries: int
    on_pause: Callable[[float], None] | None = attrs.field(default=None, repr=False)
    raw_headers: list[tuple[bytes, bytes]] = attrs.field(init=False, repr=False)

    @raw_headers.default
    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        headers = {"Host": self.root.split("/")[2], **self.headers}
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def url_of(self, call: Call) -> str:
        """Give the whole URL of a request."""
        return f"{self.root}{call.path}{'?' if call.query else ''}{call.query}"

    @classmethod
    def from_arguments(
        cls,
        base_url: str | None,
        api_key: str | None,
        *,
        timeout: float | Timeout | None,
        max_retries: int,
    ) -> Config:
        """Check the arguments of a client, after filling them up from the environment.

        Raises:
            ValueError: If one of them cannot work.
        """
        if base_url is None:
            base_url = os.environ.get("MEMTRACE_URL") or DEFAULT_URL
        if api_key is None:
            api_key = os.environ.get("MEMTRACE_API_KEY") or None
        shown, root, store, authorization = _located(base_url)
        return cls(
            base_url=shown,
            root=root,
            store=store,
            headers=_headers(api_key, authorization),
            timeout=_timeout(timeout),
            max_retries=_max_retries(max_retries),
        )

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
    ) -> Config:
        """Copy this with what is given changed.

        Raises:
            ValueError: If one of the arguments cannot work.
        """
        return attrs.evolve(
            self,
            headers=(
                self.headers if api_key is None else _headers(api_key, self.headers.get("Authorization"))
            ),
            timeout=self.timeout if timeout is None else _timeout(timeout),
            max_retries=self.max_retries if max_retries is None else _max_retries(max_retries),
        )


def _located(base_url: str) -> tuple[str, str, str | None, str | None]:
    """Tell from a URL how to show it, where to send requests, which store to open, and what is to log in."""
    # The value is never quoted whole: it may hold a password, or be an API key in the wrong place.
    scheme, separator, _ = base_url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"base_url has no scheme; it must be one of {_KNOWN_SCHEMES}")
    if scheme in {"http", "https"}:
        plain = _PLAIN.fullmatch(base_url)
        is_plain = plain is not None and int(plain[2] or 1) <= _LAST_PORT
        root, authorization = (plain[1], None) if plain and is_plain else _server(base_url)
        return root, root, None, authorization
    if scheme == "sqlite":
        try:
            store = str(StoreUrl.parse(base_url))
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        return store, _EMBEDDED_ROOT, store, None
    if scheme in {"postgresql", "postgres"}:
        raise ValueError(
            "base_url: storing straight on PostgreSQL is not in this version yet; use a Memtrace server's "
            "URL, sqlite:///file.db or sqlite://"
        )
    raise ValueError(f"base_url: unknown scheme {scheme!r}; it must be one of {_KNOWN_SCHEMES}")


def _server(base_url: str) -> tuple[str, str | None]:
    """Check a server's URL; give it without user and password, as httpx logs it, and the header for these."""
    import httpx  # noqa: PLC0415  # most URLs are plain

    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url is no valid URL: {error}") from None
    if not url.host:
        raise ValueError("base_url names no host; an example that does is http://localhost:9100")
    if url.port is not None and not 0 < url.port <= _LAST_PORT:
        raise ValueError(f"base_url: there is no port {url.port}; the last one is {_LAST_PORT}")
    if url.query or url.fragment:
        raise ValueError("base_url may have a path, but no query (?) and no fragment (#)")
    path = url.raw_path.decode("ascii").rstrip("/")
    root = f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
    if not url.userinfo:
        return root, None
    return root, "Basic " + b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")


def _headers(api_key: str | None, authorization: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"memtrace-sdk/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}",
    }
    if authorization is not None:
        headers["Authorization"] = authorization
    if not api_key:
        return headers
    if not (api_key.isascii() and api_key.isprintable()) or api_key != api_key.strip():
        raise ValueError(
            "api_key has characters that no key has; is there a space or a line break at its end?"
        )
    return {**headers, "x-api-key": api_key}


def _timeout(timeout: float | Timeout | None) -> float | Timeout | None:
    if timeout is None:
        return None
    if isinstance(timeout, int | float):
        if not 0 < timeout < threading.TIMEOUT_MAX:
            raise ValueError(f"timeout must be more than 0 seconds, and not for ever, not {timeout!r}")
        return timeout
    import httpx  # noqa: PLC0415  # most give a number

    if not isinstance(timeout, httpx.Timeout):
        raise TypeError(f"timeout is a number of seconds or an httpx.Timeout, not {type(timeout).__name__}")
    return timeout


def _max_retries(max_retries: int) -> int:
    if max_retries < 0:
        raise ValueError(f"max_retries must be 0 or more, not {max_retries!r}")
    return max_retries
