"""The HTTP library: which one a client belongs to, and how our own clients are made.

`import httpx` stands here and nowhere else in the SDK, so that moving to a successor is one line.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.request import getproxies, proxy_bypass

import attrs
import httpx as httpx  # noqa: PLC0414  # for those who need a name of it

if TYPE_CHECKING:
    _Any: TypeAlias = Any

    class _Response(Protocol):
        def iter_bytes(self) -> Iterator[bytes]: ...

    class _AsyncResponse(Protocol):
        def aiter_bytes(self) -> AsyncIterator[bytes]: ...

    class _Client(Protocol):
        """A blocking client of a library with the names of httpx, such as httpx2."""

        def build_request(self, method: str, url: str, /, *, headers: _Any, content: _Any) -> _Any: ...

        def send(self, request: _Any, /, *, stream: bool, follow_redirects: bool) -> _Response: ...

    class _AsyncClient(Protocol):
        """The same for tasks."""

        def build_request(self, method: str, url: str, /, *, headers: _Any, content: _Any) -> _Any: ...

        async def send(self, request: _Any, /, *, stream: bool, follow_redirects: bool) -> _AsyncResponse: ...

    HttpClient: TypeAlias = httpx.Client | _Client
    AsyncHttpClient: TypeAlias = httpx.AsyncClient | _AsyncClient
    Response: TypeAlias = httpx.Response
    Timeout: TypeAlias = httpx.Timeout

# A client may be shared by many threads or tasks; each may keep its connection.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)


@attrs.frozen
class Proxy:
    """A proxy of the environment.

    Attributes:
        url: Its URL, which may have a password.
        variable: The environment variable that names it.
    """

    url: str = attrs.field(repr=False)
    variable: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.rpartition("://")
        return f"{scheme or 'http'}://{rest.rpartition('@')[2]} ({self.variable})"


def library_of(client: object, kind: str) -> ModuleType:
    """Return the module that a caller-supplied client comes from: httpx, or a successor with the same names.

    Args:
        client: The client.
        kind: The class that it must be of, `Client` or `AsyncClient`.

    Raises:
        TypeError: If it is of another class.
    """
    for base in type(client).__mro__:
        library = sys.modules.get(base.__module__.partition(".")[0])
        if getattr(library, kind, None) is base and hasattr(library, "HTTPError"):
            return library  # type: ignore[return-value]  # it has the attribute
    article = "an" if kind[0] == "A" else "a"
    name = f"{type(client).__module__}.{type(client).__name__}"
    raise TypeError(f"http_client: it is a {name}; give {article} {kind} of httpx")


def failures_of(library: ModuleType) -> tuple[type[Exception], ...]:
    """Return all that a client of a library raises if there is no response.

    RuntimeError is for a client that is closed, or whose event loop is; UnicodeError for a host name that
    cannot be encoded; TimeoutError for a deadline that has passed.
    """
    return (
        library.HTTPError,
        library.InvalidURL,
        library.CookieConflict,
        library.StreamError,
        RuntimeError,
        UnicodeError,
        TimeoutError,
    )


def settings(root: str) -> tuple[dict[str, Any], Proxy | None]:
    """Return the arguments for a client of our own that sends to one server, and the proxy that it uses.

    Raises:
        ValueError: If the proxy of the environment cannot be used, or no certificates can be read.
    """
    url = httpx.URL(root)
    proxy = _proxy_for(url)
    arguments: dict[str, Any] = {"limits": _LIMITS, "trust_env": False}
    if proxy is not None:
        try:
            arguments["proxy"] = httpx.Proxy(proxy.url)
            # An unknown scheme, or a package that is missing, is found out only by a client.
            httpx.HTTPTransport(proxy=arguments["proxy"], verify=_no_certificates()).close()
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            problem = f"{proxy.variable}: the proxy cannot be used: {error}; mend or unset the variable"
            raise ValueError(problem) from error
    if url.scheme == "https" or (proxy is not None and proxy.url.startswith("https")):
        try:
            arguments["verify"] = httpx.create_ssl_context()
        except OSError as error:
            problem = f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read there: {error}"
            raise ValueError(problem) from error
    else:
        # Reading certificates takes longer than many requests. With none, nothing is trusted.
        arguments["verify"] = _no_certificates()
    return arguments, proxy


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _no_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy_for(url: httpx.URL) -> Proxy | None:
    """Return the proxy for a server. Loopback is never asked for through one."""
    if is_loopback(url.host) or proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return None
    proxies = getproxies()
    scheme = url.scheme if proxies.get(url.scheme) else "all"
    found = proxies.get(scheme)
    if not found:
        return None
    variables = [name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name]]
    variable = next(iter(sorted(variables, reverse=True)), "the system's settings")
    return Proxy(found if "://" in found else f"http://{found}", variable)
