"""URLs of embedded stores: `sqlite:///agent.db`, `sqlite:////var/lib/agent.db?mode=ro`, `sqlite://`."""

from __future__ import annotations

import os.path

import attrs

FORMS = "sqlite:///agent.db, sqlite:////absolute/path.db, or sqlite:// (in memory)"
_READ_ONLY = "mode=ro"


@attrs.frozen
class StoreUrl:
    """Where an embedded store is, whatever becomes the working folder later.

    Attributes:
        path: The absolute path of its file, symbolic links followed; None for a store in memory.
        is_read_only: Whether nothing may be written.
    """

    path: str | None
    is_read_only: bool = False

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Read a URL; a relative path is one in the working folder of this moment.

        Raises:
            ValueError: The URL does not name a store.
        """
        scheme, separator, rest = url.partition("://")
        if scheme.lower() != "sqlite" or not separator:
            raise ValueError(f"{url!r} names no store; use {FORMS}")
        path, question, options = rest.partition("?")
        if question and options != _READ_ONLY:
            raise ValueError(f"{url!r}: unknown option {options!r}; the only one is ?{_READ_ONLY}")
        if path in {"", "/:memory:"}:
            if question:
                raise ValueError(f"{url!r}: a store in memory cannot be read-only; name a file")
            return cls(None)
        if not path.startswith("/") or path == "/":
            raise ValueError(
                f"{url!r}: a file takes three slashes and a path, or four for an absolute path; use {FORMS}"
            )
        if "\0" in path:
            raise ValueError(f"{url!r}: a path has no NUL character")
        return cls(os.path.realpath(path[1:]), bool(question))

    def __str__(self) -> str:
        """Return the URL with an absolute path."""
        if self.path is None:
            return "sqlite://"
        return f"sqlite:///{self.path}{f'?{_READ_ONLY}' if self.is_read_only else ''}"
