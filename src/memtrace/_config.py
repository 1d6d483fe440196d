"""The settings of a client: where memory lives, with which key, and how patient to be."""

from __future__ import annotations

import functools
import ipaddress
import logging
import math
import os
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import SplitResult, quote, unquote, urlsplit

import attrs

from memtrace import __version__
from memtrace._request import TOKEN, Call, is_header_value

if TYPE_CHECKING:
    from memtrace._http import Timeout

DEFAULT_URL = "http://localhost:9100"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2
MIN_TIMEOUT = 0.001  # seconds

_EMBEDDED_ROOT = "http://embedded"
_SCHEMES = (
    "http://host:9100, https://host, sqlite:///file.db, sqlite:// (in memory) or postgresql://user@host/name"
)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
# Characters that a path may have as they are.
_IN_PATHS = "/%:@!$&'()*+,;=~"

logger = logging.getLogger("memtrace")


@runtime_checkable
class Url(Protocol):
    """A URL object, such as an `httpx.URL` or one of pydantic; its text is the URL."""

    @property
    def scheme(self) -> str: ...

    @property
    def host(self) -> str | None: ...


class Secret(Protocol):
    """A secret, such as a `SecretStr` of pydantic."""

    def get_secret_value(self) -> str: ...


def located(base_url: str | Url | None) -> tuple[str, str | None, str]:
    """Return where memory lives.

    Returns:
        The URL as it may be shown, without a password; the URL of an embedded store, None for a server; and
        `user:password` for a server, if its URL has them.
    """
    if base_url is None:
        base_url = os.environ.get("MEMTRACE_URL", "").strip() or DEFAULT_URL
    if not isinstance(base_url, str | Url):
        raise TypeError(f"base_url: it is of type {type(base_url).__name__}; give a string or a URL")
    url = str(base_url)
    # It is never quoted whole: it may hold a password, or be an API key in the wrong place.
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"base_url: it has no scheme; use {_SCHEMES}")
    if scheme in {"http", "https"}:
        shown, login = _server(url)
        return shown, None, login
    if scheme not in {"sqlite", "postgresql", "postgres"}:
        raise ValueError(f"base_url: unknown scheme {scheme!r}; use {_SCHEMES}")
    from memtrace_server.store_url import StoreUrl  # noqa: PLC0415  # most memory lives on servers

    try:
        store = StoreUrl.parse(url)
    except ValueError as error:
        raise ValueError(f"base_url: {error}") from None
    return str(store), store.url, ""


def _revealed(api_key: str | Secret | None) -> str:
    """Return a key, which is never quoted."""
    given: object = os.environ.get("MEMTRACE_API_KEY", "") if api_key is None else api_key
    reveal = getattr(given, "get_secret_value", None)
    key = given if reveal is None else reveal()
    if not isinstance(key, str):
        raise TypeError(f"api_key: it is of type {type(key).__name__}; give a string or a SecretStr")
    if not is_header_value(key):
        raise ValueError("api_key: it has characters that no key has; is white space at its end?")
    return key


def _checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers by name in lower case. A value is never quoted: it may be a secret."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise TypeError(f"default_headers: it is of type {type(headers).__name__}; give a mapping")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"default_headers: {name!r} or its value is not a string")
        if not (TOKEN.fullmatch(name) and is_header_value(value)):
            raise ValueError(
                f"default_headers: {name!r} or its value has characters that no header can carry"
            )
    return {name.lower(): value for name, value in headers.items()}


@attrs.frozen
class Config:
    """A client's settings, checked once and prepared for every request.

    A setting that is not given comes from the environment, or has a default. ValueError and TypeError name
    the setting that cannot work.

    Attributes:
        base_url: Where memory lives, as it may be shown.
        store: URL of the embedded store; None for a server.
        login: `user:password` for a server, if its URL has them.
        api_key: The key; empty if there is none.
        timeout: Seconds for a call as a whole; or how long each step of an attempt may take, as an
            `httpx.Timeout`; None leaves it to the caller-supplied `http_client`.
        max_retries: How often a request may be retried.
        default_headers: The caller's headers for each request.
        on_delay: Called with each delay before a retry, in seconds, instead of waiting; for tests.
        headers: All headers of each request, with the key and the password of the URL.
        secrets: The texts that must never be shown.
    """

    base_url: str
    store: str | None = attrs.field(repr=False)
    login: str = attrs.field(repr=False)
    api_key: str = attrs.field(converter=_revealed, repr=False)
    timeout: float | Timeout | None = attrs.field()
    max_retries: int = attrs.field()
    default_headers: dict[str, str] = attrs.field(converter=_checked, repr=False)
    on_delay: Callable[[float], None] | None = attrs.field(default=None, repr=False)
    headers: dict[str, str] = attrs.field(init=False, repr=False)
    secrets: tuple[str, ...] = attrs.field(init=False, repr=False)

    @timeout.validator
    def _is_bounded(self, _: object, timeout: object) -> None:
        if timeout is not None and not hasattr(timeout, "as_dict"):
            require_number("timeout", timeout, MIN_TIMEOUT, threading.TIMEOUT_MAX)

    @max_retries.validator
    def _is_count(self, _: object, max_retries: object) -> None:
        require_number("max_retries", max_retries, 0, whole=True)

    @headers.default
    def _all_headers(self) -> dict[str, str]:
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "user-agent": f"memtrace-sdk/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}",
            **self.default_headers,
        }
        if self.login:
            encoded = b64encode(self.login.encode()).decode("ascii")
            headers["authorization"] = f"Basic {encoded}"
        if self.api_key:
            headers["x-api-key"] = self.api_key
            host = urlsplit(self.base_url).hostname or ""
            if self.base_url.startswith("http://") and not is_loopback(host):
                _warn_of(host)
        return headers

    @secrets.default
    def _all_secrets(self) -> tuple[str, ...]:
        password = self.login.partition(":")[2] or self.login
        encoded = self.headers.get("authorization", "").rpartition(" ")[2]
        return tuple(secret for secret in (encoded, password, self.api_key) if secret)

    def url_of(self, call: Call) -> str:
        """Return the whole URL of a request."""
        root = self.base_url if self.store is None else _EMBEDDED_ROOT
        return f"{root}{call.path}{'?' if call.query else ''}{call.query}"

    def shown(self, text: str) -> str:
        """Return text from elsewhere as it may be shown: control characters escaped, and no secret in it."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def require_number(
    name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Raise TypeError if a setting is not a number, or not whole; ValueError if it is out of range."""
    allowed = f"{low} or more" if high == math.inf else f"from {low} to {high}"
    # A bool is an int to Python, and as a number a mistake.
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise TypeError(f"{name}: {value!r} is not a {'whole ' if whole else ''}number; give {allowed}")
    if not low <= value <= high:
        raise ValueError(f"{name}: {value!r} is out of range; give {allowed}")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@functools.cache  # one warning for a host
def _warn_of(host: str) -> None:
    logger.warning("base_url: the API key is sent to %s unencrypted; use https://", host)


def _server(base_url: str) -> tuple[str, str]:
    """Return the URL of a server as it may be shown, and its `user:password`."""
    try:
        url = urlsplit(base_url := base_url.rstrip(" "))
        host, port = _host(url), url.port
    except ValueError:  # its message may have a part of a password
        host, port = "", None
    if not host or port == 0 or url.query or url.fragment or not base_url.isprintable():
        raise ValueError(
            "base_url: it is not a valid URL of a server; use http://host:9100 or https://user:password@host/path,"
            " with a port up to 65535, without query and fragment, with %XX for the rest of a password"
        )
    place = f"[{host}]" if ":" in host else host
    place += "" if port is None else f":{port}"
    login = unquote(url.netloc.rpartition("@")[0])
    login += ":" if login and ":" not in login else ""
    return f"{url.scheme}://{place}{quote(url.path.rstrip('/'), safe=_IN_PATHS)}", login


def _host(url: SplitResult) -> str:
    """Return the host of a URL in ASCII; ValueError, or nothing, if it cannot be one."""
    name = url.hostname or ""
    if "[" in url.netloc:
        return str(ipaddress.ip_address(name))
    if not name.isascii():
        import idna  # noqa: PLC0415  # the codec of Python is of IDNA 2003: straße.de would be strasse.de

        name = idna.encode(name).decode("ascii")
    return name if _HOST.fullmatch(name) else ""
