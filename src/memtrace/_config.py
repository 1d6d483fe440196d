"""The settings of a client: where memory lives, with which key, and how patient to be."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from memtrace import __version__
from memtrace._request import Call

if TYPE_CHECKING:
    from memtrace._http import Timeout

DEFAULT_URL = "http://localhost:9100"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2

_EMBEDDED_ROOT = "http://embedded"
_SCHEMES = (
    "http://host:9100, https://host, sqlite:///file.db, sqlite:// (in memory) or postgresql://user@host/name"
)
# What needs no parser. That of httpx comes with a long import.
_PLAIN = re.compile(r"(https?://[a-z0-9._-]+(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~-]+)*)/?")
_MAX_PORT = 65535
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LOOPBACK = re.compile(r"(localhost|.*\.localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")
_WARNED: set[str] = set()

logger = logging.getLogger("memtrace")


class Url(Protocol):
    """A URL object, such as an `httpx.URL` or one of pydantic; its text is the URL."""

    @property
    def scheme(self) -> str:
        """The scheme, such as `https`."""

    @property
    def host(self) -> str | None:
        """The host."""


class Secret(Protocol):
    """A secret, such as a `SecretStr` of pydantic."""

    def get_secret_value(self) -> str:
        """Return the secret."""


@attrs.frozen
class Config:
    """A client's settings, checked once and prepared for every request.

    Attributes:
        base_url: Where memory lives, as it may be shown: without a password.
        root: What each request's path is appended to.
        store: URL of the embedded store; None for a server.
        headers: What each request carries, the key among it, and the password of the URL.
        secrets: What must never be shown.
        timeout: Seconds for a call as a whole; or how long each step of an attempt may take, as an
            `httpx.Timeout`; None leaves it to the caller-supplied `http_client`.
        max_retries: How often a request may be retried.
        on_delay: Called with each delay before a retry, in seconds, instead of waiting; for tests.
    """

    base_url: str
    root: str = attrs.field(repr=False)
    store: str | None = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)
    timeout: float | Timeout | None
    max_retries: int
    on_delay: Callable[[float], None] | None = attrs.field(default=None, repr=False)

    def url_of(self, call: Call) -> str:
        """Return the whole URL of a request."""
        return f"{self.root}{call.path}{'?' if call.query else ''}{call.query}"

    def shown(self, text: str) -> str:
        """Return text from elsewhere as it may be shown: control characters escaped, and no secret in it."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

    @classmethod
    def from_arguments(
        cls,
        base_url: str | Url | None,
        api_key: str | Secret | None,
        *,
        timeout: float | Timeout | None,
        max_retries: int,
        default_headers: Mapping[str, str] | None = None,
    ) -> Config:
        """Check the arguments of a client, after filling them up from the environment.

        Raises:
            ValueError: If one of them cannot work.
            TypeError: If one of them is of another type.
        """
        if base_url is None:
            base_url = os.environ.get("MEMTRACE_URL", "").strip() or DEFAULT_URL
        key = os.environ.get("MEMTRACE_API_KEY") or None if api_key is None else _key(api_key)
        shown, root, store, login = _located(_text_of_url(base_url))
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "user-agent": f"memtrace-sdk/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}",
            **_checked(default_headers or {}),
        }
        if login is not None:
            headers["authorization"] = f"Basic {b64encode(login.encode()).decode('ascii')}"
        made = cls(
            base_url=shown,
            root=root,
            store=store,
            headers=headers,
            secrets=() if login is None else (headers["authorization"][6:], login.partition(":")[2] or login),
            timeout=_timeout(timeout),
            max_retries=_max_retries(max_retries),
        )
        return made if not key else made._with_key(key)

    def with_options(
        self,
        *,
        api_key: str | Secret | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
    ) -> Config:
        """Copy this with what is given changed.

        Raises:
            ValueError: If one of the arguments cannot work.
            TypeError: If one of them is of another type.
        """
        copied = self if api_key is None else self._with_key(_key(api_key))
        return attrs.evolve(
            copied,
            timeout=self.timeout if timeout is None else _timeout(timeout),
            max_retries=self.max_retries if max_retries is None else _max_retries(max_retries),
        )

    def _with_key(self, key: str) -> Config:
        headers = {name: value for name, value in self.headers.items() if name != "x-api-key"}
        if not key:
            return attrs.evolve(self, headers=headers)
        if not (key.isascii() and key.isprintable()) or key != key.strip():
            raise ValueError("api_key: it has characters that no key has; is white space at its end?")
        host = self.root.partition("://")[2].partition("/")[0]
        if self.root.startswith("http://") and self.store is None and not _LOOPBACK.fullmatch(host):
            _warn_once(host)
        return attrs.evolve(self, headers={**headers, "x-api-key": key}, secrets=(*self.secrets, key))


def _warn_once(host: str) -> None:
    if host not in _WARNED:
        _WARNED.add(host)
        logger.warning("base_url: the API key is sent to %s unencrypted; use https://", host)


def _text_of_url(base_url: str | Url) -> str:
    if isinstance(base_url, str):
        return base_url
    if not (hasattr(base_url, "scheme") and hasattr(base_url, "host")):
        raise TypeError(f"base_url: it is of type {type(base_url).__name__}; give a string or a URL")
    return str(base_url)


def _key(api_key: str | Secret) -> str:
    revealed = getattr(api_key, "get_secret_value", None)
    key = api_key if revealed is None else revealed()
    if not isinstance(key, str):
        raise TypeError(f"api_key: it is of type {type(key).__name__}; give a string or a SecretStr")
    return key


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by name in lower case. A value is never quoted: it may be a secret."""
    checked = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"default_headers: {name!r} or its value is no string")
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"default_headers: no header can be called {name!r}")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValueError(
                f"default_headers: the value of {name!r} has characters that no header can carry"
            )
        checked[name.lower()] = value
    return checked


def _located(base_url: str) -> tuple[str, str, str | None, str | None]:
    """Return how to show a URL, where to send requests, which store to open, and `user:password`."""
    # The value is never quoted whole: it may hold a password, or be an API key in the wrong place.
    scheme, separator, _ = base_url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"base_url: it has no scheme; use {_SCHEMES}")
    if scheme in {"http", "https"}:
        plain = _PLAIN.fullmatch(base_url)
        is_plain = plain is not None and int(plain[2] or 1) <= _MAX_PORT and ".." not in plain[1]
        root, login = (plain[1], None) if plain and is_plain else _server(base_url)
        return root, root, None, login
    if scheme in {"sqlite", "postgresql", "postgres"}:
        from memtrace_server.store_url import StoreUrl  # noqa: PLC0415  # most memory lives on servers

        try:
            location = StoreUrl.parse(base_url)
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        return str(location), _EMBEDDED_ROOT, location.url, None
    raise ValueError(f"base_url: unknown scheme {scheme!r}; use {_SCHEMES}")


def _server(base_url: str) -> tuple[str, str | None]:
    """Check a server's URL; return it without user and password, as it may be logged, and these."""
    from memtrace._http import httpx as library  # noqa: PLC0415  # most URLs are plain

    try:
        url = library.URL(base_url)
    except library.InvalidURL as error:
        raise ValueError(f"base_url: it is no valid URL: {error}") from None
    if not url.host:
        raise ValueError("base_url: it names no host; an example that does is http://localhost:9100")
    try:
        url.host.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"base_url: {url.host!r} is no name of a host: {error}") from None
    if url.port is not None and not 0 < url.port <= _MAX_PORT:
        raise ValueError(f"base_url: there is no port {url.port}; the last one is {_MAX_PORT}")
    if url.query or url.fragment:
        raise ValueError("base_url: it may have a path, but no query (?) and no fragment (#)")
    path = url.raw_path.decode("ascii").rstrip("/")
    root = f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
    return root, f"{url.username}:{url.password}" if url.userinfo else None


def _timeout(timeout: float | Timeout | None) -> float | Timeout | None:
    if isinstance(timeout, int | float):
        if not 0 < timeout < threading.TIMEOUT_MAX:
            raise ValueError(f"timeout: {timeout!r} is no number of seconds above 0 and below infinity")
        return timeout
    if timeout is not None and not hasattr(timeout, "as_dict"):
        raise TypeError(f"timeout: it is of type {type(timeout).__name__}; give seconds or an httpx.Timeout")
    return timeout


def _max_retries(max_retries: int) -> int:
    if max_retries < 0:
        raise ValueError(f"max_retries: it must be 0 or more, not {max_retries!r}")
    return max_retries
