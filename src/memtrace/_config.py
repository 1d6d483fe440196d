"""What a client was told: where memory lives, with which key, and how patient to be."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable

import attrs
import httpx

from memtrace._version import __version__

DEFAULT_URL = "http://localhost:9100"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2

_DEFAULT_TIMEOUT = httpx.Timeout(DEFAULT_TIMEOUT)
_EMBEDDED_ROOT = "http://embedded"
_KNOWN_SCHEMES = "http://host:9100, https://host, sqlite:///file.db or sqlite:// (in memory)"


@attrs.frozen
class Config:
    """A client's settings, checked once and prepared for every request.

    Attributes:
        base_url: Where memory lives, as it may be shown: without a password.
        root: What each request's path is appended to.
        store: URL of the embedded store; None for a server.
        headers: What each request carries, the key among it, and the password of the URL.
        timeout: How long to wait; None leaves it to the `http_client` that the client was given.
        max_retries: How many more times a request may be tried.
        on_pause: Told of each pause between tries, in seconds, which is then not made; for tests.
    """

    base_url: str
    root: str = attrs.field(repr=False)
    store: str | None
    headers: dict[str, str] = attrs.field(repr=False)
    timeout: httpx.Timeout | None
    max_retries: int
    on_pause: Callable[[float], None] | None = attrs.field(default=None, repr=False)

    @property
    def patience(self) -> dict[str, float | None]:
        """How long to wait when nobody else says it, as httpx wants it in a request."""
        return (self.timeout or _DEFAULT_TIMEOUT).as_dict()

    @classmethod
    def from_arguments(
        cls,
        base_url: str | None,
        api_key: str | None,
        *,
        timeout: float | httpx.Timeout | None,
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
        shown, root, store = _located(base_url)
        return cls(
            base_url=shown,
            root=root,
            store=store,
            headers=_headers(api_key, None if store else _authorization(base_url)),
            timeout=_timeout(timeout),
            max_retries=_max_retries(max_retries),
        )

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout | None = None,
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


def _located(base_url: str) -> tuple[str, str, str | None]:
    """Tell from a URL how to show it, what to send requests to, and which store to open, if any."""
    # The value is never quoted whole: it may hold a password, or be an API key in the wrong place.
    scheme, separator, rest = base_url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"base_url has no scheme; it must be one of {_KNOWN_SCHEMES}")
    if scheme in {"http", "https"}:
        shown = _server(base_url)
        return shown, shown, None
    if scheme == "sqlite":
        if rest and (not rest.startswith("/") or rest == "/"):
            raise ValueError(
                "base_url: a SQLite file takes three slashes and a path: sqlite:///agent.db, or four for an "
                "absolute path; sqlite:// alone is a store in memory"
            )
        return base_url, _EMBEDDED_ROOT, base_url
    if scheme in {"postgresql", "postgres"}:
        raise ValueError(
            "base_url: storing straight on PostgreSQL is not in this version yet; use a Memtrace server's "
            "URL, sqlite:///file.db or sqlite://"
        )
    raise ValueError(f"base_url: unknown scheme {scheme!r}; it must be one of {_KNOWN_SCHEMES}")


def _server(base_url: str) -> str:
    """Check a server's URL, and give it without user and password: httpx logs the URL of each request."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url is no valid URL: {error}") from None
    if not url.host:
        raise ValueError("base_url names no host; an example that does is http://localhost:9100")
    if url.query or url.fragment:
        raise ValueError("base_url may have a path, but no query (?) and no fragment (#)")
    path = url.raw_path.decode("ascii").rstrip("/")
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path}"


def _authorization(base_url: str) -> str | None:
    """Give the header that stands for user and password of a URL; None if it has none."""
    url = httpx.URL(base_url)
    if not url.userinfo:
        return None
    return "Basic " + b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")


def _headers(api_key: str | None, authorization: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "keep-alive",
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


def _timeout(timeout: float | httpx.Timeout | None) -> httpx.Timeout | None:
    if timeout is None or isinstance(timeout, httpx.Timeout):
        return timeout
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
    return httpx.Timeout(timeout)


def _max_retries(max_retries: int) -> int:
    if max_retries < 0:
        raise ValueError(f"max_retries must be 0 or more, not {max_retries!r}")
    return max_retries
