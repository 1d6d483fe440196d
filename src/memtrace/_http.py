"""The HTTP library: which one a client belongs to, and how our own clients are made.

`import httpx` stands here and nowhere else in the SDK, so that moving to a successor is one line.
"""

from __future__ import annotations

import os
import ssl
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.request import getproxies, proxy_bypass

import httpx as httpx  # noqa: PLC0414  # other modules use its names through this one

from memtrace._config import is_loopback

if TYPE_CHECKING:
    _Any: TypeAlias = Any

    class _Client(Protocol):
        """A blocking client of a library with the names of httpx, such as httpx2."""

        def send(self, request: _Any, /, *, stream: bool, follow_redirects: bool) -> _Any: ...

        def close(self) -> None: ...

    class _AsyncClient(Protocol):
        """The same for tasks."""

        def send(self, request: _Any, /, *, stream: bool, follow_redirects: bool) -> _Any: ...

        async def aclose(self) -> None: ...

    HttpClient: TypeAlias = httpx.Client | _Client
    AsyncHttpClient: TypeAlias = httpx.AsyncClient | _AsyncClient
    Response: TypeAlias = httpx.Response
    Timeout: TypeAlias = httpx.Timeout

# A client may be shared by many threads or tasks; each may keep its connection.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)

# Until a large block is freed, glibc may return memory to the system after each response of 100 KiB and more;
# the page faults of the next one took an eighth of its time.
bytes(1 << 20)


def library_of(client: object, kind: str) -> ModuleType:
    """Return the module that a caller-supplied client comes from: httpx, or a successor with the same names.

    Raises:
        TypeError: If the client is not of the class `kind`, which is `Client` or `AsyncClient`.
    """
    for base in type(client).__mro__:
        library = sys.modules.get(base.__module__.partition(".")[0])
        if getattr(library, kind, None) is base and hasattr(library, "HTTPError"):
            return library  # type: ignore[return-value]  # it has the attribute
    article = "an" if kind[0] == "A" else "a"
    name = f"{type(client).__module__}.{type(client).__name__}"
    raise TypeError(f"http_client: it is a {name}; give {article} {kind} of httpx")


def own_client(kind: str, base_url: str) -> tuple[Any, str | None]:
    """Make a `Client` or an `AsyncClient` of our own that sends to one server.

    Returns:
        The client, and the proxy that it uses, as it may be shown; None if it uses none.

    Raises:
        ValueError: If the proxy of the environment cannot be used, or no certificates can be read.
    """
    url = httpx.URL(base_url)
    proxy, variable = _proxy_for(url)
    # Reading certificates takes longer than many requests. With none, nothing is trusted.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if url.scheme == "https" or proxy.startswith("https"):
        try:
            verify = httpx.create_ssl_context()
        except OSError as error:
            problem = f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read there: {error}"
            raise ValueError(problem) from error
    try:
        make = getattr(httpx, kind)
        client = make(limits=_LIMITS, trust_env=False, proxy=proxy or None, verify=verify)
    except httpx.InvalidURL:  # its message may have a part of a password
        raise ValueError(f"{variable}: the proxy is not a valid URL; mend or unset the variable") from None
    except (ValueError, ImportError) as error:
        problem = f"{variable}: the proxy cannot be used: {error}; mend or unset the variable"
        raise ValueError(problem) from error
    scheme, _, rest = proxy.rpartition("://")
    return client, f"{scheme}://{rest.rpartition('@')[2]} ({variable})" if proxy else None


def _proxy_for(url: httpx.URL) -> tuple[str, str]:
    """Return the proxy for a server and the environment variable that names it; loopback needs none."""
    if is_loopback(url.host) or proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return "", ""
    proxies = getproxies()
    scheme = url.scheme if proxies.get(url.scheme) else "all"
    proxy, variable = proxies.get(scheme, ""), f"{scheme}_proxy"
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy, variable if variable in os.environ else variable.upper()
