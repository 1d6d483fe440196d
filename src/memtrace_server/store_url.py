"""URLs of embedded stores: `sqlite:///agent.db`, `sqlite://`, `postgresql://user@host/database`."""

from __future__ import annotations

import os.path
import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import attrs

FORMS = (
    "sqlite:///agent.db, sqlite:////absolute/path.db, sqlite:// (in memory), or"
    " postgresql://user@host:5432/database"
)
_READ_ONLY = "mode=ro"
_DATABASES = {"postgresql", "postgres"}
_SECRETS = {"password", "sslpassword"}
# User and password, hosts with their ports, and the name of a database.
_DATABASE_URL = re.compile(
    r"(?:(?P<user>[^:/?#@\s]*)(?::(?P<password>[^/?#@\s]*))?@)?(?P<hosts>[^/?#@\s]*)(?:/(?P<name>[^/?#\s]*))?"
)
_NO_CODE = re.compile("%(?![0-9a-fA-F]{2})|%00")
_HOSTS = re.compile(r"(?:(?:\[[0-9a-fA-F:.]+\]|[^\[\]:,]*)(?::\d{1,5})?(?:,|$))*")


@attrs.frozen
class StoreUrl:
    """Where an embedded store is, whatever becomes the working folder later.

    Attributes:
        path: The absolute path of its file, symbolic links followed; None for a store in memory, or in a
            database.
        is_read_only: Whether nothing may be written.
        dsn: The URL of its PostgreSQL database, with the password, if it has one; None for SQLite.
    """

    path: str | None
    is_read_only: bool = False
    dsn: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Read a URL; a relative path is one in the working folder of this moment.

        Raises:
            ValueError: The URL does not name a store. The message has no password.
        """
        scheme, separator, rest = url.partition("://")
        if separator and scheme.lower() in _DATABASES:
            return cls._database(rest)
        if scheme.lower() != "sqlite" or not separator:
            named = f"{scheme}://" if separator else "it" if "@" in url else repr(url)
            raise ValueError(f"{named} names no store; use {FORMS}")
        path, question, options = rest.partition("?")
        # What comes before an @ may be a password.
        shown = "sqlite://" if "@" in path and not path.startswith("/") else repr(url)
        if question and options != _READ_ONLY:
            raise ValueError(f"{shown}: unknown option {options!r}; the only one is ?{_READ_ONLY}")
        if path in {"", "/:memory:"}:
            if question:
                raise ValueError(f"{shown}: a store in memory cannot be read-only; name a file")
            return cls(None)
        if not path.startswith("/") or path == "/":
            raise ValueError(
                f"{shown}: a file takes three slashes and a path, or four for an absolute path; use {FORMS}"
            )
        if "\0" in path:
            raise ValueError(f"{shown}: a path has no NUL character")
        if path.endswith("/"):
            raise ValueError(f"{shown}: it ends like a folder; name a file in it: sqlite://{path}memtrace.db")
        return cls(os.path.realpath(path[1:]), bool(question))

    @classmethod
    def _database(cls, rest: str) -> StoreUrl:
        address, question, text = rest.partition("?")
        match = _DATABASE_URL.fullmatch(address)
        # Nothing of it is repeated: what is taken for a host may be the rest of a password.
        is_valid = match is not None and _HOSTS.fullmatch(match["hosts"]) and not _NO_CODE.search(rest)
        if not is_valid or "#" in text or "\0" in rest:
            raise ValueError(
                "postgresql://: it is no valid URL; use postgresql://user:password@host:5432/database, with"
                " %XX for what else is in a password"
            )
        options = parse_qsl(text, keep_blank_values=True)
        is_read_only = ("mode", "ro") in options
        if question and any(name == "mode" and value != "ro" for name, value in options):
            raise ValueError(f"postgresql://: the only mode is ?{_READ_ONLY}")
        left = [(name, value) for name, value in options if name != "mode"]
        query = f"?{urlencode(left, quote_via=quote)}" if left else ""
        return cls(None, is_read_only, f"postgresql://{address}{query}")

    @property
    def url(self) -> str:
        """The URL, with the password that it may have."""
        if self.dsn is None:
            return str(self)
        mode = f"{'&' if '?' in self.dsn else '?'}{_READ_ONLY}" if self.is_read_only else ""
        return f"{self.dsn}{mode}"

    def redacted(self, text: str) -> str:
        """Return a text without the password that the URL may have."""
        address, _, options = (self.dsn or "").removeprefix("postgresql://").partition("?")
        match = _DATABASE_URL.fullmatch(address)
        secrets = [value for name, value in parse_qsl(options) if name.lower() in _SECRETS]
        secrets += filter(None, [match and match["password"]])
        for secret in sorted({each for value in secrets for each in (value, unquote(value))}, key=len):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text

    def defaults(self, **settings: str | int) -> dict[str, Any]:
        """Return those connection settings which a database's URL does not make itself."""
        _, _, text = (self.dsn or "").partition("?")
        given = {name for name, _ in parse_qsl(text, keep_blank_values=True)}
        return {name: value for name, value in settings.items() if name not in given}

    def __str__(self) -> str:
        """Return the URL as it may be shown: with an absolute path, and without a password."""
        if self.dsn is not None:
            return self._without_password()
        if self.path is None:
            return "sqlite://"
        return f"sqlite:///{self.path}{f'?{_READ_ONLY}' if self.is_read_only else ''}"

    def _without_password(self) -> str:
        address, _, text = self.url.removeprefix("postgresql://").partition("?")
        login, at, hosts = address.rpartition("@")
        user = login.partition(":")[0]
        options = [(name, value) for name, value in parse_qsl(text, keep_blank_values=True)
                   if name.lower() not in _SECRETS]  # fmt: skip
        query = f"?{urlencode(options, quote_via=quote, safe='/=,:')}" if options else ""
        return f"postgresql://{user}{at}{hosts}{query}"
