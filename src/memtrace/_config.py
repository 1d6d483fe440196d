"""The settings of a client: where memory lives, with which key, and how patient to be."""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

import attrs

from memtrace import __version__
from memtrace._request import TOKEN, Call, is_header_value

if TYPE_CHECKING:
    from memtrace._http import Timeout

DEFAULT_URL = "http://localhost:9100"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 2

_EMBEDDED_ROOT = "http://embedded"
_SCHEMES = (
    "http://host:9100, https://host, sqlite:///file.db, sqlite:// (in memory) or postgresql://user@host/name"
)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
# What stays as it is in a path.
_IN_PATHS = "/%:@!$&'()*+,;=~"

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
        store: URL of the embedded store; None for a server.
        headers: What each request carries, the key among it, and the password of the URL.
        secrets: What must never be shown.
        timeout: Seconds for a call as a whole; or how long each step of an attempt may take, as an
            `httpx.Timeout`; None leaves it to the caller-supplied `http_client`.
        max_retries: How often a request may be retried.
        on_delay: Called with each delay before a retry, in seconds, instead of waiting; for tests.
    """

    base_url: str
    store: str | None = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)
    timeout: float | Timeout | None = attrs.field()
    max_retries: int = attrs.field()
    on_delay: Callable[[float], None] | None = attrs.field(default=None, repr=False)

    @timeout.validator
    def _is_bounded(self, _: object, timeout: object) -> None:
        if not isinstance(timeout, int | float):
            if timeout is not None and not hasattr(timeout, "as_dict"):
                kind = type(timeout).__name__
                raise TypeError(f"timeout: it is of type {kind}; give seconds or an httpx.Timeout")
        elif not 0 < timeout < threading.TIMEOUT_MAX:
            raise ValueError(f"timeout: {timeout!r} is no number of seconds above 0 and below infinity")

    @max_retries.validator
    def _is_count(self, _: object, max_retries: object) -> None:
        if not isinstance(max_retries, int):
            raise TypeError(f"max_retries: {max_retries!r} is not a whole number")
        if max_retries < 0:
            raise ValueError(f"max_retries: it must be 0 or more, not {max_retries!r}")

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
        if not isinstance(base_url, str) and not (hasattr(base_url, "scheme") and hasattr(base_url, "host")):
            raise TypeError(f"base_url: it is of type {type(base_url).__name__}; give a string or a URL")
        key = os.environ.get("MEMTRACE_API_KEY", "") if api_key is None else _key(api_key)
        shown, store, login = _located(str(base_url))
        headers = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "user-agent": f"memtrace-sdk/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}",
            **_checked({} if default_headers is None else default_headers),
        }
        secrets: tuple[str, ...] = ()
        if login:
            encoded = b64encode(login.encode()).decode("ascii")
            headers["authorization"] = f"Basic {encoded}"
            secrets = (encoded, login.partition(":")[2] or login)
        made = cls(shown, store, headers, secrets, timeout, max_retries)
        return made._with_key(key) if key else made

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
            timeout=self.timeout if timeout is None else timeout,
            max_retries=self.max_retries if max_retries is None else max_retries,
        )

    def _with_key(self, key: str) -> Config:
        headers = {name: value for name, value in self.headers.items() if name != "x-api-key"}
        if not key:
            return attrs.evolve(self, headers=headers)
        if not is_header_value(key):
            raise ValueError("api_key: it has characters that no key has; is white space at its end?")
        host = urlsplit(self.base_url).hostname or ""
        if self.base_url.startswith("http://") and not is_loopback(host):
            _warn_of(host)
        return attrs.evolve(self, headers={**headers, "x-api-key": key}, secrets=(*self.secrets, key))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@functools.cache  # one warning for a host
def _warn_of(host: str) -> None:
    logger.warning("base_url: the API key is sent to %s unencrypted; use https://", host)


def _key(api_key: str | Secret) -> str:
    revealed = getattr(api_key, "get_secret_value", None)
    key = api_key if revealed is None else revealed()
    if not isinstance(key, str):
        raise TypeError(f"api_key: it is of type {type(key).__name__}; give a string or a SecretStr")
    return key


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by name in lower case. A value is never quoted: it may be a secret."""
    if not isinstance(headers, Mapping):
        raise TypeError(f"default_headers: it is of type {type(headers).__name__}; give a mapping")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"default_headers: {name!r} or its value is no string")
        if not (TOKEN.fullmatch(name) and is_header_value(value)):
            raise ValueError(
                f"default_headers: {name!r} or its value has characters that no header can carry"
            )
    return {name.lower(): value for name, value in headers.items()}


def _located(base_url: str) -> tuple[str, str | None, str]:
    """Return how to show a URL, which store to open, and `user:password` for a server."""
    # The value is never quoted whole: it may hold a password, or be an API key in the wrong place.
    scheme, separator, _ = base_url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"base_url: it has no scheme; use {_SCHEMES}")
    if scheme in {"http", "https"}:
        return _server(base_url)
    if scheme in {"sqlite", "postgresql", "postgres"}:
        from memtrace_server.store_url import StoreUrl  # noqa: PLC0415  # most memory lives on servers

        try:
            location = StoreUrl.parse(base_url)
        except ValueError as error:
            raise ValueError(f"base_url: {error}") from None
        return str(location), location.url, ""
    raise ValueError(f"base_url: unknown scheme {scheme!r}; use {_SCHEMES}")


def _server(base_url: str) -> tuple[str, None, str]:
    try:
        url = urlsplit(base_url := base_url.rstrip(" "))
        host, port = _host(url), url.port
    except ValueError:  # whose words may have a part of a password
        host, port = "", None
    if not host or port == 0 or url.query or url.fragment or not base_url.isprintable():
        raise ValueError(
            "base_url: it is no valid URL of a server; use http://host:9100 or https://user:password@host/path,"
            " with a port up to 65535, without query and fragment, with %XX for what else is in a password"
        )
    place = f"[{host}]" if ":" in host else host
    place += "" if port is None else f":{port}"
    login = unquote(url.netloc.rpartition("@")[0])
    login += ":" if login and ":" not in login else ""
    return f"{url.scheme}://{place}{quote(url.path.rstrip('/'), safe=_IN_PATHS)}", None, login


def _host(url: SplitResult) -> str:
    """Return the host of a URL in ASCII; nothing, or ValueError, if it can be none."""
    name = url.hostname or ""
    if "[" in url.netloc:
        return str(ipaddress.ip_address(name))
    if not name.isascii():
        import idna  # noqa: PLC0415  # the codec of Python is of IDNA 2003: straße.de would be strasse.de

        name = idna.encode(name).decode("ascii")
    return name if _HOST.fullmatch(name) else ""
