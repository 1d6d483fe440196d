"""The low-level client: where the server is, and the httpx clients that talk to it."""

from __future__ import annotations

import ssl
from typing import Any, Self

import attrs
import httpx

_TIMEOUT = httpx.Timeout(30.0)


@attrs.define(slots=False)
class Client:
    """Talks to a server without a key.

    Attributes:
        raise_on_unexpected_status: Whether to raise errors.UnexpectedStatus for an error status, for a status
            that the contract does not have, and for content that cannot be read. If not, `parsed` is a
            models.Error or None.

    It also takes `cookies`, `headers`, `timeout` (30 seconds if not given), `verify_ssl`, `follow_redirects`,
    and as `httpx_args` anything else for the constructors of httpx.Client and httpx.AsyncClient.
    """

    _base_url: str = attrs.field(alias="base_url")
    raise_on_unexpected_status: bool = attrs.field(default=False, kw_only=True)
    # No header, cookie or argument is shown in a repr: a key may be among them.
    _cookies: dict[str, str] = attrs.field(factory=dict, kw_only=True, alias="cookies", repr=False)
    _headers: dict[str, str] = attrs.field(factory=dict, kw_only=True, alias="headers", repr=False)
    _timeout: httpx.Timeout | None = attrs.field(default=_TIMEOUT, kw_only=True, alias="timeout")
    _verify_ssl: bool | ssl.SSLContext = attrs.field(default=True, kw_only=True, alias="verify_ssl")
    _follow_redirects: bool = attrs.field(default=False, kw_only=True, alias="follow_redirects")
    _httpx_args: dict[str, Any] = attrs.field(factory=dict, kw_only=True, alias="httpx_args", repr=False)
    _client: httpx.Client | None = attrs.field(default=None, init=False, repr=False, eq=False)
    _async_client: httpx.AsyncClient | None = attrs.field(default=None, init=False, repr=False, eq=False)

    def with_headers(self, headers: dict[str, str]) -> Self:
        """Make a client like this one with more headers."""
        return attrs.evolve(self, headers={**self._headers, **headers})

    def with_cookies(self, cookies: dict[str, str]) -> Self:
        """Make a client like this one with more cookies."""
        return attrs.evolve(self, cookies={**self._cookies, **cookies})

    def with_timeout(self, timeout: httpx.Timeout) -> Self:
        """Make a client like this one with another timeout."""
        return attrs.evolve(self, timeout=timeout)

    def set_httpx_client(self, client: httpx.Client) -> Self:
        """Use this httpx.Client, with its own settings, in place of one made from ours."""
        self._client = client
        return self

    def get_httpx_client(self) -> httpx.Client:
        """Get the httpx.Client, made at the first call."""
        if self._client is None:
            self._client = httpx.Client(**self._settings())
        return self._client

    def set_async_httpx_client(self, async_client: httpx.AsyncClient) -> Self:
        """Use this httpx.AsyncClient, with its own settings, in place of one made from ours."""
        self._async_client = async_client
        return self

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """Get the httpx.AsyncClient, made at the first call."""
        if self._async_client is None:
            self._async_client = httpx.AsyncClient(**self._settings())
        return self._async_client

    def _settings(self) -> dict[str, Any]:
        return {
            "base_url": self._base_url,
            "cookies": self._cookies,
            "headers": {**self._headers, **self._authorization()},
            "timeout": self._timeout,
            "verify": self._verify_ssl,
            "follow_redirects": self._follow_redirects,
            **self._httpx_args,
        }

    def _authorization(self) -> dict[str, str]:
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.get_httpx_client().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.get_async_httpx_client().aclose()


@attrs.define(slots=False)
class AuthenticatedClient(Client):
    """Talks to a server with a key.

    Attributes:
        token: The key. It is never shown in a repr.
        prefix: What stands before the key in the header.
        auth_header_name: The header that carries the key.
    """

    token: str = attrs.field(kw_only=True, repr=False)
    prefix: str = attrs.field(default="Bearer", kw_only=True)
    auth_header_name: str = attrs.field(default="Authorization", kw_only=True)

    def _authorization(self) -> dict[str, str]:
        return {self.auth_header_name: f"{self.prefix} {self.token}" if self.prefix else self.token}
